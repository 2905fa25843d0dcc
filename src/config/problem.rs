//! Problems of a configuration: where, what, and the way out.
//!
//! They are printed and logged, so no line of the file is shown with a secret in it, even where the
//! problem is that somebody wrote one there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use super::tree::Place;

/// Longer lines are shown in part.
const SNIPPET_CHARS_MAX: usize = 120;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// As `registries[1].verify.interval`; empty for the file as a whole.
    pub path: String,
    /// What is wrong, and what to write instead.
    pub message: String,
    /// The line with a mark below the place, ready to be printed; secrets are left out.
    pub snippet: String,
}

/// Everything that is wrong with one file, in the order of its lines. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// As it was given, for people.
    pub file_name: String,
    pub problems: Vec<Problem>,
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file_name,
            problems,
        } = self;
        for problem in problems {
            let Problem {
                line,
                column,
                path,
                message,
                snippet,
            } = problem;
            let separator = if path.is_empty() { "" } else { ": " };
            writeln!(
                formatter,
                "{file_name}:{line}:{column}: {path}{separator}{message}"
            )?;
            writeln!(formatter, "{snippet}")?;
        }
        let plural = if problems.len() == 1 { "" } else { "s" };
        write!(
            formatter,
            "{} problem{plural} in {file_name}",
            problems.len()
        )
    }
}

/// Collects the problems of one text.
#[derive(Debug)]
pub(super) struct Report<'text> {
    text: &'text str,
    places: BTreeMap<String, Place>,
    /// Paths of values that were left out, so that nothing is said about what they lack.
    refused: BTreeSet<String>,
    problems: Vec<Problem>,
}

impl<'text> Report<'text> {
    pub(super) fn new(text: &'text str) -> Self {
        Self {
            text,
            places: BTreeMap::new(),
            refused: BTreeSet::new(),
            problems: Vec::new(),
        }
    }

    /// Remembers where the value of a path stands.
    pub(super) fn place(&mut self, path: &str, place: Place) {
        self.places.insert(path.to_owned(), place);
    }

    pub(super) fn add_at(&mut self, place: Place, path: &str, message: impl Into<String>) {
        self.problems.push(Problem {
            line: place.line,
            column: place.column,
            path: path.to_owned(),
            message: message.into(),
            snippet: snippet(self.text, place),
        });
    }

    /// Adds a problem with the value at a path, or where it is not written, with what holds it.
    /// One problem a value: what was found wrong first (its type) explains what follows.
    pub(super) fn add(&mut self, path: &str, message: impl Into<String>) {
        if !self.has(path) {
            let place = self.find(path);
            self.add_at(place, path, message);
        }
    }

    /// Adds a problem with a value that is then left out.
    pub(super) fn refuse(&mut self, path: &str, message: impl Into<String>) {
        self.add(path, message);
        self.refused.insert(path.to_owned());
    }

    /// Whether something is known to be wrong with a value: itself, or all of what holds it.
    pub(super) fn has(&self, path: &str) -> bool {
        self.problems.iter().any(|problem| problem.path == path)
            || and_around(path).any(|path| self.refused.contains(path))
    }

    /// Whether something is known to be wrong with a value, or with what is in it.
    pub(super) fn is_below(&self, path: &str) -> bool {
        let mut problems = self.problems.iter();
        self.has(path)
            || problems.any(|problem| {
                let rest = problem.path.strip_prefix(path);
                rest.is_some_and(|rest| rest.starts_with(['.', '[']))
            })
    }

    /// Where the value of a path stands, or what holds it.
    pub(super) fn find(&self, path: &str) -> Place {
        and_around(path)
            .find_map(|path| self.places.get(path))
            .copied()
            .unwrap_or(Place::START)
    }

    pub(super) fn finish(self, file_name: &str) -> Result<(), Problems> {
        let mut problems = self.problems;
        if problems.is_empty() {
            return Ok(());
        }
        problems.sort_by_key(|problem| (problem.line, problem.column));
        Err(Problems {
            file_name: file_name.to_owned(),
            problems,
        })
    }
}

/// A path and those of what holds it, the whole document last.
fn and_around(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| {
        if path.is_empty() {
            return None;
        }
        let end = path.rfind(['.', '[']).unwrap_or(0);
        path.get(..end)
    })
}

/// A value made fit for a message: escaped, cut, and left out where it may hold a secret.
pub(super) fn quoted(text: &str) -> String {
    if text.contains('@') || text.contains("-----BEGIN") {
        return "the value (not shown, as it may hold a secret)".to_owned();
    }
    format!("`{}`", crate::oci::reference::shown(text))
}

fn snippet(text: &str, place: Place) -> String {
    let Place { line, column } = place;
    let source = text.lines().nth(line - 1).unwrap_or_default();
    let (shown, is_cut) = if is_inside_secret(text, line, source) {
        ("", true)
    } else {
        without_secret(source)
    };
    // Long lines are shown around the place.
    let first = column.saturating_sub(SNIPPET_CHARS_MAX / 2).max(1);
    let first = if source.chars().count() <= SNIPPET_CHARS_MAX {
        1
    } else {
        first
    };
    let mut window: String = shown
        .chars()
        .skip(first - 1)
        .take(SNIPPET_CHARS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let chars_shown = shown.chars().count();
    if is_cut {
        window.push_str(" [not shown]");
    }
    let mut snippet = format!("{line:>4} | {}", window.trim_end());
    if !is_cut || column <= chars_shown {
        // Writing to a String cannot fail.
        let _infallible = write!(snippet, "\n     | {:1$}^", "", column - first);
    }
    snippet
}

/// The line up to the first secret in it, and whether something was cut.
///
/// By its looks, not by the tree: a text that is no YAML has no tree, and may hold a secret too.
fn without_secret(line: &str) -> (&str, bool) {
    let may_hold_one = |key: &str, value: &str| {
        is_secret(key) && !value.is_empty() && !(names_file(key) && value.starts_with('{'))
    };
    let by_key = line.match_indices(':').find_map(|(colon, _)| {
        let key = line.get(..colon)?.trim_end_matches(['"', '\'', ' ']);
        let start = key.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
        let key = start.map_or(key, |start| key.get(start + 1..).unwrap_or_default());
        let value = line.get(colon + 1..)?.trim();
        may_hold_one(key, value).then_some(colon + 1)
    });
    let by_url = line.match_indices("://").find_map(|(scheme, _)| {
        let start = scheme + 3;
        line.get(start..)?.contains('@').then_some(start)
    });
    // `user:password@host`, with or without a scheme.
    let by_user = line.find('@').map(|at| {
        let before = line.get(..at).unwrap_or_default();
        let end = |c: char| c.is_whitespace() || "\"'[]{},".contains(c);
        before.rfind(end).map_or(0, |start| start + 1)
    });
    match by_key.into_iter().chain(by_url).chain(by_user).min() {
        Some(end) => (line.get(..end).unwrap_or_default(), true),
        None => (line, false),
    }
}

/// Whether a line is part of a secret that is written over several lines.
fn is_inside_secret(text: &str, line: usize, source: &str) -> bool {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut depth = indent(source);
    let before: Vec<&str> = text.lines().take(line - 1).collect();
    before.iter().rev().any(|parent| {
        if parent.trim().is_empty() || indent(parent) >= depth {
            return false;
        }
        depth = indent(parent);
        let key = parent.trim_start().trim_start_matches("- ");
        let key = key.split(':').next().unwrap_or_default();
        is_secret(key) && !names_file(key.trim())
    })
}

/// These hold a map that names files, as they should; anything else below them is a slip.
fn names_file(key: &str) -> bool {
    matches!(key, "credentials" | "accessKey" | "clientSecret")
}

/// Whether a key of this name would hold a secret itself, not the name of a file with it.
pub(super) fn is_secret(key: &str) -> bool {
    let key: String = key
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    matches!(
        key.as_str(),
        "auth" | "basic" | "bearer" | "credential" | "credentials" | "key" | "pass"
    ) || [
        "password",
        "passwd",
        "token",
        "secret",
        "accesskey",
        "secretkey",
        "privatekey",
        "apikey",
    ]
    .iter()
    .any(|word| key.ends_with(word))
}
