//! What Kubernetes objects say about images, and nothing else of them.
//!
//! Objects are reduced as they arrive: a pod of some 40 KiB becomes a name, an owner and a shared
//! [`PodImages`], so that a cluster with 100,000 pods fits in memory. Every string in an object is a
//! tenant's and hostile; what is no image reference stays visible as it was written.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::oci::reference::{InvalidReference, Reference};
use crate::second::Second;

use super::marks::{IGNORE, Mark};
use super::running::{self, ContainerStatus, PodStatus, Restarts};
use super::{Idle, NodeConstraint};

pub use self::custom::{CustomResource, Extracted};
pub use self::helm::Release;
pub use self::hits::{Hits, PATHS_MAX, Tally};
pub use self::intern::{Interner, fitting};
pub use self::manifest::Manifests;
pub use self::mentions::{Mention, Part, Search};
pub(super) use self::ownership::Owners;
pub use self::ownership::{Account, Origin, Scope, image_uses, image_uses_of, marked};
pub use self::path::{FieldPath, InvalidPath};
pub use self::releases::{Releases, Teller};

mod custom;
mod helm;
mod hits;
mod intern;
mod manifest;
mod mentions;
mod ownership;
mod path;
mod releases;

/// How much of a string is kept: twice what a valid reference may have. The API server takes an
/// image of a megabyte.
pub const TEXT_BYTES_MAX: usize = 1024;

/// One object that runs or would run pods, reduced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    pub kind: Arc<str>,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub owner: Option<Owner>,
    pub images: Arc<PodImages>,
    /// Not of a Pod that belongs to something.
    pub created: Option<Second>,
    pub idle: Option<Idle>,
    /// Of a Pod whose containers run, or wait for their images.
    pub status: Option<Arc<PodStatus>>,
    /// What people say of alerts about it, where it may be its own top owner.
    pub mark: Option<Arc<Mark>>,
}

/// The controller in an object's `ownerReferences`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub kind: Arc<str>,
    pub name: Arc<str>,
    /// Of Kubernetes' own API groups: a `Job` of another group is not the one in `batch`.
    pub is_native: bool,
}

/// What a pod template says about images. Equal ones are shared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PodImages {
    pub containers: Box<[ContainerImage]>,
    pub pull_secrets: Arc<[Arc<str>]>,
    pub service_account: Arc<str>,
    pub constraint: Arc<NodeConstraint>,
    /// Images that the object merely mentions; few have any.
    pub mentioned: Option<Box<Mentioned>>,
}

/// Each with its place for a container.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mentioned(pub Box<[ContainerImage]>);

/// One container, or a volume by the name `volume:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContainerImage {
    pub container: Arc<str>,
    pub image: Arc<str>,
    pub reference: Result<Reference, Box<InvalidReference>>,
}

/// Any object, seen through the fields that can name an image. The kinds of Kubernetes use these
/// names for nothing else, so one type reads them all.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Object {
    #[serde(default, deserialize_with = "nullable")]
    pub kind: String,
    #[serde(default, deserialize_with = "nullable")]
    pub metadata: Metadata,
    #[serde(default, deserialize_with = "nullable")]
    spec: Spec,
    /// Of a `PodTemplate`.
    #[serde(default, deserialize_with = "nullable")]
    template: Option<Box<Template>>,
    /// Of a `ControllerRevision`: a patch that holds the whole template. Of one that belongs to neither a
    /// `StatefulSet` nor a `DaemonSet` it is whatever its maker likes, and the API server looks at none.
    #[serde(default, deserialize_with = "lenient")]
    data: Option<Box<Template>>,
    /// Of a `ServiceAccount`.
    #[serde(default, rename = "imagePullSecrets", deserialize_with = "nullable")]
    pub image_pull_secrets: Vec<Named>,
    #[serde(default, deserialize_with = "nullable")]
    pub status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// Of a `Node`.
    #[serde(deserialize_with = "nullable")]
    pub node_info: NodeInfo,
    /// Of a `Pod`.
    #[serde(deserialize_with = "nullable")]
    container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "nullable")]
    init_container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "nullable")]
    ephemeral_container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "lenient")]
    phase: String,
    /// Of a `Job`.
    #[serde(deserialize_with = "lenient")]
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Condition {
    r#type: String,
    status: String,
}

impl Status {
    fn containers(&self) -> impl Iterator<Item = (Restarts, &ContainerStatus)> {
        // Those of a Pod that has ended do not come again.
        let restarts = match &*self.phase {
            "Succeeded" | "Failed" => Restarts::No,
            _ => Restarts::Yes,
        };
        let all = self.container_statuses.iter().map(move |it| (restarts, it));
        let others = self.init_container_statuses.iter();
        let others = others.chain(&self.ephemeral_container_statuses);
        all.chain(others.map(|it| (Restarts::No, it)))
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeInfo {
    #[serde(deserialize_with = "nullable")]
    pub operating_system: String,
    #[serde(deserialize_with = "nullable")]
    pub architecture: String,
    #[serde(deserialize_with = "nullable")]
    pub kernel_version: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    #[serde(deserialize_with = "nullable")]
    generate_name: String,
    #[serde(deserialize_with = "nullable")]
    pub namespace: String,
    #[serde(deserialize_with = "nullable")]
    pub resource_version: String,
    #[serde(deserialize_with = "nullable")]
    owner_references: Vec<OwnerReference>,
    #[serde(deserialize_with = "lenient")]
    creation_timestamp: Option<Timestamp>,
    #[serde(rename = "annotations", deserialize_with = "ignore")]
    ignore: Option<String>,
    #[serde(deserialize_with = "lenient")]
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct OwnerReference {
    #[serde(deserialize_with = "nullable")]
    api_version: String,
    #[serde(deserialize_with = "nullable")]
    kind: String,
    #[serde(deserialize_with = "nullable")]
    name: String,
    #[serde(deserialize_with = "nullable")]
    controller: bool,
}

/// A pod's spec, or the spec of something that has a template for one.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    #[serde(deserialize_with = "nullable")]
    containers: Vec<Container>,
    #[serde(deserialize_with = "nullable")]
    init_containers: Vec<Container>,
    #[serde(deserialize_with = "nullable")]
    ephemeral_containers: Vec<Container>,
    #[serde(deserialize_with = "nullable")]
    volumes: Vec<Volume>,
    #[serde(deserialize_with = "nullable")]
    image_pull_secrets: Vec<Named>,
    #[serde(deserialize_with = "nullable")]
    service_account_name: String,
    /// The old name of the same.
    #[serde(deserialize_with = "nullable")]
    service_account: String,
    #[serde(deserialize_with = "nullable")]
    node_selector: NodeSelector,
    #[serde(deserialize_with = "nullable")]
    template: Option<Box<Template>>,
    #[serde(deserialize_with = "nullable")]
    job_template: Option<Box<Template>>,
    #[serde(deserialize_with = "lenient")]
    replicas: Option<i64>,
    #[serde(deserialize_with = "lenient")]
    suspend: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Template {
    #[serde(deserialize_with = "nullable")]
    spec: Spec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Container {
    #[serde(deserialize_with = "nullable")]
    name: String,
    #[serde(deserialize_with = "nullable")]
    image: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Volume {
    #[serde(deserialize_with = "nullable")]
    name: String,
    image: Option<ImageVolume>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ImageVolume {
    #[serde(deserialize_with = "nullable")]
    reference: String,
}

/// A `LocalObjectReference`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Named {
    #[serde(deserialize_with = "nullable")]
    pub name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct NodeSelector {
    #[serde(rename = "kubernetes.io/os")]
    os: Option<String>,
    #[serde(rename = "kubernetes.io/arch")]
    architecture: Option<String>,
}

/// Go writes an empty slice or map as `null`, and people leave keys without a value.
pub fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// For what is only told: of whatever shape it is, no object is lost for it.
fn lenient<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + DeserializeOwned,
{
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// Of all annotations, which may hold the whole object once more, only [`IGNORE`] is kept.
fn ignore<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let annotations = Value::deserialize(deserializer)?;
    let reason = annotations.get(IGNORE).and_then(Value::as_str);
    Ok(reason.map(str::to_owned))
}

impl Object {
    /// Why nothing of it runs, if it says so.
    fn idle(&self, kind: &str) -> Option<Idle> {
        let has_ended = || {
            let mut conditions = self.status.conditions.iter();
            conditions.any(|it| matches!(&*it.r#type, "Complete" | "Failed") && it.status == "True")
        };
        match kind {
            "Deployment" | "StatefulSet" | "ReplicaSet" | "ReplicationController" => {
                (self.spec.replicas == Some(0)).then_some(Idle::ScaledToZero)
            }
            "Job" if has_ended() => Some(Idle::Done),
            "CronJob" | "Job" => self.spec.suspend.then_some(Idle::Suspended),
            "Pod" => matches!(&*self.status.phase, "Succeeded" | "Failed").then_some(Idle::Done),
            _ => None,
        }
    }

    /// Reduces the object. `kind` as it is known to the reader: items of a list do not tell theirs.
    pub fn into_workload(self, kind: &str, interner: &mut Interner) -> Workload {
        let owner = self.metadata.owner(interner);
        // A Deployment's annotations are copied to what it owns, and stay there when they are taken back.
        let is_owned = owner.is_some() && belongs(kind);
        let mark = interner.mark(&self.metadata).filter(|_| !is_owned);
        let idle = self.idle(kind);
        let is_pod = kind == "Pod";
        let created = self
            .metadata
            .created()
            .filter(|_| !is_pod || owner.is_none());
        let name = if self.metadata.name.is_empty() {
            self.metadata.generate_name
        } else {
            self.metadata.name
        };
        let spec = if let Some(template) = self.template.or(self.data) {
            template.spec.into_pod()
        } else {
            self.spec.into_pod()
        };
        let images = spec.into_images(interner);
        let containers = self.status.containers().filter(|_| is_pod);
        Workload {
            kind: interner.text(kind),
            namespace: interner.text(&self.metadata.namespace),
            name: interner.text(&name),
            owner,
            status: running::reduce(containers, &images, interner),
            images,
            created,
            idle,
            mark,
        }
    }
}

/// Whether one that has an owner is its owner's.
fn belongs(kind: &str) -> bool {
    matches!(
        kind,
        "Pod" | "ReplicaSet" | "ReplicationController" | "Job" | "ControllerRevision"
    )
}

impl Metadata {
    fn created(&self) -> Option<Second> {
        self.creation_timestamp.map(Second::from)
    }

    fn owner(&self, interner: &mut Interner) -> Option<Owner> {
        let owner = self
            .owner_references
            .iter()
            .find(|owner| owner.controller)?;
        let group = owner
            .api_version
            .split_once('/')
            .map_or("", |(group, _version)| group);
        let is_native = matches!(group, "" | "apps" | "batch");
        // The kubelet owns the mirror of a static pod by way of its Node: that pod is its own.
        if is_native && owner.kind == "Node" {
            return None;
        }
        Some(Owner {
            kind: interner.text(&owner.kind),
            name: interner.text(&owner.name),
            is_native,
        })
    }
}

impl Spec {
    fn into_pod(self) -> Self {
        let mut spec = self;
        while let Some(inner) = spec.job_template.take().or_else(|| spec.template.take()) {
            spec = inner.spec;
        }
        spec
    }

    fn into_images(self, interner: &mut Interner) -> Arc<PodImages> {
        let containers = self
            .containers
            .iter()
            .chain(&self.init_containers)
            .chain(&self.ephemeral_containers)
            .map(|container| (interner.text(&container.name), container.image.as_str()))
            .collect::<Vec<_>>();
        let volumes = self
            .volumes
            .iter()
            .filter_map(|volume| {
                let image = volume.image.as_ref()?;
                let name = interner.text(&format!("volume:{}", volume.name));
                Some((name, image.reference.as_str()))
            })
            .collect::<Vec<_>>();
        let containers = containers
            .into_iter()
            .chain(volumes)
            .map(|(container, image)| ContainerImage {
                container,
                image: interner.text(image),
                reference: interner.reference(image),
            })
            .collect();
        let service_account = [self.service_account_name, self.service_account]
            .into_iter()
            .find(|name| !name.is_empty())
            .unwrap_or_else(|| "default".to_owned());
        let images = PodImages {
            containers,
            pull_secrets: secret_names(&self.image_pull_secrets, interner),
            service_account: interner.text(&service_account),
            constraint: Arc::new(NodeConstraint {
                os: self.node_selector.os,
                architecture: self.node_selector.architecture,
                platforms: None,
            }),
            mentioned: None,
        };
        interner.images(images)
    }
}

/// The names of pull secrets as they are written; one without a name names nothing.
pub fn secret_names(secrets: &[Named], interner: &mut Interner) -> Arc<[Arc<str>]> {
    secrets
        .iter()
        .filter(|secret| !secret.name.is_empty())
        .map(|secret| interner.text(&secret.name))
        .collect()
}

/// The workloads of one manifest, where no custom resource is known.
#[cfg(test)]
pub fn workloads(manifest: Value, interner: &mut Interner) -> Result<Vec<Workload>, String> {
    let mut manifests = Manifests::default();
    manifests.read(manifest, &[], interner)?;
    Ok(manifests.workloads)
}

#[cfg(test)]
mod tests;
