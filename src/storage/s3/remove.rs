//! Where a bucket has no versions: an object is removed, if it is still the one that was copied.
//!
//! What that cannot fence: a push of the same content since has the same ETag, and what it wrote is removed
//! with what it found. Nothing is lost by that as long as the copy is kept, which is why a copy is proven
//! first, kept for `quarantineFor`, and put back where something wants it. On a server that ignores
//! `If-Match` (before S3 itself knew it for a `DELETE`, it ignored it) or refuses it there is also a moment
//! between the look and the deletion in which another content could be written; in a registry's tree a path
//! has one content, but for a tag's `current`, which is never taken.

use std::io;

use super::S3;
use super::client::{Fence, Question};
use super::copy::CHANGED;
use super::etag::Etag;
use super::operation::Operation;

/// What became of an object that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    Now,
    /// Nothing was there.
    Absent,
    /// Another object is there; it was not touched.
    Changed,
}

impl S3 {
    /// Removes what is at this path if its ETag is this one.
    ///
    /// It is looked first, and the deletion carries `If-Match` where the server takes it. An answer that
    /// was lost is an error and never asked for again by itself: what is there then may have been pushed
    /// since. Asked again after it was removed, it is [`Removed::Absent`].
    pub async fn remove(&self, path: &str, etag: &Etag, fence: Fence<'_>) -> io::Result<Removed> {
        let key = self.takeable(path)?;
        match self.current(path).await? {
            None => return Ok(Removed::Absent),
            Some(now) if now.etag.as_ref() != Some(etag) => return Ok(Removed::Changed),
            Some(_) => {}
        }
        let quoted = etag.quoted();
        let fenced = Question {
            headers: &[("if-match", &quoted)],
            expected: &["NoSuchKey", CHANGED, "NotImplemented"],
            fence,
            ..Question::new(Operation::DeleteObject, &key)
        };
        let deleted = match self.client.put(fenced, |_success| Ok(())).await? {
            Err("NotImplemented") => {
                let question = Question {
                    expected: &["NoSuchKey"],
                    fence,
                    ..Question::new(Operation::DeleteObject, &key)
                };
                self.client.put(question, |_success| Ok(())).await?
            }
            deleted => deleted,
        };
        Ok(match deleted {
            Ok(()) => Removed::Now,
            Err(CHANGED) => Removed::Changed,
            Err(_absent) => Removed::Absent,
        })
    }
}
