//! What people write on workloads and namespaces for whoever is paged: that nobody is to be, and the
//! labels that an alert carries to them. Pure.
//!
//! A mark says something of alerts and of nothing else. It stands beside the uses, by their owners, and is
//! no part of them: what is kept, proven and asked for by a gate is made of uses alone, and so whatever is
//! silenced is kept all the same.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::extract::Interner;
use super::{ImageUse, TopOwner};

/// The annotation that silences the alerts of a workload, or of all in a namespace. Its value says why.
pub const IGNORE: &str = "pullproof.dev/ignore";

/// A label of workloads and namespaces that rides along in metrics.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Chosen {
    /// As Kubernetes has it: `app.kubernetes.io/part-of`.
    pub key: Arc<str>,
    /// As Prometheus does: `app_kubernetes_io_part_of`.
    pub name: Arc<str>,
}

/// What one object says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Mark {
    /// Why its images page nobody. Empty where nobody said why: then it silences nothing.
    pub ignore: Option<Arc<str>>,
    /// The chosen labels that it has, by their names in metrics. None is empty.
    pub labels: Box<[(Arc<str>, Arc<str>)]>,
}

impl Mark {
    pub fn is_empty(&self) -> bool {
        self.ignore.is_none() && self.labels.is_empty()
    }

    fn reason(&self) -> Option<&Arc<str>> {
        self.ignore.as_ref().filter(|reason| !reason.is_empty())
    }

    /// Whether it would silence something, and does not say why.
    fn lacks_reason(&self) -> bool {
        self.ignore.is_some() && self.reason().is_none()
    }

    fn label(&self, name: &str) -> Option<&Arc<str>> {
        let mut labels = self.labels.iter();
        labels.find(|(it, _)| **it == *name).map(|(_, value)| value)
    }
}

/// A workload with its mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    pub owner: Arc<TopOwner>,
    pub mark: Arc<Mark>,
}

/// A namespace with its mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkedNamespace {
    pub cluster: Option<Arc<str>>,
    pub name: Arc<str>,
    pub mark: Arc<Mark>,
}

impl MarkedNamespace {
    fn key(&self) -> (Option<&str>, &str) {
        (self.cluster.as_deref(), &self.name)
    }
}

/// The marks of one source. Whoever has none is in neither.
#[derive(Debug, Clone, Default)]
pub struct Marks {
    /// In order of their owners, each once.
    owners: Arc<[Marked]>,
    /// In order of cluster and name, each once.
    namespaces: Arc<[MarkedNamespace]>,
}

impl PartialEq for Marks {
    fn eq(&self, other: &Self) -> bool {
        // Nearly always the same allocations.
        (Arc::ptr_eq(&self.owners, &other.owners) || self.owners == other.owners)
            && (Arc::ptr_eq(&self.namespaces, &other.namespaces)
                || self.namespaces == other.namespaces)
    }
}

impl Eq for Marks {}

/// Puts marks in their order. Of two objects with one name the first counts.
pub fn sorted(mut marked: Vec<Marked>) -> Vec<Marked> {
    marked.sort_by(|one, other| one.owner.cmp(&other.owner));
    marked.dedup_by(|again, first| again.owner == first.owner);
    marked
}

impl Marks {
    /// `owners` as [`sorted`] gives them.
    pub fn new(owners: Arc<[Marked]>, mut namespaces: Vec<MarkedNamespace>) -> Self {
        debug_assert!(owners.is_sorted_by(|one, other| one.owner < other.owner));
        namespaces.sort_by(|one, other| one.key().cmp(&other.key()));
        namespaces.dedup_by(|again, first| again.key() == first.key());
        Self {
            owners,
            namespaces: namespaces.into(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.owners.is_empty() && self.namespaces.is_empty()
    }

    fn owner(&self, owner: &TopOwner) -> Option<&Mark> {
        let marked = &self.owners;
        let at = marked.binary_search_by(|it| (*it.owner).cmp(owner));
        at.ok().and_then(|at| marked.get(at)).map(|it| &*it.mark)
    }

    fn namespace(&self, owner: &TopOwner) -> Option<&Mark> {
        let key = (owner.cluster.as_deref(), &*owner.namespace);
        let marked = &self.namespaces;
        let at = marked.binary_search_by(|it| it.key().cmp(&key));
        at.ok().and_then(|at| marked.get(at)).map(|it| &*it.mark)
    }

    /// What is said of a workload.
    pub fn of(&self, owner: &TopOwner) -> Marking<'_> {
        Marking {
            own: self.owner(owner),
            of_namespace: self.namespace(owner),
        }
    }

    /// These, and while the source is not complete, what `last` says of those that it does not name now.
    #[must_use]
    pub fn with_last(&self, last: &Self, uses: &[ImageUse]) -> Self {
        let named: HashSet<&TopOwner> = uses.iter().map(|it| &*it.user.owner).collect();
        let before = last.owners.iter();
        let before = before.filter(|it| !named.contains(&*it.owner));
        let owners = self.owners.iter().chain(before).cloned().collect();
        let namespaces = self.namespaces.iter().chain(last.namespaces.iter());
        Self::new(sorted(owners).into(), namespaces.cloned().collect())
    }

    /// Where somebody did not say why: the first, and how many there are.
    pub fn problem(&self) -> Option<String> {
        let owners = self.owners.iter().filter(|it| it.mark.lacks_reason());
        let owners = owners.map(|it| {
            let TopOwner {
                namespace,
                kind,
                name,
                ..
            } = &*it.owner;
            format!("{kind} {namespace}/{name}")
        });
        let namespaces = self.namespaces.iter().filter(|it| it.mark.lacks_reason());
        let namespaces = namespaces.map(|it| format!("Namespace {}", it.name));
        let mut all = namespaces.chain(owners);
        let first = all.next()?;
        let more = match all.count() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(format!(
            "a reason in {IGNORE} of {first}{more}: it silences nothing until it says why"
        ))
    }
}

/// The marks of all sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllMarks(Arc<[Marks]>);

impl FromIterator<Marks> for AllMarks {
    fn from_iter<T: IntoIterator<Item = Marks>>(all: T) -> Self {
        Self(all.into_iter().filter(|it| !it.is_empty()).collect())
    }
}

impl AllMarks {
    /// What is said of a workload. Where two sources do (two directories of one unnamed cluster), the
    /// first.
    pub fn of(&self, owner: &TopOwner) -> Marking<'_> {
        Marking {
            own: self.0.iter().find_map(|marks| marks.owner(owner)),
            of_namespace: self.0.iter().find_map(|marks| marks.namespace(owner)),
        }
    }
}

/// What is said of one workload.
#[derive(Debug, Clone, Copy, Default)]
pub struct Marking<'a> {
    own: Option<&'a Mark>,
    of_namespace: Option<&'a Mark>,
}

impl<'a> Marking<'a> {
    /// Why its images page nobody, in the workload's own words if it has any.
    pub fn ignored(self) -> Option<&'a Arc<str>> {
        let all = [self.own, self.of_namespace];
        all.into_iter().flatten().find_map(Mark::reason)
    }

    /// Its labels, and those of its namespace that it does not have itself: name and value.
    pub fn labels(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let own = self.own.into_iter().flat_map(|mark| mark.labels.iter());
        let others = self.of_namespace.into_iter();
        let others = others.flat_map(|mark| mark.labels.iter());
        let others =
            others.filter(move |(name, _)| self.own.is_none_or(|own| own.label(name).is_none()));
        own.chain(others).map(|(name, value)| (&**name, &**value))
    }
}

/// The same as text, for whoever reads it without the workload: after a restart, or elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ignored: Option<Arc<str>>,
    /// By their names in metrics.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<Arc<str>, Arc<str>>,
}

impl Said {
    pub fn of(marking: Marking<'_>) -> Self {
        let labels = marking.labels();
        Self {
            ignored: marking.ignored().cloned(),
            labels: labels
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        }
    }

    /// The mark of the workload that it was said of.
    pub fn mark(&self, interner: &mut Interner) -> Option<Arc<Mark>> {
        let labels = self.labels.iter();
        let labels = labels.map(|(name, value)| (interner.text(name), interner.text(value)));
        let labels = labels.collect();
        let ignore = self.ignored.as_ref();
        let ignore = ignore.map(|reason| interner.text(reason));
        interner.share(Mark { ignore, labels })
    }
}

#[cfg(test)]
mod tests;
