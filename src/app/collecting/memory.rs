//! What a daemon remembers of its collections across restarts, in its state directory. Without it nothing is lost
//! but what the page shows: the journals have every run.

use tracing::warn;

use crate::app::collector;
use crate::config::{Config, Registry};
use crate::gc::refusal::Refusal;
use crate::state::collections::Remembered;
use crate::vault::Vault;

/// Of all that concerns runs.
const KIND: &str = "runs";
const NOTE: &str = "runs.json";

fn notes(config: &Config, registry: &Registry) -> Result<Vault, String> {
    let told = |refusal: Refusal| refusal.message;
    collector::notes(config, registry, KIND).map_err(told)
}

/// What is remembered of a storage. What cannot be read is as if it were not there, and said.
pub(super) fn recall(config: &Config, registry: &Registry) -> Remembered {
    if !collector::notes_directory(config, registry, KIND).is_dir() {
        return Remembered::default();
    }
    let read = notes(config, registry).and_then(|notes| {
        let bytes = notes.read(NOTE).map_err(|error| error.to_string())?;
        let Some(bytes) = bytes else {
            return Ok(Remembered::default());
        };
        serde_json::from_slice(&bytes).map_err(|error| error.to_string())
    });
    read.unwrap_or_else(|problem| {
        let storage = &registry.host;
        warn!(
            storage,
            "the runs before this start are not known: {NOTE}: {problem}"
        );
        Remembered::default()
    })
}

pub(super) fn remember(config: &Config, registry: &Registry, what: &Remembered) {
    let written = notes(config, registry).and_then(|notes| {
        let json = serde_json::to_vec(what).expect("it is plain data");
        notes.write(NOTE, &json).map_err(|error| error.to_string())
    });
    if let Err(problem) = written {
        let storage = &registry.host;
        warn!(storage, "a run is not remembered: {problem}");
    }
}
