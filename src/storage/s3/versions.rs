//! What a bucket with versions says: whether it has them, what removes them by itself, what a key is now
//! and what it has been.

use std::io;

use serde::Deserialize;

use super::client::{Question, Success};
use super::etag::Etag;
use super::history::{self, Chain, History, VersionId};
use super::lifecycle::{self, Lifecycle};
use super::operation::Operation;
use super::page::{Fault, NoPage};
use super::{OWN, S3};
use crate::second::Second;

/// Of a page of 1,000 versions, with keys of at most 1,024 bytes, each encoded.
const PAGE_BYTES_MAX: u64 = 8 << 20;
/// 1,000 rules are the most that S3 takes.
const LIFECYCLE_BYTES_MAX: u64 = 4 << 20;
const NO_LIFECYCLE: &str = "NoSuchLifecycleConfiguration";

/// Whether a deletion can be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versioning {
    /// A `DELETE` puts a marker above what was there.
    Enabled,
    /// It was enabled once. A `DELETE` and a push put a null version in the place of the one before it,
    /// which is lost.
    Suspended,
    /// A `DELETE` is for good.
    Never,
}

/// What a key is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Current {
    /// `None` where there are no versions.
    pub version: Option<VersionId>,
    pub size: u64,
    pub etag: Option<Etag>,
    pub modified: Option<Second>,
}

#[derive(Deserialize)]
enum Document {
    VersioningConfiguration(Written),
    Error(Fault),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Written {
    status: Option<String>,
}

impl S3 {
    /// Whether the bucket has versions (`GetBucketVersioning`).
    pub async fn versioning(&self) -> io::Result<Versioning> {
        let operation = Operation::GetBucketVersioning;
        let question = Question {
            query: &[("versioning", "")],
            ..Question::new(operation, "")
        };
        let read = |success: Success| self.client.understood(operation, status(&success.body));
        self.client.put(question, read).await?.map_err(unexpected)
    }

    /// What the bucket removes by itself below the `rootdirectory` (`GetBucketLifecycleConfiguration`): the
    /// enabled rules that reach the registry's tree or our own files.
    ///
    /// A bucket without a configuration has none. Any other refusal is an error, also that the server does
    /// not know of lifecycles ([`io::ErrorKind::Unsupported`]).
    pub async fn lifecycle(&self) -> io::Result<Lifecycle> {
        let operation = Operation::GetBucketLifecycleConfiguration;
        let question = Question {
            query: &[("lifecycle", "")],
            most: LIFECYCLE_BYTES_MAX,
            expected: &[NO_LIFECYCLE],
            ..Question::new(operation, "")
        };
        let own = format!("{}{OWN}", self.prefix);
        let read = |success: Success| {
            let rules = lifecycle::read(&success.body, &[&self.root, &own]);
            self.client.understood(operation, rules)
        };
        let found = self.client.put(question, read).await?;
        Ok(found.unwrap_or_default())
    }

    /// What is at this path now, by a `HEAD`; `None` where nothing is, or a delete marker.
    ///
    /// A `HEAD` does not say whether the object is missing or the bucket: that it is the object is asked
    /// once more.
    pub async fn current(&self, path: &str) -> io::Result<Option<Current>> {
        let key = self.whole(path)?;
        let question = Question::new(Operation::HeadObject, &key);
        if let Some(found) = self.client.ask(question, Ok).await? {
            let Success {
                size,
                etag,
                version,
                modified,
                ..
            } = found;
            let size =
                size.ok_or_else(|| io::Error::other(format!("the size of {key} is not said")))?;
            return Ok(Some(Current {
                version,
                size,
                etag,
                modified,
            }));
        }
        let question = Question::new(Operation::GetObject, &key);
        match self.client.ask(question, |_content| Ok(())).await? {
            None => Ok(None),
            Some(()) => Err(io::Error::other(format!(
                "{key} is not there for a HEAD, and is for a GET: it was written just now, or one of them \
                 is wrong"
            ))),
        }
    }

    /// All versions and delete markers of all keys that begin with the prefix (`ListObjectVersions`), by
    /// their keys; of each key the newest first.
    ///
    /// Pages that are no listing are an error, as of objects.
    pub async fn history(&self, prefix: &str) -> io::Result<Vec<History>> {
        let whole = format!("{}{prefix}", self.prefix);
        let mut chain = Chain::new(&self.bucket, &whole);
        while !chain.has_ended() {
            let page = self.page_of_versions(&whole, chain.next()).await?;
            chain.take(page).map_err(|problem| {
                io::Error::other(format!(
                    "ListObjectVersions below `{whole}` in the bucket `{}`: a page is no part of a listing: \
                     {problem}",
                    self.bucket
                ))
            })?;
        }
        let mut found = chain.into_found();
        for history in &mut found {
            let path = history
                .path
                .strip_prefix(&self.prefix)
                .map(ToOwned::to_owned);
            history.path = path.unwrap_or_default();
        }
        Ok(found)
    }

    /// All that there is of one key; `None` where nothing is.
    pub async fn history_of(&self, path: &str) -> io::Result<Option<History>> {
        let all = self.history(path).await?;
        Ok(all.into_iter().find(|history| history.path == path))
    }

    async fn page_of_versions(
        &self,
        prefix: &str,
        after: Option<(&str, Option<&str>)>,
    ) -> io::Result<history::Page> {
        let operation = Operation::ListObjectVersions;
        let most = super::chain::KEYS_MAX.to_string();
        let mut query = vec![
            ("encoding-type", "url"),
            ("max-keys", most.as_str()),
            ("prefix", prefix),
            ("versions", ""),
        ];
        if let Some((key, version)) = after {
            query.push(("key-marker", key));
            query.extend(version.map(|version| ("version-id-marker", version)));
        }
        let question = Question {
            query: &query,
            most: PAGE_BYTES_MAX,
            ..Question::new(operation, "")
        };
        let read = |success: Success| {
            let page = history::read(&success.body);
            self.client.understood(operation, page)
        };
        self.client.put(question, read).await?.map_err(unexpected)
    }
}

/// None was expected.
pub(super) fn unexpected(code: &str) -> io::Error {
    io::Error::other(format!("it answered {code}"))
}

fn status(body: &[u8]) -> Result<Versioning, NoPage> {
    let malformed = |problem: String| NoPage::Malformed(problem);
    let text =
        std::str::from_utf8(body).map_err(|_place| malformed("it is not text".to_owned()))?;
    let document = quick_xml::de::from_str(text).map_err(|error| malformed(error.to_string()))?;
    match document {
        Document::Error(fault) => Err(NoPage::Fault(fault)),
        Document::VersioningConfiguration(Written { status }) => match status.as_deref() {
            Some("Enabled") => Ok(Versioning::Enabled),
            Some("Suspended") => Ok(Versioning::Suspended),
            None | Some("") => Ok(Versioning::Never),
            Some(other) => Err(malformed(format!("its status is `{other}`"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_says_whether_it_has_versions() {
        let of = |inner: &str| {
            status(format!("<VersioningConfiguration>{inner}</VersioningConfiguration>").as_bytes())
        };
        assert_eq!(of("<Status>Enabled</Status>"), Ok(Versioning::Enabled));
        assert_eq!(of("<Status>Suspended</Status>"), Ok(Versioning::Suspended));
        assert_eq!(of(""), Ok(Versioning::Never));
        assert_eq!(status(b"<VersioningConfiguration/>"), Ok(Versioning::Never));
        for broken in [
            of("<Status>Perhaps</Status>"),
            status(b"<VersioningConfiguration>"),
            status(b"<html/>"),
            status(b""),
        ] {
            assert!(matches!(broken, Err(NoPage::Malformed(_))), "{broken:?}");
        }
    }
}
