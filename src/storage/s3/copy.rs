//! Where a bucket has no versions: an object is copied within it, and the copy proven before anything is
//! removed.
//!
//! A copy is the content, and the headers that S3 keeps with it. Storage class, tags, access lists and a key
//! of its own to encrypt it are those that the bucket gives by default.

use std::io;

use super::S3;
use super::client::{Question, Success};
use super::etag::Etag;
use super::operation::Operation;
use super::parts;
use super::versions::Current;
use crate::oci::digest::Digest;
use crate::storage::layout::{Entry, ROOT};

pub(super) const CHANGED: &str = "PreconditionFailed";

/// How an object is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes that are copied by one request; S3 takes 5 GiB at most.
    pub whole_max: u64,
    /// Bytes of a part of what is larger; S3 takes 5 MiB at least, and 10,000 parts at most, so that parts
    /// of a very large object are larger.
    pub part: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            whole_max: 5 << 30,
            part: 512 << 20,
        }
    }
}

/// A copy that was proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// What was copied: to be removed by its ETag.
    pub from: Current,
    pub to: Current,
}

impl S3 {
    /// Copies what is at one path to another, and proves the copy: of a registry's blob by the digest of
    /// what is read back, of all else by the ETag, or where that says nothing by the digests of both.
    ///
    /// Nothing is ever written over: an object that is there already and is a copy is taken for this one
    /// (so that asking again ends what an error left undone), and any other is
    /// [`io::ErrorKind::AlreadyExists`]. Between that look and the copy somebody may write the same path:
    /// what is copied over it then is of the same name, which in a registry's tree is the same content, but
    /// for a tag's `current`, which is never copied. [`io::ErrorKind::NotFound`] where there is nothing to
    /// copy. After any other error there may be a copy, which nobody has proven, or none.
    pub async fn copy(&self, from: &str, to: &str, bounds: Bounds) -> io::Result<Copied> {
        let (source, target) = (self.takeable(from)?, self.takeable(to)?);
        if source == target {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("`{from}` cannot be copied to itself"),
            ));
        }
        let absent = || self.wrong(io::ErrorKind::NotFound, from, "there is nothing to copy");
        let original = self.current(from).await?.ok_or_else(absent)?;
        if let Some(there) = self.current(to).await? {
            if let Err(problem) = self.is_copy(from, &original, to, &there).await {
                let problem = format!("it is there already, and no copy of `{from}`: {problem}");
                return Err(self.wrong(io::ErrorKind::AlreadyExists, to, &problem));
            }
            return Ok(Copied {
                from: original,
                to: there,
            });
        }
        let unnamed = || self.wrong(io::ErrorKind::Other, from, "it has no ETag to name it by");
        let etag = original.etag.as_ref().ok_or_else(unnamed)?;
        let source = self.copy_source(&source);
        self.copy_content(&source, etag, &target, original.size, bounds)
            .await?;
        let lost = || self.wrong(io::ErrorKind::Other, to, "it was copied, and is not there");
        let copy = self.current(to).await?.ok_or_else(lost)?;
        if let Err(problem) = self.is_copy(from, &original, to, &copy).await {
            let problem = format!("it is no copy of `{from}`: {problem}");
            return Err(self.wrong(io::ErrorKind::InvalidData, to, &problem));
        }
        Ok(Copied {
            from: original,
            to: copy,
        })
    }

    /// Copies what a header names.
    pub(super) async fn copy_content(
        &self,
        source: &str,
        etag: &Etag,
        target: &str,
        size: u64,
        bounds: Bounds,
    ) -> io::Result<()> {
        if size <= bounds.whole_max {
            self.copy_whole(source, etag, target).await
        } else {
            self.copy_in_parts(source, etag, target, size, bounds.part)
                .await
        }
    }

    async fn copy_whole(&self, source: &str, etag: &Etag, target: &str) -> io::Result<()> {
        let operation = Operation::CopyObject;
        let quoted = etag.quoted();
        let question = Question {
            headers: &[
                ("x-amz-copy-source", source),
                ("x-amz-copy-source-if-match", &quoted),
            ],
            expected: &[CHANGED],
            ..Question::new(operation, target)
        };
        let read = |success: Success| {
            let written = parts::written(&success.body);
            self.client.understood(operation, written)
        };
        match self.client.put(question, read).await? {
            Ok(_etag) => Ok(()),
            Err(_code) => Err(was_changed(source)),
        }
    }

    /// As a header names it.
    pub(super) fn copy_source(&self, key: &str) -> String {
        let key = crate::credential_source::aws::sigv4::encoded_path(key);
        format!("{}/{key}", self.bucket)
    }

    /// The error says why it is none.
    async fn is_copy(
        &self,
        from: &str,
        original: &Current,
        to: &str,
        copy: &Current,
    ) -> io::Result<()> {
        let differs = |what: String| Err(io::Error::other(what));
        if original.size != copy.size {
            return differs(format!("{} bytes, not {}", copy.size, original.size));
        }
        if let Some(digest) = digest_of(from).or_else(|| digest_of(to)) {
            let content = self.digest(to).await?;
            if content != digest {
                return differs(format!("its content is {content}"));
            }
            return Ok(());
        }
        let is_alike = match (&original.etag, &copy.etag) {
            (Some(one), Some(other)) => one == other && !one.is_of_parts(),
            _ => false,
        };
        if !is_alike {
            let (one, other) = (self.digest(from).await?, self.digest(to).await?);
            if one != other {
                return differs(format!("its content is {other}, not {one}"));
            }
        }
        Ok(())
    }

    /// Of what is there, read as a whole, a chunk at a time.
    pub(super) async fn digest(&self, path: &str) -> io::Result<Digest> {
        let key = self.whole(path)?;
        let question = Question {
            is_hashed: true,
            ..Question::new(Operation::GetObject, &key)
        };
        let read = self
            .client
            .ask(question, |success| Ok(success.digest))
            .await?;
        let gone = || self.wrong(io::ErrorKind::NotFound, path, "it is not there any more");
        read.flatten().ok_or_else(gone)
    }

    fn wrong(&self, kind: io::ErrorKind, path: &str, problem: &str) -> io::Error {
        io::Error::new(
            kind,
            format!("`{path}` in the bucket `{}`: {problem}", self.bucket),
        )
    }
}

pub(super) fn was_changed(source: &str) -> io::Error {
    io::Error::other(format!(
        "`{source}` was written anew while it was copied: nothing was copied"
    ))
}

/// Of a blob's `data`, in the tree or in a quarantine.
pub(super) fn digest_of(path: &str) -> Option<Digest> {
    let (_before, below) = path.rsplit_once(&format!("{ROOT}/"))?;
    match Entry::parse(below) {
        Entry::Blob(digest) => Some(digest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_known_by_its_path_wherever_it_was_moved() {
        let digest = Digest::of(b"x");
        let hex = digest.hex();
        let path = format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
        assert_eq!(digest_of(&path), Some(digest));
        let moved = format!("pullproof/quarantine/01J/{path}");
        assert_eq!(digest_of(&moved), Some(digest));
        let link = format!("docker/registry/v2/repositories/a/_layers/sha256/{hex}/link");
        assert_eq!(digest_of(&link), None);
        assert_eq!(digest_of("pullproof/journal/01J.jsonl"), None);
    }
}
