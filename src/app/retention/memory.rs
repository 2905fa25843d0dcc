//! Where what is remembered of tags lies: beside the storage's journals where pullproof may write there, and
//! else in the daemon's state.

use std::path::PathBuf;

use crate::app::collector;
use crate::config::{Config, Mode, Registry};
use crate::gc::refusal::{Code, Refusal};
use crate::vault::Vault;

/// Whether it lies in the storage. Under `gc.mode: plan` nothing is written there.
fn is_in_storage(registry: &Registry) -> bool {
    let gc = &registry.gc;
    registry.storage.is_some() && gc.mode != Mode::Plan && !gc.executor.is_foreign()
}

fn directory(config: &Config, registry: &Registry) -> PathBuf {
    let name = registry.host.replace(':', "_");
    config.state.directory.join("retention").join(name)
}

/// Opens it, and makes it if it is not there.
pub fn open(config: &Config, registry: &Registry) -> Result<Vault, Refusal> {
    if is_in_storage(registry) {
        return collector::vault(config, registry);
    }
    let directory = directory(config, registry);
    let opened = std::fs::create_dir_all(&directory).and_then(|()| Vault::filesystem(&directory));
    opened.map_err(|error| {
        let message = format!(
            "{}: what is remembered of its tags cannot be written there: {error} (`state.directory`)",
            directory.display()
        );
        Refusal::new(Code::LedgerMissing, message)
    })
}

/// Opens it if it is there.
pub fn find(config: &Config, registry: &Registry) -> Result<Option<Vault>, Refusal> {
    if is_in_storage(registry) || directory(config, registry).is_dir() {
        open(config, registry).map(Some)
    } else {
        Ok(None)
    }
}
