//! The scene of most tests: a namespace of the shared cluster, a registry, clients that push to it.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::clients::Clients;
use crate::support::cluster::Cluster;
use crate::support::daemon::{self, Daemon};
use crate::support::http;
use crate::support::images::push_image;
use crate::support::process::{Ending, Process};
use crate::support::registry::{Options, Registry, Version};

/// Leaves the test when a part of the scene is missing.
macro_rules! require_shop {
    () => {
        crate::support::parts::require_cluster!(
            "docker-registry",
            "registry-3.1",
            "crane",
            "regctl"
        );
    };
}
pub(crate) use require_shop;

/// How often everything is proven where a test waits for the next time.
pub(crate) const OFTEN: &str = "{interval: 2s, blobInterval: 2s}";
/// Never again within a test: what is seen then was seen for another reason.
pub(crate) const SELDOM: &str = "{interval: 1h, blobInterval: 1h}";

#[derive(Debug)]
pub(crate) struct Stock {
    pub(crate) registry: Registry,
    pub(crate) clients: Clients,
    _root: TempDir,
}

impl Stock {
    pub(crate) async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        Self::of(Options::new(Version::V3, root.path()), root).await
    }

    pub(crate) async fn of(options: Options, root: TempDir) -> Self {
        let registry = Registry::start(options).await;
        let clients = Clients::of(&registry).await;
        Self {
            registry,
            clients,
            _root: root,
        }
    }

    pub(crate) fn host(&self) -> String {
        self.registry.host()
    }

    /// Pushes an image whose content nobody else has; yields its reference.
    pub(crate) async fn push(&self, name: &str) -> String {
        let reference = format!("{}/{name}", self.host());
        push_image(&self.clients, &reference, name).await;
        reference
    }

    /// Takes the content of the image's first layer away.
    pub(crate) async fn break_layer(&self, reference: &str) {
        let layer = crate::cli::first_layer(&self.clients, reference).await;
        crate::cli::run::lose_blob(&self.registry, &layer);
    }

    /// Its entry under `registries`.
    pub(crate) fn entry(&self, verify: &str) -> String {
        entry(&self.host(), verify)
    }
}

pub(crate) fn entry(host: &str, verify: &str) -> String {
    format!("  - {{host: \"{host}\", plainHttp: true, verify: {verify}}}\n")
}

/// A configuration whose one source is the namespace of a cluster.
pub(crate) fn of_namespace(kubeconfig: &Path, namespace: &str, registries: &[String]) -> String {
    format!(
        "inventory: {{clusters: [{{name: prod, kubeconfig: {}, namespaces: [{namespace}]}}]}}\n\
         registries:\n{}",
        kubeconfig.display(),
        registries.concat()
    )
}

/// A configuration whose one source is a list.
pub(crate) fn of_list(file: &Path, registries: &[String]) -> String {
    format!(
        "inventory: {{references: [{{name: keep, file: {}}}]}}\nregistries:\n{}",
        file.display(),
        registries.concat()
    )
}

/// A configuration whose one source is Kubernetes YAML.
pub(crate) fn of_manifests(path: &Path, registries: &[String]) -> String {
    format!(
        "inventory: {{manifests: [{{name: gitops, path: {}}}]}}\nregistries:\n{}",
        path.display(),
        registries.concat()
    )
}

/// A list in a directory that the caller keeps.
pub(crate) fn list(home: &Path, references: &[&str]) -> PathBuf {
    let file = home.join("keep.txt");
    std::fs::write(&file, references.join("\n")).unwrap();
    file
}

/// A Deployment of one container `app`.
pub(crate) fn deployment(namespace: &str, name: &str, image: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{containers: [{{name: app, image: '{image}'}}]}}
---
"
    )
}

/// A daemon over a namespace of its own in the shared cluster.
pub(crate) async fn namespace() -> (&'static Cluster, String) {
    let cluster = Cluster::shared().await;
    (cluster, cluster.new_namespace().await)
}

/// Starts a daemon that has ended again: the same configuration, ports and state.
pub(crate) fn start_again(daemon: &Daemon) -> Process {
    assert!(daemon.process().status().is_some(), "it runs");
    let file = daemon.configuration();
    let home = file.parent().expect("a file is in a directory");
    let mut command = daemon::command(home);
    command.arg("serve").arg("--config").arg(&file);
    Process::start(command, "pullproof", home, Ending::Terminate)
}

/// What a health endpoint answers; none while nobody listens.
pub(crate) async fn health(daemon: &Daemon, endpoint: &str) -> Option<(u16, String)> {
    let url = format!("http://{}/{endpoint}", daemon.metrics_host());
    let answer = http::client().get(url).send().await.ok()?;
    Some((answer.status().as_u16(), answer.text().await.ok()?))
}

/// The series of a metric in a scrape, without its prefix, sorted.
pub(crate) async fn all_series(daemon: &Daemon, name: &str) -> Vec<String> {
    let mut series = daemon.series(&format!("{name}{{"), &[]).await;
    for line in &mut series {
        *line = line.trim_start_matches("pullproof_").to_owned();
    }
    series.sort();
    series
}

/// The value at the end of a series.
pub(crate) fn value(series: &str) -> f64 {
    let value = series.rsplit(' ').next().unwrap();
    value.parse().unwrap_or_else(|_| panic!("{series}"))
}

/// Waits until an image is proven once more than it was.
pub(crate) async fn proven_anew(daemon: &Daemon, image: &str) {
    let proven = "image_last_proof_timestamp_seconds";
    let before = value(&daemon.wait_for_series(proven, &[image]).await);
    daemon
        .wait_until("it is proven anew", async || {
            let series = daemon.series(proven, &[image]).await;
            (value(series.first()?) > before).then_some(())
        })
        .await;
}
