//! The incident that pullproof is for, from end to end and with real parts only: a registry's own
//! collector sweeps what lies below a tag in use, and somebody is paged before a node has to pull.
//!
//! Alerts and routing are the shipped files. Only their waits are scaled, see [`crate::support::pager`].

#![expect(clippy::indexing_slicing, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::clients::Clients;
use crate::support::cluster::Cluster;
use crate::support::daemon::Daemon;
use crate::support::images::{Format, PLATFORMS, push_image, push_index, push_index_again};
use crate::support::pager::{Pager, UNREACHABLE, last_completed_in};
use crate::support::parts::require;
use crate::support::process::free_port;
use crate::support::registry::{Options, Registry, Version};

/// So many evaluations of the rules are waited for before something counts as not having happened.
/// At one a second it is longer than every hurried wait: `for`, `keep_firing_for`, `group_interval`.
const EVALUATIONS: u32 = 10;

/// The part of a reference that the page writes in one piece: host and tag are set apart there.
fn repository(image: &str) -> &str {
    let (_, path) = image.split_once('/').expect("a host comes first");
    path.rsplit_once(':')
        .map_or(path, |(repository, _)| repository)
}

/// Leaves the test when a part of the incident is missing.
macro_rules! require_incident {
    () => {
        require!(
            "docker-registry",
            "crane",
            "regctl",
            "buildah",
            "etcd",
            "kube-apiserver",
            "kube-controller-manager",
            "kubectl",
            "openssl",
            "prometheus",
            "prometheus-alertmanager"
        );
    };
}

#[tokio::test]
async fn a_sweep_below_tags_in_use_pages_once_for_each_image_and_a_push_ends_it() {
    require_incident!();
    let root = tempfile::tempdir().unwrap();
    // Without the descriptor cache. With it 2.8.2 remembers blobs and manifests that the sweep took
    // away behind its back: it would go on claiming them, and write nothing when they are pushed again.
    let registry = Registry::start(Options::new(Version::V2, root.path())).await;
    let clients = Clients::of(&registry).await;
    let host = registry.host();
    let indexes = [
        Index::push(&clients, &host, "cart", Format::Oci).await,
        Index::push(&clients, &host, "orders", Format::Docker).await,
    ];
    let ordinary = format!("{host}/shop/web:1");
    push_image(&clients, &ordinary, "web").await;

    let cluster = Cluster::shared().await;
    let namespace = cluster.new_namespace().await;
    for index in &indexes {
        deploy(cluster, &namespace, index.workload, &index.image).await;
    }
    deploy(cluster, &namespace, "web", &ordinary).await;
    let daemon = Daemon::start(&configuration(cluster, &namespace, &[&host]));
    for workload in ["cart", "orders", "web"] {
        wait_until_pullable(&daemon, workload).await;
    }
    assert_eq!(failures(&daemon).await, BTreeSet::new());
    let pager = Pager::watch(&daemon).await;

    // Beside the running registry, as a job in the night does it.
    registry.garbage_collect(&[]).await;
    let mut rounds_ended = BTreeSet::from([last_completed(&daemon, &host).await]);
    let expected = indexes.iter().flat_map(|index| index.missing(&namespace));
    let expected: BTreeSet<String> = expected.collect();
    daemon
        .wait_until("every platform is shown as missing", async || {
            let scrape = daemon.scrape().await?;
            rounds_ended.insert(last_completed_in(&scrape, &host)?);
            (failures_in(&scrape) == expected).then_some(())
        })
        .await;
    // Besides the one before: the round that was under way when the sweep ended, and the next one.
    assert!(rounds_ended.len() <= 3, "{rounds_ended:?}");

    for index in &indexes {
        let told = pager.wait_until_told_of_image(&index.image, "firing").await;
        assert_eq!(told["labels"]["severity"], "critical", "{told}");
        assert_eq!(told["labels"]["namespace"], namespace, "{told}");
        let description = told["annotations"]["description"].as_str().unwrap();
        for said in [
            format!("Needed by deployment/{}.", index.workload),
            "Found: child_missing on linux/amd64.".into(),
            "Found: child_missing on linux/arm64.".into(),
            "First run `pullproof explain` on the image".into(),
        ] {
            assert!(description.contains(&said), "{description}");
        }
    }
    pager.wait_for_evaluations(EVALUATIONS).await;
    for index in &indexes {
        assert_eq!(pager.times_told_of_image(&index.image), (1, 0));
    }
    let images = indexes.each_ref().map(|index| &*index.image);
    assert_eq!(references(&broken(&daemon).await), images);
    let page = daemon.page("/?verdict=broken").await;
    assert!(
        images.iter().all(|image| page.contains(repository(image))),
        "{page}"
    );

    // What was not touched is well, and was never called broken in between either.
    assert!(!page.contains(repository(&ordinary)), "{page}");
    clients.crane(&["validate", "--remote", &ordinary]).await;
    wait_until_pullable(&daemon, "web").await;
    pager.assert_never_missing("web", &ordinary).await;

    for index in &indexes {
        let digest = push_index_again(&clients, &index.image, index.format).await;
        assert_eq!(digest, index.digest, "the same image again");
        wait_until_pullable(&daemon, index.workload).await;
    }
    daemon
        .wait_for_no_series("workload_image_failure", &[])
        .await;
    for index in &indexes {
        pager
            .wait_until_told_of_image(&index.image, "resolved")
            .await;
    }
    pager.wait_for_evaluations(EVALUATIONS).await;
    for index in &indexes {
        assert_eq!(pager.times_told_of_image(&index.image), (1, 1));
    }
}

#[tokio::test]
async fn a_registry_that_is_down_hides_no_missing_image_and_makes_none() {
    require_incident!();
    let root = tempfile::tempdir().unwrap();
    // Without the descriptor cache, which would lie about what the sweep took away.
    let mut registry = Registry::start(Options::new(Version::V2, root.path())).await;
    let clients = Clients::of(&registry).await;
    let host = registry.host();
    let index = Index::push(&clients, &host, "cart", Format::Oci).await;
    // Nobody listens there, and nobody ever did.
    let silent_host = format!("127.0.0.1:{}", free_port());
    let unseen = format!("{silent_host}/shop/mail:1");

    let cluster = Cluster::shared().await;
    let namespace = cluster.new_namespace().await;
    deploy(cluster, &namespace, "cart", &index.image).await;
    deploy(cluster, &namespace, "mail", &unseen).await;
    let daemon = Daemon::start(&configuration(cluster, &namespace, &[&host, &silent_host]));
    wait_until_pullable(&daemon, "cart").await;
    let is_unreachable = ["workload=\"mail\"", "reason=\"unreachable\""];
    daemon
        .wait_for_series("workload_image_unknown", &is_unreachable)
        .await;
    let pager = Pager::watch(&daemon).await;

    registry.garbage_collect(&[]).await;
    let missing = BTreeSet::from(index.missing(&namespace));
    daemon
        .wait_until("both platforms are shown as missing", async || {
            (failures(&daemon).await == missing).then_some(())
        })
        .await;
    registry.stop();
    wait_until_up_is(&daemon, &host, 0).await;

    // Each registry is told of as what it is, and the image all the same.
    for down in [&host, &silent_host] {
        pager
            .wait_until_told(UNREACHABLE, "registry", down, "firing")
            .await;
    }
    pager.wait_until_told_of_image(&index.image, "firing").await;
    pager.wait_for_evaluations(EVALUATIONS).await;
    assert_eq!(pager.times_told_of_image(&index.image), (1, 0));
    assert_eq!(failures(&daemon).await, missing);
    let broken = broken(&daemon).await;
    assert_eq!(references(&broken), [&*index.image]);
    // What is not known now is told beside what stands.
    let findings = broken[0]["findings"].as_array().unwrap();
    let codes: BTreeSet<&str> = findings
        .iter()
        .map(|finding| finding["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, BTreeSet::from(["child_missing", "unreachable"]));

    // Not known is not missing: not now, and not at any time before.
    let unknown = daemon
        .series("workload_image_unknown", &["workload=\"mail\""])
        .await;
    assert_eq!(unknown.len(), 1, "{unknown:?}");
    assert!(unknown[0].contains("reason=\"unreachable\""), "{unknown:?}");
    let pullable = daemon
        .series("workload_image_pullable", &["workload=\"mail\""])
        .await;
    assert!(pullable.is_empty(), "{pullable:?}");
    pager.assert_never_missing("mail", &unseen).await;

    // That the registry is back is no proof of the image; a push of it is.
    registry.start_again().await;
    wait_until_up_is(&daemon, &host, 1).await;
    pager
        .wait_until_told(UNREACHABLE, "registry", &host, "resolved")
        .await;
    assert_eq!(failures(&daemon).await, missing);
    assert_eq!(pager.times_told_of_image(&index.image), (1, 0));
    push_index_again(&clients, &index.image, index.format).await;
    wait_until_pullable(&daemon, "cart").await;
    pager
        .wait_until_told_of_image(&index.image, "resolved")
        .await;
    assert_eq!(pager.times_told_of_image(&index.image), (1, 1));
}

/// An index of two platforms under one tag, with children that no tag names.
struct Index {
    workload: &'static str,
    image: String,
    registry: String,
    format: Format,
    digest: String,
}

impl Index {
    async fn push(clients: &Clients, host: &str, workload: &'static str, format: Format) -> Self {
        let image = format!("{host}/shop/{workload}:1");
        Self {
            digest: push_index(clients, &image, workload, format).await,
            workload,
            image,
            registry: host.to_owned(),
            format,
        }
    }

    /// The series that tell that its children are gone.
    fn missing(&self, namespace: &str) -> [String; 2] {
        let Self {
            workload,
            image,
            registry,
            ..
        } = self;
        PLATFORMS.map(|architecture| {
            format!(
                "pullproof_workload_image_failure{{cluster=\"prod\",namespace=\"{namespace}\",\
                 workload_type=\"deployment\",workload=\"{workload}\",container=\"main\",\
                 image=\"{image}\",registry=\"{registry}\",class=\"runtime\",\
                 platform=\"linux/{architecture}\",reason=\"child_missing\",known=\"false\"}} 1.0"
            )
        })
    }
}

async fn deploy(cluster: &Cluster, namespace: &str, name: &str, image: &str) {
    cluster
        .apply_yaml(&format!(
            "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{containers: [{{name: main, image: '{image}'}}]}}
"
        ))
        .await;
}

/// One namespace only, since other tests deploy to the same cluster.
fn configuration(cluster: &Cluster, namespace: &str, hosts: &[&str]) -> String {
    let kubeconfig = cluster.admin().kubeconfig;
    let verify = json!({"interval": "2s", "blobInterval": "2s"});
    let registries: Vec<Value> = hosts
        .iter()
        .map(|host| json!({"host": host, "plainHttp": true, "verify": verify}))
        .collect();
    // JSON is YAML too.
    let clusters = json!([{"name": "prod", "kubeconfig": kubeconfig, "namespaces": [namespace]}]);
    format!(
        "inventory: {{clusters: {clusters}}}\nregistries: {}",
        json!(registries)
    )
}

async fn wait_until_pullable(daemon: &Daemon, workload: &str) {
    let texts = [&*format!("workload=\"{workload}\""), "} 1"];
    daemon
        .wait_for_series("workload_image_pullable", &texts)
        .await;
}

async fn wait_until_up_is(daemon: &Daemon, host: &str, value: u8) {
    let text = format!("{{registry=\"{host}\"}} {value}");
    daemon.wait_for_series("registry_up", &[&text]).await;
}

/// What `/api/v1/images` says is broken.
async fn broken(daemon: &Daemon) -> Vec<Value> {
    let answer = daemon.api("images?verdict=broken").await;
    let images = answer["images"].as_array().expect("a list of images");
    assert_eq!(answer["matching"], images.len(), "{answer}");
    images.clone()
}

fn references(images: &[Value]) -> Vec<&str> {
    images
        .iter()
        .filter_map(|image| image["reference"].as_str())
        .collect()
}

async fn failures(daemon: &Daemon) -> BTreeSet<String> {
    let scrape = daemon
        .wait_until("it is scraped", async || daemon.scrape().await)
        .await;
    failures_in(&scrape)
}

fn failures_in(scrape: &str) -> BTreeSet<String> {
    scrape
        .lines()
        .filter(|line| line.starts_with("pullproof_workload_image_failure{"))
        .map(ToOwned::to_owned)
        .collect()
}

async fn last_completed(daemon: &Daemon, host: &str) -> String {
    daemon
        .wait_until("a round is complete", async || {
            last_completed_in(&daemon.scrape().await?, host)
        })
        .await
}
