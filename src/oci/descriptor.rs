//! Content descriptors: type, digest and size of an object, as a manifest names it.

use serde::Deserialize;

use super::digest::{Digest, InvalidDigest};
use super::manifest::InvalidManifest;
use super::platform::Platform;

/// One entry of a manifest or index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    /// Only in an index; `None` where the index does not say.
    pub platform: Option<Platform>,
    /// The content may be fetched elsewhere (`urls`); the registry need not hold it.
    pub has_urls: bool,
}

/// As it stands in the JSON. Unknown fields are allowed by the spec.
#[derive(Debug, Deserialize)]
pub(super) struct RawDescriptor {
    #[serde(rename = "mediaType", default)]
    media_type: String,
    /// Kept as text: another algorithm is no mistake of the manifest's.
    digest: String,
    size: u64,
    #[serde(default)]
    platform: Option<RawPlatform>,
    #[serde(default)]
    urls: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct RawPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
    #[serde(rename = "os.version", default)]
    os_version: Option<String>,
}

impl TryFrom<RawDescriptor> for Descriptor {
    type Error = InvalidManifest;

    fn try_from(raw: RawDescriptor) -> Result<Self, Self::Error> {
        let RawDescriptor {
            media_type,
            digest,
            size,
            platform,
            urls,
        } = raw;
        let digest =
            digest
                .parse()
                .map_err(|invalid: InvalidDigest| match digest.split_once(':') {
                    Some((algorithm @ ("sha512" | "sha384" | "blake3"), _)) => {
                        InvalidManifest::OtherAlgorithm(algorithm.to_owned())
                    }
                    Some(_) | None => InvalidManifest::NotJson(invalid.to_string()),
                })?;
        Ok(Self {
            media_type,
            digest,
            size,
            platform: platform.map(|raw| Platform {
                os_version: raw.os_version,
                ..Platform::new(&raw.os, &raw.architecture, raw.variant.as_deref())
            }),
            has_urls: urls.is_some_and(|urls| !urls.is_empty()),
        })
    }
}
