//! What was taken comes back without anything being deleted: its version is copied above the markers.
//!
//! For whoever may not delete versions, and so no marker either. The version stays what it was, and goes when the
//! bucket's own rule removes it.

use std::io;

use super::S3;
use super::copy::{Bounds, digest_of};
use super::history::{History, Version, VersionId};
use super::put_back::PutBack;

impl S3 {
    /// Copies the newest version of the path that is no marker above the markers, as [`S3::put_back`] brings it
    /// back by removing them, and proves by its digest, size or ETag that what the key is then has its content.
    ///
    /// [`io::ErrorKind::NotFound`] where the named version is not there and the key is nothing.
    pub async fn revive(
        &self,
        path: &str,
        version: &VersionId,
        bounds: Bounds,
    ) -> io::Result<PutBack> {
        let key = self.takeable(path)?;
        let history = self.history_of(path).await?;
        let latest = history.as_ref().and_then(History::latest);
        if let Some(live) = latest.filter(|latest| !latest.is_marker()) {
            self.prove(path, live).await?;
            return Ok(PutBack::AlreadyLive {
                version: live.id.clone(),
            });
        }
        let named = history.as_ref().and_then(|all| all.content(version));
        let newest = history.as_ref().and_then(History::newest_content);
        let (Some(_), Some(newest)) = (named, newest) else {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!(
                    "there is no version `{version}` of `{path}` in the bucket `{}` to put back",
                    self.bucket
                ),
            ));
        };
        let content = newest.content.as_ref();
        let Some((size, etag)) = content.and_then(|it| Some((it.size, it.etag.as_ref()?))) else {
            let problem = format!("the version `{}` of `{path}` has no ETag", newest.id);
            return Err(io::Error::other(problem));
        };
        let id = crate::credential_source::aws::sigv4::encoded_path(newest.id.as_str());
        let source = format!("{}?versionId={id}", self.copy_source(&key));
        self.copy_content(&source, etag, &key, size, bounds).await?;
        let version = self.is_revived(path, newest).await?;
        Ok(PutBack::Back { version })
    }

    /// The version that the key is now, if it has the other's content.
    async fn is_revived(&self, path: &str, from: &Version) -> io::Result<VersionId> {
        let wrong = |problem: String| {
            io::Error::other(format!(
                "`{path}` in the bucket `{}` was copied from its version `{}`, and {problem}",
                self.bucket, from.id
            ))
        };
        let now = self.current(path).await?;
        let now = now.ok_or_else(|| wrong("is not there".to_owned()))?;
        let content = from.content.as_ref();
        if content.is_none_or(|it| it.size != now.size) {
            return Err(wrong(format!("has {} bytes", now.size)));
        }
        let is_same = content.is_some_and(|it| it.etag.is_some() && it.etag == now.etag);
        match digest_of(path) {
            Some(digest) if !is_same => {
                let found = self.digest(path).await?;
                if found != digest {
                    return Err(wrong(format!("its content is {found}")));
                }
            }
            None if !is_same => return Err(wrong("has another ETag".to_owned())),
            Some(_) | None => {}
        }
        now.version
            .ok_or_else(|| wrong("has no version".to_owned()))
    }
}
