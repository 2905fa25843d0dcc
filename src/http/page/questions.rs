//! The three questions, each with its answer and with the list that it is made of. Pure.

use super::super::filter::Filter;
use super::{address, words};
use crate::state::answers::{Answer, Answers, Question};
use crate::verify::finding::Verdict;
use crate::view::answers::{asked, told, why};

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
        let answer = answers.answer(question);
        let verdict = match answer {
            Answer::Yes => Verdict::Pullable,
            Answer::No => Verdict::Broken,
            Answer::Unknown => Verdict::Unknown,
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
            answer: told(answer),
            tone: verdict.as_str(),
            sign: words::sign(verdict),
            why: why(question, count, answer),
            href: if is_by_sources {
                SOURCES.to_owned()
            } else {
                address::filtered("/", &list, 0)
            },
        }
    }
}
