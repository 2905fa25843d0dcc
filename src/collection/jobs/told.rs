//! What a collector says of itself when it ends, for whoever started it: Kubernetes keeps some 4 KiB of it as
//! the container's termination message. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::collection::gate::Facts;
use crate::gc::refusal::{Code, Refusal};
use crate::second::Second;

/// Kubernetes cuts off what is longer.
const BYTES_MAX: usize = 4096;
/// Of a sentence, where all of them do not fit.
const SHORT: usize = 120;

/// Blobs and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    pub blobs: u64,
    pub bytes: u64,
}

/// What came of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    pub schema: String,
    /// As in `gc_runs_total`.
    pub result: String,
    /// Whether what is held was looked at: whoever was refused before that knows nothing of it.
    pub knows_held: bool,
    pub held: Amount,
    pub held_since: Option<Second>,
    /// When something has to go back, since the bucket would purge it.
    pub returns_at: Option<Second>,
    pub restored: Amount,
    pub purged: Amount,
    /// Each condition that was looked at: whether it is met.
    pub conditions: BTreeMap<String, bool>,
    /// What closed the gate, by condition.
    pub refusals: Vec<(String, String)>,
    pub failed: Option<String>,
    /// When a canary was taken and put back.
    pub drilled_at: Option<Second>,
}

/// Names what this is, for whoever else reads it.
pub const SCHEMA: &str = "pullproof.dev/gc-ended/v1";

impl Told {
    /// In a line of at most 4 KiB: of what does not fit the sentences are cut, then left out.
    pub fn to_text(&self) -> String {
        let mut told = self.clone();
        SCHEMA.clone_into(&mut told.schema);
        let text = |told: &Self| serde_json::to_string(told).unwrap_or_default();
        let whole = text(&told);
        if whole.len() < BYTES_MAX {
            return whole;
        }
        let cut = |text: &str| text.chars().take(SHORT).collect::<String>();
        told.failed = told.failed.as_deref().map(cut);
        for (_, message) in &mut told.refusals {
            *message = cut(message);
        }
        // A condition has as many refusals as it likes.
        while text(&told).len() >= BYTES_MAX && told.refusals.pop().is_some() {}
        text(&told)
    }

    /// The last line that is one; containers may say other things.
    pub fn parse(text: &str) -> Option<Self> {
        let lines = text.lines().rev();
        let told = lines.filter_map(|line| serde_json::from_str::<Self>(line).ok());
        let mut told = told.filter(|told| told.schema == SCHEMA);
        told.next()
    }

    /// What it says of the gate.
    pub fn facts(&self) -> Facts {
        let mut facts = Facts::default();
        for refusal in self.refusals() {
            facts.refused(refusal);
        }
        for code in Code::ALL {
            match self.conditions.get(code.as_str()) {
                Some(true) => facts.met(code),
                // Its sentence may have been left out.
                Some(false) if facts.is_met(code).is_none() => {
                    facts.refused(Refusal::new(code, "see the Job's own log"));
                }
                Some(false) | None => {}
            }
        }
        facts
    }

    pub fn refusals(&self) -> Vec<Refusal> {
        let all = self.refusals.iter();
        let known = all.filter_map(|(code, message)| {
            let code = Code::ALL.into_iter().find(|it| it.as_str() == code)?;
            Some(Refusal::new(code, message.clone()))
        });
        known.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut_and_the_rest_is_read_again() {
        let mut told = Told {
            result: "refused".to_owned(),
            knows_held: true,
            held: Amount {
                blobs: 3,
                bytes: 71,
            },
            held_since: Some(Second::new(1000)),
            ..Told::default()
        };
        for code in Code::ALL {
            told.conditions.insert(code.as_str().to_owned(), false);
            for number in 0..10 {
                let message = format!("{number} {}", "é\"".repeat(100));
                told.refusals.push((code.as_str().to_owned(), message));
            }
        }
        let text = told.to_text();
        assert!(text.len() < BYTES_MAX, "{}", text.len());
        let read = Told::parse(&format!("stopping\n{text}\n")).unwrap();
        assert_eq!((read.held, read.held_since), (told.held, told.held_since));
        assert!(!read.refusals.is_empty());
        let facts = read.facts();
        for code in Code::ALL {
            assert_eq!(facts.is_met(code), Some(false), "{code:?}");
        }
        // A short one is whole.
        told.refusals.truncate(2);
        let read = Told::parse(&told.to_text()).unwrap();
        assert_eq!(read.refusals, told.refusals);
    }

    #[test]
    fn what_is_not_ours_tells_nothing() {
        for text in ["", "{}", "Killed", "{\"result\": \"purged\"}"] {
            assert_eq!(Told::parse(text), None, "{text}");
        }
        assert_eq!(Told::default().facts(), Facts::default());
    }
}
