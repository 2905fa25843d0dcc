//! What is read before anything is asked: who uses what, and what is to be proven.

use std::sync::Arc;

use super::Subject;
use crate::app::beside;
use crate::app::sources::{self, Wanted};
use crate::cli::given::GivenSources;
use crate::cli::verify;
use crate::clock::Clock;
use crate::config::Config;
use crate::inventory::Inventory;
use crate::oci::reference::{Aliases, Reference};

/// What is read to know who uses it, and what is proven.
#[derive(Debug)]
pub struct Sources {
    /// What to prove comes from these.
    pub wanted: Vec<Wanted>,
    pub proven: Inventory,
    /// Who uses it is read from here, if anything was asked.
    pub inventory: Inventory,
    pub asked: bool,
}

impl Sources {
    pub async fn read(
        subject: &Subject,
        given: &GivenSources,
        config: &Config,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let is_configured = given.is_given() || !config.inventory.is_empty();
        // A digest alone is in nothing but the inventory: without one, the current cluster's.
        let asked = is_configured || matches!(subject, Subject::Digest(_));
        let wanted = if asked {
            given.wanted(&[], config)?
        } else {
            Vec::new()
        };
        let mut inventory = sources::read_once(&wanted, clock).await;
        if asked && !given.is_given() {
            let remembered = beside::remembered(config, &inventory);
            inventory.sources.extend(remembered.map(Arc::new));
        }
        verify::tell_incomplete(&inventory);
        let typed = match subject {
            Subject::Reference(reference)
                if !is_named(&inventory, reference, &config.aliases()) =>
            {
                vec![Wanted::Arguments(vec![reference.clone()])]
            }
            Subject::Reference(_) | Subject::Digest(_) => Vec::new(),
        };
        if typed.is_empty() {
            return Ok(Self {
                proven: inventory.clone(),
                wanted,
                inventory,
                asked,
            });
        }
        Ok(Self {
            proven: sources::read_once(&typed, clock).await,
            wanted: typed,
            inventory,
            asked,
        })
    }
}

/// Whether somebody in the inventory names this very reference, by whichever name of its registry.
fn is_named(inventory: &Inventory, reference: &Reference, aliases: &Aliases) -> bool {
    let uses = inventory
        .sources
        .iter()
        .flat_map(|source| source.uses.iter());
    let mut references = uses.filter_map(|one| one.reference.as_ref().ok());
    references.any(|one| {
        let canonical = aliases.canonical(one);
        canonical.as_ref().unwrap_or(one) == reference
    })
}
