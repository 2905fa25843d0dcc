//! What kubelets tell by events, against what we say.

use jiff::{SignedDuration, Timestamp};
use pullproof::clock::{Clock as _, SystemClock};

use super::following::{Following, short};
use super::pods::pod;
use crate::daemon::faults::reader;
use crate::daemon::shop::{
    OFTEN, SELDOM, Stock, all_series, namespace, of_namespace, require_shop,
};
use crate::support::cluster::Cluster;
use crate::support::daemon::Daemon;

const DISAGREEMENT: &str = "workload_image_kubelet_disagreement";

/// An event as a kubelet writes it, of the container `app` of a Pod. Each call is another event.
async fn tell(cluster: &Cluster, namespace: &str, pod: &str, reason: &str, message: &str) {
    static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let at = SystemClock.now().strftime("%Y-%m-%dT%H:%M:%SZ");
    let yaml = format!(
        "apiVersion: v1
kind: Event
metadata: {{name: {pod}.{number}, namespace: {namespace}}}
involvedObject: {{apiVersion: v1, kind: Pod, name: {pod}, namespace: {namespace}, fieldPath: 'spec.containers{{app}}'}}
reason: {reason}
message: '{message}'
type: Normal
count: 1
firstTimestamp: '{at}'
lastTimestamp: '{at}'
source: {{component: kubelet, host: node-1}}
"
    );
    cluster.apply_yaml(&yaml).await;
}

/// Waits until the daemon's time is a second later: times are kept to the second.
async fn a_second_later(daemon: &Daemon) {
    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    let now = async || {
        let told = daemon.api("images").await;
        told.get("at")?.as_str().map(time)
    };
    let before = now().await.unwrap();
    daemon
        .wait_until("a second passes", async || {
            let later = before + SignedDuration::from_secs(1);
            (now().await? > later).then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_node_that_pulls_what_we_call_broken_is_our_error_rate_too() {
    require_shop!();
    let stock = Stock::new().await;
    let (cluster, namespace) = namespace().await;
    let image = |name: &str| format!("{}/{name}:1", stock.host());
    for name in ["missing", "cached"] {
        cluster
            .apply_yaml(&pod(&namespace, name, &image(name)))
            .await;
    }
    let daemon = Daemon::start(&of_namespace(
        &cluster.admin().kubeconfig,
        &namespace,
        &[stock.entry(OFTEN)],
    ));
    daemon.wait_until_ready().await;
    for name in ["missing", "cached"] {
        daemon
            .wait_for_series("workload_image_failure", &[name])
            .await;
    }
    a_second_later(&daemon).await;
    let present = format!(
        "Container image \"{}\" already present on machine",
        image("cached")
    );
    let pulled = format!("Successfully pulled image \"{}\" in 1s", image("missing"));
    // Only what happens from now on is heard, and from when on is not told: so it happens again.
    let series = daemon
        .wait_until("the kubelet is heard", async || {
            tell(cluster, &namespace, "cached", "Pulled", &present).await;
            tell(cluster, &namespace, "missing", "Pulled", &pulled).await;
            daemon.series(DISAGREEMENT, &["missing"]).await.pop()
        })
        .await;
    assert!(series.contains("workload=\"missing\""), "{series}");
    assert_eq!(all_series(&daemon, DISAGREEMENT).await.len(), 1);
    let told = daemon.api("images?q=missing:1").await;
    assert_eq!(
        told["images"][0]["kubelet"][0]["reason"], "Pulled",
        "{told:#}"
    );
    // The API server forgets its events after an hour.
    cluster
        .kubectl(&["delete", "events", "--all", "-n", &namespace])
        .await;
    daemon.wait_for_no_series(DISAGREEMENT, &[]).await;
}

#[tokio::test]
async fn a_pull_that_failed_is_heard_before_the_pods_status_says_so() {
    require_shop!();
    let stock = Stock::new().await;
    let (cluster, namespace) = namespace().await;
    for name in ["full", "wrong"] {
        let image = stock.push(&format!("{name}:1")).await;
        cluster.apply_yaml(&pod(&namespace, name, &image)).await;
    }
    let daemon = Daemon::start(&of_namespace(
        &cluster.admin().kubeconfig,
        &namespace,
        &[stock.entry(SELDOM)],
    ));
    daemon.wait_until_ready().await;
    a_second_later(&daemon).await;
    let failed = |name: &str, why: &str| {
        format!("Failed to pull image \"{}/{name}:1\": {why}", stock.host())
    };
    let full = failed("full", "write /var/lib: no space left on device");
    let wrong = failed("wrong", "rpc error: code = NotFound desc = not found");
    daemon
        .wait_until("the kubelet is heard", async || {
            tell(cluster, &namespace, "full", "Failed", &full).await;
            tell(cluster, &namespace, "wrong", "Failed", &wrong).await;
            daemon.series(DISAGREEMENT, &["wrong"]).await.pop()
        })
        .await;
    assert_eq!(all_series(&daemon, DISAGREEMENT).await.len(), 1);
    let told = daemon.api("images?q=wrong:1").await;
    let kubelet = &told["images"][0]["kubelet"][0];
    assert_eq!(kubelet["reason"], "ErrImagePull", "{told:#}");
    assert_eq!(
        kubelet["message"],
        "rpc error: code = NotFound desc = not found"
    );
    let pulled = format!(
        "Successfully pulled image \"{}/wrong:1\" in 1s",
        stock.host()
    );
    tell(cluster, &namespace, "wrong", "Pulled", &pulled).await;
    daemon.wait_for_no_series(DISAGREEMENT, &[]).await;
}

#[tokio::test]
async fn who_may_not_see_events_is_complete_and_says_so() {
    require_shop!();
    let (cluster, namespace) = namespace().await;
    let identity = cluster.new_identity();
    cluster
        .apply_yaml(&reader(&namespace, &identity.user))
        .await;
    cluster
        .apply_yaml(&pod(&namespace, "web", "registry.example/app:1"))
        .await;
    let source = Following::start(identity.kubeconfig, &[&namespace], short()).await;
    let state = source
        .until("it says that events are forbidden", |state| {
            let mut absent = state.absent.iter();
            state.incomplete.is_none() && absent.any(|it| it.starts_with("events is forbidden"))
        })
        .await;
    assert_eq!(state.uses.len(), 1);
}
