//! Where a bucket is, and how it is connected to.

use std::path::Path;

use super::Settings;
use crate::config::endpoint::Endpoint;
use crate::credential_source::aws;
use crate::registry::transport::Deadlines;

/// Scheme and authority, and what comes before a key. A bucket's own host name is in the certificate of
/// its region, unless it has dots.
pub(super) fn address(settings: &Settings) -> (String, String) {
    let Settings {
        endpoint,
        region,
        bucket,
        ..
    } = settings;
    match endpoint {
        Some(endpoint) => {
            let Endpoint {
                scheme,
                path_prefix,
                ..
            } = endpoint;
            let base = format!("{}://{}", scheme.as_str(), endpoint.authority());
            (base, format!("{path_prefix}/{bucket}/"))
        }
        None => {
            let suffix = aws::suffix(region);
            if bucket.contains('.') {
                (
                    format!("https://s3.{region}.{suffix}"),
                    format!("/{bucket}/"),
                )
            } else {
                (
                    format!("https://{bucket}.s3.{region}.{suffix}"),
                    "/".to_owned(),
                )
            }
        }
    }
}

pub(super) fn build(
    settings: &Settings,
    deadlines: Deadlines,
) -> Result<reqwest::ClientBuilder, String> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("pullproof/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never().max_retries_per_request(0))
        .connect_timeout(deadlines.connect)
        .read_timeout(deadlines.idle)
        .timeout(deadlines.total)
        .pool_max_idle_per_host(usize::try_from(settings.max_concurrency).unwrap_or(1))
        .tcp_nodelay(true);
    if settings
        .endpoint
        .as_ref()
        .is_some_and(Endpoint::is_loopback)
    {
        // What runs on this machine is not behind the environment's proxy.
        builder = builder.no_proxy();
    }
    if let Some(path) = &settings.ca {
        for certificate in authorities(path)? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    Ok(builder)
}

fn authorities(path: &Path) -> Result<Vec<reqwest::Certificate>, String> {
    let shown = path.display();
    let text = std::fs::read(path)
        .map_err(|error| format!("the authorities of {shown} cannot be read: {error}"))?;
    let found = reqwest::Certificate::from_pem_bundle(&text)
        .map_err(|error| format!("{shown} holds no authorities in PEM: {error}"))?;
    if found.is_empty() {
        return Err(format!(
            "{shown} holds no authority: expected PEM, with -----BEGIN CERTIFICATE-----"
        ));
    }
    Ok(found)
}
