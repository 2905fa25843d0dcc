//! A registry that pullproof makes read-only for its collection: a real API server, a real registry, and a
//! kubelet that the test plays.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::desk::{Answered, Desk};
use super::kubelet::{BOUND, Node, VARIABLE};
use crate::support::cluster::Cluster;
use crate::support::daemon;
use crate::support::http::client;
use crate::support::parts::require_cluster;
use crate::support::process::{Ending, Process};
use crate::support::registry::Version;
use crate::support::wait::wait_until;

const OTHER: &str = r#"[{"name": "REGISTRY_LOG_LEVEL", "value": "info"}]"#;

fn configure(desk: &Desk, node: &Node, more: &str) {
    let managed = format!(
        r#""readOnly": {{"mode": "managed", "deployment": {{"namespace": "{}", "name": "registry"}}}}{more}"#,
        node.namespace
    );
    desk.configure("quarantine", &managed);
    desk.change(|it| it["registries"][0]["replicaEndpoints"] = json!([node.url()]));
}

async fn scene(version: Version, environment: &str) -> (&'static Cluster, Desk, Node) {
    let cluster = Cluster::shared().await;
    let desk = Desk::start(version).await;
    let environment = serde_json::from_str(environment).unwrap();
    let node = Node::start(cluster, &desk, version, environment).await;
    desk.use_cluster(&node.collector(cluster).await.kubeconfig);
    configure(&desk, &node, "");
    (cluster, desk, node)
}

fn note(desk: &Desk) -> bool {
    desk.root().join("pullproof/read-only.json").exists()
}

fn why(ran: &Answered) -> String {
    assert_eq!((ran.code, ran.result()), (Some(3), "refused"), "{ran:?}");
    assert_eq!(ran.codes(), ["registry_writable"], "{ran:?}");
    ran.view["refusals"][0]["message"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Nothing of ours is left in it, and pushes begin.
async fn is_writable_again(cluster: &Cluster, desk: &Desk, node: &Node) {
    let environment: Value = serde_json::from_str(OTHER).unwrap();
    let deployment = node.deployment(cluster).await;
    assert_eq!(node.environment(cluster).await, environment);
    let managers = deployment["metadata"]["managedFields"].to_string();
    assert!(!managers.contains("\"pullproof\""), "{managers}");
    assert!(!note(desk));
    node.until_available(cluster).await;
    let url = format!("{}/v2/app/blobs/uploads/", node.url());
    let asked = client().request(reqwest::Method::OPTIONS, url);
    let answer = asked.send().await.unwrap();
    let allowed = answer.headers()["allow"].to_str().unwrap();
    assert!(allowed.contains("POST"), "{allowed}");
}

#[tokio::test]
async fn it_is_read_only_while_something_is_taken_and_writable_again_after() {
    require_cluster!("docker-registry", "registry-3.1");
    for version in Version::ALL {
        let (cluster, desk, node) = scene(version, OTHER).await;
        let ran = desk.gc(&["run"]).await;
        assert_eq!(
            (ran.code, ran.result()),
            (Some(0), "quarantined"),
            "{ran:?}"
        );
        is_writable_again(cluster, &desk, &node).await;
        let generation = node.deployment(cluster).await["metadata"]["generation"].clone();
        assert_eq!(generation, 3, "once on, once off");
        // Nothing to take is no reason to keep anybody from pushing.
        assert_eq!(desk.gc(&["run"]).await.result(), "planned");
        let generation = node.deployment(cluster).await["metadata"]["generation"].clone();
        assert_eq!(generation, 3);
    }
}

#[tokio::test]
async fn one_that_died_in_between_is_switched_back_by_the_next_start() {
    require_cluster!("registry-3.1");
    let (cluster, desk, node) = scene(Version::V3, OTHER).await;
    let before = desk.content();
    node.holds.store(true, Ordering::Relaxed);
    let mut command = daemon::command(desk.home());
    command.args(["gc", "run"]);
    let dies = Process::start(command, "collector", desk.home(), Ending::Kill);
    dies.wait_until("it is switched", BOUND, async || {
        let environment = node.environment(cluster).await.to_string();
        environment.contains(VARIABLE).then_some(())
    })
    .await;
    assert!(note(&desk), "it was noted before");
    // Somebody else, who gets no lock, does not know how it will be left.
    let (ran, words) = desk.gc_with_last_words(&["run"]).await;
    assert_eq!(ran.codes(), ["not_leader"], "{ran:?}");
    assert!(!words.knows_read_only, "{words:?}");
    configure(&desk, &node, r#", "windows": []"#);
    let (ran, words) = desk.gc_with_last_words(&["run"]).await;
    assert_eq!(ran.codes(), ["window_closed"], "{ran:?}");
    assert!(!words.knows_read_only, "{words:?}");
    dies.stop();
    node.holds.store(false, Ordering::Relaxed);
    node.until_available(cluster).await;

    let status = desk.gc(&["status"]).await;
    assert_eq!(
        status.view["read_only"]["deployment"]["name"], "registry",
        "{status:?}"
    );
    // Also outside its windows.
    let since = status.view["read_only"]["since"].as_str().unwrap();
    let since: Timestamp = since.parse().unwrap();
    desk.use_cluster(&node.collector_without_switch(cluster).await.kubeconfig);
    let (ran, words) = desk.gc_with_last_words(&["run"]).await;
    assert_eq!(ran.codes(), ["window_closed"], "{ran:?}");
    assert!(words.knows_read_only && words.switches, "{words:?}");
    assert_eq!(words.read_only_since, Some(since.into()), "{words:?}");
    desk.use_cluster(&node.collector(cluster).await.kubeconfig);
    let (ran, words) = desk.gc_with_last_words(&["run"]).await;
    assert_eq!(ran.codes(), ["window_closed"], "{ran:?}");
    assert!(words.knows_read_only, "{words:?}");
    assert_eq!(words.read_only_since, None, "{words:?}");
    let told = ran.view["told"][0].as_str().unwrap();
    assert!(told.contains("left the Deployment"), "{told}");
    is_writable_again(cluster, &desk, &node).await;
    assert!(desk.content() == before);
    assert_eq!(desk.gc(&["status"]).await.view["read_only"], Value::Null);
}

#[tokio::test]
async fn what_an_operator_has_set_is_left_as_it_is() {
    require_cluster!("registry-3.1");
    for (value, is_read_only) in [
        (r#"{"enabled":true}"#, true),
        (r#"{"enabled":false}"#, false),
    ] {
        let environment = json!([{"name": VARIABLE, "value": value}]);
        let (cluster, desk, node) = scene(Version::V3, &environment.to_string()).await;
        let ran = desk.gc(&["run"]).await;
        if is_read_only {
            assert_eq!(
                (ran.code, ran.result()),
                (Some(0), "quarantined"),
                "{ran:?}"
            );
        } else {
            let why = why(&ran);
            assert!(why.contains("itself, to {\"enabled\":false}"), "{why}");
        }
        assert_eq!(node.environment(cluster).await, environment);
        let deployment = node.deployment(cluster).await;
        assert_eq!(deployment["metadata"]["generation"], 1);
        assert!(!note(&desk));
    }
}

#[tokio::test]
async fn where_another_controller_reverts_it_that_is_said_and_nothing_is_taken() {
    require_cluster!("registry-3.1");
    let (cluster, desk, node) = scene(Version::V3, OTHER).await;
    let before = desk.content();
    node.holds.store(true, Ordering::Relaxed);
    let mut controller = JoinSet::new();
    let namespace = node.namespace.clone();
    controller.spawn(async move {
        loop {
            let off = format!("{VARIABLE}-");
            let words = ["set", "env", "deployment/registry", &off, "-n", &namespace];
            cluster.kubectl(&words).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    });
    let why = why(&desk.gc(&["run"]).await);
    assert!(why.contains("somebody took it out again"), "{why}");
    controller.shutdown().await;
    assert!(desk.content() == before && desk.held().is_empty());
    node.holds.store(false, Ordering::Relaxed);
    is_writable_again(cluster, &desk, &node).await;
}

#[tokio::test]
async fn without_the_right_nothing_is_switched() {
    require_cluster!("registry-3.1");
    let (cluster, desk, node) = scene(Version::V3, OTHER).await;
    desk.use_cluster(&node.collector_without_switch(cluster).await.kubeconfig);
    let why = why(&desk.gc(&["run"]).await);
    assert!(
        why.contains("cannot be switched: deployments.apps \"registry\" is forbidden"),
        "{why}"
    );
    assert!(!note(&desk) && desk.held().is_empty());
    let deployment = node.deployment(cluster).await;
    assert_eq!(deployment["metadata"]["generation"], 1);
}

#[tokio::test]
async fn a_rollout_that_does_not_end_takes_nothing_and_is_undone() {
    require_cluster!("registry-3.1");
    let (cluster, desk, node) = scene(Version::V3, OTHER).await;
    let before = desk.content();
    node.holds.store(true, Ordering::Relaxed);
    let mut command = daemon::command(desk.home());
    command.args(["gc", "run", "-o", "json"]);
    let run = Process::start(command, "collector", desk.home(), Ending::Terminate);
    run.wait_until("it is switched", BOUND, async || {
        let environment = node.environment(cluster).await.to_string();
        environment.contains(VARIABLE).then_some(())
    })
    .await;
    let pid = rustix::process::Pid::from_raw(i32::try_from(run.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ended = wait_until("it ends", BOUND, async || run.status()).await;
    assert_eq!(ended.code(), Some(3), "{}", run.tail());
    assert!(
        run.output().contains("is not read-only yet"),
        "{}",
        run.output()
    );
    assert!(desk.content() == before && desk.held().is_empty());
    node.holds.store(false, Ordering::Relaxed);
    is_writable_again(cluster, &desk, &node).await;
}
