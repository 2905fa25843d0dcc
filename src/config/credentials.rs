//! The check of `registries[].credentials`: a map with one key, and what follows from a host's name.

use super::check::Checker;
use super::endpoint::{Endpoint, Scheme};
use super::problem::quoted;
use super::{Acr, Credentials, Ecr, raw};

/// What the host of an Amazon registry tells.
#[derive(Debug, PartialEq, Eq)]
struct AmazonHost<'a> {
    region: &'a str,
    is_fips: bool,
}

impl<'a> AmazonHost<'a> {
    /// `ACCOUNT.dkr.ecr.REGION.amazonaws.com`, with `ecr-fips`, with China's domain, and the dual-stack
    /// `ACCOUNT.dkr-ecr.REGION.on.aws`.
    fn parse(host: &'a str) -> Option<Self> {
        let mut labels = host.split('.');
        let account = labels.next()?;
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let rest: Vec<&str> = labels.collect();
        let (region, is_fips) = match rest.as_slice() {
            [
                "dkr",
                service @ ("ecr" | "ecr-fips"),
                region,
                "amazonaws",
                "com",
            ]
            | [
                "dkr",
                service @ ("ecr" | "ecr-fips"),
                region,
                "amazonaws",
                "com",
                "cn",
            ] => (*region, *service == "ecr-fips"),
            ["dkr-ecr", region, "on", "aws"] => (*region, false),
            ["dkr-ecr-fips", region, "on", "aws"] => (*region, true),
            _ => return None,
        };
        is_region(region).then_some(Self { region, is_fips })
    }
}

fn is_region(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.len() <= 32 && text.bytes().all(is_letter)
}

impl Checker<'_, '_> {
    pub(super) fn credentials(
        &mut self,
        path: &str,
        raw: raw::Credentials,
        host: &str,
    ) -> Option<Credentials> {
        let of = |key: &str| format!("{path}.{key}");
        let raw::Credentials {
            docker_config,
            ecr,
            gar,
            acr,
        } = raw;
        let keys = [
            ("dockerConfig", docker_config.is_some()),
            ("ecr", ecr.is_some()),
            ("gar", gar.is_some()),
            ("acr", acr.is_some()),
        ];
        let way_out = "write one of dockerConfig, ecr, gar, acr, as {dockerConfig: {file: FILE}} or {ecr: {}}";
        self.has_one(path, &keys, "ways", way_out);
        if let Some(docker_config) = docker_config {
            let file = docker_config.file?;
            let file = self.file(&of("dockerConfig.file"), file);
            return Some(Credentials::DockerConfig(file));
        }
        if let Some(raw) = gar {
            let file = raw.application_credentials.and_then(|file| file.file);
            let path = of("gar.applicationCredentials.file");
            return Some(Credentials::Gar(file.map(|file| self.file(&path, file))));
        }
        if let Some(raw) = acr {
            return Some(Credentials::Acr(self.acr(&of("acr"), raw)));
        }
        ecr.map(|raw| Credentials::Ecr(self.ecr(&of("ecr"), raw, host)))
    }

    fn ecr(&mut self, path: &str, raw: raw::Ecr, host: &str) -> Ecr {
        let of = |key: &str| format!("{path}.{key}");
        let told = AmazonHost::parse(host);
        let region = match (raw.region, &told) {
            (Some(region), _) if is_region(&region) => region,
            (Some(region), _) => {
                let message = format!(
                    "{} is not a region: expected one as eu-west-1",
                    quoted(&region)
                );
                self.report.add(&of("region"), message);
                String::new()
            }
            (None, Some(told)) => told.region.to_owned(),
            (None, None) => {
                let message = format!(
                    "the region is missing, and {} is no host that tells it \
                     (ACCOUNT.dkr.ecr.REGION.amazonaws.com); add `region: REGION`",
                    quoted(host)
                );
                self.report.add(path, message);
                String::new()
            }
        };
        let written = raw
            .endpoint
            .and_then(|text| self.secure_url(&of("endpoint"), &text));
        let endpoint = written.unwrap_or_else(|| {
            let is_fips = told.is_some_and(|told| told.is_fips);
            let name = if is_fips { "ecr-fips" } else { "api.ecr" };
            let domain = if region.starts_with("cn-") {
                "amazonaws.com.cn"
            } else {
                "amazonaws.com"
            };
            Endpoint::of_host(&format!("{name}.{region}.{domain}"), Scheme::Https)
        });
        let access_key = raw.access_key.and_then(|file| file.file);
        Ecr {
            region,
            endpoint,
            access_key: access_key.map(|file| self.file(&of("accessKey.file"), file)),
        }
    }

    fn acr(&mut self, path: &str, raw: raw::Acr) -> Acr {
        let of = |key: &str| format!("{path}.{key}");
        let raw::Acr {
            tenant_id,
            client_id,
            client_secret,
        } = raw;
        for (key, id) in [("tenantId", &tenant_id), ("clientId", &client_id)] {
            // A tenant may be named by its domain too.
            let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
            let is_id = |id: &String| (1..=255).contains(&id.len()) && id.bytes().all(is_word);
            if let Some(id) = id.as_ref().filter(|id| !is_id(id)) {
                let message = format!(
                    "{} is not an id: expected one as 11111111-1111-1111-1111-111111111111",
                    quoted(id)
                );
                self.report.add(&of(key), message);
            }
        }
        match (
            tenant_id,
            client_id,
            client_secret.and_then(|file| file.file),
        ) {
            (Some(tenant), Some(client), Some(file)) => Acr::ServicePrincipal {
                tenant,
                client,
                secret: self.file(&of("clientSecret.file"), file),
            },
            (None, client, None) => Acr::Environment { client },
            (_, client, _) => {
                let message = "a service principal is written with all of tenantId, clientId and \
                               clientSecret; a managed identity with clientId or nothing";
                self.report.add(path, message);
                Acr::Environment { client }
            }
        }
    }

    /// A URL to which secrets are sent: by https, or within the machine.
    fn secure_url(&mut self, path: &str, text: &str) -> Option<Endpoint> {
        let url = self.url(path, text)?;
        let is_here =
            url.host == "localhost" || url.host == "[::1]" || url.host.starts_with("127.");
        if url.scheme == Scheme::Http && !is_here {
            let message = "credentials would be sent in the clear; write https://";
            self.report.add(path, message);
        }
        Some(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_of_amazons_tells_its_region() {
        for (host, region, is_fips) in [
            (
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
                "eu-west-1",
                false,
            ),
            (
                "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
                "us-gov-west-1",
                true,
            ),
            (
                "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
                "cn-north-1",
                false,
            ),
            ("123456789012.dkr-ecr.eu-west-1.on.aws", "eu-west-1", false),
        ] {
            assert_eq!(
                AmazonHost::parse(host),
                Some(AmazonHost { region, is_fips }),
                "{host}"
            );
        }
        for host in [
            "public.ecr.aws",
            "12345678901.dkr.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example",
            "123456789012.dkr.ecr..amazonaws.com",
            "registry.example",
        ] {
            assert_eq!(AmazonHost::parse(host), None, "{host}");
        }
    }
}
