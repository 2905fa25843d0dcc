//! What a bucket has purged by its own rule, found by looking.

use std::collections::BTreeMap;

use tracing::info;

use super::journals::Journals;
use super::{Sum, Work, seconds, session, unreadable};
use crate::collection::item::{ItemId, RunId};
use crate::collection::run::{Entry, Outcome};
use crate::config::PurgeBy;
use crate::gc::refusal::{Code, Refusal};
use crate::second::Second;
use crate::vault::Vault;

/// Remembers what is gone of what was held for long enough. Before that nothing is: a rule that is shorter is
/// refused.
pub(super) fn find(work: &Work, vault: &Vault, journals: &mut Journals) -> Result<Sum, Refusal> {
    let gc = &work.registry.gc;
    if gc.purge_by != PurgeBy::Lifecycle {
        return Ok(Sum::default());
    }
    let now: Second = work.clock.now().into();
    let is_due = |run: RunId| {
        let replayed = journals.iter().find(|(id, _)| *id == run);
        let last = replayed.and_then(|(_, replayed)| replayed.run.last_taken());
        last.is_some_and(|last| now.get() >= last.get().saturating_add(seconds(gc.quarantine_for)))
    };
    let mut held: BTreeMap<RunId, Vec<ItemId>> = BTreeMap::new();
    for (run, id, _) in journals.held() {
        held.entry(run).or_default().push(id);
    }
    held.retain(|run, _| is_due(*run));
    let mut gone = BTreeMap::new();
    for (run, ids) in held {
        let items = journals.items(run, &ids);
        let looked = vault.look(run, &items);
        if let Some(error) = looked.failed {
            let message = format!("what the bucket has purged cannot be looked for: {error}");
            return Err(Refusal::new(Code::StorageUnsupported, message));
        }
        let found = ids.into_iter().zip(items).zip(looked.outcomes);
        let found: Vec<_> = found
            .filter_map(|(item, outcome)| (outcome == Outcome::Gone).then_some(item))
            .collect();
        if !found.is_empty() {
            gone.insert(run, found);
        }
    }
    if gone.is_empty() {
        return Ok(Sum::default());
    }
    let holder = format!("process {}", std::process::id());
    let lock = vault
        .lock(&holder, now)
        .map_err(|error| Refusal::new(Code::NotLeader, error.to_string()))?;
    let before = journals.runs();
    *journals = Journals::read(vault).map_err(|error| unreadable(&error))?;
    if journals.runs() != before {
        let message = "another process has just collected this storage; try again";
        return Err(Refusal::new(Code::NotLeader, message));
    }
    let mut sum = Sum::default();
    for (run, items) in gone {
        let found = items.iter().map(|(id, _)| (*id, Outcome::Gone)).collect();
        journals
            .write(vault, run, &Entry::Found(found), now, lock.epoch())
            .map_err(|error| {
                let message = format!("the journal of {run} cannot be written: {error}");
                Refusal::new(Code::StorageUnsupported, message)
            })?;
        for (_, item) in items {
            sum.add(&item);
            info!(
                target: "pullproof::audit",
                storage = work.registry.host,
                %run,
                what = "purged by the bucket",
                path = item.path(),
                bytes = item.bytes,
                why = item.reason,
            );
        }
    }
    session::give_back(lock);
    Ok(sum)
}
