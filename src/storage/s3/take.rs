//! Versions are taken: a delete marker is put above each, and nothing is lost.
//!
//! Before it, it is looked whether the version is still what its key is. Between that look and the deletion
//! somebody may push the same key again: then the marker lies above the newer version, which nobody asked
//! to be taken. In a bucket with versions that is no loss. The newer version lies below the marker as whole
//! as the named one, a `HEAD` by whoever pushed it is 404 until it is put back, and [`S3::put_back`] brings
//! the newest version back that is no marker, which is that one. Hence a bucket whose versioning is not
//! enabled is refused: there a deletion is a loss.

use std::collections::HashSet;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::{StreamExt as _, stream};
use md5::{Digest as _, Md5};

use super::S3;
use super::bulk::{self, Outcome};
use super::client::{Fence, Question, Success};
use super::history::VersionId;
use super::operation::Operation;
use super::refusal::Meaning;
use super::versions::Versioning;

/// An answer names each of 1,000 keys of at most 1,024 bytes, each encoded, with what became of it.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// A server that cannot delete many at once says one of these.
const NO_BULK: &[&str] = &["NotImplemented", "MethodNotAllowed"];

/// What became of a version that was to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Marked {
    /// A marker lies above it now; its name where that is told.
    Now { marker: Option<VersionId> },
    /// A marker lay above it already: it was taken before.
    Before { marker: VersionId },
    /// The key is another version now, or was pushed and taken since: nothing was done.
    Changed { current: Option<VersionId> },
}

/// One of those that are to be taken.
#[derive(Debug)]
struct Wanted<'a> {
    number: usize,
    path: &'a str,
    key: String,
    version: &'a VersionId,
}

impl S3 {
    /// Puts a delete marker above each of these versions (paths below the `rootdirectory`), 1,000 keys a
    /// request where the server can. The results are in the order of the versions.
    ///
    /// An error says of its key that it is not known to be taken: it was refused, the answer left it out,
    /// or was lost. Asked again, a version that was taken is [`Marked::Before`]. A version that is not
    /// there is [`io::ErrorKind::NotFound`], and all are refused where versioning is not enabled. Where it
    /// cannot be told of one what it is now, none is taken.
    pub async fn take(
        &self,
        versions: &[(&str, &VersionId)],
        fence: Fence<'_>,
    ) -> Vec<io::Result<Marked>> {
        if versions.is_empty() {
            return Vec::new();
        }
        if let Err(problem) = self.has_versions().await {
            return versions.iter().map(|_| Err(alike(&problem))).collect();
        }
        let mut paths = HashSet::new();
        let is_first: Vec<bool> = versions
            .iter()
            .map(|(path, _)| paths.insert(*path))
            .collect();
        let looks = stream::iter(versions.iter().zip(is_first))
            .map(async |((path, version), is_first)| {
                if is_first {
                    self.look(path, version).await
                } else {
                    Err(invalid(format!("`{path}` is named twice")))
                }
            })
            .buffered(self.most);
        let looked: Vec<io::Result<Option<Marked>>> = looks.collect().await;
        let mut results = Vec::with_capacity(versions.len());
        let mut wanted = Vec::new();
        for (number, (look, (path, version))) in looked.into_iter().zip(versions).enumerate() {
            results.push(match look {
                Ok(Some(marked)) => Ok(marked),
                Ok(None) => {
                    let key = format!("{}{path}", self.prefix);
                    wanted.push(Wanted {
                        number,
                        path,
                        key,
                        version,
                    });
                    Err(io::Error::other(format!("`{path}` was not asked for")))
                }
                Err(problem) => Err(problem),
            });
        }
        let is_unknown = |result: &io::Result<Marked>| {
            let kind = result.as_ref().err().map(io::Error::kind);
            kind.is_some_and(|kind| kind != io::ErrorKind::NotFound)
        };
        let asked: HashSet<usize> = wanted.iter().map(|it| it.number).collect();
        let mut others = (0..).zip(&results);
        if others.any(|(number, it)| !asked.contains(&number) && is_unknown(it)) {
            return results;
        }
        for batch in wanted.chunks(bulk::KEYS_MAX) {
            for (number, result) in self.mark(batch, fence).await {
                if let Some(place) = results.get_mut(number) {
                    *place = result;
                }
            }
        }
        results
    }

    async fn has_versions(&self) -> io::Result<()> {
        let problem = match self.versioning().await? {
            Versioning::Enabled => return Ok(()),
            Versioning::Suspended => "is suspended",
            Versioning::Never => "was never enabled",
        };
        let bucket = &self.bucket;
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!(
                "the versioning of the bucket `{bucket}` {problem}, and what is deleted there is lost: \
                 enable it"
            ),
        ))
    }

    /// `None` where the version is what its key is: it may be taken.
    async fn look(&self, path: &str, version: &VersionId) -> io::Result<Option<Marked>> {
        self.takeable(path)?;
        match self.current(path).await? {
            Some(now) if version.is_told_by(now.version.as_ref()) => Ok(None),
            Some(now) => Ok(Some(Marked::Changed {
                current: now.version,
            })),
            None => self.marked_before(path, version).await.map(Some),
        }
    }

    /// What lies above a version that its key is not.
    async fn marked_before(&self, path: &str, version: &VersionId) -> io::Result<Marked> {
        let history = self.history_of(path).await?;
        let named = history.as_ref().and_then(|all| all.content(version));
        let (Some(history), Some(_)) = (&history, named) else {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("there is no version `{version}` of `{path}`"),
            ));
        };
        let latest = history.latest();
        let is_newest = history.newest_content().map(|it| &it.id) == Some(version);
        match latest {
            Some(marker) if marker.is_marker() && is_newest => Ok(Marked::Before {
                marker: marker.id.clone(),
            }),
            Some(content) if !content.is_marker() => Ok(Marked::Changed {
                current: Some(content.id.clone()),
            }),
            _ => Ok(Marked::Changed { current: None }),
        }
    }

    async fn mark(
        &self,
        batch: &[Wanted<'_>],
        fence: Fence<'_>,
    ) -> Vec<(usize, io::Result<Marked>)> {
        let answer = match self.delete_many(batch, fence).await {
            Ok(Some(answer)) => answer,
            Ok(None) => {
                let one_by_one = stream::iter(batch)
                    .map(async |wanted| (wanted.number, self.mark_one(wanted, fence).await))
                    .buffer_unordered(self.most);
                return one_by_one.collect().await;
            }
            Err(problem) => {
                let all = batch.iter();
                return all.map(|it| (it.number, Err(alike(&problem)))).collect();
            }
        };
        let results = stream::iter(batch)
            .map(async |wanted| {
                let result = match answer.get(&wanted.key) {
                    Some(Outcome::Deleted(marker)) => self.told(wanted, marker.clone()).await,
                    Some(Outcome::Refused(fault)) => Err(self.refused(wanted, fault)),
                    None => Err(io::Error::other(format!(
                        "DeleteObjects in the bucket `{}`: its answer leaves out `{}`; whether it was done \
                         is not known",
                        self.bucket, wanted.key
                    ))),
                };
                (wanted.number, result)
            })
            .buffer_unordered(self.most);
        results.collect().await
    }

    /// `None` where the server cannot delete many at once.
    async fn delete_many(
        &self,
        batch: &[Wanted<'_>],
        fence: Fence<'_>,
    ) -> io::Result<Option<std::collections::HashMap<String, Outcome>>> {
        let operation = Operation::DeleteObjects;
        let body = bulk::write(batch.iter().map(|wanted| wanted.key.as_str()));
        // S3 wants a checksum of it, and this is the one that all servers know.
        let sum = BASE64.encode(Md5::digest(body.as_bytes()));
        let question = Question {
            query: &[("delete", "")],
            headers: &[("content-md5", &sum), ("content-type", "application/xml")],
            body: body.as_bytes(),
            most: ANSWER_BYTES_MAX,
            expected: NO_BULK,
            fence,
            ..Question::new(operation, "")
        };
        let read = |success: Success| {
            let answer = bulk::read(&success.body);
            self.client.understood(operation, answer)
        };
        Ok(self.client.put(question, read).await?.ok())
    }

    async fn mark_one(&self, wanted: &Wanted<'_>, fence: Fence<'_>) -> io::Result<Marked> {
        let question = Question {
            fence,
            ..Question::new(Operation::DeleteObject, &wanted.key)
        };
        let deleted = self.client.ask(question, Ok).await?;
        let marker = deleted.filter(|it| it.is_marker).and_then(|it| it.version);
        self.told(wanted, marker).await
    }

    /// A deletion of which no marker is told may have been no deletion, or one for good.
    async fn told(&self, wanted: &Wanted<'_>, marker: Option<VersionId>) -> io::Result<Marked> {
        if marker.is_some() {
            return Ok(Marked::Now { marker });
        }
        match self.marked_before(wanted.path, wanted.version).await? {
            Marked::Before { marker } => Ok(Marked::Now {
                marker: Some(marker),
            }),
            Marked::Changed { current } if current.as_ref() == Some(wanted.version) => {
                Err(io::Error::other(format!(
                    "`{}` in the bucket `{}` was deleted, by the answer, and is still there",
                    wanted.key, self.bucket
                )))
            }
            other => Ok(other),
        }
    }

    fn refused(&self, wanted: &Wanted<'_>, fault: &super::page::Fault) -> io::Error {
        let (kind, problem) = match self
            .client
            .meaning_of_fault(Operation::DeleteObjects, fault)
        {
            Meaning::Denied(problem) => (io::ErrorKind::PermissionDenied, problem),
            Meaning::Absent => (
                io::ErrorKind::NotFound,
                "there is no such object".to_owned(),
            ),
            Meaning::Busy(problem)
            | Meaning::Again(problem)
            | Meaning::Renew(problem)
            | Meaning::Unsupported(problem)
            | Meaning::Final(problem) => (io::ErrorKind::Other, problem),
        };
        let Wanted { key, .. } = wanted;
        let text = format!(
            "DeleteObjects of `{key}` in the bucket `{}`: {problem}",
            self.bucket
        );
        io::Error::new(kind, text)
    }
}

fn invalid(problem: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, problem)
}

/// The same, once more: of one question about many keys.
fn alike(problem: &io::Error) -> io::Error {
    io::Error::new(problem.kind(), problem.to_string())
}
