//! Whether a replica still answers for what was taken from its storage: its cache does not notice.

use std::sync::Arc;

use reqwest::Method;

use super::{Client, by_digest, of_blob};
use crate::oci::digest::Digest;
use crate::registry::stats::Operation;
use crate::registry::transport::Wanted;
use crate::verify::question::Answer;
use crate::verify::target::AuthId;

impl Client {
    /// HEAD on a connection of its own. Only the registry's own word that it is not there is a no: what
    /// could not be asked may be believed in.
    pub async fn believes_in(
        &self,
        auth: AuthId,
        repository: &Arc<str>,
        digest: &Digest,
        is_manifest: bool,
    ) -> bool {
        let wanted = if is_manifest {
            by_digest(Operation::Control, auth, repository, digest, Method::HEAD)
        } else {
            of_blob(auth, repository, digest, Method::HEAD)
        };
        let wanted = Wanted {
            operation: Operation::Control,
            is_fresh: true,
            ..wanted
        };
        !matches!(self.presence(&wanted).await, Ok(Answer::Absent))
    }
}
