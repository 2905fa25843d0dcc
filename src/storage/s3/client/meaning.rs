//! What an answer means that is no success, or a success that holds an error.

use super::super::operation::Operation;
use super::super::page::{Fault, NoPage};
use super::super::refusal::{self, Answer, Asked, Meaning};
use super::Client;

impl Client {
    pub(in super::super) fn meaning(&self, operation: Operation, answer: &Answer<'_>) -> Meaning {
        let asked = Asked {
            operation,
            bucket: &self.settings.bucket,
            region: &self.settings.region,
        };
        refusal::meaning(answer, asked)
    }

    /// What the body of a success says, where it is one.
    pub(in super::super) fn understood<T>(
        &self,
        operation: Operation,
        body: Result<T, NoPage>,
    ) -> Result<T, Meaning> {
        body.map_err(|problem| match problem {
            NoPage::Fault(fault) => self.meaning_of_fault(operation, &fault),
            NoPage::Malformed(problem) => {
                Meaning::Again(format!("its answer is none, or is cut: {problem}"))
            }
        })
    }

    /// What an error means that came as the body of a success, or of a part of one.
    pub(in super::super) fn meaning_of_fault(
        &self,
        operation: Operation,
        fault: &Fault,
    ) -> Meaning {
        let answer = Answer {
            status: 200,
            fault: Some(fault),
            is_head: false,
            region: None,
        };
        self.meaning(operation, &answer)
    }
}
