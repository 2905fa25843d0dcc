//! A Job that switched the registry to read-only and died: nobody knows whether it is writable, and nobody says so.

use std::fs;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{ended, gc, get, run, until_started};
use crate::collection::desk::Desk;
use crate::collection::job::{Mounted, Watcher, applied, shipped};
use crate::collection::kubelet::VARIABLE;
use crate::daemon::shop::deployment;
use crate::support::cluster::Cluster;
use crate::support::daemon::BOUND;
use crate::support::parts::require_cluster;
use crate::support::registry::Version;

fn managed() -> Value {
    json!({"mode": "managed", "deployment": {"namespace": "registry", "name": "registry"}})
}

async fn is_switched(cluster: &Cluster) -> bool {
    let registry = get(cluster, &["deployment", "registry"]).await;
    registry.to_string().contains(VARIABLE)
}

#[tokio::test]
async fn what_died_read_only_is_told_until_another_job_has_switched_it_back() {
    require_cluster!("registry-3.1");
    let cluster = applied().await;
    let desk = Desk::start(Version::V3).await;
    cluster
        .apply_yaml(&deployment("shop", "web", &desk.at("app:v1")))
        .await;
    let registry = deployment("registry", "registry", "registry.example/registry:3");
    cluster.apply_yaml(&registry).await;
    let switch = [
        "create",
        "rolebinding",
        "pullproof-collector-switch",
        "-n",
        "registry",
        "--role=pullproof-collector-switch",
        "--serviceaccount=registry:pullproof-collector",
    ];
    cluster.kubectl(&switch).await;
    let mut own = gc();
    own["readOnly"] = managed();
    let host = desk.registry.host();
    let watcher = Watcher::start_with(&cluster, &host, own).await;
    let mounted = Mounted::of(&cluster, &watcher, &desk).await;
    mounted.change(|it| it["gc"]["readOnly"] = managed());
    let rights = shipped("collector-start-rbac.yaml");
    cluster.apply_yaml(&rights).await;

    // Nobody runs the registry's pods here, so it waits for them for as long as it lives.
    let name = until_started(&cluster, &watcher, "collect").await;
    let dies = mounted.begun(&cluster, &name).await;
    dies.wait_until("it is switched", BOUND, async || {
        is_switched(&cluster).await.then_some(())
    })
    .await;
    dies.stop();
    assert_eq!(mounted.last_words(), "");
    ended(&cluster, &name, None, "").await;
    let job = get(&cluster, &["job", &name]).await;
    let created = job["metadata"]["creationTimestamp"].as_str().unwrap();
    let created: Timestamp = created.parse().unwrap();
    let since = format!("pullproof_gc_read_only_since_timestamp_seconds{{storage=\"{host}\"}}");
    let created = i32::try_from(created.as_second()).unwrap();
    watcher.until_told(&since, f64::from(created)).await;
    assert!(
        watcher
            .process
            .tail()
            .contains("left the registry read-only"),
        "{}",
        watcher.process.tail()
    );
    // Also for whoever is started again.
    let watcher = watcher.start_again().await;
    watcher.until_told(&since, f64::from(created)).await;
    assert!(is_switched(&cluster).await);

    // Whatever Job is next switches it back, and tells.
    let broken =
        format!("pullproof_gc_gate_condition_met{{storage=\"{host}\",condition=\"image_broken\"}}");
    watcher.until_told(&broken, 1.0).await;
    let layer = desk.tree.find("app.layer-1");
    let (data, aside) = (desk.tree.data_of(&layer), desk.root().join("aside"));
    fs::rename(&data, &aside).unwrap();
    let view = run(&cluster, &watcher, &mounted, "restore").await;
    assert!(!is_switched(&cluster).await, "{view:#}");
    watcher.until_gone(&since).await;
}
