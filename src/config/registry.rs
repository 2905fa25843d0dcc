//! The registries' part of the check.

use std::collections::HashMap;
use std::time::Duration;

use crate::oci::reference::{DOCKER_HUB, Reference};

use super::check::Checker;
use super::endpoint::{Endpoint, Scheme};
use super::problem::quoted;
use super::{
    ClientCertificate, Gc, Named, Registry, RegistryKind, Retention, Tls, Verify, duration, raw,
};

pub(super) const CONCURRENCY: u32 = 32;

/// How long things are in quarantine at least where a registry takes every manifest.
const UNVALIDATED: Duration = Duration::from_hours(168);

/// What holds for registries that say nothing else.
#[derive(Debug, Clone, Copy)]
pub(super) struct Defaults<'a> {
    pub(super) verify: &'a Verify,
    pub(super) gc: &'a Gc,
    pub(super) retention: &'a Retention,
    /// How long what was in use is remembered.
    pub(super) keep_seen: Duration,
}

pub(super) fn check(
    checker: &mut Checker<'_, '_>,
    registries: Vec<raw::Registry>,
    defaults: Defaults<'_>,
) -> Vec<Registry> {
    let mut hosts: HashMap<String, usize> = HashMap::new();
    let mut good = Vec::with_capacity(registries.len());
    for (index, registry) in registries.into_iter().enumerate() {
        let path = format!("registries[{index}]");
        let registry = checker.registry(&path, registry, defaults);
        if let Some(first) = hosts.insert(registry.host.to_ascii_lowercase(), index) {
            let message = format!(
                "{} is already the host of registries[{first}]; write one entry for each host",
                quoted(&registry.host)
            );
            checker.report.add(&format!("{path}.host"), message);
        }
        good.push(registry);
    }
    check_aliases(checker, &good, &hosts);
    good
}

/// A name leads to one storage only.
fn check_aliases(
    checker: &mut Checker<'_, '_>,
    registries: &[Registry],
    hosts: &HashMap<String, usize>,
) {
    let mut claimed: HashMap<String, usize> = HashMap::new();
    for (index, registry) in registries.iter().enumerate() {
        for (number, alias) in registry.aliases.iter().enumerate() {
            let shown = quoted(alias);
            let alias = alias.to_ascii_lowercase();
            let problem = if let Some(entry) = hosts.get(&alias) {
                format!(
                    "{shown} is the host of registries[{entry}]; take the alias out, or that entry"
                )
            } else if let Some(first) = claimed.insert(alias, index) {
                format!(
                    "{shown} is already an alias of registries[{first}]; a name leads to one storage"
                )
            } else {
                continue;
            };
            let path = format!("registries[{index}].aliases[{number}]");
            if !checker.report.has(&path) {
                checker.report.add(&path, problem);
            }
        }
    }
}

impl From<raw::RegistryKind> for RegistryKind {
    fn from(raw: raw::RegistryKind) -> Self {
        match raw {
            raw::RegistryKind::Auto => Self::Auto,
            raw::RegistryKind::Distribution => Self::Distribution,
            raw::RegistryKind::Zot => Self::Zot,
            raw::RegistryKind::Harbor => Self::Harbor,
        }
    }
}

impl Checker<'_, '_> {
    fn registry(&mut self, path: &str, raw: raw::Registry, defaults: Defaults<'_>) -> Registry {
        let of = |key: &str| format!("{path}.{key}");
        let host = self.host(&of("host"), &raw.host.unwrap_or_default());
        let written = raw
            .endpoint
            .and_then(|text| self.endpoint(&of("endpoint"), &text, raw.plain_http));
        let endpoint = written.unwrap_or_else(|| {
            let is_plain = raw.plain_http == Some(true);
            let scheme = if is_plain {
                Scheme::Http
            } else {
                Scheme::Https
            };
            Endpoint::of_host(&host, scheme)
        });
        let is_plain = endpoint.scheme == Scheme::Http;
        let is_known = !self.report.has(&of("endpoint")) && !self.report.has(&of("plainHttp"));
        if is_plain && is_known && raw.tls.is_some() {
            let message = "there is no TLS over plain http; take one of the two out";
            self.report.add(&of("tls"), message);
        }
        let realms = raw.token_realms.unwrap_or_default();
        let token_realms = self.token_realms(&of("tokenRealms"), realms, !is_plain && is_known);
        let proxy = raw.proxy.and_then(|text| self.url(&of("proxy"), &text));
        if proxy
            .as_ref()
            .is_some_and(|proxy| !proxy.path_prefix.is_empty())
        {
            let message = "a proxy has no path; write http://host:port";
            self.report.add(&of("proxy"), message);
        }
        let credentials = raw
            .credentials
            .and_then(|raw| self.credentials(&of("credentials"), raw, &host));
        let aliases = raw.aliases.into_iter().flatten().enumerate();
        let aliases = aliases.map(|(index, alias)| {
            let path = format!("{path}.aliases[{index}]");
            self.host(&path, &alias)
        });
        let aliases = aliases.collect();
        let replicas = raw.replica_endpoints.into_iter().flatten().enumerate();
        let replicas = replicas.filter_map(|(index, text)| {
            let path = format!("{path}.replicaEndpoints[{index}]");
            self.endpoint(&path, &text, raw.plain_http)
        });
        let replica_endpoints: Vec<Endpoint> = replicas.collect();
        let single = raw.single.unwrap_or(false);
        if single && replica_endpoints.len() > 1 {
            let message = "it says that there is one replica, and `replicaEndpoints` names more; keep one of them";
            self.report.add(&of("single"), message);
        }
        let beside = [
            ("replicaEndpoints", !replica_endpoints.is_empty()),
            ("single", single),
        ];
        let service = raw
            .service
            .and_then(|raw| self.service(&of("service"), raw, beside));
        let mirrored = host.clone();
        let validation = raw.storage.as_ref().and_then(|it| it.validation);
        let validates = validation != Some(raw::Validation::Off);
        let gc = self.gc(&of("gc"), raw.gc.unwrap_or_default(), defaults.gc);
        if !validates {
            self.suits_validation(path, &gc);
        }
        let retention = raw.retention.unwrap_or_default();
        Registry {
            host,
            endpoint,
            kind: raw.kind.map_or(RegistryKind::Auto, RegistryKind::from),
            tls: self.tls(&of("tls"), raw.tls.unwrap_or_default()),
            token_realms,
            proxy,
            credentials,
            max_concurrency: raw.max_concurrency.unwrap_or(CONCURRENCY),
            requests_per_second: raw.requests_per_second,
            aliases,
            replica_endpoints,
            service,
            single,
            mirrors: self.mirrors(&of("mirrors"), &mirrored, raw.mirrors.unwrap_or_default()),
            verify: self.verify(
                &of("verify"),
                raw.verify.unwrap_or_default(),
                defaults.verify,
            ),
            storage: raw
                .storage
                .and_then(|raw| self.storage(&of("storage"), raw)),
            validates,
            gc,
            retention: self.own_retention(&of("retention"), retention, defaults),
        }
    }

    fn own_retention(
        &mut self,
        path: &str,
        raw: raw::Retention,
        defaults: Defaults<'_>,
    ) -> Retention {
        let deletes = raw.mode == Some(raw::RetentionMode::Delete);
        let retention = self.retention(path, raw, defaults.retention, defaults.keep_seen);
        if deletes && retention.policies.is_empty() {
            self.deletes_by_no_policy(path);
        }
        retention
    }

    /// `is_safe`: what is asked for a token is not to hear a credential in the clear.
    fn token_realms(&mut self, path: &str, all: Vec<String>, is_safe: bool) -> Vec<Endpoint> {
        let mut realms = Vec::new();
        for (index, text) in all.into_iter().enumerate() {
            let path = format!("{path}[{index}]");
            let realm = self.url(&path, &text);
            let is_clear = realm
                .as_ref()
                .is_some_and(|realm| realm.scheme == Scheme::Http);
            if is_clear && is_safe {
                let message = "credentials would be sent in the clear; write https://";
                self.report.add(&path, message);
            }
            realms.extend(realm);
        }
        realms
    }

    /// What was taken can be named by whoever was told of it before, for as long as a client may go by that.
    fn suits_validation(&mut self, path: &str, gc: &Gc) {
        let own = format!("{path}.gc.quarantineFor");
        if gc.quarantine_for >= UNVALIDATED || self.report.has(&own) {
            return;
        }
        let message = format!(
            "it is `off`, and then `{own}` or `gc.quarantineFor` is at least {}, which is {} here: such a registry \
             takes a manifest of which nothing is there",
            duration::shown(UNVALIDATED),
            duration::shown(gc.quarantine_for),
        );
        self.report
            .add(&format!("{path}.storage.validation"), message);
    }

    /// `beside`: what else says what the replicas are, and whether it is written.
    fn service(&mut self, path: &str, raw: raw::Named, beside: [(&str, bool); 2]) -> Option<Named> {
        for (key, _) in beside.iter().filter(|(_, is_written)| *is_written) {
            let message =
                format!("both `service` and `{key}` say what the replicas are; keep one of them");
            self.report.add(path, message);
        }
        self.named(path, raw.namespace, raw.name)
    }

    /// The host as a canonical reference names it, since by that name it is looked up.
    fn host(&mut self, path: &str, text: &str) -> String {
        let shown = quoted(text);
        let problem = if let Some((_, host)) = text.split_once("://") {
            let host = host.split('/').next().unwrap_or_default();
            Some(format!(
                "{shown} is a URL: write the host as workloads do, {} without the scheme",
                quoted(host)
            ))
        } else if text.contains('@') {
            Some(format!(
                "{shown} is more than a host: write it without a user"
            ))
        } else if let Some((host, _)) = text.split_once('/') {
            Some(format!(
                "{shown} is more than a host: write {} without a path",
                quoted(host)
            ))
        } else {
            match format!("{text}/a/a").parse::<Reference>() {
                Ok(reference) if reference.repository() == "a/a" => {
                    return reference.host().to_owned();
                }
                Ok(_on_docker_hub) => Some(format!(
                    "{shown} is not a registry's host in a reference: that needs a dot, a port or \
                     `localhost`, else it is a repository on {DOCKER_HUB}"
                )),
                Err(invalid) => Some(format!(
                    "{shown} is not a registry's host: {}",
                    invalid.problem
                )),
            }
        };
        if let Some(problem) = problem {
            self.report.add(path, problem);
        }
        text.to_owned()
    }

    fn endpoint(&mut self, path: &str, text: &str, plain_http: Option<bool>) -> Option<Endpoint> {
        let endpoint = self.url(path, text)?;
        let problem = match (endpoint.scheme, plain_http) {
            _ if endpoint.path_prefix.ends_with("/v2") => {
                Some("write it without /v2, which every registry has")
            }
            (Scheme::Https, Some(true)) => {
                Some("it is https, but plainHttp is true; write http:// or take plainHttp out")
            }
            (Scheme::Http, Some(false)) => {
                Some("it is http, but plainHttp is false; write https:// or take plainHttp out")
            }
            (Scheme::Https, None | Some(false)) | (Scheme::Http, None | Some(true)) => None,
        };
        if let Some(problem) = problem {
            self.report.add(path, problem);
        }
        Some(endpoint)
    }

    pub(super) fn url(&mut self, path: &str, text: &str) -> Option<Endpoint> {
        match Endpoint::parse(text) {
            Ok(endpoint) => Some(endpoint),
            Err(way_out) => {
                let message = format!("{} is not usable: {way_out}", quoted(text));
                self.report.add(path, message);
                None
            }
        }
    }

    fn tls(&mut self, path: &str, raw: raw::Tls) -> Tls {
        Tls {
            ca: raw
                .ca
                .and_then(|ca| ca.file)
                .map(|file| self.file(&format!("{path}.ca.file"), file)),
            client_certificate: raw.client_certificate.map(|raw| {
                let path = format!("{path}.clientCertificate");
                ClientCertificate {
                    file: self.file(&format!("{path}.file"), raw.file.unwrap_or_default()),
                    key_file: self
                        .file(&format!("{path}.keyFile"), raw.key_file.unwrap_or_default()),
                }
            }),
        }
    }
}
