//! The only requests that change a registry: a tag or a manifest is deleted, and a manifest is put back.
//!
//! Each is sent once: whoever gets no answer looks at what is there.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::Method;

use super::{Client, by_digest};
use crate::collection::gate::Permit;
use crate::oci::digest::Digest;
use crate::oci::media_type;
use crate::registry::fault::Meaning;
use crate::registry::stats::Operation;
use crate::registry::transport::{Outcome, Right, Wanted};
use crate::second::Second;
use crate::verify::target::AuthId;

/// Why something was not deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotDeleted {
    /// The registry does not do it: distribution 2.8 deletes no tags, and none deletes anything without
    /// `storage.delete.enabled`.
    Unsupported(u16),
    /// It was refused, and was not done.
    Refused(String),
    /// There was no answer, or one that does not say: it may be done still.
    Unknown(String),
}

impl Client {
    /// Deletes a tag, or a manifest by its digest with all tags that name it (distribution-spec, "Content
    /// Management"). What is not there is deleted.
    ///
    /// # Errors
    ///
    /// Without a permit that holds for the holder of this epoch, nothing is sent.
    pub async fn delete(
        &self,
        permit: (&Permit, u32, Second),
        auth: AuthId,
        repository: &Arc<str>,
        reference: &str,
    ) -> Result<(), NotDeleted> {
        let (permit, epoch, now) = permit;
        if !permit.holds(epoch, now) {
            let problem = "the permit does not hold any more";
            return Err(NotDeleted::Refused(problem.to_owned()));
        }
        let (operation, none) = (Operation::Delete, Digest::of(b""));
        let wanted = Wanted {
            path: format!("v2/{repository}/manifests/{reference}"),
            is_fresh: true,
            right: Right::Change,
            ..by_digest(operation, auth, repository, &none, Method::DELETE)
        };
        match self.transport.send(&wanted).await {
            Ok(
                Outcome::Success(_)
                | Outcome::Refused {
                    meaning: Meaning::Absent,
                    ..
                },
            ) => Ok(()),
            Ok(Outcome::Refused {
                status: status @ (400 | 405 | 501),
                ..
            }) => Err(NotDeleted::Unsupported(status)),
            Ok(Outcome::Refused { status, .. }) => {
                let problem = format!("the registry answered {status} to the deletion");
                // A gateway that waits no longer answers 5xx too, and a client's time-out is 408.
                Err(match status {
                    408 | 500.. => NotDeleted::Unknown(problem),
                    _ => NotDeleted::Refused(problem),
                })
            }
            Ok(Outcome::Redirect(_) | Outcome::NotModified) => Err(NotDeleted::Refused(
                "it answers a deletion with a redirect".to_owned(),
            )),
            Err(failure) => Err(NotDeleted::Unknown(failure.message.to_string())),
        }
    }

    /// Puts a manifest under a tag, or under its digest. That it was taken is no proof that it is there: an answer
    /// may come from a cache.
    ///
    /// # Errors
    ///
    /// Says what the registry answered.
    pub async fn put_manifest(
        &self,
        auth: AuthId,
        repository: &Arc<str>,
        reference: &str,
        body: Bytes,
    ) -> Result<(), String> {
        let (operation, none) = (Operation::Put, Digest::of(b""));
        let media_type = media_type::declared(&body);
        let wanted = Wanted {
            path: format!("v2/{repository}/manifests/{reference}"),
            is_fresh: true,
            body: Some((media_type, body)),
            right: Right::Change,
            ..by_digest(operation, auth, repository, &none, Method::PUT)
        };
        match self.transport.send(&wanted).await {
            Ok(Outcome::Success(_)) => Ok(()),
            Ok(Outcome::Refused { status, .. }) => {
                Err(format!("the registry answered {status} to the manifest"))
            }
            Ok(Outcome::Redirect(_) | Outcome::NotModified) => {
                Err("it answers a manifest with a redirect".to_owned())
            }
            Err(failure) => Err(failure.message.to_string()),
        }
    }
}
