//! Pulls as clients do, and believes nothing but what it has hashed.

use reqwest::Client;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::http::client;

pub(crate) const MEDIA_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// Why something could not be pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The registry's answer: it is not there, or what came is something else, or less.
    Missing(String),
    /// Nobody answered, or only that something went wrong.
    Unanswered(String),
}

#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    pub(crate) digest: String,
    pub(crate) media_type: String,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(crate) struct Puller(Client);

impl Puller {
    pub(crate) fn new() -> Self {
        Self(client())
    }

    /// A manifest by tag or digest; `url` is the registry's.
    pub(crate) async fn manifest(
        &self,
        url: &str,
        repository: &str,
        reference: &str,
    ) -> Result<Manifest, Failed> {
        let url = format!("{url}/v2/{repository}/manifests/{reference}");
        let asking = self.0.get(&url).header("accept", MEDIA_TYPES);
        let answer = asking.send().await.map_err(|error| unanswered(&error))?;
        let header = |name: &str| {
            let value = answer.headers().get(name);
            value
                .and_then(|it| it.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        let (told, media_type) = (header("docker-content-digest"), header("content-type"));
        let bytes = body(&url, answer).await?;
        let wanted = if reference.contains(':') {
            reference
        } else {
            &told
        };
        hashed(&url, &bytes, wanted)?;
        Ok(Manifest {
            digest: wanted.to_owned(),
            media_type,
            bytes,
        })
    }

    /// All bytes of a config or a layer.
    pub(crate) async fn blob(
        &self,
        url: &str,
        repository: &str,
        digest: &str,
    ) -> Result<(), Failed> {
        let url = format!("{url}/v2/{repository}/blobs/{digest}");
        let answer = self.0.get(&url).send().await;
        let bytes = body(&url, answer.map_err(|error| unanswered(&error))?).await?;
        hashed(&url, &bytes, digest)
    }

    /// An image with all that it leads to, on all platforms; its digest.
    pub(crate) async fn whole(
        &self,
        url: &str,
        repository: &str,
        reference: &str,
    ) -> Result<String, Failed> {
        let root = self.manifest(url, repository, reference).await?;
        let digest = root.digest.clone();
        let mut waiting = vec![root];
        while let Some(manifest) = waiting.pop() {
            let body: Value = serde_json::from_slice(&manifest.bytes).unwrap_or_default();
            let named = |key: &str| body[key].as_array().cloned().unwrap_or_default();
            for child in named("manifests") {
                let digest = child["digest"].as_str().unwrap_or_default();
                waiting.push(self.manifest(url, repository, digest).await?);
            }
            let config = body["config"]["digest"].as_str().map(ToOwned::to_owned);
            let layers = named("layers").into_iter();
            let layers = layers.filter_map(|it| Some(it["digest"].as_str()?.to_owned()));
            for blob in config.into_iter().chain(layers) {
                self.blob(url, repository, &blob).await?;
            }
        }
        Ok(digest)
    }
}

async fn body(url: &str, answer: reqwest::Response) -> Result<Vec<u8>, Failed> {
    let status = answer.status();
    // A registry that has no bytes tells their number all the same, and sends none.
    let bytes = answer.bytes().await;
    let bytes = bytes.map_err(|error| Failed::Missing(format!("{url}: {error:?}")))?;
    if status.is_success() {
        return Ok(bytes.into());
    }
    let text = format!("{url}: {status} {}", String::from_utf8_lossy(&bytes).trim());
    Err(if status.is_client_error() {
        Failed::Missing(text)
    } else {
        Failed::Unanswered(text)
    })
}

fn hashed(url: &str, bytes: &[u8], wanted: &str) -> Result<(), Failed> {
    let found = digest(bytes);
    if found == wanted {
        return Ok(());
    }
    let count = bytes.len();
    Err(Failed::Missing(format!(
        "{url}: {count} bytes of {found}, not {wanted}"
    )))
}

fn unanswered(error: &reqwest::Error) -> Failed {
    Failed::Unanswered(format!("{error:?}"))
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    let hex = Sha256::digest(bytes);
    let hex = hex.iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", hex.collect::<String>())
}
