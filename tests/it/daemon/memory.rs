//! What is remembered across a restart: manifests, proofs, the baseline.

use rustix::fs::statfs;

use super::shop::{OFTEN, Stock, all_series, of_list, require_shop, start_again, value};
use crate::support::daemon::{BOUND, Daemon};
use crate::support::images::{Format, push_index};
use crate::support::parts::require;
use crate::support::registry::Request;

#[tokio::test]
async fn after_a_restart_no_manifest_is_fetched_again_and_proofs_keep_their_time() {
    require_shop!();
    require!("buildah");
    let mut stock = Stock::new().await;
    let image = stock.push("app:1").await;
    let index = format!("{}/index:1", stock.host());
    push_index(&stock.clients, &index, "one", Format::Oci).await;
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("keep.txt");
    std::fs::write(&file, format!("{image}\n{index}\n")).unwrap();
    let is_get =
        |request: &&Request| request.method == "GET" && request.path.contains("/manifests/");

    // The registry starts anew, and with it what its log is compared from.
    stock.registry.start_again().await;
    let pushed = stock.registry.requests().len();
    let first = Daemon::start(&of_list(&file, &[stock.entry(OFTEN)]));
    first.wait_until_ready().await;
    let requests = stock.registry.requests().split_off(pushed);
    // One image, one index and its two children, each once.
    assert_eq!(requests.iter().filter(is_get).count(), 4, "{requests:#?}");
    let proven = "image_last_proof_timestamp_seconds";
    assert_eq!(all_series(&first, proven).await.len(), 2);
    assert!(first.terminate().await.success());
    // As they were at the end; nothing is proven any more.
    let state = first.configuration().with_file_name("state");
    let snapshot = std::fs::read(state.join("snapshot.json")).unwrap();
    let snapshot: serde_json::Value = serde_json::from_slice(&snapshot).unwrap();
    let times = snapshot["images"].as_array().unwrap().iter();
    let times: Vec<jiff::Timestamp> = times
        .map(|image| image["last_proof"].as_str().unwrap().parse().unwrap())
        .collect();

    // With the registry frozen nothing can be proven anew, and the old proofs are still told.
    stock.registry.pause().await;
    let second = start_again(&first);
    let told = second
        .wait_until("it tells the old proofs", BOUND, async || {
            let told = all_series(&first, proven).await;
            (told.len() == 2).then_some(told)
        })
        .await;
    for (series, time) in told.iter().zip(&times) {
        let second = i32::try_from(time.as_second()).unwrap();
        assert!(
            (value(series) - f64::from(second)).abs() < 1.0,
            "{series}: {time}"
        );
    }
    let before = stock.registry.requests().len();
    stock.registry.resume();
    second
        .wait_until("all is proven anew", BOUND, async || {
            let anew = all_series(&first, proven).await;
            let is_newer = anew
                .iter()
                .zip(&told)
                .all(|(anew, told)| value(anew) > value(told));
            (anew.len() == 2 && is_newer).then_some(())
        })
        .await;
    let requests = stock.registry.requests().split_off(before);
    let gets: Vec<&Request> = requests.iter().filter(is_get).collect();
    assert!(gets.is_empty(), "{gets:#?}");
    let heads = requests
        .iter()
        .filter(|request| request.method == "HEAD" && request.path.contains("/manifests/sha256:"));
    // Each of the four, and the one that cannot exist.
    assert!(heads.count() >= 5, "{requests:#?}");
}

#[tokio::test]
async fn what_was_broken_at_first_is_known_and_what_breaks_later_is_not() {
    require_shop!();
    let stock = Stock::new().await;
    let (old, new) = (stock.push("old:1").await, stock.push("new:1").await);
    stock.break_layer(&old).await;
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("keep.txt");
    std::fs::write(&file, format!("{old}\n{new}\n")).unwrap();
    let first = Daemon::start(&of_list(&file, &[stock.entry(OFTEN)]));
    first.wait_until_ready().await;
    let failure = "workload_image_failure";
    if !is_on_disk(&first) {
        // Where nothing survives a restart, nothing is forgiven: it would be, after each.
        first
            .wait_for_series(failure, &[&old, "known=\"false\""])
            .await;
        return;
    }
    first
        .wait_for_series(failure, &[&old, "known=\"true\""])
        .await;
    assert!(first.terminate().await.success());

    let second = start_again(&first);
    let seen = async |image: &str| {
        second
            .wait_until(&format!("{image} is found broken"), BOUND, async || {
                first.series(failure, &[image]).await.into_iter().next()
            })
            .await
    };
    assert!(seen(&old).await.contains("known=\"true\""));
    // Whole until now, also in the round before.
    second
        .wait_until("the other is proven", BOUND, async || {
            let series = first.series("workload_image_pullable", &[&new, " 1"]).await;
            series.into_iter().next()
        })
        .await;
    stock.break_layer(&new).await;
    assert!(seen(&new).await.contains("known=\"false\""));
    assert!(seen(&old).await.contains("known=\"true\""));

    // And so it stays: a third start makes no second baseline of it.
    second.stop();
    let third = start_again(&first);
    for (image, known) in [(&old, "known=\"true\""), (&new, "known=\"false\"")] {
        let series = third
            .wait_until("both are found again", BOUND, async || {
                first.series(failure, &[image]).await.into_iter().next()
            })
            .await;
        assert!(series.contains(known), "{series}");
    }
}

/// Containers and some machines have their temporary directory in memory, or in a layer that goes
/// with the container.
fn is_on_disk(daemon: &Daemon) -> bool {
    const TMPFS: i64 = 0x0102_1994;
    const OVERLAYFS: i64 = 0x794c_7630;
    let kind = statfs(daemon.configuration()).unwrap().f_type;
    kind != TMPFS && kind != OVERLAYFS
}
