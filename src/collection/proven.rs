//! What was ever proven, and what that says of what cannot be now. Pure.
//!
//! A reference that never was and whose root is missing has nothing to lose: somebody mistyped it. What was
//! proven once and is lost closes the gate, by whomever it was lost: its blobs may still be there.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::gc::refusal::{Code, Refusal};
use crate::second::Second;

/// What has to be proven before something is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Require {
    /// All that is kept, but for what has nothing to lose.
    #[default]
    Clean,
    /// What was proven once. The storage keeps by its reference what never was.
    Regression,
}

/// What one look at a reference found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Proven,
    /// `is_root` where it is the tag or its own manifest that is not there.
    Broken {
        is_root: bool,
        message: String,
    },
    Unknown(String),
}

/// By reference.
pub type Proofs = BTreeMap<String, Found>;

/// What is remembered beside the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// When it was begun.
    pub since: Option<Second>,
    /// When each reference was proven last.
    pub proven: BTreeMap<String, Second>,
    /// What was broken when it was begun: nobody knows whether it ever was whole.
    pub doubted: BTreeSet<String>,
}

impl Memory {
    /// Takes what was found at a time.
    pub fn take(&mut self, proofs: &Proofs, now: Second) {
        let is_first = self.since.is_none();
        self.since.get_or_insert(now);
        for (reference, found) in proofs {
            match found {
                Found::Proven => {
                    self.proven.insert(reference.clone(), now);
                    self.doubted.remove(reference);
                }
                Found::Broken { .. } | Found::Unknown(_) if is_first => {
                    self.doubted.insert(reference.clone());
                }
                Found::Broken { .. } | Found::Unknown(_) => {}
            }
        }
    }

    /// What was proven when the gate asked last, and is still kept. Without memory nobody knows, and all of it
    /// may have been.
    pub fn proven_last(&self, proofs: &Proofs) -> BTreeSet<String> {
        if self.since.is_none() {
            return proofs.keys().cloned().collect();
        }
        let last = self.proven.values().max();
        let proven = self.proven.iter();
        let proven = proven.filter(|(it, at)| Some(*at) == last && proofs.contains_key(*it));
        proven.map(|(reference, _)| reference.clone()).collect()
    }

    /// Whether it may ever have been whole, for all that is known.
    fn may_have_been(&self, reference: &str) -> bool {
        self.since.is_none()
            || self.proven.contains_key(reference)
            || self.doubted.contains(reference)
    }
}

/// What of it closes the gate, and what is only told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judged {
    pub refusals: Vec<Refusal>,
    pub told: Vec<String>,
}

/// Judges what was found, by what is remembered from before. `is_acknowledged` tells what is known to be
/// lost; of what is unknown nobody knows that.
pub fn judge(
    proofs: &Proofs,
    memory: &Memory,
    require: Require,
    is_acknowledged: &dyn Fn(&str) -> bool,
) -> Judged {
    let mut judged = Judged::default();
    let is_regression = require == Require::Regression;
    for (reference, found) in proofs {
        let (code, message) = match found {
            Found::Proven => continue,
            Found::Broken { is_root, message } => {
                let has_nothing = (*is_root || is_regression) && !memory.may_have_been(reference);
                if has_nothing || is_acknowledged(reference) {
                    judged.told.push(format!("{reference}: {message}"));
                    continue;
                }
                let message = format!(
                    "{reference}: {message}; push it again, or name it under `gc.acknowledged` if it is \
                     known to be lost"
                );
                (Code::ImageBroken, message)
            }
            Found::Unknown(message) => {
                let was_proven = memory.proven.contains_key(reference);
                // Where nothing ever was proven, nothing tells what is worse than before.
                let can_compare = !memory.proven.is_empty();
                if is_regression && can_compare && !was_proven {
                    judged.told.push(format!("{reference}: {message}"));
                    continue;
                }
                let way_out = match (was_proven, is_regression) {
                    (true, _) => "it could be pulled before",
                    (false, true) => {
                        "nothing is remembered that could be pulled before, and so nothing tells what is worse: \
                         the next run compares with this one"
                    }
                    (false, false) => {
                        "where nobody can ever tell, `gc.gate: {require: regression}` lets pass what was never \
                         proven"
                    }
                };
                let message = format!(
                    "{reference}: {message}; see `pullproof explain {reference}`; {way_out}"
                );
                (Code::ImageUnknown, message)
            }
        };
        judged.refusals.push(Refusal::new(code, message));
    }
    judged
}

/// What is worse than before: proven then, and broken or unknown now.
pub fn worse(before: &BTreeSet<String>, after: &Proofs) -> (Vec<String>, Vec<String>) {
    let (mut broken, mut unknown) = (Vec::new(), Vec::new());
    for reference in before {
        match after.get(reference) {
            Some(Found::Proven) => {}
            Some(Found::Broken { message, .. }) => broken.push(format!("{reference}: {message}")),
            Some(Found::Unknown(message)) => unknown.push(format!("{reference}: {message}")),
            None => unknown.push(format!("{reference}: it was not asked for")),
        }
    }
    (broken, unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(is_root: bool) -> Found {
        Found::Broken {
            is_root,
            message: "gone".to_owned(),
        }
    }

    fn codes(judged: &Judged) -> Vec<Code> {
        judged.refusals.iter().map(|it| it.code).collect()
    }

    #[test]
    fn a_typo_closes_nothing_and_what_was_proven_once_does() {
        let mut memory = Memory::default();
        let nobody = |_: &str| false;
        let first: Proofs = [
            ("r/a:1".to_owned(), Found::Proven),
            ("r/lost:1".to_owned(), broken(true)),
        ]
        .into();
        // Without memory nobody knows.
        assert_eq!(
            codes(&judge(&first, &memory, Require::Clean, &nobody)),
            [Code::ImageBroken]
        );
        memory.take(&first, Second::new(1));
        assert_eq!(
            codes(&judge(&first, &memory, Require::Clean, &nobody)),
            [Code::ImageBroken]
        );

        let later: Proofs = [
            ("r/a:1".to_owned(), broken(true)),
            ("r/typo:1".to_owned(), broken(true)),
            ("r/half:1".to_owned(), broken(false)),
            ("r/secret:1".to_owned(), Found::Unknown("401".to_owned())),
        ]
        .into();
        let judged = judge(&later, &memory, Require::Clean, &nobody);
        assert_eq!(
            codes(&judged),
            [Code::ImageBroken, Code::ImageBroken, Code::ImageUnknown]
        );
        assert_eq!(judged.told, ["r/typo:1: gone"]);
        // Until it is proven again, or known to be lost.
        let known = judge(&later, &memory, Require::Clean, &|it| it == "r/a:1");
        assert_eq!(codes(&known), [Code::ImageBroken, Code::ImageUnknown]);
        memory.take(
            &[("r/lost:1".to_owned(), Found::Proven)].into(),
            Second::new(2),
        );
        assert!(memory.doubted.is_empty());
    }

    #[test]
    fn by_regression_only_what_was_proven_and_is_not_closes_it() {
        let nobody = |_: &str| false;
        let unknown = || Found::Unknown("401".to_owned());
        let regression =
            |proofs: &Proofs, memory: &Memory| judge(proofs, memory, Require::Regression, &nobody);
        let mut memory = Memory::default();
        let first: Proofs = [
            ("r/a:1".to_owned(), Found::Proven),
            ("r/b:1".to_owned(), Found::Proven),
            ("r/lost:1".to_owned(), broken(true)),
            ("r/secret:1".to_owned(), unknown()),
        ]
        .into();
        // Nobody knows what was proven before: everything closes it.
        let both = [Code::ImageBroken, Code::ImageUnknown];
        assert_eq!(codes(&regression(&first, &memory)), both);
        memory.take(&first, Second::new(1));
        // What was broken when the memory was begun may have been whole.
        let judged = regression(&first, &memory);
        assert_eq!(codes(&judged), [Code::ImageBroken]);
        assert_eq!(judged.told, ["r/secret:1: 401"]);

        let later: Proofs = [
            ("r/a:1".to_owned(), broken(false)),
            ("r/b:1".to_owned(), unknown()),
            ("r/half:1".to_owned(), broken(false)),
            ("r/secret:1".to_owned(), unknown()),
            ("r/typo:1".to_owned(), broken(true)),
        ]
        .into();
        let judged = regression(&later, &memory);
        assert_eq!(codes(&judged), both);
        assert!(judged.refusals[0].message.starts_with("r/a:1: "));
        assert!(judged.refusals[1].message.starts_with("r/b:1: "));
        assert_eq!(
            judged.told,
            ["r/half:1: gone", "r/secret:1: 401", "r/typo:1: gone"]
        );

        // A registry that was never there is nothing that anything could be compared with.
        let mut empty = Memory::default();
        let away: Proofs = [("r/a:1".to_owned(), unknown())].into();
        empty.take(&away, Second::new(1));
        assert_eq!(codes(&regression(&away, &empty)), [Code::ImageUnknown]);
    }

    #[test]
    fn what_is_unknown_is_not_known_to_be_lost() {
        let mut memory = Memory::default();
        memory.take(
            &[("r/a:1".to_owned(), Found::Proven)].into(),
            Second::new(1),
        );
        for (reference, way_out) in [
            ("r/a:1", "could be pulled before"),
            ("r/b:1", "require: regression"),
        ] {
            let proofs = [(reference.to_owned(), Found::Unknown("503".to_owned()))].into();
            let judged = judge(&proofs, &memory, Require::Clean, &|_| true);
            assert_eq!(codes(&judged), [Code::ImageUnknown]);
            let message = &judged.refusals[0].message;
            assert!(
                message.contains(way_out) && !message.contains("acknowledged"),
                "{message}"
            );
        }
    }

    #[test]
    fn what_the_gate_proved_last_is_what_must_stay_proven() {
        let mut memory = Memory::default();
        let all: Proofs = ["a", "b", "c"]
            .map(|it| (it.to_owned(), Found::Proven))
            .into();
        // Without memory, everything that is kept.
        assert_eq!(memory.proven_last(&all).len(), 3);
        memory.take(&all, Second::new(1));
        // One was lost since, and that is known; one is kept by nobody any more.
        let mut later = all.clone();
        later.insert("b".to_owned(), broken(true));
        memory.take(&later, Second::new(2));
        later.remove("c");
        assert_eq!(memory.proven_last(&later), ["a".to_owned()].into());
    }

    #[test]
    fn worse_is_what_was_proven_and_is_not() {
        let before = ["a", "b", "c", "d"].map(str::to_owned).into();
        let after: Proofs = [
            ("a".to_owned(), Found::Proven),
            ("b".to_owned(), broken(false)),
            ("c".to_owned(), Found::Unknown("503".to_owned())),
            ("new".to_owned(), broken(true)),
        ]
        .into();
        let (broken, unknown) = worse(&before, &after);
        assert_eq!(broken, ["b: gone"]);
        assert_eq!(unknown, ["c: 503", "d: it was not asked for"]);
    }
}
