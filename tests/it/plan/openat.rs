//! Where the kernel has no openat2, or a sandbox hides it: the same plan, and no symbolic link is followed.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::ours::{self, ALL, Planned};
use super::tree::{Tree, sound};
use crate::support::parts::{self, require};

/// Plans with openat2 failing so, and asserts that it was tried.
async fn without(tree: &Tree, error: &str) -> Planned {
    let log = tempfile::NamedTempFile::new().unwrap();
    let inject = format!("inject=openat2:error={error}");
    let words = ["-f", "-qq", "-e", "trace=openat2", "-e", &inject, "-o"];
    let mut all: Vec<OsString> = vec![parts::path("strace").into()];
    all.extend(words.map(OsString::from));
    all.push(log.path().into());
    let planned = ours::plan(tree.root(), &[], ALL, &all).await;
    let calls = fs::read_to_string(log.path()).unwrap();
    // Of a call that others come between, the end is a line of its own.
    let mut ends = calls
        .lines()
        .filter(|line| line.contains("openat2") && line.contains(" = "));
    assert!(ends.clone().count() > 0, "it was not asked: {calls}");
    assert!(ends.all(|line| line.contains("(INJECTED)")), "{calls}");
    planned
}

#[tokio::test]
async fn without_openat2_the_plan_is_the_same() {
    require!("strace");
    let tree = sound();
    tree.age();
    let plain = ours::plan(tree.root(), &[], ALL, &[]).await;
    assert!(!plain.rows().is_empty());
    for error in ["ENOSYS", "EPERM"] {
        assert_eq!(without(&tree, error).await.stdout, plain.stdout, "{error}");
    }
}

/// What each place does that leads elsewhere is the same with it and without.
#[tokio::test]
async fn without_openat2_no_symbolic_link_is_followed() {
    require!("strace");
    for (place, is_refused) in [
        ("repositories/app/_manifests/tags/v1/current/link", false),
        ("repositories/app/_layers/sha256/LAYER/link", false),
        (
            "repositories/app/_manifests/revisions/sha256/REVISION",
            false,
        ),
        ("repositories/app/_manifests/tags/v1", false),
        ("repositories/app/_manifests/tags", true),
        ("repositories/app/_layers", true),
        ("repositories/app", true),
        ("repositories", true),
        ("blobs/sha256", true),
        ("blobs", true),
    ] {
        let tree = sound();
        let place = place
            .replace("REVISION", tree.find("app").hex())
            .replace("LAYER", tree.find("app.layer-1").hex());
        let place = tree.v2().join(place);
        tree.age();
        move_away(&tree, &place);
        let shown = place.display();
        let plain = ours::plan(tree.root(), &[], ALL, &[]).await;
        let planned = without(&tree, "ENOSYS").await;
        if is_refused {
            for planned in [&plain, &planned] {
                assert_eq!(planned.code, Some(3), "{shown}: {planned:?}");
                assert_eq!(planned.refusals(), ["listing_incomplete"], "{shown}");
            }
        } else {
            assert_eq!(planned.damaged().len(), 1, "{shown}: {planned:?}");
            assert_eq!(planned.stdout, plain.stdout, "{shown}");
        }
    }
}

/// Leaves a link where something was, to where it is now: whoever follows it sees the same.
fn move_away(tree: &Tree, place: &Path) {
    let away = tree.root().join("away");
    fs::rename(place, &away).unwrap();
    symlink(&away, place).unwrap();
}
