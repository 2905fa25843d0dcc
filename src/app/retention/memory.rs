//! Where what is remembered of tags lies: beside the storage's journals where pullproof may write there, and
//! else in the daemon's state.

use crate::app::collector;
use crate::config::{Config, Mode, Registry};
use crate::gc::refusal::Refusal;
use crate::vault::Vault;

/// Whether it lies in the storage. Under `gc.mode: plan` nothing is written there.
pub fn is_in_storage(registry: &Registry) -> bool {
    let gc = &registry.gc;
    registry.storage.is_some() && gc.mode != Mode::Plan && !gc.executor.is_foreign()
}

/// Of all that is not in a storage.
const KIND: &str = "retention";

/// Opens it, and makes it if it is not there.
pub fn open(config: &Config, registry: &Registry) -> Result<Vault, Refusal> {
    if is_in_storage(registry) {
        collector::vault(config, registry)
    } else {
        collector::notes(config, registry, KIND)
    }
}

/// Opens it if it is there.
pub fn find(config: &Config, registry: &Registry) -> Result<Option<Vault>, Refusal> {
    let is_there = || collector::notes_directory(config, registry, KIND).is_dir();
    if is_in_storage(registry) || is_there() {
        open(config, registry).map(Some)
    } else {
        Ok(None)
    }
}

/// Everywhere where deletions may be remembered, that of now first: with `gc.mode` it moves.
pub fn places(config: &Config, registry: &Registry) -> Result<Vec<Vault>, Refusal> {
    let mut places: Vec<Vault> = find(config, registry)?.into_iter().collect();
    if is_in_storage(registry) {
        if collector::notes_directory(config, registry, KIND).is_dir() {
            places.push(collector::notes(config, registry, KIND)?);
        }
    } else if registry.storage.is_some() && !registry.gc.executor.is_foreign() {
        places.push(collector::vault(config, registry)?);
    }
    Ok(places)
}
