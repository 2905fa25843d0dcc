//! Kubernetes YAML and JSON, from files or from a text: what a cluster would be asked to run.
//!
//! A document that cannot be read makes the source incomplete and says where; all others are used
//! all the same. Messages carry no line of a file: a link may lead to one that is nobody's business.

use std::collections::BTreeMap;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, NonFiniteFloatPolicy};

use super::extract::{
    Account, CustomResource, Interner, Manifests, Origin, Scope, image_uses_of, marked,
};
use super::marks::{Chosen, Marks};
use super::references::read_file;
use super::{Class, ImageUse, PullSecret, SourceState, summary};
use crate::oci::reference::shown;
use crate::yaml;

use self::documents::{Document, documents};

mod documents;
mod files;

/// The largest file that is read.
pub const FILE_BYTES_MAX: u64 = 16 << 20;
/// How many files one source may have.
pub const FILES_MAX: usize = 20_000;
/// How deep directories are followed.
pub const DEPTH_MAX: usize = 32;

/// What is read of manifests besides Kubernetes' own kinds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    pub custom_resources: Vec<Arc<CustomResource>>,
    /// The labels that ride along in metrics.
    pub labels: Arc<[Chosen]>,
}

/// Reads files, and directories with all that is below them.
pub fn read(name: &str, paths: &[PathBuf], reading: &Reading, now: Timestamp) -> SourceState {
    let mut documents = Documents::new(reading);
    for path in paths {
        let (files, problems) = files::below(path);
        documents.problems.extend(problems);
        for file in files {
            match read_file(&file, FILE_BYTES_MAX) {
                Ok(text) => documents.take(&file.display().to_string(), &text),
                Err(problem) => documents.problem(&file.display().to_string(), &problem),
            }
        }
    }
    documents.into_state(name, now)
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
pub fn read_text(name: &str, text: &str, reading: &Reading, now: Timestamp) -> SourceState {
    let mut documents = Documents::new(reading);
    documents.take(name, text);
    documents.into_state(name, now)
}

/// The values of a text's documents; those that cannot be read are errors without a word of the text.
pub(super) fn values(
    text: &str,
    duplicate_keys: DuplicateKeyPolicy,
) -> impl Iterator<Item = Result<Value, ()>> {
    let documents = documents(text).into_iter();
    documents.map(move |document| parse(&document, duplicate_keys).map_err(|_quotes_the_text| ()))
}

struct Documents<'a> {
    customs: &'a [Arc<CustomResource>],
    interner: Interner,
    found: Manifests,
    problems: Vec<String>,
}

impl<'a> Documents<'a> {
    fn new(reading: &'a Reading) -> Self {
        Self {
            customs: &reading.custom_resources,
            interner: Interner::choosing(&reading.labels),
            found: Manifests::default(),
            problems: Vec::new(),
        }
    }

    fn take(&mut self, file: &str, text: &str) {
        for document in documents(text) {
            let place = format!("{file}: document {}", document.number);
            match parse(&document, DuplicateKeyPolicy::Error) {
                Ok(manifest) => self.take_manifest(&place, &document, manifest),
                Err((line, problem)) => self.problem(&format!("{place}, line {line}"), &problem),
            }
        }
    }

    fn take_manifest(&mut self, place: &str, document: &Document<'_>, manifest: Value) {
        let place = format!("{place}, line {}", document.first_line);
        match manifest {
            // Helm leaves empty documents behind.
            Value::Null => {}
            Value::Object(_) => self.take_object(&place, manifest),
            // What a generator wrote out. A patch in JSON is a sequence too, of what has no kind.
            Value::Array(items) => {
                for (number, item) in (1..).zip(items) {
                    if item.get("kind").is_some() {
                        self.take_object(&format!("{place}: item {number}"), item);
                    }
                }
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                self.problem(&place, "it is not a Kubernetes object");
            }
        }
    }

    fn take_object(&mut self, place: &str, object: Value) {
        let read = self.found.read(object, self.customs, &mut self.interner);
        if let Err(problem) = read {
            self.problem(place, &problem);
        }
        for problem in mem::take(&mut self.found.problems) {
            self.problem(place, &problem);
        }
    }

    fn problem(&mut self, place: &str, problem: &str) {
        self.problems.push(format!("{place}: {problem}"));
    }

    fn into_state(mut self, name: &str, now: Timestamp) -> SourceState {
        let namespace = self.interner.text("default");
        let Manifests {
            workloads, custom, ..
        } = &mut self.found;
        for workload in workloads.iter_mut().chain(custom) {
            if workload.namespace.is_empty() {
                workload.namespace = Arc::clone(&namespace);
            }
        }
        let scope = Scope {
            cluster: None,
            class: Class::Runtime,
        };
        // The accounts of no cluster in particular give nothing.
        let native = self.found.workloads.iter();
        let native = native.map(|workload| (Origin::Kubernetes, workload));
        let custom = self.found.custom.iter();
        let custom = custom.map(|workload| (Origin::Custom, workload));
        let all = native.chain(custom);
        let uses = image_uses_of(all.clone(), &scope, |_, _| Account::Known([].into()));
        let namespaces = mem::take(&mut self.found.namespaces);
        let marks = Marks::new(marked(all, &scope).into(), namespaces);
        self.problems.extend(self.found.misses(self.customs));
        let incomplete = summary(&self.problems);
        SourceState {
            complete_at: incomplete.is_none().then_some(now),
            incomplete,
            is_awaited: false,
            absent: self.found.unread().chain(marks.problem()).collect(),
            marks,
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
fn parse(
    document: &Document<'_>,
    duplicate_keys: DuplicateKeyPolicy,
) -> Result<Value, (u64, String)> {
    let options = serde_saphyr::options! {
        // A list that `kubectl get -o yaml` wrote is one document; schemas nest deep.
        budget: serde_saphyr::budget! {
            max_nodes: 1_000_000,
            max_events: 3_000_000,
            max_depth: 96,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
        },
        duplicate_keys: duplicate_keys,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(document.text, options).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        (
            document.first_line + line.saturating_sub(1),
            shown(&yaml::problem(&error, "a manifest")),
        )
    })
}

#[cfg(test)]
mod tests;
