//! From the plan to the purge, and back.

use std::fs;

use serde_json::json;

use super::desk::{Desk, until_purged};
use crate::plan::checker::Needed;
use crate::plan::served::can_pull;
use crate::support::clients::Clients;
use crate::support::images::push_image;
use crate::support::parts::require;
use crate::support::registry::Version;

#[tokio::test]
async fn what_nobody_needs_is_held_and_comes_back_byte_for_byte() {
    require!("docker-registry", "registry-3.1", "crane", "regctl");
    for version in Version::ALL {
        let desk = Desk::start(version).await;
        let before = desk.content();
        let needed = Needed::of(desk.root(), &[]);

        let ran = desk.gc(&["run"]).await;
        assert_eq!(
            (ran.code, ran.result()),
            (Some(0), "quarantined"),
            "{ran:?}"
        );
        let lost = needed.lost(desk.root());
        assert!(lost.blobs.is_empty() && lost.links.is_empty(), "{lost:?}");
        assert_eq!(lost.freed, needed.others.len());
        assert_eq!(desk.held().len(), before.len() - desk.content().len());
        assert!(desk.held().len() > 6, "{:?}", desk.held());
        assert_eq!(can_pull(version, desk.root(), "app:v1").await, Ok(()));

        let status = desk.gc(&["status"]).await;
        let runs = status.view["runs"].as_array().unwrap();
        assert_eq!(runs.len(), 1, "{status:?}");
        assert_eq!(runs[0]["run"], ran.run());
        assert_eq!(runs[0]["proof"], "clean");
        assert_eq!(runs[0]["settled"], true);

        // Once more finds nothing, and purges nothing: the mode does not.
        let again = desk.gc(&["run"]).await;
        assert_eq!(
            (again.code, again.result()),
            (Some(0), "planned"),
            "{again:?}"
        );

        let back = desk.gc(&["restore", "--run", &ran.run()]).await;
        assert_eq!(
            (back.code, back.result()),
            (Some(0), "restored"),
            "{back:?}"
        );
        assert_eq!(desk.content(), before);
        assert!(desk.held().is_empty());
    }
}

#[tokio::test]
async fn what_was_held_for_long_enough_is_purged_in_a_later_run() {
    require!("registry-3.1", "crane", "regctl");
    let desk = Desk::start(Version::V3).await;
    let needed = Needed::of(desk.root(), &[]);
    desk.configure("purge", r#""quarantineFor": "1h""#);
    assert_eq!(desk.gc(&["run"]).await.result(), "quarantined");
    let held = desk.held();
    assert!(!held.is_empty());
    let early = desk.gc(&["run"]).await;
    assert_eq!(early.result(), "planned", "{early:?}");
    assert_eq!(desk.held(), held);
    desk.configure("purge", "");
    until_purged(async || desk.gc(&["run"]).await).await;
    assert!(desk.held().is_empty());
    let lost = needed.lost(desk.root());
    assert!(lost.blobs.is_empty() && lost.links.is_empty(), "{lost:?}");
    assert_eq!(can_pull(Version::V3, desk.root(), "app:v1").await, Ok(()));
}

#[tokio::test]
async fn what_is_wanted_again_comes_back_before_anything_is_purged() {
    require!("registry-3.1", "crane", "regctl");
    let desk = Desk::start(Version::V3).await;
    let untagged = desk.tree.find("untagged");
    assert_eq!(desk.gc(&["run"]).await.result(), "quarantined");
    // Somebody deploys it by its digest.
    let reference = format!("app@{}", untagged.digest);
    desk.keep(&["app:v1", &reference]);
    desk.configure("purge", "");
    until_purged(async || desk.gc(&["run"]).await).await;
    assert_eq!(can_pull(Version::V3, desk.root(), &reference).await, Ok(()));
    assert_eq!(can_pull(Version::V3, desk.root(), "app:v1").await, Ok(()));
}

#[tokio::test]
async fn a_push_of_what_was_taken_writes_it_again() {
    require!(
        "docker-registry",
        "registry-3.1",
        "crane",
        "regctl",
        "buildah"
    );
    for version in Version::ALL {
        let desk = Desk::start(version).await;
        let clients = Clients::of(&desk.registry).await;
        let gone = push_image(&clients, &desk.at("app:gone"), "gone").await;
        desk.tree.untag("app", "gone");
        desk.tree.age();
        assert_eq!(desk.gc(&["run"]).await.result(), "quarantined");
        let again = push_image(&clients, &desk.at("app:again"), "gone").await;
        assert_eq!(again, gone);
        assert_eq!(can_pull(version, desk.root(), "app:again").await, Ok(()));
        // What is live again is no reason to throw away what is held, nor the other way round.
        desk.configure("purge", "");
        until_purged(async || desk.gc(&["run"]).await).await;
        assert_eq!(can_pull(version, desk.root(), "app:again").await, Ok(()));
        assert!(desk.held().is_empty());
    }
}

/// Lets a workload name it whose alerts are silenced, as is its namespace.
fn silenced(desk: &Desk, image: &str) {
    let annotations = json!({"pullproof.dev/ignore": "nobody wants to know"});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": "shop", "annotations": annotations},
        "spec": {"containers": [{"name": "app", "image": desk.at(image)}]},
    });
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "shop", "annotations": annotations},
    });
    let file = desk.home().join("workloads.yaml");
    fs::write(&file, format!("{pod}\n---\n{namespace}\n")).unwrap();
    let manifests = json!([{"name": "workloads", "path": file}]);
    desk.change(|it| it["inventory"]["manifests"] = manifests);
}

#[tokio::test]
async fn each_thing_that_closes_the_gate_is_told_and_nothing_is_touched() {
    require!("registry-3.1");
    let desk = Desk::start(Version::V3).await;
    let before = desk.content();
    let refused = async |codes: &[&str]| {
        let ran = desk.gc(&["run"]).await;
        assert_eq!((ran.code, ran.result()), (Some(3), "refused"), "{ran:?}");
        assert_eq!(ran.codes(), codes, "{ran:?}");
        assert_eq!(desk.content(), before);
        assert!(desk.held().is_empty());
    };
    desk.configure("plan", "");
    refused(&["plan_only"]).await;
    assert!(!desk.root().join("pullproof").exists(), "not even a lock");
    desk.configure("quarantine", r#""windows": []"#);
    refused(&["window_closed"]).await;
    desk.configure("quarantine", r#""rehearsal": "1d""#);
    refused(&["rehearsal"]).await;
    desk.configure("quarantine", r#""alarmPercent": 10"#);
    refused(&["share_exceeded"]).await;
    desk.configure("quarantine", "");
    desk.gc(&["pause"]).await;
    refused(&["paused"]).await;
    let planned = desk.gc(&["plan"]).await;
    assert_eq!((planned.code, planned.codes()), (Some(0), vec!["paused"]));
    desk.gc(&["resume"]).await;
    // Without memory nobody knows whether it ever was there.
    fs::remove_file(desk.root().join("pullproof/proven.json")).unwrap();
    desk.keep(&["app:v1", "app:lost"]);
    refused(&["image_broken"]).await;
    // It is told as well where nothing would be begun: nobody finds out one after the other.
    desk.configure("plan", "");
    refused(&["plan_only", "image_broken"]).await;
    desk.configure("quarantine", r#""windows": []"#);
    refused(&["window_closed", "image_broken"]).await;
    desk.configure("quarantine", "");
    // Nor by whoever silences its alerts: it is kept all the same.
    desk.keep(&["app:v1"]);
    silenced(&desk, "app:lost");
    refused(&["image_broken"]).await;
    desk.change(|it| it["inventory"]["manifests"] = json!([]));
    desk.keep(&["app:v1", "not a reference"]);
    refused(&["inventory_incomplete"]).await;
    // A typo of somebody's that never was proven.
    desk.keep(&["app:v1", "app:typo"]);
    let ran = desk.gc(&["run"]).await;
    assert_eq!(
        (ran.code, ran.result()),
        (Some(0), "quarantined"),
        "{ran:?}"
    );
    assert_eq!(ran.view["told"].as_array().unwrap().len(), 1, "{ran:?}");
}

#[tokio::test]
async fn what_a_replica_still_believes_in_goes_back() {
    require!("registry-3.1", "crane", "regctl");
    let mut desk = Desk::start(Version::V3).await;
    desk.cache().await;
    let before = desk.content();
    desk.configure("quarantine", r#""settle": {"cache": "safePut"}"#);
    // It is asked for everything, and remembers it.
    for name in ["untagged.layer-1", "untagged.layer-2", "untagged.config"] {
        desk.head("app", &desk.tree.find(name).digest).await;
    }
    let ran = desk.gc(&["run"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.view["left"]["unsettled"].as_u64().unwrap() >= 3,
        "{ran:?}"
    );
    for name in ["untagged.layer-1", "untagged.layer-2", "untagged.config"] {
        let object = desk.tree.find(name);
        assert!(before.contains_key(&desk.tree.data_of(&object)));
        assert!(desk.tree.data_of(&object).exists(), "{name}");
        assert!(desk.tree.layer_of("app", &object).exists(), "{name}");
    }
}

#[tokio::test]
async fn a_cache_that_is_said_not_to_be_there_closes_the_gate() {
    require!("registry-3.1", "crane", "regctl");
    let mut desk = Desk::start(Version::V3).await;
    desk.cache().await;
    desk.configure("quarantine", r#""settle": {"cache": "none"}"#);
    let layer = desk.tree.find("untagged.layer-1");
    desk.head("app", &layer.digest).await;
    let ran = desk.gc(&["run"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_ne!(ran.view["left"]["unsettled"], 0, "{ran:?}");
    assert!(desk.tree.data_of(&layer).exists() && desk.tree.layer_of("app", &layer).exists());

    let refused = desk.gc(&["run"]).await;
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert_eq!(refused.codes(), ["cache_unsettled"], "{refused:?}");

    // What is declared now was not contradicted.
    desk.configure("quarantine", r#""settle": {"cache": "safePut"}"#);
    let ran = desk.gc(&["run"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
}
