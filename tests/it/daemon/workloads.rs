//! What of a cluster is found, under which labels, and how soon a change is.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::Instant;

use super::shop::{
    OFTEN, SELDOM, Stock, all_series, deployment, namespace, of_namespace, require_shop,
};
use crate::support::cluster::Cluster;
use crate::support::daemon::Daemon;

/// New and changed references are proven within 30 s; this is well under it.
const SOON: Duration = Duration::from_secs(15);

fn template(host: &str, name: &str) -> String {
    format!(
        "    metadata: {{labels: {{app: {name}}}}}
    spec:
      initContainers: [{{name: init, image: '{host}/init:1'}}]
      containers: [{{name: main, image: '{host}/{name}:1'}}]
"
    )
}

fn workload(
    version: &str,
    kind: &str,
    name: &str,
    namespace: &str,
    more: &str,
    template: &str,
) -> String {
    format!(
        "apiVersion: {version}
kind: {kind}
metadata: {{name: {name}, namespace: {namespace}}}
spec:
{more}  template:
{template}---
"
    )
}

/// Each kind by an example, that has images `NAME:1` and `init:1`.
const KINDS: [(&str, &str); 8] = [
    ("Deployment", "web"),
    ("Deployment", "asleep"),
    ("StatefulSet", "db"),
    ("DaemonSet", "agent"),
    ("ReplicaSet", "lone"),
    ("Job", "once"),
    ("CronJob", "report"),
    ("Pod", "bare"),
];

/// The examples, and what is special about some of them.
fn examples(host: &str, namespace: &str) -> String {
    let selector = |name: &str| format!("  selector: {{matchLabels: {{app: {name}}}}}\n");
    let apps = |kind: &str, name: &str, more: &str| {
        let more = format!("{}{more}", selector(name));
        workload(
            "apps/v1",
            kind,
            name,
            namespace,
            &more,
            &template(host, name),
        )
    };
    let ended = |name: &str| {
        template(host, name).replace("    spec:\n", "    spec:\n      restartPolicy: Never\n")
    };
    let job = workload("batch/v1", "Job", "once", namespace, "", &ended("once"));
    // Its template is two levels further in.
    let inner = ended("report").replace("    ", "        ");
    let cron = format!(
        "apiVersion: batch/v1
kind: CronJob
metadata: {{name: report, namespace: {namespace}}}
spec:
  schedule: '0 4 * * *'
  suspend: true
  jobTemplate:
    spec:
      template:
{inner}---
"
    );
    let pod = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: bare, namespace: {namespace}}}
spec:
  initContainers: [{{name: init, image: '{host}/init:1'}}]
  containers: [{{name: main, image: '{host}/bare:1'}}]
"
    );
    [
        // Recreated, since no Pod here is ever ready, and the old one would go on running.
        apps("Deployment", "web", "  strategy: {type: Recreate}\n"),
        apps("Deployment", "asleep", "  replicas: 0\n"),
        apps("StatefulSet", "db", "  serviceName: db\n"),
        apps("DaemonSet", "agent", ""),
        apps("ReplicaSet", "lone", ""),
        job,
        cron,
        pod,
    ]
    .concat()
}

#[tokio::test]
async fn every_kind_of_workload_is_found_with_its_labels() {
    require_shop!();
    let stock = Stock::new().await;
    let host = stock.host();
    for (_, name) in KINDS {
        stock.push(&format!("{name}:1")).await;
    }
    stock.push("init:1").await;
    stock.push("debugger:1").await;
    stock.push("web:2").await;

    let (cluster, namespace) = namespace().await;
    cluster.apply_yaml(&examples(&host, &namespace)).await;
    let pods: Api<Pod> = Api::namespaced(cluster.client(&cluster.admin()).await, &namespace);
    let debugger = json!({"spec": {"ephemeralContainers": [
        {"name": "debugger", "image": format!("{host}/debugger:1")}]}});
    pods.patch_ephemeral_containers("bare", &PatchParams::default(), &Patch::Strategic(debugger))
        .await
        .unwrap();

    let series = |kind: &str, name: &str, container: &str, image: &str, class: &str| {
        let kind = kind.to_lowercase();
        format!(
            "workload_image_pullable{{cluster=\"prod\",namespace=\"{namespace}\",\
             workload_type=\"{kind}\",workload=\"{name}\",container=\"{container}\",\
             image=\"{host}/{image}\",registry=\"{host}\",class=\"{class}\"}} 1.0"
        )
    };
    let mut expected: Vec<String> = KINDS
        .iter()
        .flat_map(|(kind, name)| {
            let image = format!("{name}:1");
            [
                series(kind, name, "main", &image, "runtime"),
                series(kind, name, "init", "init:1", "runtime"),
            ]
        })
        .collect();
    expected.push(series("Pod", "bare", "debugger", "debugger:1", "runtime"));
    expected.sort();

    let registries = [stock.entry(SELDOM)];
    let daemon = Daemon::start(&of_namespace(
        &cluster.admin().kubeconfig,
        &namespace,
        &registries,
    ));
    daemon.wait_until_ready().await;
    assert_eq!(
        all_series(&daemon, "workload_image_pullable").await,
        expected
    );
    assert!(
        all_series(&daemon, "workload_image_unknown")
            .await
            .is_empty()
    );

    // What a rollback would pull is the Deployment's too, as what it is.
    let image = format!("main={host}/web:2");
    cluster
        .kubectl(&["-n", &namespace, "set", "image", "deployment/web", &image])
        .await;
    let now = series("Deployment", "web", "main", "web:2", "runtime");
    let before = series("Deployment", "web", "main", "web:1", "rollback");
    daemon
        .wait_until("the old image is the rollback's", async || {
            let series = all_series(&daemon, "workload_image_pullable").await;
            (series.contains(&now) && series.contains(&before)).then_some(())
        })
        .await;
    let runtime = series("Deployment", "web", "main", "web:1", "runtime");
    let after = all_series(&daemon, "workload_image_pullable").await;
    assert_eq!(after.len(), expected.len() + 1);
    assert!(!after.contains(&runtime));

    let images = daemon.api("images?q=web:1").await;
    let via = images["images"][0]["used_by"][0]["via"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(via.starts_with("ReplicaSet/web-"), "{images:#}");
}

#[tokio::test]
async fn a_change_is_proven_within_seconds_and_what_is_deleted_is_gone() {
    require_shop!();
    let stock = Stock::new().await;
    let first = stock.push("app:1").await;
    let second = stock.push("app:2").await;
    let other = stock.push("other:1").await;
    let (cluster, namespace) = namespace().await;
    let yaml = [
        deployment(&namespace, "web", &first),
        deployment(&namespace, "stays", &other),
    ];
    cluster.apply_yaml(&yaml.concat()).await;
    let registries = [stock.entry(SELDOM)];
    let configuration = of_namespace(&cluster.admin().kubeconfig, &namespace, &registries);
    // Nothing is remembered, so what is gone is gone.
    let configuration = configuration.replace("inventory: {", "inventory: {keepSeen: 0s, ");
    let daemon = Daemon::start(&configuration);
    daemon.wait_until_ready().await;
    daemon
        .wait_for_series("workload_image_pullable", &["web", &first, " 1"])
        .await;

    let changed = Instant::now();
    let image = format!("app={second}");
    cluster
        .kubectl(&["-n", &namespace, "set", "image", "deployment/web", &image])
        .await;
    daemon
        .wait_for_series(
            "workload_image_pullable",
            &["web", &second, "runtime", " 1"],
        )
        .await;
    assert!(changed.elapsed() < SOON, "{:?}", changed.elapsed());

    // One that is not there is found missing as soon.
    let changed = Instant::now();
    let missing = format!("{}/app:3", stock.host());
    cluster
        .apply_yaml(&deployment(&namespace, "new", &missing))
        .await;
    let failure = ["new", &missing, "tag_missing"];
    daemon
        .wait_for_series("workload_image_failure", &failure)
        .await;
    assert!(changed.elapsed() < SOON, "{:?}", changed.elapsed());
    daemon
        .wait_for_series("workload_image_pullable", &["new", &missing, " 0"])
        .await;

    let delete = [
        "-n",
        namespace.as_str(),
        "delete",
        "--wait=false",
        "deployment",
    ];
    cluster
        .kubectl(&[&delete[..], &["web", "new"]].concat())
        .await;
    // Its Pods go after it, by the garbage collector.
    for metric in ["workload_image", "image_"] {
        for image in [&first, &second, &missing] {
            daemon.wait_for_no_series(metric, &[image]).await;
        }
    }
    let stays = all_series(&daemon, "workload_image_pullable").await;
    assert_eq!(stays.len(), 1, "{stays:?}");
    assert!(stays[0].contains("workload=\"stays\""), "{stays:?}");
}

#[tokio::test]
async fn it_watches_and_lists_no_more_after_the_start() {
    require_shop!();
    let stock = Stock::new().await;
    let images = [
        stock.push("app:1").await,
        stock.push("app:2").await,
        stock.push("app:3").await,
    ];
    // Its own, since all that others do counts too.
    let cluster = Cluster::start().await;
    let namespace = cluster.new_namespace().await;
    cluster
        .apply_yaml(&deployment(&namespace, "web", &images[0]))
        .await;
    let registries = [stock.entry(OFTEN)];
    let daemon = Daemon::start(&of_namespace(
        &cluster.admin().kubeconfig,
        &namespace,
        &registries,
    ));
    daemon.wait_until_ready().await;

    let at_first = lists(&cluster).await;
    assert!(
        at_first >= 10,
        "one for each kind of workload at least: {at_first}"
    );
    for image in &images[1..] {
        let image_of_app = format!("app={image}");
        let set = ["-n", namespace.as_str(), "set", "image", "deployment/web"];
        cluster
            .kubectl(&[&set[..], &[&image_of_app]].concat())
            .await;
        daemon
            .wait_for_series("workload_image_pullable", &[image, "runtime", " 1"])
            .await;
    }
    let rounds = |series: &str| super::shop::value(series);
    let completed = "verification_last_completed_timestamp_seconds";
    let before = rounds(&daemon.wait_for_series(completed, &[]).await);
    daemon
        .wait_until("two more rounds over everything", async || {
            let series = daemon.series(completed, &[]).await;
            (rounds(series.first()?) > before + 2.0).then_some(())
        })
        .await;
    assert_eq!(lists(&cluster).await, at_first);
}

/// How often workloads were listed, by anybody.
async fn lists(cluster: &Cluster) -> u64 {
    let workloads = [
        "deployments",
        "statefulsets",
        "daemonsets",
        "replicasets",
        "controllerrevisions",
        "replicationcontrollers",
        "podtemplates",
        "cronjobs",
        "jobs",
        "pods",
    ];
    let metrics = cluster.kubectl(&["get", "--raw", "/metrics"]).await;
    let lines = metrics.lines().filter(|line| {
        line.starts_with("apiserver_request_total{")
            && line.contains("verb=\"LIST\"")
            && workloads
                .iter()
                .any(|name| line.contains(&format!("resource=\"{name}\"")))
    });
    lines
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}
