//! `docs/install.md`: its commands are run as they stand there, on a real API server, and its values exist.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use pullproof::config;
use serde_json::Value;

use super::chart::{helm, path, read, template};
use crate::daemon::shop::Stock;
use crate::support::cluster::Cluster;
use crate::support::parts::{self, require_cluster};
use crate::support::process::run;

/// The blocks of this language.
fn blocks(language: &str) -> Vec<String> {
    let text = read("docs/install.md");
    let open = format!("```{language}\n");
    let blocks = text.split(&open).skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

/// The chart as the release publishes it, in a registry of ours.
async fn published(stock: &Stock) -> String {
    let home = tempfile::tempdir().unwrap();
    let chart = path("deploy/helm/pullproof");
    let to = home.path().to_str().unwrap();
    helm(&["package", chart.to_str().unwrap(), "--destination", to])
        .await
        .unwrap();
    let package = home
        .path()
        .join(format!("pullproof-{}.tgz", env!("CARGO_PKG_VERSION")));
    let charts = format!("oci://{}/charts", stock.host());
    helm(&["push", package.to_str().unwrap(), &charts, "--plain-http"])
        .await
        .unwrap();
    format!("{charts}/pullproof --plain-http")
}

#[tokio::test]
async fn its_commands_do_what_they_say() {
    require_cluster!("helm", "registry-3.1", "crane", "regctl");
    let cluster = Cluster::start().await;
    let stock = Stock::new().await;
    let published = published(&stock).await;
    let home = tempfile::tempdir().unwrap();
    let mut count = 0;
    for block in blocks("sh") {
        // Each way is for a cluster that has none of the others.
        let is_new = block.contains("deploy/install.yaml")
            || block.starts_with("helm")
            || block.contains("/base");
        if count > 0 && is_new && !block.contains("overlays/collection") {
            clean(&cluster).await;
        }
        for line in block.lines() {
            let told = line.replace("oci://ghcr.io/pullproof/charts/pullproof", &published);
            let mut command = Command::new("/bin/sh");
            command
                .env_clear()
                .env("HOME", home.path())
                .env("KUBECONFIG", cluster.admin().kubeconfig)
                .env(
                    "PATH",
                    format!("{}:/usr/bin:/bin", parts::testbed().join("bin").display()),
                )
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .args(["-c", &told]);
            if line.starts_with("helm") && block.contains("overlays/collection") {
                clean(&cluster).await;
            }
            run(command)
                .await
                .unwrap_or_else(|problem| panic!("{line}\n{problem}"));
            count += 1;
        }
        if !block.starts_with("kubectl create namespace") {
            let wait = ["get", "deployment", "pullproof", "-n", "pullproof"];
            cluster.kubectl(&wait).await;
        }
    }
    assert_eq!(count, 10);
}

/// As if nothing had been installed, but for the namespaces, whose end takes long.
async fn clean(cluster: &Cluster) {
    let kinds =
        "deployment,service,configmap,serviceaccount,role,rolebinding,persistentvolumeclaim,secret";
    for namespace in ["pullproof", "registry"] {
        cluster
            .kubectl(&["delete", kinds, "--all", "--namespace", namespace])
            .await;
    }
    let by_label = [
        "delete",
        "clusterrole,clusterrolebinding",
        "-l",
        "app.kubernetes.io/name=pullproof",
    ];
    cluster.kubectl(&by_label).await;
}

#[tokio::test]
async fn its_values_and_configurations_are_taken() {
    require_cluster!("helm");
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("values.yaml");
    let yaml = blocks("yaml");
    fs::write(&file, &yaml[0]).unwrap();
    let made = template(&["--values", file.to_str().unwrap()])
        .await
        .unwrap();
    for kind in [
        "ServiceMonitor",
        "PrometheusRule",
        "PersistentVolumeClaim",
        "RoleBinding",
    ] {
        assert!(made.contains(&format!("\nkind: {kind}\n")), "{kind}");
    }
    // The snippet for Argo CD is about the fields that pullproof owns.
    let argo: Value = serde_saphyr::from_str(&yaml[1]).unwrap();
    let manager = argo["spec"]["ignoreDifferences"][0]["managedFieldsManagers"][0]
        .as_str()
        .unwrap();
    let source = read("src/app/collector/cluster.rs");
    assert!(
        source.contains(&format!("const MANAGER: &str = \"{manager}\";")),
        "{manager}"
    );
    assert_eq!(yaml.len(), 2);
}

/// Each path of a tree of values, with those above it.
fn paths(value: &Value, above: &str, to: &mut BTreeSet<String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let path = if above.is_empty() {
            key.clone()
        } else {
            format!("{above}.{key}")
        };
        paths(value, &path, to);
        to.insert(path);
    }
}

#[test]
fn the_table_has_every_value_and_no_other() {
    let values: Value = serde_saphyr::from_str(&read("deploy/helm/pullproof/values.yaml")).unwrap();
    let mut all = BTreeSet::new();
    paths(&values, "", &mut all);
    let text = read("docs/install.md");
    let (_, table) = text.split_once("\n## Values\n").unwrap();
    let mut said = BTreeSet::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let first = row.split('|').nth(1).unwrap();
        for name in first.split(',') {
            let name = name.trim().trim_matches('`');
            assert!(all.contains(name), "there is no value {name}");
            said.insert(name.split('.').next().unwrap().to_owned());
        }
    }
    let top: BTreeSet<String> = values.as_object().unwrap().keys().cloned().collect();
    assert_eq!(said, top);
    // And the keys of the configuration that it speaks of.
    let example = config::example();
    for key in [
        "mentions",
        "releases",
        "leaderElection",
        "readOnly",
        "restart",
        "inCluster",
    ] {
        assert!(text.contains(key) && example.contains(key), "{key}");
    }
}

#[test]
fn the_workflows_name_what_is_there() {
    let mut named = 0;
    for file in ["check", "release"] {
        let text = read(&format!(".github/workflows/{file}.yaml"));
        let workflow: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(workflow["name"], *file);
        for word in text.split([' ', '\n', '(', ')', '"', '\'']) {
            if word.starts_with("deploy/") || word.starts_with("tests/testbed/") {
                let word = word.trim_end_matches("/**");
                assert!(path(word).exists(), "{file}: {word}");
                named += 1;
            }
        }
        // The same as the gate's.
        let installs = read("tests/testbed/install");
        if let Some((_, version)) = text.split_once("cargo-deny@") {
            let version = version.lines().next().unwrap();
            assert!(
                installs.contains(&format!("\ncargo_deny_version={version}\n")),
                "{version}"
            );
        }
    }
    assert!(named > 8, "{named}");
}
