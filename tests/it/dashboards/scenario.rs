//! The dashboards over a real Prometheus that scrapes real daemons, while images break, drift and are rationed
//! and storages are collected: not one panel is empty.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{Dashboard, dashboards, text};
use crate::collection::desk::Desk;
use crate::daemon::shop::{OFTEN, SELDOM, Stock, deployment, entry, namespace};
use crate::inventory::pods::{pod, runs, waits};
use crate::manners::scripted::{Play, Scripted};
use crate::support::cluster::Cluster;
use crate::support::daemon::Daemon;
use crate::support::demo::Demo;
use crate::support::images::push_image;
use crate::support::parts::require_cluster;
use crate::support::process::free_port;
use crate::support::prometheus::Prometheus;
use crate::support::registry::Version;

const BOUND: Duration = Duration::from_mins(3);

/// What would take hours: how fast a storage fills is known by plans that are an hour apart.
const TAKES_HOURS: &str = "collection.json: Time until it is full";

/// A cluster's workloads: one moved, one that nobody can tell, one whose registry rations and which its node
/// cannot pull, and some that are gone.
async fn shop(cluster: &Cluster, namespace: &str, stock: &Stock, rationed: &Scripted) -> Daemon {
    let host = stock.host();
    let moved = format!("{host}/moved:1");
    let old = push_image(&stock.clients, &moved, "old").await;
    let silent = format!("127.0.0.1:{}", free_port());
    let mut yaml = pod(namespace, "moved", &moved);
    yaml += &pod(namespace, "rationed", &rationed.references(1)[0]);
    yaml += &deployment(namespace, "silent", &format!("{silent}/app:1"));
    let gone = ["gone-a", "gone-b", "gone-c", "gone-d"];
    for name in gone {
        yaml += &deployment(namespace, name, &stock.push(&format!("{name}:1")).await);
    }
    cluster.apply_yaml(&yaml).await;
    runs(cluster, namespace, "moved", &format!("{host}/moved@{old}")).await;
    let registries = [
        stock.entry(OFTEN),
        entry(&silent, OFTEN),
        entry(&rationed.host(), SELDOM),
    ];
    let daemon = Daemon::start(&format!(
        "inventory: {{clusters: [{{name: prod, kubeconfig: {}, namespaces: [{namespace}], scopeIsAll: true}}]}}\n\
         kubernetesEvents: {{write: true}}\n\
         registries:\n{}",
        cluster.admin().kubeconfig.display(),
        registries.concat()
    ));
    daemon.wait_until_ready().await;
    push_image(&stock.clients, &moved, "new").await;
    // Proven once, and times are kept to the second: the node's failure has to come later.
    daemon
        .wait_until("the proof is over", async || {
            let told = daemon.api(&format!("images?q={}", rationed.host())).await;
            let time = |text: &str| text.parse::<Timestamp>().unwrap();
            let proven = time(told["images"][0]["last_proof"].as_str()?);
            let now = time(told["at"].as_str()?);
            (now > proven + SignedDuration::from_secs(1)).then_some(())
        })
        .await;
    let why = "failed to resolve reference: 404 Not Found";
    waits(cluster, namespace, "rationed", "ErrImagePull", why).await;
    let disagreement = "workload_image_kubelet_disagreement";
    daemon.wait_for_series(disagreement, &["rationed"]).await;
    for name in gone {
        let words = ["delete", "deployment", name, "-n", namespace];
        cluster.kubectl(&words).await;
    }
    daemon
        .wait_for_series("inventory_shrunk", &["prod", " 1"])
        .await;
    daemon
}

/// A storage whose replica believes in what is gone, and that somebody left read-only.
async fn believed() -> (Desk, Daemon) {
    let mut desk = Desk::start(Version::V3).await;
    desk.cache().await;
    desk.configure("quarantine", r#""settle": {"cache": "safePut"}"#);
    desk.head("app", &desk.tree.find("untagged.layer-1").digest)
        .await;
    let note = json!({
        "deployment": {"namespace": "registry", "name": "registry"}, "since": "2026-01-19T02:00:00Z",
    });
    let own = desk.root().join("pullproof");
    std::fs::create_dir_all(&own).unwrap();
    std::fs::write(own.join("read-only.json"), note.to_string()).unwrap();
    let daemon = Daemon::start(&desk.as_daemon());
    daemon.wait_for_series("gc_unsettled_objects", &[]).await;
    (desk, daemon)
}

/// One that is not to be collected now, by whoever has the Lease.
async fn paused(cluster: &Cluster, namespace: &str) -> (Desk, Daemon) {
    let desk = Desk::start(Version::V3).await;
    desk.gc(&["pause"]).await;
    let lease = format!("leaderElection: {{lease: {{namespace: {namespace}, name: collector}}}}\n");
    let retention = "retention: {policies: [{repositories: [\"**\"], keep: [{newest: 1}]}]}\n";
    let config = desk.of_daemon("quarantine") + &lease + retention;
    let daemon = Daemon::start_in_cluster(&config, &cluster.admin().kubeconfig);
    daemon
        .wait_for_series("gc_refusals_total", &["paused"])
        .await;
    (desk, daemon)
}

/// Whether it yields something that can be shown.
async fn shows(prometheus: &Prometheus, expression: &str) -> Option<()> {
    let samples = prometheus.query(expression).await;
    samples.iter().any(|it| it.value.is_finite()).then_some(())
}

/// As Grafana asks for the values of a variable: by series, and their label.
fn asked(query: &str) -> (&str, &str) {
    let inner = query.strip_prefix("label_values(").unwrap();
    let inner = inner.strip_suffix(')').unwrap();
    inner.rsplit_once(", ").unwrap()
}

#[tokio::test]
async fn no_panel_is_empty() {
    require_cluster!(
        "prometheus",
        "registry-3.1",
        "docker-registry",
        "crane",
        "regctl"
    );
    let (cluster, namespace) = namespace().await;
    let rationed = Scripted::start(1, |_| async {
        let mut more = HeaderMap::new();
        more.insert("ratelimit-limit", "5000;w=3600".parse().unwrap());
        more.insert("ratelimit-remaining", "4321;w=3600".parse().unwrap());
        Play::With(more)
    });
    let stock = Stock::new().await;
    let demo = Demo::play().await;
    let shop = shop(cluster, &namespace, &stock, &rationed).await;
    let believed = believed().await;
    let paused = paused(cluster, &namespace).await;
    let targets = [
        ("demo", demo.metrics()),
        ("pullproof", shop.metrics_host()),
        ("believed", believed.1.metrics_host()),
        ("paused", paused.1.metrics_host()),
    ];
    let prometheus = Prometheus::start(&targets, &[], None).await;
    let mut empty = BTreeSet::new();
    for dashboard in dashboards() {
        for (at, expression) in dashboard.expressions() {
            if at == TAKES_HOURS {
                continue;
            }
            let filled = dashboard.filled(expression);
            let what = format!("{at} shows something: {filled}");
            let probe = async || shows(&prometheus, &filled).await;
            prometheus.process().wait_until(&what, BOUND, probe).await;
        }
        empty.extend(without_values(&dashboard, &prometheus).await);
    }
    assert_eq!(empty, BTreeSet::new());
    assert!(
        demo.process().status().is_none(),
        "{}",
        demo.process().tail()
    );
}

/// Its variables that offer nothing.
async fn without_values(dashboard: &Dashboard, prometheus: &Prometheus) -> Vec<String> {
    let mut empty = Vec::new();
    for variable in dashboard.variables().filter(|it| it["type"] == "query") {
        let (selector, label) = asked(text(&variable["query"]["query"]));
        let values = format!("count by ({label}) ({})", dashboard.filled(selector));
        let samples = prometheus.query(&values).await;
        let mut values = samples.iter().filter_map(|it| it.labels.get(label));
        if values.next().is_none() {
            empty.push(format!("{}: ${}", dashboard.name, text(&variable["name"])));
        }
    }
    empty
}
