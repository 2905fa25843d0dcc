//! The tags of a repository (distribution-spec, "Listing Tags"), and what each of them names: asked for
//! information, never for a verdict.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use reqwest::{Method, header};
use serde::Deserialize;

use super::{Client, by_digest, refused};
use crate::oci::digest::Digest;
use crate::oci::manifest::Manifest;
use crate::oci::media_type::{self, Kind};
use crate::oci::reference::{Reference, shown};
use crate::registry::fault::Meaning;
use crate::registry::stats::Operation;
use crate::registry::transport::{Failure, Outcome, Wanted};
use crate::registry::wire::{announced_digest, text};
use crate::verify::finding::Code;
use crate::verify::question::Answer;
use crate::verify::round::{DEPTH_MAX, NODES_MAX};
use crate::verify::target::AuthId;

/// Tags that are asked for at once. distribution 2.8 sends all, whatever is asked for.
const PAGE_TAGS: usize = 1000;
/// Most pages of one list: some registries have a hundred tags on a page.
const PAGES_MAX: usize = 256;

/// What a tag names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tagged {
    pub digest: Digest,
    /// False only of what is said to be no index: that names no other manifests.
    pub may_be_index: bool,
}

/// Why it is not known.
#[derive(Debug, Clone)]
pub struct Untold {
    pub code: Code,
    pub message: Arc<str>,
}

impl From<Failure> for Untold {
    fn from(Failure { code, message }: Failure) -> Self {
        Self { code, message }
    }
}

#[derive(Deserialize)]
struct RawTags {
    /// `null` is how Go writes an empty list; without the key it is no list of tags.
    #[serde(deserialize_with = "Option::deserialize")]
    tags: Option<Vec<String>>,
}

impl Client {
    /// All tags of a repository.
    ///
    /// # Errors
    ///
    /// Of a part of a list nothing is told: what it lacks would seem not to be there. Nor of a 404:
    /// registries that list nothing answer that too.
    pub async fn tags(
        &self,
        auth: AuthId,
        repository: &Arc<str>,
    ) -> Result<BTreeSet<Arc<str>>, Untold> {
        let operation = Operation::TagList;
        let wanted = Wanted {
            path: format!("v2/{repository}/tags/list"),
            query: Some(format!("n={PAGE_TAGS}")),
            is_manifest: false,
            ..by_digest(operation, auth, repository, &Digest::of(b""), Method::GET)
        };
        let bodies = self.pages(wanted, PAGES_MAX).await.whole("tags")?;
        let mut tags = BTreeSet::new();
        for body in &bodies {
            let page = read_tags(body).map_err(|problem| Untold {
                code: Code::ServerError,
                message: problem.into(),
            })?;
            tags.extend(page);
        }
        Ok(tags)
    }

    /// What a tag names now; `None` where it names nothing. `last` is what it named before: a registry
    /// may say that it still does.
    pub async fn tagged_manifest(
        &self,
        auth: AuthId,
        repository: &Arc<str>,
        tag: &str,
        last: Option<Tagged>,
    ) -> Result<Option<Tagged>, Untold> {
        let none = Digest::of(b"");
        let head = Wanted {
            path: format!("v2/{repository}/manifests/{tag}"),
            unless: last.map(|last| last.digest),
            ..by_digest(Operation::TagHead, auth, repository, &none, Method::HEAD)
        };
        let outcome = self.transport.send(&head).await?;
        if let (Outcome::NotModified, Some(last)) = (&outcome, last) {
            return Ok(Some(last));
        }
        match self.followed(&head, outcome).await? {
            Ok(response) => {
                if let Some(digest) = announced_digest(response.headers()) {
                    let kind = text(response.headers(), header::CONTENT_TYPE);
                    let kind = media_type::kind(kind.unwrap_or_default());
                    return Ok(Some(Tagged {
                        digest,
                        may_be_index: !matches!(kind, Kind::Manifest | Kind::Schema1),
                    }));
                }
            }
            // An answer to HEAD has no body that says who it is from: an ingress in front answers 404 too.
            Err((Meaning::MethodRefused | Meaning::Absent, _)) => {}
            Err((meaning, status)) => return absent_or_untold(refused(&meaning, status)),
        }
        // A registry that does no HEAD, or omits the digest: the body has to be hashed.
        match self.tag(auth, repository, tag, None, true).await? {
            Answer::Tag { digest } => Ok(Some(Tagged {
                digest,
                may_be_index: true,
            })),
            answer => absent_or_untold(answer),
        }
    }

    /// The manifests below an index, at any depth; none below what is no index. Each is fetched once in
    /// its life.
    ///
    /// # Errors
    ///
    /// Where one that may name others cannot be read.
    pub async fn below(
        &self,
        auth: AuthId,
        repository: &Arc<str>,
        index: Digest,
    ) -> Result<Vec<Digest>, Untold> {
        let untold = |message: &str| Untold {
            code: Code::Unsupported,
            message: message.into(),
        };
        let mut seen = HashSet::from([index]);
        let mut level = vec![index];
        let mut found = Vec::new();
        for _ in 0..=DEPTH_MAX {
            let mut next = Vec::new();
            for digest in level {
                let body = self.manifest_body(auth, repository, &digest).await?;
                let Ok(manifest) = Manifest::parse(&body, None) else {
                    return Err(untold("what a tag names cannot be read"));
                };
                let Manifest::Index { children, .. } = manifest else {
                    continue;
                };
                for child in children {
                    let kind = media_type::kind(&child.media_type);
                    if !seen.insert(child.digest) {
                        continue;
                    }
                    found.push(child.digest);
                    if kind == Kind::Index {
                        next.push(child.digest);
                    }
                }
            }
            if next.is_empty() {
                return Ok(found);
            }
            if seen.len() > NODES_MAX as usize {
                break;
            }
            level = next;
        }
        Err(untold("what a tag names is too deep or too much"))
    }

    /// A manifest, from the cache or the registry, hashed.
    async fn manifest_body(
        &self,
        auth: AuthId,
        repository: &Arc<str>,
        digest: &Digest,
    ) -> Result<Bytes, Untold> {
        let body = self.stored_manifest(auth, repository, digest).await?;
        body.ok_or_else(|| Untold {
            code: Code::ServerError,
            message: format!("it does not have {digest}, which a tag leads to").into(),
        })
    }

    /// The same; `None` where the registry does not have it.
    pub async fn stored_manifest(
        &self,
        auth: AuthId,
        repository: &Arc<str>,
        digest: &Digest,
    ) -> Result<Option<Bytes>, Untold> {
        let cached = || {
            let body = self.manifests.get(digest)?;
            (Digest::of(&body) == *digest).then_some(body)
        };
        if let Some(body) = cached() {
            return Ok(Some(body));
        }
        let answer = self.manifest(auth, repository, digest, false, true, false);
        match answer.await? {
            Answer::Manifest { .. } => {
                let body = cached().ok_or_else(|| Untold {
                    code: Code::ServerError,
                    message: "a manifest could not be kept".into(),
                });
                body.map(Some)
            }
            Answer::Failed { code, message } => Err(Untold { code, message }),
            _ => Ok(None),
        }
    }
}

fn absent_or_untold(answer: Answer) -> Result<Option<Tagged>, Untold> {
    match answer {
        Answer::Absent => Ok(None),
        Answer::Failed { code, message } => Err(Untold { code, message }),
        _ => Err(Untold {
            code: Code::ServerError,
            message: "the answer was not one to the question".into(),
        }),
    }
}

/// One page.
fn read_tags(body: &[u8]) -> Result<Vec<Arc<str>>, String> {
    let raw: serde_json::Result<RawTags> = serde_json::from_slice(body);
    let raw = raw.map_err(|error| format!("the list of tags cannot be read: {error}"))?;
    let tags = raw.tags.unwrap_or_default();
    let checked = tags.into_iter().map(|tag| {
        // It becomes a part of a path.
        let reference: Result<Reference, _> = format!("a.example/a:{tag}").parse();
        match reference {
            Ok(reference) if reference.tag() == Some(&*tag) => Ok(tag.into()),
            Ok(_) | Err(_) => Err(format!("`{}` in the list of tags is none", shown(&tag))),
        }
    });
    checked.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_list_of_tags_is_no_empty_one() {
        let read = |body: &str| {
            let tags = read_tags(body.as_bytes())?;
            Ok(tags.iter().map(ToString::to_string).collect())
        };
        let listed = |tags: &[&str]| {
            let tags = tags.iter().map(ToString::to_string);
            Ok::<Vec<String>, String>(tags.collect())
        };
        assert_eq!(
            read(r#"{"name":"a","tags":["v1","1.0_x"]}"#),
            listed(&["v1", "1.0_x"])
        );
        for empty in [r#"{"name":"a","tags":null}"#, r#"{"tags":[]}"#] {
            assert_eq!(read(empty), listed(&[]), "{empty}");
        }
        for other in [
            "",
            "<html>",
            "[]",
            "{}",
            r#"{"name":"a"}"#,
            r#"{"tags":"v1"}"#,
            r#"{"tags":[1]}"#,
            r#"{"tags":["../../secret"]}"#,
            r#"{"tags":["v1@sha256"]}"#,
            r#"{"tags":["a/b:v1"]}"#,
            r#"{"tags":[""]}"#,
            r#"{"tags":["v1"]"#,
        ] {
            let read: Result<Vec<String>, String> = read(other);
            read.unwrap_err();
        }
    }
}
