//! Jobs and CronJobs that may collect the same storage, on a real API server. There is no kubelet: the test tells
//! how a pod ended.

use std::time::Duration;

use axum::http::Method;
use futures::FutureExt as _;
use serde_json::{Value, json};

use super::desk::{Answered, Desk};
use super::job::{rights, shipped};
use super::meanwhile::Meanwhile;
use crate::support::cluster::{Cluster, Identity};
use crate::support::parts::require_cluster;
use crate::support::registry::Version;
use crate::support::wait::wait_until;

const BOUND: Duration = Duration::from_mins(2);

/// Who may look at what runs in a namespace, by the shipped Role.
pub(super) async fn looker(cluster: &Cluster, namespace: &str) -> Identity {
    let identity = cluster.new_identity();
    let shipped = shipped("collector-rbac.yaml");
    let namespaced = format!("namespace: {namespace}");
    cluster
        .apply_yaml(&shipped.replace("namespace: registry", &namespaced))
        .await;
    let user = format!("--user={}", identity.user);
    let role = "--role=pullproof-collector-look";
    cluster
        .kubectl(&[
            "create",
            "rolebinding",
            &identity.user,
            role,
            &user,
            "-n",
            namespace,
        ])
        .await;
    identity
}

fn configure(desk: &Desk, namespace: &str, more: &Value) {
    let mut rule = json!({"namespace": namespace});
    for (key, value) in more.as_object().unwrap() {
        rule[key] = value.clone();
    }
    let conflicts = json!({"workloads": [rule]});
    desk.change(|it| it["gc"]["conflicts"] = conflicts);
}

fn refused(ran: &Answered, why: &[&str]) {
    assert_eq!((ran.code, ran.result()), (Some(3), "refused"), "{ran:?}");
    let mut codes = ran.codes();
    codes.dedup();
    assert_eq!(codes, ["storage_unsupported"], "{ran:?}");
    let refusals = ran.view["refusals"].as_array().unwrap();
    assert_eq!(refusals.len(), why.len(), "{ran:?}");
    for (refusal, why) in refusals.iter().zip(why) {
        let message = refusal["message"].as_str().unwrap();
        assert!(message.contains(why), "{why}: {ran:?}");
    }
}

fn cron_job(namespace: &str) -> String {
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": {"name": "registry-gc", "namespace": namespace, "labels": {"app": "gc"}},
        "spec": {"schedule": "0 0 29 2 *", "jobTemplate": {"spec": {"template": {"spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "gc", "image": "registry.example/registry:3"}],
        }}}}},
    })
    .to_string()
}

async fn suspend(cluster: &Cluster, namespace: &str, is_suspended: bool) {
    let patch = json!({"spec": {"suspend": is_suspended}}).to_string();
    cluster
        .kubectl(&[
            "patch",
            "cronjob",
            "registry-gc",
            "-n",
            namespace,
            "-p",
            &patch,
        ])
        .await;
}

/// As the CronJob's controller makes it.
async fn start(cluster: &Cluster, namespace: &str, name: &str) {
    cluster
        .kubectl(&[
            "create",
            "job",
            name,
            "--from=cronjob/registry-gc",
            "-n",
            namespace,
        ])
        .await;
}

/// Tells that the pod of a Job ended, and waits until its Job says so.
async fn end(cluster: &Cluster, namespace: &str, job: &str) {
    let label = format!("batch.kubernetes.io/job-name={job}");
    let pod = wait_until("the Job has a pod", BOUND, async || {
        let words = ["get", "pods", "-n", namespace, "-l", &label, "-o", "name"];
        let name = cluster.kubectl(&words).await;
        (!name.trim().is_empty()).then(|| name.trim().to_owned())
    })
    .await;
    let patch = json!({"status": {"phase": "Succeeded"}}).to_string();
    let words = [
        "patch",
        &pod,
        "-n",
        namespace,
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch,
    ];
    cluster.kubectl(&words).await;
    let status = "jsonpath={.status.conditions[?(@.type=='Complete')].status}";
    wait_until("the Job is complete", BOUND, async || {
        let words = ["get", "job", job, "-n", namespace, "-o", status];
        (cluster.kubectl(&words).await == "True").then_some(())
    })
    .await;
}

#[tokio::test]
async fn while_another_collector_may_be_at_work_nothing_is_taken() {
    require_cluster!("registry-3.1");
    let cluster = Cluster::shared().await;
    let namespace = cluster.new_namespace().await;
    let desk = Desk::start(Version::V3).await;
    let before = desk.content();
    configure(&desk, &namespace, &json!({"name": "registry-gc"}));
    // Nobody to ask, and then nobody who may be told.
    refused(
        &desk.gc(&["run"]).await,
        &["cannot be told (`gc.conflicts`)"],
    );
    desk.use_cluster(&cluster.new_identity().kubeconfig);
    refused(&desk.gc(&["run"]).await, &["cronjobs.batch is forbidden"]);
    let identity = looker(cluster, &namespace).await;
    desk.use_cluster(&identity.kubeconfig);
    assert_eq!(
        rights(cluster, &identity.user, &namespace).await,
        [
            "cronjobs.batch [] [] [list]",
            "endpointslices.discovery.k8s.io [] [] [list]",
            "jobs.batch [] [] [list]",
            "pods [] [] [list]",
        ]
    );

    cluster.apply_yaml(&cron_job(&namespace)).await;
    refused(
        &desk.gc(&["run"]).await,
        &["kubectl patch cronjob registry-gc -n"],
    );
    // One by its labels, and one by both.
    for (rule, is_it) in [
        (json!({"selector": "app in (gc)"}), true),
        (json!({"selector": "app=gc", "name": "registry-*"}), true),
        (json!({"selector": "app=web"}), false),
        (json!({"selector": "app=gc", "name": "web-*"}), false),
        (json!({"name": "gc"}), false),
    ] {
        configure(&desk, &namespace, &rule);
        desk.change(|it| it["gc"]["windows"] = json!([]));
        let ran = desk.gc(&["run"]).await;
        let all = if is_it {
            vec!["window_closed", "storage_unsupported"]
        } else {
            vec!["window_closed"]
        };
        assert_eq!(ran.codes(), all, "{rule}: {ran:?}");
    }
    desk.configure("quarantine", "");
    configure(&desk, &namespace, &json!({"name": "registry-gc"}));
    // It is suspended, and what it started goes on: by another name, and by its owner.
    suspend(cluster, &namespace, true).await;
    start(cluster, &namespace, "by-hand").await;
    let label = "batch.kubernetes.io/job-name=by-hand";
    wait_until("the Job has a pod", BOUND, async || {
        let words = ["get", "pods", "-n", &namespace, "-l", label, "-o", "name"];
        (!cluster.kubectl(&words).await.trim().is_empty()).then_some(())
    })
    .await;
    refused(
        &desk.gc(&["run"]).await,
        &[
            "/by-hand may be collecting",
            "of the Job by-hand has not ended",
        ],
    );
    assert!(desk.content() == before && desk.held().is_empty());
    end(cluster, &namespace, "by-hand").await;
    let ran = desk.gc(&["run"]).await;
    assert_eq!(
        (ran.code, ran.result()),
        (Some(0), "quarantined"),
        "{ran:?}"
    );

    // What goes back waits for nobody.
    suspend(cluster, &namespace, false).await;
    let back = desk.gc(&["restore", "--all"]).await;
    assert_eq!(
        (back.code, back.result()),
        (Some(0), "restored"),
        "{back:?}"
    );
    assert!(desk.content() == before);
}

/// The registry is asked for what is kept after the gate has looked, and before the first batch.
#[tokio::test]
async fn one_that_begins_during_a_run_stops_it_before_the_next_batch() {
    require_cluster!("registry-3.1");
    let cluster = Cluster::shared().await;
    let namespace = cluster.new_namespace().await;
    let desk = Desk::start(Version::V3).await;
    let before = desk.content();
    configure(&desk, &namespace, &json!({"name": "registry-gc*"}));
    desk.use_cluster(&looker(cluster, &namespace).await.kubeconfig);
    cluster.apply_yaml(&cron_job(&namespace)).await;
    suspend(cluster, &namespace, true).await;
    let act = {
        let namespace = namespace.clone();
        move || async move { start(cluster, &namespace, "registry-gc-1").await }.boxed()
    };
    let meanwhile = Meanwhile::start(&desk.registry.url(), Method::GET, "/v2/app/", Box::new(act));
    let endpoint = format!("http://{}", meanwhile.server.host());
    desk.change(|config| config["registries"][0]["endpoint"] = endpoint.clone().into());
    let ran = desk.gc(&["run"]).await;
    assert!(meanwhile.was_asked());
    assert_eq!((ran.code, ran.result()), (Some(3), "refused"), "{ran:?}");
    assert!(
        ran.view["refusals"]
            .to_string()
            .contains("/registry-gc-1 may be collecting"),
        "{ran:?}"
    );
    assert!(desk.content() == before && desk.held().is_empty());
}
