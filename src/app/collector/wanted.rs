//! What of a quarantine is needed again, by a listing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::journals::Journals;
use crate::app::plan as planning;
use crate::collection::item::{Item, ItemId, RunId};
use crate::collection::select::{self, Limits};
use crate::config::Registry;
use crate::gc::needed::Needed;
use crate::gc::plan::Plan;
use crate::gc::refusal::Refusal;
use crate::storage::{Progress, Storage};
use crate::vault::Vault;

/// Plans with what runs hold as if it were live. It lists the storage.
pub(super) fn plan(
    (storage, registry, vault): (&Storage, &Registry, &Vault),
    journals: &Journals,
    needed: &Needed,
    now: Timestamp,
) -> Result<Plan, Refusal> {
    let held = journals.held();
    let held: Vec<(RunId, Item)> = held.map(|(run, _, item)| (run, item.clone())).collect();
    let read_held = |items: &[(RunId, &Item)]| vault.read_held(items);
    let held = planning::Held {
        items: &held,
        read: &read_held,
    };
    planning::plan_with(storage, registry, needed, &held, now, &Progress::default())
}

/// What would not go if it were live, of all runs: by a plan that was made with what they hold.
pub(super) fn by(plan: &Plan, journals: &Journals) -> BTreeMap<RunId, Vec<ItemId>> {
    let goes = planned_paths(plan);
    let mut wanted: BTreeMap<RunId, Vec<ItemId>> = BTreeMap::new();
    for (run, id, item) in journals.held() {
        if !goes.contains(&item.path()) {
            wanted.entry(run).or_default().push(id);
        }
    }
    wanted
}

/// The paths of all that would go.
pub(super) fn planned_paths(plan: &Plan) -> BTreeSet<String> {
    let all = select::select(plan, &Limits::NONE);
    all.items.iter().map(Item::path).collect()
}
