//! What is in quarantine, and something live names all the same.
//!
//! Whoever took it watches new links only until no replica can believe in it any more. A cache may have been
//! warmed since without anybody seeing it, by a push and a deletion of the same manifest between two listings,
//! and would then acknowledge a push that writes nothing. Each listing that a plan is made of finds that.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::asked::Asked;
use super::journals::Journals;
use super::{unreadable, wanted};
use crate::collection::item::{Item, ItemId, RunId};
use crate::collection::run::Run;
use crate::config::Registry;
use crate::gc::needed::Needed;
use crate::gc::plan::Plan;
use crate::gc::refusal::{Code, Refusal};
use crate::oci::digest::Digest;
use crate::storage::Storage;
use crate::vault::Vault;

/// Asks back what the live part of a storage needs, where a plan whose listing began then shows that it names
/// anything. How much that is.
pub(super) fn recall(
    (storage, registry, vault): (&Storage, &Registry, &Vault),
    needed: &Needed,
    plan: &Plan,
    listed_at: Timestamp,
) -> Result<usize, Refusal> {
    let absent = plan.graph().absent();
    if absent.is_empty() {
        return Ok(0);
    }
    let journals = Journals::read(vault).map_err(|error| unreadable(&error))?;
    let is_named = |item: &Item| item.class.is_data() && absent.binary_search(&item.digest).is_ok();
    if !over(&journals, listed_at).any(|(_, item)| is_named(item)) {
        return Ok(0);
    }
    // What it names needs more of what is held, and only a plan with that tells what.
    let plan = wanted::plan((storage, registry, vault), &journals, needed, listed_at)?;
    let wanted = wanted::by(&plan, &journals);
    let over = over(&journals, listed_at).filter(|((run, id), _)| {
        let items = wanted.get(run);
        // In the order of what a run holds, and of that there may be very much.
        items.is_some_and(|items| items.binary_search(id).is_ok())
    });
    let digests: BTreeSet<Digest> = over.map(|(_, item)| item.digest).collect();
    let count = digests.len();
    if count > 0 {
        let asked = Asked::from(digests).leave(vault);
        asked.map_err(|problem| Refusal::new(Code::StorageUnsupported, problem))?;
    }
    Ok(count)
}

/// What runs hold that took nothing since a listing began: of another, it may have seen the links before they
/// went.
fn over(
    journals: &Journals,
    listed_at: Timestamp,
) -> impl Iterator<Item = ((RunId, ItemId), &Item)> {
    let is_over = move |run: &Run| run.last_taken().is_some_and(|at| at < listed_at.into());
    let runs = journals.iter().filter(move |(_, it)| is_over(&it.run));
    runs.flat_map(|(run, it)| {
        let held = it.run.held();
        held.filter_map(move |id| Some(((run, id), it.items.get(&id)?)))
    })
}
