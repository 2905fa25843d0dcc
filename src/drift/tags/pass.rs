//! One pass over the tags of a repository: which of them are looked at, in which order, and what follows.
//!
//! Each look is a request, and repositories have thousands of tags: a pass ends as soon as everything
//! that is wanted was found, and what a look has told is never asked for again in it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::{Answer, Wanted, part};
use crate::oci::digest::Digest;
use crate::second::Second;

/// What a look at one tag has told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named<'a> {
    Manifest {
        digest: Digest,
        /// What it names itself, at any depth.
        below: &'a [Digest],
    },
    /// The tag is gone.
    Nothing,
    /// It could not be told, so that what no other tag names may be named by this one.
    Unknown,
}

/// A pass that has begun.
#[derive(Debug)]
pub struct Pass {
    wanted: Wanted,
    /// In the order in which they are looked at.
    open: VecDeque<Arc<str>>,
    in_flight: BTreeSet<Arc<str>>,
    seen: BTreeSet<Arc<str>>,
    named: BTreeMap<Digest, BTreeSet<Arc<str>>>,
    /// Pinned, and below an index that a tag names.
    below: BTreeSet<Digest>,
    is_listed: bool,
    was_listed_again: bool,
    is_doubtful: bool,
}

impl Pass {
    pub fn begin(wanted: Wanted) -> Self {
        Self {
            wanted,
            open: VecDeque::new(),
            in_flight: BTreeSet::new(),
            seen: BTreeSet::new(),
            named: BTreeMap::new(),
            below: BTreeSet::new(),
            is_listed: false,
            was_listed_again: false,
            is_doubtful: false,
        }
    }

    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Takes what is listed; what was looked at already is not looked at again. Those go first that are
    /// the likeliest to name what is wanted.
    pub fn list(&mut self, tags: impl IntoIterator<Item = Arc<str>>, rank: impl Fn(&str) -> u8) {
        let is_new = |tag: &Arc<str>| !self.seen.contains(tag) && !self.in_flight.contains(tag);
        let mut new: Vec<Arc<str>> = tags.into_iter().filter(is_new).collect();
        new.sort_by_key(|tag| rank(tag));
        self.open = new.into();
        self.is_listed = true;
    }

    pub fn is_listed(&self) -> bool {
        self.is_listed
    }

    /// The next tag to look at; `None` if there is enough, or none is left.
    pub fn next_tag(&mut self) -> Option<Arc<str>> {
        if self.has_enough() {
            return None;
        }
        let tag = self.open.pop_front()?;
        self.in_flight.insert(Arc::clone(&tag));
        Some(tag)
    }

    /// Takes what a look has told.
    pub fn record(&mut self, tag: Arc<str>, named: Named<'_>) {
        self.in_flight.remove(&tag);
        match named {
            Named::Manifest { digest, below } => {
                let pinned = &self.wanted.pinned;
                let below = below.iter().filter(|digest| pinned.contains(digest));
                self.below.extend(below);
                if self.wanted.has(&digest) {
                    let tags = self.named.entry(digest).or_default();
                    tags.insert(Arc::clone(&tag));
                }
            }
            Named::Nothing => {}
            Named::Unknown => self.is_doubtful = true,
        }
        self.seen.insert(tag);
    }

    /// What was asked for and not answered is asked for again.
    pub fn resume(&mut self) {
        self.open.extend(std::mem::take(&mut self.in_flight));
    }

    /// Whether everything that is wanted was found. A child of an index is found by a tag of its own.
    pub fn has_enough(&self) -> bool {
        let mut children = self.wanted.children.iter();
        self.unkept().next().is_none() && children.all(|child| self.named.contains_key(child))
    }

    /// Pinned, and kept by no tag that was looked at.
    fn unkept(&self) -> impl Iterator<Item = &Digest> {
        let pinned = self.wanted.pinned.iter();
        pinned.filter(|digest| !self.named.contains_key(digest) && !self.below.contains(digest))
    }

    /// Whether there is nothing more to look at.
    pub fn is_over(&self) -> bool {
        let is_through = self.is_listed && self.open.is_empty() && self.in_flight.is_empty();
        is_through || self.has_enough()
    }

    /// How many tags it still holds.
    pub fn len(&self) -> usize {
        self.open.len() + self.in_flight.len() + self.seen.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the tags are to be listed once more before something pinned is said to have none: one that
    /// came meanwhile may name it, and a list in pages lacks the tag behind one that was deleted
    /// (distribution goes on behind the place where the last one would be).
    pub fn wants_list_again(&mut self) -> bool {
        let is_needed = self.is_over() && !self.is_doubtful && self.unkept().next().is_some();
        is_needed && !std::mem::replace(&mut self.was_listed_again, true)
    }

    /// What follows from it. Of what is not whole only what was found.
    pub fn answer(&self, fresh_until: Second) -> Answer {
        let is_through = self.is_listed && self.open.is_empty() && self.in_flight.is_empty();
        let is_whole = is_through && !self.is_doubtful;
        let Wanted {
            pinned, indexes, ..
        } = &self.wanted;
        let roots: BTreeSet<u64> = pinned.iter().chain(indexes).map(part).collect();
        let untagged = self.unkept().filter(|_| is_whole);
        let named = self.named.iter();
        Answer {
            fresh_until,
            is_whole,
            roots: roots.into_iter().collect(),
            untagged: untagged.copied().collect(),
            named: named
                .map(|(digest, tags)| (*digest, tags.iter().cloned().collect()))
                .collect(),
        }
    }
}
