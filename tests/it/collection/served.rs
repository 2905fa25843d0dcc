//! Collections that the daemon runs by itself.

use std::fs;

use serde_json::Value;

use super::desk::Desk;
use super::lease::identity;
use crate::support::cluster::Cluster;
use crate::support::daemon::Daemon;
use crate::support::parts::{require, require_cluster};
use crate::support::registry::Version;

/// Waits until a series has a value.
pub(super) async fn told(daemon: &Daemon, name: &str, texts: &[&str], value: f64) {
    let what = format!("{name} {texts:?} is {value}");
    let is_so = async || {
        let series = daemon.series(name, texts).await;
        let values = series
            .iter()
            .filter_map(|it| it.rsplit(' ').next()?.parse::<f64>().ok());
        values
            .into_iter()
            .any(|it| it.to_bits() == value.to_bits())
            .then_some(())
    };
    daemon.wait_until(&what, is_so).await;
}

/// What is told of its runs, the newest first.
async fn runs(daemon: &Daemon) -> Vec<Value> {
    let told = daemon.api("gc").await;
    let storages = told["storages"].as_array().unwrap();
    let [storage] = &storages[..] else {
        panic!("{told:#}");
    };
    storage["collection"]["runs"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_window_has_one_run_and_what_gets_worse_brings_everything_back() {
    require!("registry-3.1");
    let desk = Desk::start(Version::V3).await;
    let before = desk.content();
    let config = desk.of_daemon("quarantine");
    let mut daemon = Daemon::start(&config);
    told(&daemon, "gc_runs_total", &["result=\"quarantined\""], 1.0).await;
    let held = desk.held();
    assert!(!held.is_empty());
    let blobs = held.iter().filter(|path| path.ends_with("data")).count();
    let blobs = u32::try_from(blobs).unwrap();
    assert!(blobs > 0);
    told(&daemon, "gc_quarantined_blobs", &[], f64::from(blobs)).await;
    told(&daemon, "gc_gate_open", &[], 1.0).await;
    for phase in ["list", "prove", "quarantine", "settle"] {
        let phase = format!("phase=\"{phase}\"");
        let series = daemon.series("gc_phase_duration_seconds", &[&phase]).await;
        assert_eq!(series.len(), 1, "{phase}");
    }
    for condition in [
        "window_closed",
        "image_broken",
        "drill_stale",
        "share_exceeded",
    ] {
        let text = format!("condition=\"{condition}\"");
        told(&daemon, "gc_gate_condition_met", &[&text], 1.0).await;
    }

    // Somebody takes a layer of an image that is kept.
    let layer = desk.tree.find("app.layer-1");
    let (data, aside) = (desk.tree.data_of(&layer), desk.root().join("aside"));
    fs::rename(&data, &aside).unwrap();
    told(&daemon, "gc_runs_total", &["result=\"restored\""], 1.0).await;
    assert!(desk.held().is_empty());
    told(&daemon, "gc_quarantined_blobs", &[], 0.0).await;
    told(
        &daemon,
        "gc_gate_condition_met",
        &["condition=\"image_broken\""],
        0.0,
    )
    .await;
    fs::rename(&aside, &data).unwrap();
    assert_eq!(desk.content(), before);

    // What it did is known after a restart too, though it is counted anew.
    let known = runs(&daemon).await;
    assert!(
        known.iter().any(|run| run["result"] == "quarantined"),
        "{known:#?}"
    );
    daemon.restart().await;
    daemon.wait_for_series("gc_gate_open", &[]).await;
    told(&daemon, "gc_runs_total", &["result=\"quarantined\""], 0.0).await;
    let after = runs(&daemon).await;
    assert!(after.ends_with(&known), "{known:#?}\n{after:#?}");
    let success = daemon
        .series("gc_last_success_timestamp_seconds", &[])
        .await;
    assert_eq!(success.len(), 1);
    assert!(daemon.terminate().await.success());

    // The opening has had its run, whatever daemon asks. What the gate would say is told after it was decided
    // whether something is to be begun.
    let daemon = Daemon::start(&config);
    daemon.wait_for_series("gc_gate_open", &[]).await;
    told(&daemon, "gc_runs_total", &["result=\"quarantined\""], 0.0).await;
    assert_eq!(desk.content(), before);
    assert!(daemon.terminate().await.success());
}

#[tokio::test]
async fn whoever_has_the_lease_says_so_while_it_collects() {
    require_cluster!("registry-3.1");
    let cluster = Cluster::shared().await;
    let namespace = cluster.new_namespace().await;
    let desk = Desk::start(Version::V3).await;
    let identity = identity(cluster, &namespace).await;
    let lease = format!("leaderElection: {{lease: {{namespace: {namespace}, name: collector}}}}\n");
    let config = desk.of_daemon("quarantine") + &lease;
    let daemon = Daemon::start_in_cluster(&config, &identity.kubeconfig);
    // It settles for as long as a push may take, and has the Lease until then.
    told(&daemon, "leader", &[], 1.0).await;
    told(&daemon, "gc_runs_total", &["result=\"quarantined\""], 1.0).await;
    told(&daemon, "leader", &[], 0.0).await;
    let words = [
        "get",
        "lease",
        "collector",
        "-n",
        &namespace,
        "-o",
        "jsonpath={.spec.holderIdentity}",
    ];
    assert_eq!(cluster.kubectl(&words).await, "");
    assert!(daemon.terminate().await.success());
    // Where nobody elects one, there is none.
    let daemon = Daemon::start(&desk.of_daemon("plan"));
    daemon.wait_until_ready().await;
    assert_eq!(daemon.series("leader", &[]).await, [""; 0]);
    assert!(daemon.terminate().await.success());
}
