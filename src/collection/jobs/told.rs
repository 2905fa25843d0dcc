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
/// Stands for replicas that do not fit one by one.
const OTHERS: &str = "others";

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
    /// Whether it is known if the registry was left read-only: not by one that is older than these words, nor
    /// while another process has the storage's lock.
    pub knows_read_only: bool,
    /// Since when it is, in the end.
    pub read_only_since: Option<Second>,
    /// Whether its configuration lets it switch the registry (`gc.readOnly.mode: managed`).
    pub switches: bool,
    /// Objects that each replica still answered for, or that wait for it to start again; `None` from whoever
    /// did not look.
    pub unsettled: Option<BTreeMap<String, u64>>,
}

/// Names what this is, for whoever else reads it.
pub const SCHEMA: &str = "pullproof.dev/gc-ended/v1";

impl Told {
    /// In a line of at most 4 KiB: of what does not fit the sentences are cut, then left out, and then replicas
    /// are told together.
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
        while text(&told).len() >= BYTES_MAX && told.unsettled.as_mut().is_some_and(told_together) {
        }
        text(&told)
    }

    /// Whether it began, and so put right what another left.
    pub fn has_begun(&self) -> bool {
        !matches!(self.result.as_str(), "refused" | "failed")
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

/// One replica less by its own name; whether there was one.
fn told_together(unsettled: &mut BTreeMap<String, u64>) -> bool {
    let mut named = unsettled.keys().rev();
    let Some(last) = named.find(|it| *it != OTHERS).cloned() else {
        return false;
    };
    let count = unsettled.remove(&last).unwrap_or_default();
    let others = unsettled.entry(OTHERS.to_owned()).or_default();
    *others = others.saturating_add(count);
    true
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
    fn replicas_that_do_not_fit_are_told_together() {
        let replica = |number: u64| format!("registry-7d4b9c6f5d-{number:05}.registry:5000");
        let told = Told {
            knows_read_only: true,
            read_only_since: Some(Second::new(1000)),
            unsettled: Some((0..200).map(|number| (replica(number), 3)).collect()),
            ..Told::default()
        };
        let text = told.to_text();
        assert!(text.len() < BYTES_MAX, "{}", text.len());
        let read = Told::parse(&text).unwrap();
        assert_eq!(read.read_only_since, told.read_only_since);
        let unsettled = read.unsettled.unwrap();
        assert_eq!(unsettled.values().sum::<u64>(), 600);
        assert!(unsettled.len() > 10, "{}", unsettled.len());
        assert!(unsettled.contains_key(&replica(0)) && unsettled.contains_key(OTHERS));
        // A few are told one by one.
        let few = Told {
            unsettled: Some([(replica(0), 1), (replica(1), 2)].into()),
            ..told
        };
        assert_eq!(
            Told::parse(&few.to_text()).unwrap().unsettled,
            few.unsettled
        );
    }

    #[test]
    fn an_older_job_is_understood() {
        let words = r#"{"schema":"pullproof.dev/gc-ended/v1","result":"quarantined","knows_held":true,"held":{"blobs":3,"bytes":71},"held_since":"2026-11-22T03:02:55Z","returns_at":null,"restored":{"blobs":0,"bytes":0},"purged":{"blobs":0,"bytes":0},"conditions":{"paused":true},"refusals":[],"failed":null,"drilled_at":null}"#;
        let told = Told::parse(words).unwrap();
        assert_eq!((told.result.as_str(), told.held.blobs), ("quarantined", 3));
        assert!(!told.knows_read_only && !told.switches);
        assert_eq!((told.read_only_since, told.unsettled), (None, None));
    }

    #[test]
    fn what_is_not_ours_tells_nothing() {
        for text in ["", "{}", "Killed", "{\"result\": \"purged\"}"] {
            assert_eq!(Told::parse(text), None, "{text}");
        }
        assert_eq!(Told::default().facts(), Facts::default());
    }
}
