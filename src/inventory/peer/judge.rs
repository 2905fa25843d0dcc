//! What an answer of another pullproof is taken for, given what it said before. Pure.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::answer::{Answer, Made};
use super::{Mark, Told};
use crate::inventory::SourceState;
use crate::oci::digest::Digest;
use crate::oci::reference::shown;

/// Clocks may be this far apart: ages are told by the peer's.
const SKEW_MAX: SignedDuration = SignedDuration::from_mins(1);
/// What it says is taken for what is so now, if it was read in full this recently, as for any source.
const FRESH_MAX: SignedDuration = SignedDuration::from_mins(10);
/// Of so many of its own refusals one is told of.
const REFUSALS_TOLD_MAX: usize = 3;

/// One look at a peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) max_age: SignedDuration,
    /// When it was asked, and when it had answered.
    pub(super) asked: Timestamp,
    pub(super) now: Timestamp,
    /// The configuration of the last answer, where that was not taken for it.
    pub(super) settling: Option<Digest>,
}

/// Why an answer is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("{0}")]
    For(String),
    /// Once it says the same again it is.
    #[error(
        "its configuration is another than before, and what it says may still be of the old one"
    )]
    Settling(Digest),
}

/// The state after an answer.
pub(super) fn judge(
    mut answer: Answer,
    before: &SourceState,
    look: Look,
) -> Result<SourceState, Refused> {
    let known = before.peer.as_deref().and_then(|told| told.mark.as_ref());
    identity(&answer, known, look)?;
    if !answer.first_hand {
        return refuse("it does not say what it reads itself: its version knows no peers");
    }
    if !answer.complete {
        return refuse(format!("it is not complete itself: {}", refusals(&answer)));
    }
    let (Some(complete_at), Some(content)) = (answer.complete_at, answer.content) else {
        return refuse("what it answers does not say when it was complete, or of what");
    };
    // Not later than it said so, whatever it says.
    let complete_at = complete_at.min(answer.at).min(look.now);
    let mark = Mark {
        daemon: answer.daemon,
        configuration: answer.configuration,
        sequence: answer.sequence,
        content,
    };
    let state = if answer.unchanged {
        let is_held = known.is_some_and(|known| known.content == content);
        let told = before.peer.as_deref().filter(|_| is_held);
        let Some(told) = told else {
            return refuse("it says that nothing changed, and that is not what it said before");
        };
        SourceState {
            peer: Some(Arc::new(Told {
                mark: Some(mark),
                digests: Arc::clone(&told.digests),
            })),
            ..before.clone()
        }
    } else {
        if !answer.is_whole() {
            return refuse("what it answers is not what its hash is of");
        }
        let Some(made) = answer.made(&before.name) else {
            return refuse("it says that it is complete, and names nothing");
        };
        of_made(made, mark, before)
    };
    Ok(SourceState {
        incomplete: too_old(complete_at, look),
        is_awaited: false,
        complete_at: Some(complete_at),
        ..state
    })
}

/// Whether it is who it was, and goes on from there.
fn identity(answer: &Answer, known: Option<&Mark>, look: Look) -> Result<(), Refused> {
    let ahead = answer.at.duration_since(look.now);
    let behind = look.asked.duration_since(answer.at);
    for (is_off, by, word) in [
        (ahead > SKEW_MAX, ahead, "ahead of"),
        (behind > SKEW_MAX, behind, "behind"),
    ] {
        if is_off {
            let by = by.as_mins();
            return refuse(format!(
                "its clock is about {by} min {word} ours: how old it is cannot be told; set both clocks, or see \
                 what answers from memory in between"
            ));
        }
    }
    let Some(known) = known else { return Ok(()) };
    let Mark {
        daemon,
        configuration,
        sequence,
        ..
    } = known;
    if answer.daemon != *daemon {
        return refuse(format!(
            "another pullproof answers ({}) than before ({}): a wrong address, or one that lost its \
             state directory; if it is meant, give the peer another name",
            answer.daemon.short(),
            daemon.short()
        ));
    }
    if answer.sequence < *sequence {
        return refuse(format!(
            "its sequence fell from {sequence} to {}: what it says is older than what it said; if its \
             state directory was put back to an older one, give the peer another name",
            answer.sequence
        ));
    }
    if answer.configuration != *configuration && look.settling != Some(answer.configuration) {
        return Err(Refused::Settling(answer.configuration));
    }
    Ok(())
}

fn refuse<T>(why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::For(why.into()))
}

fn refusals(answer: &Answer) -> String {
    let all = answer.refusals.iter().map(|it| shown(&it.to_string()));
    let told: Vec<String> = all.take(REFUSALS_TOLD_MAX).collect();
    match answer.refusals.len().saturating_sub(told.len()) {
        0 if told.is_empty() => "it does not say why".to_owned(),
        0 => told.join("; "),
        more => format!("{}; and {more} more", told.join("; ")),
    }
}

fn too_old(complete_at: Timestamp, look: Look) -> Option<String> {
    let age = look.now.duration_since(complete_at);
    (age > look.max_age.min(FRESH_MAX))
        .then(|| format!("what it says was read in full at {complete_at}, which is too long ago"))
}

/// What says the same as before is the same allocation.
fn of_made(made: Made, mark: Mark, before: &SourceState) -> SourceState {
    let Made {
        uses,
        running,
        pull_secrets,
        platforms,
        marks,
        digests,
    } = made;
    let is_same = uses == before.uses && running == before.running;
    let (uses, running) = if is_same {
        (Arc::clone(&before.uses), Arc::clone(&before.running))
    } else {
        (uses, running)
    };
    SourceState {
        uses,
        running,
        pull_secrets,
        platforms,
        marks,
        peer: Some(Arc::new(Told {
            mark: Some(mark),
            digests,
        })),
        ..before.clone()
    }
}
