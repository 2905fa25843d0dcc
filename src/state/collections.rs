//! How the collection of each storage stands, as a daemon that runs it knows. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use crate::collection::gate::Facts;
use crate::gc::refusal::{Code, Refusal};
use crate::state::storages::Terms;

/// So many runs are told; the journal has all of them.
const RUNS_MAX: usize = 20;

/// What may come of a run, by the contract's names.
pub const RESULTS: [&str; 6] = [
    "planned",
    "quarantined",
    "purged",
    "restored",
    "refused",
    "failed",
];

/// By the registry's host.
pub type Collections = BTreeMap<String, CollectionStatus>;

/// Whether this process has the Lease.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leading {
    /// Whether there is one to be had.
    pub is_elected: bool,
    /// The storages for whose collection it has it now.
    pub storages: BTreeSet<String>,
}

impl Leading {
    /// `None` where nobody elects a leader.
    pub fn is_leader(&self) -> Option<bool> {
        self.is_elected.then_some(!self.storages.is_empty())
    }

    /// It got the Lease for a storage, or does not have it any more.
    pub fn set(&mut self, storage: &str, leads: bool) {
        if leads {
            self.storages.insert(storage.to_owned());
        } else {
            self.storages.remove(storage);
        }
    }
}

/// One storage that is collected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CollectionStatus {
    pub terms: Option<Terms>,
    /// What is known of each condition of the gate now.
    pub gate: Facts,
    /// Whether a session is under way.
    pub is_running: bool,
    /// Runs since the start, by result.
    pub runs: BTreeMap<&'static str, u64>,
    /// Runs that were refused since the start, by reason.
    pub refusals: BTreeMap<&'static str, u64>,
    /// When a run did all that it was to do.
    pub last_success_at: Option<Timestamp>,
    /// When a canary was taken and put back.
    pub drilled_at: Option<Timestamp>,
    pub held: Amount,
    /// When the oldest run began that holds something, where that is known.
    pub held_since: Option<Timestamp>,
    /// When something goes back unless it is marked again.
    pub returns_at: Option<Timestamp>,
    /// Objects that each replica (`host:port`, or its pod) still answered for after they were taken, or that
    /// wait for it to start again, by the last run.
    pub unsettled: BTreeMap<String, usize>,
    /// Since when pullproof holds the registry read-only.
    pub read_only_since: Option<Timestamp>,
    /// Since the start.
    pub purged: Amount,
    /// Since the start.
    pub restored: Amount,
    /// How long each phase took when there last was one, by its name.
    pub took: BTreeMap<&'static str, Duration>,
    /// The last runs since the start, the newest first.
    pub recent: VecDeque<Last>,
}

/// Manifests, configs and layers, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    pub blobs: u64,
    pub bytes: u64,
}

impl Amount {
    pub fn add(&mut self, other: Self) {
        self.blobs = self.blobs.saturating_add(other.blobs);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// What came of the last run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    pub at: Timestamp,
    pub result: &'static str,
    pub refusals: Vec<Refusal>,
    pub failed: Option<String>,
    pub told: Vec<String>,
    pub did: Did,
}

impl Last {
    /// Whether something was taken, put back or purged, as far as it tells.
    pub fn has_moved(&self) -> bool {
        matches!(
            self.result,
            "quarantined" | "purged" | "restored" | "failed"
        )
    }
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Did {
    /// Not known of a Job, which does not tell.
    pub taken: Option<Amount>,
    pub restored: Amount,
    pub purged: Amount,
    /// How long each phase took, by its name.
    pub took: BTreeMap<&'static str, Duration>,
}

impl CollectionStatus {
    /// Whether every condition is known to be met.
    pub fn is_gate_open(&self) -> bool {
        let mut all = Code::ALL.iter();
        all.all(|code| self.gate.is_met(*code) == Some(true))
    }

    /// Takes what came of a run.
    pub fn take(&mut self, last: Last) {
        *self.runs.entry(last.result).or_default() += 1;
        for refusal in &last.refusals {
            *self.refusals.entry(refusal.code.as_str()).or_default() += 1;
        }
        if matches!(last.result, "planned" | "quarantined" | "purged") {
            self.last_success_at = Some(last.at);
        }
        self.recent.truncate(RUNS_MAX - 1);
        self.recent.push_front(last);
    }

    pub fn last(&self) -> Option<&Last> {
        self.recent.front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_of_which_something_is_not_known_is_not_open() {
        let mut status = CollectionStatus::default();
        for code in Code::ALL {
            assert!(!status.is_gate_open());
            status.gate.met(code);
        }
        assert!(status.is_gate_open());
        status
            .gate
            .refused(Refusal::new(Code::Paused, "an operator paused it"));
        assert!(!status.is_gate_open());
    }

    #[test]
    fn whoever_has_the_lease_for_any_storage_leads() {
        let mut leading = Leading::default();
        leading.set("a.example", true);
        assert_eq!(leading.is_leader(), None);
        leading.is_elected = true;
        leading.set("b.example", true);
        leading.set("a.example", false);
        assert_eq!(leading.is_leader(), Some(true));
        leading.set("b.example", false);
        assert_eq!(leading.is_leader(), Some(false));
    }

    #[test]
    fn runs_are_counted_by_what_came_of_them() {
        let mut status = CollectionStatus::default();
        let at = Timestamp::UNIX_EPOCH;
        let last = |result, refusals| Last {
            at,
            result,
            refusals,
            failed: None,
            told: Vec::new(),
            did: Did::default(),
        };
        let refusal = Refusal::new(Code::Paused, "an operator paused it");
        for _ in 0..2 {
            status.take(last("refused", vec![refusal.clone()]));
        }
        assert_eq!(status.last_success_at, None);
        status.take(last("quarantined", Vec::new()));
        assert_eq!(status.runs, [("quarantined", 1), ("refused", 2)].into());
        assert_eq!(status.refusals, [("paused", 2)].into());
        assert_eq!(status.last_success_at, Some(at));
    }
}
