//! What is read of the journals stays little, and nothing of them is lost on the way.

use super::desk::Store;
use crate::storage::between::Fault;
use crate::support::parts::require;
use crate::support::registry::Version;

/// By method and path.
type IsIt = fn(&str, &str) -> bool;

/// What is there below `pullproof/`.
async fn below(store: &Store, prefix: &str) -> Vec<String> {
    let files = store.s3.files(&format!("pullproof/{prefix}")).await;
    files.unwrap().into_iter().map(|it| it.path).collect()
}

/// What happened in a run, a line each.
async fn lines(store: &Store, path: &str) -> Vec<serde_json::Value> {
    let object = store.s3.get(path, 1 << 20).await.unwrap().unwrap();
    let text = String::from_utf8(object.bytes).unwrap();
    let lines = text.lines();
    lines.map(|it| serde_json::from_str(it).unwrap()).collect()
}

#[tokio::test]
async fn a_run_is_one_object_and_one_that_ended_is_not_read_any_more() {
    require!("registry-3.1", "versitygw");
    for has_versions in [true, false] {
        let store = Store::start(Version::V3, has_versions).await;
        let before = store.content().await;
        let ran = store.gc(&["run"]).await;
        assert_eq!(ran.result(), "quarantined", "{ran:?}");
        let held = store.held().await;
        let [folded] = &below(&store, "journal/").await[..] else {
            panic!("one object");
        };
        let first = lines(&store, folded).await;
        assert!(
            first.len() > 4 && first[0]["record"] == "began",
            "{first:?}"
        );
        // Who comes next goes on behind it.
        let back = store.gc(&["restore", "--all"]).await;
        assert_eq!(back.result(), "restored", "{back:?}");
        assert_eq!(below(&store, "journal/").await, [""; 0]);
        let [ended] = &below(&store, "ended/").await[..] else {
            panic!("one object");
        };
        let all = lines(&store, ended).await;
        assert!(all.starts_with(&first) && all.len() > first.len());
        assert_eq!(all.last().unwrap()["record"], "ended");
        assert!(held > 0 && store.content().await == before);
        // It is counted, and nobody asks for it.
        let failed = Fault::error(500, "InternalError");
        store.between.when(0..99, failed, |method, path| {
            method == "GET" && path.contains("/pullproof/ended/")
        });
        let status = store.gc(&["status"]).await;
        assert_eq!(status.view["ended_runs"], 1, "{status:?}");
        store.age();
        assert_eq!(store.gc(&["run"]).await.result(), "quarantined");
    }
}

/// Before what is written, after it, and while the rest is removed.
#[tokio::test]
async fn whoever_dies_on_the_way_leaves_the_same_to_be_read() {
    require!("registry-3.1", "versitygw");
    let store = Store::start(Version::V3, true).await;
    let before = store.content().await;
    let snapshot = store.snapshot().await;
    let folds = |method: &str, path: &str| method == "PUT" && path.contains("/00000000-");
    let ends = |method: &str, path: &str| method == "PUT" && path.contains("/pullproof/ended/");
    let removes =
        |method: &str, path: &str| method == "DELETE" && path.contains("/pullproof/journal/");
    let places: [(&str, IsIt, usize); 5] = [
        ("the fold", folds, 0),
        ("the first of what was folded", removes, 0),
        ("the third of what was folded", removes, 2),
        ("the end", ends, 0),
        ("the first of what ended", removes, 0),
    ];
    for (number, (place, is_it, nth)) in places.into_iter().enumerate() {
        store.reset(&snapshot).await;
        let dies_ending = number >= 3;
        if dies_ending {
            assert_eq!(store.gc(&["run"]).await.result(), "quarantined", "{place}");
        }
        let kill = Fault::Unsent(store.killer());
        store.between.when(nth..nth + 1, kill, is_it);
        let words: &[&str] = if dies_ending {
            &["restore", "--all"]
        } else {
            &["run"]
        };
        let died = store.gc(words).await;
        assert_eq!(died.code, None, "{place}: {died:?}");
        store.between.heal();
        store.outlive_the_lock();
        let status = store.gc(&["status"]).await;
        let held = store.held().await;
        if dies_ending {
            assert_eq!(
                (held, &status.view["ended_runs"]),
                (0, &1.into()),
                "{place}"
            );
        } else {
            let left = store.content().await.len();
            assert_eq!(held, (before.len() - left) as u64, "{place}");
            assert!(held > 6, "{place}: {held}");
        }
        // And whoever comes next tidies up.
        let back = store.gc(&["restore", "--all"]).await;
        assert_eq!(back.code, Some(0), "{place}: {back:?}");
        assert!(store.content().await == before, "{place}");
        assert_eq!(below(&store, "journal/").await, [""; 0], "{place}");
        assert_eq!(below(&store, "ended/").await.len(), 1, "{place}");
    }
}
