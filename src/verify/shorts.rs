//! Reads that ended before the byte that was asked for, and what must be read before they count.
//!
//! A registry whose disk is slow, or a proxy that cuts answers off, ends reads early too. So a short
//! read is a loss only if another blob of the same registry reads well after it, and it is short again
//! on a new connection after that.

use std::collections::HashSet;
use std::sync::Arc;

use super::question::{Ask, Question, Trace};
use super::target::AuthId;
use crate::oci::digest::Digest;

/// So many blobs are tried as a control before it is said that nothing can be read.
const CONTROLS_MAX: usize = 4;

/// The short reads of one round.
#[derive(Debug, Default)]
pub(super) struct Shorts {
    /// Short once; they wait for a control that is asked after them.
    claims: Vec<Question>,
    /// Those for which the control now in flight speaks.
    controlled: Vec<Question>,
    /// A blob that was read well in this round, or may be.
    readable: Option<Readable>,
    /// Blobs that cannot be a control.
    ruled_out: HashSet<Digest>,
    refused: usize,
}

/// A blob that can be read, or should be.
#[derive(Debug, Clone)]
pub(super) struct Readable {
    pub(super) auth: AuthId,
    pub(super) repository: Arc<str>,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

impl Shorts {
    pub(super) fn claim(&mut self, question: Question) {
        if let Ask::Blob { digest, .. } = question.ask {
            self.ruled_out.insert(digest);
            let is_readable = self.readable.as_ref().map(|readable| readable.digest);
            if is_readable == Some(digest) {
                self.readable = None;
            }
        }
        self.claims.push(question);
    }

    /// A blob that read well.
    pub(super) fn can_read(&mut self, readable: Readable) {
        if !self.ruled_out.contains(&readable.digest) && readable.size > 0 {
            self.readable = Some(readable);
        }
    }

    /// The control to ask now, if one is due and there is one.
    pub(super) fn control(&mut self) -> Option<Question> {
        if self.claims.is_empty() || !self.controlled.is_empty() {
            return None;
        }
        let readable = self.readable.clone()?;
        self.controlled = std::mem::take(&mut self.claims);
        Some(Question {
            auth: readable.auth,
            repository: readable.repository,
            ask: Ask::ReadControl {
                digest: readable.digest,
                size: readable.size,
            },
            confirm: true,
            trace: Trace::default(),
        })
    }

    /// The control read well: these may be asked a second time.
    pub(super) fn confirmable(&mut self) -> Vec<Question> {
        let mut questions = std::mem::take(&mut self.controlled);
        for question in &mut questions {
            question.confirm = true;
        }
        questions
    }

    /// The control did not read well either.
    pub(super) fn refuse_control(&mut self) {
        self.refused += 1;
        if let Some(readable) = self.readable.take() {
            self.ruled_out.insert(readable.digest);
        }
        self.claims.append(&mut self.controlled);
    }

    /// Claims wait, and nothing is there to compare with.
    pub(super) fn is_stuck(&self) -> bool {
        !self.claims.is_empty() && self.controlled.is_empty() && self.readable.is_none()
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.claims.is_empty()
    }

    /// Where to look for a control, unless enough were tried.
    pub(super) fn place(&self) -> Option<(AuthId, &Arc<str>)> {
        let claim = self.claims.first()?;
        (self.refused < CONTROLS_MAX).then_some((claim.auth, &claim.repository))
    }

    pub(super) fn is_ruled_out(&self, digest: &Digest) -> bool {
        self.ruled_out.contains(digest)
    }

    /// This blob may read well.
    pub(super) fn propose(&mut self, readable: Readable) {
        self.readable = Some(readable);
    }

    /// All that wait; nothing will be found out about them.
    pub(super) fn give_up(&mut self) -> Vec<Question> {
        let mut questions = std::mem::take(&mut self.claims);
        questions.append(&mut self.controlled);
        questions
    }

    pub(super) fn len(&self) -> usize {
        self.claims.len() + self.controlled.len()
    }
}
