//! What was taken comes back: the markers above it are removed, and nothing else is.

use std::io;

use super::S3;
use super::client::{Fence, Question};
use super::history::{History, Version, VersionId};
use super::operation::Operation;
use super::versions::Current;

/// Markers above one version. Each deletion without a version makes one more; versitygw's of many keys
/// makes two.
const MARKERS_MAX: usize = 100;

/// What became of a version that was to be put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutBack {
    /// The markers are gone, and this is what the key is now: the named version, or a newer one that lay
    /// above it below the same markers.
    Back { version: VersionId },
    /// The key was something already: the named version, or a newer one that was pushed meanwhile.
    /// Nothing was changed.
    AlreadyLive { version: VersionId },
}

impl S3 {
    /// Removes every delete marker above the newest version of the path that is none, each by its name,
    /// and proves by a `HEAD` that what the key is then is that version, by its size and its ETag.
    ///
    /// [`io::ErrorKind::NotFound`] where the named version is not there and the key is nothing: what it
    /// held is lost, and no marker is touched. Whatever an error left undone, asking again does it.
    pub async fn put_back(&self, path: &str, version: &VersionId) -> io::Result<PutBack> {
        self.takeable(path)?;
        let mut removed = 0;
        loop {
            let history = self.history_of(path).await?;
            let latest = history.as_ref().and_then(History::latest);
            if let Some(live) = latest.filter(|latest| !latest.is_marker()) {
                self.prove(path, live).await?;
                let version = live.id.clone();
                return Ok(match removed {
                    0 => PutBack::AlreadyLive { version },
                    _ => PutBack::Back { version },
                });
            }
            let named = history.as_ref().and_then(|all| all.content(version));
            let (Some(marker), Some(_)) = (latest, named) else {
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    format!(
                        "there is no version `{version}` of `{path}` in the bucket `{}` to put back",
                        self.bucket
                    ),
                ));
            };
            if removed == MARKERS_MAX {
                return Err(io::Error::other(format!(
                    "{MARKERS_MAX} delete markers were removed above `{path}`, and there is one more: \
                     somebody goes on deleting it"
                )));
            }
            self.delete_version(path, &marker.id, Fence::NONE).await?;
            removed += 1;
        }
    }

    /// Whether a `HEAD` finds what the listing says.
    pub(super) async fn prove(&self, path: &str, live: &Version) -> io::Result<()> {
        let wrong = |problem: String| {
            io::Error::other(format!(
                "`{path}` in the bucket `{}` is not what its listing says, the version `{}`: {problem}",
                self.bucket, live.id
            ))
        };
        let Some(Current {
            version,
            size,
            etag,
            ..
        }) = self.current(path).await?
        else {
            return Err(wrong("there is nothing for a HEAD".to_owned()));
        };
        if !live.id.is_told_by(version.as_ref()) {
            let version = version.as_ref().map_or("null", VersionId::as_str);
            return Err(wrong(format!("a HEAD finds the version `{version}`")));
        }
        let content = live.content.as_ref();
        if content.is_none_or(|it| it.size != size) {
            return Err(wrong(format!("a HEAD finds {size} bytes")));
        }
        if content.is_none_or(|it| it.etag != etag) {
            let etag = etag.map_or_else(String::new, |etag| etag.to_string());
            return Err(wrong(format!("a HEAD finds the ETag `{etag}`")));
        }
        Ok(())
    }

    /// Deletes exactly this version, or marker, for good. Whether it was there is not said: servers answer
    /// the same in both cases, or each its own.
    pub async fn delete_version(
        &self,
        path: &str,
        version: &VersionId,
        fence: Fence<'_>,
    ) -> io::Result<()> {
        let key = self.takeable(path)?;
        let question = Question {
            query: &[("versionId", version.as_str())],
            // versitygw's is the last.
            expected: &["NoSuchKey", "NoSuchVersion", "InvalidArgument"],
            fence,
            ..Question::new(Operation::DeleteObjectVersion, &key)
        };
        let _code = self.client.put(question, |_success| Ok(())).await?;
        Ok(())
    }
}
