//! Which workloads an Event can be written on, and where they are found.

use std::sync::Arc;

use crate::inventory::TopOwner;
use crate::inventory::extract::CustomResource;

/// Names of Kubernetes' objects are at most so long (RFC 1123 subdomain).
const NAME_BYTES_MAX: usize = 253;

/// A cluster whose workloads get Events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// As it is called in [`TopOwner::cluster`].
    pub cluster: Option<Arc<str>>,
    /// The source that reads it.
    pub source: Arc<str>,
}

/// All that may get Events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Targets {
    pub clusters: Vec<Target>,
    /// Kinds that are not Kubernetes' own.
    pub customs: Vec<Arc<CustomResource>>,
}

/// Where objects of a kind are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub group: String,
    pub version: String,
    pub kind: String,
    /// `None` where the API server has to tell.
    pub plural: Option<&'static str>,
}

/// The kinds that people look at. No history is among them: who looks for a rollback looks at its Deployment.
const NATIVE: [(&str, &str, &str); 9] = [
    ("apps", "Deployment", "deployments"),
    ("apps", "StatefulSet", "statefulsets"),
    ("apps", "DaemonSet", "daemonsets"),
    ("apps", "ReplicaSet", "replicasets"),
    ("batch", "CronJob", "cronjobs"),
    ("batch", "Job", "jobs"),
    ("", "Pod", "pods"),
    ("", "ReplicationController", "replicationcontrollers"),
    ("", "PodTemplate", "podtemplates"),
];

impl Targets {
    /// The cluster of a workload that can have one.
    pub(super) fn of(&self, owner: &TopOwner) -> Option<&Target> {
        let mut clusters = self.clusters.iter();
        let target = clusters.find(|target| target.cluster == owner.cluster)?;
        let is_well = is_name(&owner.namespace) && is_name(&owner.name);
        (is_well && self.addresses(&owner.kind).next().is_some()).then_some(target)
    }

    /// Where a workload of this kind may be. Two kinds of one name are told apart by which has it.
    pub fn addresses(&self, kind: &str) -> impl Iterator<Item = Address> {
        let native = NATIVE.iter().filter(move |(_, name, _)| *name == kind);
        let native = native.map(|(group, kind, plural)| Address {
            group: (*group).to_owned(),
            version: "v1".to_owned(),
            kind: (*kind).to_owned(),
            plural: Some(plural),
        });
        let customs = self.customs.iter().filter(move |it| it.kind == kind);
        let customs = customs.map(|custom| Address {
            group: custom.group.clone(),
            version: custom.version.clone(),
            kind: custom.kind.clone(),
            plural: None,
        });
        native.chain(customs)
    }
}

/// Whether it can be the name of an object, and so stand in a request: another pullproof may say anything, and so
/// may whoever writes an owner into a Pod.
pub fn is_name(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_end = |byte: Option<&u8>| byte.is_some_and(|byte| is_inner(*byte));
    let bytes = text.as_bytes();
    bytes.len() <= NAME_BYTES_MAX
        && is_end(bytes.first())
        && is_end(bytes.last())
        && bytes
            .iter()
            .all(|byte| is_inner(*byte) || b"-.".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_say_anything_else_in_a_request() {
        for name in ["web", "web-1.example", "0"] {
            assert!(is_name(name), "{name}");
        }
        let long = "a".repeat(NAME_BYTES_MAX + 1);
        for text in [
            "",
            "../secrets",
            "a/b",
            "a,b=c",
            "a=b",
            "A",
            "-a",
            "a.",
            "a b",
            "ü",
            &long,
        ] {
            assert!(!is_name(text), "{text}");
        }
    }
}
