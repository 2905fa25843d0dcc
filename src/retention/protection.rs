//! What of a registry is needed, by tag and by digest, before any policy is asked. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::class::Class;
use crate::inventory::keepset::{KeepSet, Kept};
use crate::oci::digest::Digest;
use crate::oci::reference::Reference;

/// Why something is needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Need {
    pub classes: BTreeSet<Class>,
    /// One of the references that need it.
    pub reference: String,
}

impl Need {
    fn add(&mut self, reference: &Reference, kept: &Kept) {
        if self.classes.is_empty() {
            self.reference = reference.to_string();
        }
        self.classes
            .extend(kept.classes.iter().map(|class| Class::Needed(*class)));
    }
}

/// What is needed of a registry.
#[derive(Debug, Default)]
pub struct Protection {
    /// By repository and tag.
    tags: HashMap<Box<str>, HashMap<Box<str>, Need>>,
    /// Whatever host names them: a tag that leads to one of them is needed.
    digests: HashMap<Digest, Need>,
    /// The same by the registry's repositories of which it is told.
    by_repository: HashMap<Box<str>, BTreeSet<Digest>>,
    /// Repositories whose path a host names that no entry has, each with one such reference.
    foreign: BTreeMap<Box<str>, String>,
}

impl Protection {
    /// `is_own` tells the hosts of the registry, `is_listed` those that some entry has.
    pub fn of(
        kept: &KeepSet,
        is_own: &dyn Fn(&str) -> bool,
        is_listed: &dyn Fn(&str) -> bool,
    ) -> Self {
        let mut protection = Self::default();
        for (reference, kept) in kept.references() {
            for digest in &kept.digests {
                let need = protection.digests.entry(*digest).or_default();
                need.add(reference, kept);
            }
            let repository = reference.repository();
            if is_own(reference.host()) {
                let digests = protection.by_repository.entry(repository.into());
                digests.or_default().extend(&kept.digests);
                if let Some(tag) = reference.tag() {
                    let tags = protection.tags.entry(repository.into()).or_default();
                    tags.entry(tag.into()).or_default().add(reference, kept);
                }
            } else if !is_listed(reference.host()) {
                // A cache, or a proxy with projects, puts something before a repository's path.
                for path in suffixes(repository) {
                    let foreign = protection.foreign.entry(path.into());
                    foreign.or_insert_with(|| reference.to_string());
                }
            }
        }
        protection
    }

    /// Who needs a tag by its name.
    pub fn tag(&self, repository: &str, tag: &str) -> Option<&Need> {
        self.tags.get(repository)?.get(tag)
    }

    /// The tags that are needed by their names, of all repositories.
    pub fn tags(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.tags.iter();
        all.flat_map(|(repository, tags)| tags.keys().map(|tag| (&**repository, &**tag)))
    }

    /// Everything that is needed by its digest.
    pub fn digests(&self) -> impl Iterator<Item = (&Digest, &Need)> {
        self.digests.iter()
    }

    /// What is needed of one repository by its digest.
    pub fn of_repository(&self, repository: &str) -> impl Iterator<Item = Digest> {
        let digests = self.by_repository.get(repository).into_iter();
        digests.flatten().copied()
    }

    /// A reference that may mean this repository, by a host that no entry has.
    pub fn foreign(&self, repository: &str) -> Option<&str> {
        self.foreign.get(repository).map(String::as_str)
    }
}

/// A path, and what is left of it without its first parts.
fn suffixes(path: &str) -> impl Iterator<Item = &str> {
    let parts = path
        .match_indices('/')
        .filter_map(|(at, _)| path.get(at + 1..));
    std::iter::once(path).chain(parts)
}
