//! What must stay of a registry's storage, read from all sources, for whoever collects it.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;

use super::plan::{self as planning, Kept};
use super::sources::{self, Wanted};
use super::{beside, ledger};
use crate::clock::Clock;
use crate::config::{Config, Registry};
use crate::gc::refusal::{Code, Refusal};
use crate::http::keepset::{Published, ReadLedTo};
use crate::inventory::keepset::LedTo;
use crate::inventory::{Class, Inventory, completeness};
use crate::store::{Store, StoreError};

/// Reads all sources anew; the refusals where they are not the whole truth. `led_to` is what references led
/// to before, or why that is not known.
pub async fn read(
    wanted: &[Wanted],
    config: &Config,
    registry: &Registry,
    clock: &Arc<dyn Clock>,
    led_to: Result<Vec<LedTo>, Refusal>,
) -> Result<Kept, Vec<Refusal>> {
    let inventory = sources::read_once(wanted, clock).await;
    let now = clock.now();
    let mut inventory = beside::judged(config, wanted, inventory, now);
    let remembered = beside::remembered(config, &inventory);
    inventory.sources.extend(remembered.map(Arc::new));
    kept(config, registry, &Arc::new(inventory), now, led_to)
}

/// What stays by an inventory that is the whole truth.
fn kept(
    config: &Config,
    registry: &Registry,
    inventory: &Arc<Inventory>,
    now: Timestamp,
    led_to: Result<Vec<LedTo>, Refusal>,
) -> Result<Kept, Vec<Refusal>> {
    let complete = completeness::complete(inventory, now).map_err(|refusals| {
        let refusals = refusals.into_iter().map(Refusal::from);
        refusals.collect::<Vec<_>>()
    })?;
    let mut refusals = malformed(inventory);
    let led_to = led_to.unwrap_or_else(|refusal| {
        refusals.push(refusal);
        Vec::new()
    });
    let (needed, set) = planning::needed(config, registry, &complete, led_to.clone());
    Ok(Kept {
        needed,
        set,
        led_to,
        refusals,
    })
}

/// What a daemon knows by its watches, and how it asks anew.
#[derive(Clone)]
pub struct Watched {
    pub published: watch::Receiver<Arc<Published>>,
    /// `None` where nothing is remembered.
    pub led_to: Option<ReadLedTo>,
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Watched").finish_non_exhaustive()
    }
}

impl Watched {
    /// By the watches; the refusals where that is not the whole truth. `copied` is what references led to by
    /// another memory.
    pub fn known(&self, registry: &Registry, copied: Vec<LedTo>) -> Result<Kept, Vec<Refusal>> {
        let published = Arc::clone(&self.published.borrow());
        let Published { config, inventory } = &*published;
        let led_to = self.led_to(copied);
        kept(config, registry, inventory, self.clock.now(), led_to)
    }

    /// By every source, asked now. What the watches know must be the whole truth too: they have seen more.
    pub async fn read(
        &self,
        wanted: &[Wanted],
        config: &Config,
        registry: &Registry,
        copied: Vec<LedTo>,
    ) -> Result<Kept, Vec<Refusal>> {
        let known = self.known(registry, copied.clone())?;
        let mut kept = read(wanted, config, registry, &self.clock, self.led_to(copied)).await?;
        for refusal in known.refusals {
            if !kept.refusals.contains(&refusal) {
                kept.refusals.push(refusal);
            }
        }
        Ok(kept)
    }

    fn led_to(&self, copied: Vec<LedTo>) -> Result<Vec<LedTo>, Refusal> {
        let own = self.led_to.as_ref();
        let own = own.map_or_else(|| Ok(Vec::new()), |read| read());
        let own = own.map_err(|problem| Refusal::new(Code::LedgerMissing, problem))?;
        Ok(own.into_iter().chain(copied).collect())
    }
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

/// To what references led before, where a daemon remembers that: read, or asked of the daemon that has it.
pub async fn led_to(config: &Config) -> Result<Vec<LedTo>, Refusal> {
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
    let store = match Store::open(&file) {
        Ok(store) => store,
        Err(StoreError::InUse(_)) => {
            let told = ledger::ask(&config.state.directory).await;
            return told.map_err(|problem| missing(format!("the daemon has it, and {problem}")));
        }
        Err(other @ StoreError::Unusable { .. }) => return Err(missing(other.to_string())),
    };
    let rows = store.led_to().map_err(|error| missing(error.to_string()))?;
    let rows = rows.into_iter().map(|row| LedTo {
        reference: row.reference,
        digest: row.digest,
        last: row.last.into(),
    });
    Ok(rows.collect())
}
