//! What is known of images and registries across a restart.
//!
//! Nothing turns green by a restart: what was broken stays broken until a proof, a proof keeps its own
//! time and grows old by it, and what was proven for other platforms than count now was not proven.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::drift::PlatformsBefore;
use crate::images::{ImageKey, PullerKey};
use crate::oci::digest::Digest;
use crate::oci::platform::Platform;
use crate::second::Second;
use crate::verify::change::Change;
use crate::verify::depth::Rotation;
use crate::verify::finding::Report;
use crate::verify::suspects::Suspect;
use crate::verify::target::Needs;

/// What an image was found to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedImage {
    pub needs: Needs,
    pub report: Arc<Report>,
    pub proven_at: Option<Second>,
    pub since: Second,
    /// In full: of two rounds that began in one second, one began later.
    pub asked_at: Timestamp,
    /// Where there is more to remember of its platforms than the report has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platforms: Option<Box<PlatformsBefore>>,
    /// When its verdict changed, the oldest first.
    #[serde(default, skip_serializing_if = "<[Change]>::is_empty")]
    pub changes: Box<[Change]>,
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
    /// Canonical reference and its last proof, ever.
    pub proven: Vec<(Arc<str>, Second)>,
    pub images: HashMap<Digest, RememberedImage>,
    pub registries: HashMap<String, RegistryMemory>,
}

/// A part of what changed, for safekeeping.
#[derive(Debug, Clone, Default)]
pub struct Unsaved {
    pub proven: Vec<(Arc<str>, Second)>,
    pub images: Vec<(Digest, RememberedImage)>,
    /// The images that these are.
    pub keys: Vec<Arc<ImageKey>>,
    /// No longer needed.
    pub forgotten: Vec<Digest>,
    pub registries: HashMap<Arc<str>, RegistryMemory>,
}

impl Unsaved {
    /// How many rows it has besides those of registries.
    pub fn len(&self) -> usize {
        self.proven.len() + self.images.len() + self.forgotten.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.registries.is_empty()
    }
}

/// What many rows have in common, kept once however many rows are read.
#[derive(Debug, Default)]
pub struct Common {
    platforms: HashSet<Platform>,
    needs: HashSet<Needs>,
}

impl Common {
    /// The same image, with what it has in common with those before it.
    #[must_use]
    pub fn share(&mut self, mut image: RememberedImage) -> RememberedImage {
        if let Some(known) = self.needs.get(&image.needs) {
            image.needs = known.clone();
        } else {
            self.needs.insert(image.needs.clone());
        }
        for report in Arc::make_mut(&mut image.report).platforms.iter_mut() {
            let Some(platform) = &mut report.platform else {
                continue;
            };
            if let Some(known) = self.platforms.get(platform) {
                *platform = known.clone();
            } else {
                self.platforms.insert(platform.clone());
            }
        }
        image
    }
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

#[cfg(test)]
mod tests;
