//! Caches that forget by a restart of their replicas: a real API server, a real registry with a cache, and a
//! kubelet that the test plays.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::desk::Desk;
use super::kubelet::Node;
use crate::plan::served::can_pull;
use crate::plan::tree::Object;
use crate::support::clients::Clients;
use crate::support::cluster::Cluster;
use crate::support::images::push_image;
use crate::support::parts::require_cluster;
use crate::support::registry::Version;
use crate::support::wait::wait_until;

/// Seconds that pass, and more than clocks may differ.
const LATER: i64 = 120;

fn configure(desk: &Desk, node: &Node, settle: &str) {
    let more = format!(
        r#""settle": {{{settle}"workload": {{"namespace": "{}", "name": "registry"}}}}"#,
        node.namespace
    );
    desk.configure("quarantine", &more);
    desk.change(|it| it["registries"][0]["replicaEndpoints"] = json!([node.url()]));
}

async fn scene(version: Version, settle: &str) -> (&'static Cluster, Desk, Node) {
    let cluster = Cluster::shared().await;
    let desk = Desk::start(version).await;
    let node = Node::start(cluster, &desk, version, json!([])).await;
    desk.use_cluster(&node.collector(cluster).await.kubeconfig);
    configure(&desk, &node, settle);
    (cluster, desk, node)
}

const BOUND: Duration = Duration::from_secs(30);

fn is_live(desk: &Desk, object: &Object) -> bool {
    desk.tree.data_of(object).exists()
}

/// An operator's restart, with which pullproof has nothing to do.
async fn restarted(cluster: &Cluster, node: &Node) {
    let words = [
        "rollout",
        "restart",
        "deployment/registry",
        "-n",
        &node.namespace,
    ];
    // kubectl names a restart by its second, and refuses another within the same one.
    wait_until("a restart of its own is begun", BOUND, async || {
        let begun = cluster.kubectl_as(&cluster.admin(), &words).await;
        match begun {
            Ok(_) => Some(()),
            Err(problem) if problem.contains("within the past second") => None,
            Err(problem) => panic!("{problem}"),
        }
    })
    .await;
    node.until_available(cluster).await;
}

async fn pod(cluster: &Cluster, node: &Node) -> String {
    let words = ["get", "pods", "-n", &node.namespace, "-o", "name"];
    let name = cluster.kubectl(&words).await;
    name.trim().trim_start_matches("pod/").to_owned()
}

#[tokio::test]
async fn bytes_whose_links_are_gone_wait_for_every_replica_to_start_again() {
    require_cluster!(
        "docker-registry",
        "registry-3.1",
        "crane",
        "regctl",
        "buildah"
    );
    for version in Version::ALL {
        let (cluster, desk, node) = scene(version, "").await;
        let manifest = desk.tree.find("untagged");
        let revision = desk.tree.revision_of("app", &manifest);
        assert!(is_live(&desk, &manifest) && revision.exists());
        let ran = desk.gc(&["run"]).await;
        assert_eq!(
            (ran.code, ran.result()),
            (Some(0), "quarantined"),
            "{ran:?}"
        );
        assert!(is_live(&desk, &manifest) && !revision.exists());

        // It waits, and whoever asks is told for whom.
        let (ran, words) = desk.gc_with_last_words(&["run"]).await;
        assert_eq!((ran.code, ran.result()), (Some(0), "planned"), "{ran:?}");
        let pod_name = pod(cluster, &node).await;
        assert_eq!(ran.view["waits"][0]["replica"], json!(pod_name), "{ran:?}");
        let waits = ran.view["waits"][0]["objects"].as_u64().unwrap();
        assert_eq!(
            Some(waits),
            ran.view["left"]["unsettled"].as_u64(),
            "{ran:?}"
        );
        let unsettled = BTreeMap::from([(pod_name.clone(), waits)]);
        assert_eq!(words.unsettled, Some(unsettled));
        let status = desk.gc(&["status"]).await;
        assert_eq!(status.view["waits"], ran.view["waits"], "{status:?}");
        let planned = desk.gc_in_words(&["plan"]).await;
        let line = format!("{waits} objects wait for {pod_name} to restart\n");
        assert!(planned.ends_with(&line), "{line}: {planned}");

        // So soon after it that the clocks may be wrong.
        restarted(cluster, &node).await;
        let ran = desk.gc(&["run"]).await;
        assert_eq!(ran.result(), "planned", "{ran:?}");
        assert!(is_live(&desk, &manifest));

        node.ahead.store(LATER, Ordering::Relaxed);
        restarted(cluster, &node).await;
        let ran = desk.gc(&["run"]).await;
        assert_eq!(
            (ran.code, ran.result()),
            (Some(0), "quarantined"),
            "{ran:?}"
        );
        assert_eq!(ran.view["waits"], json!([]), "{ran:?}");
        assert!(!is_live(&desk, &manifest));
        assert_eq!(can_pull(version, desk.root(), "app:v1").await, Ok(()));
    }
}

#[tokio::test]
async fn a_push_of_what_was_taken_after_a_restart_writes_it_again() {
    require_cluster!(
        "docker-registry",
        "registry-3.1",
        "crane",
        "regctl",
        "buildah"
    );
    for (version, is_pushed_again) in [
        (Version::V2, false),
        (Version::V2, true),
        (Version::V3, false),
        (Version::V3, true),
    ] {
        let (cluster, desk, node) = scene(version, "").await;
        let clients = Clients::of(&*node.registry.lock().await).await;
        let host = node.url().trim_start_matches("http://").to_owned();
        let push = async |tag: &str| {
            let digest = push_image(&clients, &format!("{host}/app:{tag}"), "gone").await;
            let reference = format!("app:{tag}");
            assert_eq!(can_pull(version, desk.root(), &reference).await, Ok(()));
            digest
        };
        let gone = push("gone").await;
        let data = |digest: &str| {
            let (kind, hex) = digest.split_once(':').unwrap();
            let below = format!("blobs/{kind}/{}/{hex}/data", &hex[..2]);
            desk.tree.v2().join(below)
        };
        desk.tree.untag("app", "gone");
        desk.tree.age();
        assert_eq!(desk.gc(&["run"]).await.result(), "quarantined");
        assert!(data(&gone).exists());
        if is_pushed_again {
            // The same replica, with all that it remembers: what it believes in is there.
            assert_eq!(push("again").await, gone);
            desk.tree.untag("app", "again");
            desk.tree.age();
            assert_eq!(desk.gc(&["run"]).await.code, Some(0));
        }
        node.ahead.store(LATER, Ordering::Relaxed);
        // On 2.8.2 the links that the replica believed in go with the first, and the bytes with the second.
        for _ in 0..2 {
            restarted(cluster, &node).await;
            let ran = desk.gc(&["run"]).await;
            assert_eq!(ran.code, Some(0), "{ran:?}");
        }
        // A link that came back and could not be taken once more keeps them.
        let hex = gone.trim_start_matches("sha256:");
        let below = format!("repositories/app/_manifests/revisions/sha256/{hex}/link");
        let is_linked = desk.tree.v2().join(below).exists();
        assert_eq!(data(&gone).exists(), is_linked);
        assert!(is_pushed_again || !is_linked);
        assert_eq!(push("third").await, gone);
        assert_eq!(desk.gc(&["run"]).await.code, Some(0));
        assert_eq!(can_pull(version, desk.root(), "app:third").await, Ok(()));
    }
}

#[tokio::test]
async fn where_pullproof_restarts_them_what_they_believed_in_goes_all_the_same() {
    require_cluster!("registry-3.1", "crane", "regctl");
    let rollout = r#""restart": "rollout", "within": "2m", "#;
    let (cluster, desk, node) = scene(Version::V3, rollout).await;
    let names = ["untagged.layer-1", "untagged.layer-2", "untagged.config"];
    // It is asked for everything, and remembers it.
    for name in names {
        let digest = desk.tree.find(name).digest;
        let url = format!("{}/v2/app/blobs/{digest}", node.url());
        let answer = crate::support::http::client()
            .head(url)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), 200);
    }
    let before = pod(cluster, &node).await;
    let ran = desk.gc(&["run"]).await;
    assert_eq!(
        (ran.code, ran.result()),
        (Some(0), "quarantined"),
        "{ran:?}"
    );
    assert_ne!(pod(cluster, &node).await, before);
    for name in names {
        assert!(!is_live(&desk, &desk.tree.find(name)), "{name}");
    }
    let status = desk.gc(&["status"]).await;
    assert_eq!(status.view["runs"][0]["settled"], true, "{status:?}");
    // They have started since the manifest's links were taken: its bytes are next, by whatever clock.
    assert!(is_live(&desk, &desk.tree.find("untagged")));
    let ran = desk.gc(&["run"]).await;
    assert_eq!(
        (ran.code, ran.result()),
        (Some(0), "quarantined"),
        "{ran:?}"
    );
    assert!(!is_live(&desk, &desk.tree.find("untagged")));
    assert_eq!(can_pull(Version::V3, desk.root(), "app:v1").await, Ok(()));
}

#[tokio::test]
async fn a_restart_that_does_not_end_in_time_puts_everything_back() {
    require_cluster!("registry-3.1");
    let rollout = r#""restart": "rollout", "within": "3s", "#;
    let (cluster, desk, node) = scene(Version::V3, rollout).await;
    let before = desk.content();
    node.holds.store(true, Ordering::Relaxed);
    let ran = desk.gc(&["run"]).await;
    assert_eq!((ran.code, ran.result()), (Some(1), "failed"), "{ran:?}");
    let problem = ran.view["failed"].as_str().unwrap();
    assert!(problem.contains("has not been restarted yet"), "{problem}");
    assert!(
        desk.content() == before && desk.held().is_empty(),
        "{ran:?}"
    );
    node.holds.store(false, Ordering::Relaxed);
    node.until_available(cluster).await;
}
