//! What is away: a registry, the API server, the rights. Nothing is green that was not checked, and
//! what is there goes on being proven.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::shop::{
    OFTEN, Stock, all_series, deployment, entry, health, namespace, of_namespace, proven_anew,
    require_shop, value,
};
use crate::support::cluster::Cluster;
use crate::support::daemon::Daemon;
use crate::support::process::free_port;

#[tokio::test]
async fn nothing_is_green_before_it_was_checked() {
    require_shop!();
    let stock = Stock::new().await;
    let image = stock.push("app:1").await;
    let (cluster, namespace) = namespace().await;
    cluster
        .apply_yaml(&deployment(&namespace, "web", &image))
        .await;

    stock.registry.pause().await;
    let registries = [stock.entry(OFTEN)];
    let daemon = Daemon::start(&of_namespace(
        &cluster.admin().kubeconfig,
        &namespace,
        &registries,
    ));
    // The image is known before every other kind of workload was listed.
    daemon
        .wait_for_series("inventory_complete", &["source=\"prod\"", " 1"])
        .await;
    daemon
        .wait_for_series("workload_image_unknown", &["web", &image, "never_checked"])
        .await;
    assert!(
        all_series(&daemon, "workload_image_pullable")
            .await
            .is_empty()
    );
    assert!(
        all_series(&daemon, "workload_image_failure")
            .await
            .is_empty()
    );
    assert!(
        all_series(&daemon, "image_last_proof_timestamp_seconds")
            .await
            .is_empty()
    );
    assert_eq!(daemon.series("images", &["unknown", " 1"]).await.len(), 1);
    let (status, told) = health(&daemon, "readyz").await.unwrap();
    assert_eq!((status, told.as_str()), (503, "not checked yet: 1 image\n"));
    assert_eq!(health(&daemon, "livez").await.unwrap().0, 200);
    let status = daemon.api("status").await;
    assert_eq!(status["ready"], false, "{status:#}");
    assert_eq!(
        status["summary"],
        json!({"images": 1, "pullable": 0, "broken": 0, "unknown": 1})
    );

    stock.registry.resume();
    daemon.wait_until_ready().await;
    daemon
        .wait_for_series("workload_image_pullable", &["web", &image, " 1"])
        .await;
    assert!(
        all_series(&daemon, "workload_image_unknown")
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn registries_that_are_away_stop_no_other() {
    require_shop!();
    let (stock, mut frozen) = (Stock::new().await, Stock::new().await);
    let image = stock.push("app:1").await;
    let hung = frozen.push("app:1").await;
    let away = format!("127.0.0.1:{}", free_port());
    let (cluster, namespace) = namespace().await;
    let yaml = [
        deployment(&namespace, "web", &image),
        deployment(&namespace, "hung", &hung),
        deployment(&namespace, "away", &format!("{away}/app:1")),
    ];
    cluster.apply_yaml(&yaml.concat()).await;

    frozen.registry.pause().await;
    let registries = [stock.entry(OFTEN), frozen.entry(OFTEN), entry(&away, OFTEN)];
    let daemon = Daemon::start(&of_namespace(
        &cluster.admin().kubeconfig,
        &namespace,
        &registries,
    ));
    daemon
        .wait_for_series("workload_image_pullable", &["workload=\"web\"", " 1"])
        .await;
    daemon
        .wait_for_series(
            "workload_image_unknown",
            &["workload=\"away\"", "unreachable"],
        )
        .await;
    daemon.wait_for_series("registry_up", &[&away, " 0"]).await;
    daemon
        .wait_for_series("registry_up", &[&stock.host(), " 1"])
        .await;
    // The third still hangs, and a change in the first is seen all the same.
    let begun = Instant::now();
    let late = stock.push("late:1").await;
    cluster
        .apply_yaml(&deployment(&namespace, "late", &late))
        .await;
    daemon
        .wait_for_series("workload_image_pullable", &["workload=\"late\"", " 1"])
        .await;
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    // A registry that says nothing proves nothing, and breaks nothing.
    daemon
        .wait_for_series("workload_image_unknown", &["workload=\"hung\"", "timeout"])
        .await;
    assert!(
        all_series(&daemon, "workload_image_failure")
            .await
            .is_empty()
    );

    frozen.registry.start_again().await;
    daemon
        .wait_for_series("workload_image_pullable", &["workload=\"hung\"", " 1"])
        .await;
    daemon
        .wait_for_series("registry_up", &[&frozen.host(), " 1"])
        .await;
}

#[tokio::test]
async fn without_its_api_server_it_runs_and_says_so_and_heals() {
    require_shop!();
    let stock = Stock::new().await;
    let image = stock.push("app:1").await;
    let listed = stock.push("listed:1").await;
    let mut cluster = Cluster::start().await;
    let namespace = cluster.new_namespace().await;
    cluster
        .apply_yaml(&deployment(&namespace, "web", &image))
        .await;
    cluster.stop_server();

    let home = tempfile::tempdir().unwrap();
    let list = home.path().join("keep.txt");
    std::fs::write(&list, &listed).unwrap();
    let configuration = format!(
        "inventory:\n  clusters: [{{name: prod, kubeconfig: {}}}]\n  \
         references: [{{name: keep, file: {}}}]\nregistries:\n{}",
        cluster.admin().kubeconfig.display(),
        list.display(),
        stock.entry(OFTEN)
    );
    let daemon = Daemon::start(&configuration);
    // The other source is proven meanwhile.
    daemon
        .wait_for_series(
            "workload_image_pullable",
            &[&listed, "class=\"listed\"", " 1"],
        )
        .await;
    daemon
        .wait_for_series("inventory_complete", &["source=\"keep\"", " 1"])
        .await;
    let refused = daemon
        .wait_until("it says why", async || {
            let status = daemon.api("status").await;
            let source = status["sources"][0].clone();
            let reason = source["reason"].as_str()?;
            reason.contains("refused").then_some(source)
        })
        .await;
    assert_eq!(
        (&refused["name"], &refused["complete"]),
        (&json!("prod"), &json!(false))
    );
    assert!(refused["last_complete"].is_null());
    let series = daemon
        .wait_for_series("inventory_complete", &["source=\"prod\""])
        .await;
    assert!(value(&series) < 0.5, "{series}");
    let last = "inventory_last_complete_timestamp_seconds";
    let series = daemon.wait_for_series(last, &["source=\"prod\""]).await;
    assert!(value(&series) < 0.5, "never is zero: {series}");
    let (status, told) = health(&daemon, "readyz").await.unwrap();
    assert_eq!(status, 503);
    assert!(
        told.starts_with("source prod: ") && told.contains("refused"),
        "{told}"
    );
    let page = daemon.page("/").await;
    assert!(page.contains("prod") && page.contains("refused"), "{page}");

    cluster.start_server().await;
    daemon
        .wait_for_series(
            "workload_image_pullable",
            &["workload=\"web\"", &image, " 1"],
        )
        .await;
    daemon
        .wait_for_series("inventory_complete", &["source=\"prod\"", " 1"])
        .await;
    daemon.wait_until_ready().await;
    let page = daemon.page("/").await;
    assert!(!page.contains("refused"), "{page}");

    // Away once more: what it had said stands, and goes on being proven.
    cluster.stop_server();
    daemon
        .wait_for_series("inventory_complete", &["source=\"prod\"", " 0"])
        .await;
    proven_anew(&daemon, &image).await;
    daemon
        .wait_for_series(
            "workload_image_pullable",
            &["workload=\"web\"", &image, " 1"],
        )
        .await;
}

#[tokio::test]
async fn an_identity_without_rights_makes_the_source_incomplete_until_it_has_them() {
    require_shop!();
    let stock = Stock::new().await;
    let image = stock.push("app:1").await;
    let (cluster, namespace) = namespace().await;
    cluster
        .apply_yaml(&deployment(&namespace, "web", &image))
        .await;
    let identity = cluster.new_identity();
    let registries = [stock.entry(OFTEN)];
    let daemon = Daemon::start(&of_namespace(&identity.kubeconfig, &namespace, &registries));
    let reason = daemon
        .wait_until("it says that it may not", async || {
            let status = daemon.api("status").await;
            let reason = status["sources"][0]["reason"].as_str()?.to_owned();
            reason.contains("forbidden").then_some(reason)
        })
        .await;
    assert!(
        reason.contains(&identity.user),
        "it names who may not: {reason}"
    );
    daemon
        .wait_for_series("inventory_complete", &["source=\"prod\"", " 0"])
        .await;
    // A source that may say nothing is not an empty one.
    let (status, told) = health(&daemon, "readyz").await.unwrap();
    assert_eq!(status, 503);
    assert!(told.contains("forbidden"), "{told}");

    cluster
        .apply_yaml(&reader(&namespace, &identity.user))
        .await;
    daemon
        .wait_for_series("inventory_complete", &["source=\"prod\"", " 1"])
        .await;
    daemon
        .wait_for_series(
            "workload_image_pullable",
            &["workload=\"web\"", &image, " 1"],
        )
        .await;
}

/// The right to read a namespace's workloads, and nothing else: no secrets, no service accounts.
pub(crate) fn reader(namespace: &str, user: &str) -> String {
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: reader, namespace: {namespace}}}
rules:
- apiGroups: ['']
  resources: [pods, podtemplates, replicationcontrollers]
  verbs: [get, list, watch]
- apiGroups: [apps, batch]
  resources: ['*']
  verbs: [get, list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: reader, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {user}}}]
"
    )
}
