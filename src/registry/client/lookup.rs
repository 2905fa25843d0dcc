//! What stands beside an image in its repository: asked for information, never for a verdict.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::{Method, Response, Url, header};

use super::tags::Untold;
use super::{Client, by_digest, refused};
use crate::oci::digest::Digest;
use crate::oci::manifest::MANIFEST_BYTES_MAX;
use crate::registry::fault::Meaning;
use crate::registry::link;
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

/// What came of asking for a list that may come in pages.
#[derive(Debug, Clone)]
pub enum Pages {
    Listed {
        /// At least one, in their order.
        bodies: Vec<Bytes>,
        /// Why a further page was not read; `None` where these are all.
        unread: Option<String>,
    },
    /// 404, whoever says so.
    Absent,
    Failed {
        code: Code,
        message: Arc<str>,
    },
}

impl Pages {
    /// All of them. Of a part of a list nothing is told: what it lacks would seem not to be there. Nor of a 404:
    /// registries that list nothing answer that too. `what` is listed.
    pub(super) fn whole(self, what: &str) -> Result<Vec<Bytes>, Untold> {
        let untold = |message: String| Untold {
            code: Code::ServerError,
            message: message.into(),
        };
        match self {
            Self::Listed {
                bodies,
                unread: None,
            } => Ok(bodies),
            Self::Listed {
                unread: Some(problem),
                ..
            } => Err(untold(format!(
                "the list of {what} has a page that was not read: {problem}"
            ))),
            Self::Absent => Err(untold(format!("the registry does not list its {what}"))),
            Self::Failed { code, message } => Err(Untold { code, message }),
        }
    }
}

/// Most pages of one list that are read. Each is bounded as a manifest is.
const PAGES_MAX: usize = 16;

impl Client {
    /// The referrers API (distribution-spec, "Listing Referrers"), page after page. Absent: this registry
    /// has no such API.
    pub async fn referrers(&self, auth: AuthId, repository: &Arc<str>, subject: &Digest) -> Pages {
        let operation = Operation::ManifestGet;
        let wanted = Wanted {
            path: format!("v2/{repository}/referrers/{subject}"),
            ..by_digest(operation, auth, repository, subject, Method::GET)
        };
        self.pages(wanted, PAGES_MAX).await
    }

    /// A list, page after page, as the `Link` headers lead. At most so many.
    pub(super) async fn pages(&self, mut wanted: Wanted<'_>, most: usize) -> Pages {
        let within = format!("v2/{}/", wanted.repository);
        let mut bodies = Vec::new();
        let mut asked = HashSet::from([(wanted.path.clone(), wanted.query.clone())]);
        let unread = loop {
            let (body, next) = match self.page(&wanted).await {
                Ok(Some(page)) => page,
                Ok(None) if bodies.is_empty() => return Pages::Absent,
                Ok(None) => break Some("the registry answered 404 for it".to_owned()),
                Err(Failure { code, message }) if bodies.is_empty() => {
                    return Pages::Failed { code, message };
                }
                Err(Failure { code, message }) => break Some(format!("{code}: {message}")),
            };
            bodies.push(body);
            let next = match next {
                Ok(Some(next)) => next,
                Ok(None) => break None,
                Err(problem) => break Some(problem.to_owned()),
            };
            let Some((path, query)) = self.transport.own(&next) else {
                let host = next.host_str().unwrap_or_default();
                break Some(format!(
                    "it is said to be at {}://{host}, which is not this registry's endpoint",
                    next.scheme()
                ));
            };
            // A token is for this repository.
            if !path.starts_with(&within) && path != wanted.path {
                break Some("it is said to be outside of the repository".to_owned());
            }
            if !asked.insert((path.clone(), query.clone())) {
                break Some("the list leads back to a page that was read".to_owned());
            }
            if bodies.len() == most {
                break Some(format!("only {most} pages are read"));
            }
            wanted = Wanted {
                path,
                query,
                ..wanted
            };
        };
        Pages::Listed { bodies, unread }
    }

    /// One page, and where the next is; `None` where nothing is.
    async fn page(
        &self,
        wanted: &Wanted<'_>,
    ) -> Result<Option<(Bytes, Result<Option<Url>, &'static str>)>, Failure> {
        let Some(response) = self.opened(wanted).await? else {
            return Ok(None);
        };
        let next = next_page(&response);
        Ok(Some((read(response, MANIFEST_BYTES_MAX).await?, next)))
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
        let Some(response) = self.opened(wanted).await? else {
            return Ok(Lookup::Absent);
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

    /// The answer, its body not read; `None` for a 404.
    async fn opened(&self, wanted: &Wanted<'_>) -> Result<Option<Response>, Failure> {
        match self.get(wanted).await? {
            Ok(response) => Ok(Some(response)),
            Err((Meaning::Absent, _) | (_, 404)) => Ok(None),
            Err((meaning, status)) => match refused(&meaning, status) {
                Answer::Failed { code, message } => Err(Failure { code, message }),
                _ => Ok(None),
            },
        }
    }
}

/// Where the list goes on. What cannot be read is an error: it would hide that there is more.
fn next_page(response: &Response) -> Result<Option<Url>, &'static str> {
    for value in response.headers().get_all(header::LINK) {
        let value = value
            .to_str()
            .map_err(|_bytes| "its `Link` header cannot be read")?;
        if let Some(target) = link::next(value) {
            let url = response.url().join(target);
            return Ok(Some(
                url.map_err(|_url| "it is said to be at what is no URL")?,
            ));
        }
    }
    Ok(None)
}
