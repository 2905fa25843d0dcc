//! What a registry that answers others well enough gave no answer to: it is asked once more at the end of the
//! round, since the next one is an interval away. Pure.

use super::finding::Code;
use super::question::{Answer, Ask, Question};

/// How often it is tried at the end of a round. One that fails every other request has failed one question in
/// eight by then (each is put three times), and after these one in five hundred.
const PASSES_MAX: u8 = 2;

/// The questions without an answer, and how many had one.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    questions: Vec<Question>,
    answered: usize,
    passes: u8,
}

impl Unanswered {
    /// Takes note of what came of a question.
    pub(super) fn heard(&mut self, question: &Question, answer: &Answer) {
        match answer {
            Answer::Failed { code, .. } => self.add(question, *code),
            _ => self.answered += 1,
        }
    }

    /// This one had no answer, for that reason. One that may pass before the round is over.
    pub(super) fn add(&mut self, question: &Question, code: Code) {
        let may_pass = matches!(code, Code::ServerError | Code::Timeout | Code::Unreachable);
        let is_of_an_image = match question.ask {
            Ask::Tag { .. }
            | Ask::Manifest { .. }
            | Ask::Access { .. }
            | Ask::Blob { .. }
            | Ask::Config { .. } => true,
            // They have ways of their own to be put again.
            Ask::Canary { .. } | Ask::Control { .. } | Ask::ReadControl { .. } => false,
        };
        if may_pass && is_of_an_image && self.passes < PASSES_MAX {
            self.questions.push(Question {
                // What it claims then has to be confirmed anew.
                confirm: false,
                ..question.clone()
            });
        }
    }

    /// Those to be put again now. None to a registry that answers less than it fails: it has enough to do.
    pub(super) fn again(&mut self) -> Vec<Question> {
        if self.questions.is_empty() {
            return Vec::new();
        }
        self.passes = self.passes.saturating_add(1);
        let questions = std::mem::take(&mut self.questions);
        if questions.len() > self.answered {
            self.passes = PASSES_MAX;
            return Vec::new();
        }
        questions
    }
}
