//! What the pages show of a cluster, on a real API server: what the shipped rights let one see, and what the README
//! installs (`tests/it/deploy/said.rs` has the page on installing).

use std::fs;

use super::path;
use super::shown::{By, bash, run_by};
use crate::collection::job::{DAEMON, kubeconfig};
use crate::daemon::shop::deployment;
use crate::support::cluster::Cluster;
use crate::support::daemon::BOUND;
use crate::support::parts::require_cluster;
use crate::support::wait::wait_until;

/// What an installation is made of, beside namespaces.
const KINDS: &str = "deployments,cronjobs,services,configmaps,secrets,serviceaccounts,roles,rolebindings,\
                     clusterroles,clusterrolebindings,networkpolicies,poddisruptionbudgets,persistentvolumeclaims";

const PAYMENTS: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: checkout, namespace: payments}
spec:
  replicas: 0
  selector: {matchLabels: {app: checkout}}
  template:
    metadata: {labels: {app: checkout}}
    spec:
      imagePullSecrets: [{name: regcred}]
      containers: [{name: checkout, image: '127.0.0.1:5000/team/checkout:latest'}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: settlement, namespace: payments}
spec:
  schedule: '0 4 * * *'
  suspend: true
  jobTemplate:
    spec:
      template:
        spec: {restartPolicy: Never, containers: [{name: settle, image: '127.0.0.1:5000/team/worker:0.15.0'}]}
";

/// Nodes would have it rolled out; without any, all pods are ended before others begin.
const STOREFRONT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: storefront, namespace: shop}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: storefront}}
  template:
    metadata: {labels: {app: storefront}}
    spec: {containers: [{name: storefront, image: '127.0.0.1:5000/team/storefront:VERSION'}]}
";

/// As docs/commands.md has it: scaled to zero, suspended, and with two versions to roll back to.
async fn workloads(cluster: &Cluster) {
    cluster.apply_yaml(PAYMENTS).await;
    for (at, version) in ["v2.3.0", "v2.3.1", "v2.4.0"].iter().enumerate() {
        let yaml = STOREFRONT.replace("VERSION", version);
        cluster.apply_yaml(&yaml).await;
        wait_until("its revision is kept", BOUND, async || {
            let sets = ["get", "replicasets", "-n", "shop", "-o", "name"];
            (cluster.kubectl(&sets).await.lines().count() == at + 1).then_some(())
        })
        .await;
    }
}

/// Without the letters that the API server chose.
fn named(text: &str) -> String {
    let words =
        text.split_inclusive(' ')
            .map(|word| match word.split_once("ReplicaSet/storefront-") {
                Some((_, rest)) => {
                    let after = rest.trim_start_matches(|it: char| it.is_ascii_alphanumeric());
                    format!("ReplicaSet/storefront-8b69649bd{after}")
                }
                None => word.to_owned(),
            });
    words.collect()
}

async fn what_is_shown_with_the_shipped_rights_is_what_is_printed(cluster: &Cluster) {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let rbac = path("deploy/rbac.yaml");
    cluster
        .kubectl(&["apply", "-f", rbac.to_str().unwrap()])
        .await;
    workloads(cluster).await;
    kubeconfig(cluster, DAEMON, &home.join("kubeconfig")).await;
    let text = fs::read_to_string(home.join("kubeconfig")).unwrap();
    let text = text.replace("\"own\"", "\"prod\"");
    fs::write(home.join("kubeconfig"), text).unwrap();
    for shown in run_by(By::Cluster) {
        let ended = bash(home, home, &shown.command).await;
        // Nobody serves these images here.
        let is_verified = shown.command.contains(" verify ");
        let expected = if is_verified { 3 } else { 0 };
        assert_eq!(ended.code, expected, "{}: {ended:?}", shown.command);
        assert!(ended.stdout.contains("team/storefront:v2."), "{ended:?}");
        if !shown.output.is_empty() {
            shown.compare(&ended.stdout, named);
        }
    }
    cluster
        .kubectl(&["delete", "-f", rbac.to_str().unwrap()])
        .await;
}

async fn what_the_readme_installs_is_there(cluster: &Cluster) {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    fs::copy(cluster.admin().kubeconfig, home.join("kubeconfig")).unwrap();
    let web = deployment("default", "web", "registry.example/web:1");
    cluster.apply_yaml(&web).await;
    for shown in run_by(By::Installed) {
        let command = &shown.command;
        let ended = bash(home, &path(""), command).await;
        assert_eq!(ended.code, 0, "{command}: {ended:?}");
        if command.starts_with("kubectl annotate") {
            continue;
        }
        let installed = ["get", "deployment", "pullproof", "-n", "pullproof"];
        cluster.kubectl(&installed).await;
        // Nothing is left for the next one.
        let removal = format!(
            "helm uninstall pullproof --namespace pullproof --ignore-not-found && kubectl delete {KINDS} \
             --all-namespaces --selector app.kubernetes.io/name=pullproof --wait=false"
        );
        let ended = bash(home, home, &removal).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        wait_until("it is gone", BOUND, async || {
            let left = ["get", "deployments", "-n", "pullproof", "-o", "name"];
            cluster.kubectl(&left).await.is_empty().then_some(())
        })
        .await;
    }
    let annotated = ["get", "deployment", "web", "-n", "default", "-o", "yaml"];
    let annotated = cluster.kubectl(&annotated).await;
    assert!(annotated.contains("pullproof.dev/ignore: "), "{annotated}");
}

/// One API server for both, since each start of one takes long.
#[tokio::test]
async fn what_is_shown_of_a_cluster_happens_in_one() {
    require_cluster!("helm");
    let cluster = Cluster::start().await;
    for name in ["pullproof", "shop", "payments"] {
        cluster.kubectl(&["create", "namespace", name]).await;
    }
    what_is_shown_with_the_shipped_rights_is_what_is_printed(&cluster).await;
    what_the_readme_installs_is_there(&cluster).await;
}
