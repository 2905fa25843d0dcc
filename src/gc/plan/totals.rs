//! A plan in totals: by reason, and by repository.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Kind, Plan, Reason, links};
use crate::gc::graph::{Graph, ObjectId, Repository};

/// What goes for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfReason {
    pub kind: Kind,
    pub reason: Reason,
    pub count: usize,
    pub bytes: u64,
}

/// What a repository has, and what of it goes. Data that several have is in the shared bytes of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfRepository<'a> {
    pub name: &'a Arc<str>,
    pub tags: usize,
    /// Data that no other repository has.
    pub own_bytes: u64,
    pub shared_bytes: u64,
    /// Rows of the plan.
    pub garbage: usize,
    pub garbage_own_bytes: u64,
    pub garbage_shared_bytes: u64,
    /// Nothing of it goes: it is damaged, out of scope, or in use by another name.
    pub keeps_all: bool,
}

impl Plan {
    /// In order of the kinds and reasons; none that are not there.
    pub fn reasons(&self) -> Vec<OfReason> {
        let mut all: BTreeMap<(Kind, Reason), (usize, u64)> = BTreeMap::new();
        for it in self.garbage() {
            let (count, bytes) = all.entry((it.kind, it.reason)).or_default();
            *count += 1;
            *bytes = bytes.saturating_add(it.bytes);
        }
        let of_reason = |((kind, reason), (count, bytes))| OfReason {
            kind,
            reason,
            count,
            bytes,
        };
        all.into_iter().map(of_reason).collect()
    }

    /// All repositories, in order of their names.
    pub fn repositories(&self) -> Vec<OfRepository<'_>> {
        let links = links(&self.graph);
        let mut goes = vec![false; links.len()];
        for row in self.rows.iter().filter(|row| row.has_data) {
            if let Some(goes) = goes.get_mut(row.object.index()) {
                *goes = true;
            }
        }
        let mut rows = self.rows.iter().peekable();
        let all = self.graph.repositories().map(|(id, repository)| {
            let mut of = OfRepository {
                name: &repository.name,
                tags: repository.tags.len(),
                own_bytes: 0,
                shared_bytes: 0,
                garbage: 0,
                garbage_own_bytes: 0,
                garbage_shared_bytes: 0,
                keeps_all: self.marked.keeps_all(id),
            };
            while rows.next_if(|row| row.repository == Some(id)).is_some() {
                of.garbage += 1;
            }
            for object in distinct(repository) {
                of.add(&self.graph, object, &links, &goes);
            }
            of
        });
        all.collect()
    }
}

impl OfRepository<'_> {
    fn add(&mut self, graph: &Graph, object: ObjectId, links: &[u8], goes: &[bool]) {
        let size = graph.object(object).size().unwrap_or(0);
        let goes = goes.get(object.index()).copied() == Some(true);
        let is_own = links.get(object.index()).copied() == Some(1);
        let (all, garbage) = if is_own {
            (&mut self.own_bytes, &mut self.garbage_own_bytes)
        } else {
            (&mut self.shared_bytes, &mut self.garbage_shared_bytes)
        };
        *all = all.saturating_add(size);
        if goes {
            *garbage = garbage.saturating_add(size);
        }
    }
}

/// What a repository links, each once, in order.
pub(super) fn distinct(repository: &Repository) -> impl Iterator<Item = ObjectId> {
    let mut layers = repository.layers.iter().map(|link| link.object).peekable();
    let mut revisions = (repository.revisions.iter().map(|link| link.object)).peekable();
    std::iter::from_fn(move || match (layers.peek(), revisions.peek()) {
        (Some(layer), Some(revision)) if layer == revision => {
            layers.next();
            revisions.next()
        }
        (Some(layer), Some(revision)) if layer < revision => layers.next(),
        (Some(_), None) => layers.next(),
        (_, Some(_)) => revisions.next(),
        (None, None) => None,
    })
}
