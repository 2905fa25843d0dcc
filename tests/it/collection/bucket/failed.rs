//! Each request fails once, in each way in which a server, a right or a network fails: nothing is lost, and nothing
//! is taken away any more after it was not known what became of the first.

use super::killed::{Scene, changes};
use crate::storage::between::{Fault, Seen};
use crate::support::parts::require;

/// What takes something of the registry's away.
fn takes(method: &str, path: &str) -> bool {
    let is_registrys =
        path.starts_with("/registry/docker/registry/v2/") && !path.contains("versionId=");
    (method == "POST" && path.contains("delete=")) || (method == "DELETE" && is_registrys)
}

fn is_journal(method: &str, path: &str) -> bool {
    method == "PUT" && path.contains("/pullproof/journal/")
}

fn faults() -> Vec<(&'static str, Fault)> {
    vec![
        ("not done", Fault::error(500, "InternalError")),
        (
            "done, and not said",
            Fault::late_error(500, "InternalError"),
        ),
        ("denied", Fault::error(403, "AccessDenied")),
        ("cut", Fault::Broken),
    ]
}

#[tokio::test]
async fn whatever_fails_once_takes_nothing_more() {
    require!("registry-3.1", "versitygw");
    for has_versions in [true, false] {
        let scene = one_by_one(has_versions).await;
        // The first is the drill's.
        for number in 1..4 {
            for (name, fault) in faults() {
                failed_at(&scene, number, &fault, name, takes).await;
            }
        }
        for number in 0..3 {
            for (name, fault) in faults() {
                failed_at(&scene, number, &fault, name, is_journal).await;
            }
        }
    }
}

#[tokio::test]
#[ignore = "it takes many minutes: `make long`"]
async fn whatever_change_fails_in_whatever_way_nothing_is_lost() {
    require!("registry-3.1", "versitygw");
    for has_versions in [true, false] {
        let scene = one_by_one(has_versions).await;
        let points = scene.requests(changes).await.len();
        for number in 0..points {
            for (name, fault) in faults() {
                failed_at(&scene, number, &fault, name, changes).await;
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again() {
    require!("registry-3.1", "versitygw");
    for has_versions in [true, false] {
        let scene = Scene::start(has_versions).await;
        scene.store.reset(&scene.snapshot).await;
        let slow = Fault::error(503, "SlowDown");
        scene.store.between.when(0..3, slow.clone(), takes);
        scene.store.between.when(0..2, slow, is_journal);
        let ran = scene.store.gc(&["run"]).await;
        assert_eq!(
            (ran.code, ran.result()),
            (Some(0), "quarantined"),
            "{ran:?}"
        );
        scene.nothing_is_lost("busy").await;
    }
}

/// Nothing is under way beside what fails.
async fn one_by_one(has_versions: bool) -> Scene {
    let mut scene = Scene::start(has_versions).await;
    scene.store.concurrency = 1;
    scene.store.configure("quarantine", "");
    scene
}

async fn failed_at(
    scene: &Scene,
    number: usize,
    fault: &Fault,
    name: &str,
    asked: fn(&str, &str) -> bool,
) {
    let store = &scene.store;
    store.reset(&scene.snapshot).await;
    store.between.when(number..number + 1, fault.clone(), asked);
    let ran = store.gc(&["run"]).await;
    let seen = store.between.take_seen();
    let is_asked = |seen: &&Seen| asked(&seen.method, &seen.path);
    let struck = seen.iter().enumerate().filter(|(_, seen)| is_asked(seen));
    let struck = struck.map(|(at, _)| at).nth(number);
    let Some(struck) = struck else { return };
    let at = format!(
        "{name} {number} {} {}",
        seen[struck].method, seen[struck].path
    );
    store.between.heal();
    scene.nothing_is_lost(&at).await;
    if ran.code != Some(0) {
        assert!(
            matches!(ran.result(), "failed" | "refused"),
            "{at}: {ran:?}"
        );
        // Of the drill's nothing is journalled, and its canary is removed all the same.
        let mut before = seen.iter().take(struck);
        let is_a_runs = before.any(|it| is_journal(&it.method, &it.path));
        if is_a_runs && takes(&seen[struck].method, &seen[struck].path) {
            let later = seen.iter().skip(struck + 1);
            let taken: Vec<&Seen> = later.filter(|it| takes(&it.method, &it.path)).collect();
            assert!(taken.is_empty(), "{at}: {taken:?}");
        }
        // A canary that could not be removed is removed by the next.
        let after = store.content().await;
        let is_there = |(path, bytes): (&String, &Vec<u8>)| after.get(path) == Some(bytes);
        assert!(scene.before.iter().all(is_there), "{at}: {ran:?}");
    }
    // What versitygw brings back is as new.
    store.age();
    scene.goes_on_and_back(&at).await;
}
