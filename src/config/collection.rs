//! Storages, and what is garbage in them: the values and their check.

use std::path::PathBuf;
use std::time::Duration;

use super::check::Checker;
use super::endpoint::Endpoint;
use super::problem::quoted;
use super::raw;
use crate::gc::window::Window;
use crate::pattern::Pattern;

/// Requests to a bucket are small, and most of their time is on the way.
const S3_CONCURRENCY: u32 = 64;

/// Where a registry keeps its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// The registry's `rootdirectory`.
    Filesystem(PathBuf),
    S3(S3),
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3 {
    /// `None`: the region's own.
    pub endpoint: Option<Endpoint>,
    pub region: String,
    pub bucket: String,
    /// The registry's `rootdirectory` in it, without slashes around it; empty for the bucket's root.
    pub prefix: String,
    /// `None`: what the environment gives.
    pub access_key: Option<PathBuf>,
    /// PEM; trusted besides the system's.
    pub ca: Option<PathBuf>,
    /// Requests in flight, 1 to 1024.
    pub max_concurrency: u32,
}

/// What is garbage.
#[derive(Debug, Clone, PartialEq)]
pub struct Gc {
    /// Which repositories are collected; at least one.
    pub repositories: Vec<Pattern>,
    /// Whether manifests that nothing leads to are kept all the same.
    pub keeps_untagged: bool,
    /// Whether what a tag named before is kept.
    pub keeps_tag_history: bool,
    /// What was written or linked since is not garbage yet.
    pub minimum_age: Duration,
    /// When a collection may run; without any, never by itself.
    pub windows: Vec<Window>,
    /// From 0 to 100: a plan that takes more of a storage's blobs or bytes is refused.
    pub alarm_percent: f64,
}

impl Default for Gc {
    fn default() -> Self {
        Self {
            repositories: vec![Pattern::all()],
            keeps_untagged: true,
            keeps_tag_history: true,
            minimum_age: Duration::from_hours(24),
            windows: Vec::new(),
            alarm_percent: 50.0,
        }
    }
}

impl Checker<'_, '_> {
    /// What is written under `gc`, over the defaults given.
    pub(super) fn gc(&mut self, path: &str, raw: raw::Gc, defaults: &Gc) -> Gc {
        let raw::Gc {
            // There is one so far.
            mode: None | Some(raw::GcMode::Plan),
            repositories,
            untagged,
            tag_history,
            minimum_age,
            windows,
            alarm_percent,
        } = raw;
        let keeps = |fate: Option<raw::Fate>, default| match fate {
            None => default,
            Some(raw::Fate::Keep) => true,
            Some(raw::Fate::Delete) => false,
        };
        Gc {
            repositories: match repositories {
                None => defaults.repositories.clone(),
                Some(patterns) => self.patterns(&format!("{path}.repositories"), patterns),
            },
            keeps_untagged: keeps(untagged, defaults.keeps_untagged),
            keeps_tag_history: keeps(tag_history, defaults.keeps_tag_history),
            minimum_age: minimum_age.map_or(defaults.minimum_age, |text| {
                self.duration(&format!("{path}.minimumAge"), &text)
            }),
            windows: match windows {
                None => defaults.windows.clone(),
                Some(windows) => self.windows(&format!("{path}.windows"), windows),
            },
            alarm_percent: alarm_percent.unwrap_or(defaults.alarm_percent),
        }
    }

    fn patterns(&mut self, path: &str, texts: Vec<String>) -> Vec<Pattern> {
        if texts.is_empty() {
            let message = "it is empty: nothing would be collected; write [\"**\"] for all";
            self.report.add(path, message);
        }
        let mut patterns = Vec::with_capacity(texts.len());
        for (index, text) in texts.into_iter().enumerate() {
            match text.parse() {
                Ok(pattern) => patterns.push(pattern),
                Err(problem) => {
                    let message = format!(
                        "{} is not a pattern of repositories: {problem}; expected one as team/app, \
                         sandbox/* or sandbox/**",
                        quoted(&text)
                    );
                    self.report.add(&format!("{path}[{index}]"), message);
                }
            }
        }
        patterns
    }

    pub(super) fn storage(&mut self, path: &str, raw: raw::Storage) -> Option<Storage> {
        match (raw.filesystem, raw.s3) {
            (Some(_), Some(_)) => {
                let message = "`filesystem` and `s3` are two places; keep one of them";
                self.report.add(&format!("{path}.s3"), message);
                None
            }
            (Some(raw::Filesystem { root }), None) => {
                let root = root.unwrap_or_default();
                let file = self.file(&format!("{path}.filesystem.root"), root);
                Some(Storage::Filesystem(file))
            }
            (None, Some(raw)) => Some(Storage::S3(self.s3(&format!("{path}.s3"), raw))),
            (None, None) => {
                if !self.report.has(path) {
                    let message = "nothing is in it; write {filesystem: {root: DIRECTORY}} or {s3: \
                                   {region: REGION, bucket: BUCKET}}";
                    self.report.add(path, message);
                }
                None
            }
        }
    }

    fn s3(&mut self, path: &str, raw: raw::S3) -> S3 {
        let of = |key: &str| format!("{path}.{key}");
        let endpoint = raw.endpoint.and_then(|text| {
            let endpoint = self.url(&of("endpoint"), &text)?;
            if !endpoint.path_prefix.is_empty() {
                let message = "it has a path; the bucket and the prefix have keys of their own";
                self.report.add(&of("endpoint"), message);
            }
            Some(endpoint)
        });
        let region = raw.region.unwrap_or_default();
        let bucket = raw.bucket.unwrap_or_default();
        let is_letter = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        for (key, text) in [("region", &region), ("bucket", &bucket)] {
            if (text.is_empty() || !text.chars().all(is_letter)) && !self.report.has(&of(key)) {
                let message = format!("{} is not the name of a {key}", quoted(text));
                self.report.add(&of(key), message);
            }
        }
        let prefix = raw.prefix.unwrap_or_default();
        let prefix = prefix.trim_matches('/');
        if prefix.split('/').any(|part| matches!(part, "." | "..")) || prefix.contains("//") {
            let message = format!(
                "{} is not a prefix: expected names with / between them",
                quoted(prefix)
            );
            self.report.add(&of("prefix"), message);
        }
        let access_key = raw.credentials.and_then(|it| it.access_key?.file);
        S3 {
            endpoint,
            region,
            bucket,
            prefix: prefix.to_owned(),
            access_key: access_key.map(|file| self.file(&of("credentials.accessKey.file"), file)),
            ca: (raw.ca.and_then(|ca| ca.file)).map(|file| self.file(&of("ca.file"), file)),
            max_concurrency: raw.max_concurrency.unwrap_or(S3_CONCURRENCY),
        }
    }
}
