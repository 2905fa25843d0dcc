//! Killed at each call that changes something, one after the other, of a whole collection, or told that it
//! failed: whoever comes next goes on, and nothing is lost, without a hand.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::desk::{Content, Desk};
use crate::plan::checker::Needed;
use crate::support::parts::{self, require};
use crate::support::registry::Version;

/// What takes things away, and what makes the journal last.
const FEW: [&str; 2] = ["renameat", "syncfs"];
/// What else changes something on the disk.
const MORE: [&str; 5] = ["linkat", "unlinkat", "mkdirat", "pwrite64", "fdatasync"];

/// strace that does this to the call of that number.
fn injected(call: &str, what: &str, number: usize, log: &Path) -> Vec<OsString> {
    let inject = format!("inject={call}:{what}:when={number}");
    let trace = format!("trace={call}");
    let words = ["-f", "-qq", "-e", &trace, "-e", &inject, "-o"];
    let mut all = vec![OsString::from(parts::path("strace"))];
    all.extend(words.map(OsString::from));
    all.push(log.into());
    all
}

#[tokio::test]
async fn killed_at_any_move_of_a_quarantine_nothing_is_lost() {
    require!("registry-3.1", "strace");
    assert!(killed_at_each_of(&FEW).await > 15);
}

#[tokio::test]
#[ignore = "it takes many minutes: `make long`"]
async fn killed_at_any_call_of_a_quarantine_nothing_is_lost() {
    require!("registry-3.1", "strace");
    assert!(killed_at_each_of(&MORE).await > 60);
}

#[tokio::test]
async fn whatever_fails_once_takes_nothing_more_and_brings_back_what_was_taken() {
    require!("registry-3.1", "strace");
    for (call, error, least) in [
        ("renameat", "EIO", 10),
        ("pwrite64", "ENOSPC", 5),
        ("syncfs", "EIO", 1),
    ] {
        let count = failed_at_each(call, error).await;
        assert!(count >= least, "{call} {error}: {count}");
    }
}

#[tokio::test]
#[ignore = "it takes many minutes: `make long`"]
async fn whatever_fails_in_whatever_way_nothing_is_lost() {
    require!("registry-3.1", "strace");
    for call in FEW.iter().chain(&MORE) {
        for error in ["EIO", "ENOSPC", "EMFILE"] {
            failed_at_each(call, error).await;
        }
    }
}

/// How often it was killed.
async fn killed_at_each_of(calls: &[&str]) -> usize {
    let (desk, before, needed) = scene().await;
    let mut killed = 0;
    for call in calls {
        for number in 1.. {
            assert!(number < 200, "{call} without end");
            let above = injected(call, "signal=KILL", number, Path::new("/dev/null"));
            let ran = desk.gc_below(&above, &["run"]).await;
            let at = format!("{call} {number}");
            nothing_is_lost(&needed, &desk, &at);
            goes_on_and_back(&desk, &before, &at).await;
            if ran.code == Some(0) {
                break;
            }
            killed += 1;
        }
    }
    killed
}

/// How often a call failed.
async fn failed_at_each(call: &str, error: &str) -> usize {
    let (desk, before, needed) = scene().await;
    let log = tempfile::NamedTempFile::new().unwrap();
    for number in 1.. {
        assert!(number < 200, "{call} without end");
        let above = injected(call, &format!("error={error}"), number, log.path());
        let ran = desk.gc_below(&above, &["run"]).await;
        let at = format!("{call} {number} {error}");
        nothing_is_lost(&needed, &desk, &at);
        if ran.code != Some(0) {
            assert!(
                matches!(ran.result(), "failed" | "refused"),
                "{at}: {ran:?}"
            );
            let mut content = desk.content();
            // A canary that could not be removed lies there until the next drill.
            if ran.codes().contains(&"drill_stale") {
                content.retain(|file, _| before.contains_key(file));
            }
            assert!(content == before, "{at}: {ran:?}");
        }
        goes_on_and_back(&desk, &before, &at).await;
        if !fs::read_to_string(log.path())
            .unwrap()
            .contains("(INJECTED)")
        {
            return number - 1;
        }
    }
    0
}

async fn scene() -> (Desk, Content, Needed) {
    let desk = Desk::start(Version::V3).await;
    desk.configure(
        "quarantine",
        r#""longestRequest": "0s", "watchEvery": "0s""#,
    );
    let (before, needed) = (desk.content(), Needed::of(desk.root(), &[]));
    (desk, before, needed)
}

fn nothing_is_lost(needed: &Needed, desk: &Desk, at: &str) {
    let lost = needed.lost(desk.root());
    let is_whole = lost.blobs.is_empty() && lost.links.is_empty();
    assert!(is_whole, "{at}: {lost:?}");
}

/// Whoever comes next brings it to its end, and all can be put back.
async fn goes_on_and_back(desk: &Desk, before: &Content, at: &str) {
    let next = desk.gc(&["run"]).await;
    assert_eq!(next.code, Some(0), "{at}: {next:?}");
    let status = desk.gc(&["status"]).await;
    for run in status.view["runs"].as_array().unwrap() {
        assert_eq!(run["open"], 0, "{at}: {status:?}");
        assert_eq!(run["proof"], "clean", "{at}: {status:?}");
    }
    let back = desk.gc(&["restore", "--all"]).await;
    assert_eq!(back.code, Some(0), "{at}: {back:?}");
    let after = desk.content();
    let names = |of: &Content| of.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&after), names(before), "{at}");
    assert!(after == *before && desk.held().is_empty(), "{at}");
    fs::remove_dir_all(desk.root().join("pullproof/journal")).unwrap();
}
