//! A registry that a Deployment runs on a real API server. There is no kubelet: this starts the real registry
//! as each new pod says, and writes the pod's status.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Unit};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use pullproof::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::desk::Desk;
use crate::support::cluster::{Cluster, Identity};
use crate::support::registry::{Options, Registry, Version};
use crate::support::wait::wait_until;

pub(crate) const BOUND: Duration = Duration::from_mins(2);
/// By which distribution is read-only.
pub(crate) const VARIABLE: &str = "REGISTRY_STORAGE_MAINTENANCE_READONLY";

pub(crate) struct Node {
    pub(crate) namespace: String,
    pub(crate) registry: Arc<Mutex<Registry>>,
    /// Nothing starts while this is so.
    pub(crate) holds: Arc<AtomicBool>,
    /// By so many seconds its clock is ahead of ours: for time that passes.
    pub(crate) ahead: Arc<AtomicI64>,
    url: String,
    has_ended: Arc<AtomicBool>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }
}

impl Node {
    /// A Deployment `registry` of one pod with this environment, over the desk's tree.
    pub(crate) async fn start(
        cluster: &'static Cluster,
        desk: &Desk,
        version: Version,
        environment: Value,
    ) -> Self {
        let namespace = cluster.new_namespace().await;
        let options = Options::new(version, desk.root()).with_deletes();
        let registry = Registry::start(options.with_descriptor_cache()).await;
        let url = registry.url();
        let registry = Arc::new(Mutex::new(registry));
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "registry", "namespace": namespace},
            "spec": {
                "replicas": 1, "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": {"app": "registry"}},
                "template": {
                    "metadata": {"labels": {"app": "registry"}},
                    "spec": {"containers": [
                        {"name": "registry", "image": "registry.example/registry:3", "env": environment},
                    ]},
                },
            },
        });
        cluster.apply_yaml(&deployment.to_string()).await;
        let (holds, ahead) = (Arc::default(), Arc::default());
        let has_ended = Arc::default();
        {
            let (namespace, registry) = (namespace.clone(), Arc::clone(&registry));
            let (holds, ahead) = (Arc::clone(&holds), Arc::clone(&ahead));
            let has_ended = Arc::clone(&has_ended);
            // A node of its own, with a client of its own runtime.
            std::thread::spawn(move || {
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = runtime.enable_all().build().unwrap();
                runtime.block_on(async {
                    let client = cluster.client(&cluster.admin()).await;
                    let kubelet = Kubelet {
                        pods: Api::namespaced(client, &namespace),
                        registry,
                        holds,
                        ahead,
                        has_ended,
                    };
                    kubelet.run().await;
                });
            });
        }
        let node = Self {
            namespace,
            registry,
            holds,
            ahead,
            url,
            has_ended,
        };
        node.until_available(cluster).await;
        node
    }

    /// Where it is asked.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) async fn deployment(&self, cluster: &Cluster) -> Value {
        let words = [
            "get",
            "deployment",
            "registry",
            "-o",
            "json",
            "--show-managed-fields",
        ];
        let words = [&words[..], &["-n", &self.namespace]].concat();
        serde_json::from_str(&cluster.kubectl(&words).await).unwrap()
    }

    /// What its container's environment says.
    pub(crate) async fn environment(&self, cluster: &Cluster) -> Value {
        let deployment = self.deployment(cluster).await;
        deployment["spec"]["template"]["spec"]["containers"][0]["env"].clone()
    }

    pub(crate) async fn until_available(&self, cluster: &Cluster) {
        wait_until("it is rolled out", BOUND, async || {
            let it = self.deployment(cluster).await;
            let status = &it["status"];
            let is_seen = status["observedGeneration"] == it["metadata"]["generation"];
            let counts = ["replicas", "updatedReplicas", "availableReplicas"];
            (is_seen && counts.iter().all(|count| status[*count] == 1)).then_some(())
        })
        .await;
    }

    /// Somebody with all rights that are shipped, in this namespace instead of `registry`.
    pub(crate) async fn collector(&self, cluster: &Cluster) -> Identity {
        self.collector_with(cluster, "pullproof-collector-switch")
            .await
    }

    /// The same, who may not change the Deployment.
    pub(crate) async fn collector_without_switch(&self, cluster: &Cluster) -> Identity {
        self.collector_with(cluster, "pullproof-collector-pods")
            .await
    }

    async fn collector_with(&self, cluster: &Cluster, more: &str) -> Identity {
        let identity = cluster.new_identity();
        let shipped = include_str!("../../../deploy/collector-rbac.yaml");
        let namespace = format!("namespace: {}", self.namespace);
        cluster
            .apply_yaml(&shipped.replace("namespace: registry", &namespace))
            .await;
        let roles = [
            "pullproof-collector-lease",
            "pullproof-collector-pods",
            more,
        ];
        for (number, role) in roles.iter().enumerate() {
            let name = format!("{}-{number}", identity.user);
            let role = format!("--role={role}");
            let user = format!("--user={}", identity.user);
            let words = [
                "create",
                "rolebinding",
                &name,
                &role,
                &user,
                "-n",
                &self.namespace,
            ];
            cluster.kubectl(&words).await;
        }
        identity
    }
}

struct Kubelet {
    pods: Api<Pod>,
    registry: Arc<Mutex<Registry>>,
    holds: Arc<AtomicBool>,
    ahead: Arc<AtomicI64>,
    has_ended: Arc<AtomicBool>,
}

impl Kubelet {
    async fn run(self) {
        while !self.has_ended.load(Ordering::Relaxed) {
            // The API server may be busy; a kubelet asks again.
            if let Ok(pods) = self.pods.list(&ListParams::default()).await {
                for pod in pods {
                    self.start(&pod).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn start(&self, pod: &Pod) {
        let phase = pod.status.as_ref().and_then(|it| it.phase.as_deref());
        if phase == Some("Running") || self.holds.load(Ordering::Relaxed) {
            return;
        }
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let environment = container.env.iter().flatten();
        let environment = environment
            .map(|it| (it.name.clone(), it.value.clone().unwrap_or_default()))
            .collect();
        let mut registry = self.registry.lock().await;
        registry
            .start_again_with(|options| options.with_environment(environment))
            .await;
        let ahead = SignedDuration::from_secs(self.ahead.load(Ordering::Relaxed));
        let started = (SystemClock.now() + ahead).round(Unit::Second).unwrap();
        let status = json!({"status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": started}],
            "containerStatuses": [{
                "name": container.name, "image": "", "imageID": "", "ready": true, "restartCount": 0,
                "state": {"running": {"startedAt": started}},
            }],
        }});
        let name = pod.metadata.name.as_deref().unwrap();
        let parameters = PatchParams::default();
        // It may be gone by now.
        self.pods
            .patch_status(name, &parameters, &Patch::Merge(status))
            .await
            .ok();
    }
}
