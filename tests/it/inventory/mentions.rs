//! Images that are merely mentioned, on a real API server: kept with what mentions them, never paged.

use serde_json::{Value, json};

use crate::cli::run::pullproof;
use crate::daemon::faults::reader;
use crate::daemon::shop::{SELDOM, entry, namespace};
use crate::support::parts::require;

const OBJECTS: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: images, namespace: NAMESPACE}
data:
  images.yaml: |
    sidecar: registry.example/sidecar:v1
    page: https://registry.example/not/an/image
    other: elsewhere.example/app:v1
binaryData: {blob: cmVnaXN0cnkuZXhhbXBsZS9ibG9iOnYx}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: operator, namespace: NAMESPACE}
spec:
  selector: {matchLabels: {app: operator}}
  template:
    metadata: {labels: {app: operator}}
    spec:
      containers:
      - name: app
        image: registry.example/operator:v1
        args: [--operand=registry.example/operand:v1]
        env: [{name: SELF, value: 'registry.example/operator:v1'}, {name: JOB, value: 'registry.example/job:v1'}]
";

/// `Kind/name container image class`
fn told(inventory: &Value) -> Vec<String> {
    let images = inventory["images"].as_array().unwrap();
    let mut lines: Vec<String> = images
        .iter()
        .flat_map(|image| image["used_by"].as_array().unwrap())
        .map(|by| {
            let text = |key: &str| by[key].as_str().unwrap().to_owned();
            let owner = format!("{}/{}", text("kind"), text("name"));
            format!(
                "{owner} {} {} {}",
                text("container"),
                text("image"),
                text("class")
            )
        })
        .collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn what_is_mentioned_is_kept_and_its_owner_named_once() {
    require!(
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kubectl",
        "openssl"
    );
    let (cluster, namespace) = namespace().await;
    cluster
        .apply_yaml(&OBJECTS.replace("NAMESPACE", &namespace))
        .await;
    let deployment = [
        "-n",
        &namespace,
        "wait",
        "--for=create",
        "replicaset",
        "-l",
        "app=operator",
    ];
    cluster.kubectl(&deployment).await;
    let reading = async |kubeconfig: &std::path::Path| {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pullproof.yaml");
        let configuration = format!(
            "inventory:\n  mentions: true\n  clusters: [{{name: prod, kubeconfig: {}, namespaces: [{namespace}]}}]\n\
             registries:\n{}",
            kubeconfig.display(),
            entry("registry.example", SELDOM)
        );
        std::fs::write(&file, configuration).unwrap();
        let file = file.to_str().unwrap();
        let ended = pullproof(&["--config", file, "inventory", "-o", "json"]).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.json()
    };
    let inventory = reading(&cluster.admin().kubeconfig).await;
    let expected = [
        "ConfigMap/images data.images.yaml registry.example/sidecar:v1 mentioned",
        "Deployment/operator app registry.example/operator:v1 runtime",
        "Deployment/operator containers[0].args[0] registry.example/operand:v1 mentioned",
        "Deployment/operator containers[0].env[1].value registry.example/job:v1 mentioned",
    ];
    assert_eq!(told(&inventory), expected);
    let classes = inventory["images"].as_array().unwrap().iter();
    let mentioned = classes.filter(|it| it["classes"] == json!(["mentioned"]));
    assert_eq!(mentioned.count(), 3);

    // Where ConfigMaps may not be listed, the rest is whole.
    let identity = cluster.new_identity();
    cluster
        .apply_yaml(&reader(&namespace, &identity.user))
        .await;
    assert_eq!(told(&reading(&identity.kubeconfig).await), expected[1..]);
}
