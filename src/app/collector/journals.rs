//! The journals of a storage's runs, and what they tell of each item.

use std::collections::BTreeMap;
use std::io;

use serde_json::Value;

use crate::collection::item::{Item, ItemId, RunId};
use crate::collection::journal::{self, Replayed, Writer};
use crate::collection::run::{Entry, Run};
use crate::second::Second;
use crate::vault::{Found, Vault};

/// All runs that have not ended, and what is known of the others.
#[derive(Debug, Default)]
pub struct Journals {
    runs: BTreeMap<RunId, One>,
    /// Something of their journals is still where they were.
    left: Vec<RunId>,
    ended: usize,
}

#[derive(Debug)]
struct One {
    replayed: Replayed,
    writer: Writer,
}

/// Why they cannot be gone by.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("the journals cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error(
        "the journal of {run} is damaged, {damaged}: what that run holds is not touched by itself; put it back by \
         hand, each file or object to its path below the `rootdirectory`, and the journal elsewhere"
    )]
    Damaged {
        run: RunId,
        damaged: journal::Damaged,
    },
}

impl Journals {
    /// Reads all of them.
    pub fn read(vault: &Vault) -> Result<Self, Unreadable> {
        let Found { open, left, ended } = vault.journals()?;
        let mut runs = BTreeMap::new();
        for (run, text) in open {
            let replayed = journal::replay(run, &text)
                .map_err(|damaged| Unreadable::Damaged { run, damaged })?;
            let writer = Writer::new(run, replayed.lines);
            runs.insert(run, One { replayed, writer });
        }
        Ok(Self { runs, left, ended })
    }

    /// So many runs have ended, and their journals are not read any more.
    pub fn ended(&self) -> usize {
        self.ended
    }

    /// Puts aside the journals of runs that ended, and makes those of the others quick to read. An error is
    /// the first thing that could not be done: it is done next time, and nothing is lost by it.
    pub fn tidy(&self, vault: &Vault) -> io::Result<()> {
        for run in &self.left {
            vault.retire(*run)?;
        }
        for (run, one) in &self.runs {
            if one.replayed.run.has_ended() {
                vault.retire(*run)?;
            } else {
                vault.fold(*run)?;
            }
        }
        Ok(())
    }

    /// The runs as the machine takes them.
    pub fn runs(&self) -> BTreeMap<RunId, Run> {
        let runs = self.runs.iter();
        runs.map(|(id, one)| (*id, one.replayed.run.clone()))
            .collect()
    }

    /// What is known of each run, its items and what it went by.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (RunId, &Replayed)> {
        let runs = self.runs.iter();
        runs.map(|(id, one)| (*id, &one.replayed))
    }

    /// What is in quarantine, of all runs.
    pub fn held(&self) -> impl Iterator<Item = (RunId, ItemId, &Item)> {
        self.runs.iter().flat_map(|(run, one)| {
            let held = one.replayed.run.held();
            held.filter_map(move |id| Some((*run, id, one.replayed.items.get(&id)?)))
        })
    }

    /// These items of a run.
    pub fn items(&self, run: RunId, ids: &[ItemId]) -> Vec<Item> {
        let Some(one) = self.runs.get(&run) else {
            return Vec::new();
        };
        let items = ids.iter();
        items
            .filter_map(|id| one.replayed.items.get(id).cloned())
            .collect()
    }

    /// Finds out of some items of a run which version each is, before anything is written of them.
    pub fn name_versions(&mut self, vault: &Vault, run: RunId, ids: &[ItemId]) -> io::Result<()> {
        let mut items = self.items(run, ids);
        vault.name_versions(&mut items)?;
        if let Some(one) = self.runs.get_mut(&run) {
            one.replayed.items.extend(ids.iter().copied().zip(items));
        }
        Ok(())
    }

    /// The run of this session, with what may be taken in it.
    pub fn begin(&mut self, run: RunId, items: &[Item], about: Value) {
        let items = (0..).map(ItemId).zip(items.iter().cloned());
        let replayed = Replayed {
            about,
            items: items.collect(),
            ..Replayed::default()
        };
        let writer = Writer::new(run, 0);
        self.runs.insert(run, One { replayed, writer });
    }

    /// Remembers something of a run, synced.
    pub fn write(
        &mut self,
        vault: &Vault,
        run: RunId,
        entry: &Entry,
        now: Second,
        epoch: u32,
    ) -> io::Result<()> {
        let one = self.runs.get_mut(&run).ok_or(io::ErrorKind::NotFound)?;
        let items = &one.replayed.items;
        let about = &one.replayed.about;
        let line = one
            .writer
            .line(entry, now, epoch, |id| items.get(&id), about);
        let (lines, bytes) = (one.replayed.lines, one.replayed.bytes as u64);
        vault.append(run, lines, bytes, line.as_bytes())?;
        one.writer.written();
        one.replayed.bytes += line.len();
        one.replayed.lines += 1;
        one.replayed.run.apply(entry, now);
        Ok(())
    }
}
