//! What is known about each object of one registry: one row for a distinct
//! (identity, repository, digest), shared by all images that name it.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::depth::Depth;
use super::finding::Code;
use super::node::Node;
use super::nodes::Nodes;
use super::objects::Objects;
use super::target::AuthId;
use crate::oci::digest::Digest;

mod configs;

use configs::Configs;

/// A repository's number in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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
    /// Numbers come again after 65,536 rounds, and cannot be confused: who is not reached is forgotten
    /// when the round ends.
    pub round: u16,
    /// The depth at which its children were last visited, in that round.
    pub depth: u8,
}

/// What is known of a tag across rounds.
#[derive(Debug, Clone, Copy)]
pub struct KnownTag {
    /// What it named when it was last resolved.
    pub last: Option<Digest>,
    /// The number of the last round that means to ask for it.
    pub round: u16,
}

/// The table of one registry. It lives as long as the daemon, and is filled by rounds.
#[derive(Debug, Default)]
pub struct Table {
    ids: HashMap<Arc<str>, RepositoryId>,
    pub objects: Objects,
    /// Manifests: immutable, so fetched once.
    nodes: Nodes,
    /// Platforms of configs of lone manifests: immutable too. `None`: the config does not say.
    pub configs: Configs,
    /// A tag's number is its place among these; it holds until tags are forgotten.
    tag_ids: HashMap<TagKey, u32>,
    tags: Vec<KnownTag>,
    /// What was found broken by reading, by whichever round: see [`ObjectState::suspect`].
    pub suspects: HashMap<(RepositoryId, Digest), Depth>,
    pub round: u16,
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

    /// The number of a tag.
    pub fn tag_id(&mut self, key: TagKey) -> u32 {
        let number = self.tag_ids.len();
        *self.tag_ids.entry(key).or_insert_with(|| {
            self.tags.push(KnownTag {
                last: None,
                round: self.round,
            });
            u32::try_from(number).expect("fewer than 2^32 tags")
        })
    }

    /// The number of a tag that may not have been seen yet.
    pub fn known_tag(&self, key: &TagKey) -> Option<u32> {
        self.tag_ids.get(key).copied()
    }

    pub fn tag(&self, id: u32) -> Option<&KnownTag> {
        self.tags.get(id as usize)
    }

    pub fn tag_mut(&mut self, id: u32) -> Option<&mut KnownTag> {
        self.tags.get_mut(id as usize)
    }

    fn forget_tags(&mut self) {
        let round = self.round;
        if self.tags.iter().all(|tag| tag.round == round) {
            return;
        }
        let old = std::mem::take(&mut self.tags);
        for (key, id) in std::mem::take(&mut self.tag_ids) {
            if let Some(tag) = old.get(id as usize).filter(|tag| tag.round == round) {
                let new = self.tag_id(key);
                self.tags
                    .get_mut(new as usize)
                    .expect("it was put there")
                    .last = tag.last;
            }
        }
    }

    /// The names of the repositories by their numbers.
    pub fn names(&self) -> HashMap<RepositoryId, Arc<str>> {
        let named = self.ids.iter().map(|(name, id)| (*id, Arc::clone(name)));
        named.collect()
    }

    /// How many manifests are known.
    pub fn manifests(&self) -> usize {
        self.nodes.len()
    }

    pub fn has_node(&self, digest: &Digest) -> bool {
        let id = self.objects.known_id(digest);
        id.is_some_and(|id| self.nodes.contains(id))
    }

    /// What a manifest names, if it was read.
    pub fn node(&self, digest: &Digest) -> Option<Node> {
        self.nodes
            .get(self.objects.known_id(digest)?, &self.objects)
    }

    /// Bytes of a manifest, if it was read.
    pub fn node_size(&self, digest: &Digest) -> Option<u64> {
        self.nodes.size(self.objects.known_id(digest)?)
    }

    /// Whether it was read, and is an index.
    pub fn is_index(&self, digest: &Digest) -> bool {
        let id = self.objects.known_id(digest);
        id.is_some_and(|id| self.nodes.is_index(id))
    }

    pub fn add_node(&mut self, digest: Digest, node: &Node) {
        self.nodes.insert(digest, node, &mut self.objects);
    }

    /// Forgets what the round that just ended did not reach, so that the table follows the inventory
    /// and not its history. Only after a round over all images.
    pub fn forget_unreached(&mut self) {
        self.forget_tags();
        let round = self.round;
        // A manifest was reached before it was read, so all of them stay too.
        if self.objects.are_of_round(round) {
            return;
        }
        let mut reached = Marks::new(&self.objects);
        for (key, state) in self.objects.iter() {
            if key.kind != ObjectKind::Blob && state.round == round {
                reached.set(self.objects.known_id(&key.digest));
            }
        }
        let mut named = Marks::new(&self.objects);
        self.nodes
            .name(|id| reached.has(Some(id)), |id| named.set(Some(id)));
        let renumbered = self.objects.forget(round, |id| named.has(Some(id)));
        self.nodes
            .keep_only(|id| reached.has(Some(id)), &renumbered);
        if self.configs.is_empty() {
            return;
        }
        let mut of_images = Marks::new(&self.objects);
        self.nodes.configs(|id| of_images.set(Some(id)));
        let objects = &self.objects;
        self.configs
            .retain(|digest| of_images.has(objects.known_id(digest)));
    }
}

/// Some of the numbers of digests.
struct Marks(Vec<bool>);

impl Marks {
    fn new(objects: &Objects) -> Self {
        Self(vec![false; objects.numbers()])
    }

    fn set(&mut self, id: Option<u32>) {
        let mark = id.and_then(|id| self.0.get_mut(id as usize));
        *mark.expect("a number of the table") = true;
    }

    fn has(&self, id: Option<u32>) -> bool {
        id.is_some_and(|id| self.0.get(id as usize) == Some(&true))
    }
}

#[cfg(test)]
mod tests;
