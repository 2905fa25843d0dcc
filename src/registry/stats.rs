//! What was asked of registries, how it was answered and how long it took.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::histogram::Histogram;
use serde::Serialize;

/// The kinds of requests, as metrics and `verify -o json` count them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    TagHead,
    ManifestHead,
    ManifestGet,
    BlobHead,
    BlobRead,
    BlobGet,
    Control,
    Token,
}

impl Operation {
    pub const ALL: [Self; 8] = [
        Self::TagHead,
        Self::ManifestHead,
        Self::ManifestGet,
        Self::BlobHead,
        Self::BlobRead,
        Self::BlobGet,
        Self::Control,
        Self::Token,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::TagHead => "tag_head",
            Self::ManifestHead => "manifest_head",
            Self::ManifestGet => "manifest_get",
            Self::BlobHead => "blob_head",
            Self::BlobRead => "blob_read",
            Self::BlobGet => "blob_get",
            Self::Control => "control",
            Self::Token => "token",
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
        Histogram::new([0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
    }
}

/// Counters of all registries; lives as long as the process.
#[derive(Debug, Clone)]
pub struct Stats {
    pub requests: Family<RequestLabels, Counter>,
    pub durations: Family<RequestLabels, Histogram, Buckets>,
    totals: Arc<[AtomicU64; 8]>,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(Buckets),
            totals: Arc::default(),
        }
    }
}

impl Stats {
    pub fn record(
        &self,
        registry: &str,
        operation: Operation,
        status: Option<u16>,
        took: Duration,
    ) {
        let code = status.map_or_else(|| "error".to_owned(), |status| status.to_string());
        let labels = RequestLabels {
            registry: registry.to_owned(),
            operation,
            code,
        };
        self.requests.get_or_create(&labels).inc();
        self.durations
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
        if let Some(total) = self.totals.get(operation as usize) {
            total.fetch_add(1, Ordering::Relaxed);
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

/// How many requests of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Requests {
    pub tag_head: u64,
    pub manifest_head: u64,
    pub manifest_get: u64,
    pub blob_head: u64,
    pub blob_read: u64,
    pub blob_get: u64,
    pub control: u64,
    pub token: u64,
}

/// The quota that a registry announced last (`ratelimit-remaining`); negative while it said nothing.
#[derive(Debug)]
pub struct Remaining(AtomicI64);

impl Default for Remaining {
    fn default() -> Self {
        Self(AtomicI64::new(-1))
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
