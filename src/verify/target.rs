//! What is to be proven: one image, with one identity, for certain platforms.

use std::sync::Arc;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::oci::digest::Digest;
use crate::oci::platform::{Platform, choice};

/// Whose credentials ask. Zero is the registry entry's own, or nobody's; all others are the pull
/// secrets of workloads, each an identity of its own whose answers are never another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct AuthId(pub u32);

impl AuthId {
    pub const OWN: Self = Self(0);
}

/// How an image is named in its repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Root {
    Tag(Arc<str>),
    /// A pinned digest; a tag beside it is not looked at, as no runtime does.
    Digest(Digest),
}

/// One image to prove.
#[derive(Debug, Clone)]
pub struct Target {
    pub repository: Arc<str>,
    pub root: Root,
    /// Who asks whether the content exists.
    pub content: AuthId,
    /// Who must be able to pull it, where that is somebody else.
    pub access: Option<AuthId>,
    pub needs: Needs,
}

/// The platforms that must be pullable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Needs {
    /// It is not known who will pull, so all that the index has.
    All,
    These(Arc<[Platform]>),
}

impl Needs {
    /// Which of an index' children count, by their platforms: those that a runtime would take.
    pub fn of(&self, offered: &[Option<&Platform>]) -> Vec<bool> {
        match self {
            // An attestation is nobody's platform.
            Self::All => offered
                .iter()
                .map(|platform| platform.is_none_or(|platform| !platform.is_unknown()))
                .collect(),
            Self::These(nodes) => choice::taken(nodes, offered),
        }
    }

    /// Whether anybody would take an image of this platform.
    pub fn includes(&self, platform: &Platform) -> bool {
        match self {
            Self::All => true,
            Self::These(nodes) => nodes.iter().any(|node| platform.suits(node)),
        }
    }
}

/// How often an object is asked for, and so how long its proof counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cadence {
    /// Tags and manifests.
    pub interval: SignedDuration,
    /// Configs and layers.
    pub blob_interval: SignedDuration,
}

/// A proof is too old after this many times the interval.
pub const STALE_AFTER_INTERVALS: i32 = 3;
