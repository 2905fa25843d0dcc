//! The uses of one cluster, made anew namespace by namespace.
//!
//! Whatever makes a use (owners, pods, service accounts) is of one namespace. So a pod that is
//! replaced costs its namespace's time, and not the cluster's.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use crate::inventory::ImageUse;

use super::world::Record;

#[derive(Debug)]
pub(super) struct Uses {
    /// In order of their users, and so of their namespaces.
    all: Arc<[ImageUse]>,
    dirty: BTreeSet<Arc<str>>,
    is_all_dirty: bool,
}

impl Default for Uses {
    fn default() -> Self {
        Self {
            all: [].into(),
            dirty: BTreeSet::new(),
            is_all_dirty: false,
        }
    }
}

impl Uses {
    /// Something of this namespace has changed.
    pub(super) fn touch(&mut self, namespace: &Arc<str>) {
        if !self.is_all_dirty && !self.dirty.contains(namespace) {
            self.dirty.insert(Arc::clone(namespace));
        }
    }

    /// A record of this namespace has come or gone. One that tells of others may do so anywhere.
    pub(super) fn touch_record(&mut self, namespace: &Arc<str>, record: &Record) {
        match record {
            Record::Workload(_) | Record::Account(_) => self.touch(namespace),
            Record::Node(_) => {}
            Record::Extracted(extracted) => {
                let history = extracted.history.iter().map(|(_, workload)| workload);
                for workload in extracted.workloads.iter().chain(history) {
                    self.touch(&workload.namespace);
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

    /// As they are now; the same allocation as before where nothing is different. `make` tells the
    /// uses of a namespace or of all, sorted.
    pub(super) fn refreshed(
        &mut self,
        make: impl Fn(Option<&Arc<str>>) -> Vec<ImageUse>,
    ) -> Arc<[ImageUse]> {
        let dirty = std::mem::take(&mut self.dirty);
        if std::mem::take(&mut self.is_all_dirty) {
            let new = make(None);
            if *self.all != *new {
                self.all = new.into();
            }
        } else if !dirty.is_empty() {
            self.join(
                dirty
                    .iter()
                    .map(|namespace| (namespace, make(Some(namespace)))),
            );
        }
        Arc::clone(&self.all)
    }

    /// Puts the uses of some namespaces, in their order, in place of what they were.
    fn join<'a>(&mut self, anew: impl Iterator<Item = (&'a Arc<str>, Vec<ImageUse>)>) {
        let changes: Vec<(Range<usize>, Vec<ImageUse>)> = anew
            .map(|(namespace, new)| (self.range(namespace), new))
            .filter(|(range, new)| self.part(range.clone()) != new)
            .collect();
        if changes.is_empty() {
            return;
        }
        let mut joined = Vec::with_capacity(self.all.len() + 1);
        let mut end = 0;
        for (range, new) in changes {
            joined.extend_from_slice(self.part(end..range.start));
            joined.extend(new);
            end = range.end;
        }
        joined.extend_from_slice(self.part(end..self.all.len()));
        self.all = joined.into();
    }

    fn range(&self, namespace: &str) -> Range<usize> {
        let is_before = |it: &ImageUse| *it.user.namespace < *namespace;
        let is_not_after = |it: &ImageUse| *it.user.namespace <= *namespace;
        self.all.partition_point(is_before)..self.all.partition_point(is_not_after)
    }

    fn part(&self, range: Range<usize>) -> &[ImageUse] {
        self.all.get(range).expect("ranges are made of its places")
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
                }),
                reference: Ok(image.parse().unwrap()),
                pull_secrets: [].into(),
                constraint: Arc::default(),
            }
        });
        uses.collect()
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
        let first = kept.refreshed(of(&["b/1", "b/2", "d/1"]));
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
            assert_eq!(*kept.refreshed(of(&now)), *uses(&expected), "{touched}");
        }
    }

    #[test]
    fn what_says_the_same_again_keeps_its_place_in_memory() {
        let names = ["a/1", "b/1"];
        let mut kept = Uses::default();
        kept.touch_scope(None);
        let first = kept.refreshed(of(&names));
        kept.touch(&"a".into());
        assert!(Arc::ptr_eq(&first, &kept.refreshed(of(&names))));
        kept.touch_scope(None);
        assert!(Arc::ptr_eq(&first, &kept.refreshed(of(&names))));
        kept.touch_scope(Some(&"b".into()));
        assert!(!Arc::ptr_eq(&first, &kept.refreshed(of(&["a/1"]))));
    }
}
