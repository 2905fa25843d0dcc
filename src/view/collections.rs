//! `/api/v1/gc`: how each storage and its collection stand.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use crate::gc::plan::Counts;
use crate::gc::refusal::{Code, Refusal};
use crate::state::collections::{Amount, CollectionStatus, Collections, Last};
use crate::state::storages::{Planned, StorageStatus, Storages};

/// All storages that are planned for or collected.
#[derive(Debug, Serialize)]
pub struct CollectionsView<'a> {
    schema: &'static str,
    at: Timestamp,
    storages: Vec<OfStorage<'a>>,
}

#[derive(Debug, Serialize)]
struct OfStorage<'a> {
    storage: &'a str,
    /// The last plan; it stands while another cannot be made.
    plan: Option<OfPlan<'a>>,
    /// Why there is no newer plan.
    plan_refusals: &'a [Refusal],
    free_bytes: Option<u64>,
    /// Null where nothing is ever taken (`gc.mode: plan`).
    collection: Option<OfCollection<'a>>,
}

#[derive(Debug, Serialize)]
struct OfPlan<'a> {
    plan: &'a str,
    at: Timestamp,
    seconds: f64,
    counts: &'a Counts,
}

#[derive(Debug, Serialize)]
struct OfCollection<'a> {
    running: bool,
    gate_open: bool,
    /// Whether each condition is met; null while that is not known.
    conditions: BTreeMap<&'static str, Option<bool>>,
    refusals: Vec<Refusal>,
    quarantined: Of,
    /// When the oldest run began that holds something.
    quarantined_since: Option<Timestamp>,
    /// When something goes back by itself unless it is marked again.
    returns_at: Option<Timestamp>,
    /// Objects that wait for a replica to forget them.
    unsettled: &'a BTreeMap<String, usize>,
    read_only_since: Option<Timestamp>,
    last_success: Option<Timestamp>,
    last_drill: Option<Timestamp>,
    /// The last ones since the start, the newest first.
    runs: Vec<OfRun<'a>>,
}

#[derive(Debug, Serialize)]
struct OfRun<'a> {
    at: Timestamp,
    result: &'static str,
    refusals: &'a [Refusal],
    failed: Option<&'a str>,
    taken: Option<Of>,
    restored: Of,
    purged: Of,
    /// How long each phase took, in seconds.
    took: BTreeMap<&'static str, f64>,
}

#[derive(Debug, Serialize)]
struct Of {
    blobs: u64,
    bytes: u64,
}

impl From<Amount> for Of {
    fn from(amount: Amount) -> Self {
        let Amount { blobs, bytes } = amount;
        Self { blobs, bytes }
    }
}

impl<'a> CollectionsView<'a> {
    pub fn of(storages: &'a Storages, collections: &'a Collections, now: Timestamp) -> Self {
        let names: BTreeSet<&String> = storages.keys().chain(collections.keys()).collect();
        let of = |name: &'a String| {
            let status = storages.get(name);
            OfStorage {
                storage: name,
                plan: status.and_then(|it| it.planned.as_ref()).map(OfPlan::from),
                plan_refusals: status.map_or(&[], |it: &StorageStatus| &it.refused),
                free_bytes: status.and_then(|it| it.free_bytes),
                collection: collections.get(name).map(OfCollection::from),
            }
        };
        Self {
            schema: "pullproof.dev/gc/v1",
            at: now,
            storages: names.into_iter().map(of).collect(),
        }
    }
}

impl<'a> From<&'a Planned> for OfPlan<'a> {
    fn from(planned: &'a Planned) -> Self {
        Self {
            plan: &planned.outline.id,
            at: planned.at,
            seconds: planned.took.as_secs_f64(),
            counts: &planned.counts,
        }
    }
}

impl<'a> From<&'a CollectionStatus> for OfCollection<'a> {
    fn from(status: &'a CollectionStatus) -> Self {
        let conditions = Code::ALL.iter();
        let conditions = conditions.map(|code| (code.as_str(), status.gate.is_met(*code)));
        Self {
            running: status.is_running,
            gate_open: status.is_gate_open(),
            conditions: conditions.collect(),
            refusals: status.gate.refusals(),
            quarantined: status.held.into(),
            quarantined_since: status.held_since,
            returns_at: status.returns_at,
            unsettled: &status.unsettled,
            read_only_since: status.read_only_since,
            last_success: status.last_success_at,
            last_drill: status.drilled_at,
            runs: status.recent.iter().map(OfRun::from).collect(),
        }
    }
}

impl<'a> From<&'a Last> for OfRun<'a> {
    fn from(last: &'a Last) -> Self {
        let took = last.did.took.iter();
        Self {
            at: last.at,
            result: last.result,
            refusals: &last.refusals,
            failed: last.failed.as_deref(),
            taken: last.did.taken.map(Of::from),
            restored: last.did.restored.into(),
            purged: last.did.purged.into(),
            took: took
                .map(|(phase, took)| (*phase, took.as_secs_f64()))
                .collect(),
        }
    }
}
