//! Killed at any moment, and started again: nothing is green that was not, nothing is young that was
//! old, and every file can be read.

use super::shop::{Stock, all_series, entry, of_list, start_again, value};
use crate::support::daemon::{BOUND, Daemon};
use crate::support::images::push_image;
use crate::support::parts::require;
use crate::support::process::Process;
use crate::support::toxiproxy::Toxiproxy;

/// How often it is killed; the long run does more.
const KILLS: u32 = 8;
const KILLS_LONG: u32 = 150;

#[tokio::test]
async fn a_kill_in_a_round_turns_nothing_green_and_loses_no_proof() {
    killed(KILLS).await;
}

#[tokio::test]
#[ignore = "minutes"]
async fn many_kills_turn_nothing_green_and_lose_no_proof() {
    killed(KILLS_LONG).await;
}

async fn killed(kills: u32) {
    require!("registry-3.1", "crane", "regctl", "toxiproxy-server");
    let stock = Stock::new().await;
    let toxiproxy = Toxiproxy::start().await;
    // Each answer takes a while, so that most moments are in a round.
    let proxy = toxiproxy.proxy("registry", &stock.host()).await;
    let mut references = Vec::new();
    for number in 0..6 {
        let name = format!("app{number}:1");
        push_image(&stock.clients, &format!("{}/{name}", stock.host()), &name).await;
        references.push(format!("{proxy}/{name}"));
    }
    stock.break_layer(&format!("{}/app0:1", stock.host())).await;
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("keep.txt");
    std::fs::write(&file, references.join("\n")).unwrap();
    let verify = "{interval: 2s, blobInterval: 2s, readShare: 50%}";
    let daemon = Daemon::start(&of_list(&file, &[entry(&proxy, verify)]));
    daemon
        .wait_for_series("workload_image_failure", &["app0:1", "layer_missing"])
        .await;
    daemon
        .wait_until("all others are proven", async || {
            let pullable = daemon.series("workload_image_pullable", &[" 1"]).await;
            (pullable.len() == 5).then_some(())
        })
        .await;
    toxiproxy
        .poison(
            "registry",
            "latency",
            &serde_json::json!({"latency": 120, "jitter": 40}),
        )
        .await;
    kill(daemon.process());
    let mut proofs: Vec<String> = Vec::new();
    for number in 0..kills {
        let again = start_again(&daemon);
        // What it says first, before any round of its own is over.
        let first = again
            .wait_until("it tells what it knew", BOUND, async || {
                let failures = all_series(&daemon, "workload_image_failure").await;
                let told = all_series(&daemon, "image_last_proof_timestamp_seconds").await;
                (!failures.is_empty() && told.len() == 5).then_some((failures, told))
            })
            .await;
        let (failures, told) = first;
        assert!(
            failures.iter().any(|series| series.contains("app0:1")),
            "{failures:?}"
        );
        let pullable = all_series(&daemon, "workload_image_pullable").await;
        let is_green = |series: &String| series.contains("app0:1") && value(series) > 0.0;
        assert!(!pullable.iter().any(is_green), "{pullable:#?}");
        for (before, now) in proofs.iter().zip(&told) {
            assert!(value(before) <= value(now), "{before} became {now}");
        }
        proofs = told;
        // Anywhere between the start and some rounds later: after other numbers of requests each time.
        let goal = stock.registry.requests().len() + (number * 17 % 61) as usize;
        again
            .wait_until("it has asked so much", BOUND, async || {
                (stock.registry.requests().len() >= goal).then_some(())
            })
            .await;
        kill(&again);
        let state = daemon.configuration().with_file_name("state");
        for name in ["snapshot.json", "baseline.json"] {
            let Ok(text) = std::fs::read(state.join(name)) else {
                continue;
            };
            let value: Result<serde_json::Value, _> = serde_json::from_slice(&text);
            assert!(value.is_ok(), "{name} after kill {number}: {value:?}");
        }
    }
}

fn kill(process: &Process) {
    let id = i32::try_from(process.id()).unwrap();
    let pid = rustix::process::Pid::from_raw(id).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    process.stop();
}
