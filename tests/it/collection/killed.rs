//! Killed at each call that changes something, one after the other, of a whole collection: whoever comes
//! next goes on, and nothing is lost, without a hand.

use std::ffi::OsString;
use std::fs;

use super::desk::{Content, Desk};
use crate::plan::checker::Needed;
use crate::support::parts::{self, require};
use crate::support::registry::Version;

/// What takes things away, and what makes the journal last.
const FEW: [&str; 2] = ["renameat", "syncfs"];
/// What else changes something on the disk.
const MORE: [&str; 5] = ["linkat", "unlinkat", "mkdirat", "pwrite64", "fdatasync"];

/// strace that does this to the call of that number.
fn injected(call: &str, what: &str, number: usize) -> Vec<OsString> {
    let inject = format!("inject={call}:{what}:when={number}");
    let trace = format!("trace={call}");
    let words = ["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    let mut all = vec![OsString::from(parts::path("strace"))];
    all.extend(words.map(OsString::from));
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

/// How often it was killed.
async fn killed_at_each_of(calls: &[&str]) -> usize {
    let desk = Desk::start(Version::V3).await;
    desk.configure(
        "quarantine",
        r#""longestRequest": "0s", "watchEvery": "0s""#,
    );
    let before = desk.content();
    let needed = Needed::of(desk.root(), &[]);
    let mut killed = 0;
    for call in calls {
        for number in 1.. {
            assert!(number < 200, "{call} without end");
            let above = injected(call, "signal=KILL", number);
            let ran = desk.gc_below(&above, &["run"]).await;
            let lost = needed.lost(desk.root());
            assert!(
                lost.blobs.is_empty() && lost.links.is_empty(),
                "{call} {number}: {lost:?}"
            );
            let is_whole = ran.code == Some(0);
            killed += usize::from(!is_whole);
            // Whoever comes next brings it to its end.
            let next = desk.gc(&["run"]).await;
            assert_eq!(next.code, Some(0), "{call} {number}: {next:?}");
            let status = desk.gc(&["status"]).await;
            for run in status.view["runs"].as_array().unwrap() {
                assert_eq!(run["open"], 0, "{call} {number}: {status:?}");
                assert_eq!(run["proof"], "clean", "{call} {number}: {status:?}");
            }
            let back = desk.gc(&["restore", "--all"]).await;
            assert_eq!(back.code, Some(0), "{call} {number}: {back:?}");
            let after = desk.content();
            let names = |of: &Content| of.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(&after), names(&before), "{call} {number}");
            assert!(after == before, "{call} {number}");
            assert!(desk.held().is_empty(), "{call} {number}");
            fs::remove_dir_all(desk.root().join("pullproof/journal")).unwrap();
            if is_whole {
                break;
            }
        }
    }
    killed
}
