//! Finds the real programs that a test needs, and decides what happens without them.
//!
//! At a desk a missing part skips the test, with a line on the terminal that nobody can overlook.
//! In CI it fails it: a gate that skips proves nothing.

use std::io::Write as _;
use std::path::PathBuf;

/// Leaves the test when a part is missing, after saying so; panics where `CI` is true.
macro_rules! require {
    ($($part:literal),+ $(,)?) => {
        if !$crate::support::parts::are_present(&[$($part),+]) {
            return;
        }
    };
}
pub(crate) use require;

/// The same, of what a cluster is made of ([`super::cluster`]) and these.
macro_rules! require_cluster {
    ($($part:literal),* $(,)?) => {
        $crate::support::parts::require!(
            "etcd",
            "kube-apiserver",
            "kube-controller-manager",
            "kubectl",
            "openssl"
            $(, $part)*
        )
    };
}
pub(crate) use require_cluster;

/// Where `tests/testbed/install` puts what it builds.
pub(crate) fn testbed() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(testbed) = variable("PULLPROOF_TESTBED") {
        return testbed.into();
    }
    variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_default()
        .join("pullproof-testbed")
}

/// The test bed's own build first, since it is the pinned one; then what the machine has.
/// `/usr/sbin` is named because Debian puts programs there and not on every user's `PATH`.
pub(crate) fn find(part: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(testbed().join("bin"))
        .chain(std::env::split_paths(&path))
        .chain(["/usr/bin", "/usr/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(part))
        .find(|candidate| candidate.is_file())
}

/// The program, in a test that required it.
pub(crate) fn path(part: &str) -> PathBuf {
    find(part).unwrap_or_else(|| panic!("{part} is missing; run tests/testbed/install"))
}

/// Use it through [`require!`].
pub(crate) fn are_present(parts: &[&str]) -> bool {
    let missing: Vec<&str> = parts
        .iter()
        .copied()
        .filter(|part| find(part).is_none())
        .collect();
    if missing.is_empty() {
        return true;
    }
    // The test runner names its threads after the tests.
    let thread = std::thread::current();
    let line = skip_line(thread.name().unwrap_or("main"), &missing);
    assert!(!is_ci(), "{line}");
    // Written past `println!`, whose output the runner shows for failed tests only.
    std::io::stderr()
        .write_all(line.as_bytes())
        .expect("standard error is open");
    false
}

fn skip_line(test: &str, missing: &[&str]) -> String {
    let verb = if missing.len() == 1 { "is" } else { "are" };
    format!(
        "SKIPPED test {test}: {} {verb} missing, run tests/testbed/install\n",
        missing.join(", ")
    )
}

fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}

#[test]
fn a_skip_names_the_test_the_parts_and_the_way_out() {
    assert_eq!(
        skip_line("gc::frees", &["crane", "hey"]),
        "SKIPPED test gc::frees: crane, hey are missing, run tests/testbed/install\n"
    );
}

#[test]
fn a_part_that_does_not_exist_is_not_found() {
    assert_eq!(find("pullproof-no-such-part"), None);
    assert!(find("sh").is_some());
}
