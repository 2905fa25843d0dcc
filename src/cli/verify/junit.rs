//! `verify -o junit`: a test suite for each registry, a test case for each image, as GitLab, Jenkins and
//! their like read it. Pure.
//!
//! Broken is a `failure`. Unknown is an `error` where it counts (`--fail-on unknown`), and `skipped` where
//! it does not: a pipeline that passes must not show a red test.

use std::collections::BTreeMap;

use askama::Template;

use super::places::{Place, Places};
use crate::verify::finding::{Finding, Verdict};
use crate::view::{Image, SourceView, Verify};

#[derive(Template)]
#[template(path = "junit.xml", escape = "html")]
struct Junit {
    seconds: String,
    sum: Counts,
    suites: Vec<Suite>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    tests: usize,
    failures: usize,
    errors: usize,
    /// The strictest reader (Jenkins' xUnit plugin) takes it of a suite only.
    skipped: usize,
}

struct Suite {
    name: String,
    counts: Counts,
    cases: Vec<Case>,
}

struct Case {
    class: String,
    name: String,
    ended: Ended,
}

enum Ended {
    Passed,
    Failure(Problem),
    Error(Problem),
    Skipped(Problem),
}

struct Problem {
    code: String,
    message: String,
    details: String,
}

/// `counts_unknown` says that what is unknown fails the run.
pub(super) fn junit(
    view: &Verify,
    sources: &[SourceView],
    places: &Places,
    counts_unknown: bool,
) -> Result<String, askama::Error> {
    let mut by_registry: BTreeMap<&str, Vec<Case>> = BTreeMap::new();
    for image in &view.images {
        by_registry
            .entry(&image.registry)
            .or_default()
            .push(case(image, places, counts_unknown));
    }
    let registries = by_registry.into_iter().map(|(registry, cases)| {
        let name = if registry.is_empty() {
            "not an image reference"
        } else {
            registry
        };
        suite(name, cases)
    });
    let read = sources
        .iter()
        .map(|source| source_case(source, counts_unknown));
    let inventory = suite("inventory", read.collect());
    let suites: Vec<Suite> = registries
        .chain((!sources.is_empty()).then_some(inventory))
        .collect();
    let mut sum = Counts::default();
    for Suite { counts, .. } in &suites {
        sum.tests += counts.tests;
        sum.failures += counts.failures;
        sum.errors += counts.errors;
    }
    let rendered = Junit {
        seconds: format!("{:.3}", view.duration_seconds),
        sum,
        suites,
    }
    .render()?;
    Ok(rendered)
}

fn suite(name: &str, cases: Vec<Case>) -> Suite {
    let mut counts = Counts::default();
    for case in &cases {
        counts.tests += 1;
        match case.ended {
            Ended::Passed => {}
            Ended::Failure(_) => counts.failures += 1,
            Ended::Error(_) => counts.errors += 1,
            Ended::Skipped(_) => counts.skipped += 1,
        }
    }
    Suite {
        name: printable(name),
        counts,
        cases,
    }
}

fn case(image: &Image, places: &Places, counts_unknown: bool) -> Case {
    let path = image.reference.split('@').next().unwrap_or_default();
    let class = match (path.rfind(':'), path.rfind('/')) {
        (Some(tag), slash) if slash.is_none_or(|slash| slash < tag) => path.get(..tag),
        (_, _) => Some(path),
    };
    let name = match &image.credential {
        Some(credential) => format!("{} ({credential})", image.reference),
        None => image.reference.clone(),
    };
    let written = image.used_by.iter().map(|user| &*user.image);
    let place = written
        .chain([image.reference.as_str()])
        .find_map(|written| places.get(written));
    Case {
        class: printable(class.unwrap_or_default()),
        name: printable(&name),
        ended: match image.verdict {
            Verdict::Pullable => Ended::Passed,
            Verdict::Broken => Ended::Failure(problem(image, place)),
            Verdict::Unknown if counts_unknown => Ended::Error(problem(image, place)),
            Verdict::Unknown => Ended::Skipped(problem(image, place)),
        },
    }
}

fn source_case(source: &SourceView, counts_unknown: bool) -> Case {
    let problem = source.reason.as_ref().map(|reason| Problem {
        code: "incomplete".to_owned(),
        message: printable(reason),
        details: String::new(),
    });
    Case {
        class: "inventory".to_owned(),
        name: printable(&source.name),
        ended: match problem {
            None => Ended::Passed,
            Some(problem) if counts_unknown => Ended::Error(problem),
            Some(problem) => Ended::Skipped(problem),
        },
    }
}

/// The finding that decides first, and all of them in its text.
fn problem(image: &Image, place: Option<&Place>) -> Problem {
    let mut findings: Vec<&Finding> = image.findings.iter().collect();
    findings.sort_by_key(|finding| (!finding.needed, std::cmp::Reverse(finding.code.verdict())));
    let mut lines = Vec::new();
    for finding in &findings {
        let platform = finding.platform.as_ref();
        let platform = platform.map(|platform| format!(" {platform}"));
        let aside = if finding.needed {
            ""
        } else {
            " (no node needs it)"
        };
        let platform = platform.unwrap_or_default();
        lines.push(format!(
            "{}{platform}: {}{aside}",
            finding.code, finding.message
        ));
    }
    if let Some(Place { file, line }) = place {
        lines.push(format!("named in {file}, line {line}"));
    }
    let users = image.used_by.iter();
    lines.extend(users.map(|user| {
        let (kind, namespace, name) = (&user.kind, &user.namespace, &user.name);
        format!("used by {kind} {namespace}/{name} ({})", user.container)
    }));
    let first = findings.first();
    Problem {
        code: first.map_or_else(
            || image.verdict.to_string(),
            |finding| finding.code.to_string(),
        ),
        message: first.map_or_else(String::new, |finding| printable(&finding.message)),
        details: printable(&lines.join("\n")),
    }
}

/// Without what XML 1.0 cannot hold, not even escaped (its production `Char`).
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' | '\n' | '\r' => c,
            '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
            c if c < ' ' => '\u{fffd}',
            c => c,
        })
        .collect()
}
