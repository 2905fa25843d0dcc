//! How long each part of a session took.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::collection::machine::Effect;
use crate::collection::run::Entry;

/// A part of a session, by the name it has in metrics and results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The lock, and the wait for what its last holder sent.
    Acquire,
    /// What can be told before anything is listed.
    Gate,
    /// Both listings.
    List,
    /// The proofs of everything that is kept, before and after.
    Prove,
    /// Announced, moved and noted.
    Quarantine,
    /// Asking the replicas, and looking at what is pushed meanwhile.
    Settle,
    Purge,
    Restore,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acquire => "acquire",
            Self::Gate => "gate",
            Self::List => "list",
            Self::Prove => "prove",
            Self::Quarantine => "quarantine",
            Self::Settle => "settle",
            Self::Purge => "purge",
            Self::Restore => "restore",
        }
    }

    /// `None` for what is a part of the one before.
    fn of(effect: &Effect) -> Option<Self> {
        let phase = match effect {
            Effect::Lock | Effect::WaitUntil(_) | Effect::Unlock => Self::Acquire,
            Effect::CheckGate => Self::Gate,
            Effect::List | Effect::Confirm => Self::List,
            Effect::Decide | Effect::Prove => Self::Prove,
            Effect::Take(..) => Self::Quarantine,
            Effect::Purge(..) => Self::Purge,
            Effect::PutBack(..) => Self::Restore,
            Effect::Ask(..) | Effect::Watch | Effect::Forget => Self::Settle,
            Effect::Write(_, entry) => return Self::of_entry(entry),
            Effect::Look(..) | Effect::Guard | Effect::Done(_) => return None,
        };
        Some(phase)
    }

    fn of_entry(entry: &Entry) -> Option<Self> {
        match entry {
            Entry::Began | Entry::Intent(_) => Some(Self::Quarantine),
            Entry::PurgeIntent(_) => Some(Self::Purge),
            Entry::Return(_) | Entry::ReturnIntent(..) => Some(Self::Restore),
            Entry::Proven(_) => Some(Self::Prove),
            Entry::Settled => Some(Self::Settle),
            Entry::Found(_) | Entry::Ended => None,
        }
    }
}

/// Those that there were.
pub type Took = BTreeMap<Phase, Duration>;

/// Adds them up.
#[derive(Debug)]
pub(super) struct Stopwatch {
    took: Took,
    last: Phase,
}

impl Default for Stopwatch {
    fn default() -> Self {
        Self {
            took: Took::new(),
            last: Phase::Acquire,
        }
    }
}

impl Stopwatch {
    /// Does it, and adds what it took.
    pub(super) fn time<T>(&mut self, effect: Effect, perform: impl FnOnce(Effect) -> T) -> T {
        self.last = Phase::of(&effect).unwrap_or(self.last);
        let begun = tokio::time::Instant::now();
        let done = perform(effect);
        *self.took.entry(self.last).or_default() += begun.elapsed();
        done
    }

    pub(super) fn took(self) -> Took {
        self.took
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collection::item::{ItemId, RunId};
    use crate::collection::run::{Outcome, Proof};
    use crate::second::Second;

    #[test]
    fn what_is_noted_belongs_to_what_was_done() {
        let run = RunId {
            began: Second::new(1),
            epoch: 1,
        };
        let items = vec![ItemId(0)];
        let found = Entry::Found(vec![(ItemId(0), Outcome::Held)]);
        let effects = [
            (Effect::Lock, Phase::Acquire),
            (Effect::Look(run, items.clone()), Phase::Acquire),
            (Effect::CheckGate, Phase::Gate),
            (Effect::List, Phase::List),
            (Effect::Decide, Phase::Prove),
            (Effect::Confirm, Phase::List),
            (
                Effect::Write(run, Entry::Intent(items.clone())),
                Phase::Quarantine,
            ),
            (Effect::Guard, Phase::Quarantine),
            (Effect::Write(run, found.clone()), Phase::Quarantine),
            (Effect::Ask(run, items.clone()), Phase::Settle),
            (Effect::PutBack(run, items), Phase::Restore),
            (Effect::Write(run, found), Phase::Restore),
            (
                Effect::Write(run, Entry::Proven(Proof::Clean)),
                Phase::Prove,
            ),
        ];
        let mut watch = Stopwatch::default();
        for (effect, phase) in effects {
            watch.time(effect, drop);
            assert_eq!(watch.last, phase);
        }
        let all: Vec<Phase> = watch.took().into_keys().collect();
        assert_eq!(
            all,
            [
                Phase::Acquire,
                Phase::Gate,
                Phase::List,
                Phase::Prove,
                Phase::Quarantine,
                Phase::Settle,
                Phase::Restore
            ]
        );
    }
}
