//! The README against the code: what it lists must be what there is.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use pullproof::metrics::catalog::{self, Kind};
use pullproof::verify::finding::{Code, Verdict};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The table of metrics as the README has it, made from the catalogue.
fn metrics_table() -> String {
    let mut table = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for metric in catalog::ALL {
        let (suffix, kind) = match metric.kind {
            Kind::Gauge => ("", "gauge"),
            Kind::Counter => ("_total", "counter"),
            Kind::Histogram => ("", "histogram"),
            Kind::Info => ("_info", "info"),
        };
        let labels = match metric.labels.strip_prefix(&catalog::WORKLOAD) {
            Some(more) => ["W"]
                .iter()
                .chain(more)
                .copied()
                .collect::<Vec<_>>()
                .join(", "),
            None => metric.labels.join(", "),
        };
        let name = metric.name;
        writeln!(
            table,
            "| `{name}{suffix}` | {kind} | {labels} | {} |",
            metric.help
        )
        .unwrap();
    }
    table
}

fn reasons() -> String {
    let of = |verdict: Verdict| {
        let codes = Code::ALL.iter().filter(|code| code.verdict() == verdict);
        codes
            .map(|code| format!("`{code}`"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    format!(
        "Broken: {}; unknown: {}",
        of(Verdict::Broken),
        of(Verdict::Unknown)
    )
}

#[test]
fn the_table_of_metrics_is_the_catalogue() {
    assert!(
        read("README.md").contains(&metrics_table()),
        "it should be:\n{}",
        metrics_table()
    );
}

#[test]
fn the_reasons_are_the_codes() {
    assert!(
        read("README.md").contains(&reasons()),
        "it should be:\n{}",
        reasons()
    );
}

#[test]
fn every_alert_leads_to_a_heading() {
    let readme = read("README.md");
    let headings: Vec<String> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .map(str::to_lowercase)
        .collect();
    let rules = read("alerts/pullproof.rules.yaml");
    let mut count = 0;
    for line in rules
        .lines()
        .filter(|line| line.trim_start().starts_with("runbook_url:"))
    {
        let (_, anchor) = line.rsplit_once('#').expect("an anchor");
        let anchor = anchor.trim_matches(['"', '\'', ' ']);
        assert!(
            headings.iter().any(|heading| heading == anchor),
            "no heading for #{anchor}"
        );
        count += 1;
    }
    assert!(count > 5, "the rules have runbooks");
}

#[test]
fn its_files_and_commands_are_there() {
    let readme = read("README.md");
    for (at, _) in readme.match_indices("](") {
        let target = readme[at + 2..].split(')').next().unwrap_or_default();
        if !target.starts_with('#') && !target.starts_with("https://") {
            assert!(path(target).exists(), "{target} is not there");
        }
    }
    for command in ["cargo run --release -- demo", "make test"] {
        assert!(readme.contains(command), "{command}");
    }
    let makefile = read("Makefile");
    for target in ["test", "long", "bench"] {
        assert!(makefile.contains(&format!("\n{target}: ")), "make {target}");
    }
}
