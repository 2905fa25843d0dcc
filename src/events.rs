//! Kubernetes Events for a workload's people: which are to be written when an image breaks, and when it can be
//! pulled again. Pure.
//!
//! An Event is a hint where `kubectl describe` shows it, and gone after an hour; metrics and alerts are what
//! counts. So each change is told once, few are told of what changes often, and one that cannot be written is
//! counted and let go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::inventory::TopOwner;
use crate::second::Second;

mod decision;
mod limit;
mod note;
mod target;

pub use decision::{Decision, decide};
pub use limit::Limits;
pub use note::NOTE_BYTES_MAX;
pub use target::{Address, Target, Targets, is_name};

/// Who an Event is for, and of what: one workload and one image of it, however many containers name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pair {
    #[serde(flatten)]
    pub owner: Arc<TopOwner>,
    /// The canonical reference, or what is written where that is none.
    pub image: Arc<str>,
}

/// What became of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// From whatever it was to broken.
    Breaks,
    /// From broken to pullable. What is unknown in between is neither.
    Heals,
}

impl Change {
    /// The Event's reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Breaks => "ImageNotPullable",
            Self::Heals => "ImagePullable",
        }
    }

    /// The Event's type; Kubernetes knows these two.
    pub fn severity(self) -> &'static str {
        match self {
            Self::Breaks => "Warning",
            Self::Heals => "Normal",
        }
    }
}

/// One Event that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToWrite {
    pub pair: Pair,
    pub change: Change,
    /// Since when it is so: the same change has the same time, also after a restart, and another one another.
    pub since: Second,
    /// At most [`NOTE_BYTES_MAX`] bytes.
    pub note: String,
}

/// What has to be known of a broken image until it can be pulled again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Told {
    /// That it broke was told, so that it healed is told too.
    Told,
    /// It was broken before, or known, or one too many: nothing is ever told of it.
    Silent,
}

/// What is broken, and what of it was told. It survives restarts, so that none repeats anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Memory {
    /// Sources with registries whose images were all looked at once: what was broken by then had broken before.
    settled: BTreeSet<(String, String)>,
    broken: BTreeMap<Pair, Told>,
}

impl Memory {
    /// Takes back what was not written after all: it is news again.
    pub fn take_back(&mut self, unwritten: &ToWrite) {
        match unwritten.change {
            Change::Breaks => self.broken.remove(&unwritten.pair),
            Change::Heals => self.broken.insert(unwritten.pair.clone(), Told::Told),
        };
    }
}

/// A memory as it is written: lists, since JSON has no other keys than texts.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    schema: Schema,
    settled: BTreeSet<(String, String)>,
    broken: Vec<(Pair, Told)>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Schema {
    #[serde(rename = "pullproof.dev/kubernetes-events/v1")]
    V1,
}

impl From<Written> for Memory {
    fn from(written: Written) -> Self {
        let Written {
            schema: Schema::V1,
            settled,
            broken,
        } = written;
        Self {
            settled,
            broken: broken.into_iter().collect(),
        }
    }
}

impl From<Memory> for Written {
    fn from(memory: Memory) -> Self {
        Self {
            schema: Schema::V1,
            settled: memory.settled,
            broken: memory.broken.into_iter().collect(),
        }
    }
}

/// What came of an Event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Written,
    /// One too many, or its workload is gone.
    Dropped,
    /// The API server refused it, or could not be reached.
    Failed,
}

impl Outcome {
    pub const ALL: [Self; 3] = [Self::Written, Self::Dropped, Self::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Dropped => "dropped",
            Self::Failed => "failed",
        }
    }
}

/// How many Events came to what since the start.
#[derive(Debug, Default)]
pub struct Counts {
    is_on: AtomicBool,
    counts: [AtomicU64; 3],
}

impl Counts {
    /// Whether Events are written at all. What was counted stays.
    pub fn set_on(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::Relaxed);
    }

    pub fn add(&self, outcome: Outcome, count: usize) {
        if let Some(counter) = self.counts.get(outcome as usize) {
            counter.fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    /// All of them; none while Events are off.
    pub fn all(&self) -> impl Iterator<Item = (Outcome, u64)> {
        let counts = Outcome::ALL.into_iter().zip(&self.counts);
        let counts = counts.map(|(outcome, count)| (outcome, count.load(Ordering::Relaxed)));
        counts.filter(|_| self.is_on.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests;
