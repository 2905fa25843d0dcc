//! The daemon reads a share of all blobs each round, hashes by a budget, and goes on where it was.

use pullproof::oci::digest::Digest;

use super::scene::Scene;
use crate::daemon::shop::{entry, of_list, start_again};
use crate::support::daemon::{BOUND, Daemon};
use crate::support::images::push_image;
use crate::support::parts::require;
use crate::support::registry::{Request, Version};

#[tokio::test]
async fn a_head_that_lies_is_found_within_the_promised_rounds() {
    require!("registry-3.1", "crane", "regctl");
    let scene = Scene::new(Version::V3).await;
    let references = [scene.push("app:1").await, scene.push("other:1").await];
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("keep.txt");
    std::fs::write(&file, references.join("\n")).unwrap();
    // A blob is due once in an hour by HEAD; by its turn it is read once in four rounds.
    let verify = "{interval: 1s, blobInterval: 1h, readShare: 25%}";
    let daemon = Daemon::start(&of_list(&file, &[entry(&scene.registry.host(), verify)]));
    daemon.wait_until_ready().await;
    daemon
        .wait_for_series("workload_image_pullable", &["app:1", " 1"])
        .await;
    let layer = crate::cli::first_layer(&scene.clients, &references[0]).await;
    let begun = scene.registry.requests().len();
    std::fs::remove_file(scene.data(&layer)).unwrap();
    daemon
        .wait_for_series("workload_image_failure", &["app:1", "layer_missing"])
        .await;
    let requests = scene.registry.requests().split_off(begun);
    let is_read = |request: &Request| request.method == "GET" && request.path.ends_with(&layer);
    let is_round = |request: &&Request| request.path.ends_with("/app/manifests/1");
    let rounds = requests
        .iter()
        .take_while(|request| !is_read(request))
        .filter(is_round)
        .count();
    // The round that was under way when it went, and four.
    assert!(rounds <= 5, "{rounds} rounds: {requests:#?}");
    // Now it is read in each round, and does not become whole by the next HEAD.
    let found = scene.registry.requests().len();
    daemon
        .wait_until("three rounds more", async || {
            let since = scene.registry.requests().split_off(found);
            (since.iter().filter(is_round).count() >= 4).then_some(())
        })
        .await;
    assert_eq!(
        daemon
            .series("workload_image_failure", &["app:1", "layer_missing"])
            .await
            .len(),
        1
    );
}

#[tokio::test]
async fn the_scrub_keeps_its_budget_and_goes_on_where_it_was_after_a_restart() {
    require!("registry-3.1", "crane", "regctl");
    let scene = Scene::new(Version::V3).await;
    let mut references = Vec::new();
    let mut layers = Vec::new();
    for name in ["a", "b", "c"] {
        let reference = format!("{}/{name}:1", scene.registry.host());
        push_image(&scene.clients, &reference, &incompressible(name)).await;
        layers.push(crate::cli::first_layer(&scene.clients, &reference).await);
        references.push(reference);
    }
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("keep.txt");
    std::fs::write(&file, references.join("\n")).unwrap();
    // How often each layer was read whole.
    let hashed = || {
        let requests = scene.registry.requests();
        let times = layers.iter().map(|layer| {
            let whole = |request: &&Request| {
                request.method == "GET" && request.status == 200 && request.path.ends_with(layer)
            };
            requests.iter().filter(whole).count()
        });
        times.collect::<Vec<usize>>()
    };
    let before = hashed();
    // One round a start, and a layer is larger than its budget.
    let verify = "{interval: 1h, blobInterval: 1h, depth: content, contentBudget: 1KiB}";
    let daemon = Daemon::start(&of_list(&file, &[entry(&scene.registry.host(), verify)]));
    daemon
        .wait_for_series("verification_duration_seconds", &[])
        .await;
    assert!(daemon.terminate().await.success());
    let mut starts = 1;
    loop {
        let times: Vec<usize> = hashed()
            .iter()
            .zip(&before)
            .map(|(now, before)| now - before)
            .collect();
        let total: usize = times.iter().sum();
        assert!(
            total <= starts,
            "{total} layers in {starts} rounds of less than one"
        );
        assert!(
            times.iter().all(|times| *times <= 1),
            "one again before the others: {times:?}"
        );
        if total == layers.len() {
            return;
        }
        assert!(starts < 12, "{times:?} after {starts} starts");
        let again = start_again(&daemon);
        again
            .wait_until("a round of its own", BOUND, async || {
                let series = daemon.series("verification_duration_seconds", &[]).await;
                (!series.is_empty()).then_some(())
            })
            .await;
        again.stop();
        starts += 1;
    }
}

/// About two kilobytes that no compression makes much smaller.
fn incompressible(seed: &str) -> String {
    let mut text = String::new();
    let mut digest = Digest::of(seed.as_bytes());
    for _ in 0..48 {
        text.push_str(&digest.hex());
        digest = Digest::of(text.as_bytes());
    }
    text
}
