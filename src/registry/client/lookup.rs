//! What stands beside an image in its repository: asked for information, never for a verdict.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::Method;

use super::{Client, by_digest, refused};
use crate::oci::digest::Digest;
use crate::oci::manifest::MANIFEST_BYTES_MAX;
use crate::registry::fault::Meaning;
use crate::registry::stats::Operation;
use crate::registry::transport::{Failure, Wanted};
use crate::registry::wire::{announced_digest, content_length, read};
use crate::verify::finding::Code;
use crate::verify::question::Answer;
use crate::verify::target::AuthId;

/// What came of looking.
#[derive(Debug, Clone)]
pub enum Lookup {
    Found {
        digest: Option<Digest>,
        size: Option<u64>,
        /// Empty where only the head was asked for.
        body: Bytes,
    },
    /// 404, whoever says so: nothing is concluded from it but that there is nothing to show.
    Absent,
    Failed {
        code: Code,
        message: Arc<str>,
    },
}

impl Client {
    /// The referrers API (distribution-spec, "Listing Referrers"). Absent: this registry has no such API.
    pub async fn referrers(&self, auth: AuthId, repository: &Arc<str>, subject: &Digest) -> Lookup {
        let path = format!("v2/{repository}/referrers/{subject}");
        self.look(auth, repository, path, Method::GET).await
    }

    /// What a tag names: only the head, or with its manifest.
    pub async fn tagged(
        &self,
        auth: AuthId,
        repository: &Arc<str>,
        tag: &str,
        whole: bool,
    ) -> Lookup {
        let path = format!("v2/{repository}/manifests/{tag}");
        let method = if whole { Method::GET } else { Method::HEAD };
        self.look(auth, repository, path, method).await
    }

    async fn look(
        &self,
        auth: AuthId,
        repository: &Arc<str>,
        path: String,
        method: Method,
    ) -> Lookup {
        let is_whole = method == Method::GET;
        let operation = if is_whole {
            Operation::ManifestGet
        } else {
            Operation::TagHead
        };
        let wanted = Wanted {
            path,
            ..by_digest(operation, auth, repository, &Digest::of(b""), method)
        };
        match self.looked(&wanted, is_whole).await {
            Ok(lookup) => lookup,
            Err(Failure { code, message }) => Lookup::Failed { code, message },
        }
    }

    async fn looked(&self, wanted: &Wanted<'_>, is_whole: bool) -> Result<Lookup, Failure> {
        let response = match self.get(wanted).await? {
            Ok(response) => response,
            Err((Meaning::Absent, _) | (_, 404)) => return Ok(Lookup::Absent),
            Err((meaning, status)) => {
                return match refused(&meaning, status) {
                    Answer::Failed { code, message } => Err(Failure { code, message }),
                    _ => Ok(Lookup::Absent),
                };
            }
        };
        let digest = announced_digest(response.headers());
        let size = content_length(response.headers());
        let body = if is_whole {
            read(response, MANIFEST_BYTES_MAX).await?
        } else {
            Bytes::new()
        };
        Ok(Lookup::Found { digest, size, body })
    }
}
