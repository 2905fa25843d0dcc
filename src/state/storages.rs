//! What was planned last for each storage, and how full it is. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::largest::{Going, Largest};
use crate::config::{Gc, Mode};
use crate::gc::plan::{Counts, Plan};
use crate::gc::refusal::Refusal;

/// How long it took to grow as it did is looked at for so long.
const GROWTH_WITHIN: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Less says nothing of growth.
const GROWTH_LEAST: SignedDuration = SignedDuration::from_hours(1);

/// What a collection of a storage may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    pub mode: Mode,
    /// So long everything can be put back.
    pub quarantine_for: Duration,
}

impl From<&Gc> for Terms {
    fn from(gc: &Gc) -> Self {
        Self {
            mode: gc.mode,
            quarantine_for: gc.quarantine_for,
        }
    }
}

/// One storage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorageStatus {
    pub terms: Option<Terms>,
    /// The last plan; it stands while a later one cannot be made.
    pub planned: Option<Planned>,
    /// Why there was no plan the last time, by the contract's names; empty if there was one.
    pub refused: Vec<Refusal>,
    /// How often planning was refused, by reason.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Bytes that are free, where that can be known.
    pub free_bytes: Option<u64>,
    /// What was free before, the oldest first.
    free_before: VecDeque<(Timestamp, u64)>,
}

/// A plan in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    pub at: Timestamp,
    pub took: SignedDuration,
    pub counts: Counts,
    /// What is in quarantine and named by something live: it is asked back.
    pub recalled: usize,
    pub outline: Arc<Outline>,
}

/// What goes, as far as a person looks at it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// The plan's ID.
    pub id: String,
    /// By repository. Data that several have is counted once.
    pub repositories: Largest,
    /// By kind and reason, in words.
    pub reasons: Vec<Going>,
}

impl Outline {
    pub fn of(storage: &str, plan: &Plan) -> Self {
        let rows = plan.garbage().map(|row| {
            let name = row.repository.map(|name| &**name).unwrap_or_default();
            (name, row.bytes)
        });
        let reasons = plan.reasons().into_iter().map(|of| Going {
            name: format!("{}: {}", of.kind.as_str(), of.reason.words()),
            count: of.count,
            bytes: of.bytes,
        });
        Self {
            id: plan.id(storage),
            repositories: Largest::of(rows),
            reasons: reasons.collect(),
        }
    }
}

/// By the registry's host.
pub type Storages = BTreeMap<String, StorageStatus>;

impl StorageStatus {
    /// Takes what came of planning.
    pub fn take(&mut self, planned: Result<Planned, Vec<Refusal>>) {
        match planned {
            Ok(planned) => {
                self.planned = Some(planned);
                self.refused = Vec::new();
            }
            Err(refusals) => {
                for refusal in &refusals {
                    *self.refusals.entry(refusal.code.as_str()).or_default() += 1;
                }
                self.refused = refusals;
            }
        }
    }

    /// Takes how much is free.
    pub fn take_free(&mut self, free: Option<u64>, now: Timestamp) {
        self.free_bytes = free;
        let Some(free) = free else { return };
        while let Some((at, _)) = self.free_before.front()
            && now.duration_since(*at) > GROWTH_WITHIN
        {
            self.free_before.pop_front();
        }
        self.free_before.push_back((now, free));
    }

    /// When nothing is free any more if it goes on as it did; `None` where that is not known, and where it
    /// does not grow.
    pub fn full_at(&self) -> Option<Timestamp> {
        let (first, before) = self.free_before.front()?;
        let (last, free) = self.free_before.back()?;
        let passed = last.duration_since(*first);
        let grown = before.checked_sub(*free).filter(|grown| *grown > 0)?;
        if passed < GROWTH_LEAST {
            return None;
        }
        let seconds =
            u128::try_from(passed.as_secs()).ok()? * u128::from(*free) / u128::from(grown);
        let left = SignedDuration::from_secs(i64::try_from(seconds).ok()?);
        last.checked_add(left).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gc::refusal::Code;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(hour * 3600).unwrap()
    }

    #[test]
    fn a_disk_is_full_when_it_goes_on_as_it_did() {
        let mut status = StorageStatus::default();
        status.take_free(Some(1000), at(0));
        assert_eq!(status.full_at(), None);
        status.take_free(Some(900), at(10));
        assert_eq!(status.full_at(), Some(at(100)));
        // What is longer ago than a week says nothing any more.
        status.take_free(Some(890), at(10 + 7 * 24));
        assert_eq!(status.full_at(), Some(at(10 + 7 * 24 + 89 * 7 * 24)));
        // It does not grow.
        status.take_free(Some(5000), at(200));
        assert_eq!(status.full_at(), None);
        status.take_free(None, at(201));
        assert_eq!(status.free_bytes, None);
    }

    #[test]
    fn the_last_plan_stands_while_there_is_no_other() {
        let mut status = StorageStatus::default();
        let planned = Planned {
            at: at(1),
            took: SignedDuration::from_secs(2),
            counts: Counts::default(),
            recalled: 0,
            outline: Arc::default(),
        };
        status.take(Ok(planned.clone()));
        let refusal = Refusal::new(Code::ListingIncomplete, "it cannot be listed");
        for _ in 0..2 {
            status.take(Err(vec![refusal.clone()]));
        }
        assert_eq!(
            (status.planned.as_ref(), &status.refused),
            (Some(&planned), &vec![refusal])
        );
        assert_eq!(status.refusals, [("listing_incomplete", 2)].into());
        status.take(Ok(planned));
        assert!(status.refused.is_empty() && status.refusals.len() == 1);
    }
}
