//! Whether blobs are gone that no run of ours took: what each listing had is remembered beside the journal.

use std::collections::{BTreeSet, HashSet};

use tracing::warn;

use super::Session;
use crate::app::collector::memory;
use crate::collection::run::Place;
use crate::collection::vanished::{Start, Stored, Vanished, start};
use crate::gc::graph::Graph;
use crate::gc::refusal::Code;
use crate::oci::digest::Digest;
use crate::second::Second;
use crate::vault::Vault;

/// Beside the journal: which blobs the last listing had.
const STORED: &str = "stored.bin";
/// Beside the journal: what vanished, until it is back or somebody removes this.
const VANISHED: &str = "vanished.json";

impl Session<'_> {
    /// Compares a listing with the one before, of whichever session, and remembers it. Whatever collects a
    /// registry beside us may take what comes back from a quarantine while it works.
    pub(super) fn look_for_vanished(&mut self, graph: &Graph, at: Second) {
        let told = self.compare(graph, at);
        self.facts.check(Code::StorageUnsupported, told);
    }

    fn compare(&self, graph: &Graph, at: Second) -> Result<(), String> {
        let before = self.stored()?;
        let known: Option<Vanished> = self.remembered(VANISHED)?;
        let now = Stored::of(graph, &self.held(), at);
        let gone = before
            .as_ref()
            .map_or_else(Vec::new, |before| before.gone(&now, &self.taken()));
        let since = before.map_or(at, |before| before.at);
        let had = known.is_some();
        let vanished = Vanished::next(known, &gone, since, &now);
        // That something is gone is remembered before what would tell it is forgotten.
        match &vanished {
            Some(vanished) => self.remember(VANISHED, vanished)?,
            None if had => {
                let removed = self.vault.remove(VANISHED);
                removed
                    .map_err(|error| format!("pullproof/{VANISHED} cannot be removed: {error}"))?;
                warn!(
                    storage = self.work.registry.host,
                    "the blobs that had vanished are there again"
                );
            }
            None => {}
        }
        self.store(&now)?;
        vanished.map_or(Ok(()), |it| Err(words(&it)))
    }

    /// What this session took, or an earlier one whose end nobody saw, is not missed later: not even when its
    /// journal is no longer read.
    pub(super) fn forget_taken(&self) -> Result<(), String> {
        let taken = self.taken();
        if taken.is_empty() {
            return Ok(());
        }
        let Some(mut stored) = self.stored()? else {
            return Ok(());
        };
        if stored.forget(&taken) {
            self.store(&stored)
        } else {
            Ok(())
        }
    }

    /// Before somebody takes what he decides himself: nothing tells afterwards what was taken by whom.
    pub(super) fn forget_stored(&self) -> Result<(), String> {
        let removed = self.vault.remove(STORED);
        removed.map_err(|error| format!("pullproof/{STORED} cannot be removed: {error}"))
    }

    /// Remembers what is there, whatever was there before.
    pub(super) fn store_anew(&self, graph: &Graph, at: Second) -> Result<(), String> {
        self.store(&Stored::of(graph, &self.held(), at))
    }

    fn stored(&self) -> Result<Option<Stored>, String> {
        let problem = |error: &dyn std::fmt::Display| {
            format!(
                "pullproof/{STORED} cannot be read: {error}, and so it is not known whether another collector took \
                 something; put it right, or remove it once you know that none does"
            )
        };
        let bytes = self.vault.read(STORED).map_err(|error| problem(&error))?;
        let parsed = bytes.map(|bytes| Stored::from_bytes(&bytes));
        parsed.transpose().map_err(|error| problem(&error))
    }

    fn store(&self, stored: &Stored) -> Result<(), String> {
        let written = self.vault.write(STORED, &stored.to_bytes());
        written.map_err(|error| format!("pullproof/{STORED} cannot be written: {error}"))
    }

    fn held(&self) -> HashSet<Digest> {
        let held = self.journals.held().map(|(_, _, item)| item);
        let data = held.filter(|item| item.class.is_data());
        data.map(|item| item.digest).collect()
    }

    /// The bytes that a run took, or may have taken, and did not put back.
    fn taken(&self) -> BTreeSet<Start> {
        let mut taken = BTreeSet::new();
        for (_, replayed) in self.journals.iter() {
            let data = replayed
                .items
                .iter()
                .filter(|(_, item)| item.class.is_data());
            let away = data.filter(|(id, _)| replayed.run.place(**id) != Place::Live);
            taken.extend(away.map(|(_, item)| start(&item.digest)));
        }
        taken
    }
}

/// What the last session found, for whoever only looks.
pub(in crate::app::collector) fn told(vault: &Vault) -> Result<(), String> {
    let vanished: Option<Vanished> = memory::read(vault, VANISHED)?;
    vanished.map_or(Ok(()), |it| Err(words(&it)))
}

fn words(vanished: &Vanished) -> String {
    vanished.words(&format!("pullproof/{VANISHED}"))
}
