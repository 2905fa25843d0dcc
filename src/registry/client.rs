//! Questions into requests, responses into answers: one client for one registry host.

use std::sync::Arc;

use reqwest::{Method, Response, header};

use self::blob::Wish;
use super::auth::Identity;
use super::fault::Meaning;
use super::manifest_cache::ManifestCache;
use super::stats::{Operation, Stats};
use super::transport::{ClientOptions, Failure, Outcome, Right, Transport, Wanted};
use super::wire::{announced_digest, config_platform, content_length, read, text};
use crate::clock::Clock;
use crate::oci::digest::Digest;
use crate::oci::manifest::MANIFEST_BYTES_MAX;
use crate::oci::schema1;
use crate::verify::depth::Depth;
use crate::verify::engine::Ask as Asked;
use crate::verify::finding::Code;
use crate::verify::node::{Node, Shape};
use crate::verify::question::{Answer, Ask, Question};
use crate::verify::table::ObjectKind;
use crate::verify::target::AuthId;

pub mod believed;
mod blob;
pub mod catalog;
pub mod change;
mod kind;
pub mod lookup;
pub mod pushes;
pub mod tags;

/// A config is read up to this, for its platform.
const CONFIG_BYTES_MAX: usize = 1 << 20;

/// The client of one registry host.
#[derive(Debug)]
pub struct Client {
    transport: Transport,
    manifests: Arc<dyn ManifestCache>,
}

impl Client {
    pub fn new(
        options: ClientOptions,
        stats: Stats,
        manifests: Arc<dyn ManifestCache>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, reqwest::Error> {
        Ok(Self {
            transport: Transport::new(options, stats, clock)?,
            manifests,
        })
    }

    pub fn concurrency(&self) -> usize {
        self.transport.concurrency()
    }

    /// Sets who may ask; their place in the list is their [`AuthId`].
    pub fn set_identities(&self, identities: Vec<Arc<Identity>>) {
        self.transport.keys.set_identities(identities);
    }

    /// The quota that the registry announced last, if it did.
    pub fn rate_limit_remaining(&self) -> Option<i64> {
        self.transport.remaining.get()
    }

    async fn answer(&self, question: &Question) -> Answer {
        let Question {
            auth,
            repository,
            ask,
            confirm,
            ..
        } = question;
        let result = match ask {
            Ask::Tag { tag, last } => {
                let last = last.filter(|_| !*confirm);
                self.tag(*auth, repository, tag, last, *confirm).await
            }
            Ask::Manifest {
                digest,
                known,
                whole,
            } => {
                self.manifest(
                    *auth,
                    repository,
                    digest,
                    *known,
                    *confirm || *whole,
                    *confirm,
                )
                .await
            }
            Ask::Access { digest } => {
                self.manifest(*auth, repository, digest, true, *confirm, *confirm)
                    .await
            }
            Ask::Blob {
                digest,
                size,
                depth,
            } => {
                let wish = Wish {
                    auth: *auth,
                    repository,
                    digest,
                    size: *size,
                    is_fresh: *confirm,
                };
                self.blob(wish, *depth).await
            }
            Ask::ReadControl { digest, size } => {
                let wish = Wish {
                    auth: *auth,
                    repository,
                    digest,
                    size: *size,
                    is_fresh: true,
                };
                self.blob(wish, Depth::Read).await
            }
            Ask::Config { digest } => self.config(*auth, repository, digest).await,
            Ask::Canary { digest } => {
                let wanted = by_digest(Operation::Control, *auth, repository, digest, Method::HEAD);
                let wanted = Wanted {
                    is_fresh: *confirm,
                    ..wanted
                };
                // Followed: hosts that send every request elsewhere (registry.k8s.io) lie only if
                // what they send to has it.
                self.get(&wanted).await.map(|response| match response {
                    Ok(_) => Answer::Alive,
                    Err((meaning, status)) => refused(&meaning, status),
                })
            }
            Ask::Control {
                proven: Some((digest, ObjectKind::Blob)),
            } => {
                let wanted = Wanted {
                    operation: Operation::Control,
                    is_fresh: true,
                    ..of_blob(*auth, repository, digest, Method::HEAD)
                };
                self.presence(&wanted).await
            }
            Ask::Control {
                proven: Some((digest, ObjectKind::Manifest | ObjectKind::Access)),
            } => {
                let wanted = by_digest(Operation::Control, *auth, repository, digest, Method::HEAD);
                self.presence(&Wanted {
                    is_fresh: true,
                    ..wanted
                })
                .await
            }
            Ask::Control { proven: None } => self.front_door(*auth, repository).await,
        };
        result.unwrap_or_else(Answer::from)
    }

    async fn tag(
        &self,
        auth: AuthId,
        repository: &Arc<str>,
        tag: &str,
        last: Option<Digest>,
        confirm: bool,
    ) -> Result<Answer, Failure> {
        let head = Wanted {
            operation: Operation::TagHead,
            path: format!("v2/{repository}/manifests/{tag}"),
            unless: last,
            is_fresh: confirm,
            ..by_digest(
                Operation::TagHead,
                auth,
                repository,
                &Digest::of(b""),
                Method::HEAD,
            )
        };
        if !confirm {
            let outcome = self.transport.send(&head).await?;
            if let (Outcome::NotModified, Some(digest)) = (&outcome, last) {
                return Ok(Answer::Tag { digest });
            }
            match self.followed(&head, outcome).await? {
                Ok(response) => {
                    if let Some(digest) = announced_digest(response.headers()) {
                        return Ok(Answer::Tag { digest });
                    }
                    // Older registries omit Docker-Content-Digest: the body has to be hashed.
                }
                Err((Meaning::MethodRefused, _)) => {}
                Err((meaning, status)) => return Ok(refused(&meaning, status)),
            }
        }
        let get = Wanted {
            operation: Operation::ManifestGet,
            method: Method::GET,
            unless: None,
            ..head
        };
        match self.get(&get).await? {
            Ok(response) => {
                let announced = announced_digest(response.headers());
                let is_page = is_page(&response);
                let body = read(response, MANIFEST_BYTES_MAX).await?;
                let own = Digest::of(&body);
                let is_whole = || !is_page && !matches!(Node::read(&body).shape, Shape::Invalid(_));
                let digest = if announced == Some(own) {
                    own
                } else if is_whole() {
                    schema1::payload_digest(&body).unwrap_or(own)
                } else {
                    // Told by nobody but these bytes, a page, a part of a manifest or nothing at all would
                    // become an image that nobody can have: only a header tells what was cut off on the way.
                    announced.ok_or_else(|| {
                        let message =
                            "what came under the tag is no manifest, and no digest was told";
                        Failure::new(Code::ServerError, message)
                    })?
                };
                if digest == own {
                    self.manifests.put(&digest, &body);
                }
                Ok(Answer::Tag { digest })
            }
            Err((meaning, status)) => Ok(refused(&meaning, status)),
        }
    }

    async fn manifest(
        &self,
        auth: AuthId,
        repository: &Arc<str>,
        digest: &Digest,
        known: bool,
        whole: bool,
        confirm: bool,
    ) -> Result<Answer, Failure> {
        let cached = if known || whole {
            None
        } else {
            self.manifests
                .get(digest)
                .filter(|body| Digest::of(body) == *digest)
        };
        if (known || cached.is_some()) && !whole {
            let head = by_digest(
                Operation::ManifestHead,
                auth,
                repository,
                digest,
                Method::HEAD,
            );
            match self.get(&head).await? {
                Ok(response) => {
                    if announced_digest(response.headers())
                        .is_some_and(|announced| announced != *digest)
                    {
                        return Ok(Answer::WrongDigest);
                    }
                    let size = content_length(response.headers());
                    let node = cached.map(|body| Arc::new(Node::read(&body)));
                    return Ok(Answer::Manifest { node, size });
                }
                Err((Meaning::MethodRefused, _)) => {}
                Err((meaning, status)) => return Ok(refused(&meaning, status)),
            }
        }
        let get = Wanted {
            is_fresh: confirm,
            ..by_digest(
                Operation::ManifestGet,
                auth,
                repository,
                digest,
                Method::GET,
            )
        };
        match self.get(&get).await? {
            Ok(response) => {
                let is_page = is_page(&response);
                let body = read(response, MANIFEST_BYTES_MAX).await?;
                if Digest::of(&body) == *digest {
                    self.manifests.put(digest, &body);
                } else if is_page {
                    let message = "a page came where a manifest was asked for";
                    return Err(Failure::new(Code::ServerError, message));
                } else if schema1::payload_digest(&body) != Some(*digest) {
                    return Ok(Answer::WrongDigest);
                }
                let node = Arc::new(Node::read(&body));
                Ok(Answer::Manifest {
                    size: Some(node.size),
                    node: Some(node),
                })
            }
            Err((meaning, status)) => Ok(refused(&meaning, status)),
        }
    }

    /// The platform in a config: it is hashed, since a lie here would make a platform needed or not.
    async fn config(
        &self,
        auth: AuthId,
        repository: &Arc<str>,
        digest: &Digest,
    ) -> Result<Answer, Failure> {
        let get = Wanted {
            operation: Operation::BlobGet,
            ..of_blob(auth, repository, digest, Method::GET)
        };
        let response = match self.get(&get).await? {
            Ok(response) => response,
            Err((meaning, status)) => return Ok(refused(&meaning, status)),
        };
        let body = read(response, CONFIG_BYTES_MAX).await?;
        if Digest::of(&body) != *digest {
            return Ok(Answer::WrongDigest);
        }
        Ok(Answer::Config {
            platform: config_platform(&body),
        })
    }

    /// `/v2/` answers as a registry does: 200, or 401 to those whom it does not know.
    async fn front_door(&self, auth: AuthId, repository: &Arc<str>) -> Result<Answer, Failure> {
        let wanted = Wanted {
            path: "v2/".to_owned(),
            is_manifest: false,
            is_fresh: true,
            ..by_digest(
                Operation::Control,
                auth,
                repository,
                &Digest::of(b""),
                Method::GET,
            )
        };
        match self.transport.send(&wanted).await? {
            Outcome::Success(_)
            | Outcome::Refused {
                meaning: Meaning::Unauthorized | Meaning::Forbidden,
                ..
            } => Ok(Answer::Alive),
            Outcome::Redirect(_) | Outcome::NotModified => Err(Failure::new(
                Code::ServerError,
                "`/v2/` answers with a redirect",
            )),
            Outcome::Refused { meaning, status } => Ok(refused(&meaning, status)),
        }
    }

    /// Whether it is there; the answer's body is not looked at. Where this registry does no HEAD, a GET
    /// asks, of a blob for one byte.
    async fn presence(&self, wanted: &Wanted<'_>) -> Result<Answer, Failure> {
        let mut outcome = self.transport.send(wanted).await?;
        if let Outcome::Refused {
            meaning: Meaning::MethodRefused,
            ..
        } = outcome
        {
            let get = Wanted {
                method: Method::GET,
                byte: (!wanted.is_manifest).then_some(0),
                ..wanted.clone()
            };
            outcome = self.transport.send(&get).await?;
        }
        match outcome {
            Outcome::Success(_) | Outcome::Redirect(_) | Outcome::NotModified => Ok(Answer::Alive),
            Outcome::Refused { meaning, status } => Ok(refused(&meaning, status)),
        }
    }

    /// A request with its redirects followed, without credentials.
    async fn get(&self, wanted: &Wanted<'_>) -> Result<Result<Response, (Meaning, u16)>, Failure> {
        let outcome = self.transport.send(wanted).await?;
        self.followed(wanted, outcome).await
    }

    async fn followed(
        &self,
        wanted: &Wanted<'_>,
        outcome: Outcome,
    ) -> Result<Result<Response, (Meaning, u16)>, Failure> {
        match outcome {
            Outcome::Success(response) => Ok(Ok(response)),
            Outcome::Redirect(url) => self.transport.follow(wanted, url).await,
            Outcome::NotModified => Err(Failure::new(
                Code::ServerError,
                "it answers 304 to what was not conditional",
            )),
            Outcome::Refused { meaning, status } => Ok(Err((meaning, status))),
        }
    }
}

impl Asked for Client {
    async fn ask(&self, question: Question) -> (Question, Answer) {
        let answer = self.answer(&question).await;
        (question, answer)
    }
}
/// A login or error page: whoever sent it, it was not the registry.
fn is_page(response: &Response) -> bool {
    text(response.headers(), header::CONTENT_TYPE)
        .is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html"))
}

fn by_digest<'a>(
    operation: Operation,
    auth: AuthId,
    repository: &'a Arc<str>,
    digest: &Digest,
    method: Method,
) -> Wanted<'a> {
    let path = format!("v2/{repository}/manifests/{digest}");
    Wanted {
        operation,
        auth,
        repository,
        method,
        path,
        query: None,
        is_manifest: true,
        byte: None,
        unless: None,
        is_fresh: false,
        batch: None,
        body_limit: None,
        body: None,
        right: Right::Pull,
    }
}

fn of_blob<'a>(
    auth: AuthId,
    repository: &'a Arc<str>,
    digest: &Digest,
    method: Method,
) -> Wanted<'a> {
    Wanted {
        operation: Operation::BlobHead,
        path: format!("v2/{repository}/blobs/{digest}"),
        is_manifest: false,
        ..by_digest(Operation::BlobHead, auth, repository, digest, method)
    }
}

fn refused(meaning: &Meaning, status: u16) -> Answer {
    match meaning {
        Meaning::Absent => Answer::Absent,
        Meaning::Unauthorized
        | Meaning::Forbidden
        | Meaning::RateLimited { .. }
        | Meaning::Trouble { .. }
        | Meaning::MethodRefused
        | Meaning::Strange => {
            let message = match (meaning, status) {
                (Meaning::Strange, 404) => {
                    "the registry answered 404 without the specification's error code".to_owned()
                }
                (_, status) => format!("the registry answered {status}"),
            };
            Answer::Failed {
                code: meaning.code(),
                message: message.into(),
            }
        }
    }
}
