//! Pull secrets of workloads, on a real API server: which are tried, and whose verdict it is.

use std::time::Duration;

use serde_json::{Value, json};

use crate::daemon::faults::reader;
use crate::daemon::shop::{OFTEN, Stock, all_series, entry, namespace, of_namespace, require_shop};
use crate::support::cluster::Cluster;
use crate::support::daemon::Daemon;
use crate::support::parts::require;
use crate::support::registry::Version;

use super::scripted::{Door, Scripted};
use super::with_password;

/// Secrets are read once a minute.
const ROTATION_BOUND: Duration = Duration::from_mins(4);

pub(crate) async fn secret(cluster: &Cluster, namespace: &str, name: &str, host: &str, word: &str) {
    secret_of(cluster, namespace, name, host, ("alice", word)).await;
}

async fn secret_of(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    host: &str,
    (user, word): (&str, &str),
) {
    let flags = [
        format!("--docker-server={host}"),
        format!("--docker-username={user}"),
        format!("--docker-password={word}"),
    ];
    let mut arguments = vec!["-n", namespace, "create", "secret", "docker-registry", name];
    arguments.extend(flags.iter().map(String::as_str));
    cluster.kubectl(&arguments).await;
}

/// A Deployment that pulls with this: `imagePullSecrets: […]`, `serviceAccountName: …`, or nothing.
pub(crate) fn deployment(namespace: &str, name: &str, image: &str, with: &str) -> String {
    let comma = if with.is_empty() { "" } else { ", " };
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  replicas: 0
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{containers: [{{name: app, image: '{image}'}}]{comma}{with}}}
---
"
    )
}

pub(crate) fn by(names: &[&str]) -> String {
    let names: Vec<String> = names
        .iter()
        .map(|name| format!("{{name: {name}}}"))
        .collect();
    format!("imagePullSecrets: [{}]", names.join(", "))
}

/// A daemon that looks at these namespaces, once it has looked at everything.
async fn daemon_over(cluster: &Cluster, namespaces: &[&str], stock: &Stock) -> Daemon {
    let names = namespaces.join(", ");
    let configuration = of_namespace(&cluster.admin().kubeconfig, &names, &[stock.entry(OFTEN)]);
    let daemon = Daemon::start(&configuration);
    daemon.wait_until_ready().await;
    daemon
}

#[tokio::test]
async fn every_secret_that_fits_is_tried_the_pods_own_or_its_accounts() {
    require_shop!();
    require!("htpasswd");
    let stock = with_password(Version::V3).await;
    let (host, image) = (stock.host(), format!("{}/app:1", stock.host()));
    let (cluster, namespace) = namespace().await;
    for (name, word) in [("right", "wonder"), ("wrong", "guess")] {
        secret(cluster, &namespace, name, &host, word).await;
    }
    // It fits another registry, and so is never sent to this one.
    secret(cluster, &namespace, "other", "registry.example", "wonder").await;
    let workloads = [
        ("own", by(&["right"]), true),
        ("second", by(&["wrong", "right"]), true),
        ("first", by(&["right", "wrong"]), true),
        ("gone", by(&["nowhere", "right"]), true),
        ("account", "serviceAccountName: puller".to_owned(), true),
        ("none", String::new(), false),
        ("wrong", by(&["wrong"]), false),
        ("other", by(&["other"]), false),
        // Its own secrets are all that a pod has, whatever its account has.
        (
            "both",
            format!("serviceAccountName: puller, {}", by(&["wrong"])),
            false,
        ),
    ];
    let account = format!(
        "apiVersion: v1
kind: ServiceAccount
metadata: {{name: puller, namespace: {namespace}}}
imagePullSecrets: [{{name: right}}]
---
"
    );
    let yaml: String = workloads
        .iter()
        .map(|(name, with, _)| deployment(&namespace, name, &image, with))
        .fold(account, |all, one| all + &one);
    cluster.apply_yaml(&yaml).await;
    let daemon = daemon_over(cluster, &[&namespace], &stock).await;
    for (name, _, is_pullable) in &workloads {
        let workload = format!("workload=\"{name}\"");
        if *is_pullable {
            daemon
                .wait_for_series("workload_image_pullable", &[&workload, " 1"])
                .await;
        } else {
            daemon
                .wait_for_series("workload_image_unknown", &[&workload, "unauthorized"])
                .await;
        }
    }
    // One verdict each, and none of them broken.
    let all = [
        all_series(&daemon, "workload_image_pullable").await,
        all_series(&daemon, "workload_image_unknown").await,
    ];
    assert_eq!(all.concat().len(), workloads.len(), "{all:#?}");
    assert!(
        all_series(&daemon, "workload_image_failure")
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn a_malformed_secret_ends_the_pull_whatever_stands_beside_it() {
    require_shop!();
    require!("htpasswd");
    let (guarded, open) = (with_password(Version::V3).await, Stock::new().await);
    let public = open.push("app:1").await;
    let image = format!("{}/app:1", guarded.host());
    let (cluster, namespace) = namespace().await;
    secret(cluster, &namespace, "right", &guarded.host(), "wonder").await;
    // An API server takes any JSON: `no colon` in base64 where a name and a password belong.
    let content = r#"{"auths":{"registry.example":{"auth":"bm8gY29sb24="}}}"#;
    let mut yaml = String::new();
    for (name, kind) in [
        ("malformed", "kubernetes.io/dockerconfigjson"),
        // The kubelet passes over it.
        ("opaque", "Opaque"),
    ] {
        yaml.push_str(&format!(
            "apiVersion: v1
kind: Secret
metadata: {{name: {name}, namespace: {namespace}}}
type: {kind}
stringData: {{.dockerconfigjson: '{content}'}}
---
"
        ));
    }
    let pulled = [
        ("alone", &image, by(&["right"])),
        ("opaque", &image, by(&["opaque", "right"])),
    ];
    let not_pulled = [
        ("first", &image, by(&["malformed", "right"])),
        ("last", &image, by(&["right", "malformed"])),
        ("public", &public, by(&["malformed"])),
    ];
    for (name, image, with) in pulled.iter().chain(&not_pulled) {
        yaml.push_str(&deployment(&namespace, name, image, with));
    }
    cluster.apply_yaml(&yaml).await;
    let registries = [guarded.entry(OFTEN), open.entry(OFTEN)];
    let kubeconfig = cluster.admin().kubeconfig;
    let daemon = Daemon::start(&of_namespace(&kubeconfig, &namespace, &registries));
    daemon.wait_until_ready().await;
    for (name, ..) in &pulled {
        let workload = format!("workload=\"{name}\"");
        daemon
            .wait_for_series("workload_image_pullable", &[&workload, " 1"])
            .await;
    }
    for (name, ..) in &not_pulled {
        let workload = format!("workload=\"{name}\"");
        let told = [workload.as_str(), "credential_unavailable"];
        daemon
            .wait_for_series("workload_image_unknown", &told)
            .await;
    }
    let pullable = all_series(&daemon, "workload_image_pullable").await;
    assert_eq!(pullable.len(), pulled.len(), "{pullable:#?}");
    assert!(
        all_series(&daemon, "workload_image_failure")
            .await
            .is_empty()
    );
    let view = daemon.api("images").await.to_string();
    assert!(view.contains(&format!("{namespace}/malformed")), "{view}");
    assert!(!view.contains("no colon"), "{view}");
}

#[tokio::test]
async fn a_verdict_is_that_of_the_namespace_whose_secret_it_is() {
    require_shop!();
    require!("htpasswd");
    let stock = with_password(Version::V2).await;
    let (host, image) = (stock.host(), format!("{}/app:1", stock.host()));
    let (cluster, may) = namespace().await;
    let may_not = cluster.new_namespace().await;
    let mut yaml = String::new();
    for (namespace, word) in [(&may, "wonder"), (&may_not, "guess")] {
        secret(cluster, namespace, "pull", &host, word).await;
        yaml.push_str(&deployment(namespace, "web", &image, &by(&["pull"])));
    }
    cluster.apply_yaml(&yaml).await;
    let daemon = daemon_over(cluster, &[&may, &may_not], &stock).await;
    let own = format!("namespace=\"{may}\"");
    daemon
        .wait_for_series("workload_image_pullable", &[&own, " 1"])
        .await;
    let other = format!("namespace=\"{may_not}\"");
    daemon
        .wait_for_series("workload_image_unknown", &[&other, "unauthorized"])
        .await;
    assert_eq!(
        all_series(&daemon, "workload_image_pullable").await.len(),
        1
    );
    assert_eq!(all_series(&daemon, "workload_image_unknown").await.len(), 1);

    let view = daemon.api("images").await;
    let mut entries: Vec<Value> = view["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| json!([entry["namespaces"], entry["credential"], entry["verdict"]]))
        .collect();
    entries.sort_by_key(ToString::to_string);
    let mut expected = [
        json!([[may], format!("{may}/pull"), "pullable"]),
        json!([[may_not], format!("{may_not}/pull"), "unknown"]),
    ];
    expected.sort_by_key(ToString::to_string);
    assert_eq!(entries, expected);
    // A reference counts once, by its worst entry.
    let summary = json!({"images": 1, "pullable": 0, "broken": 0, "unknown": 1});
    assert_eq!(view["summary"], summary);
    // What is in a secret is in nothing that is served.
    for text in [
        daemon.scrape().await.unwrap(),
        view.to_string(),
        daemon.page("/").await,
    ] {
        assert!(
            !text.contains("wonder") && !text.contains("guess"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn no_namespaces_credential_is_sent_for_another() {
    require_shop!();
    for door in [Door::Basic, Door::Token] {
        let registry = Scripted::new(door);
        for (who, repositories) in [("ann:a", ["ann/", "shared/"]), ("ben:b", ["ben/", "ben/"])] {
            for repository in repositories {
                registry.allow(who, repository);
            }
        }
        let host = registry.host();
        let (cluster, anns) = namespace().await;
        let bens = cluster.new_namespace().await;
        let mut yaml = String::new();
        for (namespace, user, word) in [(&anns, "ann", "a"), (&bens, "ben", "b")] {
            secret_of(cluster, namespace, "pull", &host, (user, word)).await;
            for repository in [user, "shared"] {
                let image = format!("{host}/{repository}/app:1");
                yaml.push_str(&deployment(namespace, repository, &image, &by(&["pull"])));
            }
        }
        cluster.apply_yaml(&yaml).await;
        let namespaces = format!("{anns}, {bens}");
        let kubeconfig = cluster.admin().kubeconfig;
        let registries = [entry(&host, OFTEN)];
        let daemon = Daemon::start(&of_namespace(&kubeconfig, &namespaces, &registries));
        daemon.wait_until_ready().await;
        // One image, two verdicts.
        for (namespace, workload) in [(&anns, "ann"), (&anns, "shared"), (&bens, "ben")] {
            let of = [
                format!("namespace=\"{namespace}\""),
                format!("workload=\"{workload}\""),
            ];
            daemon
                .wait_for_series("workload_image_pullable", &[&of[0], &of[1], " 1"])
                .await;
        }
        let of = [
            format!("namespace=\"{bens}\""),
            "workload=\"shared\"".to_owned(),
        ];
        let (series, reason) = match door {
            Door::Basic => ("workload_image_unknown", "unauthorized"),
            // This registry tells ben that it is not there, as it would tell his node.
            Door::Token => ("workload_image_failure", "tag_missing"),
        };
        daemon
            .wait_for_series(series, &[&of[0], &of[1], reason])
            .await;

        let as_sent = |who: &str| match door {
            Door::Basic => who.to_owned(),
            Door::Token => format!("token of {who}"),
        };
        let (ann, ben, nobody) = (as_sent("ann:a"), as_sent("ben:b"), String::new());
        let asked = |path: &str| registry.who_asked(path);
        // Before the registry asked who it is, nobody said so.
        for (path, users) in [
            ("/v2/ann/", vec![&ann]),
            ("/v2/ben/", vec![&ben]),
            ("/v2/shared/", vec![&ann, &ben]),
        ] {
            let mut asked = asked(path);
            asked.retain(|who| *who != nobody);
            assert_eq!(asked.iter().collect::<Vec<_>>(), users, "{door:?} {path}");
        }
    }
}

#[tokio::test]
async fn a_secret_that_rotates_is_used_without_a_restart() {
    require_shop!();
    let registry = Scripted::new(Door::Basic);
    registry.allow("alice:one", "");
    let (host, image) = (registry.host(), format!("{}/app:1", registry.host()));
    let (cluster, namespace) = namespace().await;
    secret(cluster, &namespace, "pull", &host, "one").await;
    let yaml = deployment(&namespace, "web", &image, &by(&["pull"]));
    cluster.apply_yaml(&yaml).await;
    let registries = [entry(&host, OFTEN)];
    let daemon = Daemon::start(&of_namespace(
        &cluster.admin().kubeconfig,
        &namespace,
        &registries,
    ));
    daemon
        .wait_for_series("workload_image_pullable", &[" 1"])
        .await;
    registry.allow_nobody();
    registry.allow("alice:two", "");
    daemon
        .wait_for_series("workload_image_unknown", &["unauthorized"])
        .await;
    cluster
        .kubectl(&["-n", &namespace, "delete", "secret", "pull"])
        .await;
    secret(cluster, &namespace, "pull", &host, "two").await;
    daemon
        .process()
        .wait_until("the new secret is used", ROTATION_BOUND, async || {
            let series = daemon.series("workload_image_pullable", &[" 1"]).await;
            (!series.is_empty()).then_some(())
        })
        .await;
    assert!(
        registry
            .who_asked("/v2/app/")
            .contains(&"alice:two".to_owned())
    );
    assert!(
        all_series(&daemon, "workload_image_unknown")
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn a_secret_that_may_not_be_read_is_no_failure() {
    require_shop!();
    require!("htpasswd");
    let (guarded, open) = (with_password(Version::V3).await, Stock::new().await);
    let public = open.push("app:1").await;
    let (cluster, namespace) = namespace().await;
    let identity = cluster.new_identity();
    cluster
        .apply_yaml(&reader(&namespace, &identity.user))
        .await;
    for stock in [&guarded, &open] {
        let name = if stock.host() == open.host() {
            "open"
        } else {
            "guarded"
        };
        secret(cluster, &namespace, name, &stock.host(), "wonder").await;
    }
    let there = format!("{}/app:1", guarded.host());
    let missing = format!("{}/app:2", guarded.host());
    let yaml = [
        deployment(&namespace, "there", &there, &by(&["guarded"])),
        deployment(&namespace, "missing", &missing, &by(&["guarded"])),
        // Its account's secrets are not known either.
        deployment(&namespace, "account", &there, ""),
        deployment(&namespace, "public", &public, &by(&["open"])),
    ];
    cluster.apply_yaml(&yaml.concat()).await;
    let registries = [guarded.entry(OFTEN), open.entry(OFTEN)];
    let daemon = Daemon::start(&of_namespace(&identity.kubeconfig, &namespace, &registries));
    daemon.wait_until_ready().await;
    for name in ["there", "missing", "account"] {
        let workload = format!("workload=\"{name}\"");
        let told = [workload.as_str(), "credential_unavailable"];
        daemon
            .wait_for_series("workload_image_unknown", &told)
            .await;
    }
    // What anybody may pull, it may pull.
    daemon
        .wait_for_series("workload_image_pullable", &["workload=\"public\"", " 1"])
        .await;
    assert_eq!(
        all_series(&daemon, "workload_image_pullable").await.len(),
        1
    );
    assert_eq!(all_series(&daemon, "workload_image_unknown").await.len(), 3);
    assert!(
        all_series(&daemon, "workload_image_failure")
            .await
            .is_empty()
    );
    // All workloads were read: the source is complete.
    daemon
        .wait_for_series("inventory_complete", &["source=\"prod\"", " 1"])
        .await;
    let view = daemon.api("images?q=app:2").await;
    let message = view["images"][0]["findings"][0]["message"]
        .as_str()
        .unwrap();
    assert!(
        message.contains(&format!("{namespace}/guarded")),
        "{message}"
    );
    assert!(message.contains("forbidden"), "{message}");
}
