//! Kubernetes Events on workloads: what the API server has of them in the end, and what `kubectl` shows.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::faults::reader;
use super::shop::{OFTEN, Stock, deployment, namespace, proven_anew, require_shop, value};
use crate::cli::first_layer;
use crate::collection::job::{DAEMON, kubeconfig, shipped};
use crate::support::cluster::{Cluster, Identity};
use crate::support::daemon::{BOUND, Daemon};
use crate::support::images::{Format, PLATFORMS, push_index};
use crate::support::parts::require;
use crate::support::registry::{Options, Version};
use crate::support::wait::wait_until;

const ON: &str = "kubernetesEvents: {write: true}\n";
const BREAKS: &str = "ImageNotPullable";
const HEALS: &str = "ImagePullable";
const COUNT: &str = "kubernetes_events_total";

/// An object of a registry, put aside and put back: as if it had been swept, and restored.
struct Aside {
    place: PathBuf,
    aside: PathBuf,
}

impl Aside {
    fn of(stock: &Stock, digest: &str) -> Self {
        let hash = digest.strip_prefix("sha256:").unwrap();
        let root = stock.registry.root();
        let blobs = root.join("docker/registry/v2/blobs/sha256");
        Self {
            place: blobs.join(&hash[..2]).join(hash),
            aside: root.join(hash),
        }
    }

    fn take(&self) {
        fs::rename(&self.place, &self.aside).unwrap();
    }

    fn put_back(&self) {
        fs::rename(&self.aside, &self.place).unwrap();
    }
}

/// What pullproof has written in a namespace, `KIND/NAME REASON` each, sorted.
async fn written(cluster: &Cluster, namespace: &str) -> Vec<String> {
    let told = cluster
        .kubectl(&["get", "events", "-n", namespace, "-o", "json"])
        .await;
    let told: Value = serde_json::from_str(&told).unwrap();
    let events = told.get("items").and_then(Value::as_array).unwrap().iter();
    let ours = events.filter(|it| it["reportingComponent"] == "pullproof.dev/pullproof");
    let mut ours: Vec<String> = ours
        .map(|it| {
            let text = |at: &str| it.pointer(at).and_then(Value::as_str).unwrap().to_owned();
            let severity = if text("/reason") == BREAKS {
                "Warning"
            } else {
                "Normal"
            };
            assert_eq!(text("/type"), severity, "{it:#}");
            assert_eq!(text("/action"), "Verify", "{it:#}");
            assert!(!text("/reportingInstance").is_empty(), "{it:#}");
            assert!(!text("/involvedObject/uid").is_empty(), "{it:#}");
            let [kind, name] = ["/involvedObject/kind", "/involvedObject/name"].map(text);
            format!("{kind}/{name} {}", text("/reason"))
        })
        .collect();
    ours.sort();
    ours
}

async fn wait_for(cluster: &Cluster, namespace: &str, expected: &[&str]) {
    let what = format!("{expected:?} in {namespace}");
    wait_until(&what, BOUND, async || {
        (written(cluster, namespace).await == expected).then_some(())
    })
    .await;
}

/// The count of a result.
async fn count(daemon: &Daemon, result: &str) -> f64 {
    value(&daemon.wait_for_series(COUNT, &[result]).await)
}

/// Several rounds later.
async fn rounds(daemon: &Daemon, whole: &str) {
    for _ in 0..3 {
        proven_anew(daemon, whole).await;
    }
}

fn pod(namespace: &str, name: &str, image: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  initContainers: [{{name: init, image: '{image}'}}]
  containers: [{{name: main, image: '{image}'}}]
---
"
    )
}

#[tokio::test]
async fn a_workload_is_told_once_when_its_image_breaks_and_once_when_it_can_be_pulled_again() {
    require_shop!();
    require!("buildah");
    let root = tempfile::tempdir().unwrap();
    let stock = Stock::of(Options::new(Version::V3, root.path()), root).await;
    let image = format!("{}/shop/web:1", stock.host());
    push_index(&stock.clients, &image, "web", Format::Oci).await;
    let whole = stock.push("shop/db:1").await;
    let platform = format!("linux/{}", PLATFORMS[1]);
    let child = stock
        .clients
        .crane(&["digest", "--platform", &platform, &image])
        .await;
    let child = Aside::of(&stock, child.trim());

    // With exactly the rights that are shipped.
    let cluster = &Cluster::start().await;
    for name in ["pullproof", "shop"] {
        cluster.kubectl(&["create", "namespace", name]).await;
    }
    for file in ["rbac.yaml", "write-events-rbac.yaml"] {
        cluster.apply_yaml(&shipped(file)).await;
    }
    let yaml = [
        deployment("shop", "web", &image),
        deployment("shop", "db", &whole),
        pod("shop", "bare", &image),
    ];
    cluster.apply_yaml(&yaml.concat()).await;
    let home = tempfile::tempdir().unwrap();
    let own = home.path().join("config");
    kubeconfig(cluster, DAEMON, &own).await;
    let configuration = format!("{ON}registries:\n{}", stock.entry(OFTEN));
    let mut daemon = Daemon::start_in_cluster(&configuration, &own);
    daemon.wait_until_ready().await;
    rounds(&daemon, &whole).await;
    assert_eq!(written(cluster, "shop").await, [""; 0]);
    assert!(count(&daemon, "written").await < 0.5);

    child.take();
    let broken = [
        "Deployment/web ImageNotPullable",
        "Pod/bare ImageNotPullable",
    ];
    wait_for(cluster, "shop", &broken).await;
    rounds(&daemon, &whole).await;
    daemon.restart().await;
    rounds(&daemon, &whole).await;
    assert_eq!(written(cluster, "shop").await, broken);
    what_kubectl_shows(cluster, &image, &platform).await;

    child.put_back();
    let both = [
        "Deployment/web ImageNotPullable",
        "Deployment/web ImagePullable",
        "Pod/bare ImageNotPullable",
        "Pod/bare ImagePullable",
    ];
    wait_for(cluster, "shop", &both).await;
    daemon.restart().await;
    rounds(&daemon, &whole).await;
    assert_eq!(written(cluster, "shop").await, both);

    // Without the right: counted, said once, and everything else goes on.
    cluster
        .kubectl(&["delete", "clusterrolebinding", "pullproof-write-events"])
        .await;
    child.take();
    daemon
        .wait_until("both are counted", async || {
            (count(&daemon, "failed").await > 1.5).then_some(())
        })
        .await;
    child.put_back();
    daemon
        .wait_for_no_series("workload_image_failure", &[])
        .await;
    daemon
        .wait_until("that they healed is counted", async || {
            (count(&daemon, "failed").await > 3.5).then_some(())
        })
        .await;
    rounds(&daemon, &whole).await;
    assert!(
        count(&daemon, "failed").await < 4.5,
        "nothing is tried again"
    );
    assert_eq!(written(cluster, "shop").await, both);
    let log = daemon.process().log();
    let told = log.matches("Kubernetes Events cannot be written").count();
    assert_eq!(told, 1, "{log}");
    assert!(log.contains("is forbidden"), "{log}");
}

async fn what_kubectl_shows(cluster: &Cluster, image: &str, platform: &str) {
    for (kind, name) in [("deployment", "web"), ("pod", "bare")] {
        let told = cluster
            .kubectl(&["describe", kind, name, "-n", "shop"])
            .await;
        let line = told.lines().find(|line| line.contains(BREAKS));
        let line = line.unwrap_or_else(|| panic!("{told}"));
        for said in ["Warning", "pullproof", image, platform, "child_missing"] {
            assert!(line.contains(said), "{said}: {line}");
        }
    }
    let told = cluster
        .kubectl(&["events", "--for", "deployment/web", "-n", "shop"])
        .await;
    assert!(told.contains(BREAKS), "{told}");
    let told = cluster
        .kubectl(&["describe", "deployment", "db", "-n", "shop"])
        .await;
    assert!(!told.contains(BREAKS), "{told}");
}

/// An identity that may read a namespace, and write Events into it.
async fn writer(cluster: &Cluster, namespace: &str) -> Identity {
    let identity = cluster.new_identity();
    cluster.apply_yaml(&reader(namespace, &identity.user)).await;
    let yaml = format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: write-events, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: pullproof-write-events}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {}}}]
",
        identity.user
    );
    cluster
        .apply_yaml(
            shipped("write-events-rbac.yaml")
                .split("---")
                .next()
                .unwrap(),
        )
        .await;
    cluster.apply_yaml(&yaml).await;
    identity
}

#[tokio::test]
async fn each_clusters_workloads_are_told_in_their_cluster_by_whoever_reads_it() {
    require_shop!();
    let stock = Stock::new().await;
    let image = stock.push("app:1").await;
    let layer = Aside::of(&stock, &first_layer(&stock.clients, &image).await);
    let whole = stock.push("whole:1").await;
    let (cluster, prod) = namespace().await;
    let (_, standby) = namespace().await;
    let (_, mute) = namespace().await;
    for namespace in [&prod, &standby, &mute] {
        let yaml = [
            deployment(namespace, "web", &image),
            deployment(namespace, "whole", &whole),
        ];
        cluster.apply_yaml(&yaml.concat()).await;
    }
    let of_prod = writer(cluster, &prod).await;
    let of_standby = writer(cluster, &standby).await;
    let of_mute = cluster.new_identity();
    cluster.apply_yaml(&reader(&mute, &of_mute.user)).await;
    let entry = |name: &str, role: &str, identity: &Identity, namespace: &str| {
        format!(
            "    - {{name: {name}, kubeconfig: {}, role: {role}, namespaces: [{namespace}]}}\n",
            identity.kubeconfig.display()
        )
    };
    let configuration = format!(
        "{ON}inventory:\n  clusters:\n{}{}{}registries:\n{}",
        entry("prod", "active", &of_prod, &prod),
        entry("standby", "failover", &of_standby, &standby),
        entry("mute", "active", &of_mute, &mute),
        stock.entry(OFTEN)
    );
    let daemon = Daemon::start(&configuration);
    daemon.wait_until_ready().await;
    rounds(&daemon, &whole).await;
    layer.take();
    for namespace in [&prod, &standby] {
        wait_for(cluster, namespace, &["Deployment/web ImageNotPullable"]).await;
    }
    daemon
        .wait_until("the third is counted", async || {
            (count(&daemon, "failed").await > 0.5).then_some(())
        })
        .await;
    assert_eq!(written(cluster, &mute).await, [""; 0]);
    layer.put_back();
    for namespace in [&prod, &standby] {
        let both = [BREAKS, HEALS].map(|reason| format!("Deployment/web {reason}"));
        wait_for(cluster, namespace, &both.each_ref().map(|it| &**it)).await;
    }
    assert_eq!(written(cluster, &mute).await, [""; 0]);
}

#[tokio::test]
async fn of_several_daemons_the_one_with_the_lease_tells_and_the_next_goes_on() {
    require_shop!();
    let stock = Stock::new().await;
    let image = stock.push("app:1").await;
    let layer = Aside::of(&stock, &first_layer(&stock.clients, &image).await);
    let whole = stock.push("whole:1").await;
    let (cluster, namespace) = namespace().await;
    let yaml = [
        deployment(&namespace, "web", &image),
        deployment(&namespace, "whole", &whole),
    ];
    cluster.apply_yaml(&yaml.concat()).await;
    let admin = cluster.admin().kubeconfig;
    let configuration = format!(
        "{ON}leaderElection: {{lease: {{namespace: {namespace}, name: pullproof}}}}\n\
         inventory: {{clusters: [{{name: prod, kubeconfig: {}, namespaces: [{namespace}]}}]}}\n\
         registries:\n{}",
        admin.display(),
        stock.entry(OFTEN)
    );
    let mut daemons = vec![
        Daemon::start_in_cluster(&configuration, &admin),
        Daemon::start_in_cluster(&configuration, &admin),
    ];
    let holder = async || {
        let words = [
            "get",
            "lease",
            "pullproof-events",
            "-n",
            &namespace,
            "-o",
            "json",
        ];
        let told = cluster.kubectl_as(&cluster.admin(), &words).await.ok()?;
        let told: Value = serde_json::from_str(&told).unwrap();
        Some(told["spec"]["holderIdentity"].as_str()?.to_owned())
    };
    let is_holder =
        |daemon: &Daemon, holder: &str| holder.contains(&format!("_{}_", daemon.process().id()));
    let first = wait_until("one has the Lease", BOUND, holder).await;
    for daemon in &daemons {
        daemon.wait_until_ready().await;
        rounds(daemon, &whole).await;
    }
    layer.take();
    wait_for(cluster, &namespace, &["Deployment/web ImageNotPullable"]).await;
    for daemon in &daemons {
        daemon
            .wait_for_series("workload_image_failure", &[&image])
            .await;
        rounds(daemon, &whole).await;
    }
    assert_eq!(
        written(cluster, &namespace).await,
        ["Deployment/web ImageNotPullable"]
    );

    let at = daemons.iter().position(|it| is_holder(it, &first)).unwrap();
    let leader = daemons.remove(at);
    let last = daemons.first().unwrap();
    // What both write in one second has one name.
    assert!((count(&leader, "written").await - 1.0).abs() < 0.5);
    assert!(count(last, "written").await < 0.5);
    leader.terminate().await;
    wait_until("the other has the Lease", BOUND, async || {
        is_holder(last, &holder().await?).then_some(())
    })
    .await;
    layer.put_back();
    let both = [
        "Deployment/web ImageNotPullable",
        "Deployment/web ImagePullable",
    ];
    wait_for(cluster, &namespace, &both).await;
    rounds(last, &whole).await;
    assert_eq!(written(cluster, &namespace).await, both);
    assert!((count(last, "written").await - 1.0).abs() < 0.5);
}
