//! What was asked of registries, how it was answered and how long it took.
//!
//! A request costs two atomic counters and a histogram: what it is counted under is looked up by its
//! labels once, and kept by a [`Recorder`].

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::histogram::Histogram;
use serde::Serialize;

use super::hosts::Hosts;
use super::traffic::{Counts, Traffics};
use crate::traffic::{LATENCY_BOUNDS, Traffic};

/// The kinds of requests, as metrics and `verify -o json` count them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    TagHead,
    TagList,
    ManifestHead,
    ManifestGet,
    BlobHead,
    BlobRead,
    BlobGet,
    Control,
    Token,
    Catalog,
    Delete,
    Put,
}

impl Operation {
    pub const ALL: [Self; 12] = [
        Self::TagHead,
        Self::TagList,
        Self::ManifestHead,
        Self::ManifestGet,
        Self::BlobHead,
        Self::BlobRead,
        Self::BlobGet,
        Self::Control,
        Self::Token,
        Self::Catalog,
        Self::Delete,
        Self::Put,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::TagHead => "tag_head",
            Self::TagList => "tag_list",
            Self::ManifestHead => "manifest_head",
            Self::ManifestGet => "manifest_get",
            Self::BlobHead => "blob_head",
            Self::BlobRead => "blob_read",
            Self::BlobGet => "blob_get",
            Self::Control => "control",
            Self::Token => "token",
            Self::Catalog => "catalog",
            Self::Delete => "delete",
            Self::Put => "put",
        }
    }
}

impl EncodeLabelValue for Operation {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    pub registry: String,
    pub operation: Operation,
    /// The HTTP status, or `error` where there was none.
    pub code: String,
}

#[derive(Debug, Clone)]
pub struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(LATENCY_BOUNDS)
    }
}

/// Counters of all registries; lives as long as the process.
#[derive(Debug, Clone)]
pub struct Stats {
    pub requests: Family<RequestLabels, Counter>,
    pub durations: Family<RequestLabels, Histogram, Buckets>,
    /// What is known of each registry, and holds for all of its clients.
    pub hosts: Hosts,
    traffics: Traffics,
    totals: Arc<[AtomicU64; Operation::ALL.len()]>,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(Buckets),
            hosts: Hosts::default(),
            traffics: Traffics::default(),
            totals: Arc::default(),
        }
    }
}

impl Stats {
    /// What was asked of a host since the start, and what it says of being asked.
    pub fn traffic(&self, host: &str, now: Timestamp) -> Traffic {
        Traffic {
            concurrency: self.hosts.concurrency_limit(host),
            paused_until: self.hosts.paused_until(host, now),
            ..self.traffics.told(host)
        }
    }

    pub fn totals(&self) -> Requests {
        let get = |operation: Operation| {
            self.totals
                .get(operation as usize)
                .map_or(0, |total| total.load(Ordering::Relaxed))
        };
        Requests {
            tag_head: get(Operation::TagHead),
            tag_list: get(Operation::TagList),
            manifest_head: get(Operation::ManifestHead),
            manifest_get: get(Operation::ManifestGet),
            blob_head: get(Operation::BlobHead),
            blob_read: get(Operation::BlobRead),
            blob_get: get(Operation::BlobGet),
            control: get(Operation::Control),
            token: get(Operation::Token),
        }
    }
}

/// Counts the requests of one client.
#[derive(Debug)]
pub struct Recorder {
    stats: Stats,
    registry: Arc<str>,
    counts: Arc<Counts>,
    /// A handful: what a registry answers to an operation.
    known: RwLock<Vec<Known>>,
}

#[derive(Debug)]
struct Known {
    operation: Operation,
    status: Option<u16>,
    requests: Counter,
    durations: Histogram,
}

impl Recorder {
    pub fn new(stats: Stats, registry: Arc<str>) -> Self {
        Self {
            counts: stats.traffics.counts(&registry),
            stats,
            registry,
            known: RwLock::default(),
        }
    }

    /// Counts one request; without a status there was no answer.
    pub fn record(&self, operation: Operation, status: Option<u16>, took: Duration) {
        self.counts.record(status, took);
        let is_known = self.count(operation, status, took);
        if !is_known {
            self.learn(operation, status);
            self.count(operation, status, took);
        }
        if let Some(total) = self.stats.totals.get(operation as usize) {
            total.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn count(&self, operation: Operation, status: Option<u16>, took: Duration) -> bool {
        let known = self.known.read().expect("never held across a panic");
        let found = known
            .iter()
            .find(|known| known.operation == operation && known.status == status);
        if let Some(found) = found {
            found.requests.inc();
            found.durations.observe(took.as_secs_f64());
        }
        found.is_some()
    }

    fn learn(&self, operation: Operation, status: Option<u16>) {
        let code = status.map_or_else(|| "error".to_owned(), |status| status.to_string());
        let labels = RequestLabels {
            registry: self.registry.to_string(),
            operation,
            code,
        };
        let learnt = Known {
            operation,
            status,
            requests: self.stats.requests.get_or_create_owned(&labels),
            durations: self.stats.durations.get_or_create_owned(&labels),
        };
        let mut known = self.known.write().expect("never held across a panic");
        let is_known = |known: &Known| known.operation == operation && known.status == status;
        if !known.iter().any(is_known) {
            known.push(learnt);
        }
    }
}

/// How many requests of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Requests {
    pub tag_head: u64,
    #[serde(default)]
    pub tag_list: u64,
    pub manifest_head: u64,
    pub manifest_get: u64,
    pub blob_head: u64,
    pub blob_read: u64,
    pub blob_get: u64,
    pub control: u64,
    pub token: u64,
}

/// The quota that a registry announced last (`ratelimit-remaining`); negative while it said nothing.
#[derive(Debug, Clone)]
pub struct Remaining(Arc<AtomicI64>);

impl Default for Remaining {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(-1)))
    }
}

impl Remaining {
    pub fn set(&self, remaining: i64) {
        self.0.store(remaining, Ordering::Relaxed);
    }

    pub fn get(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|remaining| *remaining >= 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorders_of_one_registry_count_under_the_same_labels() {
        let stats = Stats::default();
        let registry: Arc<str> = "registry.example".into();
        let recorder = || Recorder::new(stats.clone(), Arc::clone(&registry));
        let (one, two) = (recorder(), recorder());
        for recorder in [&one, &two, &one] {
            recorder.record(Operation::TagHead, Some(200), Duration::from_millis(3));
        }
        two.record(Operation::TagHead, None, Duration::from_secs(30));
        two.record(Operation::BlobHead, Some(200), Duration::from_secs(1));
        let count = |operation, code: &str| {
            let labels = RequestLabels {
                registry: registry.to_string(),
                operation,
                code: code.to_owned(),
            };
            stats.requests.get(&labels).map(|counter| counter.get())
        };
        assert_eq!(count(Operation::TagHead, "200"), Some(3));
        assert_eq!(count(Operation::TagHead, "error"), Some(1));
        assert_eq!(count(Operation::BlobHead, "200"), Some(1));
        assert_eq!(count(Operation::BlobHead, "404"), None);
        assert_eq!((stats.totals().tag_head, stats.totals().blob_head), (4, 1));
    }
}
