//! What a collection would take from a storage, with a reason for each. Pure.
//!
//! A plan is a function of a graph, of what is needed of it and of nothing else: the same tree and
//! keep-set give the same plan, whatever the time is.

use std::sync::Arc;

use serde::Serialize;

use super::graph::{Damage, Graph, Link, ObjectId, Repository, RepositoryId, position};
use super::mark::{Marked, Rules, mark};
use super::needed::Needed;
use crate::oci::digest::{Digest, Hasher};
use crate::pattern::Pattern;
use crate::retention::policy::Policy as Retention;
use crate::second::Second;

mod totals;

pub use totals::{OfReason, OfRepository};

/// Digits of a plan's ID.
const ID_LENGTH: usize = 16;

/// What goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A manifest or an index: the link by which a repository has it, and its data where nobody else does.
    Manifest,
    /// A config, with the link by which a repository has it.
    Config,
    /// A layer, with the link by which a repository has it.
    Layer,
    /// That a tag named a manifest before.
    TagHistory,
    /// Only the link by which a repository has a config or a layer, which others need.
    LayerLink,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Config => "config",
            Self::Layer => "layer",
            Self::TagHistory => "tag_history",
            Self::LayerLink => "layer_link",
        }
    }
}

/// Why it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// No tag, no workload and nothing that stays leads to the manifest.
    Untagged,
    /// Only manifests that go name it.
    NamedByGarbage,
    /// No manifest names it: its push died, or what named it is gone already.
    Unnamed,
    /// No repository has a link to it.
    Unlinked,
    /// Nothing that stays in this repository names it; others need it.
    UnusedHere,
    /// The tag names something else now, and what it named goes.
    Superseded,
}

impl Reason {
    pub const ALL: [Self; 6] = [
        Self::Untagged,
        Self::NamedByGarbage,
        Self::Unnamed,
        Self::Unlinked,
        Self::UnusedHere,
        Self::Superseded,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Untagged => "untagged",
            Self::NamedByGarbage => "named_by_garbage",
            Self::Unnamed => "unnamed",
            Self::Unlinked => "unlinked",
            Self::UnusedHere => "unused_here",
            Self::Superseded => "superseded",
        }
    }

    /// In a sentence's second half.
    pub fn words(self) -> &'static str {
        match self {
            Self::Untagged => "no tag, no workload and nothing that stays leads to it",
            Self::NamedByGarbage => "only manifests that go name it",
            Self::Unnamed => "no manifest names it",
            Self::Unlinked => "no repository has a link to it",
            Self::UnusedHere => "nothing in this repository needs it; others do",
            Self::Superseded => "its tag names something else now",
        }
    }
}

/// One thing that goes. Small, since there may be millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    /// `None` for data that no repository links.
    repository: Option<RepositoryId>,
    kind: Kind,
    reason: Reason,
    /// Whether its data is counted here: once, for the first that has it.
    has_data: bool,
    object: ObjectId,
    /// The place of the tag, for what it named before.
    tag: u32,
}

const _: () = assert!(size_of::<Row>() <= 20);

/// One thing that goes, as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Garbage<'a> {
    pub kind: Kind,
    pub digest: Digest,
    /// `None` for data that no repository links.
    pub repository: Option<&'a Arc<str>>,
    /// Of what a tag named before.
    pub tag: Option<&'a Arc<str>>,
    /// What taking it frees; data that several have is counted once, for the first of them by name.
    pub bytes: u64,
    /// Whether the data itself goes, and is counted here.
    pub has_data: bool,
    pub reason: Reason,
}

/// What there is, and how much of it goes. Told as it is in `gc plan -o json`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub repositories: usize,
    pub tags: usize,
    /// Stored manifests and indexes.
    pub manifests: usize,
    /// Everything that is stored: manifests, configs and layers.
    pub blobs: usize,
    pub bytes: u64,
    pub kept_blobs: usize,
    pub garbage_blobs: usize,
    pub garbage_bytes: u64,
    /// Of the kept ones: those that nothing needs, and that are too young to go.
    pub young: usize,
    pub young_bytes: u64,
    /// Links to what is not stored. They are never taken.
    pub dangling_links: usize,
    /// Pushes that have not ended. They are the registry's own to take.
    pub uploads: usize,
}

/// What a collection would take.
#[derive(Debug)]
pub struct Plan {
    graph: Graph,
    marked: Marked,
    rows: Vec<Row>,
    counts: Counts,
}

/// What is collected.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    pub repositories: &'a [Pattern],
    pub keeps_untagged: bool,
    pub keeps_tag_history: bool,
    /// What was written or linked after this is young.
    pub young_after: Second,
    /// Pushes that began before this are dead.
    pub pushing_after: Second,
    /// What of the manifests without a tag stays: by the first that is for their repository.
    pub retention: &'a [Retention],
    pub now: Second,
}

impl Policy<'_> {
    /// Whether it is collected.
    pub fn has(&self, repository: &str) -> bool {
        let mut patterns = self.repositories.iter();
        patterns.any(|pattern| pattern.matches(repository))
    }

    /// The manifests of a repository that no tag names and that stay by its policy, in order.
    pub fn untagged(&self, repository: &Repository) -> Vec<ObjectId> {
        let mut policies = self.retention.iter();
        let policy = policies.find(|policy| policy.has(&repository.name));
        policy
            .and_then(|policy| policy.untagged)
            .map_or_else(Vec::new, |untagged| untagged.stay(repository, self.now))
    }

    /// What nobody links is of no repository: only whoever collects all of them takes it.
    fn has_unlinked(&self) -> bool {
        let mut patterns = self.repositories.iter();
        patterns.any(|pattern| pattern.as_str() == "**")
    }
}

/// Plans what goes of a storage whose manifests are all read.
pub fn plan(mut graph: Graph, needed: &Needed, policy: &Policy<'_>) -> Plan {
    graph.settle();
    let is_in_scope = |name: &str| policy.has(name) && !needed.foreign.contains_key(name);
    let untagged = |repository: &Repository| policy.untagged(repository);
    let rules = |young_after| Rules {
        keeps_untagged: policy.keeps_untagged,
        keeps_history: policy.keeps_tag_history,
        young_after,
        pushing_after: policy.pushing_after,
        is_in_scope: &is_in_scope,
        untagged: &untagged,
    };
    let marked = mark(&graph, &needed.digests, &rules(policy.young_after));
    // As if everything were old: by that it is told how much only waits.
    let ever = mark(&graph, &needed.digests, &rules(Second::new(i64::MAX)));
    let mut planning = Planning {
        counts: counts(&graph),
        links: links(&graph),
        named: named(&graph),
        is_told: vec![false; graph.objects().len()],
        takes_unlinked: policy.has_unlinked(),
        rows: Vec::new(),
        graph: &graph,
        marked: &marked,
    };
    for (id, repository) in graph.repositories() {
        planning.repository(id, repository);
    }
    planning.unlinked();
    planning.count(&ever);
    let Planning { counts, rows, .. } = planning;
    Plan {
        graph,
        marked,
        rows,
        counts,
    }
}

impl Plan {
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    pub fn marked(&self) -> &Marked {
        &self.marked
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What goes, in order: by repository, kind and digest, and in the end what no repository links.
    pub fn garbage(&self) -> impl ExactSizeIterator<Item = Garbage<'_>> {
        self.rows.iter().map(|row| self.told(row))
    }

    fn told(&self, row: &Row) -> Garbage<'_> {
        let object = self.graph.object(row.object);
        let repository = row.repository.map(|id| self.graph.repository(id));
        let tag = repository.filter(|_| row.kind == Kind::TagHistory);
        let tag = tag.and_then(|repository| repository.tags.get(row.tag as usize));
        Garbage {
            kind: row.kind,
            digest: object.digest,
            repository: repository.map(|repository| &repository.name),
            tag: tag.map(|tag| &tag.name),
            bytes: object.size().filter(|_| row.has_data).unwrap_or(0),
            has_data: row.has_data,
            reason: row.reason,
        }
    }

    /// A digest of what it would take from a storage of this name, shortened.
    pub fn id(&self, storage: &str) -> String {
        let mut hasher = Hasher::default();
        hasher.update(storage.as_bytes());
        for it in self.garbage() {
            let line = format!(
                "\n{} {} {} {} {} {}",
                it.kind.as_str(),
                it.digest,
                it.repository.map_or("", |name| name),
                it.tag.map_or("", |tag| tag),
                it.bytes,
                it.reason.as_str(),
            );
            hasher.update(line.as_bytes());
        }
        let id = hasher.finish().hex();
        id.get(..ID_LENGTH).unwrap_or_default().to_owned()
    }

    /// Whether a text may be such a digest.
    pub fn is_id(text: &str) -> bool {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        text.len() == ID_LENGTH && text.bytes().all(is_digit)
    }

    /// What could not be understood, with the repository whose it is: those of none first.
    pub fn damaged(&self) -> impl Iterator<Item = (Option<&str>, &Damage)> {
        let of_none = self.graph.damage().iter().map(|damage| (None, damage));
        let repositories = self.graph.repositories();
        let of_one = repositories.flat_map(|(_, repository)| {
            let damage = repository.damage.iter();
            damage.map(|damage| (Some(&*repository.name), damage))
        });
        of_none.chain(of_one)
    }

    /// Repositories of which nothing goes, since a reference with a host that nobody knows has their path.
    pub fn protected<'a>(&'a self, needed: &'a Needed) -> impl Iterator<Item = (&'a str, &'a str)> {
        let repositories = self.graph.repositories();
        repositories.filter_map(|(_, repository)| {
            let reference = needed.foreign.get(&*repository.name)?;
            Some((&*repository.name, reference.as_str()))
        })
    }

    /// Whether its data would go.
    pub fn takes(&self, object: ObjectId) -> bool {
        let mut rows = self.rows.iter();
        rows.any(|row| row.object == object && row.has_data)
    }
}

/// How many repositories link each object: none, one or more.
fn links(graph: &Graph) -> Vec<u8> {
    let mut count = vec![0_u8; graph.objects().len()];
    for (_, repository) in graph.repositories() {
        for object in totals::distinct(repository) {
            if let Some(count) = count.get_mut(object.index()) {
                *count = count.saturating_add(1).min(2);
            }
        }
    }
    count
}

/// How manifests name an object.
#[derive(Debug, Clone, Copy, Default)]
struct Named {
    at_all: bool,
    as_config: bool,
}

fn named(graph: &Graph) -> Vec<Named> {
    let mut named = vec![Named::default(); graph.objects().len()];
    for (_, names) in graph.read() {
        for object in names.all() {
            if let Some(named) = named.get_mut(object.index()) {
                named.at_all = true;
            }
        }
        if let Some(config) = names.config()
            && let Some(named) = named.get_mut(config.index())
        {
            named.as_config = true;
        }
    }
    named
}

fn counts(graph: &Graph) -> Counts {
    let mut counts = Counts {
        repositories: graph.repositories().len(),
        manifests: graph.manifests(),
        ..Counts::default()
    };
    for (_, object) in graph.objects() {
        if let Some(size) = object.size() {
            counts.blobs += 1;
            counts.bytes = counts.bytes.saturating_add(size);
        }
    }
    for (_, repository) in graph.repositories() {
        counts.tags += repository.tags.len();
        counts.uploads += repository.uploads.len();
        let links = repository.layers.iter().chain(&repository.revisions);
        let is_dangling = |link: &&Link| graph.object(link.object).size().is_none();
        counts.dangling_links += links.filter(is_dangling).count();
    }
    counts
}

struct Planning<'a> {
    graph: &'a Graph,
    marked: &'a Marked,
    counts: Counts,
    links: Vec<u8>,
    named: Vec<Named>,
    /// Whose data is counted already.
    is_told: Vec<bool>,
    takes_unlinked: bool,
    rows: Vec<Row>,
}

impl Planning<'_> {
    fn repository(&mut self, id: RepositoryId, repository: &Repository) {
        if self.marked.keeps_all(id) {
            return;
        }
        for (at, link) in repository.revisions.iter().enumerate() {
            if !self.marked.revision(id, at) && self.is_stored(link.object) {
                let has_data = self.first(link.object);
                self.add(
                    id,
                    Kind::Manifest,
                    Reason::Untagged,
                    link.object,
                    has_data,
                    0,
                );
            }
        }
        let start = self.rows.len();
        for (at, link) in repository.layers.iter().enumerate() {
            if self.marked.layer(id, at) || !self.is_stored(link.object) {
                continue;
            }
            let named = self.named.get(link.object.index()).copied();
            let named = named.unwrap_or_default();
            let (kind, reason) = if self.marked.object(link.object) {
                (Kind::LayerLink, Reason::UnusedHere)
            } else {
                let kind = if named.as_config {
                    Kind::Config
                } else {
                    Kind::Layer
                };
                let reason = if named.at_all {
                    Reason::NamedByGarbage
                } else {
                    Reason::Unnamed
                };
                (kind, reason)
            };
            let has_data = kind != Kind::LayerLink && self.first(link.object);
            self.add(id, kind, reason, link.object, has_data, 0);
        }
        for (place, tag) in (0..).zip(&repository.tags) {
            for link in &tag.history {
                // What stays keeps its history, and so does what cannot be told from what stays.
                let at = position(&repository.revisions, link.object);
                let goes = at.is_some_and(|at| !self.marked.revision(id, at));
                if goes && tag.current.is_some_and(|current| current != link.object) {
                    let kind = Kind::TagHistory;
                    self.add(id, kind, Reason::Superseded, link.object, false, place);
                }
            }
        }
        // Links stand in order of their digests, and kinds have an order too.
        if let Some(rows) = self.rows.get_mut(start..) {
            rows.sort_by_key(|row| (row.kind, row.tag, row.object));
        }
    }

    /// Data to which nobody has a link.
    fn unlinked(&mut self) {
        if !self.takes_unlinked {
            return;
        }
        for (id, object) in self.graph.objects() {
            let is_linked = self.links.get(id.index()).is_none_or(|links| *links > 0);
            if is_linked || object.size().is_none() || self.marked.object(id) {
                continue;
            }
            let named = self.named.get(id.index()).copied().unwrap_or_default();
            let kind = if self.graph.node(id).is_some() {
                Kind::Manifest
            } else if named.as_config {
                Kind::Config
            } else {
                Kind::Layer
            };
            let has_data = self.first(id);
            self.rows.push(Row {
                repository: None,
                kind,
                reason: Reason::Unlinked,
                has_data,
                object: id,
                tag: 0,
            });
        }
        let start = self.rows.partition_point(|row| row.repository.is_some());
        if let Some(rows) = self.rows.get_mut(start..) {
            rows.sort_by_key(|row| (row.kind, row.object));
        }
    }

    fn count(&mut self, ever: &Marked) {
        let takes = |id: ObjectId| self.is_told.get(id.index()).copied() == Some(true);
        let counts = &mut self.counts;
        for (id, object) in self.graph.objects() {
            let Some(size) = object.size() else { continue };
            if takes(id) {
                counts.garbage_blobs += 1;
                counts.garbage_bytes = counts.garbage_bytes.saturating_add(size);
                continue;
            }
            counts.kept_blobs += 1;
            let is_unlinked = self.links.get(id.index()) == Some(&0);
            if !ever.object(id) && (self.takes_unlinked || !is_unlinked) {
                counts.young += 1;
                counts.young_bytes = counts.young_bytes.saturating_add(size);
            }
        }
    }

    fn is_stored(&self, object: ObjectId) -> bool {
        self.graph.object(object).size().is_some()
    }

    /// Whether its data goes, and is not counted yet.
    fn first(&mut self, object: ObjectId) -> bool {
        if self.marked.object(object) {
            return false;
        }
        let told = self.is_told.get_mut(object.index());
        told.is_some_and(|told| !std::mem::replace(told, true))
    }

    fn add(
        &mut self,
        repository: RepositoryId,
        kind: Kind,
        reason: Reason,
        object: ObjectId,
        has_data: bool,
        tag: u32,
    ) {
        self.rows.push(Row {
            repository: Some(repository),
            kind,
            reason,
            has_data,
            object,
            tag,
        });
    }
}

#[cfg(test)]
mod tests;
