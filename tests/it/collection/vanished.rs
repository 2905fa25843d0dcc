//! Blobs that somebody else takes: a registry's own collector beside ours, or somebody by hand.

use std::fs;

use axum::http::Method;
use futures::FutureExt as _;
use serde_json::json;

use super::desk::{Answered, Desk, until_purged};
use super::meanwhile::Meanwhile;
use crate::plan::peers::collect_storage;
use crate::plan::served::can_pull;
use crate::support::parts::require;
use crate::support::registry::Version;

/// distribution's own collector, over the storage itself.
async fn collect(version: Version, desk: &Desk) {
    let storage = json!({"filesystem": {"rootdirectory": desk.root()}});
    collect_storage(version, &storage, &[]).await.unwrap();
}

fn blobs(desk: &Desk) -> usize {
    desk.content()
        .keys()
        .filter(|path| path.ends_with("data"))
        .count()
}

fn refused(ran: &Answered, codes: &[&str], why: &str) {
    assert_eq!((ran.code, ran.result()), (Some(3), "refused"), "{ran:?}");
    assert_eq!(ran.codes(), codes, "{ran:?}");
    assert!(
        ran.view["refusals"].to_string().contains(why),
        "{why}: {ran:?}"
    );
}

#[tokio::test]
async fn what_another_collector_took_between_two_runs_closes_the_gate_until_somebody_has_looked() {
    require!("docker-registry", "registry-3.1", "crane", "regctl");
    for version in Version::ALL {
        let desk = Desk::start(version).await;
        let before = blobs(&desk);
        // It lists, and takes nothing yet.
        desk.configure("quarantine", r#""rehearsal": "1d""#);
        refused(&desk.gc(&["run"]).await, &["rehearsal"], "");
        refused(&desk.gc(&["run"]).await, &["rehearsal"], "");
        collect(version, &desk).await;
        let gone = before - blobs(&desk);
        assert!(gone > 2);
        desk.configure("quarantine", "");
        let why = format!("{gone} blobs that were listed at ");
        let ran = desk.gc(&["run"]).await;
        refused(&ran, &["storage_unsupported"], &why);
        refused(
            &ran,
            &["storage_unsupported"],
            "then remove pullproof/vanished.json",
        );
        // Nothing more is gone, and that says nothing of when it is at work again.
        refused(&desk.gc(&["run"]).await, &["storage_unsupported"], &why);
        refused(&desk.gc(&["purge"]).await, &["storage_unsupported"], &why);
        // Also whoever only looks is told.
        desk.configure("quarantine", r#""windows": []"#);
        let codes = ["window_closed", "storage_unsupported"];
        refused(&desk.gc(&["run"]).await, &codes, &why);
        desk.configure("quarantine", "");
        fs::remove_file(desk.root().join("pullproof/vanished.json")).unwrap();
        let ran = desk.gc(&["run"]).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(can_pull(version, desk.root(), "app:v1").await, Ok(()));
    }
}

#[tokio::test]
async fn what_pullproof_took_purged_or_put_back_is_no_other_collectors() {
    require!("registry-3.1");
    let desk = Desk::start(Version::V3).await;
    let well = async |words: &[&str], result: &str| {
        let ran = desk.gc(words).await;
        assert_eq!((ran.code, ran.result()), (Some(0), result), "{ran:?}");
    };
    well(&["run"], "quarantined").await;
    well(&["restore", "--all"], "restored").await;
    well(&["run"], "quarantined").await;
    well(&["run"], "planned").await;
    desk.configure("purge", "");
    until_purged(async || desk.gc(&["run"]).await).await;
    well(&["run"], "planned").await;
    // Once more with what was not there before.
    let again = desk.tree.find("app.layer-1");
    let data = desk.tree.data_of(&again);
    let aside = desk.home().join("aside");
    fs::rename(&data, &aside).unwrap();
    let ran = desk.gc(&["run"]).await;
    assert!(ran.codes().contains(&"storage_unsupported"), "{ran:?}");
    assert!(
        ran.view["refusals"]
            .to_string()
            .contains(&again.digest[..23]),
        "{ran:?}"
    );
    // Somebody put it back: nothing is to be looked at any more.
    fs::rename(&aside, &data).unwrap();
    well(&["run"], "planned").await;
    assert!(!desk.root().join("pullproof/vanished.json").exists());
}

/// The registry is asked for what is kept after the first listing, and before the second.
#[tokio::test]
async fn what_another_collector_takes_during_a_run_ends_it_and_closes_the_next() {
    require!("docker-registry", "registry-3.1");
    for version in Version::ALL {
        let desk = Desk::start(version).await;
        let storage = json!({"filesystem": {"rootdirectory": desk.root()}});
        let act = move || {
            async move { drop(collect_storage(version, &storage, &[]).await.unwrap()) }.boxed()
        };
        let meanwhile =
            Meanwhile::start(&desk.registry.url(), Method::GET, "/v2/app/", Box::new(act));
        let endpoint = format!("http://{}", meanwhile.server.host());
        desk.change(|config| config["registries"][0]["endpoint"] = endpoint.clone().into());
        let ran = desk.gc(&["run"]).await;
        assert!(meanwhile.was_asked());
        refused(
            &ran,
            &["listing_incomplete"],
            "something else takes content away",
        );
        assert!(desk.held().is_empty());
        refused(
            &desk.gc(&["run"]).await,
            &["storage_unsupported"],
            "pullproof/vanished.json",
        );
        assert!(desk.held().is_empty());
    }
}

#[tokio::test]
async fn a_memory_that_cannot_be_read_closes_it_and_says_which() {
    require!("registry-3.1");
    let desk = Desk::start(Version::V3).await;
    desk.configure("quarantine", r#""rehearsal": "1d""#);
    refused(&desk.gc(&["run"]).await, &["rehearsal"], "");
    let file = desk.root().join("pullproof/stored.bin");
    fs::write(&file, "PPSTORE1").unwrap();
    desk.configure("quarantine", "");
    refused(
        &desk.gc(&["run"]).await,
        &["storage_unsupported"],
        "pullproof/stored.bin cannot be read",
    );
    fs::remove_file(&file).unwrap();
    assert_eq!(desk.gc(&["run"]).await.result(), "quarantined");
    assert!(file.exists());
}
