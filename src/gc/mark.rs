//! What is needed of a storage: everything that a root leads to. Pure.
//!
//! Roots are the tags, what the keep-set names by digest, what is young, and, as configured, every
//! revision and what tags named before. A manifest leads to what it names and to what refers to it
//! (`subject`). What is needed is needed in a repository: a link to an object that only others need may
//! go, unless the one who needs it has no link of its own (a sparse index). distribution's own collector
//! marks by digest alone and stops where another repository has marked already, and so loses layers
//! (its `markSet`).

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use super::graph::{Graph, Link, Names, ObjectId, Repository, RepositoryId, position};
use crate::oci::digest::Digest;
use crate::second::Second;

/// What is kept besides what tags and workloads need.
pub struct Rules<'a> {
    /// Manifests that no tag names.
    pub keeps_untagged: bool,
    /// What a tag named before.
    pub keeps_history: bool,
    /// What was written or linked after this is young.
    pub young_after: Second,
    /// Pushes that began before this are dead: the registry takes them away after a week
    /// (`storage.maintenance.uploadpurging`).
    pub pushing_after: Second,
    /// Whether a repository is collected at all.
    pub is_in_scope: &'a dyn Fn(&str) -> bool,
    /// Which manifests without a tag stay all the same, in order.
    pub untagged: &'a dyn Fn(&Repository) -> Vec<ObjectId>,
}

impl fmt::Debug for Rules<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Rules");
        shown.field("keeps_untagged", &self.keeps_untagged);
        shown.field("keeps_history", &self.keeps_history);
        shown
            .field("young_after", &self.young_after)
            .field("pushing_after", &self.pushing_after)
            .finish_non_exhaustive()
    }
}

/// What is needed, by the numbers of the graph.
#[derive(Debug)]
pub struct Marked {
    objects: Bits,
    repositories: Vec<MarkedRepository>,
}

#[derive(Debug)]
struct MarkedRepository {
    layers: Bits,
    revisions: Bits,
    /// Nothing of it may go.
    keeps_all: bool,
}

impl Marked {
    /// Whether its data is needed by anybody.
    pub fn object(&self, object: ObjectId) -> bool {
        self.objects.has(object.index())
    }

    /// Whether a link in `layers` is needed, by its place.
    pub fn layer(&self, repository: RepositoryId, at: usize) -> bool {
        self.of(repository).layers.has(at)
    }

    /// Whether a link in `revisions` is needed, by its place.
    pub fn revision(&self, repository: RepositoryId, at: usize) -> bool {
        self.of(repository).revisions.has(at)
    }

    /// Whether nothing of it may go: it is damaged, or not in scope.
    pub fn keeps_all(&self, repository: RepositoryId) -> bool {
        self.of(repository).keeps_all
    }

    fn of(&self, repository: RepositoryId) -> &MarkedRepository {
        self.repositories
            .get(repository.index())
            .expect("it is of the same graph")
    }
}

/// Marks what is needed of a graph that is settled. `kept` is what the keep-set names by digest, whatever it is of.
pub fn mark(graph: &Graph, kept: &[Digest], rules: &Rules<'_>) -> Marked {
    let mut marking = Marking::of(graph, rules);
    for (id, repository) in graph.repositories() {
        marking.roots(id, repository, rules);
    }
    marking.keep(kept);
    for (id, object) in graph.objects() {
        // Whoever wrote it just now has not linked it yet.
        if object.size().is_some() && is_young(object.modified(), rules.young_after) {
            marking.want(None, id);
        }
    }
    marking.run();
    marking.marked
}

/// What has no time may be of now.
pub(super) fn is_young(modified: Option<Second>, after: Second) -> bool {
    modified.is_none_or(|modified| modified > after)
}

struct Marking<'a> {
    graph: &'a Graph,
    marked: Marked,
    /// Manifests to be visited, as of a repository, or of whoever has them.
    work: Vec<(Option<RepositoryId>, ObjectId)>,
    /// Visited as of somebody who has no link to them.
    unlinked: HashSet<(Option<RepositoryId>, ObjectId)>,
    /// Who links a manifest.
    holders: Arc<Of<RepositoryId>>,
    /// What refers to a manifest.
    referrers: Arc<Of<ObjectId>>,
    /// Needed by somebody who has no link to it: all links to it are needed.
    everywhere: Bits,
    /// Named by a manifest, of whatever kind.
    named: Bits,
}

impl<'a> Marking<'a> {
    fn of(graph: &'a Graph, rules: &Rules<'_>) -> Self {
        let holders = graph.repositories().flat_map(|(id, repository)| {
            let revisions = repository.revisions.iter();
            revisions.map(move |link| (link.object, id))
        });
        let holders = Of::new(holders.collect());
        let mut referrers = Vec::new();
        let mut named = Bits::of(graph.objects().len());
        for (id, names) in graph.read() {
            for object in names.all() {
                named.set(object.index());
            }
            // Only what is linked is served to whoever asks for referrers.
            if let Some(subject) = names.subject()
                && holders.of(id).next().is_some()
            {
                referrers.push((subject, id));
            }
        }
        let repositories = graph.repositories();
        let repositories = repositories.map(|(_, repository)| MarkedRepository {
            layers: Bits::of(repository.layers.len()),
            revisions: Bits::of(repository.revisions.len()),
            keeps_all: !repository.damage.is_empty() || !(rules.is_in_scope)(&repository.name),
        });
        let objects = graph.objects().len();
        Self {
            graph,
            marked: Marked {
                objects: Bits::of(objects),
                repositories: repositories.collect(),
            },
            work: Vec::new(),
            unlinked: HashSet::new(),
            holders: Arc::new(holders),
            referrers: Arc::new(Of::new(referrers)),
            everywhere: Bits::of(objects),
            named,
        }
    }

    fn roots(&mut self, id: RepositoryId, repository: &Repository, rules: &Rules<'_>) {
        let keeps_all = self.marked.keeps_all(id);
        for tag in &repository.tags {
            if let Some(current) = tag.current {
                self.want(Some(id), current);
            }
            // Of one without `current` nobody knows what it names.
            if rules.keeps_history || keeps_all || tag.current.is_none() {
                for link in &tag.history {
                    self.want(Some(id), link.object);
                }
            }
        }
        let is_young = |link: &Link| {
            let modified = self.graph.object(link.object).modified();
            is_young(link.modified, rules.young_after) || is_young_data(modified, rules)
        };
        let uploads = repository.uploads.iter().copied();
        let pushing_since = uploads.filter(|since| *since > rules.pushing_after).min();
        // What no manifest names may be waiting for the one that is being pushed, since whenever it is there.
        let pushed = |link: &Link| {
            pushing_since.is_some_and(|since| {
                !self.named.has(link.object.index())
                    || link.modified.is_none_or(|modified| modified >= since)
            })
        };
        let wanted = |link: &&Link| keeps_all || is_young(link) || pushed(link);
        let is_unknown = |link: &Link| {
            let names = self.graph.names(link.object);
            names.is_some_and(|names| !names.is_understood())
        };
        let stay = if rules.keeps_untagged || keeps_all {
            Vec::new()
        } else {
            (rules.untagged)(repository)
        };
        let stays = |link: &Link| stay.binary_search(&link.object).is_ok();
        let revisions = repository.revisions.iter();
        let revisions = revisions
            .filter(|link| rules.keeps_untagged || wanted(link) || is_unknown(link) || stays(link));
        let layers = repository.layers.iter().filter(wanted);
        let objects: Vec<ObjectId> = revisions.chain(layers).map(|link| link.object).collect();
        for object in objects {
            self.want(Some(id), object);
        }
    }

    /// What is in use, by whatever name: everywhere where it is.
    fn keep(&mut self, kept: &[Digest]) {
        let kept = kept.iter().filter_map(|digest| self.graph.find(digest));
        let kept: HashSet<ObjectId> = kept.collect();
        for object in &kept {
            self.want(None, *object);
        }
        // An image whose config it is may be what runs: runtimes tell one by its config.
        let is_kept = |names: &Names| names.config().is_some_and(|it| kept.contains(&it));
        for (manifest, _) in self.graph.read().filter(|(_, names)| is_kept(names)) {
            self.want(None, manifest);
        }
    }

    /// The object is needed in a repository; without one, in every repository that has it.
    fn want(&mut self, repository: Option<RepositoryId>, object: ObjectId) {
        self.marked.objects.set(object.index());
        let mut has_link = false;
        if let Some(id) = repository {
            let all = self.graph.repository(id);
            let marked = self.marked.repositories.get_mut(id.index());
            let marked = marked.expect("it is of the same graph");
            if let Some(at) = position(&all.layers, object) {
                marked.layers.set(at);
                has_link = true;
            }
            if let Some(at) = position(&all.revisions, object) {
                has_link = true;
                if marked.revisions.set(at) {
                    self.work.push((Some(id), object));
                }
            }
        }
        if has_link {
            return;
        }
        self.everywhere.set(object.index());
        let holders = Arc::clone(&self.holders);
        for holder in holders.of(object) {
            self.want(Some(holder), object);
        }
        // As of whom it is wanted decides what it leads to, since it has no link there.
        // What was just written may be no manifest yet, and something refers to it already.
        let leads_on =
            self.graph.node(object).is_some() || self.referrers.of(object).next().is_some();
        if leads_on && self.unlinked.insert((repository, object)) {
            self.work.push((repository, object));
        }
    }

    fn run(&mut self) {
        let referrers = Arc::clone(&self.referrers);
        while let Some((repository, object)) = self.work.pop() {
            for named in self.graph.names(object).into_iter().flat_map(Names::all) {
                self.want(repository, *named);
            }
            for referrer in referrers.of(object) {
                self.want(None, referrer);
            }
        }
        // Whoever needs it has no link of its own, so those of others stand in.
        for (id, repository) in self.graph.repositories() {
            let wanted = repository.layers.iter().enumerate();
            let wanted = wanted.filter(|(_, link)| self.everywhere.has(link.object.index()));
            let wanted: Vec<usize> = wanted.map(|(at, _)| at).collect();
            let marked = self.marked.repositories.get_mut(id.index());
            let marked = marked.expect("it is of the same graph");
            for at in wanted {
                marked.layers.set(at);
            }
        }
    }
}

/// Data of which nobody knows when it was written is linked by something that knows.
fn is_young_data(modified: Option<Second>, rules: &Rules<'_>) -> bool {
    modified.is_some_and(|modified| modified > rules.young_after)
}

/// What belongs to each object. A few bytes for each, where a map of lists takes a hundred.
#[derive(Debug)]
struct Of<T>(Vec<(ObjectId, T)>);

impl<T: Copy + Ord> Of<T> {
    fn new(mut pairs: Vec<(ObjectId, T)>) -> Self {
        pairs.sort_unstable();
        Self(pairs)
    }

    fn of(&self, object: ObjectId) -> impl Iterator<Item = T> + '_ {
        let start = self.0.partition_point(|(of, _)| *of < object);
        let own = self.0.iter().skip(start);
        own.take_while(move |(of, _)| *of == object)
            .map(|(_, it)| *it)
    }
}

/// A set of small numbers.
#[derive(Debug)]
struct Bits(Vec<u64>);

impl Bits {
    fn of(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn has(&self, at: usize) -> bool {
        self.0
            .get(at / 64)
            .is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// Whether it was not there before.
    fn set(&mut self, at: usize) -> bool {
        let word = self.0.get_mut(at / 64).expect("it is within the count");
        let before = *word;
        *word |= 1 << (at % 64);
        *word != before
    }
}

#[cfg(test)]
mod tests;
