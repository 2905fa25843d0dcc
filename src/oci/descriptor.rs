//! Content descriptors: type, digest and size of an object, as a manifest names it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
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

/// As it stands in the JSON. Unknown fields are allowed by the spec, and `null` is how Go writes
/// what it does not have.
#[derive(Debug, Deserialize)]
pub(super) struct RawDescriptor {
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    /// Kept as text: another algorithm is no mistake of the manifest's.
    digest: String,
    size: u64,
    platform: Option<RawPlatform>,
    urls: Option<Vec<String>>,
    data: Option<String>,
}

#[derive(Debug, Deserialize)]
struct RawPlatform {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    #[serde(rename = "os.version")]
    os_version: Option<String>,
}

impl From<RawPlatform> for Platform {
    fn from(raw: RawPlatform) -> Self {
        let RawPlatform {
            os,
            architecture,
            variant,
            os_version,
        } = raw;
        let (os, architecture) = (os.unwrap_or_default(), architecture.unwrap_or_default());
        Self::new(&os, &architecture, variant.as_deref()).with_os_version(os_version.as_deref())
    }
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
            data,
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
        if let Some(data) = data {
            check_data(&data, digest, size)?;
        }
        Ok(Self {
            media_type: media_type.unwrap_or_default(),
            digest,
            size,
            platform: platform.map(Platform::from),
            has_urls: urls.is_some_and(|urls| !urls.is_empty()),
        })
    }
}

/// The object's own content may stand in its descriptor (image-spec, descriptor.md, `data`). It proves
/// nothing, since not every client looks at it; but it can spoil the image: containerd takes content of
/// the right length from there in the place of the registry's, and refuses what has another digest.
fn check_data(data: &str, digest: Digest, size: u64) -> Result<(), InvalidManifest> {
    let content = BASE64
        .decode(data)
        .map_err(|_undecodable| InvalidManifest::Data(digest))?;
    if content.len() as u64 == size && Digest::of(&content) != digest {
        return Err(InvalidManifest::Data(digest));
    }
    Ok(())
}
