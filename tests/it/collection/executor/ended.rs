//! How a command ends that does not end by itself, and how much of it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};

use super::{by, desk, failed, shell};
use crate::collection::desk::Desk;
use crate::plan::tree::sound;
use crate::support::daemon;
use crate::support::parts::require;
use crate::support::process::{Ending, Process};
use crate::support::registry::Version;
use crate::support::wait::wait_until;

const BOUND: Duration = Duration::from_secs(60);

/// Starts a child that does not end and, if it `ignores`, does not want to, and writes both their ids.
fn hanging(pids: &Path, ignores: bool) -> Value {
    let trap = if ignores { "trap '' TERM; " } else { "" };
    let pids = pids.display();
    shell(&format!(
        "({trap}while :; do sleep 0.2; done) & echo $$ $! > {pids}.tmp; mv {pids}.tmp {pids}; wait"
    ))
}

async fn pids(file: &Path) -> Vec<Pid> {
    let text = wait_until("it has started", BOUND, async || {
        fs::read_to_string(file).ok()
    })
    .await;
    let pids = text.split_whitespace().map(|it| it.parse().unwrap());
    pids.map(|pid| Pid::from_raw(pid).unwrap()).collect()
}

fn is_gone(pid: Pid) -> bool {
    if test_kill_process(pid).is_err() {
        return true;
    }
    // Nobody may have waited for it.
    let status =
        fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    status
        .rsplit_once(") ")
        .is_none_or(|(_, rest)| rest.starts_with('Z'))
}

async fn hung(ignores: bool) -> Desk {
    let desk = desk(Version::V3, sound(), &["app:v1"], &shell("exit 1")).await;
    by(&desk, &hanging(&desk.home().join("pids"), ignores), "");
    desk
}

#[tokio::test]
async fn at_the_deadline_all_of_it_is_ended_also_what_does_not_want_to() {
    require!("registry-3.1");
    let desk = hung(true).await;
    desk.change(|it| it["gc"]["executor"]["command"]["deadline"] = json!("1s"));
    let ran = desk.gc(&["run"]).await;
    failed(&ran, 1, "it was ended: its time was over");
    let pids = pids(&desk.home().join("pids")).await;
    assert_eq!(pids.len(), 2);
    assert!(pids.iter().all(|pid| is_gone(*pid)), "{pids:?}");
    assert!(ran.view["lost"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn who_stops_pullproof_or_says_so_stops_it() {
    require!("registry-3.1");
    for by_mark in [true, false] {
        let desk = hung(false).await;
        let run = collector(&desk);
        let pids = pids(&desk.home().join("pids")).await;
        if by_mark {
            desk.gc(&["stop"]).await;
        } else {
            let own = Pid::from_raw(i32::try_from(run.id()).unwrap()).unwrap();
            kill_process(own, Signal::TERM).unwrap();
        }
        let ended = wait_until("it ends", BOUND, async || run.status()).await;
        assert_eq!(ended.code(), Some(1), "{}", run.tail());
        assert!(
            run.output().contains("it was told to stop"),
            "{}",
            run.output()
        );
        assert!(pids.iter().all(|pid| is_gone(*pid)), "{pids:?}");
    }
}

#[tokio::test]
async fn what_was_cut_off_is_ended_and_told_by_whoever_comes_next() {
    require!("registry-3.1");
    let desk = hung(false).await;
    let run = collector(&desk);
    let pids = pids(&desk.home().join("pids")).await;
    let own = Pid::from_raw(i32::try_from(run.id()).unwrap()).unwrap();
    kill_process(own, Signal::KILL).unwrap();
    wait_until("it is killed", BOUND, async || run.status()).await;
    assert!(
        !pids.iter().any(|pid| is_gone(*pid)),
        "nobody was there to end it"
    );
    let status = desk.gc(&["status"]).await;
    assert_eq!(status.view["executor"]["has_ended"], false, "{status:?}");
    by(&desk, &shell("true"), "");
    let ran = desk.gc(&["run"]).await;
    failed(&ran, 1, "`command` was cut off");
    assert!(pids.iter().all(|pid| is_gone(*pid)), "{pids:?}");
    let ran = desk.gc(&["run"]).await;
    assert_eq!((ran.code, ran.result()), (Some(0), "purged"), "{ran:?}");
    assert!(desk.gc(&["status"]).await.view["executor"].is_null());
}

#[tokio::test]
async fn what_it_says_is_bounded_and_how_it_ends_is_told() {
    require!("registry-3.1");
    let line = "yes | head -c 50000000; echo the end >&2; exit 7";
    let desk = desk(Version::V3, sound(), &["app:v1"], &shell(line)).await;
    let ran = desk.gc(&["run"]).await;
    failed(&ran, 1, "it failed: exit status: 7");
    let executor = &ran.view["executor"];
    assert_eq!(executor["output_bytes"], 50_000_008);
    assert_eq!(executor["output"].as_array().unwrap().len(), 20);
    assert_eq!(executor["output"][19], "the end");
    // It is tried again: nothing got worse.
    by(
        &desk,
        &json!({"command": {"argv": ["/no/such/program"], "undo": "none"}}),
        "",
    );
    failed(
        &desk.gc(&["run"]).await,
        1,
        "/no/such/program cannot be started",
    );
    // No shell: what a shell would take apart is one argument.
    let file = desk.home().join("a; touch b");
    by(
        &desk,
        &json!({"command": {"argv": ["/bin/touch", file], "undo": "none"}}),
        "",
    );
    assert_eq!(desk.gc(&["run"]).await.result(), "purged");
    assert!(file.exists());
}

#[tokio::test]
async fn what_it_leaves_behind_is_ended_wherever_it_has_gone() {
    require!("registry-3.1");
    let desk = desk(Version::V3, sound(), &["app:v1"], &shell("exit 1")).await;
    let file = desk.home().join("pids");
    let line = format!(
        "setsid sh -c 'echo $$ > {0}.tmp; mv {0}.tmp {0}; while :; do sleep 0.2; done' & while ! test -e {0}; do sleep \
         0.05; done",
        file.display()
    );
    by(&desk, &shell(&line), "");
    let ran = desk.gc(&["run"]).await;
    failed(&ran, 1, "of its processes, which were ended");
    let pids = pids(&file).await;
    assert!(pids.iter().all(|pid| is_gone(*pid)), "{pids:?}");
}

fn collector(desk: &Desk) -> Process {
    let mut command = daemon::command(desk.home());
    command.args(["gc", "run", "-o", "json"]);
    Process::start(command, "collector", desk.home(), Ending::Terminate)
}
