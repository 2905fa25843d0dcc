//! `/api/v1/keepset`.

use jiff::Timestamp;
use serde::Serialize;

use super::SourceView;
use crate::inventory::completeness::Refusal;
use crate::inventory::keepset::KeepSet;
use crate::inventory::{Class, Inventory};
use crate::oci::digest::Digest;
use crate::oci::reference::Reference;
use crate::state::SourceStatus;

/// Who says it, of what, as the how manieth, and when.
#[derive(Debug, Clone, Copy)]
pub struct Said {
    pub daemon: Digest,
    pub configuration: Digest,
    pub sequence: u64,
    pub at: Timestamp,
}

#[derive(Debug, Clone, Serialize)]
pub struct KeepSetView {
    pub schema: &'static str,
    pub daemon: Digest,
    pub configuration: Digest,
    pub sequence: u64,
    pub at: Timestamp,
    /// Whether it is the whole truth; else `references` and `hash` are null, and `refusals` says why.
    pub complete: bool,
    pub refusals: Vec<Refusal>,
    pub sources: Vec<SourceView>,
    pub references: Option<Vec<KeptView>>,
    /// Over a line of daemon, configuration, sequence and time, and one for each reference in order: the
    /// reference, its classes and its digests, separated by spaces, each list by commas.
    pub hash: Option<Digest>,
}

#[derive(Debug, Clone, Serialize)]
pub struct KeptView {
    pub reference: Reference,
    pub classes: Vec<Class>,
    /// What it pins, and what it led to within `keepSeen`.
    pub digests: Vec<Digest>,
}

impl KeepSetView {
    /// `set` is none of an inventory that is not complete.
    pub fn of(
        set: Option<&KeepSet>,
        inventory: &Inventory,
        said: Said,
        refusals: Vec<Refusal>,
    ) -> Self {
        let Said {
            daemon,
            configuration,
            sequence,
            at,
        } = said;
        let words = format!("{daemon} {configuration} {sequence} {at}");
        let sources = inventory.sources.iter();
        let references = |set: &KeepSet| {
            let kept = set.references().iter().map(|(reference, kept)| KeptView {
                reference: reference.clone(),
                classes: kept.classes.iter().copied().collect(),
                digests: kept.digests.iter().copied().collect(),
            });
            kept.collect()
        };
        Self {
            schema: "pullproof.dev/keepset/v1",
            daemon,
            configuration,
            sequence,
            at,
            complete: set.is_some(),
            refusals,
            sources: sources
                .map(|source| SourceView::from(&SourceStatus::from(&**source)))
                .collect(),
            references: set.map(references),
            hash: set.map(|set| set.hash(&words)),
        }
    }
}
