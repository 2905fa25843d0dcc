//! What came of a session, for whoever started the process that had it.

use super::{Report, Standing, Sum};
use crate::collection::jobs::told::{Amount, Told};
use crate::collection::machine::Ending;
use crate::gc::refusal::Code;

impl Report {
    /// As a Job says it when it ends.
    pub fn to_starter(&self) -> Told {
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
