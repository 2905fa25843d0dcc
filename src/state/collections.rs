//! How the collection of each storage stands, as a daemon that runs it knows. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::collection::gate::Facts;
use crate::gc::refusal::{Code, Refusal};
use crate::state::storages::Terms;

/// So many runs are told, those of before a restart too; the journal has all of them.
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

/// What a run may spend its time with, by the contract's names.
pub const PHASES: [&str; 8] = [
    "acquire",
    "gate",
    "list",
    "prove",
    "quarantine",
    "settle",
    "purge",
    "restore",
];

/// One of a list of names. (A reference by its own name is one that serde would take from what it reads.)
type Name = &'static str;

/// One of these names, as they are known here.
fn known<'de, D: Deserializer<'de>>(
    from: D,
    names: &[&'static str],
) -> Result<&'static str, D::Error> {
    let name = String::deserialize(from)?;
    let found = names.iter().find(|it| **it == name);
    let unknown = || D::Error::custom(format!("`{name}` is none of {names:?}"));
    found.copied().ok_or_else(unknown)
}

fn result<'de, D: Deserializer<'de>>(from: D) -> Result<&'static str, D::Error> {
    known(from, &RESULTS)
}

/// A phase that is none any more is left out.
fn took<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<&'static str, Duration>, D::Error> {
    let all = BTreeMap::<String, Duration>::deserialize(from)?;
    let known = all.into_iter().filter_map(|(phase, took)| {
        let found = PHASES.iter().find(|it| **it == phase)?;
        Some((*found, took))
    });
    Ok(known.collect())
}

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
    /// Conditions of which only a run can tell: they are in the gate as the last one found them.
    pub carried: BTreeSet<Code>,
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
    /// The last runs, the newest first.
    pub recent: VecDeque<Last>,
}

/// What a daemon that starts again is to know of the runs before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    pub last_success_at: Option<Timestamp>,
    pub drilled_at: Option<Timestamp>,
    /// The newest first.
    pub recent: VecDeque<Last>,
}

/// Manifests, configs and layers, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    pub at: Timestamp,
    #[serde(deserialize_with = "result")]
    pub result: Name,
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Did {
    /// Not known of a Job, which does not tell.
    pub taken: Option<Amount>,
    pub restored: Amount,
    pub purged: Amount,
    /// How long each phase took, by its name.
    #[serde(deserialize_with = "took")]
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
        // A Job that ended before a restart is found again.
        self.recent
            .retain(|it| (it.at, &it.result) != (last.at, &last.result));
        self.recent.truncate(RUNS_MAX - 1);
        self.recent.push_front(last);
    }

    /// What outlasts a restart.
    pub fn to_remember(&self) -> Remembered {
        Remembered {
            last_success_at: self.last_success_at,
            drilled_at: self.drilled_at,
            recent: self.recent.clone(),
        }
    }

    /// Takes what was remembered. Counters begin anew: they are of a process.
    pub fn recall(&mut self, before: Remembered) {
        let Remembered {
            last_success_at,
            drilled_at,
            recent,
        } = before;
        self.last_success_at = self.last_success_at.max(last_success_at);
        self.drilled_at = self.drilled_at.max(drilled_at);
        self.recent.extend(recent);
        self.recent.truncate(RUNS_MAX);
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
        let last = |result: &'static str, refusals| Last {
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

    #[test]
    fn runs_of_before_a_restart_are_known_and_counters_begin_anew() {
        let last = |at, result, took: &[(&'static str, u64)]| Last {
            at: Timestamp::from_second(at).unwrap(),
            result,
            refusals: vec![Refusal::new(Code::Paused, "an operator paused it")],
            failed: None,
            told: Vec::new(),
            did: Did {
                took: took
                    .iter()
                    .map(|(it, took)| (*it, Duration::from_secs(*took)))
                    .collect(),
                ..Did::default()
            },
        };
        let mut before = CollectionStatus::default();
        for at in 0..30 {
            before.take(last(at, "quarantined", &[("list", 3), ("prove", 60)]));
        }
        let written = serde_json::to_string(&before.to_remember()).unwrap();
        let read: Remembered = serde_json::from_str(&written).unwrap();
        assert_eq!(read, before.to_remember());

        let mut status = CollectionStatus::default();
        status.recall(read);
        assert_eq!(status.recent, before.recent);
        assert_eq!(status.last_success_at, before.last_success_at);
        assert_eq!((status.runs.len(), status.refusals.len()), (0, 0));
        // A Job of before is told again, and one that is new.
        status.take(last(29, "quarantined", &[]));
        status.take(last(31, "refused", &[]));
        assert_eq!(status.recent.len(), RUNS_MAX);
        let times: Vec<i64> = status.recent.iter().map(|it| it.at.as_second()).collect();
        assert_eq!(times[..3], [31, 29, 28]);
        // Neither a result nor a phase of a later version breaks an earlier one unnoticed.
        assert!(
            serde_json::from_str::<Remembered>(&written.replace("quarantined", "dreamt")).is_err()
        );
        let other =
            serde_json::from_str::<Remembered>(&written.replace("\"prove\"", "\"dream\"")).unwrap();
        assert_eq!(
            other.recent[0].did.took,
            [("list", Duration::from_secs(3))].into()
        );
    }
}
