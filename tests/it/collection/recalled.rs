//! What a registry acknowledged without writing it, because a cache still believed in its bytes, long after the
//! run that took them ended: the link is there, and what it names is in quarantine. Nothing that runs needs it,
//! and so no verification finds that.

use std::fs;
use std::time::Duration;

use super::desk::Desk;
use crate::plan::tree::Object;
use crate::support::daemon::Daemon;
use crate::support::parts::require;
use crate::support::registry::Version;
use crate::support::wait::wait_until;

const BOUND: Duration = Duration::from_secs(60);

/// Everything that may go is in quarantine, by a run that is proven and settled, and one of its manifests was
/// pushed since: all that such a push writes is the link.
async fn pushed_since(desk: &Desk) -> Object {
    let taken = desk.gc(&["run"]).await;
    assert_eq!(
        (taken.code, taken.result()),
        (Some(0), "quarantined"),
        "{taken:?}"
    );
    // By a listing of a later second than the last one that was taken in.
    let status = desk.gc(&["status"]).await;
    let runs = status.view["runs"].as_array().unwrap();
    assert!(
        runs.iter().all(|run| run["settled"] == true),
        "{:?}",
        status.view
    );
    let manifest = desk.tree.find("untagged");
    assert!(!desk.tree.data_of(&manifest).exists());
    desk.tree.link_revision("app", &manifest);
    manifest
}

#[tokio::test]
async fn whoever_records_a_plan_finds_what_is_named_and_held_and_it_comes_back() {
    require!("registry-3.1");
    let desk = Desk::start(Version::V3).await;
    let note = desk.root().join("pullproof/restore.json");
    // What nothing names stays where it is.
    let taken = desk.gc(&["run"]).await;
    assert_eq!(taken.code, Some(0), "{taken:?}");
    let planned = desk.gc(&["plan", "--record"]).await;
    assert_eq!(planned.code, Some(0), "{planned:?}");
    assert!(!note.exists());
    let restored = desk.gc(&["restore", "--all"]).await;
    assert_eq!(restored.code, Some(0), "{restored:?}");

    let manifest = pushed_since(&desk).await;
    let planned = desk.gc(&["plan", "--record"]).await;
    assert_eq!(planned.code, Some(0), "{planned:?}");
    let told = "in quarantine and named by something live";
    assert!(planned.stderr.contains(told), "{planned:?}");
    assert!(
        fs::read_to_string(&note)
            .unwrap()
            .contains(&manifest.digest)
    );
    desk.configure("quarantine", r#""windows": []"#);
    // Also whoever may take nothing now obeys it.
    let tended = desk.gc(&["restore", "--digest", &manifest.digest]).await;
    assert_eq!(tended.code, Some(0), "{tended:?}");
    assert!(desk.tree.data_of(&manifest).exists());
}

#[tokio::test]
async fn a_daemon_finds_it_by_its_next_plan_outside_of_windows_and_puts_it_back() {
    require!("registry-3.1");
    let desk = Desk::start(Version::V3).await;
    let manifest = pushed_since(&desk).await;
    desk.configure("quarantine", r#""windows": []"#);
    let daemon = Daemon::start(&desk.as_daemon());
    let data = desk.tree.data_of(&manifest);
    daemon
        .wait_until("it is back", async || data.exists().then_some(()))
        .await;
    // And with it what it needs.
    let layer = desk.tree.find("untagged.layer-1");
    wait_until("its layer is back", BOUND, async || {
        desk.tree.data_of(&layer).exists().then_some(())
    })
    .await;
    let note = desk.root().join("pullproof/restore.json");
    wait_until("nothing is asked for any more", BOUND, async || {
        (!note.exists()).then_some(())
    })
    .await;
}
