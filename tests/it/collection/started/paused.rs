//! An operator's words in the daemon's pod, where a Job has the storage.

use jiff::Timestamp;
use pullproof::clock::{Clock as _, SystemClock};

use super::{gc, get, jobs, run};
use crate::collection::desk::Desk;
use crate::collection::job::{Mounted, Watcher, applied, shipped};
use crate::daemon::shop::deployment;
use crate::support::parts::require_cluster;
use crate::support::registry::Version;

#[tokio::test]
async fn a_pause_keeps_the_daemon_from_starting_jobs_until_it_is_ended() {
    require_cluster!("registry-3.1");
    let cluster = applied().await;
    let desk = Desk::start(Version::V3).await;
    cluster
        .apply_yaml(&deployment("shop", "web", &desk.at("app:v1")))
        .await;
    let registry = deployment("registry", "registry", "registry.example/registry:3");
    cluster.apply_yaml(&registry).await;
    let host = desk.registry.host();
    let watcher = Watcher::start_with(&cluster, &host, gc()).await;
    let watcher = watcher
        .meanwhile(async |watcher| {
            let (code, words, problem) = watcher.gc(&["pause"]).await;
            assert_eq!(code, Some(0), "{problem}");
            assert!(words.contains("starts no Job"), "{words}");
            // From now on it may.
            let rights = shipped("collector-start-rbac.yaml");
            cluster.apply_yaml(&rights).await;
        })
        .await;
    let met = |condition: &str| {
        format!("pullproof_gc_gate_condition_met{{storage=\"{host}\",condition=\"{condition}\"}}")
    };
    watcher.until_told(&met("paused"), 0.0).await;
    watcher.until_told(&met("inventory_incomplete"), 1.0).await;
    assert_eq!(jobs(&cluster, "collect").await, [""; 0]);

    // The storage is not to be seen from there, and where it is, is said.
    let mut selector = String::new();
    for words in ["stop", "status"] {
        let (code, told, problem) = watcher.gc(&[words]).await;
        assert_eq!((code, told.as_str()), (Some(1), ""), "{problem}");
        assert!(
            problem.contains("`kubectl -n registry exec POD -- pullproof gc"),
            "{problem}"
        );
        let (_, rest) = problem.split_once("get pods -l ").unwrap();
        let (it, _) = rest.split_once('`').unwrap();
        it.clone_into(&mut selector);
    }

    // A Job that somebody else makes is not the daemon's to hold.
    let mounted = Mounted::of(&cluster, &watcher, &desk).await;
    let (_, view) = mounted.run(&cluster, "by-hand").await;
    assert_eq!(view["result"], "quarantined", "{view:#}");
    assert_eq!(jobs(&cluster, "collect").await, [""; 0]);

    let ended_at = SystemClock.now().as_second();
    let (code, words, problem) = watcher.gc(&["resume"]).await;
    assert_eq!(code, Some(0), "{problem}");
    assert!(words.contains("starts Jobs"), "{words}");
    let view = run(&cluster, &watcher, &mounted, "collect").await;
    assert_eq!(view["result"], "planned", "{view:#}");
    watcher.until_told(&met("paused"), 1.0).await;
    // What waits for a replica to start again since the run before.
    let waits = &view["waits"][0];
    let unsettled = format!(
        "pullproof_gc_unsettled_objects{{storage=\"{host}\",replica={}}}",
        waits["replica"]
    );
    let objects = u32::try_from(waits["objects"].as_u64().unwrap()).unwrap();
    watcher.until_told(&unsettled, f64::from(objects)).await;
    let job = jobs(&cluster, "collect").await;
    let job = get(&cluster, &["job", &job[0]]).await;
    let created = job["metadata"]["creationTimestamp"].as_str();
    let created: Timestamp = created.unwrap().parse().unwrap();
    assert!(created.as_second() >= ended_at, "{created}");
    let pods = get(&cluster, &["pods", "-l", &selector]).await;
    assert_eq!(pods["items"].as_array().unwrap().len(), 1, "{selector}");
}
