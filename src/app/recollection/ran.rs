//! What nodes run of each reference, to be noted as what it led to: of what is gone the tag alone says
//! nothing of what ran.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use crate::inventory::SourceState;
use crate::inventory::running::RunningUse;
use crate::oci::digest::Digest;
use crate::oci::reference::{Aliases, Reference};
use crate::second::Second;
use crate::store::Store;

/// How many rows are written at once.
const PART_ROWS: usize = 5000;
/// When something ran last is known by the hour.
const HOUR: i64 = 3600;

/// What was noted within an hour, and what is still to be written.
#[derive(Debug, Default)]
pub(super) struct Ran {
    hour: i64,
    /// Of references and digests, by numbers that are others each hour: what two of them have in common, once in
    /// billions, is noted an hour later.
    noted: HashSet<u64>,
    numbers: RandomState,
    told: Vec<Arc<[Arc<RunningUse>]>>,
    unwritten: Unwritten,
}

#[derive(Debug, Default)]
pub(super) struct Unwritten {
    pub(super) rows: Vec<(Reference, Digest)>,
    at: Option<Second>,
}

impl Ran {
    pub(super) fn see(&mut self, sources: &[Arc<SourceState>], aliases: &Aliases, at: Second) {
        let hour = at.get().div_euclid(HOUR);
        if hour != self.hour {
            *self = Self {
                hour,
                unwritten: std::mem::take(&mut self.unwritten),
                ..Self::default()
            };
        }
        let is_told = self.told.len() == sources.len()
            && (self.told.iter().zip(sources))
                .all(|(told, source)| Arc::ptr_eq(told, &source.running));
        if is_told {
            return;
        }
        for (image_use, told) in sources.iter().flat_map(|source| source.uses_told()) {
            let (Ok(reference), Some(told)) = (&image_use.reference, told) else {
                continue;
            };
            for one in &told.running {
                let digest = one.id.digest;
                if self
                    .noted
                    .insert(self.numbers.hash_one((reference, digest)))
                {
                    // As what is remembered is named.
                    let named = aliases.canonical(reference);
                    let named = named.unwrap_or_else(|| reference.clone());
                    self.unwritten.rows.push((named, digest));
                    self.unwritten.at = Some(at);
                }
            }
        }
        let running = sources.iter().map(|source| Arc::clone(&source.running));
        self.told = running.collect();
    }

    /// What is to be written now.
    pub(super) fn take(&mut self) -> Unwritten {
        std::mem::take(&mut self.unwritten)
    }
}

impl Unwritten {
    pub(super) fn write(&self, store: &Store) -> Result<(), redb::Error> {
        let Some(at) = self.at else { return Ok(()) };
        for part in self.rows.chunks(PART_ROWS) {
            let row = |(reference, digest): &(Reference, Digest)| -> (Box<str>, Digest) {
                (reference.to_string().into(), *digest)
            };
            let rows: Vec<_> = part.iter().map(row).collect();
            store.note_ran(&rows, at)?;
        }
        Ok(())
    }
}
