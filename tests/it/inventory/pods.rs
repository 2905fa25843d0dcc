//! Pods as a kubelet would leave them: their statuses are written by the test.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::cluster::Cluster;

/// A bare Pod of one container `app`.
pub(crate) fn pod(namespace: &str, name: &str, image: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{containers: [{{name: app, image: '{image}'}}]}}
---
"
    )
}

/// Writes that its container runs this.
pub(crate) async fn runs(cluster: &Cluster, namespace: &str, name: &str, image_id: &str) {
    let state = json!({"running": {"startedAt": "2026-08-01T00:00:00Z"}});
    write(cluster, namespace, name, image_id, state).await;
}

/// Writes that its container waits.
pub(crate) async fn waits(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    reason: &str,
    message: &str,
) {
    let state = json!({"waiting": {"reason": reason, "message": message}});
    write(cluster, namespace, name, "", state).await;
}

async fn write(cluster: &Cluster, namespace: &str, name: &str, image_id: &str, state: Value) {
    let pods: Api<Pod> = Api::namespaced(cluster.client(&cluster.admin()).await, namespace);
    let status = json!({"status": {"containerStatuses": [{
        "name": "app", "ready": false, "restartCount": 0, "image": "as-the-node-names-it",
        "imageID": image_id, "state": state}]}});
    let patch = Patch::Merge(status);
    pods.patch_status(name, &PatchParams::default(), &patch)
        .await
        .expect("the API server takes a status");
}
