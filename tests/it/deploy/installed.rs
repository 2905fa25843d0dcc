//! The chart on a real API server: each object is accepted with strict fields, each pod by the strictest Pod
//! Security Standard; and with exactly the identity that it makes, pullproof proves everything and may do no more.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::chart::{Object, cases, objects, path, read, rendered, values_of};
use super::operators;
use crate::cli::run::{Ended, pullproof_in};
use crate::collection::desk::Desk;
use crate::collection::job::{COLLECTOR, DAEMON, Mounted, Watcher, kubeconfig, rights};
use crate::collection::started;
use crate::credentials::secrets::{by, deployment, secret};
use crate::credentials::with_password;
use crate::support::cluster::Cluster;
use crate::support::daemon::Daemon;
use crate::support::parts::{self, require_cluster};
use crate::support::process::run_well;
use crate::support::registry::Version;

/// With the namespaces that the values name, those of pullproof and the collector as strict as may be.
async fn cluster() -> Cluster {
    let cluster = Cluster::start().await;
    for name in ["pullproof", "registry", "shop", "crm"] {
        cluster.kubectl(&["create", "namespace", name]).await;
    }
    for name in ["pullproof", "registry"] {
        let strict = "pod-security.kubernetes.io/enforce=restricted";
        cluster.kubectl(&["label", "namespace", name, strict]).await;
    }
    cluster
}

/// What the API server would do with these. `None` where it has nothing against them.
async fn refusal(cluster: &Cluster, verb: &str, yaml: &str) -> Option<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), yaml).unwrap();
    let file = file.path().to_str().unwrap();
    let words = [verb, "--dry-run=server", "--validate=strict", "-f", file];
    cluster.kubectl_as(&cluster.admin(), &words).await.err()
}

fn joined(objects: &[Object]) -> String {
    let texts: Vec<&str> = objects.iter().map(|it| it.text.as_str()).collect();
    texts.join("---\n")
}

/// The pods that these objects lead to.
fn pods(objects: &[Object]) -> Vec<Value> {
    let mut pods = Vec::new();
    for object in objects {
        let mut of = |value: &Value, namespace: &str| {
            let at = if object.kind() == "CronJob" {
                "/spec/jobTemplate/spec/template"
            } else {
                "/spec/template"
            };
            let mut pod = value.pointer(at).unwrap().clone();
            pod["apiVersion"] = json!("v1");
            pod["kind"] = json!("Pod");
            pod["metadata"]["name"] = json!("dry");
            pod["metadata"]["namespace"] = json!(namespace);
            pods.push(pod);
        };
        match (object.kind(), object.value["data"]["job.yaml"].as_str()) {
            ("Deployment" | "CronJob", _) => of(&object.value, object.namespace()),
            ("ConfigMap", Some(job)) => {
                let job: Value = serde_saphyr::from_str(job).unwrap();
                of(&job, job["metadata"]["namespace"].as_str().unwrap());
            }
            _ => {}
        }
    }
    pods
}

/// One API server for all of these, since each start of one takes long.
#[tokio::test]
async fn the_chart_is_taken_grants_enough_and_no_more() {
    require_cluster!("helm", "registry-3.1", "crane", "regctl", "htpasswd");
    let cluster = cluster().await;
    every_object_is_taken_with_strict_fields_and_every_pod_is_restricted(&cluster).await;
    all_is_proven_and_each_choice_of_secrets_is_what_it_says(&cluster).await;
    events_may_be_created_where_they_are_wanted_and_nothing_else(&cluster).await;
    less_than_the_chart_grants_is_told_of(&cluster).await;
}

async fn every_object_is_taken_with_strict_fields_and_every_pod_is_restricted(cluster: &Cluster) {
    cluster.apply_yaml(&operators::definitions()).await;
    let wait = [
        "wait",
        "--for=condition=Established",
        "crd",
        "--all",
        "--timeout=60s",
    ];
    cluster.kubectl(&wait).await;

    let mut sets: Vec<(String, Vec<Object>)> = Vec::new();
    for case in cases() {
        let objects = rendered(&values_of(&case)).await;
        sets.push((case, objects));
    }
    for entry in fs::read_dir(path("deploy/kustomize/overlays")).unwrap() {
        let values = entry.unwrap().path().join("values.yaml");
        sets.push((values.display().to_string(), rendered(&values).await));
    }
    for directory in ["deploy", "deploy/pull-secrets"] {
        for file in fs::read_dir(path(directory)).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            // A configuration, and a Job whose name the daemon gives.
            let is_other =
                ["custom-resources.yaml", "collector-template.yaml"].contains(&name.as_str());
            if name.strip_suffix(".yaml").is_some() && !is_other {
                let name = format!("{directory}/{name}");
                sets.push((name.clone(), objects(&read(&name))));
            }
        }
    }
    let mut count = 0;
    for (name, objects) in &sets {
        assert_eq!(
            refusal(cluster, "apply", &joined(objects)).await,
            None,
            "{name}"
        );
        for pod in pods(objects) {
            count += 1;
            assert_eq!(
                refusal(cluster, "create", &pod.to_string()).await,
                None,
                "{name}: {pod:#}"
            );
        }
    }
    assert!(
        count > 2 * cases().len(),
        "each has a pod, and some have a collector's"
    );

    // Both would be refused otherwise.
    let (_, objects) = &sets[0];
    let mistaken = joined(objects).replace("publishNotReadyAddresses", "publishUnreadyAddresses");
    let refused = refusal(cluster, "apply", &mistaken).await.unwrap();
    assert!(
        refused.contains("unknown field \"spec.publishUnreadyAddresses\""),
        "{refused}"
    );
    for mut pod in pods(objects) {
        pod["spec"]["securityContext"]["runAsNonRoot"] = json!(false);
        let refused = refusal(cluster, "create", &pod.to_string()).await.unwrap();
        assert!(
            refused.contains("violates PodSecurity \"restricted:latest\""),
            "{refused}"
        );
    }
}

/// Installs the chart, or changes what is installed.
async fn install(cluster: &Cluster, values: &Value) {
    let file = tempfile::NamedTempFile::with_suffix(".json").unwrap();
    fs::write(file.path(), values.to_string()).unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(parts::path("helm"));
    command
        .env_clear()
        .env("HOME", home.path())
        .env("KUBECONFIG", cluster.admin().kubeconfig)
        .args([
            "upgrade",
            "--install",
            "pullproof",
            "--namespace",
            "pullproof",
            "--values",
        ])
        .args([file.path(), &path("deploy/helm/pullproof")]);
    run_well(command).await;
}

async fn get(cluster: &Cluster, what: &[&str]) -> Value {
    let words = [&["get"], what, &["-o", "json"]].concat();
    serde_json::from_str(&cluster.kubectl(&words).await).unwrap()
}

/// Where pullproof runs as in its pod: the chart's configuration, and a token of the chart's identity.
async fn pod(cluster: &Cluster, home: &Path) {
    kubeconfig(cluster, DAEMON, &home.join(".kube/config")).await;
    let map = get(cluster, &["configmap", "pullproof", "-n", "pullproof"]).await;
    let text = map["data"]["pullproof.yaml"].as_str().unwrap();
    let state = home.join("state").display().to_string();
    let text = text.replace("/var/lib/pullproof", &state);
    fs::write(home.join("pullproof.yaml"), text).unwrap();
}

async fn told(home: &Path, command: &str) -> Ended {
    pullproof_in(home, &[command, "-o", "json"]).await
}

/// `GROUP RESOURCE NAMES VERBS` of what it may do in a namespace, but for lists and watches.
async fn beyond_reading(cluster: &Cluster, namespace: &str) -> Vec<String> {
    let all = rights(cluster, DAEMON, namespace).await;
    all.into_iter()
        .filter(|line| !line.ends_with(" [] [] [list watch]"))
        .collect()
}

/// What is listed and watched, everywhere.
const READ: [&str; 12] = [
    "controllerrevisions.apps",
    "cronjobs.batch",
    "daemonsets.apps",
    "deployments.apps",
    "jobs.batch",
    "namespaces",
    "nodes",
    "pods",
    "podtemplates",
    "replicasets.apps",
    "replicationcontrollers",
    "statefulsets.apps",
];

/// What is said on namespaces is read with these rights.
fn silenced_in_shop_alone(inventory: &Value) {
    let images = inventory["images"].as_array().unwrap().iter();
    let users = images.flat_map(|image| image["used_by"].as_array().unwrap());
    let mut silenced = 0;
    for user in users {
        let is_there = user["namespace"] == "shop";
        silenced += usize::from(is_there);
        let expected = if is_there {
            json!("freeze")
        } else {
            Value::Null
        };
        assert_eq!(user["ignored"], expected, "{user}");
    }
    assert!(silenced > 0, "{inventory:#}");
}

async fn all_is_proven_and_each_choice_of_secrets_is_what_it_says(cluster: &Cluster) {
    let stock = with_password(Version::V3).await;
    let host = stock.host();
    let mut images = Vec::new();
    for (namespace, name) in [("shop", "regcred"), ("shop", "other"), ("crm", "regcred")] {
        secret(cluster, namespace, name, &host, "wonder").await;
        let image = stock.push(&format!("{namespace}-{name}:1")).await;
        let yaml = deployment(namespace, name, &image, &by(&[name]));
        cluster.apply_yaml(&yaml).await;
        images.push(image);
    }
    let freeze = [
        "annotate",
        "namespace",
        "shop",
        "pullproof.dev/ignore=freeze",
    ];
    cluster.kubectl(&freeze).await;
    for (secrets, expected) in [
        (json!({"access": "none"}), ["unknown", "unknown", "unknown"]),
        (
            json!({"access": "named", "named": {"shop": ["regcred"]}}),
            ["pullable", "unknown", "unknown"],
        ),
        (
            json!({"access": "namespaces", "namespaces": ["shop"]}),
            ["pullable", "pullable", "unknown"],
        ),
        (
            json!({"access": "all"}),
            ["pullable", "pullable", "pullable"],
        ),
    ] {
        let registries = json!([{"host": host, "plainHttp": true}]);
        let values = json!({"config": {"registries": registries}, "rbac": {"secrets": secrets}});
        install(cluster, &values).await;
        let home = tempfile::tempdir().unwrap();
        pod(cluster, home.path()).await;

        let inventory = told(home.path(), "inventory").await;
        assert_eq!(
            (inventory.code, &inventory.json()["complete"]),
            (0, &json!(true)),
            "{inventory:?}"
        );
        silenced_in_shop_alone(&inventory.json());
        let verify = told(home.path(), "verify").await.json();
        for (image, expected) in images.iter().zip(expected) {
            let of_image = verify["images"].as_array().unwrap().iter();
            let verdicts: Vec<&Value> = of_image
                .filter(|it| it["reference"] == **image)
                .map(|it| &it["verdict"])
                .collect();
            assert_eq!(verdicts, [expected], "{secrets}: {image}: {verify:#}");
        }

        let is_blind = secrets["access"] == "none";
        let mut read: Vec<String> = READ.map(|it| format!("{it} [] [] [list watch]")).to_vec();
        if !is_blind {
            read.push("serviceaccounts [] [] [list watch]".to_owned());
            read.sort();
        }
        let listed = rights(cluster, DAEMON, "pullproof").await;
        let listed: Vec<String> = listed
            .into_iter()
            .filter(|it| !it.starts_with("secrets "))
            .collect();
        assert_eq!(listed, read, "{secrets}");
        let any = || vec!["secrets [] [] [get]".to_owned()];
        let named = vec!["secrets [] [regcred] [get]".to_owned()];
        let (shop, crm) = match secrets["access"].as_str().unwrap() {
            "none" => (Vec::new(), Vec::new()),
            "named" => (named, Vec::new()),
            "namespaces" => (any(), Vec::new()),
            _ => (any(), any()),
        };
        assert_eq!(beyond_reading(cluster, "shop").await, shop, "{secrets}");
        assert_eq!(beyond_reading(cluster, "crm").await, crm, "{secrets}");
        assert_eq!(
            beyond_reading(cluster, "kube-system").await,
            crm,
            "{secrets}"
        );

        // The daemon watches besides.
        if is_blind || secrets["access"] == "all" {
            let kubeconfig = home.path().join(".kube/config");
            let daemon =
                Daemon::start_in_cluster(&format!("registries: {registries}"), &kubeconfig);
            daemon.wait_until_ready().await;
            let complete = daemon.wait_for_series("inventory_complete", &[]).await;
            assert!(complete.ends_with(" 1.0"), "{complete}");
        }
    }
    a_pod_was_let_in(cluster).await;
}

/// The pod of the Deployment, where only restricted ones are let in.
async fn a_pod_was_let_in(cluster: &Cluster) {
    let made = [
        "wait",
        "--for=create",
        "pod",
        "-l",
        "app.kubernetes.io/name=pullproof",
        "-n",
        "pullproof",
        "--timeout=60s",
    ];
    cluster.kubectl(&made).await;
}

#[tokio::test]
async fn a_job_of_the_chart_collects_started_by_the_daemon_and_both_may_do_no_more() {
    require_cluster!("helm", "registry-3.1", "crane", "regctl");
    let cluster = cluster().await;
    let overlay = read("deploy/kustomize/overlays/collection/values.yaml");
    let mut values: Value = serde_saphyr::from_str(&overlay).unwrap();
    for gc in ["/config/gc", "/collection/config/gc"] {
        values.pointer_mut(gc).unwrap()["mode"] = json!("quarantine");
    }
    install(&cluster, &values).await;
    assert_eq!(
        rights(&cluster, COLLECTOR, "registry").await,
        [
            "deployments.apps [] [registry] [get]",
            "leases.coordination.k8s.io [] [] [create]",
            "leases.coordination.k8s.io [] [pullproof-collector] [get update]",
            "pods [] [] [list]",
        ]
    );
    for namespace in ["pullproof", "shop", "default", "kube-system"] {
        assert_eq!(
            rights(&cluster, COLLECTOR, namespace).await,
            [""; 0],
            "{namespace}"
        );
        assert_eq!(
            beyond_reading(&cluster, namespace).await,
            [""; 0],
            "{namespace}"
        );
    }

    let desk = Desk::start(Version::V3).await;
    let image = desk.at("app:v1");
    cluster
        .apply_yaml(&crate::daemon::shop::deployment("shop", "web", &image))
        .await;
    let registry =
        crate::daemon::shop::deployment("registry", "registry", "registry.example/registry:3");
    cluster.apply_yaml(&registry).await;
    let map = get(
        &cluster,
        &["configmap", "pullproof-collector-job", "-n", "pullproof"],
    )
    .await;
    let template = map["data"]["job.yaml"].as_str().unwrap();
    let host = desk.registry.host();
    let watcher = Watcher::start_from(&cluster, &host, started::gc(), template).await;
    let mounted = Mounted::of(&cluster, &watcher, &desk).await;
    let view = started::run(&cluster, &watcher, &mounted, "collect").await;
    assert_eq!(view["result"], "quarantined", "{view:#}");
    assert!(!desk.held().is_empty());
}

async fn events_may_be_created_where_they_are_wanted_and_nothing_else(cluster: &Cluster) {
    for (write, expected) in [
        (true, &["events.events.k8s.io [] [] [create]"][..]),
        (false, &[]),
    ] {
        let values = json!({"config": {"kubernetesEvents": {"write": write}}});
        install(cluster, &values).await;
        for namespace in ["shop", "kube-system"] {
            assert_eq!(beyond_reading(cluster, namespace).await, expected);
        }
    }
}

async fn less_than_the_chart_grants_is_told_of(cluster: &Cluster) {
    install(cluster, &json!({})).await;
    let mut role = get(cluster, &["clusterrole", "pullproof"]).await;
    role["metadata"] = json!({"name": "pullproof"});
    let rules = role["rules"].as_array().unwrap();
    for (at, rule) in rules.iter().enumerate() {
        let mut less = role.clone();
        less["rules"].as_array_mut().unwrap().remove(at);
        cluster.apply_yaml(&less.to_string()).await;
        let home = tempfile::tempdir().unwrap();
        pod(cluster, home.path()).await;
        let inventory = told(home.path(), "inventory").await;
        assert_eq!(
            (inventory.code, &inventory.json()["complete"]),
            (3, &json!(false)),
            "{rule}: {inventory:?}"
        );
    }
}
