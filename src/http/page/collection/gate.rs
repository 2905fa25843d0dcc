//! What the conditions of a gate say now, with the way out of each refusal. Pure.

use std::collections::BTreeSet;

use super::super::words::{self, Piece};
use crate::collection::gate::Facts;
use crate::gc::refusal::Code;

/// Sentences that are shown of one condition; the rest is counted.
const MESSAGES_SHOWN: usize = 5;

pub(in crate::http::page) struct Gate {
    /// What is refused first, then what was not looked at.
    pub(in crate::http::page) against: Vec<Condition>,
    pub(in crate::http::page) met: Vec<Condition>,
    pub(in crate::http::page) refused: usize,
    is_window_closed: bool,
}

/// One condition.
pub(in crate::http::page) struct Condition {
    pub(in crate::http::page) code: &'static str,
    /// What has to be so.
    pub(in crate::http::page) wanted: &'static str,
    pub(in crate::http::page) is_met: Option<bool>,
    /// Whether that is what the last run found, and nobody has looked since.
    pub(in crate::http::page) is_carried: bool,
    /// Why it is not, and the way out.
    pub(in crate::http::page) messages: Vec<Vec<Piece>>,
    pub(in crate::http::page) more: usize,
}

impl Gate {
    /// Of `carried` conditions only the last run knew.
    pub(super) fn of(facts: &Facts, carried: &BTreeSet<Code>) -> Self {
        let refusals = facts.refusals();
        let condition = |code: Code| {
            let of_it = refusals.iter().filter(|refusal| refusal.code == code);
            Condition {
                code: code.as_str(),
                wanted: wanted(code),
                is_met: facts.is_met(code),
                is_carried: carried.contains(&code),
                more: of_it.clone().count().saturating_sub(MESSAGES_SHOWN),
                messages: of_it
                    .take(MESSAGES_SHOWN)
                    .map(|refusal| words::pieces(&refusal.message))
                    .collect(),
            }
        };
        let all = Code::ALL.into_iter().map(condition);
        let (met, mut against): (Vec<_>, Vec<_>) = all.partition(|it| it.is_met == Some(true));
        against.sort_by_key(|it| it.is_met.is_none());
        Self {
            refused: against.iter().filter(|it| it.is_met.is_some()).count(),
            is_window_closed: facts.is_met(Code::WindowClosed) == Some(false),
            against,
            met,
        }
    }

    /// How many of what is met only the last run knew: nobody has looked since.
    pub(in crate::http::page) fn met_before(&self) -> usize {
        self.met.iter().filter(|it| it.is_carried).count()
    }

    /// What a run finds out by itself is not looked at before a window opens.
    pub(super) fn waits_for_window_only(&self) -> bool {
        self.is_window_closed && self.refused == 1
    }
}

/// What has to be so.
fn wanted(code: Code) -> &'static str {
    match code {
        Code::WindowClosed => "A window is open",
        Code::WindowShort => "The window is long enough",
        Code::InventoryIncomplete => "Every source was read in full",
        Code::InventoryShrunk => "No source has shrunk without a word",
        Code::ImageBroken => "No image that was ever proven is broken",
        Code::ImageUnknown => "Every image is known",
        Code::ProofStale => "Every proof is of this run",
        Code::NotLeader => "This process is the one that collects",
        Code::RegistryWritable => "The registry is read-only, where that is asked for",
        Code::ReplicasUnknown => "Every replica of the registry is known",
        Code::CacheUnsettled => "No replica believes in what was taken",
        Code::ListingIncomplete => "The whole storage was listed",
        Code::StorageUnsupported => "The storage is one that may be collected",
        Code::ShareExceeded => "No more goes than is usual",
        Code::LedgerMissing => "What references led to before is known",
        Code::Rehearsal => "What goes was in a plan for long enough",
        Code::DrillStale => "The drill went well",
        Code::Paused => "Nobody paused it",
        Code::PlanOnly => "More than a plan is allowed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gc::refusal::Refusal;

    #[test]
    fn what_speaks_against_it_comes_first_and_says_the_way_out() {
        let mut facts = Facts::default();
        for code in Code::ALL.into_iter().skip(3) {
            facts.met(code);
        }
        facts.refused(Refusal::new(Code::WindowClosed, "no window is open"));
        let none = BTreeSet::new();
        assert!(Gate::of(&facts, &none).waits_for_window_only());
        for number in 0..7 {
            facts.refused(Refusal::new(Code::Paused, format!("resume {number}")));
        }
        let gate = Gate::of(&facts, &none);
        let codes: Vec<_> = gate.against.iter().map(|it| it.code).collect();
        let expected = [
            "window_closed",
            "paused",
            "window_short",
            "inventory_incomplete",
        ];
        assert_eq!(codes, expected);
        assert_eq!((gate.refused, gate.met.len()), (2, Code::ALL.len() - 4));
        assert_eq!(
            (gate.against[1].messages.len(), gate.against[1].more),
            (5, 2)
        );
        assert!(!gate.waits_for_window_only());
    }
}
