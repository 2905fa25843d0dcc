//! Harbor is not asked for its images while its own collection runs.

use std::time::Duration;

use serde_json::json;

use super::harbor::scene;
use crate::collection::served::told;
use crate::support::daemon::Daemon;
use crate::support::parts::require;
use crate::support::wait::wait_until;

const BOUND: Duration = Duration::from_mins(2);

#[tokio::test]
async fn its_images_are_not_verified_until_it_has_ended_and_stay_what_they_were() {
    require!("registry-3.1");
    let (desk, harbor) = scene().await;
    // Harbor's own schedule is what runs.
    desk.change(|it| {
        it["gc"]["windows"] = json!([]);
        let file = desk.home().join("admin");
        it["gc"]["executor"]["harbor"]["credentials"]["file"] = json!(file);
    });
    let daemon = Daemon::start(&desk.as_daemon());
    let pullable = ["verdict=\"pullable\""];
    told(&daemon, "images", &pullable, 1.0).await;
    let asked_again = async || {
        let before = harbor.script().forwarded;
        wait_until("the registry is asked", BOUND, async || {
            (harbor.script().forwarded > before + 4).then_some(())
        })
        .await;
    };
    asked_again().await;

    // One that is not the last of them has ended long ago.
    harbor.script().executions = vec![(6, "Success".to_owned()), (7, "Running".to_owned())];
    let looks = async |more: usize| {
        let before = harbor.script().looks;
        wait_until("Harbor is asked", BOUND, async || {
            (harbor.script().looks >= before + more).then_some(())
        })
        .await;
    };
    // What was on its way when it was told has ended when it asks once more.
    looks(2).await;
    let before = harbor.script().forwarded;
    // Some rounds would have been due.
    looks(2).await;
    assert_eq!(harbor.script().forwarded, before);
    // A proof may get too old meanwhile. Nothing else is said of it.
    told(&daemon, "images", &["verdict=\"broken\""], 0.0).await;
    let unknown = daemon.series("image_unknown", &[]).await;
    assert!(
        unknown.iter().all(|it| it.contains("reason=\"stale\"")),
        "{unknown:?}"
    );

    "Success".clone_into(&mut harbor.script().executions[1].1);
    asked_again().await;
    told(&daemon, "images", &pullable, 1.0).await;
    assert!(harbor.script().executions.len() == 2, "nobody started one");
    assert!(daemon.terminate().await.success());
}
