//! Whether something may be taken. Pure.
//!
//! Every condition of the contract is asked for, and one that was not looked at is not met. A [`Permit`] is
//! made here and nowhere else, for one holder of the storage's lock and for a while.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use crate::gc::refusal::{Code, Refusal};
use crate::second::Second;

/// What is known of each condition: met, or why not and what to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts(BTreeMap<Code, Result<(), Vec<String>>>);

impl Facts {
    /// Notes that a condition was looked at and holds, unless something speaks against it already.
    pub fn met(&mut self, code: Code) {
        self.0.entry(code).or_insert(Ok(()));
    }

    /// Notes what speaks against a condition.
    pub fn refused(&mut self, refusal: Refusal) {
        let fact = self.0.entry(refusal.code).or_insert(Ok(()));
        match fact {
            Ok(()) => *fact = Err(vec![refusal.message]),
            Err(messages) => {
                if !messages.contains(&refusal.message) {
                    messages.push(refusal.message);
                }
            }
        }
    }

    /// Notes a condition by its check: an error is the way out.
    pub fn check(&mut self, code: Code, check: Result<(), String>) {
        match check {
            Ok(()) => self.met(code),
            Err(message) => self.refused(Refusal::new(code, message)),
        }
    }

    /// Whether a condition is met; `None` if it was not looked at.
    pub fn is_met(&self, code: Code) -> Option<bool> {
        self.0.get(&code).map(Result::is_ok)
    }

    /// Takes what was known before of each condition that was not looked at now; the result is which.
    pub fn carry(&mut self, before: &Self) -> BTreeSet<Code> {
        let mut carried = BTreeSet::new();
        for (code, fact) in &before.0 {
            if let Entry::Vacant(unseen) = self.0.entry(*code) {
                unseen.insert(fact.clone());
                carried.insert(*code);
            }
        }
        carried
    }

    /// All that speaks against it, in order of the conditions.
    pub fn refusals(&self) -> Vec<Refusal> {
        let all = self.0.iter();
        let refused = all.filter_map(|(code, fact)| Some((*code, fact.as_ref().err()?)));
        let refused = refused.flat_map(|(code, messages)| {
            let messages = messages.iter();
            messages.map(move |message| Refusal::new(code, message.clone()))
        });
        refused.collect()
    }
}

/// That something may be taken or purged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Permit {
    epoch: u32,
    until: Second,
    // Nobody else has its parts.
    _sealed: Sealed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Sealed;

impl Permit {
    /// Whether it still holds, for whoever has the lock by that epoch.
    pub fn holds(&self, epoch: u32, now: Second) -> bool {
        self.epoch == epoch && now < self.until
    }
}

/// Opens the gate, or says all that closes it. The permit ends at `until`, the hard stop of the window.
pub fn decide(facts: &Facts, epoch: u32, until: Second) -> Result<Permit, Vec<Refusal>> {
    let mut refusals = facts.refusals();
    let unseen = Code::ALL
        .iter()
        .filter(|code| facts.is_met(**code).is_none());
    refusals.extend(unseen.map(|code| {
        let message = "it was not looked at, and what is not known is not met";
        Refusal::new(*code, message)
    }));
    if refusals.is_empty() {
        return Ok(Permit {
            epoch,
            until,
            _sealed: Sealed,
        });
    }
    refusals.sort();
    Err(refusals)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_met() -> Facts {
        let mut facts = Facts::default();
        for code in Code::ALL {
            facts.met(code);
        }
        facts
    }

    #[test]
    fn each_condition_closes_it_by_itself() {
        let until = Second::new(100);
        assert!(decide(&all_met(), 1, until).is_ok());
        for code in Code::ALL {
            let mut facts = all_met();
            facts.refused(Refusal::new(code, "no"));
            let refusals = decide(&facts, 1, until).unwrap_err();
            assert_eq!(refusals, [Refusal::new(code, "no")]);
            // What was said against it stays said.
            facts.met(code);
            assert_eq!(facts.is_met(code), Some(false));

            let mut facts = Facts::default();
            for other in Code::ALL.into_iter().filter(|other| *other != code) {
                facts.met(other);
            }
            let refusals = decide(&facts, 1, until).unwrap_err();
            assert_eq!(
                refusals.iter().map(|it| it.code).collect::<Vec<_>>(),
                [code]
            );
        }
    }

    #[test]
    fn what_was_not_looked_at_is_as_it_was_before() {
        let mut before = Facts::default();
        before.met(Code::DrillStale);
        before.met(Code::Paused);
        for replica in ["one", "two"] {
            before.refused(Refusal::new(Code::CacheUnsettled, replica));
        }
        let mut now = Facts::default();
        now.refused(Refusal::new(Code::Paused, "an operator paused it"));
        let carried = now.carry(&before);
        assert_eq!(carried, [Code::CacheUnsettled, Code::DrillStale].into());
        assert_eq!(now.is_met(Code::DrillStale), Some(true));
        assert_eq!(now.is_met(Code::Paused), Some(false));
        let of_caches = now.refusals().into_iter();
        let of_caches = of_caches.filter(|it| it.code == Code::CacheUnsettled);
        let told: Vec<String> = of_caches.map(|it| it.message).collect();
        assert_eq!(told, ["one", "two"]);
        assert_eq!(now.is_met(Code::NotLeader), None);
    }

    #[test]
    fn a_permit_is_for_one_holder_and_for_a_while() {
        let permit = decide(&all_met(), 7, Second::new(100)).unwrap();
        assert!(permit.holds(7, Second::new(99)));
        assert!(!permit.holds(7, Second::new(100)));
        assert!(!permit.holds(8, Second::new(99)));
    }
}
