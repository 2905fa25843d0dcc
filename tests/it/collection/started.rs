//! The collector as a Job that the daemon starts, on a real API server: the manifests that are shipped, and a
//! kubelet that the test plays. The daemon has no storage in its configuration, and no right to any.

use std::fs;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Unit};
use pullproof::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};

use super::desk::Desk;
use super::job::{DAEMON, Mounted, Watcher, applied, rights, shipped};
use crate::daemon::shop::deployment;
use crate::support::cluster::Cluster;
use crate::support::daemon::BOUND;
use crate::support::parts::require_cluster;
use crate::support::registry::Version;
use crate::support::wait::wait_until;

mod died;
mod paused;

/// The daemon's: a window that is open, and the Job in place of a storage.
pub(crate) fn gc() -> Value {
    let opened = (SystemClock.now() - SignedDuration::from_mins(10)).round(Unit::Minute);
    let opened = opened.unwrap().to_zoned(TimeZone::UTC);
    let schedule = format!("{} {} * * *", opened.minute(), opened.hour());
    json!({
        "mode": "quarantine",
        "windows": [{"name": "now", "schedule": schedule, "duration": "2h"}],
        "collector": {"job": {"namespace": "registry", "template": "template.yaml"}},
    })
}

async fn get(cluster: &Cluster, what: &[&str]) -> Value {
    let mut words = vec!["get"];
    words.extend(what);
    words.extend(["-n", "registry", "-o", "json"]);
    serde_json::from_str(&cluster.kubectl(&words).await).unwrap()
}

/// The names of the Jobs for this.
async fn jobs(cluster: &Cluster, purpose: &str) -> Vec<String> {
    let purpose = format!("pullproof.dev/purpose={purpose}");
    let all = get(cluster, &["jobs", "-l", &purpose]).await;
    let all = all["items"].as_array().unwrap().iter();
    all.map(|it| it["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Waits until there is one, and is the kubelet that runs it.
pub(crate) async fn run(
    cluster: &Cluster,
    watcher: &Watcher,
    mounted: &Mounted,
    purpose: &str,
) -> Value {
    let name = until_started(cluster, watcher, purpose).await;
    let (code, view) = mounted.contained(cluster, &name).await;
    ended(cluster, &name, code, &mounted.last_words()).await;
    view
}

/// Waits until there is a Job for this, and says how it is called.
async fn until_started(cluster: &Cluster, watcher: &Watcher, purpose: &str) -> String {
    let is_there = async || jobs(cluster, purpose).await.into_iter().next();
    let what = format!("a Job to {purpose}");
    watcher.process.wait_until(&what, BOUND, is_there).await
}

/// Tells how the container of a Job's pod ended, and what it said last.
async fn ended(cluster: &Cluster, name: &str, code: Option<i32>, words: &str) {
    let label = format!("pullproof.dev/job={name}");
    let pod = wait_until("the Job has a pod", BOUND, async || {
        let pods = get(cluster, &["pods", "-l", &label]).await;
        Some(
            pods["items"].get(0)?["metadata"]["name"]
                .as_str()?
                .to_owned(),
        )
    })
    .await;
    let now = SystemClock.now().round(Unit::Second).unwrap();
    let phase = if code == Some(0) {
        "Succeeded"
    } else {
        "Failed"
    };
    let status = json!({"status": {
        "phase": phase,
        "containerStatuses": [{
            "name": "pullproof", "image": "pullproof:0.1.0", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {
                "exitCode": code.unwrap_or(137), "startedAt": now, "finishedAt": now, "message": words,
            }},
        }],
    }});
    let status = status.to_string();
    let patch = [
        "patch",
        "pod",
        &pod,
        "-n",
        "registry",
        "--subresource=status",
        "--type=merge",
        "-p",
        &status,
    ];
    cluster.kubectl(&patch).await;
}

#[tokio::test]
async fn to_start_it_the_daemon_may_make_jobs_and_nothing_more() {
    require_cluster!();
    let cluster = applied().await;
    let before = rights(&cluster, DAEMON, "registry").await;
    cluster
        .apply_yaml(&shipped("collector-start-rbac.yaml"))
        .await;
    let own = |line: &&String| line.starts_with("jobs.batch") || line.starts_with("pods ");
    let after = rights(&cluster, DAEMON, "registry").await;
    let (own, rest): (Vec<&String>, Vec<&String>) = after.iter().partition(own);
    assert!(rest.iter().all(|line| before.contains(line)), "{rest:?}");
    let mut verbs: Vec<&str> = own
        .iter()
        .filter(|line| line.starts_with("jobs.batch"))
        .flat_map(|line| {
            line.rsplit_once('[')
                .unwrap()
                .1
                .trim_end_matches(']')
                .split(' ')
        })
        .collect();
    verbs.sort_unstable();
    verbs.dedup();
    assert_eq!(verbs, ["create", "get", "list", "watch"]);
    for namespace in ["shop", "pullproof", "default", "kube-system"] {
        for line in rights(&cluster, DAEMON, namespace).await {
            assert!(line.ends_with("[list watch]"), "{namespace}: {line}");
        }
    }
    // What it would start is what Kubernetes takes for a Job.
    let template = shipped("collector-template.yaml").replace(
        "metadata:\n  namespace",
        "metadata:\n  name: a\n  namespace",
    );
    cluster.apply_yaml(&template).await;
}

#[tokio::test]
async fn an_opening_has_one_job_and_what_gets_worse_is_put_back_by_another() {
    require_cluster!("registry-3.1", "crane", "regctl");
    let cluster = applied().await;
    let desk = Desk::start(Version::V3).await;
    let before = desk.content();
    cluster
        .apply_yaml(&deployment("shop", "web", &desk.at("app:v1")))
        .await;
    let registry = deployment("registry", "registry", "registry.example/registry:3");
    cluster.apply_yaml(&registry).await;
    let watcher = Watcher::start_with(&cluster, &desk.registry.host(), gc()).await;
    let mounted = Mounted::of(&cluster, &watcher, &desk).await;
    let host = desk.registry.host();
    let told = async |watcher: &Watcher, name: &str, label: &str, value: u32| {
        let series = format!("pullproof_{name}{{storage=\"{host}\"{label}}}");
        watcher.until_told(&series, f64::from(value)).await;
    };
    // It may not start any yet, and says so.
    let condition = ",condition=\"storage_unsupported\"";
    told(&watcher, "gc_gate_condition_met", condition, 0).await;
    assert_eq!(jobs(&cluster, "collect").await, [""; 0]);
    cluster
        .apply_yaml(&shipped("collector-start-rbac.yaml"))
        .await;

    let view = run(&cluster, &watcher, &mounted, "collect").await;
    assert_eq!(view["result"], "quarantined", "{view:#}");
    let held = desk.held();
    let blobs = held.iter().filter(|path| path.ends_with("data")).count();
    let blobs = u32::try_from(blobs).unwrap();
    assert!(blobs > 0);
    let quarantined = ",result=\"quarantined\"";
    told(&watcher, "gc_runs_total", quarantined, 1).await;
    told(&watcher, "gc_quarantined_blobs", "", blobs).await;
    told(&watcher, "gc_gate_open", "", 1).await;
    let [job] = &jobs(&cluster, "collect").await[..] else {
        panic!("one Job");
    };
    let job = get(&cluster, &["job", job]).await;
    let deadline = job["spec"]["activeDeadlineSeconds"].as_i64().unwrap();
    assert!((6000..6600).contains(&deadline), "{deadline}");
    assert_eq!(job["spec"]["backoffLimit"], 0);

    // Whoever is started again knows of it, and starts none.
    let watcher = watcher.start_again().await;
    told(&watcher, "gc_quarantined_blobs", "", blobs).await;
    told(&watcher, "gc_runs_total", quarantined, 0).await;
    assert_eq!(jobs(&cluster, "collect").await.len(), 1);
    assert_eq!(jobs(&cluster, "restore").await, [""; 0]);

    // Somebody takes a layer of an image that is kept.
    let layer = desk.tree.find("app.layer-1");
    let (data, aside) = (desk.tree.data_of(&layer), desk.root().join("aside"));
    fs::rename(&data, &aside).unwrap();
    let view = run(&cluster, &watcher, &mounted, "restore").await;
    assert_eq!(view["result"], "restored", "{view:#}");
    told(&watcher, "gc_runs_total", ",result=\"restored\"", 1).await;
    told(&watcher, "gc_quarantined_blobs", "", 0).await;
    fs::rename(&aside, &data).unwrap();
    assert!(desk.held().is_empty());
    assert!(desk.content() == before);
    assert_eq!(jobs(&cluster, "collect").await.len(), 1);
    assert_eq!(jobs(&cluster, "restore").await.len(), 1);
}
