//! What a command that ends takes from the daemon's state directory, where it may read it: against what a
//! source is held, and the last complete state of one that cannot be read now.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tracing::warn;

use super::archive::{Archive, Levels};
use super::sources::{self, Wanted};
use crate::config::Config;
use crate::inventory::loss::{Level, LossRules};
use crate::inventory::{Inventory, SourceState, distinct};

/// The inventory with what is remembered of its sources. Nothing is written.
pub fn judged(
    config: &Config,
    wanted: &[Wanted],
    inventory: Inventory,
    now: Timestamp,
) -> Inventory {
    let archive = Archive::of(&config.state.directory);
    let levels = archive.levels().unwrap_or_else(|error| {
        warn!(%error, "what the daemon knows of the sources cannot be read");
        Levels::default()
    });
    let stands = SignedDuration::try_from(config.inventory.keep_seen);
    let loss = LossRules {
        maximum: config.inventory.maximum_loss,
        stands: stands.unwrap_or(SignedDuration::MAX),
    };
    let judge = |(wanted, state): (&Wanted, Arc<SourceState>)| {
        let mut state = Arc::unwrap_or_clone(state);
        let before = levels.sources.get(wanted.name());
        let level = before.and_then(|entry| entry.level.as_ref());
        state.shrunk = if state.incomplete.is_none() {
            let references = distinct(state.uses.iter()).len();
            let level = Level::after(level, references, now, loss);
            level.shrunk(references)
        } else {
            if let Some(stored) = archive.read(wanted, &levels) {
                state = SourceState {
                    incomplete: state.incomplete,
                    ..stored
                };
            }
            level.and_then(|level| level.shrunk(before.map_or(0, |entry| entry.references)))
        };
        state.rules = sources::rules(config, wanted.name());
        Arc::new(state)
    };
    Inventory {
        sources: wanted.iter().zip(inventory.sources).map(judge).collect(),
    }
}
