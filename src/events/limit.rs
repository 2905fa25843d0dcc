//! How many Events may be written: an API server keeps each for an hour, and a registry that loses everything
//! would otherwise write one for every image of every workload. Pure: whoever asks says what time it is.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::Pair;

/// So many at once, and then one each period. A kubelet has 25 and five minutes for what is alike.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    pub(super) burst: i32,
    pub(super) period: SignedDuration,
}

/// Of all Events of a cluster: at most 460 within an hour.
pub(super) const CLUSTER: Rate = Rate {
    burst: 100,
    period: SignedDuration::from_secs(10),
};
/// Of those of one namespace, so that one tenant's do not crowd out the others'.
pub(super) const NAMESPACE: Rate = Rate {
    burst: 25,
    period: SignedDuration::from_secs(60),
};
/// Of one image of one workload, within [`PAIR_WITHIN`]: it breaks and heals twice.
pub(super) const PAIR_MAX: usize = 4;
pub(super) const PAIR_WITHIN: SignedDuration = SignedDuration::from_hours(1);

type Namespace = (Option<Arc<str>>, Arc<str>);

/// What was written lately. It does not survive a restart: only changes are told, and a restart is none.
#[derive(Debug, Default)]
pub struct Limits {
    clusters: HashMap<Option<Arc<str>>, Bucket>,
    namespaces: HashMap<Namespace, Bucket>,
    pairs: HashMap<Pair, VecDeque<Timestamp>>,
}

impl Limits {
    /// Whether one more may be written now. It counts if so, and only then.
    pub(super) fn take(&mut self, pair: &Pair, now: Timestamp) -> bool {
        let owner = &pair.owner;
        let cluster = owner.cluster.clone();
        let namespace = (cluster.clone(), Arc::clone(&owner.namespace));
        let cluster = self.clusters.entry(cluster).or_default();
        cluster.keep_within(CLUSTER, now);
        let namespace = self.namespaces.entry(namespace).or_default();
        namespace.keep_within(NAMESPACE, now);
        let before = self.pairs.get(pair);
        let before = before.map_or(0, |times| {
            times.iter().filter(|at| counts(**at, now)).count()
        });
        let may = before < PAIR_MAX && cluster.has(CLUSTER, now) && namespace.has(NAMESPACE, now);
        if may {
            cluster.take(CLUSTER, now);
            namespace.take(NAMESPACE, now);
            self.pairs.entry(pair.clone()).or_default().push_back(now);
        }
        may
    }

    /// Forgets what no longer limits anything.
    pub(super) fn forget(&mut self, now: Timestamp) {
        self.clusters.retain(|_, bucket| bucket.is_used(now));
        self.namespaces.retain(|_, bucket| bucket.is_used(now));
        self.pairs.retain(|_, times| {
            times.retain(|at| counts(*at, now));
            !times.is_empty()
        });
    }
}

/// Whether what was written then still limits. What is yet to come does not: the clock was set back.
fn counts(at: Timestamp, now: Timestamp) -> bool {
    (SignedDuration::ZERO..PAIR_WITHIN).contains(&now.duration_since(at))
}

/// A token bucket, by the one time that says all of it: when it is full again.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    full_at: Option<Timestamp>,
}

impl Bucket {
    /// How long it takes until it is full.
    fn lack(self, now: Timestamp) -> SignedDuration {
        let lack = self.full_at.map(|at| at.duration_since(now));
        lack.unwrap_or_default().max(SignedDuration::ZERO)
    }

    /// A clock that was set back does not close it for longer than an empty one takes.
    fn keep_within(&mut self, rate: Rate, now: Timestamp) {
        let empty = rate.period * rate.burst;
        if self.lack(now) > empty {
            self.full_at = now.checked_add(empty).ok();
        }
    }

    fn has(self, rate: Rate, now: Timestamp) -> bool {
        self.lack(now) <= rate.period * (rate.burst - 1)
    }

    fn take(&mut self, rate: Rate, now: Timestamp) {
        // At the end of time it stays as it is.
        let full_at = now.checked_add(self.lack(now) + rate.period);
        self.full_at = full_at.ok().or(self.full_at);
    }

    fn is_used(self, now: Timestamp) -> bool {
        self.full_at.is_some_and(|at| at > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::TopOwner;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn pair(namespace: &str, number: usize) -> Pair {
        Pair {
            owner: Arc::new(TopOwner {
                cluster: None,
                namespace: namespace.into(),
                kind: "Deployment".into(),
                name: format!("web-{number}").into(),
            }),
            image: "r.example/web:1".into(),
        }
    }

    /// How many of so many workloads of a namespace get one.
    fn taken(limits: &mut Limits, namespace: &str, count: usize, now: Timestamp) -> usize {
        let pairs = (0..count).map(|number| pair(namespace, number));
        pairs.filter(|pair| limits.take(pair, now)).count()
    }

    #[test]
    fn a_namespace_has_its_burst_and_then_one_each_period() {
        let mut limits = Limits::default();
        let burst = usize::try_from(NAMESPACE.burst).unwrap();
        assert_eq!(taken(&mut limits, "shop", 1000, at(0)), burst);
        assert_eq!(taken(&mut limits, "shop", 1000, at(59)), 0);
        assert_eq!(taken(&mut limits, "shop", 1000, at(60)), 1);
        assert_eq!(taken(&mut limits, "shop", 1000, at(60)), 0);
        // What it used up is not taken from another.
        assert_eq!(taken(&mut limits, "crm", 3, at(60)), 3);
    }

    #[test]
    fn a_cluster_has_an_end_however_many_namespaces_it_has() {
        let mut limits = Limits::default();
        let burst = usize::try_from(CLUSTER.burst).unwrap();
        let mut count = 0;
        for number in 0..50 {
            count += taken(&mut limits, &format!("n-{number}"), 10, at(0));
        }
        assert_eq!(count, burst);
        assert_eq!(taken(&mut limits, "another", 10, at(20)), 2);
    }

    #[test]
    fn one_that_is_flapping_is_told_of_a_few_times_an_hour() {
        let mut limits = Limits::default();
        let one = pair("shop", 1);
        let times = |limits: &mut Limits, from: i64| {
            let seconds = (from..from + 3600).step_by(60);
            seconds
                .filter(|second| limits.take(&one, at(*second)))
                .count()
        };
        assert_eq!(times(&mut limits, 0), PAIR_MAX);
        assert_eq!(times(&mut limits, 3600), PAIR_MAX);
    }

    #[test]
    fn a_clock_that_is_set_back_closes_nothing_for_long() {
        let mut limits = Limits::default();
        taken(&mut limits, "shop", 1000, at(1_000_000));
        // As if it had just been used up.
        assert_eq!(taken(&mut limits, "shop", 1000, at(0)), 0);
        let refilled = i64::from(NAMESPACE.burst) * NAMESPACE.period.as_secs();
        assert!(taken(&mut limits, "shop", 1000, at(refilled)) > 0);
        assert!(taken(&mut limits, "crm", 1000, at(refilled)) > 0);
    }

    #[test]
    fn what_no_longer_limits_is_forgotten() {
        let mut limits = Limits::default();
        taken(&mut limits, "shop", 10, at(0));
        limits.forget(at(3599));
        assert_eq!(limits.pairs.len(), 10);
        limits.forget(at(3600));
        assert!(limits.pairs.is_empty() && limits.clusters.is_empty());
        assert!(limits.namespaces.is_empty());
    }
}
