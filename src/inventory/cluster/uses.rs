//! The uses of one cluster, made anew namespace by namespace.
//!
//! Whatever makes a use (owners, pods, service accounts) is of one namespace. So a pod that is
//! replaced costs its namespace's time, and not the cluster's.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use crate::inventory::ImageUse;
use crate::inventory::marks::Marked;
use crate::inventory::running::RunningUse;

use super::record::Record;

#[derive(Debug, Default)]
pub(super) struct Uses {
    all: ByNamespace<ImageUse>,
    /// What nodes say of them.
    running: ByNamespace<Arc<RunningUse>>,
    /// What people say of alerts about their owners.
    marked: ByNamespace<Marked>,
    dirty: BTreeSet<Arc<str>>,
    /// Where only what nodes say has changed.
    retold: BTreeSet<Arc<str>>,
    is_all_dirty: bool,
}

impl Uses {
    /// Something of this namespace has changed.
    fn touch(&mut self, namespace: &Arc<str>) {
        if !self.is_all_dirty && !self.dirty.contains(namespace) {
            self.dirty.insert(Arc::clone(namespace));
        }
    }

    /// A record of this namespace has come or gone. One that tells of others may do so anywhere.
    pub(super) fn touch_record(&mut self, namespace: &Arc<str>, record: &Record) {
        match record {
            Record::Workload(_) | Record::Account(_) => self.touch(namespace),
            Record::Node(_) | Record::Namespace(_) => {}
            Record::Word(_) => {
                if !self.retold.contains(namespace) {
                    self.retold.insert(Arc::clone(namespace));
                }
            }
            Record::Extracted(extracted) => {
                let history = extracted.history.iter().map(|(_, workload)| workload);
                for workload in extracted.workloads.iter().chain(history) {
                    // One of the whole cluster may own what is in any namespace.
                    let is_everywhere = workload.namespace.is_empty();
                    self.touch_scope((!is_everywhere).then_some(&workload.namespace));
                }
            }
        }
    }

    /// Something has changed, in this namespace or anywhere.
    pub(super) fn touch_scope(&mut self, namespace: Option<&Arc<str>>) {
        match namespace {
            Some(namespace) => self.touch(namespace),
            None => {
                self.is_all_dirty = true;
                self.dirty.clear();
            }
        }
    }

    /// Makes anew what was touched. `make` tells the uses of a namespace or of all, sorted; `tell` what
    /// nodes say of these, in their order; `mark` what people say of their owners, sorted.
    pub(super) fn refresh(
        &mut self,
        make: impl Fn(Option<&Arc<str>>) -> Vec<ImageUse>,
        tell: impl Fn(Option<&Arc<str>>, &[ImageUse]) -> Vec<Arc<RunningUse>>,
        mark: impl Fn(Option<&Arc<str>>) -> Vec<Marked>,
    ) {
        let dirty = std::mem::take(&mut self.dirty);
        let retold = std::mem::take(&mut self.retold);
        if std::mem::take(&mut self.is_all_dirty) {
            self.all.replace(make(None));
            self.marked.replace(mark(None));
            self.running.replace(tell(None, &self.all.0));
            return;
        }
        let made = dirty
            .iter()
            .map(|namespace| (namespace, make(Some(namespace))));
        self.all.join(made);
        let marked = dirty.iter();
        let marked = marked.map(|namespace| (namespace, mark(Some(namespace))));
        self.marked.join(marked);
        let told = dirty.union(&retold).map(|namespace| {
            let uses = self.all.part(self.all.range(namespace));
            (namespace, tell(Some(namespace), uses))
        });
        self.running.join(told);
    }

    /// As they were made last; the same allocation as before where nothing was different.
    pub(super) fn all(&self) -> Arc<[ImageUse]> {
        Arc::clone(&self.all.0)
    }

    /// As [`Uses::all`].
    pub(super) fn marked(&self) -> Arc<[Marked]> {
        Arc::clone(&self.marked.0)
    }

    /// As [`Uses::all`].
    pub(super) fn running(&self) -> Arc<[Arc<RunningUse>]> {
        Arc::clone(&self.running.0)
    }
}

/// In order of their users, and so of their namespaces.
#[derive(Debug)]
struct ByNamespace<T>(Arc<[T]>);

trait OfNamespace {
    fn namespace(&self) -> &str;
}

impl OfNamespace for ImageUse {
    fn namespace(&self) -> &str {
        &self.user.namespace
    }
}

impl OfNamespace for Arc<RunningUse> {
    fn namespace(&self) -> &str {
        &self.user.namespace
    }
}

impl OfNamespace for Marked {
    fn namespace(&self) -> &str {
        &self.owner.namespace
    }
}

impl<T> Default for ByNamespace<T> {
    fn default() -> Self {
        Self([].into())
    }
}

impl<T: OfNamespace + Clone + PartialEq> ByNamespace<T> {
    fn replace(&mut self, new: Vec<T>) {
        if *self.0 != *new {
            self.0 = new.into();
        }
    }

    /// Puts the new ones of some namespaces, in their order, in place of what they were.
    fn join<'a>(&mut self, anew: impl Iterator<Item = (&'a Arc<str>, Vec<T>)>) {
        let changes: Vec<(Range<usize>, Vec<T>)> = anew
            .map(|(namespace, new)| (self.range(namespace), new))
            .filter(|(range, new)| self.part(range.clone()) != new)
            .collect();
        if changes.is_empty() {
            return;
        }
        let mut joined = Vec::with_capacity(self.0.len() + 1);
        let mut end = 0;
        for (range, new) in changes {
            joined.extend_from_slice(self.part(end..range.start));
            joined.extend(new);
            end = range.end;
        }
        joined.extend_from_slice(self.part(end..self.0.len()));
        self.0 = joined.into();
    }

    fn range(&self, namespace: &str) -> Range<usize> {
        let is_before = |it: &T| it.namespace() < namespace;
        let is_not_after = |it: &T| it.namespace() <= namespace;
        self.0.partition_point(is_before)..self.0.partition_point(is_not_after)
    }

    fn part(&self, range: Range<usize>) -> &[T] {
        self.0.get(range).expect("ranges are made of its places")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Class, TopOwner, User};

    fn uses(names: &[&str]) -> Vec<ImageUse> {
        let uses = names.iter().map(|name| {
            let (namespace, image) = name.split_once('/').unwrap();
            ImageUse {
                user: Arc::new(User {
                    owner: Arc::new(TopOwner {
                        namespace: namespace.into(),
                        ..TopOwner::default()
                    }),
                    container: "app".into(),
                    image: image.into(),
                    class: Class::Runtime,
                    via: None,
                    since: None,
                    idle: None,
                }),
                reference: Ok(image.parse().unwrap()),
                pull_secrets: [].into(),
                constraint: Arc::default(),
            }
        });
        uses.collect()
    }

    fn refreshed(
        kept: &mut Uses,
        make: impl Fn(Option<&Arc<str>>) -> Vec<ImageUse>,
    ) -> Arc<[ImageUse]> {
        kept.refresh(make, tell, |_| Vec::new());
        // Told of each use anew, and of the very same users.
        let users = kept
            .all()
            .iter()
            .map(|it| Arc::clone(&it.user))
            .collect::<Vec<_>>();
        let told = kept
            .running()
            .iter()
            .map(|it| Arc::clone(&it.user))
            .collect::<Vec<_>>();
        assert!(
            users.len() == told.len() && users.iter().zip(&told).all(|(a, b)| Arc::ptr_eq(a, b))
        );
        kept.all()
    }

    fn tell(_: Option<&Arc<str>>, uses: &[ImageUse]) -> Vec<Arc<RunningUse>> {
        let told = uses.iter().map(|it| RunningUse {
            user: Arc::clone(&it.user),
            running: [].into(),
            refusal: None,
            pulled: None,
        });
        told.map(Arc::new).collect()
    }

    /// What of these is in a namespace, or in all.
    fn of<'a>(names: &'a [&str]) -> impl Fn(Option<&Arc<str>>) -> Vec<ImageUse> + 'a {
        move |namespace| {
            let mut all = uses(names);
            all.retain(|it| namespace.is_none_or(|namespace| it.user.namespace == *namespace));
            all
        }
    }

    #[test]
    fn only_what_was_touched_is_made_anew_and_the_rest_stays_where_it_was() {
        let mut kept = Uses::default();
        kept.touch_scope(None);
        let first = refreshed(&mut kept, of(&["b/1", "b/2", "d/1"]));
        assert_eq!(*first, *uses(&["b/1", "b/2", "d/1"]));
        for (touched, now, expected) in [
            // Not touched, not seen.
            ("", vec!["b/9"], vec!["b/1", "b/2", "d/1"]),
            // Before all, between, behind; some gone and some new; two at once.
            ("a", vec!["a/1"], vec!["a/1", "b/1", "b/2", "d/1"]),
            (
                "ce",
                vec!["c/1", "e/1"],
                vec!["a/1", "b/1", "b/2", "c/1", "d/1", "e/1"],
            ),
            ("be", vec!["b/3"], vec!["a/1", "b/3", "c/1", "d/1"]),
            ("abcd", vec![], vec![]),
            ("c", vec!["c/1"], vec!["c/1"]),
        ] {
            for namespace in touched.chars() {
                kept.touch(&namespace.to_string().into());
            }
            assert_eq!(
                *refreshed(&mut kept, of(&now)),
                *uses(&expected),
                "{touched}"
            );
        }
    }

    #[test]
    fn what_says_the_same_again_keeps_its_place_in_memory() {
        let names = ["a/1", "b/1"];
        let mut kept = Uses::default();
        kept.touch_scope(None);
        let first = refreshed(&mut kept, of(&names));
        kept.touch(&"a".into());
        assert!(Arc::ptr_eq(&first, &refreshed(&mut kept, of(&names))));
        kept.touch_scope(None);
        assert!(Arc::ptr_eq(&first, &refreshed(&mut kept, of(&names))));
        kept.touch_scope(Some(&"b".into()));
        assert!(!Arc::ptr_eq(&first, &refreshed(&mut kept, of(&["a/1"]))));
    }
}
