//! The pump between a [`Round`] and a registry: keeps a bounded number of questions in flight.
//!
//! It decides nothing. What may be asked, and what an answer means, is the machine's business.

use std::future::Future;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::question::{Answer, Question};
use super::round::{Finished, Round};
use crate::clock::Clock;

/// A registry, as far as verification is concerned. There is no method here that changes anything.
pub trait Ask: Send + Sync {
    /// Puts one question. Never fails: a fault is an answer too.
    fn ask(&self, question: Question) -> impl Future<Output = (Question, Answer)> + Send;
}

/// How far a round is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub answered: usize,
    /// Questions that are known to be left; grows as manifests are read.
    pub open: usize,
}

/// Runs a round to its end.
pub async fn run(
    mut round: Round,
    registry: &impl Ask,
    concurrency: usize,
    clock: &Arc<dyn Clock>,
    on_progress: &(dyn Fn(Progress) + Sync),
) -> Finished {
    let mut in_flight = FuturesUnordered::new();
    let mut answered = 0;
    loop {
        while in_flight.len() < concurrency {
            let Some(question) = round.next_question() else {
                break;
            };
            in_flight.push(registry.ask(question));
        }
        let Some((question, answer)) = in_flight.next().await else {
            if round.is_done() {
                return round.finish();
            }
            continue;
        };
        round.record(question, answer, clock.now());
        answered += 1;
        on_progress(Progress {
            answered,
            open: round.open(),
        });
    }
}
