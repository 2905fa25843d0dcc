//! Kubernetes YAML and JSON, from files or from a text: what a cluster would be asked to run.
//!
//! A document that cannot be read makes the source incomplete and says where; all others are used
//! all the same. Messages carry no line of a file: a link may lead to one that is nobody's business.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use serde_saphyr::NonFiniteFloatPolicy;

use super::extract::{Account, Interner, Scope, Workload, image_uses, workloads};
use super::references::read_file;
use super::{Class, ImageUse, PullSecret, SourceState, summary};

use self::documents::{Document, documents};

mod documents;
mod files;

/// The largest file that is read.
pub const FILE_BYTES_MAX: u64 = 16 << 20;
/// How many files one source may have.
pub const FILES_MAX: usize = 20_000;
/// How deep directories are followed.
pub const DEPTH_MAX: usize = 32;

/// Reads files, and directories with all that is below them.
pub fn read(name: &str, paths: &[PathBuf], now: Timestamp) -> SourceState {
    let mut reading = Reading::default();
    for path in paths {
        let (files, problems) = files::below(path);
        reading.problems.extend(problems);
        for file in files {
            match read_file(&file, FILE_BYTES_MAX) {
                Ok(text) => reading.take(&file.display().to_string(), &text),
                Err(problem) => reading.problem(&file.display().to_string(), &problem),
            }
        }
    }
    reading.into_state(name, now)
}

/// The files below these paths that can be read, by name and text.
pub fn texts(paths: &[PathBuf]) -> Vec<(String, String)> {
    let files = paths.iter().flat_map(|path| files::below(path).0);
    files
        .filter_map(|file| {
            let text = read_file(&file, FILE_BYTES_MAX).ok()?;
            Some((file.display().to_string(), text))
        })
        .collect()
}

/// Reads a text that is already here, as from standard input.
pub fn read_text(name: &str, text: &str, now: Timestamp) -> SourceState {
    let mut reading = Reading::default();
    reading.take(name, text);
    reading.into_state(name, now)
}

/// The values of a text's documents; those that cannot be read are errors without a word of the text.
pub(super) fn values(text: &str) -> impl Iterator<Item = Result<Value, ()>> {
    let documents = documents(text).into_iter();
    documents.map(|document| parse(&document).map_err(|_quotes_the_text| ()))
}

#[derive(Default)]
struct Reading {
    interner: Interner,
    workloads: Vec<Workload>,
    problems: Vec<String>,
}

impl Reading {
    fn take(&mut self, file: &str, text: &str) {
        for document in documents(text) {
            let place = format!("{file}: document {}", document.number);
            match parse(&document) {
                Ok(manifest) => self.take_manifest(&place, &document, manifest),
                Err((line, problem)) => self.problem(&format!("{place}, line {line}"), &problem),
            }
        }
    }

    fn take_manifest(&mut self, place: &str, document: &Document<'_>, manifest: Value) {
        match manifest {
            // Helm leaves empty documents behind; a patch in JSON is a sequence.
            Value::Null | Value::Array(_) => {}
            Value::Object(_) => match workloads(manifest, &mut self.interner) {
                Ok(found) => self.workloads.extend(found),
                Err(problem) => {
                    self.problem(&format!("{place}, line {}", document.first_line), &problem);
                }
            },
            Value::Bool(_) | Value::Number(_) | Value::String(_) => self.problem(
                &format!("{place}, line {}", document.first_line),
                "it is not a Kubernetes object",
            ),
        }
    }

    fn problem(&mut self, place: &str, problem: &str) {
        self.problems.push(format!("{place}: {problem}"));
    }

    fn into_state(mut self, name: &str, now: Timestamp) -> SourceState {
        let namespace = self.interner.text("default");
        for workload in &mut self.workloads {
            if workload.namespace.is_empty() {
                workload.namespace = Arc::clone(&namespace);
            }
        }
        let scope = Scope {
            cluster: None,
            class: Class::Runtime,
        };
        // The accounts of no cluster in particular give nothing.
        let uses = image_uses(self.workloads.iter(), &scope, |_, _| {
            Account::Known([].into())
        });
        let incomplete = summary(&self.problems);
        SourceState {
            complete_at: incomplete.is_none().then_some(now),
            incomplete,
            pull_secrets: Arc::new(secrets_elsewhere(&uses)),
            uses: uses.into(),
            ..SourceState::unread(name)
        }
    }
}

/// A manifest names pull secrets, but only a cluster holds them.
fn secrets_elsewhere(uses: &[ImageUse]) -> BTreeMap<(Arc<str>, Arc<str>), PullSecret> {
    uses.iter()
        .flat_map(|image_use| {
            let namespace = &image_use.user.namespace;
            image_use.pull_secrets.iter().map(|secret| {
                let reason = "pull secrets are not read from manifests".to_owned();
                (
                    (Arc::clone(namespace), Arc::clone(secret)),
                    PullSecret::Unreadable(reason),
                )
            })
        })
        .collect()
}

/// The document's value, or the line of the file and what is wrong there.
fn parse(document: &Document<'_>) -> Result<Value, (u64, String)> {
    let options = serde_saphyr::options! {
        // A list that `kubectl get -o yaml` wrote is one document; schemas nest deep.
        budget: serde_saphyr::budget! {
            max_nodes: 1_000_000,
            max_events: 3_000_000,
            max_depth: 128,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
        },
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(document.text, options).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        let text = error.without_snippet().to_string();
        (
            document.first_line + line.saturating_sub(1),
            first_line(&text),
        )
    })
}

/// Parsers like to explain at length.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    crate::oci::reference::shown(line)
}

#[cfg(test)]
mod tests;
