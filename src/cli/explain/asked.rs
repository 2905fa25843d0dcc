//! What was asked and answered, as far as it is worth a line: what is neither a success nor what one
//! expects. Pure.

use std::fmt::Write as _;

use super::text::{Measure, counted, push};
use crate::cli::terminal::Paint;
use crate::explain::view::ExchangeView;

/// Lines that are shown; JSON has all.
const LINES_MAX: usize = 20;

/// What an answer is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worth {
    /// 200, 206.
    Plain,
    /// Nobody has the digest that nobody can have.
    Canary,
    /// Nothing stands where referrers would.
    NoReferrer,
    Token,
    /// Worth a line of its own.
    Line,
}

/// `host` is the registry as it was dialled; `is_known` tells whether a path names an object of the tree.
pub fn asked(
    exchanges: &[ExchangeView],
    host: &str,
    is_known: &dyn Fn(&str) -> bool,
    measure: Measure,
    paint: Paint,
) -> String {
    let mut text = String::new();
    push(&mut text, &paint.bold("asked"));
    let worth = |one: &&ExchangeView| worth(one, is_known);
    let count = |of: Worth| exchanges.iter().filter(|one| worth(one) == of).count();
    let mut summary = counted(exchanges.len(), "request", "requests");
    for (of, says) in [
        (Worth::Plain, "answered 200"),
        (Worth::Token, "for a token"),
        (Worth::NoReferrer, "for referrers that are not there"),
        (
            Worth::Canary,
            "for a digest that nobody has, answered 404 as it should be",
        ),
        (Worth::Line, "answered otherwise"),
    ] {
        match count(of) {
            0 => {}
            // Writing to a String cannot fail.
            count => write!(summary, ", {count} {says}").expect("a String takes every write"),
        }
    }
    let lines: Vec<&ExchangeView> = exchanges
        .iter()
        .filter(|one| worth(one) == Worth::Line)
        .collect();
    summary.push_str(if lines.is_empty() { "" } else { ":" });
    text.push_str(&measure.wrapped("  ", &summary));
    for one in lines.iter().take(LINES_MAX) {
        let start = format!(
            "  {}  {:<4} {}",
            status(one),
            one.method,
            target(one, host, measure)
        );
        let end = measure.text(&answer(one));
        if start.chars().count() + 2 + end.chars().count() <= measure.width {
            push(&mut text, &format!("{start}  {}", paint.faint(&end)));
        } else {
            push(&mut text, &start);
            for line in measure.wrapped("            ", &end).lines() {
                push(&mut text, &paint.faint(line));
            }
        }
    }
    if lines.len() > LINES_MAX {
        let more = lines.len() - LINES_MAX;
        push(
            &mut text,
            &format!("  and {more} more; -o json has all of them"),
        );
    }
    text
}

fn worth(one: &ExchangeView, is_known: &dyn Fn(&str) -> bool) -> Worth {
    let path = one.path.as_deref().unwrap_or_default();
    let stands_for_referrers =
        path.contains("/referrers/sha256:") || path.contains("/manifests/sha256-");
    match one.status {
        Some(200) if one.operation == "token" => Worth::Token,
        Some(200 | 206) => Worth::Plain,
        Some(404) if stands_for_referrers => Worth::NoReferrer,
        Some(404) if one.operation == "control" && !is_known(path) => Worth::Canary,
        Some(_) | None => Worth::Line,
    }
}

fn status(one: &ExchangeView) -> String {
    one.status
        .map_or_else(|| "---".to_owned(), |status| status.to_string())
}

/// The path on the registry itself; of another host only its name.
fn target(one: &ExchangeView, host: &str, measure: Measure) -> String {
    let range = one.range.as_ref().map(|range| format!(" {range}"));
    let range = range.unwrap_or_default();
    match &one.path {
        Some(path) if one.host == host => format!("{}{range}", measure.text(path)),
        Some(path) => format!("{}{}{range}", one.host, measure.text(path)),
        None => format!("at {}, another host{range}", one.host),
    }
}

fn answer(one: &ExchangeView) -> String {
    let mut answer = format!("{:.0} ms, {}", one.duration_ms, one.credential);
    if let Some(host) = &one.redirect {
        answer.push_str(", sends to ");
        answer.push_str(host);
    }
    if let Some(error) = &one.error {
        answer.push_str(", ");
        answer.push_str(error);
    }
    if one.status == Some(401) && one.credential == "anonymous" {
        answer.push_str(", asks who it is");
    }
    answer
}
