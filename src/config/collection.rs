//! Storages, and what is garbage in them: the values and their check.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::check::Checker;
use super::collector::Collector;
use super::endpoint::Endpoint;
use super::executor::Executor;
use super::objects::{ReadOnly, Restart, Workload};
use super::problem::quoted;
use super::raw;
use super::redis::Redis;
use crate::collection::conflicts::Rule;
use crate::collection::proven::Require;
use crate::gc::window::Window;
use crate::oci::reference::Reference;
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
    /// What has to be proven before something is taken.
    pub require: Require,
    pub mode: Mode,
    /// Known to be lost: that they are closes no gate until then.
    pub acknowledged: Vec<Acknowledged>,
    /// How long things are in quarantine before they are purged.
    pub quarantine_for: Duration,
    /// Only what a recorded plan at least this old had already is taken.
    pub rehearsal: Duration,
    /// From 0 to 100: a run takes at most so much of a storage's blobs and bytes.
    pub max_collect_percent: f64,
    pub max_collect_bytes: Option<u64>,
    pub cache: Cache,
    /// Whether the replicas are restarted once something was taken.
    pub restart: Restart,
    /// How long such a restart may take, or the redis.
    pub settle_within: Duration,
    /// What all replicas remember their blobs in, where that is made to forget.
    pub redis: Option<Redis>,
    /// Whose pods are the replicas; `None` where nobody said.
    pub workload: Option<Workload>,
    pub read_only: ReadOnly,
    /// How long a push may take.
    pub longest_request: Duration,
    /// How often new links are looked at while something settles.
    pub watch_every: Duration,
    pub purge_by: PurgeBy,
    /// What was copied in a bucket without versions may be purged, although then nothing brings it back.
    pub purges_without_versions: bool,
    /// Whoever else may collect the same storage.
    pub conflicts: Vec<Rule>,
    pub executor: Executor,
    pub collector: Collector,
}

/// Who purges what was held for long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurgeBy {
    Pullproof,
    /// A versioned bucket's own rule: pullproof needs no right to delete versions.
    Lifecycle,
}

/// What a collection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Nothing is touched.
    Plan,
    /// What is garbage goes to a quarantine.
    Quarantine,
    /// What was there for long enough is purged besides.
    Purge,
}

/// What is known of the caches of a registry's replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    Unknown,
    /// They have none.
    None,
    /// A manifest that is pushed is written, whatever they believe.
    SafePut,
}

impl Cache {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::None => "none",
            Self::SafePut => "safePut",
        }
    }
}

/// An image that is known to be lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// The canonical reference.
    pub reference: String,
    pub until: Timestamp,
    pub reason: String,
}

impl From<raw::Require> for Require {
    fn from(raw: raw::Require) -> Self {
        match raw {
            raw::Require::Clean => Self::Clean,
            raw::Require::Regression => Self::Regression,
        }
    }
}

impl From<raw::GcMode> for Mode {
    fn from(raw: raw::GcMode) -> Self {
        match raw {
            raw::GcMode::Plan => Self::Plan,
            raw::GcMode::Quarantine => Self::Quarantine,
            raw::GcMode::Purge => Self::Purge,
        }
    }
}

impl From<raw::PurgeBy> for PurgeBy {
    fn from(raw: raw::PurgeBy) -> Self {
        match raw {
            raw::PurgeBy::Pullproof => Self::Pullproof,
            raw::PurgeBy::Lifecycle => Self::Lifecycle,
        }
    }
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
            require: Require::Clean,
            mode: Mode::Plan,
            acknowledged: Vec::new(),
            quarantine_for: Duration::from_hours(6 * 24),
            rehearsal: Duration::from_hours(7 * 24),
            max_collect_percent: 30.0,
            max_collect_bytes: None,
            cache: Cache::Unknown,
            restart: Restart::None,
            settle_within: Duration::from_mins(15),
            redis: None,
            workload: None,
            read_only: ReadOnly::default(),
            longest_request: Duration::from_mins(15),
            watch_every: Duration::from_mins(1),
            purge_by: PurgeBy::Pullproof,
            purges_without_versions: false,
            conflicts: Vec::new(),
            executor: Executor::Builtin,
            collector: Collector::InProcess,
        }
    }
}

impl Checker<'_, '_> {
    /// What is written under `gc`, over the defaults given.
    pub(super) fn gc(&mut self, path: &str, raw: raw::Gc, defaults: &Gc) -> Gc {
        let raw::Gc {
            gate,
            mode,
            repositories,
            untagged,
            tag_history,
            minimum_age,
            windows,
            alarm_percent,
            acknowledged,
            quarantine_for,
            rehearsal,
            max_collect_percent,
            max_collect_bytes,
            settle,
            read_only,
            longest_request,
            watch_every,
            purge,
            r#unsafe,
            conflicts,
            executor,
            collector,
        } = raw;
        let is_stated = executor.is_some();
        let read_only = match read_only {
            None => defaults.read_only.clone(),
            Some(raw) => self.read_only(&format!("{path}.readOnly"), raw),
        };
        let settled = self.settle(
            &format!("{path}.settle"),
            settle.unwrap_or_default(),
            &read_only,
            defaults,
        );
        let mut lasts = |key: &str, text: Option<String>, default| {
            text.map_or(default, |text| {
                self.duration(&format!("{path}.{key}"), &text)
            })
        };
        let minimum_age = lasts("minimumAge", minimum_age, defaults.minimum_age);
        let quarantine_for = lasts("quarantineFor", quarantine_for, defaults.quarantine_for);
        let rehearsal = lasts("rehearsal", rehearsal, defaults.rehearsal);
        let longest_request = lasts("longestRequest", longest_request, defaults.longest_request);
        let watch_every = lasts("watchEvery", watch_every, defaults.watch_every);
        let keeps = |fate: Option<raw::Fate>, default| match fate {
            None => default,
            Some(raw::Fate::Keep) => true,
            Some(raw::Fate::Delete) => false,
        };
        let executor = match executor {
            None => defaults.executor.clone(),
            Some(raw) => self.executor(&format!("{path}.executor"), raw),
        };
        let gc = Gc {
            repositories: match repositories {
                None => defaults.repositories.clone(),
                Some(patterns) => self.patterns(&format!("{path}.repositories"), patterns),
            },
            keeps_untagged: keeps(untagged, defaults.keeps_untagged),
            keeps_tag_history: keeps(tag_history, defaults.keeps_tag_history),
            minimum_age,
            quarantine_for,
            rehearsal,
            longest_request,
            watch_every,
            require: (gate.and_then(|gate| gate.require)).map_or(defaults.require, Require::from),
            mode: mode.map_or(defaults.mode, Mode::from),
            acknowledged: match acknowledged {
                None => defaults.acknowledged.clone(),
                Some(all) => self.acknowledged(&format!("{path}.acknowledged"), all),
            },
            max_collect_percent: max_collect_percent.unwrap_or(defaults.max_collect_percent),
            max_collect_bytes: max_collect_bytes.or(defaults.max_collect_bytes),
            cache: settled.cache,
            restart: settled.restart,
            settle_within: settled.within,
            redis: settled.redis,
            workload: settled.workload,
            read_only,
            purge_by: (purge.and_then(|purge| purge.by)).map_or(defaults.purge_by, PurgeBy::from),
            purges_without_versions: r#unsafe.map_or(defaults.purges_without_versions, |all| {
                let wanted = |it: &raw::Unsafe| matches!(it, raw::Unsafe::PurgeWithoutVersions);
                all.iter().any(wanted)
            }),
            conflicts: self.conflicts(&format!("{path}.conflicts.workloads"), conflicts, defaults),
            collector: match collector {
                None => defaults.collector.clone(),
                Some(raw) => self.collector(&format!("{path}.collector"), raw, &defaults.collector),
            },
            windows: match windows {
                None => defaults.windows.clone(),
                Some(windows) => self.windows(&format!("{path}.windows"), windows),
            },
            alarm_percent: alarm_percent.unwrap_or(defaults.alarm_percent),
            executor,
        };
        self.suits_executor(path, &gc, is_stated);
        gc
    }

    fn acknowledged(&mut self, path: &str, all: Vec<raw::Acknowledged>) -> Vec<Acknowledged> {
        let mut found = Vec::with_capacity(all.len());
        for (index, one) in all.into_iter().enumerate() {
            let of = |key: &str| format!("{path}[{index}].{key}");
            let reference = one.reference.unwrap_or_default();
            let until = one.until.unwrap_or_default();
            let reference: Option<Reference> = match reference.parse() {
                Ok(reference) => Some(reference),
                Err(problem) => {
                    let message = format!("{} is no reference: {problem}", quoted(&reference));
                    self.report.add(&of("reference"), message);
                    None
                }
            };
            let until: Option<Timestamp> = match until.parse() {
                Ok(until) => Some(until),
                Err(_no_time) => {
                    let message = format!(
                        "{} is no time: expected one as 2027-01-01T00:00:00Z",
                        quoted(&until)
                    );
                    self.report.add(&of("until"), message);
                    None
                }
            };
            let reason = one.reason.unwrap_or_default();
            if reason.trim().is_empty() && !self.report.has(&of("reason")) {
                let message = "it is empty: whoever reads it later has to know why";
                self.report.add(&of("reason"), message);
            }
            if let (Some(reference), Some(until)) = (reference, until) {
                found.push(Acknowledged {
                    reference: reference.to_string(),
                    until,
                    reason,
                });
            }
        }
        found
    }

    fn conflicts(&mut self, path: &str, raw: Option<raw::Conflicts>, defaults: &Gc) -> Vec<Rule> {
        let Some(all) = raw.and_then(|it| it.workloads) else {
            return defaults.conflicts.clone();
        };
        let mut rules = Vec::with_capacity(all.len());
        for (index, one) in all.into_iter().enumerate() {
            let path = format!("{path}[{index}]");
            let raw::Conflict {
                namespace,
                name,
                selector,
            } = one;
            let namespace = self.namespace(&format!("{path}.namespace"), namespace);
            if name.is_none() && selector.is_none() && !self.report.has(&path) {
                let message = "it does not say which; add `name: \"registry-gc*\"` or `selector: app=registry-gc`";
                self.report.add(&path, message);
            }
            let name = name.and_then(|text| match text.parse() {
                Ok(pattern) if !text.contains('/') => Some(pattern),
                Ok(_) | Err(_) => {
                    let message = format!(
                        "{} is no pattern of names: expected one as registry-gc or registry-gc*",
                        quoted(&text)
                    );
                    self.report.add(&format!("{path}.name"), message);
                    None
                }
            });
            if selector.as_deref().is_some_and(|it| it.trim().is_empty()) {
                let message = "it is empty, which selects everything; write one as app=registry-gc";
                self.report.add(&format!("{path}.selector"), message);
            }
            rules.push(Rule {
                namespace,
                name,
                selector,
            });
        }
        rules
    }

    pub(super) fn patterns(&mut self, path: &str, texts: Vec<String>) -> Vec<Pattern> {
        if texts.is_empty() {
            let message = "it is empty: no repository fits; write [\"**\"] for all";
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
