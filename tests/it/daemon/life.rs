//! How the daemon ends, and how it takes a new configuration.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use super::shop::{OFTEN, SELDOM, Stock, all_series, list, of_list, require_shop};
use crate::support::daemon::Daemon;

/// The parts have ten seconds; the rest is for a busy machine.
const GRACE: Duration = Duration::from_secs(15);

async fn ends_well(daemon: &Daemon) -> Duration {
    let begun = Instant::now();
    let status = daemon.terminate().await;
    assert_eq!(status.code(), Some(0), "{}", daemon.process().tail());
    assert!(begun.elapsed() < GRACE, "{:?}", begun.elapsed());
    begun.elapsed()
}

#[tokio::test]
async fn it_ends_when_it_is_asked_to_also_while_a_round_hangs() {
    require_shop!();
    let stock = Stock::new().await;
    let image = stock.push("app:1").await;
    let home = tempfile::tempdir().unwrap();
    let configuration = of_list(&list(home.path(), &[&image]), &[stock.entry(OFTEN)]);

    let idle = Daemon::start(&configuration);
    idle.wait_until_ready().await;
    ends_well(&idle).await;
    assert!(idle.scrape().await.is_none(), "nobody listens any more");
    let log = idle.process().tail();
    for told in ["pullproof serves", "round finished", "pullproof ends"] {
        assert!(log.contains(told), "{log}");
    }

    stock.registry.pause().await;
    let hanging = Daemon::start(&configuration);
    hanging
        .wait_for_series("workload_image_unknown", &[&image, "never_checked"])
        .await;
    let took = ends_well(&hanging).await;
    stock.registry.resume();
    // Not by way of the grace period: a question that is not answered is not waited for.
    assert!(took < Duration::from_secs(8), "{took:?}");
    let log = hanging.process().tail();
    assert!(!log.contains("not every part ended"), "{log}");

    // A client that never finishes its request does not keep it.
    let held = Daemon::start(&configuration);
    held.wait_until_ready().await;
    let mut connection = tokio::net::TcpStream::connect(held.metrics_host())
        .await
        .unwrap();
    connection
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n")
        .await
        .unwrap();
    ends_well(&held).await;
}

#[tokio::test]
async fn a_bad_configuration_changes_nothing_and_a_good_one_takes_effect() {
    require_shop!();
    let stock = Stock::new().await;
    let broken = stock.push("broken:1").await;
    stock.break_layer(&broken).await;
    let whole = stock.push("whole:1").await;
    let late = stock.push("late:1").await;
    let home = tempfile::tempdir().unwrap();
    let file = list(home.path(), &[&broken, &whole]);
    let daemon = Daemon::start(&of_list(&file, &[stock.entry(SELDOM)]));
    daemon.wait_until_ready().await;
    let failures = all_series(&daemon, "workload_image_failure").await;
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert!(failures[0].contains(&broken), "{failures:?}");
    let reload = "config_last_reload_successful";
    daemon.wait_for_series(reload, &[" 1"]).await;

    let text = std::fs::read_to_string(daemon.configuration()).unwrap();
    let bad = text.replace("interval: 1h", "interval: soon");
    std::fs::write(daemon.configuration(), bad).unwrap();
    // It looks by itself.
    daemon.wait_for_series(reload, &[" 0"]).await;
    assert!(daemon.process().tail().contains("`soon` is not a duration"));
    assert_eq!(
        all_series(&daemon, "workload_image_failure").await,
        failures
    );
    assert_eq!(
        all_series(&daemon, "workload_image_pullable").await.len(),
        2
    );

    // A list of its own beside the old one. What was known stays known meanwhile: a reload that
    // forgot the broken image would resolve its page.
    let more = home.path().join("more.txt");
    std::fs::write(&more, &late).unwrap();
    let good = text.replace(
        "inventory: {references: [",
        &format!(
            "inventory: {{references: [{{name: more, file: {}}}, ",
            more.display()
        ),
    );
    std::fs::write(daemon.configuration(), good).unwrap();
    let pid = Pid::from_raw(i32::try_from(daemon.process().id()).unwrap()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    let new = format!("image=\"{late}\"");
    daemon
        .wait_until("the new list is proven", async || {
            let scrape = daemon.scrape().await?;
            assert!(
                scrape.contains(&failures[0]),
                "the failure is gone:\n{scrape}"
            );
            let is_proven = |line: &str| {
                line.starts_with("pullproof_workload_image_pullable")
                    && line.contains(&new)
                    && line.ends_with(" 1.0")
            };
            scrape.lines().any(is_proven).then_some(())
        })
        .await;
    daemon.wait_for_series(reload, &[" 1"]).await;
    daemon
        .wait_for_series("inventory_complete", &["source=\"more\"", " 1"])
        .await;
    assert_eq!(
        all_series(&daemon, "workload_image_pullable").await.len(),
        3
    );
}
