//! Which tags name what: of each repository the last answer. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use crate::images::{ImageKey, PullerKey};
use crate::oci::digest::Digest;
use crate::second::Second;

pub use self::pass::{Named, Pass};

mod pass;

/// What is asked of the tags of one repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Digests that workloads pin, rather than a tag.
    pub pinned: BTreeSet<Digest>,
    /// Indexes that workloads name.
    pub indexes: BTreeSet<Digest>,
    /// Manifests below those.
    pub children: BTreeSet<Digest>,
}

impl Wanted {
    pub fn is_empty(&self) -> bool {
        self.pinned.is_empty() && self.children.is_empty()
    }

    /// Whether it is asked which tags name this one.
    pub fn has(&self, digest: &Digest) -> bool {
        self.pinned.contains(digest) || self.children.contains(digest)
    }
}

/// What is known of the tags of one repository, as far as it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Until when it counts.
    pub fresh_until: Second,
    /// Every tag was looked at: what was not found is not there.
    is_whole: bool,
    /// The roots that were asked about, each by a part of its digest, in order. There are as many as
    /// images.
    roots: Box<[u64]>,
    /// Of what was asked about, in order: the tags that name it directly.
    named: Box<[(Digest, Tags)]>,
    /// Pinned, and neither named by a tag nor below an index that one names.
    untagged: Box<[Digest]>,
}

/// Tags, in order.
type Tags = Box<[Arc<str>]>;

impl Answer {
    /// The tags that name a manifest of this root's tree directly: all, or at least one of them. None of
    /// them is an empty list; `None`: it was not asked, or is not known.
    pub fn tags(&self, root: &Digest, digest: &Digest) -> Option<&[Arc<str>]> {
        self.roots.binary_search(&part(root)).ok()?;
        match self.named.binary_search_by(|(named, _)| named.cmp(digest)) {
            Ok(at) => self.named.get(at).map(|(_, tags)| &**tags),
            Err(_) => self.is_whole.then_some(&[]),
        }
    }

    /// Whether a pinned digest is known to be kept by no tag.
    pub fn is_untagged(&self, pinned: &Digest) -> bool {
        self.untagged.binary_search(pinned).is_ok()
    }
}

/// Enough of a digest to tell it from another one of its repository.
fn part(digest: &Digest) -> u64 {
    let (first, _) = digest.as_bytes().as_chunks::<8>();
    first.first().copied().map_or(0, u64::from_be_bytes)
}

/// The answers of one registry, by repository and by whose credential pulls: what one is shown is not
/// told to another.
pub type HostTags = HashMap<(Arc<str>, Arc<PullerKey>), Arc<Answer>>;

/// The answers of all registries.
#[derive(Debug, Clone, Default)]
pub struct KnownTags(BTreeMap<Arc<str>, Arc<HostTags>>);

impl KnownTags {
    /// Takes all answers of one registry.
    pub fn set(&mut self, host: Arc<str>, tags: Arc<HostTags>) {
        self.0.insert(host, tags);
    }

    /// Forgets registries.
    pub fn retain(&mut self, mut is_there: impl FnMut(&str) -> bool) {
        self.0.retain(|host, _| is_there(host));
    }

    /// What is known of the tags beside an image, now.
    pub fn of(&self, key: &ImageKey, now: Timestamp) -> Option<&Answer> {
        let tags = self.0.get(key.reference.host())?;
        let place = (key.reference.shared_repository(), Arc::clone(&key.puller));
        let answer = tags.get(&place)?;
        (answer.fresh_until >= Second::from(now)).then_some(answer)
    }
}
