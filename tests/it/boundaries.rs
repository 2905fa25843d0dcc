//! Who may import whom: a module that decides reads no clock, no disk and no network, and what fetches
//! does not know what is done with it. Held by looking at the source text, so that a new import is a
//! decision and not an accident.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};

/// What pure code must not name.
const IMPURE: &[&str] = &[
    "tokio::",
    "reqwest::",
    "axum::",
    "kube::",
    "tracing::",
    "redb::",
    "std::fs",
    "std::env",
    "std::net::Tcp",
    "std::time::SystemTime",
    "Timestamp::now",
];

/// Files or folders below `src`, and what they must not name besides.
const PURE: &[(&str, &[&str])] = &[
    (
        "oci",
        &[
            "crate::config",
            "crate::inventory",
            "crate::registry",
            "crate::verify",
            "crate::state",
        ],
    ),
    ("oci.rs", &[]),
    (
        "credentials",
        &["crate::registry", "crate::verify", "crate::inventory"],
    ),
    (
        "credentials.rs",
        &["crate::registry", "crate::verify", "crate::inventory"],
    ),
    (
        "credential_source/aws/sigv4.rs",
        &["crate::registry", "crate::clock"],
    ),
    (
        "images.rs",
        &["crate::registry", "crate::app", "crate::http"],
    ),
    ("images", &["crate::registry", "crate::app", "crate::http"]),
    (
        "state.rs",
        &[
            "crate::app",
            "crate::http",
            "crate::metrics",
            "crate::store",
        ],
    ),
    (
        "state",
        &[
            "crate::app",
            "crate::http",
            "crate::metrics",
            "crate::store",
        ],
    ),
    (
        "gc.rs",
        &[
            "crate::registry",
            "crate::app",
            "crate::http",
            "crate::config",
        ],
    ),
    (
        "gc",
        &[
            "crate::registry",
            "crate::app",
            "crate::http",
            "crate::config",
        ],
    ),
    (
        "collection",
        &[
            "crate::registry",
            "crate::app",
            "crate::http",
            "crate::config",
            "crate::vault",
        ],
    ),
    ("pattern.rs", &[]),
    ("retention.rs", &[]),
    (
        "retention",
        &[
            "crate::registry",
            "crate::app",
            "crate::http",
            "crate::vault",
            "crate::storage",
        ],
    ),
    ("storage/layout.rs", &["crate::gc"]),
    ("storage/s3/bulk.rs", &["crate::registry"]),
    ("storage/s3/chain.rs", &["crate::registry"]),
    ("storage/s3/etag.rs", &["crate::registry"]),
    ("storage/s3/history.rs", &["crate::registry"]),
    ("storage/s3/history", &["crate::registry"]),
    ("storage/s3/lifecycle.rs", &["crate::registry"]),
    ("storage/s3/operation.rs", &["crate::registry"]),
    ("storage/s3/page.rs", &["crate::registry"]),
    ("storage/s3/parts.rs", &["crate::registry"]),
    ("storage/s3/question.rs", &["crate::registry"]),
    ("storage/s3/ranges.rs", &["crate::registry"]),
    ("storage/s3/refusal.rs", &["crate::registry"]),
    ("storage/s3/tree.rs", &["crate::registry"]),
    ("cli/gc/table.rs", &["crate::registry", "crate::app"]),
    ("registry/kind.rs", &[]),
    (
        "cli/gc/windows/words.rs",
        &["crate::registry", "crate::app"],
    ),
    (
        "traffic.rs",
        &["crate::registry", "crate::state", "crate::http"],
    ),
    ("registry/limiter.rs", &[]),
    ("registry/pause.rs", &[]),
    ("registry/quota.rs", &[]),
    ("registry/quotas.rs", &[]),
    ("mirrors.rs", &["crate::state", "crate::store"]),
    ("remembered.rs", &["crate::state", "crate::store"]),
    (
        "view.rs",
        &[
            "crate::app",
            "crate::http",
            "crate::metrics",
            "crate::store",
        ],
    ),
    (
        "inventory.rs",
        &["crate::registry", "crate::verify", "crate::state"],
    ),
    (
        "inventory/extract.rs",
        &["crate::registry", "crate::verify", "crate::state"],
    ),
    (
        "inventory/extract",
        &["crate::registry", "crate::verify", "crate::state"],
    ),
    (
        "inventory/marks.rs",
        &[
            "crate::registry",
            "crate::verify",
            "crate::state",
            "crate::images",
            "crate::gc",
        ],
    ),
    (
        "inventory/completeness.rs",
        &["crate::registry", "crate::state", "crate::app"],
    ),
    (
        "inventory/peer.rs",
        &["crate::registry", "crate::state", "crate::app"],
    ),
    (
        "inventory/peer/answer.rs",
        &["crate::registry", "crate::state", "crate::app"],
    ),
    (
        "inventory/peer/judge.rs",
        &["crate::registry", "crate::state", "crate::app"],
    ),
    (
        "inventory/peer/told.rs",
        &["crate::registry", "crate::state", "crate::app"],
    ),
    (
        "inventory/running.rs",
        &["crate::registry", "crate::verify", "crate::state"],
    ),
    (
        "inventory/running",
        &["crate::registry", "crate::verify", "crate::state"],
    ),
    (
        "inventory/ledger.rs",
        &[
            "crate::registry",
            "crate::state",
            "crate::store",
            "crate::app",
        ],
    ),
    (
        "inventory/keepset.rs",
        &[
            "crate::registry",
            "crate::state",
            "crate::store",
            "crate::app",
        ],
    ),
    (
        "events.rs",
        &[
            "crate::registry",
            "crate::store",
            "crate::app",
            "crate::config",
        ],
    ),
    (
        "events",
        &[
            "crate::registry",
            "crate::store",
            "crate::app",
            "crate::config",
        ],
    ),
    (
        "drift.rs",
        &[
            "crate::registry",
            "crate::state",
            "crate::store",
            "crate::app",
        ],
    ),
    (
        "drift",
        &[
            "crate::registry",
            "crate::state",
            "crate::store",
            "crate::app",
        ],
    ),
    ("inventory/loss.rs", &["crate::"]),
    (
        "inventory/stored.rs",
        &["crate::registry", "crate::state", "crate::app"],
    ),
    ("second.rs", &["crate::"]),
    (
        "verify/finding.rs",
        &["crate::registry", "crate::inventory"],
    ),
    ("verify/finding", &["crate::registry", "crate::inventory"]),
    ("verify/judge.rs", &["crate::registry", "crate::inventory"]),
    ("verify/node.rs", &["crate::registry", "crate::inventory"]),
    (
        "verify/question.rs",
        &["crate::registry", "crate::inventory"],
    ),
    ("verify/round.rs", &["crate::registry", "crate::inventory"]),
    ("verify/table.rs", &["crate::registry", "crate::inventory"]),
    ("verify/target.rs", &["crate::registry", "crate::inventory"]),
    (
        "registry/challenge.rs",
        &["crate::inventory", "crate::state"],
    ),
    ("registry/fault.rs", &["crate::inventory", "crate::state"]),
    ("metrics/catalog.rs", &["crate::registry", "crate::app"]),
    ("metrics/workloads.rs", &["crate::registry", "crate::app"]),
    ("http/filter.rs", &["crate::registry", "crate::app"]),
    ("http/page/address.rs", &[]),
    ("http/page/collection.rs", &[]),
    ("http/page/collection", &[]),
    ("http/page/drift.rs", &[]),
    ("http/page/form.rs", &[]),
    ("http/page/head.rs", &[]),
    ("http/page/image.rs", &[]),
    ("http/page/image", &[]),
    ("http/page/list.rs", &[]),
    ("http/page/overview.rs", &[]),
    ("http/page/picture.rs", &[]),
    ("http/page/questions.rs", &[]),
    ("http/page/registries.rs", &[]),
    ("http/page/told.rs", &[]),
    ("http/page/words.rs", &[]),
    ("cli/table.rs", &["crate::registry", "crate::app"]),
    ("explain.rs", &["crate::app", "crate::cli"]),
    ("explain", &["crate::app", "crate::cli"]),
    ("cli/explain/asked.rs", &["crate::registry", "crate::app"]),
    ("cli/explain/drawing.rs", &["crate::registry", "crate::app"]),
    ("cli/explain/page.rs", &["crate::registry", "crate::app"]),
    ("cli/explain/page", &["crate::registry", "crate::app"]),
    ("cli/explain/text.rs", &["crate::registry", "crate::app"]),
];

/// Shells: what each must not know.
const SHELLS: &[(&str, &[&str])] = &[
    (
        "registry",
        &[
            "crate::state",
            "crate::inventory",
            "crate::images",
            "crate::app",
            "axum::",
            "kube::",
        ],
    ),
    (
        "credential_source",
        &[
            "crate::state",
            "crate::inventory",
            "crate::verify",
            "crate::app",
            "axum::",
            "kube::",
        ],
    ),
    (
        "inventory/cluster",
        &[
            "crate::state",
            "crate::registry",
            "crate::verify",
            "crate::app",
            "axum::",
        ],
    ),
    (
        "inventory/peer/client.rs",
        &[
            "crate::state",
            "crate::registry",
            "crate::verify",
            "crate::app",
            "axum::",
            "kube::",
        ],
    ),
    (
        "verify/engine.rs",
        &[
            "reqwest::",
            "axum::",
            "kube::",
            "crate::registry",
            "crate::state",
        ],
    ),
    (
        "http",
        &[
            "crate::registry",
            "crate::store",
            "crate::app",
            "reqwest::",
            "kube::",
        ],
    ),
    (
        "metrics",
        &["crate::app", "crate::store", "reqwest::", "kube::"],
    ),
    (
        "store.rs",
        &["crate::state", "crate::app", "crate::inventory"],
    ),
    ("store", &["crate::state", "crate::app", "crate::inventory"]),
];

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(path)
}

/// Every Rust file at or below a path.
fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let below = entries.flat_map(|entry| files(&entry.unwrap().path()));
    below
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// The code without its comments and without its tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn is_test(path: &Path) -> bool {
    path.components()
        .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
}

fn check(path: &str, forbidden: &[&str], problems: &mut Vec<String>) {
    for file in files(&source(path)).iter().filter(|file| !is_test(file)) {
        let code = code(file);
        for name in forbidden.iter().filter(|name| code.contains(**name)) {
            problems.push(format!("{} names {name}", file.display()));
        }
    }
}

#[test]
fn what_decides_reads_no_clock_no_disk_and_no_network() {
    let mut problems = Vec::new();
    for (path, more) in PURE {
        check(path, IMPURE, &mut problems);
        check(path, more, &mut problems);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn what_fetches_does_not_know_what_for() {
    let mut problems = Vec::new();
    for (path, forbidden) in SHELLS {
        check(path, forbidden, &mut problems);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn tasks_are_spawned_by_app_and_delays_come_from_one_file() {
    let mut problems = Vec::new();
    for file in files(&source("")).iter().filter(|file| !is_test(file)) {
        let name = file
            .strip_prefix(source(""))
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let code = code(file);
        if code.contains("tokio::spawn") && !name.starts_with("app") {
            problems.push(format!("{name} spawns a task"));
        }
        if code.contains("backoff::") && name != "registry/retry.rs" {
            problems.push(format!("{name} names backoff"));
        }
        if code.contains("croner::") && name != "gc/window/schedule.rs" {
            problems.push(format!("{name} names croner"));
        }
        if code.contains("tokio_cron_scheduler::") && name != "app/windows.rs" {
            problems.push(format!("{name} names tokio-cron-scheduler"));
        }
        if code.contains("Timestamp::now") && name != "clock.rs" {
            problems.push(format!("{name} reads the clock"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// What collects garbage takes a complete inventory: if another place could make one, that would say
/// nothing. The fields are private, which the compiler holds; here it is held that nothing else does.
#[test]
fn only_one_function_takes_an_inventory_for_the_whole_truth() {
    let code = code(&source("inventory/completeness.rs"));
    let declared = "#[derive(Debug)]\npub struct CompleteInventory {\n    inventory: \
                    Arc<Inventory>,\n    at: Timestamp,\n}";
    assert!(
        code.contains(declared),
        "its fields are private, and nothing is derived that makes one"
    );
    let made = code.matches("CompleteInventory {").count();
    // The declaration, the methods, and the one place.
    assert_eq!(made, 3);
    assert_eq!(code.matches("Ok(CompleteInventory {").count(), 1);
    assert!(!code.contains("-> Self") || !code.contains("for CompleteInventory"));
    let keepset = fs::read_to_string(source("inventory/keepset.rs")).unwrap();
    let makers = keepset.matches("-> Self").count();
    let of_complete = keepset.matches("complete: &CompleteInventory,").count();
    assert_eq!(
        (makers, of_complete),
        (2, 2),
        "a keep-set is made of a complete inventory only"
    );
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let silent: Vec<String> = files(&source(""))
        .iter()
        .filter(|file| !is_test(file))
        .filter(|file| !fs::read_to_string(file).unwrap().starts_with("//!"))
        .map(|file| file.display().to_string())
        .collect();
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}
