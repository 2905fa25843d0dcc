//! What is exposed, as the real Prometheus and its tool read it: both formats, names that nobody would choose, and
//! more workloads than may have series.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use crate::daemon::shop::{OFTEN, Stock, of_manifests};
use crate::support::daemon::Daemon;
use crate::support::http::client;
use crate::support::pager::BOUND;
use crate::support::parts::require;
use crate::support::prometheus::{Prometheus, check_metrics, promtool};

/// Names as no API server would take them, and a file of YAML may hold them; and what Prometheus shows of
/// each: at most 256 bytes, and no control characters.
fn names() -> Vec<(String, String)> {
    let same = [
        "with \"quotes\" in it",
        "back\\slash \\n \\\"",
        "{curly=\"braces\",le=\"+Inf\"} 1",
        "# HELP this is none",
        "# EOF",
        "trailing space ",
        "日本語 ünïcödé 🦀",
        "$labels.namespace {{ .Value }}",
        "a,b=c;d",
    ];
    let same = same.map(|name| (name.to_owned(), name.to_owned()));
    let long = "ü".repeat(300);
    let changed = [
        (
            "line\nbreak\r\n\ttab".to_owned(),
            "line\u{fffd}break\u{fffd}\u{fffd}\u{fffd}tab".to_owned(),
        ),
        (
            "nul\u{0}bell\u{7}".to_owned(),
            "nul\u{fffd}bell\u{fffd}".to_owned(),
        ),
        (long, "ü".repeat(128)),
    ];
    same.into_iter().chain(changed).collect()
}

/// A Deployment for each name, which is its namespace's, its own and its container's.
fn workloads(names: &[&str], image: &str) -> String {
    let documents = names.iter().map(|name| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": name},
            "spec": {"template": {"spec": {"containers": [{"name": name, "image": image}]}}},
        })
    });
    // JSON is YAML too.
    documents.fold(String::new(), |yaml, document| {
        format!("{yaml}---\n{document}\n")
    })
}

fn configuration(manifests: &Path, stock: &Stock, more: &str) -> String {
    of_manifests(manifests, &[stock.entry(OFTEN)]) + more
}

async fn scrape(daemon: &Daemon, accept: &str) -> String {
    let url = format!("http://{}/metrics", daemon.metrics_host());
    let answer = client()
        .get(url)
        .header("accept", accept)
        .send()
        .await
        .unwrap();
    answer.text().await.unwrap()
}

/// As the tool wants it that makes blocks of it: with a time behind each sample.
fn dated(openmetrics: &str) -> String {
    let line = |line: &str| {
        let time = if line.starts_with('#') {
            ""
        } else {
            " 1700000000"
        };
        format!("{line}{time}\n")
    };
    let lines = openmetrics.lines().map(line);
    lines.collect::<Vec<String>>().concat()
}

#[tokio::test]
async fn names_that_nobody_would_choose_survive_a_scrape_in_both_formats() {
    require!("registry-3.1", "crane", "regctl", "prometheus");
    let stock = Stock::new().await;
    let image = stock.push("app:1").await;
    let home = tempfile::tempdir().unwrap();
    let manifests = home.path().join("workloads.yaml");
    let names = names();
    let written: Vec<&str> = names.iter().map(|(name, _)| &**name).collect();
    // Images, too, are what anybody writes.
    let images = names.iter().map(|(name, _)| workloads(&["odd"], name));
    let yaml = workloads(&written, &image) + &images.collect::<String>();
    std::fs::write(&manifests, yaml).unwrap();
    let daemon = Daemon::start(&configuration(&manifests, &stock, ""));
    daemon.wait_until_ready().await;

    let text = scrape(&daemon, "text/plain").await;
    check_metrics(&text);
    let openmetrics = scrape(&daemon, "application/openmetrics-text; version=1.0.0").await;
    assert!(openmetrics.ends_with("# EOF\n"));
    let file = home.path().join("scrape.om");
    std::fs::write(&file, dated(&openmetrics)).unwrap();
    let blocks = home.path().join("blocks");
    let words = ["tsdb", "create-blocks-from", "openmetrics"];
    let all = [
        &words[..],
        &[file.to_str().unwrap(), blocks.to_str().unwrap()],
    ]
    .concat();
    let told = promtool(&all, "");
    assert!(
        told.status.success(),
        "{}",
        String::from_utf8_lossy(&told.stderr)
    );
    // It would take no other, so that what it takes says something.
    std::fs::write(&file, dated(&openmetrics).replacen("} ", "\"} ", 1)).unwrap();
    assert!(!promtool(&all, "").status.success());

    let targets = [("pullproof", daemon.metrics_host())];
    let prometheus = Prometheus::start(&targets, &[], None).await;
    let expected: BTreeSet<[String; 3]> = names
        .iter()
        .map(|(_, shown)| [shown.clone(), shown.clone(), shown.clone()])
        .collect();
    prometheus
        .process()
        .wait_until("each name is there as it is", BOUND, async || {
            let samples = prometheus
                .query("pullproof_workload_image_pullable == 1")
                .await;
            let label = |sample: &crate::support::prometheus::Sample, name: &str| {
                sample.labels.get(name).cloned().unwrap_or_default()
            };
            let shown = samples.iter().map(|sample| {
                ["namespace", "workload", "container"].map(|name| label(sample, name))
            });
            (shown.collect::<BTreeSet<_>>() == expected).then_some(())
        })
        .await;
    let query = "count by (image) (pullproof_workload_image_failure{reason=\"reference_invalid\"})";
    let invalid = prometheus.query(query).await;
    let shown: BTreeSet<&str> = invalid
        .iter()
        .filter_map(|sample| sample.labels.get("image").map(String::as_str))
        .collect();
    // What is no reference is told as a string is written in code, so that nobody is fooled by what it looks like.
    let escaped = names
        .iter()
        .map(|(name, _)| name.escape_debug().to_string());
    let cut = |name: String| name.chars().take(128).collect::<String>();
    let expected: BTreeSet<String> = escaped.map(cut).collect();
    assert_eq!(
        shown
            .into_iter()
            .map(ToOwned::to_owned)
            .collect::<BTreeSet<_>>(),
        expected
    );
}

#[tokio::test]
async fn more_workloads_than_may_have_series_are_counted_and_what_is_broken_is_shown() {
    require!("registry-3.1", "crane", "regctl", "prometheus");
    let stock = Stock::new().await;
    let (whole, swept) = (stock.push("whole:1").await, stock.push("swept:1").await);
    stock.break_layer(&swept).await;
    let home = tempfile::tempdir().unwrap();
    let manifests = home.path().join("workloads.yaml");
    let crowded: Vec<String> = (0..60).map(|number| format!("web-{number}")).collect();
    let crowded: Vec<&str> = crowded.iter().map(String::as_str).collect();
    let yaml = workloads(&crowded, &whole) + &workloads(&["broken"], &swept);
    std::fs::write(&manifests, yaml).unwrap();
    let caps = "metrics: {maxSeries: 30, maxSeriesPerNamespace: 10}\n";
    let daemon = Daemon::start(&configuration(&manifests, &stock, caps));
    daemon.wait_until_ready().await;
    let targets = [("pullproof", daemon.metrics_host())];
    let prometheus = Prometheus::start(&targets, &[], None).await;
    let value = async |expression: &str| {
        let samples = prometheus.query(expression).await;
        samples.first().map(|sample| sample.value)
    };
    prometheus
        .process()
        .wait_until("what is broken is shown", BOUND, async || {
            value("pullproof_workload_image_failure{workload=\"broken\"}").await
        })
        .await;
    let series = value("count({__name__=~\"pullproof_workload_image_.+\"})").await;
    assert_eq!(series, Some(30.0));
    assert!(value("pullproof_series_dropped_total").await >= Some(32.0));
}
