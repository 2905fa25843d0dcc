//! What a bucket would purge by its own rule, and nobody has looked at since it was taken.

use std::collections::BTreeMap;

use super::journals::Journals;
use super::session::MARKED;
use super::{Work, memory, seconds};
use crate::collection::expiry::{self, Terms};
use crate::collection::item::RunId;
use crate::config::PurgeBy;
use crate::second::Second;
use crate::vault::Vault;

/// When each such run goes back. The error says what is not known.
pub(super) fn find(
    work: &Work,
    vault: &Vault,
    journals: &Journals,
) -> Result<BTreeMap<RunId, Second>, String> {
    let gc = &work.registry.gc;
    if gc.purge_by != PurgeBy::Lifecycle || journals.held().next().is_none() {
        return Ok(BTreeMap::new());
    }
    let after = vault.purges_after().map_err(|error| {
        format!("when the bucket purges what is in quarantine is not known: {error}")
    })?;
    let Some(after) = after else {
        return Ok(BTreeMap::new());
    };
    let terms = Terms {
        purged_after: seconds(after),
        quarantine_for: seconds(gc.quarantine_for),
        longest_request: seconds(gc.longest_request),
    };
    // A mark that cannot be read is none.
    let marked_at = memory::read::<Second>(vault, MARKED).ok().flatten();
    let all = journals.iter().filter_map(|(id, replayed)| {
        Some((id, expiry::returns_at(id, &replayed.run, marked_at, terms)?))
    });
    Ok(all.collect())
}
