//! Coming from k8s-image-availability-exporter: its names, labels and values, and its alerts as they are, on a
//! real Prometheus.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, BTreeSet};

use crate::daemon::shop::{OFTEN, Stock, entry, of_manifests};
use crate::support::daemon::Daemon;
use crate::support::pager::BOUND;
use crate::support::parts::require;
use crate::support::process::free_port;
use crate::support::prometheus::{Prometheus, Sample, check_metrics};

/// The kinds for which it has an alert, which differ in that alone.
const KINDS: [(&str, &str); 4] = [
    ("Deployment", "deployment"),
    ("StatefulSet", "statefulset"),
    ("DaemonSet", "daemonset"),
    ("CronJob", "cronjob"),
];

/// Its alerts, as its chart renders them.
fn alerts() -> String {
    let rules = KINDS.map(|(name, kind)| {
        format!(
            "  - alert: {name}ImageUnavailable
    expr: |
      max by (namespace, name, container, image) (
        k8s_image_availability_exporter_available{{kind=\"{kind}\"}} == 0
      )
    labels:
      severity: critical
"
        )
    });
    format!(
        "groups:\n- name: k8s-image-availability-exporter.rules\n  rules:\n{}",
        rules.concat()
    )
}

fn workload(kind: &str, name: &str, image: &str) -> String {
    let version = if kind == "CronJob" {
        "batch/v1"
    } else {
        "apps/v1"
    };
    let pod = format!("{{spec: {{containers: [{{name: main, image: '{image}'}}]}}}}");
    let spec = match kind {
        "CronJob" => {
            format!("{{schedule: '0 * * * *', jobTemplate: {{spec: {{template: {pod}}}}}}}")
        }
        _ => format!("{{template: {pod}}}"),
    };
    format!(
        "---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n"
    )
}

/// The modes in which a container's image is, of all that it has.
async fn modes(prometheus: &Prometheus) -> BTreeMap<String, String> {
    let all = prometheus
        .query("{__name__=~\"k8s_image_availability_exporter_.+\"} == 1")
        .await;
    let told = |sample: Sample| {
        let name = sample.labels.get("__name__").unwrap();
        let mode = name
            .strip_prefix("k8s_image_availability_exporter_")
            .unwrap();
        (sample.labels.get("name").unwrap().clone(), mode.to_owned())
    };
    all.into_iter().map(told).collect()
}

#[tokio::test]
async fn its_alerts_run_unchanged_over_its_series() {
    require!("registry-3.1", "crane", "regctl", "prometheus");
    let stock = Stock::new().await;
    let host = stock.host();
    let silent = format!("127.0.0.1:{}", free_port());
    let whole = stock.push("whole:1").await;
    let swept = stock.push("swept:1").await;
    let home = tempfile::tempdir().unwrap();
    let yaml = [
        workload("Deployment", "whole", &whole),
        workload("Deployment", "swept", &swept),
        workload("StatefulSet", "gone", &format!("{host}/gone:1")),
        workload("DaemonSet", "typo", "Registry.Example//app"),
        workload("CronJob", "silent", &format!("{silent}/app:1")),
        // Of this kind it knows nothing.
        workload("ReplicaSet", "lone", &format!("{host}/gone:1")),
    ];
    let manifests = home.path().join("workloads.yaml");
    std::fs::write(&manifests, yaml.concat()).unwrap();
    let registries = [stock.entry(OFTEN), entry(&silent, OFTEN)];
    let daemon = Daemon::start_with(
        &of_manifests(&manifests, &registries),
        &["--compat-metrics", "k8s-iae"],
    );
    daemon.wait_until_ready().await;
    stock.break_layer(&swept).await;
    let rules = home.path().join("rules.yaml");
    std::fs::write(&rules, alerts()).unwrap();
    let targets = [("image-availability-exporter", daemon.metrics_host())];
    let prometheus = Prometheus::start(&targets, &[rules], None).await;

    let pair = |name: &str, mode: &str| (name.to_owned(), mode.to_owned());
    let expected = BTreeMap::from([
        pair("whole", "available"),
        // What it would not see.
        pair("swept", "absent"),
        pair("gone", "absent"),
        pair("typo", "bad_image_format"),
        pair("silent", "registry_unavailable"),
    ]);
    prometheus
        .process()
        .wait_until("each is in one mode", BOUND, async || {
            (modes(&prometheus).await == expected).then_some(())
        })
        .await;
    let firing = async || {
        let all = prometheus.query("ALERTS{alertstate=\"firing\"}").await;
        let told = |sample: &Sample| {
            let label = |name: &str| sample.labels.get(name).unwrap().clone();
            assert_eq!(
                (label("namespace"), label("container")),
                ("shop".to_owned(), "main".to_owned())
            );
            (label("alertname"), label("name"))
        };
        all.iter().map(told).collect::<BTreeSet<_>>()
    };
    let alerts = BTreeSet::from([
        pair("DeploymentImageUnavailable", "swept"),
        pair("StatefulSetImageUnavailable", "gone"),
        pair("DaemonSetImageUnavailable", "typo"),
        pair("CronJobImageUnavailable", "silent"),
    ]);
    prometheus
        .process()
        .wait_until("its alerts fire", BOUND, async || {
            (firing().await == alerts).then_some(())
        })
        .await;
    // Seven of each, as written in the workload.
    let series = prometheus
        .query("count by (name, image) ({__name__=~\"k8s_image_availability_exporter_.+\"})")
        .await;
    assert_eq!(series.len(), expected.len());
    for sample in series {
        assert!((sample.value - 7.0).abs() < f64::EPSILON, "{sample:?}");
    }
    // Both exporters' series.
    check_metrics(&daemon.scrape().await.unwrap());
}
