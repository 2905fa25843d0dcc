//! What came of a session, for whoever started the process that had it.

use std::collections::BTreeMap;

use super::readonly::{self, Note};
use super::{Report, Standing, Sum, memory, vault};
use crate::collection::jobs::told::{Amount, Told};
use crate::collection::machine::Ending;
use crate::config::{Config, ReadOnlyMode, Registry};
use crate::gc::refusal::Code;
use crate::second::Second;

/// How the registry was left, as it is noted in the storage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftAs {
    /// Whether the note could be looked for.
    is_known: bool,
    read_only_since: Option<Second>,
    /// Whether a collection switches it.
    switches: bool,
}

impl LeftAs {
    /// Once a session is over. It blocks.
    pub fn seen(config: &Config, registry: &Registry) -> Self {
        let vault = vault(config, registry).ok();
        let note = vault.map(|vault| memory::read::<Note>(&vault, readonly::NOTE));
        let note = note.and_then(Result::ok);
        Self {
            is_known: note.is_some(),
            read_only_since: note.flatten().map(|note| note.since.into()),
            switches: registry.gc.read_only.mode == ReadOnlyMode::Managed,
        }
    }
}

impl Report {
    /// Objects that each replica still answers for, or that wait for it to start again; `None` of a session that
    /// found none, and was refused or failed, maybe before it looked.
    pub fn unsettled(&self) -> Option<BTreeMap<String, usize>> {
        let mut all = self.unsettled.clone();
        for wait in &self.waits {
            *all.entry(wait.replica.clone()).or_default() += wait.objects;
        }
        let has_looked = matches!(self.ending, Some(Ending::Done | Ending::Restored));
        (has_looked || !all.is_empty()).then_some(all)
    }

    /// As a Job says it when it ends.
    pub fn to_starter(&self, left: LeftAs) -> Told {
        // Whoever has the lock may have switched it, and will switch it back.
        let is_known = left.is_known && !self.is_locked_out;
        let unsettled = self.unsettled().map(|all| {
            let all = all.into_iter();
            all.map(|(replica, count)| (replica, count as u64))
                .collect()
        });
        let known = Code::ALL.into_iter();
        let known = known.filter_map(|code| {
            let is_met = self.facts.is_met(code)?;
            Some((code.as_str().to_owned(), is_met))
        });
        let refusals = self.refusals.iter();
        let refusals = refusals.map(|it| (it.code.as_str().to_owned(), it.message.clone()));
        Told {
            result: self.result().to_owned(),
            // Whoever was refused before it looked knows nothing of it.
            knows_held: self.ending != Some(Ending::Refused)
                || self.standing != Standing::default(),
            held: amount(self.standing.held),
            held_since: self.standing.held_since,
            returns_at: self.standing.returns_at,
            restored: amount(self.restored),
            purged: amount(self.purged),
            conditions: known.collect(),
            refusals: refusals.collect(),
            failed: self.failed.clone(),
            drilled_at: self.drilled_at.map(Into::into),
            knows_read_only: is_known,
            read_only_since: left.read_only_since.filter(|_| is_known),
            switches: left.switches,
            unsettled,
            ..Told::default()
        }
    }
}

fn amount(sum: Sum) -> Amount {
    Amount {
        blobs: sum.blobs as u64,
        bytes: sum.bytes,
    }
}
