//! The kubelet's word against ours.

use jiff::{SignedDuration, Timestamp};

use super::pods::{pod, runs, waits};
use crate::daemon::shop::{
    OFTEN, SELDOM, Stock, all_series, namespace, of_namespace, require_shop,
};
use crate::support::daemon::Daemon;

const DISAGREEMENT: &str = "workload_image_kubelet_disagreement";

#[tokio::test]
async fn a_node_that_cannot_pull_what_we_call_pullable_is_our_error_rate() {
    require_shop!();
    let stock = Stock::new().await;
    let (cluster, namespace) = namespace().await;
    let names = ["full", "never", "wrong"];
    for name in names {
        let image = stock.push(&format!("{name}:1")).await;
        cluster.apply_yaml(&pod(&namespace, name, &image)).await;
    }
    let daemon = Daemon::start(&of_namespace(
        &cluster.admin().kubeconfig,
        &namespace,
        &[stock.entry(SELDOM)],
    ));
    daemon.wait_until_ready().await;
    for name in names {
        let workload = format!("workload=\"{name}\"");
        let pullable = "workload_image_pullable";
        daemon.wait_for_series(pullable, &[&workload, " 1"]).await;
    }
    assert_eq!(
        all_series(&daemon, DISAGREEMENT).await,
        Vec::<String>::new()
    );

    // What is the node's own comes first, so that it is seen when the other is.
    let say = async |name: &str, reason: &str, message: &str| {
        waits(cluster, &namespace, name, reason, message).await;
    };
    say(
        "full",
        "ErrImagePull",
        "write /var/lib: no space left on device",
    )
    .await;
    say(
        "never",
        "ErrImageNeverPull",
        "not present with pull policy of Never",
    )
    .await;
    // Proven once, and times are kept to the second: the node's failure has to come later.
    daemon
        .wait_until("the proof is over", async || {
            let told = daemon.api("images?q=wrong:1").await;
            let time = |text: &str| text.parse::<Timestamp>().unwrap();
            let proven = time(told["images"][0]["last_proof"].as_str()?);
            let now = time(told["at"].as_str()?);
            (now > proven + SignedDuration::from_secs(1)).then_some(())
        })
        .await;
    say(
        "wrong",
        "ErrImagePull",
        "failed to resolve reference: 404 Not Found",
    )
    .await;
    let series = daemon.wait_for_series(DISAGREEMENT, &["wrong"]).await;
    assert!(series.contains("workload=\"wrong\""), "{series}");
    assert_eq!(all_series(&daemon, DISAGREEMENT).await.len(), 1);
    let told = daemon.api("images?q=wrong:1").await;
    let kubelet = &told["images"][0]["kubelet"][0];
    assert_eq!(kubelet["reason"], "ErrImagePull", "{told:#}");
    assert_eq!(
        kubelet["message"],
        "failed to resolve reference: 404 Not Found"
    );
    assert_eq!(kubelet["used_by"]["name"], "wrong");

    // It has it at last.
    let digest = format!("sha256:{}", "c".repeat(64));
    runs(cluster, &namespace, "wrong", &digest).await;
    daemon.wait_for_no_series(DISAGREEMENT, &[]).await;
}

#[tokio::test]
async fn what_is_known_to_be_broken_is_no_disagreement() {
    require_shop!();
    let stock = Stock::new().await;
    let (cluster, namespace) = namespace().await;
    let missing = format!("{}/missing:1", stock.host());
    let other = stock.push("other:1").await;
    let yaml = [
        pod(&namespace, "missing", &missing),
        pod(&namespace, "other", &other),
    ];
    cluster.apply_yaml(&yaml.concat()).await;
    let why = "404 Not Found";
    waits(cluster, &namespace, "missing", "ErrImagePull", why).await;
    let daemon = Daemon::start(&of_namespace(
        &cluster.admin().kubeconfig,
        &namespace,
        &[stock.entry(OFTEN)],
    ));
    daemon.wait_until_ready().await;
    daemon
        .wait_for_series("workload_image_failure", &["missing"])
        .await;
    assert_eq!(
        all_series(&daemon, DISAGREEMENT).await,
        Vec::<String>::new()
    );
}
