//! `kubectl pullproof`: the same binary under the name by which kubectl finds a plugin.

use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use serde_json::Value;

use crate::daemon::shop::{Stock, deployment};
use crate::support::cluster::Cluster;
use crate::support::daemon;
use crate::support::parts::{self, require_cluster};

/// A machine with kubectl and the plugin, and nothing else on its path.
struct Desk {
    home: tempfile::TempDir,
}

impl Desk {
    fn new(cluster: &Cluster) -> Self {
        let home = tempfile::tempdir().unwrap();
        let own = home.path().join("bin");
        std::fs::create_dir(&own).unwrap();
        symlink(daemon::binary(), own.join("kubectl-pullproof")).unwrap();
        symlink(parts::path("kubectl"), own.join("kubectl")).unwrap();
        std::fs::copy(cluster.admin().kubeconfig, home.path().join("kubeconfig")).unwrap();
        Self { home }
    }

    async fn kubectl(&self, words: &[&str]) -> Output {
        let mut command = Command::new(self.home.path().join("bin/kubectl"));
        command
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", self.home.path().join("bin"))
            .env("KUBECONFIG", self.home.path().join("kubeconfig"))
            .env("NO_COLOR", "1")
            .current_dir(self.home.path())
            .args(words);
        tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn kubectl_finds_it_and_its_words_mean_what_kubectls_do() {
    require_cluster!("registry-3.1", "crane", "regctl");
    let cluster = Cluster::shared().await;
    let stock = Stock::new().await;
    let (one, other) = (cluster.new_namespace().await, cluster.new_namespace().await);
    let image = stock.push("app:1").await;
    let yaml = [&one, &other].map(|namespace| deployment(namespace, "web", &image));
    cluster.apply_yaml(&yaml.concat()).await;
    let desk = Desk::new(cluster);
    let listed = desk.kubectl(&["plugin", "list"]).await;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("kubectl-pullproof"), "{listed}");

    let namespaces = async |words: &[&str]| {
        let mut all = vec!["pullproof", "inventory", "-o", "json"];
        all.extend(words);
        let told = desk.kubectl(&all).await;
        let view: Value = serde_json::from_slice(&told.stdout)
            .unwrap_or_else(|_| panic!("{words:?}: {}", String::from_utf8_lossy(&told.stderr)));
        let images = view["images"].as_array().unwrap().iter();
        let users = images.flat_map(|image| image["used_by"].as_array().unwrap());
        let mut namespaces: Vec<String> = users
            .map(|user| user["namespace"].as_str().unwrap().to_owned())
            .filter(|namespace| [&one, &other].contains(&namespace))
            .collect();
        namespaces.sort();
        namespaces.dedup();
        namespaces
    };
    let mut both = vec![one.clone(), other.clone()];
    both.sort();
    assert_eq!(namespaces(&["-n", &one]).await, [one.as_str()]);
    assert_eq!(namespaces(&["-A"]).await, both);
    assert_eq!(namespaces(&["-n", &one, "--namespace", &other]).await, both);
    let file = desk.home.path().join("kubeconfig");
    let file = file.to_str().unwrap();
    assert_eq!(
        namespaces(&["--kubeconfig", file, "-n", &other]).await,
        [other.as_str()]
    );

    let verified = desk
        .kubectl(&[
            "pullproof",
            "verify",
            "-n",
            &one,
            "--plain-http",
            &stock.host(),
        ])
        .await;
    let printed = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    assert!(
        printed.contains(&image) && printed.contains("1 pullable"),
        "{printed}"
    );

    // It speaks of itself as it was called.
    let help = desk.kubectl(&["pullproof", "verify", "--help"]).await;
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(help.contains("Usage: kubectl pullproof verify"), "{help}");
    let wrong = desk
        .kubectl(&["pullproof", "verify", "-A", "-n", "a"])
        .await;
    assert_eq!(wrong.status.code(), Some(64), "{wrong:?}");
}
