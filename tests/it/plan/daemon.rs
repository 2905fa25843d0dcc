//! What the daemon exports of its plans.

use pullproof::clock::{Clock as _, SystemClock};
use serde_json::json;

use super::ours::{self, ALL, HOST};
use super::tree::{THIS_WEEK, sound, write};
use crate::support::daemon::Daemon;

/// The value of a series.
fn value(line: &str) -> f64 {
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_daemon_exports_what_the_command_plans_and_why_it_cannot() {
    let mut tree = sound();
    // What is wrong elsewhere is no part of it.
    let young = tree.image("app", "young");
    tree.written(tree.revision_of("app", &young), THIS_WEEK);
    tree.age();
    let home = tempfile::tempdir().unwrap();
    let list = home.path().join("keep.txt");
    write(&list, b"# Nothing is in use.\n");
    let away = home.path().join("away");
    let storage = |root| json!({"filesystem": {"root": root}});
    let registries = json!([
        {"host": HOST, "kind": "distribution", "storage": storage(tree.root())},
        {"host": "away.example", "kind": "distribution", "storage": storage(away.as_path())},
    ]);
    let begun = SystemClock.now();
    let daemon = Daemon::start(&format!(
        "inventory: {{references: [{{name: keep, file: {}}}]}}\nregistries: {registries}\ngc: {{{ALL}}}",
        list.display()
    ));
    let of = format!("storage=\"{HOST}\"");
    let told = async |name: &str| value(&daemon.wait_for_series(name, &[&of]).await);
    let planned = ours::plan(
        tree.root(),
        &[],
        "untagged: delete, tagHistory: delete",
        &[],
    )
    .await;
    assert!(planned.count("garbage_blobs") > 0, "{planned:?}");
    for (series, count) in [
        ("gc_garbage_blobs", "garbage_blobs"),
        ("gc_garbage_bytes", "garbage_bytes"),
        ("storage_blobs", "blobs"),
        ("storage_bytes", "bytes"),
    ] {
        #[expect(clippy::cast_precision_loss, reason = "they are small")]
        let count = planned.count(count) as f64;
        assert_eq!(told(series).await.to_bits(), count.to_bits(), "{series}");
    }
    assert!(told("storage_free_bytes").await > 0.0);
    assert!(told("gc_phase_duration_seconds").await >= 0.0);
    let at = told("gc_last_plan_timestamp_seconds").await;
    #[expect(clippy::cast_precision_loss, reason = "seconds of this century")]
    let (earliest, latest) = (
        begun.as_second() as f64,
        SystemClock.now().as_second() as f64,
    );
    assert!((earliest..=latest + 1.0).contains(&at), "{at}");

    let refused = ["storage=\"away.example\"", "reason=\"storage_unsupported\""];
    let refused = daemon.wait_for_series("gc_refusals_total", &refused).await;
    assert!(value(&refused) >= 1.0, "{refused}");
    assert_eq!(daemon.series("gc_refusals_total", &[&of]).await, [""; 0]);
    for name in ["gc_garbage_", "gc_last_plan", "storage_"] {
        let other = daemon.series(name, &["away.example"]).await;
        assert_eq!(other, [""; 0], "{name}");
    }
    assert_eq!(daemon.terminate().await.code(), Some(0));
}
