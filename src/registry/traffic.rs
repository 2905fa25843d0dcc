//! How each registry's host answers, for the page: beside the metrics, which can be added to and not read.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::traffic::{LATENCY_BOUNDS, Traffic};

/// Any tenant can name any host. Of those beyond nothing is told here.
const HOSTS_MAX: usize = 1000;

/// By the registry's host; lives as long as the process.
#[derive(Debug, Clone, Default)]
pub(super) struct Traffics(Arc<Mutex<HashMap<Arc<str>, Arc<Counts>>>>);

impl Traffics {
    /// The counts of a host, shared by all who ask it.
    pub(super) fn counts(&self, host: &Arc<str>) -> Arc<Counts> {
        let mut all = self.0.lock().expect("never held across a panic");
        if all.len() >= HOSTS_MAX && !all.contains_key(host) {
            return Arc::default();
        }
        Arc::clone(all.entry(Arc::clone(host)).or_default())
    }

    /// What was counted of a host; nothing where it was not asked.
    pub(super) fn told(&self, host: &str) -> Traffic {
        let all = self.0.lock().expect("never held across a panic");
        all.get(host)
            .map(|counts| counts.told())
            .unwrap_or_default()
    }
}

/// Of one host.
#[derive(Debug, Default)]
pub(super) struct Counts {
    limited: AtomicU64,
    failed: AtomicU64,
    latency: [AtomicU64; LATENCY_BOUNDS.len() + 1],
}

impl Counts {
    /// Counts one request; without a status there was no answer.
    pub(super) fn record(&self, status: Option<u16>, took: Duration) {
        let took = took.as_secs_f64();
        let bucket = LATENCY_BOUNDS.iter().position(|bound| took <= *bound);
        let bucket = self.latency.get(bucket.unwrap_or(LATENCY_BOUNDS.len()));
        if let Some(bucket) = bucket {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        match status {
            Some(429) => self.limited.fetch_add(1, Ordering::Relaxed),
            None | Some(500..) => self.failed.fetch_add(1, Ordering::Relaxed),
            Some(_) => 0,
        };
    }

    fn told(&self) -> Traffic {
        let latency = self.latency.each_ref();
        let latency = latency.map(|bucket| bucket.load(Ordering::Relaxed));
        Traffic {
            requests: latency.iter().sum(),
            limited: self.limited.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            latency,
            concurrency: None,
            paused_until: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_ask_a_host_are_counted_together_and_each_request_once() {
        let traffics = Traffics::default();
        let host: Arc<str> = "r.example".into();
        let milliseconds = Duration::from_millis;
        traffics.counts(&host).record(Some(200), milliseconds(3));
        traffics.counts(&host).record(Some(404), milliseconds(20));
        traffics.counts(&host).record(Some(429), milliseconds(21));
        traffics.counts(&host).record(Some(503), milliseconds(900));
        traffics.counts(&host).record(None, milliseconds(60_000));
        let told = traffics.told("r.example");
        assert_eq!((told.requests, told.limited, told.failed), (5, 1, 2));
        assert_eq!(told.latency, [1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
        assert_eq!(traffics.told("other.example"), Traffic::default());
    }
}
