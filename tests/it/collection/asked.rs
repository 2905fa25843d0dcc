//! What is asked back while another process collects.

use std::fs;
use std::time::Duration;

use super::desk::{Answered, Desk};
use crate::support::daemon;
use crate::support::parts::require;
use crate::support::process::{Ending, Process};
use crate::support::registry::Version;
use crate::support::wait::wait_until;

const BOUND: Duration = Duration::from_secs(60);

/// A run that holds everything, and watches for as long as a push may take.
async fn watching(desk: &Desk) -> Process {
    desk.configure(
        "quarantine",
        r#""longestRequest": "1h", "watchEvery": "1h""#,
    );
    let mut command = daemon::command(desk.home());
    command.args(["gc", "run", "-o", "json"]);
    let run = Process::start(command, "run", desk.home(), Ending::Kill);
    run.wait_until("it watches", BOUND, async || {
        let status = desk.gc(&["status"]).await;
        let runs = status.view["runs"].as_array()?.clone();
        runs.iter()
            .any(|run| run["items"] != 0 && run["proof"] == "clean")
            .then_some(())
    })
    .await;
    run
}

fn ended(run: &Process) -> Answered {
    Answered {
        code: run.status().and_then(|status| status.code()),
        view: serde_json::from_str(&run.output()).unwrap(),
        stderr: run.tail(),
    }
}

#[tokio::test]
async fn whoever_collects_puts_back_what_another_asks_for() {
    require!("docker-registry", "registry-3.1");
    for version in Version::ALL {
        let desk = Desk::start(version).await;
        let before = desk.content();
        let run = watching(&desk).await;
        let restored = desk.gc(&["restore", "--all"]).await;
        assert_eq!(restored.code, Some(0), "{restored:?}");
        assert_eq!(desk.content(), before);
        wait_until("the run ends", BOUND, async || run.status()).await;
        let ran = ended(&run);
        let told = ran.view["told"].as_array().unwrap();
        let told = told.iter().filter_map(|it| it.as_str());
        let told: Vec<&str> = told.filter(|it| it.contains("asked back")).collect();
        assert_eq!(told.len(), 1, "{ran:?}");
        assert!(!desk.root().join("pullproof/restore.json").exists());
        // And the next one is as any other.
        desk.configure("quarantine", "");
        let again = desk.gc(&["run"]).await;
        assert_eq!(
            (again.code, again.result()),
            (Some(0), "quarantined"),
            "{again:?}"
        );
    }
}

#[tokio::test]
async fn only_what_is_asked_for_comes_back() {
    require!("registry-3.1");
    let desk = Desk::start(Version::V3).await;
    let run = watching(&desk).await;
    let held = desk.held().len();
    let layer = desk.tree.find("untagged.layer-1");
    let restored = desk.gc(&["restore", "--digest", &layer.digest]).await;
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert!(desk.tree.data_of(&layer).exists() && desk.tree.layer_of("app", &layer).exists());
    assert_eq!(desk.held().len(), held - 2);
    drop(run);
}

/// Nobody waits for it any more, and it stands.
#[tokio::test]
async fn what_was_asked_for_comes_back_also_when_nobody_waits_for_it() {
    require!("registry-3.1");
    let desk = Desk::start(Version::V3).await;
    let before = desk.content();
    let run = watching(&desk).await;
    run.pause().await;
    let mut command = daemon::command(desk.home());
    command.args(["gc", "restore", "--all"]);
    let restore = Process::start(command, "restore", desk.home(), Ending::Terminate);
    let note = desk.root().join("pullproof/restore.json");
    restore
        .wait_until("it asks", BOUND, async || {
            fs::read(&note)
                .is_ok_and(|text| !text.is_empty())
                .then_some(())
        })
        .await;
    restore.stop();
    assert!(
        restore.output().contains("restore.json"),
        "{}",
        restore.output()
    );
    assert!(!desk.held().is_empty());
    run.resume();
    wait_until("the run ends", BOUND, async || run.status()).await;
    assert_eq!(desk.content(), before);
    assert!(!note.exists());
}

/// Whoever had the lock is gone, and what it did not obey is obeyed by whoever comes next.
#[tokio::test]
async fn whoever_comes_next_obeys_what_nobody_did() {
    require!("registry-3.1");
    let desk = Desk::start(Version::V3).await;
    let before = desk.content();
    let run = watching(&desk).await;
    run.stop();
    fs::write(
        desk.root().join("pullproof/restore.json"),
        r#"{"all": true}"#,
    )
    .unwrap();
    desk.configure("quarantine", "");
    let next = desk.gc(&["run"]).await;
    assert_eq!(next.code, Some(0), "{next:?}");
    assert_eq!(desk.content(), before, "{next:?}");
    assert!(!desk.root().join("pullproof/restore.json").exists());
}
