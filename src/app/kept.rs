//! The keep-set, as a command that ends knows it.

use std::sync::Arc;

use crate::app::plan::{self as planning, Kept};
use crate::app::{beside, sources};
use crate::cli::given::GivenSources;
use crate::clock::Clock;
use crate::config::{Config, Registry};
use crate::gc::refusal::{Code, Refusal};
use crate::inventory::keepset::LedTo;
use crate::inventory::{Class, Inventory, completeness};
use crate::store::{Store, StoreError};

/// Reads all sources; the refusals where they are not the whole truth.
pub(in crate::cli) async fn read(
    given: &GivenSources,
    config: &Config,
    registry: &Registry,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Result<Kept, Vec<Refusal>>> {
    let wanted = given.wanted(&[], config)?;
    let inventory = sources::read_once(&wanted, clock).await;
    let now = clock.now();
    let mut inventory = beside::judged(config, &wanted, inventory, now);
    let remembered = beside::remembered(config, &inventory);
    inventory.sources.extend(remembered.map(Arc::new));
    let inventory = Arc::new(inventory);
    let complete = match completeness::complete(&inventory, now) {
        Ok(complete) => complete,
        Err(refusals) => return Ok(Err(refusals.into_iter().map(Refusal::from).collect())),
    };
    let mut refusals = malformed(&inventory);
    let led_to = led_to(config).unwrap_or_else(|refusal| {
        refusals.push(refusal);
        Vec::new()
    });
    let (needed, set) = planning::needed(config, registry, &complete, led_to);
    Ok(Ok(Kept {
        needed,
        set,
        refusals,
    }))
}

/// A line of a list that is no reference keeps nothing, whatever was meant by it. What a workload writes
/// wrong was never pulled by it.
fn malformed(inventory: &Inventory) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for source in &inventory.sources {
        let uses = source.uses.iter();
        let listed = uses.filter(|one| one.user.class == Class::Listed);
        let malformed = listed.filter_map(|one| one.reference.as_ref().err());
        for problem in malformed {
            let message = format!(
                "{}: {problem}; whatever it is meant to keep is not kept: write it right or take it out",
                source.name
            );
            refusals.push(Refusal::new(Code::InventoryIncomplete, message));
        }
    }
    refusals
}

/// To what references led before, where a daemon remembers that.
fn led_to(config: &Config) -> Result<Vec<LedTo>, Refusal> {
    let file = config.state.directory.join("state.redb");
    if !file.exists() {
        return Ok(Vec::new());
    }
    let missing = |problem: String| {
        let message = format!(
            "what tags named before is remembered in {}, and cannot be read here: {problem}",
            file.display()
        );
        Refusal::new(Code::LedgerMissing, message)
    };
    let store = Store::open(&file).map_err(|error| match error {
        StoreError::InUse(_) => missing("the daemon has it".to_owned()),
        other @ StoreError::Unusable { .. } => missing(other.to_string()),
    })?;
    let rows = store.led_to().map_err(|error| missing(error.to_string()))?;
    let rows = rows.into_iter().map(|row| LedTo {
        reference: row.reference,
        digest: row.digest,
        last: row.last.into(),
    });
    Ok(rows.collect())
}
