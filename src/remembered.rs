//! What is known of images and registries across a restart.
//!
//! Nothing turns green by a restart: what was broken stays broken until a proof, a proof keeps its own
//! time and grows old by it, and what was proven for other platforms than count now was not proven.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::images::{ImageKey, PullerKey};
use crate::oci::digest::Digest;
use crate::verify::depth::Rotation;
use crate::verify::finding::Report;
use crate::verify::suspects::Suspect;
use crate::verify::target::Needs;

/// What an image was found to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedImage {
    pub needs: Needs,
    pub report: Arc<Report>,
    pub proven_at: Option<Timestamp>,
    pub since: Timestamp,
    pub asked_at: Timestamp,
}

/// What is remembered of one registry besides its images.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryMemory {
    pub rotation: Rotation,
    pub suspects: Vec<Suspect>,
    /// The end of the last round over all images, and of the last one that found nothing wrong.
    pub last_completed_at: Option<Timestamp>,
    pub last_clean_at: Option<Timestamp>,
    pub interval: Option<SignedDuration>,
}

/// All that a store gives back at a start.
#[derive(Debug, Clone, Default)]
pub struct Remembered {
    /// Of this store alone: the names below are made with it.
    pub salt: Digest,
    /// Canonical reference to the second of its last proof, ever.
    pub proven: Vec<(String, i64)>,
    pub images: HashMap<Digest, RememberedImage>,
    pub registries: HashMap<String, RegistryMemory>,
}

/// What changed since it was last taken for safekeeping.
#[derive(Debug, Clone, Default)]
pub struct Unsaved {
    pub proven: Vec<(Arc<str>, i64)>,
    /// In order. `None`: no longer needed.
    pub images: Vec<(Digest, Option<RememberedImage>)>,
    pub registries: HashMap<Arc<str>, RegistryMemory>,
}

/// An image's name on a disk. A credential is a part of it, so it is hashed with a salt: whoever reads
/// the disk cannot try passwords on it.
pub fn name(salt: &Digest, key: &ImageKey) -> Digest {
    let (kind, puller) = match &*key.puller {
        PullerKey::Own => ("own", String::new()),
        PullerKey::Secrets(ids) => ("secrets", ids.join(" ")),
        PullerKey::Unavailable(label) => ("unavailable", label.to_string()),
    };
    let reference = &key.reference;
    Digest::of(format!("{salt}\n{reference}\n{kind}\n{puller}").as_bytes())
}
