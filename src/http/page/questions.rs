//! The three questions, each with its answer and with the list that it is made of. Pure.

use super::super::filter::Filter;
use super::{address, words};
use crate::state::answers::{Answer, Answers, Count, Question};
use crate::verify::finding::Verdict;

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Card {
    pub(super) question: &'static str,
    pub(super) answer: &'static str,
    pub(super) tone: &'static str,
    pub(super) sign: &'static str,
    /// What the answer is made of.
    pub(super) why: String,
    /// Where that is listed.
    pub(super) href: String,
}

pub(super) fn cards(answers: &Answers) -> [Card; 3] {
    Question::ALL.map(|question| Card::of(question, answers))
}

/// Where sources stand on the overview.
const SOURCES: &str = "/#sources";

impl Card {
    fn of(question: Question, answers: &Answers) -> Self {
        let count = answers.count(question);
        let (verdict, answer) = match answers.answer(question) {
            Answer::Yes => (Verdict::Pullable, "yes"),
            Answer::No => (Verdict::Broken, "no"),
            Answer::Unknown => (Verdict::Unknown, "don't know"),
        };
        let only = match verdict {
            Verdict::Broken => verdict.as_str(),
            Verdict::Unknown if count.unknown > 0 => verdict.as_str(),
            Verdict::Unknown | Verdict::Pullable => "",
        };
        let list = Filter {
            class: question.class().as_str().to_owned(),
            verdict: only.to_owned(),
            ..Filter::default()
        };
        let is_by_sources = verdict == Verdict::Unknown && count.unknown == 0;
        Self {
            question: asked(question),
            answer,
            tone: verdict.as_str(),
            sign: words::sign(verdict),
            why: why(question, count, verdict),
            href: if is_by_sources {
                SOURCES.to_owned()
            } else {
                address::filtered("/", &list, 0)
            },
        }
    }
}

fn asked(question: Question) -> &'static str {
    match question {
        Question::LoseNode => "Can I lose a node?",
        Question::FailOver => "Can I fail over?",
        Question::RollBack => "Can I roll back?",
    }
}

fn why(question: Question, count: Count, verdict: Verdict) -> String {
    let Count {
        images,
        broken,
        unknown,
    } = count;
    let images = match question {
        Question::LoseNode => words::counted(images, "running image"),
        Question::FailOver => words::counted(images, "standby image"),
        Question::RollBack => words::counted(images, "earlier image"),
    };
    match verdict {
        Verdict::Broken => format!("{} of {images} broken", words::number(broken)),
        Verdict::Unknown if unknown > 0 => {
            format!("{} of {images} unknown", words::number(unknown))
        }
        Verdict::Unknown if count.images == 0 => match question {
            Question::LoseNode => "no workload is known to run".to_owned(),
            Question::FailOver => "no workload of a standby cluster is known".to_owned(),
            Question::RollBack => "no earlier version of a workload is known".to_owned(),
        },
        Verdict::Unknown => format!("{images} proven, but the inventory may not be whole"),
        Verdict::Pullable => format!("{images} proven"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_says_of_what_it_is_made() {
        let count = |images, broken, unknown| Count {
            images,
            broken,
            unknown,
        };
        for (question, count, verdict, said) in [
            (
                Question::LoseNode,
                count(41, 3, 2),
                Verdict::Broken,
                "3 of 41 running images broken",
            ),
            (
                Question::FailOver,
                count(1, 0, 1),
                Verdict::Unknown,
                "1 of 1 standby image unknown",
            ),
            (
                Question::RollBack,
                count(1200, 0, 0),
                Verdict::Pullable,
                "1,200 earlier images proven",
            ),
            (
                Question::FailOver,
                count(0, 0, 0),
                Verdict::Unknown,
                "no workload of a standby cluster is known",
            ),
            (
                Question::LoseNode,
                count(2, 0, 0),
                Verdict::Unknown,
                "2 running images proven, but the inventory may not be whole",
            ),
        ] {
            assert_eq!(why(question, count, verdict), said);
        }
    }
}
