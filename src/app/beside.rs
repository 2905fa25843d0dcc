//! What a command that ends takes from the daemon's state directory, where it may read it: against what a
//! source is held, and the last complete state of one that cannot be read now.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tracing::warn;

use super::archive::{Archive, Levels};
use super::keeper::SNAPSHOT_FILE;
use super::sources::{self, Wanted};
use crate::config::Config;
use crate::inventory::ledger::{self, Ledger};
use crate::inventory::loss::{Level, LossRules};
use crate::inventory::standin::with_last;
use crate::inventory::{Class, Inventory, SourceState, User, distinct};
use crate::oci::reference::Reference;

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
                state = with_last(state, &stored);
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

/// What the daemon remembers and none of these sources names, as a source of its own; nothing where there
/// is no daemon's snapshot. The store itself is open in the daemon alone.
pub fn remembered(config: &Config, inventory: &Inventory) -> Option<SourceState> {
    let path = config.state.directory.join(SNAPSHOT_FILE);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => {
            warn!(%error, file = SNAPSHOT_FILE, "what the daemon remembers cannot be read");
            return None;
        }
    };
    let snapshot: Remembering = match serde_json::from_slice(&text) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            warn!(%error, file = SNAPSHOT_FILE, "what the daemon remembers cannot be read");
            return None;
        }
    };
    let named = inventory
        .sources
        .iter()
        .flat_map(|source| source.uses.iter());
    let named: HashSet<&Reference> = named.filter_map(|it| it.reference.as_ref().ok()).collect();
    let gone = snapshot.images.into_iter().filter_map(|image| {
        let mut users = image.used_by.iter();
        let last = users.find(|user| user.class == Class::Remembered)?.since;
        let reference = image.reference.parse().ok()?;
        (!named.contains(&reference)).then_some((reference, last))
    });
    let mut ledger = Ledger::of(gone, None);
    (!ledger.is_empty()).then(|| SourceState {
        incomplete: None,
        is_awaited: false,
        complete_at: Some(snapshot.at),
        uses: ledger.uses(),
        ..SourceState::unread(ledger::SOURCE)
    })
}

/// The daemon's snapshot, as far as it tells what is remembered.
#[derive(Deserialize)]
struct Remembering {
    at: Timestamp,
    images: Vec<RememberedImage>,
}

#[derive(Deserialize)]
struct RememberedImage {
    reference: String,
    used_by: Vec<User>,
}
