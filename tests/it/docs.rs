//! The README and docs/ against the code: what they list must be what there is, and what they link is there.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod cluster;
mod commands;
mod configuration;
mod demo;
mod reference;
pub(crate) mod shown;
mod storage;
mod tags;

use std::collections::BTreeSet;
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

/// The README and all of docs/, each by its path.
fn pages() -> Vec<(PathBuf, String)> {
    let docs = std::fs::read_dir(path("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    let pages = docs.filter(|path| path.extension().is_some_and(|it| it == "md"));
    let mut pages: Vec<PathBuf> = pages.collect();
    pages.push(path("README.md"));
    pages.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path, text)
    };
    pages.into_iter().map(read).collect()
}

/// The anchors of a page, as GitHub makes them of its headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut is_code = false;
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        is_code ^= line.starts_with("```");
        let Some(heading) = line.strip_prefix('#').filter(|_| !is_code) else {
            continue;
        };
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading
            .chars()
            .filter(|it| it.is_alphanumeric() || " -_".contains(*it));
        anchors.insert(kept.collect::<String>().replace(' ', "-"));
    }
    anchors
}

/// The table of metrics as docs/metrics.md has it, made from the catalogue.
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
        read("docs/metrics.md").contains(&metrics_table()),
        "it should be:\n{}",
        metrics_table()
    );
}

#[test]
fn the_reasons_are_the_codes() {
    assert!(
        read("docs/metrics.md").contains(&reasons()),
        "it should be:\n{}",
        reasons()
    );
}

#[test]
fn every_alert_leads_to_a_heading() {
    const RUNBOOKS: &str = "https://github.com/pullproof/pullproof/blob/main/";
    let rules = read("alerts/pullproof.rules.yaml");
    let mut names = BTreeSet::new();
    let mut alert = String::new();
    for line in rules.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("- alert: ") {
            name.clone_into(&mut alert);
        }
        let Some(url) = line.strip_prefix("runbook_url: ") else {
            continue;
        };
        let (page, anchor) = url.strip_prefix(RUNBOOKS).unwrap().split_once('#').unwrap();
        assert_eq!(anchor, alert.to_lowercase());
        assert!(anchors(&read(page)).contains(anchor), "{url}");
        names.insert(std::mem::take(&mut alert));
    }
    assert!(names.len() > 15, "{names:?}");
    // And the README has each of them, with its way there.
    let readme = read("README.md");
    for name in names {
        let row = format!("| [{name}](docs/alerts.md#{}) |", name.to_lowercase());
        assert!(readme.contains(&row), "{row}");
    }
}

/// The targets of a page's links.
fn links(text: &str) -> Vec<&str> {
    let after = text.match_indices("](").map(|(at, _)| &text[at + 2..]);
    after.filter_map(|rest| rest.split(')').next()).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut count = 0;
    for (page, text) in pages() {
        for link in links(&text)
            .into_iter()
            .filter(|it| !it.starts_with("https://"))
        {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                page.clone()
            } else {
                page.parent().unwrap().join(file)
            };
            assert!(target.exists(), "{}: {link} is not there", page.display());
            if !anchor.is_empty() {
                let there = anchors(&std::fs::read_to_string(&target).unwrap());
                assert!(
                    there.contains(anchor),
                    "{}: no heading for {link}",
                    page.display()
                );
            }
            count += 1;
        }
    }
    assert!(count > 50, "{count}");
}

#[test]
fn the_readme_names_every_page() {
    let readme = read("README.md");
    for (page, _) in pages() {
        let name = page.file_name().unwrap().to_str().unwrap();
        let is_named = name == "README.md" || readme.contains(&format!("(docs/{name}"));
        assert!(is_named, "docs/{name} is named nowhere");
    }
}

#[test]
fn its_commands_are_there() {
    let readme = read("README.md");
    for command in ["cargo run --release -- demo", "make test"] {
        assert!(readme.contains(command), "{command}");
    }
    let makefile = read("Makefile");
    for target in ["test", "long", "bench"] {
        assert!(makefile.contains(&format!("\n{target}: ")), "make {target}");
    }
}
