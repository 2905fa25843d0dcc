//! Killed at each request that changes something, one after the other, of a whole collection: before the server
//! got it, and after it did it. Whoever comes next goes on, and nothing is lost, without a hand.

use tempfile::TempDir;

use super::desk::{Content, Store};
use crate::plan::checker::Needed;
use crate::storage::between::Fault;
use crate::support::parts::require;
use crate::support::registry::Version;

/// A bucket as it was before, and what must stay of it.
pub(super) struct Scene {
    pub(super) store: Store,
    pub(super) snapshot: TempDir,
    pub(super) before: Content,
    pub(super) needed: Needed,
}

impl Scene {
    pub(super) async fn start(has_versions: bool) -> Self {
        let store = Store::start(Version::V3, has_versions).await;
        Self {
            snapshot: store.snapshot().await,
            before: store.content().await,
            needed: Needed::of(store.checkout().await.path(), &[]),
            store,
        }
    }

    /// The requests of a whole run of which this is true, `METHOD PATH`.
    pub(super) async fn requests(&self, asked: fn(&str, &str) -> bool) -> Vec<String> {
        self.store.reset(&self.snapshot).await;
        let ran = self.store.gc(&["run"]).await;
        assert_eq!(
            (ran.code, ran.result()),
            (Some(0), "quarantined"),
            "{ran:?}"
        );
        let seen = self.store.between.take_seen().into_iter();
        let seen = seen.filter(|seen| asked(&seen.method, &seen.path));
        let named = seen.map(|seen| format!("{} {}", seen.method, seen.path));
        named.collect()
    }

    pub(super) async fn nothing_is_lost(&self, at: &str) {
        let lost = self.needed.lost(self.store.checkout().await.path());
        let is_whole = lost.blobs.is_empty() && lost.links.is_empty();
        assert!(is_whole, "{at}: {lost:?}");
    }

    /// Whoever comes next brings it to its end, and all can be put back.
    pub(super) async fn goes_on_and_back(&self, at: &str) {
        self.store.outlive_the_lock();
        let next = self.store.gc(&["run"]).await;
        assert_eq!(next.code, Some(0), "{at}: {next:?}");
        self.nothing_is_lost(at).await;
        let left = self.store.content().await;
        let goes = |path: &&String| !left.contains_key(*path);
        let gone: Vec<&String> = self.before.keys().filter(goes).collect();
        assert!(gone.len() > 6, "{at}: {next:?} {gone:?}");
        let status = self.store.gc(&["status"]).await;
        for run in status.view["runs"].as_array().unwrap() {
            assert_eq!(run["open"], 0, "{at}: {status:?}");
            assert_eq!(run["proof"], "clean", "{at}: {status:?}");
        }
        let back = self.store.gc(&["restore", "--all"]).await;
        assert_eq!(back.code, Some(0), "{at}: {back:?}");
        let after = self.store.content().await;
        let names = |of: &Content| of.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&after), names(&self.before), "{at}");
        assert!(after == self.before, "{at}");
    }
}

pub(super) fn changes(method: &str, _path: &str) -> bool {
    !matches!(method, "GET" | "HEAD")
}

fn any(_method: &str, _path: &str) -> bool {
    true
}

#[derive(Debug, Clone, Copy)]
enum Moment {
    Before,
    After,
}

#[tokio::test]
async fn killed_at_any_change_of_a_bucket_with_versions_nothing_is_lost() {
    require!("registry-3.1", "versitygw");
    let scene = Scene::start(true).await;
    killed_at(&scene, 20, changes, &[Moment::Before, Moment::After]).await;
}

#[tokio::test]
async fn killed_at_any_change_of_a_bucket_without_versions_nothing_is_lost() {
    require!("registry-3.1", "versitygw");
    let scene = Scene::start(false).await;
    killed_at(&scene, 40, changes, &[Moment::After]).await;
}

#[tokio::test]
#[ignore = "it takes many minutes: `make long`"]
async fn killed_at_any_request_to_a_bucket_nothing_is_lost() {
    require!("registry-3.1", "versitygw");
    for has_versions in [true, false] {
        let scene = Scene::start(has_versions).await;
        killed_at(&scene, 100, any, &[Moment::Before, Moment::After]).await;
    }
}

/// So many requests in a row that no run got to are beyond its end: concurrent ones come in any number and order,
/// and a slow run asks more often whether something is over.
const BEYOND: usize = 3;

/// Kills a run at its first such request, at its second, and so on, until it ends before; of a whole run there are
/// at least `least`.
async fn killed_at(scene: &Scene, least: usize, asked: fn(&str, &str) -> bool, moments: &[Moment]) {
    let store = &scene.store;
    let mut last = None;
    let mut number = 0;
    while number <= last.unwrap_or_default() + BEYOND {
        for moment in moments {
            store.reset(&scene.snapshot).await;
            let fault = match moment {
                Moment::Before => Fault::Unsent(store.killer()),
                Moment::After => Fault::Unanswered(store.killer()),
            };
            store.between.when(number..number + 1, fault, asked);
            let ran = store.gc(&["run"]).await;
            let seen = store.between.take_seen();
            let seen: Vec<_> = seen
                .iter()
                .filter(|it| asked(&it.method, &it.path))
                .collect();
            let named = seen.last().map(|it| format!("{} {}", it.method, it.path));
            let at = format!("{moment:?} {number} {}", named.unwrap_or_default());
            store.between.heal();
            if ran.code.is_none() {
                last = Some(number);
            } else {
                // Nothing stopped it, since it came to its end before.
                assert_eq!(
                    (ran.code, ran.result(), seen.len() <= number),
                    (Some(0), "quarantined", true),
                    "{at}: {ran:?}"
                );
            }
            scene.nothing_is_lost(&at).await;
            scene.goes_on_and_back(&at).await;
        }
        number += 1;
    }
    let last = last.expect("it was killed");
    eprintln!("killed at each of {} requests", last + 1);
    assert!(last + 1 >= least, "{last}");
}
