//! What is known about each object of one registry: one row for a distinct
//! (identity, repository, digest), shared by all images that name it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::depth::Depth;
use super::finding::Code;
use super::node::{Node, Shape};
use super::objects::Objects;
use super::target::AuthId;
use crate::oci::digest::Digest;
use crate::oci::platform::Platform;

/// A repository's number in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RepositoryId(u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    Manifest,
    Blob,
    /// A manifest again, asked for only to learn whether an identity may have it.
    Access,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ObjectKey {
    pub auth: AuthId,
    pub repository: RepositoryId,
    pub digest: Digest,
    pub kind: ObjectKind,
}

/// A tag as one identity asks for it.
pub type TagKey = (AuthId, RepositoryId, Arc<str>);

/// The last thing that was learnt of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// It was never asked for.
    Unasked,
    /// It is there. The size is `None` where the registry redirects without telling.
    Present { size: Option<u64> },
    /// Not there: said by the registry itself, and confirmed.
    Missing,
    /// Its bytes do not have its digest.
    WrongDigest,
    /// The registry says that it is there, and its bytes end after so many: read twice.
    Short { read: u64 },
    /// Anything else. The code's verdict is `unknown`.
    Unknown { code: Code, message: Arc<str> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectState {
    pub fact: Fact,
    /// When it was last there; kept through unknown and missing.
    pub proven_at: Option<Timestamp>,
    /// When a byte of it was last read.
    pub read_at: Option<Timestamp>,
    /// What was found broken at this depth is asked for at this depth, until it is proven there: a
    /// HEAD that lied once would make it whole again.
    pub suspect: Depth,
    /// The number of the last round that reached it; in that round it was asked for if it was due.
    pub round: u32,
    /// The depth at which its children were last visited, in that round.
    pub depth: u8,
}

/// The table of one registry. It lives as long as the daemon, and is filled by rounds.
#[derive(Debug, Default)]
pub struct Table {
    ids: HashMap<Arc<str>, RepositoryId>,
    pub objects: Objects,
    /// Manifests by digest: immutable, so fetched once.
    pub nodes: HashMap<Digest, Arc<Node>>,
    /// Platforms of configs of lone manifests: immutable too. `None`: the config does not say.
    pub configs: HashMap<Digest, Option<Platform>>,
    /// What each tag named when it was last resolved.
    pub tags: HashMap<TagKey, Digest>,
    /// What was found broken by reading, by whichever round: see [`ObjectState::suspect`].
    pub suspects: HashMap<(RepositoryId, Digest), Depth>,
    pub round: u32,
}

impl Table {
    pub fn repository_id(&mut self, name: &Arc<str>) -> RepositoryId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let number = u32::try_from(self.ids.len()).expect("fewer than 2^32 repositories");
        let id = RepositoryId(number);
        self.ids.insert(Arc::clone(name), id);
        id
    }

    /// The id of a repository that may not have been seen yet.
    pub fn known_repository(&self, name: &str) -> Option<RepositoryId> {
        self.ids.get(name).copied()
    }

    /// The names of the repositories by their numbers.
    pub fn names(&self) -> HashMap<RepositoryId, Arc<str>> {
        let named = self.ids.iter().map(|(name, id)| (*id, Arc::clone(name)));
        named.collect()
    }

    /// Forgets what the round that just ended did not reach, so that the table follows the inventory
    /// and not its history. Only after a round over all images.
    pub fn forget_unreached(&mut self) {
        let round = self.round;
        self.objects.keep_round(round);
        let manifests = self
            .objects
            .iter()
            .filter(|(key, _)| key.kind != ObjectKind::Blob);
        let kept: HashSet<Digest> = manifests.map(|(key, _)| key.digest).collect();
        self.nodes.retain(|digest, _| kept.contains(digest));
        let configs: HashSet<Digest> = self
            .nodes
            .values()
            .filter_map(|node| match &node.shape {
                Shape::Image { config, .. } => Some(config.digest),
                Shape::Index(_) | Shape::Unsupported(_) | Shape::Invalid(_) => None,
            })
            .collect();
        self.configs.retain(|digest, _| configs.contains(digest));
    }
}
