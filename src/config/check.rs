//! From what is written to what is meant: values are parsed, defaults filled in, and what cannot
//! hold together is refused.
//!
//! Nothing here stops at a problem: a function that finds one reports it and goes on with something
//! harmless. The result counts only if the report stayed empty.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::oci::platform::Platform;

use super::endpoint::Listen;
use super::problem::{Report, quoted};
use super::{
    ClientCertificate, Config, Depth, Gc, Http, Log, LogFormat, LogLevel, Metrics, NeededPlatforms,
    Network, Retention, STATE_DIRECTORY, State, Verify, amount, duration, labels, raw, registry,
    sources,
};

/// What every check needs.
pub(super) struct Checker<'a, 'text> {
    pub(super) report: &'a mut Report<'text>,
    /// The directory that files are named relative to.
    pub(super) base: &'a Path,
}

pub(super) fn check(raw: raw::Config, base: &Path, report: &mut Report<'_>) -> Config {
    let mut checker = Checker { report, base };
    let verify = checker.verify("verify", raw.verify.unwrap_or_default(), &defaults());
    let gc = checker.gc("gc", raw.gc.unwrap_or_default(), &Gc::default());
    let has_registries = raw.registries.as_ref().is_some_and(|it| !it.is_empty());
    let mentions = raw.inventory.as_ref().and_then(|it| it.mentions);
    if mentions == Some(true) && !has_registries && !checker.report.has("registries") {
        let message =
            "only images of listed registries are looked for; add `registries: [{host: HOST}]`";
        checker.report.add("inventory.mentions", message);
    }
    let inventory = sources::check(&mut checker, raw.inventory.unwrap_or_default());
    let retention = raw.retention.unwrap_or_default();
    let deletes = retention.mode == Some(raw::RetentionMode::Delete);
    let retention = checker.retention(
        "retention",
        retention,
        &Retention::default(),
        inventory.keep_seen,
    );
    let metrics = raw.metrics.unwrap_or_default();
    let events = raw.kubernetes_events.unwrap_or_default();
    let log = raw.log.unwrap_or_default();
    let directory = raw.state.unwrap_or_default().directory;
    let has_cluster = inventory.is_empty() || !inventory.clusters.is_empty();
    if events.write == Some(true) && !has_cluster && !checker.report.has("inventory.clusters") {
        let message = "no cluster is in the inventory whose workloads could get Events; add one under \
                       `inventory.clusters`, or leave this out";
        checker.report.add("kubernetesEvents.write", message);
    }
    let registries = registry::check(
        &mut checker,
        raw.registries.unwrap_or_default(),
        registry::Defaults {
            verify: &verify,
            gc: &gc,
            retention: &retention,
            keep_seen: inventory.keep_seen,
        },
    );
    let mut decided = registries.iter().map(|it| &it.retention);
    if deletes
        && retention.policies.is_empty()
        && decided.all(|it| it.policies.is_empty())
        && !checker.report.has("registries")
    {
        checker.deletes_by_no_policy("retention");
    }
    Config {
        registries,
        inventory,
        verify,
        gc,
        retention,
        lease: checker.lease(raw.leader_election.unwrap_or_default()),
        http: checker.http(raw.http.unwrap_or_default()),
        metrics: Metrics {
            max_series: metrics.max_series.unwrap_or(200_000),
            max_series_per_namespace: metrics.max_series_per_namespace.unwrap_or(20_000),
            labels: labels::check(&mut checker, metrics.labels.unwrap_or_default()),
        },
        writes_events: events.write.unwrap_or(false),
        network: checker.network(raw.network.unwrap_or_default()),
        log: Log {
            format: match log.format {
                None | Some(raw::LogFormat::Auto) => LogFormat::Auto,
                Some(raw::LogFormat::Text) => LogFormat::Text,
                Some(raw::LogFormat::Json) => LogFormat::Json,
            },
            level: match log.level {
                Some(raw::LogLevel::Error) => LogLevel::Error,
                Some(raw::LogLevel::Warn) => LogLevel::Warn,
                None | Some(raw::LogLevel::Info) => LogLevel::Info,
                Some(raw::LogLevel::Debug) => LogLevel::Debug,
                Some(raw::LogLevel::Trace) => LogLevel::Trace,
            },
        },
        state: State {
            is_given: directory.is_some(),
            directory: directory.map_or_else(
                || PathBuf::from(STATE_DIRECTORY),
                |directory| checker.file("state.directory", directory),
            ),
        },
    }
}

fn defaults() -> Verify {
    Verify {
        interval: Duration::from_mins(10),
        blob_interval: Duration::from_hours(1),
        depth: Depth::Head,
        read_share: 0.05,
        content_budget: 50 << 20,
        platforms: NeededPlatforms::Needed,
    }
}

impl Checker<'_, '_> {
    /// What is written under `verify`, over the defaults given.
    pub(super) fn verify(&mut self, path: &str, raw: raw::Verify, defaults: &Verify) -> Verify {
        let interval_path = format!("{path}.interval");
        let blob_path = format!("{path}.blobInterval");
        let is_written = raw.interval.is_some() || raw.blob_interval.is_some();
        let interval = raw.interval.map_or(defaults.interval, |text| {
            self.interval(&interval_path, &text)
        });
        let has_blob_interval = raw.blob_interval.is_some();
        let blob_interval = raw.blob_interval.map_or(defaults.blob_interval, |text| {
            self.interval(&blob_path, &text)
        });
        if is_written
            && blob_interval < interval
            && !self.report.has(&interval_path)
            && !self.report.has(&blob_path)
        {
            let (interval, blob) = (duration::shown(interval), duration::shown(blob_interval));
            if has_blob_interval {
                let message = format!(
                    "{blob} is shorter than the interval of {interval}; blobs are verified at most \
                     as often as manifests"
                );
                self.report.add(&blob_path, message);
            } else {
                let message = format!(
                    "{interval} is longer than the blobInterval, {blob} where it is not written; \
                     add `blobInterval: {interval}`"
                );
                self.report.add(&interval_path, message);
            }
        }
        Verify {
            interval,
            blob_interval,
            depth: match raw.depth {
                None => defaults.depth,
                Some(raw::Depth::Head) => Depth::Head,
                Some(raw::Depth::Read) => Depth::Read,
                Some(raw::Depth::Content) => Depth::Content,
            },
            read_share: raw.read_share.map_or(defaults.read_share, |text| {
                let path = format!("{path}.readShare");
                self.amount(&path, &text, amount::percent)
                    .unwrap_or(defaults.read_share)
            }),
            content_budget: raw.content_budget.map_or(defaults.content_budget, |text| {
                let path = format!("{path}.contentBudget");
                let bytes = self.amount(&path, &text, amount::bytes);
                if bytes == Some(0) {
                    let message =
                        "with no byte to hash, nothing is hashed; take depth read for that";
                    self.report.add(&path, message.to_owned());
                }
                bytes.unwrap_or(defaults.content_budget)
            }),
            platforms: match raw.platforms {
                None => defaults.platforms.clone(),
                Some(list) => self.needed_platforms(&format!("{path}.platforms"), list),
            },
        }
    }

    pub(super) fn amount<T>(
        &mut self,
        path: &str,
        text: &str,
        parse: fn(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        match parse(text) {
            Ok(amount) => Some(amount),
            Err(way_out) => {
                let message = format!("{} is not usable: {way_out}", quoted(text));
                self.report.add(path, message);
                None
            }
        }
    }

    fn needed_platforms(&mut self, path: &str, list: Vec<String>) -> NeededPlatforms {
        match list.as_slice() {
            [word] if word == "needed" => return NeededPlatforms::Needed,
            [word] if word == "all" => return NeededPlatforms::All,
            [] => {
                let message = "it is empty; write [needed], [all] or a list of platforms";
                self.report.add(path, message);
            }
            [_, ..] => {
                for (index, word) in list.iter().enumerate() {
                    if word == "needed" || word == "all" {
                        let message = format!("`{word}` stands alone: write [{word}]");
                        self.report.add(&format!("{path}[{index}]"), message);
                    }
                }
            }
        }
        NeededPlatforms::Only(self.platforms(path, list))
    }

    pub(super) fn platforms(&mut self, path: &str, list: Vec<String>) -> Vec<Platform> {
        let mut platforms = Vec::with_capacity(list.len());
        for (index, text) in list.into_iter().enumerate() {
            match text.parse() {
                Ok(platform) => platforms.push(platform),
                Err(_invalid) => {
                    let message = format!(
                        "{} is not a platform: expected os/architecture or \
                         os/architecture/variant, as linux/arm64/v8",
                        quoted(&text)
                    );
                    self.report.add(&format!("{path}[{index}]"), message);
                }
            }
        }
        platforms
    }

    fn http(&mut self, raw: raw::Http) -> Http {
        let metrics = self.listen("http.metrics", raw.metrics, 8080);
        let ui = self.listen("http.ui", raw.ui, 8081);
        let is_shared = metrics.port == ui.port
            && ui.port != 0
            && (metrics.host == ui.host || metrics.host.is_none() || ui.host.is_none());
        if is_shared && !self.report.has("http.metrics") {
            let message = format!(
                "port {} is also that of http.metrics; each has its own",
                ui.port
            );
            // The default of one may meet what is written for the other.
            self.report.add("http.ui", message);
        }
        let tls = raw.tls.map(|tls| ClientCertificate {
            file: self.file("http.tls.file", tls.file.unwrap_or_default()),
            key_file: self.file("http.tls.keyFile", tls.key_file.unwrap_or_default()),
        });
        let token = raw.token.and_then(|token| token.file);
        let token = token.map(|file| self.file("http.token.file", file));
        if token.is_some() && tls.is_none() && !self.report.has("http.tls") {
            let message = "without TLS everybody on the way could read it; add `tls: {file: FILE, \
                           keyFile: FILE}` beside it";
            self.report.add("http.token", message);
        }
        Http {
            metrics,
            ui,
            tls,
            token,
        }
    }

    fn listen(&mut self, path: &str, text: Option<String>, port: u16) -> Listen {
        let everywhere = Listen { host: None, port };
        let Some(text) = text else { return everywhere };
        Listen::parse(&text).unwrap_or_else(|| {
            let message = format!(
                "{} is not an address to listen on: expected \":8080\" for all interfaces, or \
                 \"host:8080\"",
                quoted(&text)
            );
            self.report.add(path, message);
            everywhere
        })
    }

    fn network(&mut self, raw: raw::Network) -> Network {
        let mut network = Network::default();
        for (index, text) in raw.cluster_cidrs.into_iter().flatten().enumerate() {
            match text.parse() {
                Ok(cidr) => network.cluster_cidrs.push(cidr),
                Err(error) => {
                    let error: super::cidr::InvalidCidr = error;
                    let message = format!("{} is not a range of addresses: {error}", quoted(&text));
                    let path = format!("network.clusterCIDRs[{index}]");
                    self.report.add(&path, message);
                }
            }
        }
        network
    }

    fn interval(&mut self, path: &str, text: &str) -> Duration {
        let interval = self.duration(path, text);
        if interval < Duration::from_secs(1) {
            self.report.add(path, "an interval is at least 1s");
        }
        interval
    }

    /// Of a map that is one of several shapes: exactly one of its keys is written. `kind` is what they are, in
    /// the plural.
    pub(super) fn has_one(&mut self, path: &str, keys: &[(&str, bool)], kind: &str, way_out: &str) {
        let mut written = keys.iter().filter(|(_, is_written)| *is_written);
        match (written.next(), written.next()) {
            (Some(_), None) => {}
            (Some((first, _)), Some((second, _))) => {
                let message = format!("`{first}` and `{second}` are two {kind}; keep one of them");
                self.report.add(&format!("{path}.{second}"), message);
            }
            (None, _) if self.report.has(path) => {}
            (None, _) => {
                let message = format!("nothing is in it; {way_out}");
                self.report.add(path, &message);
            }
        }
    }

    pub(super) fn duration(&mut self, path: &str, text: &str) -> Duration {
        duration::parse(text).unwrap_or_else(|way_out| {
            let message = format!("{} is not a duration: {way_out}", quoted(text));
            self.report.add(path, message);
            Duration::ZERO
        })
    }

    /// Files are named relative to the configuration, wherever pullproof is started.
    pub(super) fn file(&mut self, path: &str, name: String) -> PathBuf {
        if name.contains('\0') || name.trim().is_empty() {
            self.report.add(path, "the name of a file is missing");
        } else if name.contains("-----BEGIN") || name.contains('\n') {
            let message = "expected the name of a file, not what is in it";
            self.report.add(path, message);
        }
        self.base.join(name)
    }
}
