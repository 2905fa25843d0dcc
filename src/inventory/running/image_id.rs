//! What a kubelet writes as `imageID`, in all its forms.
//!
//! It may be the digest of an index, of a child or of a config, with a repository or without, by runtime
//! and version (kubernetes#115199, kubernetes#108689, containerd#12787). So a digest is compared with
//! all that a tag leads to, and what it is of is never guessed.

use serde::{Deserialize, Serialize};

use crate::oci::digest::Digest;
use crate::oci::reference::Reference;

/// The longest that is looked at: a reference, and a scheme before it.
const IMAGE_ID_BYTES_MAX: usize = 1024;

/// What runs, as far as its node knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ImageId {
    pub digest: Digest,
    pub place: Place,
}

/// Where the node says that it is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The repository that the container names: `repository@digest` can be asked for there.
    Named,
    /// Another repository. A node that has the same content by several names writes any of them, and for
    /// an image that was loaded from a file a name of its own making.
    Other,
    /// It says none: mostly a config's digest, or an image that was loaded from a file.
    Nowhere,
}

impl ImageId {
    /// Reads an `imageID` of a container whose image is `named`. `None` where it has no digest that could
    /// be compared.
    pub fn of(text: &str, named: Option<&Reference>) -> Option<Self> {
        if text.len() > IMAGE_ID_BYTES_MAX {
            return None;
        }
        // `docker-pullable://` before a repository, `docker://` before a config's digest.
        let text = text.split_once("://").map_or(text, |(_, rest)| rest);
        let Some((repository, digest)) = text.rsplit_once('@') else {
            return Some(Self {
                digest: bare(text)?,
                place: Place::Nowhere,
            });
        };
        let digest = digest.parse().ok()?;
        let is_named = || {
            let written: Reference = repository.parse().ok()?;
            let named = named?;
            Some(written.host() == named.host() && written.repository() == named.repository())
        };
        let place = if is_named().unwrap_or_default() {
            Place::Named
        } else {
            Place::Other
        };
        Some(Self { digest, place })
    }
}

/// A digest, or only its hexadecimal digits.
fn bare(text: &str) -> Option<Digest> {
    let digest = text.parse().ok();
    digest.or_else(|| format!("sha256:{text}").parse().ok())
}
