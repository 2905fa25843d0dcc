//! The filter as a form: what there is to choose from, and what is chosen. Pure.

use std::collections::BTreeSet;

use foldhash::HashSet;

use super::super::filter::Filter;
use crate::state::Snapshot;

/// More values than this are typed, not chosen.
const CHOICES_MAX: usize = 500;

pub(super) struct Form {
    pub(super) q: String,
    pub(super) fields: Vec<Field>,
    pub(super) limit: Option<usize>,
    pub(super) is_filtered: bool,
}

/// One part of the filter: chosen from what there is, or typed where that is too much.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) all: &'static str,
    pub(super) value: String,
    pub(super) choices: Vec<String>,
}

impl Field {
    pub(super) fn is_typed(&self) -> bool {
        self.choices.is_empty()
    }
}

impl Form {
    pub(super) fn of(filter: &Filter, snapshot: &Snapshot) -> Self {
        // Sorted in the end: there are few of them, and very many images.
        let mut registries = HashSet::default();
        let mut namespaces = HashSet::default();
        let mut clusters = HashSet::default();
        let mut classes = BTreeSet::new();
        for image in &snapshot.images {
            registries.insert(image.registry());
            for user in image.users().iter().filter(|user| !user.is_argument()) {
                namespaces.insert(&*user.namespace);
                clusters.extend(user.cluster.as_deref());
                classes.insert(user.class);
            }
        }
        let classes = classes.iter().map(|class| class.as_str());
        let [registries, namespaces, clusters] = [registries, namespaces, clusters].map(sorted);
        let fields = [
            Field::of(
                "registry",
                "Registry",
                "all registries",
                &filter.registry,
                registries,
            ),
            Field::of(
                "namespace",
                "Namespace",
                "all namespaces",
                &filter.namespace,
                namespaces,
            ),
            Field::of(
                "cluster",
                "Cluster",
                "all clusters",
                &filter.cluster,
                clusters,
            ),
            Field::of("class", "Class", "all classes", &filter.class, classes),
        ];
        Self {
            q: filter.q.clone(),
            fields: fields.into_iter().flatten().collect(),
            limit: filter.limit,
            is_filtered: [
                &filter.q,
                &filter.verdict,
                &filter.registry,
                &filter.namespace,
                &filter.cluster,
                &filter.class,
            ]
            .iter()
            .any(|value| !value.is_empty()),
        }
    }
}

fn sorted(values: HashSet<&str>) -> Vec<&str> {
    let mut values: Vec<&str> = values.into_iter().collect();
    values.sort_unstable();
    values
}

impl Field {
    /// None where there is nothing to choose.
    fn of<'a>(
        name: &'static str,
        label: &'static str,
        all: &'static str,
        value: &str,
        values: impl IntoIterator<Item = &'a str>,
    ) -> Option<Self> {
        let mut choices: Vec<String> = values
            .into_iter()
            .filter(|value| !value.is_empty())
            .map(ToOwned::to_owned)
            .collect();
        // What is in the address is in the form, also when nothing has it any more.
        if !value.is_empty() && !choices.iter().any(|choice| choice == value) {
            choices.push(value.to_owned());
        }
        if choices.is_empty() {
            return None;
        }
        if choices.len() > CHOICES_MAX {
            choices.clear();
        }
        Some(Self {
            name,
            label,
            all,
            value: value.to_owned(),
            choices,
        })
    }
}
