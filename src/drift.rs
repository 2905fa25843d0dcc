//! Drift: what runs, and what is asked for, against what the registry has under the same name now. Pure.
//!
//! A running image ID may be the digest of an index, of a child or of a config: equal to any of those
//! that the tag leads to is no drift, and what cannot be told is never drift. A moved tag is the normal
//! state of a mutable one.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::images::{Image, ImageKey};
use crate::inventory::User;
use crate::inventory::running::{ImageId, Place, Refusal};
use crate::oci::digest::Digest;
use crate::oci::platform::Platform;
use crate::verify::finding::{Code, Report};
use crate::verify::node::{Node, Shape};
use crate::verify::round::{DEPTH_MAX, NODES_MAX};

pub use self::platforms::PlatformsBefore;

mod platforms;
pub mod tags;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// How something drifts. Closed: label values are made of these.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Kind { $($(#[$doc])* $variant,)* }

        impl Kind {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

kinds! {
    /// The tag now names another image than the one running: information, never an alert.
    TagMoved = "tag_moved",
    /// What runs could not be pulled again.
    RunningDigestMissing = "running_digest_missing",
    /// No tag names the digest that is pinned, nor an index above it: nothing but the inventory keeps it.
    PinnedDigestUntagged = "pinned_digest_untagged",
    /// The index had it at an earlier proof.
    PlatformMissing = "platform_missing",
    /// A mirror serves another digest.
    RegistryDisagreement = "registry_disagreement",
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// That a node could not pull what is said to be pullable, or has pulled what is said to be broken: either
/// of the two is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    pub user: Arc<User>,
    pub refusal: Refusal,
}

/// One thing that drifts, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    pub kind: Kind,
    /// What runs, what is pinned, or what another endpoint serves.
    pub digest: Option<Digest>,
    pub platform: Option<Platform>,
    /// The endpoint that serves another digest.
    pub registry: Option<Arc<str>>,
    pub users: Arc<[Arc<User>]>,
}

/// What runs, to what its name leads to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    Same,
    Moved,
    CannotTell,
}

/// Compares what runs with the tree below a root, as far as its manifests were read.
pub fn relation(root: Digest, id: ImageId, node: impl Fn(&Digest) -> Option<Node>) -> Relation {
    let mut is_whole = true;
    let mut seen = HashSet::from([root]);
    let mut level = vec![root];
    for depth in 0..=DEPTH_MAX {
        if level.contains(&id.digest) {
            return Relation::Same;
        }
        if level.is_empty() {
            break;
        }
        if depth == DEPTH_MAX || seen.len() > NODES_MAX as usize {
            is_whole = false;
            break;
        }
        let mut below = Vec::new();
        for digest in level {
            match node(&digest).map(|node| node.shape) {
                Some(Shape::Index(children)) => {
                    for child in children {
                        if child.digest == id.digest {
                            return Relation::Same;
                        }
                        // A layer among the children leads to nothing more.
                        if !child.is_blob && seen.insert(child.digest) {
                            below.push(child.digest);
                        }
                    }
                }
                Some(Shape::Image { config, .. }) if config.digest == id.digest => {
                    return Relation::Same;
                }
                Some(Shape::Image { .. }) => {}
                Some(Shape::Unsupported(_) | Shape::Invalid(_)) | None => is_whole = false,
            }
        }
        level = below;
    }
    // Of an image that a node was given as a file, or has by several names, not even the manifest's
    // digest has to be the registry's.
    if is_whole && id.place != Place::Other {
        Relation::Moved
    } else {
        Relation::CannotTell
    }
}

/// What a walk says of what runs of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    pub key: Arc<ImageKey>,
    /// All that runs and is not the same.
    pub others: Vec<(ImageId, Relation)>,
}

/// Compares all that runs of an image with what a walk found. `None` where nothing runs, and where it is
/// not known to what the name leads.
pub fn compare(
    image: &Image,
    found: &Report,
    node: impl Fn(&Digest) -> Option<Node>,
) -> Option<Compared> {
    let running = image.running_ids();
    if running.is_empty() {
        return None;
    }
    let is_gone = || {
        let mut findings = found.findings.iter();
        findings.any(|finding| finding.code == Code::TagMissing)
    };
    if found.digest.is_none() && !is_gone() {
        return None;
    }
    let related = running.into_iter().map(|id| {
        let root = found.digest;
        let relation = root.map_or(Relation::CannotTell, |root| relation(root, id, &node));
        (id, relation)
    });
    Some(Compared {
        key: Arc::clone(&image.key),
        others: related
            .filter(|(_, relation)| *relation != Relation::Same)
            .collect(),
    })
}

impl Compared {
    /// What has to be proven apart: it runs, can be asked for, and is not known to be in the tree of what
    /// its name leads to.
    pub fn apart(&self) -> impl Iterator<Item = Digest> {
        let named = self
            .others
            .iter()
            .filter(|(id, _)| id.place == Place::Named);
        named.map(|(id, _)| id.digest)
    }

    /// With what was known before: who cannot tell does not take back what was told.
    #[must_use]
    pub fn after(mut self, before: Option<&Self>) -> Self {
        let was_moved = |id: &ImageId| {
            let mut before = before.iter().flat_map(|before| &before.others);
            before.any(|other| *other == (*id, Relation::Moved))
        };
        for (id, relation) in &mut self.others {
            if *relation == Relation::CannotTell && was_moved(id) {
                *relation = Relation::Moved;
            }
        }
        self
    }
}

#[cfg(test)]
mod tests;
