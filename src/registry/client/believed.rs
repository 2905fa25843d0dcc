//! Whether a replica still answers for what was taken from its storage: its cache does not notice.

use std::sync::Arc;

use reqwest::Method;

use super::{Client, by_digest, of_blob};
use crate::oci::digest::Digest;
use crate::registry::stats::Operation;
use crate::registry::transport::{Batch, Wanted};
use crate::verify::question::Answer;
use crate::verify::target::AuthId;

/// What a replica says of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Belief {
    /// It says itself that it is not there.
    Gone,
    Answers,
    /// It could not be asked, or said something else: it may believe in it.
    Unknown(String),
}

impl Belief {
    /// Whether it may answer for it.
    pub fn may_be(&self) -> bool {
        *self != Self::Gone
    }
}

impl Client {
    /// Connections for a batch of such questions: none of them leads to a backend that answered before.
    pub fn batch(&self) -> Result<Batch, String> {
        self.transport.batch().map_err(|error| error.to_string())
    }

    /// By HEAD.
    pub async fn believes_in(
        &self,
        batch: &Batch,
        auth: AuthId,
        repository: &Arc<str>,
        digest: &Digest,
        is_manifest: bool,
    ) -> Belief {
        let wanted = if is_manifest {
            by_digest(Operation::Control, auth, repository, digest, Method::HEAD)
        } else {
            of_blob(auth, repository, digest, Method::HEAD)
        };
        let wanted = Wanted {
            operation: Operation::Control,
            batch: Some(batch),
            ..wanted
        };
        match self.presence(&wanted).await.unwrap_or_else(Answer::from) {
            Answer::Absent => Belief::Gone,
            Answer::Failed { message, .. } => Belief::Unknown(message.to_string()),
            _ => Belief::Answers,
        }
    }
}
