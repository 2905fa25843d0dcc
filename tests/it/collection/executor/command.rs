//! A command: distribution's own collector, and what may become of one.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{by, desk, failed, refused, shell};
use crate::collection::desk::Desk;
use crate::collection::served::told;
use crate::plan::checker::Needed;
use crate::plan::peers;
use crate::plan::scenes::rows;
use crate::plan::served::can_pull;
use crate::plan::tree::{Tree, sound};
use crate::support::daemon::Daemon;
use crate::support::parts::require;
use crate::support::registry::{Options, Version};

/// distribution's own collector, with manifests that no tag names.
fn distribution(version: Version, desk: &Desk) -> Value {
    let file = desk.home().join("distribution.yaml");
    let text = json!({
        "version": "0.1", "storage": {"filesystem": {"rootdirectory": desk.root()}}, "http": {"addr": "127.0.0.1:0"}
    });
    fs::write(&file, text.to_string()).unwrap();
    let argv = [
        peers::program(version).into_string().unwrap(),
        "garbage-collect".to_owned(),
        "--delete-untagged".to_owned(),
        file.to_str().unwrap().to_owned(),
    ];
    let keeps_children = version == Version::V3;
    json!({"command": {"argv": argv, "undo": "snapshot", "keepsChildren": keeps_children}})
}

/// Leaves a mark where it ran.
fn marking(desk: &Desk) -> (Value, PathBuf) {
    let file = desk.home().join("it-ran");
    (shell(&format!("echo yes > {}", file.display())), file)
}

#[tokio::test]
async fn the_registrys_own_collector_takes_the_garbage_and_all_that_is_kept_is_proven() {
    require!("docker-registry", "registry-3.1", "crane", "regctl");
    for version in Version::ALL {
        let desk = desk(version, sound(), &["app:v1"], &shell("exit 1")).await;
        let needed = Needed::of(desk.root(), &[]);
        assert!(!needed.others.is_empty());
        by(&desk, &distribution(version, &desk), "");
        let ran = desk.gc(&["run"]).await;
        assert_eq!((ran.code, ran.result()), (Some(0), "purged"), "{ran:?}");
        let lost = needed.lost(desk.root());
        assert!(lost.blobs.is_empty() && lost.links.is_empty(), "{lost:?}");
        assert_eq!(lost.freed, needed.others.len());
        assert_eq!(ran.view["purged"]["items"], needed.others.len());
        assert_eq!(ran.view["executor"]["undo"], "snapshot");
        assert!(
            ran.view["executor"]["output"]
                .to_string()
                .contains("blob eligible for deletion"),
            "{ran:?}"
        );
        assert!(desk.held().is_empty());
        assert!(!desk.root().join("pullproof/executor.json").exists());
        assert_eq!(can_pull(version, desk.root(), "app:v1").await, Ok(()));
    }
}

#[tokio::test]
async fn what_has_no_quarantine_is_said_to_have_none() {
    require!("registry-3.1");
    let desk = desk(Version::V3, sound(), &["app:v1"], &shell("exit 1")).await;
    by(&desk, &distribution(Version::V3, &desk), "");
    let planned = desk.gc_in_words(&["plan"]).await;
    let words = "`command` collects: it takes what it decides, not this plan, and has no quarantine. What brings it \
                 back: a snapshot of the storage, as the configuration says.";
    assert!(planned.contains(words), "{planned}");
    let ran = desk.gc_in_words(&["run"]).await;
    assert!(ran.contains("purged: gone for good"), "{ran}");
    assert!(
        ran.contains("`command`: it ended well. It has no quarantine;"),
        "{ran}"
    );
}

#[tokio::test]
async fn a_closed_gate_starts_nothing() {
    require!("registry-3.1");
    let mut desk = desk(Version::V3, sound(), &["app:v1"], &shell("exit 1")).await;
    let (executor, mark) = marking(&desk);
    by(&desk, &executor, r#""mode": "plan""#);
    refused(&desk.gc(&["run"]).await, &["plan_only"], "no quarantine");
    by(&desk, &executor, r#""windows": []"#);
    refused(&desk.gc(&["run"]).await, &["window_closed"], "");
    by(&desk, &executor, r#""alarmPercent": 10"#);
    refused(&desk.gc(&["run"]).await, &["share_exceeded"], "");
    by(&desk, &executor, "");
    desk.gc(&["pause"]).await;
    refused(&desk.gc(&["run"]).await, &["paused"], "");
    desk.gc(&["resume"]).await;
    desk.keep(&["app:v1", "not a reference"]);
    refused(&desk.gc(&["run"]).await, &["inventory_incomplete"], "");
    fs::remove_file(desk.root().join("pullproof/proven.json")).ok();
    desk.keep(&["app:v1", "app:lost"]);
    refused(&desk.gc(&["run"]).await, &["image_broken"], "app:lost");
    desk.keep(&["app:v1"]);
    desk.registry.start_again_with(Options::with_deletes).await;
    refused(
        &desk.gc(&["run"]).await,
        &["registry_writable"],
        "takes pushes",
    );
    assert!(!mark.exists());
    desk.registry.start_again_with(Options::read_only).await;
    assert_eq!(desk.gc(&["run"]).await.result(), "purged");
    assert!(mark.exists(), "it would have run");
}

#[tokio::test]
async fn one_that_deletes_what_is_kept_and_has_no_tag_is_not_started() {
    require!("docker-registry", "registry-3.1");
    // 2.8 takes the children of multi-arch images, 3.1 what runs after its tag moved.
    let running = rows::running_image_whose_tag_moved();
    for (version, scene, why) in [
        (
            Version::V2,
            rows::index_with_untagged_children(),
            "say `keepsChildren: true`",
        ),
        (Version::V3, rows::untagged_referrers(), "Give each a tag"),
        (Version::V3, running, "Give each a tag"),
    ] {
        let running = scene.running.iter();
        let kept: Vec<String> = running
            .map(|(repository, object)| format!("{repository}@{}", object.digest))
            .collect();
        let kept: Vec<&str> = kept.iter().map(String::as_str).collect();
        let desk = desk(version, scene.tree, &kept, &shell("exit 1")).await;
        by(&desk, &distribution(version, &desk), "");
        let before = desk.content();
        let ran = desk.gc(&["run"]).await;
        refused(&ran, &["storage_unsupported"], why);
        assert!(desk.content() == before);
        // It may collect what has a tag or nobody needs.
        let mut executor = distribution(version, &desk);
        let argv = executor["command"]["argv"].as_array_mut().unwrap();
        argv.retain(|it| it != "--delete-untagged");
        by(&desk, &executor, "");
        let ran = desk.gc(&["run"]).await;
        assert_eq!((ran.code, ran.result()), (Some(0), "purged"), "{ran:?}");
    }
}

#[tokio::test]
async fn what_it_destroys_is_told_and_nothing_runs_until_it_is_there_again() {
    require!("registry-3.1");
    // One that a workload needs, and one that only a tag keeps.
    for layer in ["app.layer-1", "tagged.layer-1"] {
        let mut tree = sound();
        let tagged = tree.image("app", "tagged");
        tree.tag("app", "kept", &tagged);
        let object = tree.find(layer);
        let (data, aside) = (tree.data_of(&object), tree.root().join("aside"));
        let executor = shell(&format!("mv {} {}", data.display(), aside.display()));
        let desk = desk(Version::V3, tree, &["app:v1"], &executor).await;
        let ran = desk.gc(&["run"]).await;
        failed(&ran, 2, "push it again: nothing else brings it back");
        assert!(
            ran.view["lost"].to_string().contains(&object.digest),
            "{ran:?}"
        );
        let (next, mark) = marking(&desk);
        by(&desk, &next, "");
        refused(&desk.gc(&["run"]).await, &["image_broken"], "");
        assert!(!mark.exists());
        fs::rename(&aside, &data).unwrap();
        assert_eq!(desk.gc(&["run"]).await.result(), "purged");
        assert!(mark.exists());
    }
}

#[tokio::test]
async fn a_daemon_runs_it_once_in_an_opening() {
    require!("registry-3.1");
    let desk = desk(Version::V3, sound(), &["app:v1"], &shell("exit 1")).await;
    let file = desk.home().join("runs");
    let line = format!("echo run >> {}", file.display());
    by(&desk, &shell(&line), "");
    let configuration = desk.as_daemon();
    let daemon = Daemon::start(&configuration);
    told(&daemon, "gc_runs_total", &["result=\"purged\""], 1.0).await;
    assert!(daemon.terminate().await.success());
    // The opening has had its run. What the gate would say is told after it was decided whether anything is begun.
    let daemon = Daemon::start(&configuration);
    daemon.wait_for_series("gc_gate_open", &[]).await;
    assert!(daemon.terminate().await.success());
    assert_eq!(fs::read_to_string(&file).unwrap(), "run\n");
}

#[tokio::test]
async fn a_storage_that_pullproof_does_not_see_is_collected_between_two_proofs() {
    require!("registry-3.1");
    let mut tree = Tree::new();
    let app = tree.image("app", "app");
    tree.tag("app", "v1", &app);
    let data = tree.data_of(&tree.find("app.layer-1"));
    let desk = desk(Version::V3, tree, &["app:v1"], &shell("exit 1")).await;
    let unseen = |executor: &Value| {
        by(&desk, executor, "");
        desk.change(|it| {
            it["registries"][0]
                .as_object_mut()
                .unwrap()
                .remove("storage");
        });
    };
    unseen(&distribution(Version::V2, &desk));
    refused(
        &desk.gc(&["run"]).await,
        &["storage_unsupported"],
        "cannot be seen without",
    );
    unseen(&distribution(Version::V3, &desk));
    let ran = desk.gc(&["run"]).await;
    assert_eq!((ran.code, ran.result()), (Some(0), "purged"), "{ran:?}");
    assert!(!desk.root().join("pullproof").exists());
    unseen(&shell(&format!("rm {}", data.display())));
    failed(&desk.gc(&["run"]).await, 2, "app:v1");
    let (next, mark) = marking(&desk);
    unseen(&next);
    refused(&desk.gc(&["run"]).await, &["image_broken"], "app:v1");
    assert!(!mark.exists());
}
