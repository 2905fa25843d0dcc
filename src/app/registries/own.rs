//! From the configuration to the source of a registry's own credentials, with which is asked whether
//! content exists.

use std::sync::Arc;

use super::{read, read_docker_config};
use crate::clock::Clock;
use crate::config::endpoint::{Endpoint, Scheme};
use crate::config::{Acr, Credentials, Registry};
use crate::credential_source::{CredentialSource, acr, docker_config, ecr, gar};
use crate::credentials::DockerConfig;

/// The entry's own where it has one, else those of the person at the command line.
pub(super) fn source(
    host: &Arc<str>,
    entry: Option<&Registry>,
    personal: &DockerConfig,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Arc<dyn CredentialSource>> {
    match entry.and_then(|entry| entry.credentials.as_ref()) {
        Some(Credentials::DockerConfig(path)) => {
            Ok(docker_config::source(&read_docker_config(path)?, host))
        }
        Some(Credentials::Ecr(ecr)) => {
            let options = ecr::Options {
                host: Arc::clone(host),
                region: ecr.region.clone(),
                endpoint: ecr.endpoint.to_string(),
                access_key: ecr.access_key.clone(),
            };
            Ok(ecr::source(options, Arc::clone(clock))?)
        }
        Some(Credentials::Gar(file)) => {
            let options = gar::Options {
                host: Arc::clone(host),
                file: file.clone(),
            };
            Ok(gar::source(options, Arc::clone(clock))?)
        }
        Some(Credentials::Acr(acr)) => of_azure(host, entry, acr),
        None => Ok(docker_config::source(personal, host)),
    }
}

/// Part of the exchange is the registry's own, so it is dialled as the registry is.
fn of_azure(
    host: &Arc<str>,
    entry: Option<&Registry>,
    acr: &Acr,
) -> anyhow::Result<Arc<dyn CredentialSource>> {
    let endpoint = entry.map_or_else(
        || Endpoint::of_host(host, Scheme::Https),
        |entry| entry.endpoint.clone(),
    );
    let authorities = entry
        .and_then(|entry| entry.tls.ca.as_deref())
        .map(read)
        .transpose()?;
    let proxy = entry.and_then(|entry| entry.proxy.as_ref());
    let options = acr::Options {
        host: Arc::clone(host),
        endpoint: endpoint.to_string(),
        authorities: authorities.into_iter().collect(),
        proxy: proxy.map(ToString::to_string),
        identity: match acr {
            Acr::ServicePrincipal {
                tenant,
                client,
                secret,
            } => acr::Identity::ServicePrincipal {
                tenant: tenant.clone(),
                client: client.clone(),
                secret: secret.clone(),
            },
            Acr::Environment { client } => acr::Identity::Environment {
                client: client.clone(),
            },
        },
    };
    Ok(acr::source(options)?)
}
