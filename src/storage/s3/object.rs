//! Files of our own in a bucket: written where nothing is, replaced where they are what they were, read,
//! listed and deleted.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};

use super::chain::Chain;
use super::client::{NO_SUCH_KEY, Question, Success};
use super::copy::CHANGED;
use super::etag::Etag;
use super::history::VersionId;
use super::listing::Listing;
use super::operation::Operation;
use super::{OWN, S3};
use crate::second::Second;

/// What is ours is small.
const PUT_BYTES_MAX: usize = 64 << 20;

/// What became of an object that was to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutNew {
    Written {
        etag: Etag,
    },
    /// Something is there, and was not touched.
    AlreadyThere,
}

/// What became of an object that was to be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replaced {
    Written {
        etag: Etag,
    },
    /// It is another one than was named, or not there; nothing was written.
    Changed,
}

/// An object that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub bytes: Vec<u8>,
    /// To replace it by.
    pub etag: Option<Etag>,
    /// For so many seconds it has been what it is, by the server's clock alone.
    pub age: Option<i64>,
}

/// An object as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Below the `rootdirectory`.
    pub path: String,
    pub size: u64,
    pub modified: Option<Second>,
}

impl S3 {
    /// Writes an object where nothing is (`If-None-Match: *`).
    ///
    /// An answer that was lost is an error, and not asked for again by itself. Asked again it may be
    /// [`PutNew::AlreadyThere`] because of the first time: whoever wants to know reads what is there. A
    /// server that ignores the header writes over what is there; to ask twice for the same path tells.
    pub async fn put_new(&self, path: &str, bytes: &[u8]) -> io::Result<PutNew> {
        let put = self.put_if(path, bytes, Some(("if-none-match", "*")), &[CHANGED]);
        Ok(match put.await? {
            Some(etag) => PutNew::Written { etag },
            None => PutNew::AlreadyThere,
        })
    }

    /// Writes an object in the place of the one with this ETag (`If-Match`). As [`S3::put_new`], an answer
    /// that was lost is an error.
    pub async fn replace(&self, path: &str, bytes: &[u8], etag: &Etag) -> io::Result<Replaced> {
        let quoted = etag.quoted();
        let expected = &[CHANGED, NO_SUCH_KEY];
        let put = self.put_if(path, bytes, Some(("if-match", &quoted)), expected);
        Ok(match put.await? {
            Some(etag) => Replaced::Written { etag },
            None => Replaced::Changed,
        })
    }

    /// Writes a file of ours, below `pullproof/`, whatever is there; any other path is refused. An answer
    /// that was lost is an error, and not asked for again by itself.
    pub async fn put(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        if !path.starts_with(OWN) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("`{path}` is not below {OWN}: nothing is written over there"),
            ));
        }
        self.put_if(path, bytes, None, &[]).await.map(|_etag| ())
    }

    /// `None` where the condition did not hold.
    async fn put_if(
        &self,
        path: &str,
        bytes: &[u8],
        condition: Option<(&str, &str)>,
        expected: &[&'static str],
    ) -> io::Result<Option<Etag>> {
        let key = self.takeable(path)?;
        if bytes.len() > PUT_BYTES_MAX {
            let problem = format!(
                "`{path}` has {} bytes: at most {PUT_BYTES_MAX}",
                bytes.len()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        let sum = BASE64.encode(Md5::digest(bytes));
        let mut headers = vec![
            ("content-md5", sum.as_str()),
            ("content-type", "application/octet-stream"),
        ];
        headers.extend(condition);
        let question = Question {
            headers: &headers,
            body: bytes,
            expected,
            ..Question::new(Operation::PutObject, &key)
        };
        let put = self
            .client
            .put(question, |success| Ok(success.etag))
            .await?;
        match put {
            Ok(Some(etag)) => Ok(Some(etag)),
            Ok(None) => Err(io::Error::other(format!(
                "`{key}` was written in the bucket `{}`, by the answer, which names no ETag",
                self.bucket
            ))),
            Err(_code) => Ok(None),
        }
    }

    /// Reads an object of at most so many bytes. `None` where nothing is.
    pub async fn get(&self, path: &str, most: u64) -> io::Result<Option<Object>> {
        let key = self.whole(path)?;
        let question = Question {
            most,
            ..Question::new(Operation::GetObject, &key)
        };
        let read = |success: Success| {
            Ok(Object {
                bytes: success.body,
                etag: success.etag,
                age: success.age,
            })
        };
        self.client.ask(question, read).await
    }

    /// Reads a version of at most so many bytes, whatever lies above it. `None` where it is not there.
    pub async fn get_version(
        &self,
        path: &str,
        version: &VersionId,
        most: u64,
    ) -> io::Result<Option<Vec<u8>>> {
        let key = self.whole(path)?;
        let question = Question {
            query: &[("versionId", version.as_str())],
            most,
            // versitygw's is the last.
            expected: &[NO_SUCH_KEY, "NoSuchVersion", "InvalidArgument"],
            ..Question::new(Operation::GetObject, &key)
        };
        let read = self.client.put(question, |success| Ok(success.body));
        Ok(read.await?.ok())
    }

    /// All objects whose paths begin with the prefix, in their order.
    pub async fn files(&self, prefix: &str) -> io::Result<Vec<Stored>> {
        let whole = format!("{}{prefix}", self.prefix);
        let listing = Listing {
            client: &self.client,
            bucket: &self.bucket,
            root: &whole,
            most: self.most,
            take: &|_listed| {},
        };
        let mut chain = Chain::new(&self.bucket, &whole, None);
        let mut found = Vec::new();
        loop {
            let (name, value) = chain.next();
            let value = value.map(ToOwned::to_owned);
            let page = listing.page(&whole, &[(name, value.as_deref())]).await?;
            chain.take(&page).map_err(|problem| {
                io::Error::other(format!(
                    "ListObjectsV2 below `{whole}` in the bucket `{}`: a page is no part of a listing: \
                     {problem}",
                    self.bucket
                ))
            })?;
            found.extend(page.objects.into_iter().map(|object| {
                Stored {
                    path: object
                        .key
                        .strip_prefix(&self.prefix)
                        .unwrap_or_default()
                        .to_owned(),
                    size: object.size,
                    modified: object.modified,
                }
            }));
            if !page.is_truncated {
                return Ok(found);
            }
        }
    }

    /// Deletes a file of ours, below `pullproof/`; any other path is refused. One that is not there is
    /// deleted. An answer that was lost is an error.
    ///
    /// What others may have written anew meanwhile, as a lock, is for [`S3::remove`].
    pub async fn delete(&self, path: &str) -> io::Result<()> {
        if !path.starts_with(OWN) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("`{path}` is not below {OWN}: it is not deleted"),
            ));
        }
        let key = self.whole(path)?;
        let question = Question::new(Operation::DeleteObject, &key);
        self.client.ask(question, |_success| Ok(())).await?;
        Ok(())
    }
}
