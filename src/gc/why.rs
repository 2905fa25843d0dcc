//! Why something stays, from a root down to it; or what needed it once. Pure.

use std::collections::{HashMap, HashSet, VecDeque};

use super::graph::{Graph, Link, ObjectId, Repository, RepositoryId, position};
use super::mark::is_young;
use super::needed::Needed;
use super::plan::{Garbage, Plan, Policy};
use crate::oci::digest::Digest;

/// Where a chain begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root<'a> {
    /// The tag names it.
    Tag { repository: &'a str, tag: &'a str },
    /// Something in the keep-set has this digest.
    InUse,
    /// The tag named it before, and `gc.tagHistory` is `keep` or nobody knows what the tag names now.
    TagHistory { repository: &'a str, tag: &'a str },
    /// The repository has it, and `gc.untagged` is `keep`.
    Untagged { repository: &'a str },
    /// It was written or linked within `gc.minimumAge`.
    Young,
    /// Something is being pushed to the repository, and may be about to name it.
    Pushing { repository: &'a str },
    /// It is of a media type that nobody here knows.
    NotUnderstood,
    /// A reference with a host that no entry has may mean the repository.
    Protected {
        repository: &'a str,
        reference: &'a str,
    },
    /// Something in the repository could not be understood.
    Damaged { repository: &'a str },
    /// The repository is not among `gc.repositories`.
    OutOfScope { repository: &'a str },
}

impl Root<'_> {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Tag { .. } => "tag",
            Self::InUse => "in_use",
            Self::TagHistory { .. } => "tag_history",
            Self::Untagged { .. } => "untagged",
            Self::Young => "young",
            Self::Pushing { .. } => "pushing",
            Self::NotUnderstood => "not_understood",
            Self::Protected { .. } => "protected",
            Self::Damaged { .. } => "damaged",
            Self::OutOfScope { .. } => "out_of_scope",
        }
    }

    /// Whether it is what people mean by "needed", and not only what makes a plan careful.
    fn is_need(self) -> bool {
        matches!(self, Self::Tag { .. } | Self::InUse)
    }
}

/// How a digest stands in a storage.
#[derive(Debug, PartialEq, Eq)]
pub enum Standing<'a> {
    Absent,
    /// It stays: from what, and by way of what down to it. `rows`: its links that would go all the same.
    Kept {
        bytes: u64,
        root: Root<'a>,
        path: Vec<Digest>,
        rows: Vec<Garbage<'a>>,
    },
    /// It would go. `named_by`: the manifests that named it, which go too.
    Goes {
        bytes: u64,
        rows: Vec<Garbage<'a>>,
        named_by: Vec<Digest>,
    },
}

/// Explains one digest.
pub fn why<'a>(
    plan: &'a Plan,
    needed: &'a Needed,
    policy: &Policy<'_>,
    digest: &Digest,
) -> Standing<'a> {
    let graph = plan.graph();
    let Some((object, bytes)) = graph
        .find(digest)
        .and_then(|object| Some((object, graph.object(object).size()?)))
    else {
        return Standing::Absent;
    };
    let asking = Asking {
        plan,
        graph,
        needed,
        policy,
        above: above(graph),
    };
    let rows: Vec<Garbage<'_>> = plan.garbage().filter(|it| it.digest == *digest).collect();
    if rows.iter().any(|row| row.bytes == bytes) && plan.takes(object) {
        let named_by = asking.naming(object);
        let mut named_by: Vec<Digest> = named_by.map(|id| graph.object(id).digest).collect();
        named_by.sort_unstable();
        named_by.dedup();
        return Standing::Goes {
            bytes,
            rows,
            named_by,
        };
    }
    let (root, path) = asking.chain(object);
    Standing::Kept {
        bytes,
        root,
        path,
        rows,
    }
}

/// What leads to each object: manifests that name it, the subject that it refers to, and for a manifest the
/// config by which runtimes tell it.
fn above(graph: &Graph) -> HashMap<ObjectId, Vec<ObjectId>> {
    let mut above: HashMap<ObjectId, Vec<ObjectId>> = HashMap::new();
    for (id, names) in graph.read() {
        for named in names.all() {
            above.entry(*named).or_default().push(id);
        }
        above
            .entry(id)
            .or_default()
            .extend(names.subject().into_iter().chain(names.config()));
    }
    above
}

struct Asking<'a, 'b> {
    plan: &'a Plan,
    graph: &'a Graph,
    needed: &'a Needed,
    policy: &'b Policy<'b>,
    above: HashMap<ObjectId, Vec<ObjectId>>,
}

impl<'a> Asking<'a, '_> {
    /// The shortest way from a need, or else from whatever keeps it.
    fn chain(&self, object: ObjectId) -> (Root<'a>, Vec<Digest>) {
        let mut below: HashMap<ObjectId, ObjectId> = HashMap::new();
        let mut seen: HashSet<ObjectId> = [object].into();
        let mut waiting: VecDeque<ObjectId> = [object].into();
        let mut careful: Option<(Root<'a>, ObjectId)> = None;
        while let Some(at) = waiting.pop_front() {
            match self.root(at) {
                Some(root) if root.is_need() => return (root, self.path(at, object, &below)),
                Some(root) => drop(careful.get_or_insert((root, at))),
                None => {}
            }
            for above in self.above.get(&at).into_iter().flatten() {
                // A config leads to its manifest only where the config itself is in use.
                let is_config_of = self.is_config_of(*above, at);
                if is_config_of && self.root(*above) != Some(Root::InUse) {
                    continue;
                }
                if seen.insert(*above) {
                    below.insert(*above, at);
                    waiting.push_back(*above);
                }
            }
        }
        let (root, at) = careful.unwrap_or((Root::Young, object));
        (root, self.path(at, object, &below))
    }

    fn is_config_of(&self, config: ObjectId, manifest: ObjectId) -> bool {
        let names = self.graph.names(manifest);
        names.is_some_and(|names| names.config() == Some(config))
    }

    /// The manifests that name it. What it refers to does not, nor does its config.
    fn naming(&self, object: ObjectId) -> impl Iterator<Item = ObjectId> + '_ {
        let above = self.above.get(&object).into_iter().flatten().copied();
        above.filter(move |above| {
            let names = self.graph.names(*above);
            names.is_some_and(|names| names.all().contains(&object))
        })
    }

    fn path(
        &self,
        from: ObjectId,
        to: ObjectId,
        below: &HashMap<ObjectId, ObjectId>,
    ) -> Vec<Digest> {
        let mut path = vec![self.graph.object(from).digest];
        let mut at = from;
        while at != to
            && let Some(next) = below.get(&at)
        {
            at = *next;
            path.push(self.graph.object(at).digest);
        }
        path
    }

    /// What keeps it by itself, the most telling first.
    fn root(&self, object: ObjectId) -> Option<Root<'a>> {
        let mut careful = None;
        for (id, repository) in self.graph.repositories() {
            let name = &*repository.name;
            let tag = |is: &dyn Fn(&super::graph::Tag) -> bool| {
                let tag = repository.tags.iter().find(|tag| is(tag));
                tag.map(|tag| &*tag.name)
            };
            if let Some(tag) = tag(&|tag| tag.current == Some(object)) {
                return Some(Root::Tag {
                    repository: name,
                    tag,
                });
            }
            let keeps_all = self.keeps_all(id, repository);
            let had = tag(&|tag| {
                let counts =
                    self.policy.keeps_tag_history || keeps_all.is_some() || tag.current.is_none();
                counts && position(&tag.history, object).is_some()
            });
            let of_history = had.map(|tag| Root::TagHistory {
                repository: name,
                tag,
            });
            let root = match (keeps_all, of_history) {
                (None, of_history) => of_history.or_else(|| self.of_link(object, repository)),
                (Some(root), Some(_)) => Some(root),
                (Some(root), None) => link(object, repository).map(|_| root),
            };
            careful = careful.or(root);
        }
        let digest = self.graph.object(object).digest;
        if self.needed.digests.binary_search(&digest).is_ok() {
            return Some(Root::InUse);
        }
        let modified = self.graph.object(object).modified();
        careful.or_else(|| is_young(modified, self.policy.young_after).then_some(Root::Young))
    }

    /// Why nothing of a repository goes, where that is so.
    fn keeps_all(&self, id: RepositoryId, repository: &'a Repository) -> Option<Root<'a>> {
        let name = &*repository.name;
        if !self.plan.marked().keeps_all(id) {
            return None;
        }
        if let Some(reference) = self.needed.foreign.get(name) {
            return Some(Root::Protected {
                repository: name,
                reference,
            });
        }
        Some(if self.policy.has(name) {
            Root::Damaged { repository: name }
        } else {
            Root::OutOfScope { repository: name }
        })
    }

    /// Why a repository from which something may go keeps it by its link.
    fn of_link(&self, object: ObjectId, repository: &'a Repository) -> Option<Root<'a>> {
        let name = &*repository.name;
        let found = link(object, repository)?;
        if position(&repository.revisions, object).is_some() {
            let names = self.graph.names(object);
            if names.is_some_and(|names| !names.is_understood()) {
                return Some(Root::NotUnderstood);
            }
            let stays = || self.policy.untagged(repository).contains(&object);
            if self.policy.keeps_untagged || stays() {
                return Some(Root::Untagged { repository: name });
            }
        }
        if is_young(found.modified, self.policy.young_after) {
            return Some(Root::Young);
        }
        // As in the mark: what no manifest names, and what came since the first push of those began.
        let uploads = repository.uploads.iter();
        let since = uploads.filter(|since| **since > self.policy.pushing_after);
        let since = *since.min()?;
        let is_of_push = self.naming(object).next().is_none()
            || found.modified.is_none_or(|modified| modified >= since);
        is_of_push.then_some(Root::Pushing { repository: name })
    }
}

/// By which a repository has it: as a manifest, or else as a layer.
fn link(object: ObjectId, repository: &Repository) -> Option<Link> {
    let find = |links: &[Link]| position(links, object).and_then(|at| links.get(at).copied());
    find(&repository.revisions).or_else(|| find(&repository.layers))
}
