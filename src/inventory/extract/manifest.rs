//! What manifests say: objects of any kind, as somebody wrote them. No API server has put them in order.
//!
//! A kind is known by its group too: Volcano's `Job` is not that of `batch`. One that is not known at all is
//! read where it has a pod template, and what else of it looks like an image is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize as _;
use serde_json::{Map, Value};

use crate::oci::reference::shown;

use super::{CustomResource, Interner, Metadata, Object, Tally, Workload};
use crate::inventory::marks::MarkedNamespace;

/// How deep a `List` may hold lists.
const LIST_DEPTH_MAX: usize = 4;

/// The kinds of Kubernetes itself that hold pods.
const NATIVE_KINDS: [&str; 10] = [
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "ReplicationController",
    "CronJob",
    "Job",
    "Pod",
    "PodTemplate",
    "ControllerRevision",
];

/// Kinds with anybody's text, where an `image` need not be one.
const TEXT_KINDS: [&str; 3] = ["ConfigMap", "Secret", "CustomResourceDefinition"];

/// What some manifests say.
#[derive(Debug, Default)]
pub struct Manifests {
    /// Of Kubernetes' own kinds, and of unknown ones that have a pod template.
    pub workloads: Vec<Workload>,
    /// Of configured custom resources.
    pub custom: Vec<Workload>,
    /// Of no cluster in particular.
    pub namespaces: Vec<MarkedNamespace>,
    /// Which custom resources could not be read in full: object and place.
    pub problems: Vec<String>,
    /// Images that nothing reads: by group and kind the first of its objects, and how many more there are.
    unread: BTreeMap<(String, String), (String, usize)>,
    /// By group and kind.
    tallies: BTreeMap<(String, String), Tally>,
}

/// The type that an object says it has.
#[derive(Debug, Clone, Default)]
struct Type {
    /// Missing in manifests that no API server would take; then its kind alone must do.
    group: Option<String>,
    kind: String,
}

impl Type {
    fn is_native(&self) -> bool {
        matches!(self.group.as_deref(), None | Some("" | "apps" | "batch"))
            && NATIVE_KINDS.contains(&self.kind.as_str())
    }

    fn is_namespace(&self) -> bool {
        matches!(self.group.as_deref(), None | Some("")) && self.kind == "Namespace"
    }

    /// What an item of such a list is, if it does not say so itself.
    fn of_items(&self) -> Option<Self> {
        let kind = self.kind.strip_suffix("List")?.to_owned();
        let group = self.group.clone().filter(|_| !kind.is_empty());
        Some(Self { group, kind })
    }
}

impl Manifests {
    /// Reads one more: an object, or a list of them to any reasonable depth.
    ///
    /// # Errors
    ///
    /// What of it cannot be read. What was read of it before stays.
    pub fn read(
        &mut self,
        manifest: Value,
        customs: &[Arc<CustomResource>],
        interner: &mut Interner,
    ) -> Result<(), String> {
        self.object(
            manifest,
            &Type::default(),
            LIST_DEPTH_MAX,
            customs,
            interner,
        )
    }

    fn object(
        &mut self,
        manifest: Value,
        inherited: &Type,
        depth: usize,
        customs: &[Arc<CustomResource>],
        interner: &mut Interner,
    ) -> Result<(), String> {
        let Value::Object(mut fields) = manifest else {
            return Err("it is not a Kubernetes object".to_owned());
        };
        let of = type_of(&fields, inherited)?;
        if let Some(of_items) = of.of_items()
            && let Some(Value::Array(items)) = fields.remove("items")
        {
            let depth = depth
                .checked_sub(1)
                .ok_or_else(|| format!("its lists are nested deeper than {LIST_DEPTH_MAX}"))?;
            for (index, item) in items.into_iter().enumerate() {
                self.object(item, &of_items, depth, customs, interner)
                    .map_err(|problem| format!("item {}: {problem}", index + 1))?;
            }
            return Ok(());
        }
        let custom = customs
            .iter()
            .find(|it| it.kind == of.kind && of.group.as_deref() == Some(it.group.as_str()));
        if let Some(custom) = custom {
            let extracted = custom.extract(&Value::Object(fields), interner);
            let name = (of.group.unwrap_or_default(), of.kind);
            self.tallies.entry(name).or_default().add(extracted.hits);
            self.custom.extend(extracted.workloads);
            self.problems.extend(extracted.problem.map(String::from));
            return Ok(());
        }
        if of.is_namespace() {
            self.namespace(&fields, interner);
            return Ok(());
        }
        if !of.is_native() {
            let template = pod_template(&mut fields);
            self.look_for_images(&of, &fields);
            let Some(template) = template else {
                return Ok(());
            };
            // The rest of an unknown kind's spec may use our fields' names for something else.
            fields.insert(
                "spec".to_owned(),
                Value::Object([("template".to_owned(), template)].into_iter().collect()),
            );
            fields.retain(|field, _| matches!(field.as_str(), "kind" | "metadata" | "spec"));
        }
        let kind = of.kind;
        let object: Object = serde_json::from_value(Value::Object(fields)).map_err(|error| {
            format!(
                "a {} that cannot be read: {}",
                shown(&kind),
                shown(&error.to_string())
            )
        })?;
        self.workloads.push(object.into_workload(&kind, interner));
        Ok(())
    }

    /// One that cannot be read says nothing: no image hangs on it.
    fn namespace(&mut self, fields: &Map<String, Value>, interner: &mut Interner) {
        let metadata = fields.get("metadata").map(Metadata::deserialize);
        if let Some(Ok(metadata)) = metadata
            && let Some(mark) = interner.mark(&metadata)
        {
            self.namespaces.push(MarkedNamespace {
                cluster: None,
                name: interner.text(&metadata.name),
                mark,
            });
        }
    }

    /// Counts an object of an unknown kind that has something like an image.
    fn look_for_images(&mut self, of: &Type, fields: &Map<String, Value>) {
        if of.kind.is_empty() || TEXT_KINDS.contains(&of.kind.as_str()) {
            return;
        }
        let parts = fields.iter();
        let mut parts = parts.filter(|(key, _)| !matches!(key.as_str(), "metadata" | "status"));
        let Some(place) = parts.find_map(|(key, value)| image_at(key, value, &format!(".{key}")))
        else {
            return;
        };
        let name = (of.group.clone().unwrap_or_default(), of.kind.clone());
        let entry = self.unread.entry(name);
        entry.and_modify(|(_, more)| *more += 1).or_insert_with(|| {
            let metadata = fields.get("metadata");
            let text = |key: &str| {
                let text = metadata.and_then(|it| it.get(key)).and_then(Value::as_str);
                shown(text.unwrap_or_default())
            };
            let namespace = text("namespace");
            let separator = if namespace.is_empty() { "" } else { "/" };
            let (kind, name, place) = (shown(&of.kind), text("name"), shown(&place));
            let object = format!("{kind}/{namespace}{separator}{name}");
            (
                format!("{object}: {place}: an image that no configured path reads"),
                0,
            )
        });
    }

    /// What is not read of kinds that nobody configured: a line for each kind.
    pub fn unread(&self) -> impl Iterator<Item = String> {
        self.unread.values().map(|(first, more)| match more {
            0 => format!("{first}; customResources reads it"),
            more => format!("{first} (and {more} more of its kind); customResources reads it"),
        })
    }

    /// Paths of custom resources that lead to nothing in all of the manifests.
    pub fn misses(&self, customs: &[Arc<CustomResource>]) -> Vec<String> {
        let problems = customs.iter().filter_map(|custom| {
            let name = (custom.group.clone(), custom.kind.clone());
            let shown = format!("{}.{}", custom.kind, custom.group);
            self.tallies.get(&name)?.problem(custom, &shown)
        });
        problems.collect()
    }
}

fn type_of(fields: &Map<String, Value>, inherited: &Type) -> Result<Type, String> {
    let kind = match fields.get("kind") {
        Some(Value::String(kind)) => Some(kind.clone()),
        Some(_) => return Err("its kind is not a string".to_owned()),
        None => None,
    };
    let group = fields
        .get("apiVersion")
        .and_then(Value::as_str)
        .map(|text| {
            let group = text.split_once('/').map(|(group, _version)| group);
            group.unwrap_or_default().to_owned()
        });
    Ok(match kind {
        Some(kind) => Type { group, kind },
        None => Type {
            group: group.or_else(|| inherited.group.clone()),
            kind: inherited.kind.clone(),
        },
    })
}

/// Whether [`Manifests`] may find anything in it. A `Secret` is not among them.
pub(super) fn may_name_images(manifest: &Value) -> bool {
    let kind = manifest.get("kind").and_then(Value::as_str);
    kind.is_none_or(|kind| !TEXT_KINDS.contains(&kind))
}

/// Takes `.spec.template` if it is a pod's.
fn pod_template(fields: &mut Map<String, Value>) -> Option<Value> {
    let template = fields.get_mut("spec")?.get_mut("template")?;
    template.get("spec")?.get("containers")?.as_array()?;
    Some(template.take())
}

/// The place of the first text in a field of the name `image`.
fn image_at(key: &str, value: &Value, place: &str) -> Option<String> {
    match value {
        Value::String(text) => (key == "image" && !text.is_empty()).then(|| place.to_owned()),
        Value::Object(fields) => fields
            .iter()
            .find_map(|(key, value)| image_at(key, value, &format!("{place}.{key}"))),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, value)| image_at("", value, &format!("{place}[{index}]"))),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

#[cfg(test)]
mod tests;
