//! Several collectors of one storage, and a Lease that one of them has, on a real API server.

use std::time::Duration;

use serde_json::{Value, json};

use super::desk::Desk;
use crate::plan::checker::Needed;
use crate::support::cluster::{Cluster, Identity};
use crate::support::daemon;
use crate::support::parts::require_cluster;
use crate::support::process::{Ending, Process};
use crate::support::registry::Version;
use crate::support::wait::wait_until;

/// What runs out, and some time for two busy cores.
const BOUND: Duration = Duration::from_mins(2);

/// What a collector's Role grants, and its Lease's name.
pub(super) async fn identity(cluster: &Cluster, namespace: &str) -> Identity {
    let identity = cluster.new_identity();
    let yaml = format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: lease, namespace: {namespace}}}
rules: [{{apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: lease, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: lease}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {}}}]
",
        identity.user
    );
    cluster.apply_yaml(&yaml).await;
    identity
}

fn configure(desk: &Desk, namespace: &str, more: &str) {
    desk.configure("quarantine", more);
    let lease = json!({"lease": {"namespace": namespace, "name": "collector"}});
    desk.change(|it| it["leaderElection"] = lease);
}

async fn lease(cluster: &Cluster, namespace: &str) -> Value {
    let words = ["get", "lease", "collector", "-n", namespace, "-o", "json"];
    let text = cluster.kubectl(&words).await;
    serde_json::from_str::<Value>(&text).unwrap()["spec"].clone()
}

/// Somebody else's, as it is written now.
async fn write(cluster: &Cluster, namespace: &str, holder: &str, seconds: u32, renewed: &str) {
    let yaml = format!(
        "apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {{name: collector, namespace: {namespace}}}
spec: {{holderIdentity: '{holder}', leaseDurationSeconds: {seconds}, renewTime: '{renewed}', leaseTransitions: 7}}
"
    );
    cluster.apply_yaml(&yaml).await;
}

#[tokio::test]
async fn only_whoever_has_the_lease_takes_anything() {
    require_cluster!("registry-3.1");
    let cluster = Cluster::shared().await;
    let namespace = cluster.new_namespace().await;
    let desk = Desk::start(Version::V3).await;
    let before = desk.content();
    configure(&desk, &namespace, "");
    let refused = async |why: &str| {
        let ran = desk.gc(&["run"]).await;
        assert_eq!((ran.code, ran.result()), (Some(3), "refused"), "{ran:?}");
        assert_eq!(ran.codes(), ["not_leader"], "{ran:?}");
        let message = ran.view["refusals"][0]["message"].as_str().unwrap();
        assert!(message.contains(why), "{ran:?}");
        assert!(desk.content() == before && desk.held().is_empty());
    };
    // No cluster at all, then one without the right.
    refused("set KUBECONFIG").await;
    desk.use_cluster(&cluster.new_identity().kubeconfig);
    refused("leases.coordination.k8s.io \"collector\" is forbidden").await;
    let identity = identity(cluster, &namespace).await;
    desk.use_cluster(&identity.kubeconfig);

    // Its own time is of no account: it says that it ran out long ago, and it is renewed.
    write(
        cluster,
        &namespace,
        "other",
        15,
        "2001-01-01T00:00:00.000000Z",
    )
    .await;
    let renewing = async {
        for number in 1_u32.. {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let time = format!("2001-01-01T00:00:{:02}.000000Z", number % 60);
            write(cluster, &namespace, "other", 15, &time).await;
        }
    };
    tokio::select! {
        () = refused("other has the Lease") => {}
        () = renewing => unreachable!(),
    }
    // It says that it lives for a hundred years, and nobody renews it.
    write(
        cluster,
        &namespace,
        "other",
        3,
        "2099-01-01T00:00:00.000000Z",
    )
    .await;
    let ran = desk.gc(&["run"]).await;
    assert_eq!(
        (ran.code, ran.result()),
        (Some(0), "quarantined"),
        "{ran:?}"
    );
    let after = lease(cluster, &namespace).await;
    assert_eq!(after["leaseTransitions"], 8, "{after}");
    // It was given back, so the next need not wait.
    assert_eq!(after["holderIdentity"], Value::Null, "{after}");
    assert_eq!(after["leaseDurationSeconds"], 1, "{after}");

    // What goes back waits for nobody.
    write(
        cluster,
        &namespace,
        "other",
        3600,
        "2026-01-01T00:00:00.000000Z",
    )
    .await;
    let back = desk.gc(&["restore", "--all"]).await;
    assert_eq!(
        (back.code, back.result()),
        (Some(0), "restored"),
        "{back:?}"
    );
    assert!(desk.content() == before && desk.held().is_empty());
}

/// A collector that runs in the background.
fn collector(desk: &Desk, name: &str) -> Process {
    let mut command = daemon::command(desk.home());
    command.args(["gc", "run", "-o", "json"]);
    Process::start(command, name, desk.home(), Ending::Kill)
}

/// Each time one of two is stopped somewhere in its run, for longer than its Lease lasts, while the other
/// tries, and then goes on.
async fn handed_over(times: u32) {
    let cluster = Cluster::shared().await;
    let namespace = cluster.new_namespace().await;
    let desk = Desk::start(Version::V3).await;
    let more = r#""longestRequest": "0s", "watchEvery": "0s""#;
    configure(&desk, &namespace, more);
    desk.use_cluster(&identity(cluster, &namespace).await.kubeconfig);
    let (before, needed) = (desk.content(), Needed::of(desk.root(), &[]));
    // How long a run takes here, to be stopped somewhere in it.
    let begun = tokio::time::Instant::now();
    assert_eq!(desk.gc(&["run"]).await.result(), "quarantined");
    let long = begun.elapsed();
    assert_eq!(desk.gc(&["restore", "--all"]).await.code, Some(0));
    let mut lost = 0;
    // Most are stopped by chance; every third as it has announced a batch. Whether one can still be caught
    // there is chance too, so it goes on until one was.
    for number in 0..times * 4 {
        if number >= times && lost > 0 {
            break;
        }
        let first = collector(&desk, &format!("first-{number}"));
        if number % 3 == 0 || number >= times {
            announced(&desk, &first).await;
        } else {
            tokio::time::sleep(long.mul_f64(fastrand::f64())).await;
        }
        let was_running = first.status().is_none();
        if was_running {
            first.pause().await;
        }
        // Until then the other waits for the Lease; then it has it, and the storage's lock or not.
        let other = desk.gc(&["run"]).await;
        let at = format!("{number}: {other:?}");
        let is_whole = |when: &str| {
            let lost = needed.lost(desk.root());
            assert!(
                lost.blobs.is_empty() && lost.links.is_empty(),
                "{at} {when}: {lost:?}"
            );
        };
        is_whole("while one is stopped");
        first.resume();
        let ended = wait_until("the first ends", BOUND, async || first.status()).await;
        is_whole("after it went on");
        if was_running {
            assert!(
                matches!(other.result(), "refused" | "quarantined" | "planned"),
                "{at}"
            );
            lost += usize::from(ended.code() != Some(0));
        }
        one_writer_at_a_time(&desk, &at);
        let next = desk.gc(&["run"]).await;
        assert_eq!(next.code, Some(0), "{at}: {next:?}");
        is_whole("after the next");
        let back = desk.gc(&["restore", "--all"]).await;
        assert_eq!(back.code, Some(0), "{at}: {back:?}");
        assert!(desk.content() == before && desk.held().is_empty(), "{at}");
        for directory in ["pullproof/journal", "pullproof/ended"] {
            std::fs::remove_dir_all(desk.root().join(directory)).unwrap();
        }
    }
    assert!(lost > 0, "none of {times} lost its Lease");
}

/// Until the journal has its first line, or the collector ended without any.
async fn announced(desk: &Desk, collector: &Process) {
    let journals = desk.root().join("pullproof/journal");
    while collector.status().is_none() {
        if std::fs::read_dir(&journals).is_ok_and(|it| it.count() > 0) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Within each journal nobody writes again once somebody with a later lock has.
fn one_writer_at_a_time(desk: &Desk, at: &str) {
    let directories = ["pullproof/journal", "pullproof/ended"];
    let journals = directories.map(|it| std::fs::read_dir(desk.root().join(it)));
    let mut all: Vec<(u64, u64)> = Vec::new();
    for journal in journals.into_iter().filter_map(Result::ok).flatten() {
        let text = std::fs::read_to_string(journal.unwrap().path()).unwrap();
        let mut last = 0;
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let epoch = line["epoch"].as_u64().unwrap();
            assert!(epoch >= last, "{at}: {text}");
            last = epoch;
            let time: jiff::Timestamp = line["at"].as_str().unwrap().parse().unwrap();
            all.push((u64::try_from(time.as_second()).unwrap(), epoch));
        }
    }
    // And over all of them: who came later wrote later.
    all.sort_unstable();
    assert!(all.is_sorted_by_key(|(_, epoch)| *epoch), "{at}: {all:?}");
}

#[tokio::test]
async fn a_leader_that_is_stopped_and_goes_on_loses_nothing() {
    require_cluster!("registry-3.1");
    handed_over(3).await;
}

#[tokio::test]
#[ignore = "it takes many minutes: `make long`"]
async fn a_leader_that_is_stopped_and_goes_on_200_times_loses_nothing() {
    require_cluster!("registry-3.1");
    handed_over(200).await;
}
