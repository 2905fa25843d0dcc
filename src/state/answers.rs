//! The three questions that a snapshot answers: can I lose a node, fail over, roll back? Pure.
//!
//! Fail closed: where nothing is known of what a question is about, or a source may not have said all, the
//! answer is not yes.

use jiff::Timestamp;
use serde::Serialize;

use super::snapshot::{Snapshot, SourceStatus};
use crate::inventory::Class;
use crate::verify::finding::Verdict;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// A node is lost, and its workloads start on another that has nothing cached.
    LoseNode,
    /// A standby cluster takes over.
    FailOver,
    /// A workload goes back to what it was before.
    RollBack,
}

impl Question {
    pub const ALL: [Self; 3] = [Self::LoseNode, Self::FailOver, Self::RollBack];

    /// The class of the images that have to be pulled then.
    pub fn class(self) -> Class {
        match self {
            Self::LoseNode => Class::Runtime,
            Self::FailOver => Class::Failover,
            Self::RollBack => Class::Rollback,
        }
    }
}

/// By the contract's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    Yes,
    No,
    Unknown,
}

/// The images that a question is about: entries, one for each credential that pulls a reference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub images: usize,
    pub broken: usize,
    pub unknown: usize,
}

impl Count {
    /// `is_whole` is whether all that there is to know of the inventory is known.
    fn answer(self, is_whole: bool) -> Answer {
        match self {
            Self { broken: 1.., .. } => Answer::No,
            Self { images: 0, .. } | Self { unknown: 1.., .. } => Answer::Unknown,
            Self { .. } if is_whole => Answer::Yes,
            Self { .. } => Answer::Unknown,
        }
    }
}

/// The three answers, each with what it is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answers {
    counts: [Count; 3],
    /// Whether every source is complete, or its last complete state stands in, and none shrank without a
    /// word.
    pub is_whole: bool,
}

impl Answers {
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut counts = [Count::default(); 3];
        for image in &snapshot.images {
            let verdict = image.verdict();
            // One pass over the users, whatever is asked: there may be very many.
            let mut is_asked = [false; 3];
            for user in image.users().iter().filter(|user| !user.is_argument()) {
                for (question, is_asked) in Question::ALL.into_iter().zip(&mut is_asked) {
                    *is_asked |= user.class == question.class();
                }
            }
            for (count, is_asked) in counts.iter_mut().zip(is_asked) {
                count.images += usize::from(is_asked);
                count.broken += usize::from(is_asked && verdict == Verdict::Broken);
                count.unknown += usize::from(is_asked && verdict == Verdict::Unknown);
            }
        }
        let mut sources = snapshot.sources.iter();
        Self {
            counts,
            is_whole: !snapshot.sources.is_empty()
                && sources.all(|source| is_told(source, snapshot.at)),
        }
    }

    pub fn count(&self, question: Question) -> Count {
        let [lose_node, fail_over, roll_back] = self.counts;
        match question {
            Question::LoseNode => lose_node,
            Question::FailOver => fail_over,
            Question::RollBack => roll_back,
        }
    }

    pub fn answer(&self, question: Question) -> Answer {
        self.count(question).answer(self.is_whole)
    }
}

/// Whether a source said all that it has to say, or did so shortly before.
fn is_told(source: &SourceStatus, now: Timestamp) -> bool {
    let is_known = source.incomplete.is_none() || source.stands_until().is_some_and(|it| now <= it);
    is_known && source.shrunk.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_proof_of_all_is_a_yes() {
        let count = |images, broken, unknown| Count {
            images,
            broken,
            unknown,
        };
        for (count, is_whole, answer) in [
            (count(3, 0, 0), true, Answer::Yes),
            (count(3, 0, 0), false, Answer::Unknown),
            (count(3, 0, 1), true, Answer::Unknown),
            (count(0, 0, 0), true, Answer::Unknown),
            // What is broken is so whatever else there may be.
            (count(3, 1, 1), false, Answer::No),
            (count(3, 1, 0), true, Answer::No),
        ] {
            assert_eq!(count.answer(is_whole), answer, "{count:?} {is_whole}");
        }
    }
}
