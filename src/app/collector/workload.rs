//! What runs a registry in a cluster: looked at, and changed by server-side apply, so that what is ours in it
//! is known as ours and goes again without a trace.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::cluster::{self, Failure, answer};
use crate::collection::rollout::{Progress, Replica};
use crate::config::{Named, Workload, WorkloadKind};
use crate::second::Second;

/// When pullproof had it restarted, in the template of its pods.
const RESTARTED: &str = "pullproof.dev/restartedAt";
/// The same as `kubectl rollout restart` writes it, for people.
const RESTARTED_BY_KUBECTL: &str = "kubectl.kubernetes.io/restartedAt";
/// The manager of those. What is applied as one manager is all that it owns, so it is not the switch's.
const RESTARTER: &str = "pullproof-restart";

/// A Deployment or a StatefulSet, as it was read.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) metadata: ObjectMeta,
    pub(super) progress: Progress,
    pub(super) pod: PodSpec,
    selector: LabelSelector,
}

/// The way to it.
pub(super) struct Workloads {
    client: Client,
    runtime: Handle,
}

impl Workloads {
    pub(super) fn new(runtime: &Handle, what: &str) -> Result<Self, String> {
        Ok(Self {
            client: cluster::client(runtime, what)?,
            runtime: runtime.clone(),
        })
    }

    pub(super) fn get(&self, of: &Workload) -> Result<Seen, Failure> {
        let Named { namespace, name } = &of.named;
        let client = self.client.clone();
        self.runtime.block_on(async {
            match of.kind {
                WorkloadKind::Deployment => {
                    let api: Api<Deployment> = Api::namespaced(client, namespace);
                    Ok(of_deployment(answer(api.get(name)).await?))
                }
                WorkloadKind::StatefulSet => {
                    let api: Api<StatefulSet> = Api::namespaced(client, namespace);
                    Ok(of_stateful_set(answer(api.get(name)).await?))
                }
            }
        })
    }

    /// Its pods that have not ended, with whether each is as it was asked for.
    pub(super) fn replicas(
        &self,
        of: &Workload,
        seen: &Seen,
        is_as_wanted: &dyn Fn(&Container) -> bool,
    ) -> Result<Vec<Replica>, Failure> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &of.named.namespace);
        let parameters = ListParams::default().labels(&selector(&seen.selector));
        let pods = self.runtime.block_on(answer(api.list(&parameters)))?;
        let pods = pods.items.into_iter();
        Ok(pods
            .filter(|pod| !has_ended(pod))
            .map(|pod| replica(&pod, is_as_wanted))
            .collect())
    }

    /// Makes what is ours in it this, and nothing else of it.
    pub(super) fn apply(
        &self,
        of: &Workload,
        spec: Option<Value>,
        parameters: &PatchParams,
    ) -> Result<(), Failure> {
        let Named { namespace, name } = &of.named;
        let mut object = json!({
            "apiVersion": "apps/v1", "kind": of.kind.as_str(),
            "metadata": {"namespace": namespace, "name": name},
        });
        if let (Some(spec), Some(object)) = (spec, object.as_object_mut()) {
            object.insert("spec".to_owned(), spec);
        }
        let patch = Patch::Apply(object);
        let client = self.client.clone();
        self.runtime.block_on(async {
            match of.kind {
                WorkloadKind::Deployment => {
                    let api: Api<Deployment> = Api::namespaced(client, namespace);
                    answer(api.patch(name, parameters, &patch)).await?;
                }
                WorkloadKind::StatefulSet => {
                    let api: Api<StatefulSet> = Api::namespaced(client, namespace);
                    answer(api.patch(name, parameters, &patch)).await?;
                }
            }
            Ok(())
        })
    }

    /// Has its pods replaced, one after the other, as its strategy says.
    pub(super) fn restart(&self, of: &Workload, at: Second) -> Result<(), Failure> {
        let annotations: BTreeMap<&str, String> = [RESTARTED, RESTARTED_BY_KUBECTL]
            .map(|key| (key, at.to_string()))
            .into();
        let spec = json!({"template": {"metadata": {"annotations": annotations}}});
        // Of a restart by somebody else nothing is lost: its annotation says when, and this is later.
        let parameters = PatchParams::apply(RESTARTER).force();
        self.apply(of, Some(spec), &parameters)
    }
}

/// The container that is the registry.
pub(super) fn container(pod: &PodSpec) -> Result<&Container, String> {
    match pod.containers.as_slice() {
        [only] => Ok(only),
        several => {
            let registry = several.iter().find(|it| it.name == "registry");
            registry.ok_or_else(|| {
                let names: Vec<&str> = several.iter().map(|it| it.name.as_str()).collect();
                format!(
                    "which of its containers is the registry cannot be told ({}): name it `registry`",
                    names.join(", ")
                )
            })
        }
    }
}

/// Whether a manager has applied this part of an object, and still owns it.
pub(super) fn is_owned(metadata: &ObjectMeta, manager: &str, part: &str) -> bool {
    let mut managers = metadata.managed_fields.iter().flatten();
    managers.any(|it| {
        let fields = it.fields_v1.as_ref();
        it.manager.as_deref() == Some(manager)
            && it.operation.as_deref() == Some("Apply")
            && fields.is_some_and(|fields| fields.0.to_string().contains(part))
    })
}

impl WorkloadKind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
        }
    }
}

fn of_deployment(object: Deployment) -> Seen {
    let spec = object.spec.unwrap_or_default();
    let status = object.status.unwrap_or_default();
    let stuck = status.conditions.iter().flatten().find(|it| {
        it.type_ == "Progressing" && it.reason.as_deref() == Some("ProgressDeadlineExceeded")
    });
    Seen {
        progress: Progress {
            generation: object.metadata.generation.unwrap_or(i64::MAX),
            observed: status.observed_generation.unwrap_or_default(),
            wanted: spec.replicas.unwrap_or(1),
            total: status.replicas.unwrap_or_default(),
            updated: status.updated_replicas.unwrap_or_default(),
            available: status.available_replicas.unwrap_or_default(),
            failed: stuck.map(|it| it.message.clone().unwrap_or_default()),
        },
        metadata: object.metadata,
        pod: spec.template.spec.unwrap_or_default(),
        selector: spec.selector,
    }
}

fn of_stateful_set(object: StatefulSet) -> Seen {
    let spec = object.spec.unwrap_or_default();
    let status = object.status.unwrap_or_default();
    Seen {
        progress: Progress {
            generation: object.metadata.generation.unwrap_or(i64::MAX),
            observed: status.observed_generation.unwrap_or_default(),
            wanted: spec.replicas.unwrap_or(1),
            total: status.replicas,
            updated: status.updated_replicas.unwrap_or_default(),
            available: status.available_replicas.unwrap_or_default(),
            failed: None,
        },
        metadata: object.metadata,
        pod: spec.template.spec.unwrap_or_default(),
        selector: spec.selector,
    }
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|it| it.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn replica(pod: &Pod, is_as_wanted: &dyn Fn(&Container) -> bool) -> Replica {
    let container = pod.spec.as_ref().and_then(|spec| container(spec).ok());
    let statuses = pod
        .status
        .iter()
        .flat_map(|it| it.container_statuses.iter().flatten());
    let mut own = statuses.filter(|it| container.is_some_and(|own| own.name == it.name));
    let running = own
        .next()
        .and_then(|it| it.state.as_ref()?.running.as_ref());
    let annotations = pod.metadata.annotations.as_ref();
    let restarted = annotations.and_then(|it| it.get(RESTARTED)?.parse::<jiff::Timestamp>().ok());
    Replica {
        name: pod.metadata.name.clone().unwrap_or_default(),
        is_ending: pod.metadata.deletion_timestamp.is_some(),
        is_as_wanted: container.is_some_and(is_as_wanted),
        started: running.and_then(|it| Some(it.started_at.as_ref()?.0.into())),
        restarted: restarted.map(Second::from),
    }
}

/// As the API takes it.
fn selector(selector: &LabelSelector) -> String {
    let labels = selector.match_labels.iter().flatten();
    let labels = labels.map(|(key, value)| format!("{key}={value}"));
    let expressions = selector.match_expressions.iter().flatten().map(|it| {
        let values = it.values.clone().unwrap_or_default().join(",");
        match it.operator.as_str() {
            "In" => format!("{} in ({values})", it.key),
            "NotIn" => format!("{} notin ({values})", it.key),
            "Exists" => it.key.clone(),
            _ => format!("!{}", it.key),
        }
    });
    labels.chain(expressions).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_the_only_container_or_the_one_of_that_name() {
        let pod = |names: &[&str]| PodSpec {
            containers: names
                .iter()
                .map(|name| Container {
                    name: (*name).to_owned(),
                    ..Container::default()
                })
                .collect(),
            ..PodSpec::default()
        };
        assert_eq!(container(&pod(&["app"])).unwrap().name, "app");
        assert_eq!(
            container(&pod(&["proxy", "registry"])).unwrap().name,
            "registry"
        );
        let problem = container(&pod(&["proxy", "app"])).unwrap_err();
        assert!(
            problem.contains("(proxy, app): name it `registry`"),
            "{problem}"
        );
        assert!(container(&pod(&[])).is_err());
    }

    #[test]
    fn a_selector_is_written_as_the_api_takes_it() {
        let selector_of: LabelSelector = serde_json::from_value(json!({
            "matchLabels": {"app": "registry", "tier": "a"},
            "matchExpressions": [
                {"key": "b", "operator": "In", "values": ["x", "y"]},
                {"key": "c", "operator": "NotIn", "values": ["z"]},
                {"key": "d", "operator": "Exists"},
                {"key": "e", "operator": "DoesNotExist"},
            ],
        }))
        .unwrap();
        let expected = "app=registry,tier=a,b in (x,y),c notin (z),d,!e";
        assert_eq!(selector(&selector_of), expected);
    }
}
