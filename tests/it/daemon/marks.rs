//! What people say of alerts, on a real API server: within seconds it is in metrics, API and page, and nothing else
//! is other than before.

#![expect(clippy::indexing_slicing, reason = "a panic is how a test fails")]

use serde_json::Value;

use super::shop::{SELDOM, Stock, deployment, namespace, of_namespace, require_shop};
use crate::cli::run::pullproof;
use crate::support::cluster::Cluster;
use crate::support::daemon::Daemon;
use crate::support::pager::Pager;
use crate::support::parts::require_cluster;

/// What may be there instead of the reason in a label.
const SILENCED: &str = "ignored=\"true\"";

async fn annotate(cluster: &Cluster, place: &[&str], annotation: &str) {
    let words = [&["annotate", "--overwrite"], place, &[annotation]].concat();
    cluster.kubectl(&words).await;
}

/// Why the alerts of each workload are silenced, by name.
async fn ignored(daemon: &Daemon) -> Vec<(String, Option<String>)> {
    let answer = daemon.api("images").await;
    let images = answer["images"].as_array().unwrap().iter();
    let users = images.flat_map(|image| image["used_by"].as_array().unwrap());
    let mut told: Vec<_> = users
        .map(|user| {
            let reason = user.get("ignored").expect("the key is always there");
            let name = user["name"].as_str().unwrap().to_owned();
            (name, reason.as_str().map(ToOwned::to_owned))
        })
        .collect();
    told.sort();
    told
}

async fn until_ignored(daemon: &Daemon, expected: &[(&str, Option<&str>)]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(name, reason)| ((*name).to_owned(), reason.map(ToOwned::to_owned)))
        .collect();
    daemon
        .wait_until("it is told who is silenced", async || {
            (ignored(daemon).await == expected).then_some(())
        })
        .await;
}

/// Another choice of labels needs no restart.
async fn chosen_anew(daemon: &Daemon) {
    let file = daemon.configuration();
    let text = std::fs::read_to_string(&file).unwrap();
    let fewer = text.replace("[team, example.com/tier]", "[team]");
    assert_ne!(fewer, text);
    std::fs::write(&file, fewer).unwrap();
    daemon
        .wait_for_no_series("workload_image_failure", &["example_com_tier"])
        .await;
    daemon
        .wait_for_series(
            "workload_image_failure",
            &["workload=\"web\"", "team=\"web\""],
        )
        .await;
}

#[tokio::test]
async fn an_annotation_silences_a_workload_or_a_namespace_and_labels_ride_along() {
    require_shop!();
    let (cluster, namespace) = namespace().await;
    let stock = Stock::new().await;
    let (whole, swept) = (stock.push("whole:1").await, stock.push("swept:1").await);
    stock.break_layer(&swept).await;
    let yaml = deployment(&namespace, "api", &whole) + &deployment(&namespace, "web", &swept);
    cluster.apply_yaml(&yaml).await;
    let team = format!("team={namespace}");
    cluster
        .kubectl(&[
            "label",
            "namespace",
            &namespace,
            &team,
            "example.com/tier=1",
        ])
        .await;
    let kubeconfig = cluster.admin().kubeconfig;
    let configuration = of_namespace(&kubeconfig, &namespace, &[stock.entry(SELDOM)]);
    let configuration = format!("{configuration}metrics: {{labels: [team, example.com/tier]}}\n");
    // Nothing is proven twice: whatever changes, changes by what the cluster says.
    let daemon = Daemon::start(&configuration);
    let of_web = |more: &[&'static str]| [&["workload=\"web\""], more].concat();
    let team = format!("team=\"{namespace}\"");
    let series = daemon
        .wait_for_series(
            "workload_image_failure",
            &["workload=\"web\"", &team, "example_com_tier=\"1\""],
        )
        .await;
    assert!(!series.contains("ignored"), "{series}");
    until_ignored(&daemon, &[("api", None), ("web", None)]).await;

    // The Deployment's own.
    let web = ["deployment", "web", "-n", &namespace];
    annotate(cluster, &web, "pullproof.dev/ignore=moves to \"r2\"").await;
    let silenced = daemon
        .wait_for_series("workload_image_failure", &of_web(&[SILENCED]))
        .await;
    assert!(!silenced.contains("r2"), "{silenced}");
    let moves = Some("moves to \"r2\"");
    until_ignored(&daemon, &[("api", None), ("web", moves)]).await;
    let page = daemon.page("/").await;
    assert!(page.contains("silenced: moves to &#34;r2&#34;"), "{page}");
    let path = format!("/image?reference={}", swept.replace('/', "%2F"));
    let page = daemon.page(&path).await;
    assert!(page.contains("silenced: moves to &#34;r2&#34;"), "{page}");
    // What is so, is so all the same.
    assert_eq!(daemon.api("status").await["summary"]["broken"], 1);
    let file = daemon.configuration();
    let verified = pullproof(&["--config", file.to_str().unwrap(), "verify", "-o", "json"]).await;
    assert_eq!(verified.code, 2, "{verified:?}");
    let verified: Value = verified.json();
    assert!(
        verified
            .to_string()
            .contains("\"ignored\":\"moves to \\\"r2\\\"\""),
        "{verified:#}"
    );

    // A label of its own goes before its namespace's.
    cluster
        .kubectl(&["label", "deployment", "web", "-n", &namespace, "team=web"])
        .await;
    daemon
        .wait_for_series(
            "workload_image_failure",
            &of_web(&[SILENCED, "team=\"web\"", "example_com_tier=\"1\""]),
        )
        .await;

    // Taken back, and said of the whole namespace.
    annotate(cluster, &web, "pullproof.dev/ignore-").await;
    daemon
        .wait_for_no_series("workload_image_failure", &[SILENCED])
        .await;
    let place = ["namespace", namespace.as_str()];
    annotate(cluster, &place, "pullproof.dev/ignore=freeze").await;
    daemon
        .wait_for_series("workload_image_failure", &of_web(&[SILENCED]))
        .await;
    daemon
        .wait_for_series(
            "workload_image_pullable",
            &["workload=\"api\"", SILENCED, &team],
        )
        .await;
    until_ignored(&daemon, &[("api", Some("freeze")), ("web", Some("freeze"))]).await;

    // Without a reason it silences nothing, and says so.
    annotate(cluster, &place, "pullproof.dev/ignore=").await;
    daemon
        .wait_for_no_series("workload_image_failure", &[SILENCED])
        .await;
    let absent = &daemon.api("status").await["sources"][0]["absent"];
    assert!(
        absent
            .to_string()
            .contains(&format!("of Namespace {namespace}: ")),
        "{absent}"
    );
    annotate(cluster, &place, "pullproof.dev/ignore-").await;
    until_ignored(&daemon, &[("api", None), ("web", None)]).await;

    chosen_anew(&daemon).await;
}

#[tokio::test]
async fn whoever_silences_a_workload_is_told_that_it_is_over_and_the_team_is_named() {
    require_cluster!(
        "registry-3.1",
        "crane",
        "regctl",
        "prometheus",
        "prometheus-alertmanager"
    );
    let (cluster, namespace) = namespace().await;
    let stock = Stock::new().await;
    let swept = stock.push("swept:1").await;
    stock.break_layer(&swept).await;
    let web = deployment(&namespace, "web", &swept);
    cluster
        .apply_yaml(&web.replacen("name: web,", "name: web, labels: {team: payments},", 1))
        .await;
    let kubeconfig = cluster.admin().kubeconfig;
    let configuration = of_namespace(&kubeconfig, &namespace, &[stock.entry(SELDOM)]);
    let daemon = Daemon::start(&format!("{configuration}metrics: {{labels: [team]}}\n"));
    daemon
        .wait_for_series("workload_image_failure", &["team=\"payments\""])
        .await;
    let pager = Pager::watch(&daemon).await;
    let told = pager.wait_until_told_of_image(&swept, "firing").await;
    assert_eq!(told["labels"]["team"], "payments");
    for label in ["workload", "container", "instance", "job", "ignored"] {
        assert!(told["labels"].get(label).is_none(), "{told:#}");
    }
    annotate(
        cluster,
        &["deployment", "web", "-n", &namespace],
        "pullproof.dev/ignore=known",
    )
    .await;
    pager.wait_until_told_of_image(&swept, "resolved").await;
    assert_eq!(pager.times_told_of_image(&swept), (1, 1));
}
