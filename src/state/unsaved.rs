//! What a restart would not give back yet, and how it is given out for safekeeping: in parts, so that
//! what is written is never there twice as a whole.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::State;
use crate::images::ImageKey;
use crate::oci::digest::Digest;
use crate::remembered::{self, RegistryMemory, Unsaved};
use crate::second::Second;

/// What was not given out yet.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// In the order in which they changed; each is there once.
    images: VecDeque<Arc<ImageKey>>,
    /// The last proofs, by canonical reference.
    proven: BTreeMap<Arc<str>, Second>,
    /// Names of what nothing names any more.
    forgotten: HashSet<Digest>,
    pub(super) registries: HashMap<Arc<str>, RegistryMemory>,
}

impl Changed {
    pub(super) fn push(&mut self, key: Arc<ImageKey>) {
        self.images.push_back(key);
    }

    pub(super) fn forget(&mut self, name: Digest) {
        self.forgotten.insert(name);
    }

    pub(super) fn prove(&mut self, reference: &Arc<str>, at: Second) {
        self.proven.insert(Arc::clone(reference), at);
    }

    fn len(&self) -> usize {
        self.images.len() + self.proven.len() + self.forgotten.len()
    }
}

impl State {
    /// How many rows are not given out yet, and puts them into the order of their names: written in
    /// that order, neighbours share a page of the file.
    pub fn sort_unsaved(&mut self) -> usize {
        let salt = &self.remembered.salt;
        let beginning = |key: &Arc<ImageKey>| {
            let name = remembered::name(salt, key);
            let first = name.as_bytes().first_chunk();
            first.map_or(0, |first| u64::from_be_bytes(*first))
        };
        let images = self.unsaved.images.make_contiguous();
        images.sort_by_cached_key(beginning);
        self.unsaved.len()
    }

    /// A part of what changed and was not given out yet, of at most so many rows; the registries come
    /// with the first one. Whoever cannot write it gives it back by [`Self::put_back`].
    ///
    /// What was read to be broken comes before the verdict that rests on it. What nothing names any more
    /// goes last: whoever inherits a broken verdict has it on disk before it goes from there.
    pub fn take_unsaved(&mut self, most: usize) -> Unsaved {
        let mut part = Unsaved {
            registries: std::mem::take(&mut self.unsaved.registries),
            ..Unsaved::default()
        };
        while part.len() < most
            && let Some(key) = self.unsaved.images.pop_front()
        {
            self.take_image(key, &mut part);
        }
        while part.len() < most
            && let Some(proof) = self.unsaved.proven.pop_first()
        {
            part.proven.push(proof);
        }
        let left = most.saturating_sub(part.len());
        let names: Vec<Digest> = self.unsaved.forgotten.iter().take(left).copied().collect();
        for name in names {
            self.unsaved.forgotten.remove(&name);
            part.forgotten.push(name);
        }
        if self.unsaved.len() == 0 {
            // What one large round needed is not kept until the next.
            self.unsaved = Changed::default();
        }
        part
    }

    fn take_image(&mut self, key: Arc<ImageKey>, part: &mut Unsaved) {
        let Some(position) = self.standings.position(&key) else {
            return;
        };
        if let Some(standing) = self.standings.at_mut(position) {
            standing.is_unsaved = false;
        }
        let Some((image, standing)) = self.standings.at(position) else {
            return;
        };
        let Some(mut remembered) = standing.to_remember(image.needs.clone()) else {
            return;
        };
        remembered.platforms = self.drifting.platforms_before(&key).cloned().map(Box::new);
        remembered.changes = self.histories.of(&key).into();
        let name = remembered::name(&self.remembered.salt, &key);
        // It is named again.
        self.unsaved.forgotten.remove(&name);
        part.images.push((name, remembered));
        part.keys.push(key);
    }

    /// Takes back what could not be written.
    pub fn put_back(&mut self, part: Unsaved) {
        let Unsaved {
            proven,
            images: _,
            forgotten,
            registries,
            keys,
        } = part;
        for key in keys {
            self.mark_unsaved(&key);
        }
        for (reference, at) in proven {
            // What was proven since is newer.
            self.unsaved.proven.entry(reference).or_insert(at);
        }
        self.unsaved.forgotten.extend(forgotten);
        for (host, memory) in registries {
            self.unsaved.registries.entry(host).or_insert(memory);
        }
    }

    /// Notes that an image has changed.
    pub(super) fn mark_unsaved(&mut self, key: &ImageKey) {
        let Some(position) = self.standings.position(key) else {
            return;
        };
        let Some(standing) = self.standings.at_mut(position) else {
            return;
        };
        if std::mem::replace(&mut standing.is_unsaved, true) {
            return;
        }
        if let Some((image, _)) = self.standings.at(position) {
            self.unsaved.push(Arc::clone(&image.key));
        }
    }
}
