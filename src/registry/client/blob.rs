//! How a blob is asked for: by HEAD, by its last byte, or whole.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use reqwest::Method;

use super::{Client, of_blob, refused};
use crate::oci::digest::{Digest, Hasher};
use crate::registry::fault::Meaning;
use crate::registry::stats::Operation;
use crate::registry::transport::{Failure, Outcome, Wanted};
use crate::registry::wire::{content_length, read_failure, total_size};
use crate::verify::depth::Depth;
use crate::verify::question::Answer;
use crate::verify::target::AuthId;

/// A body may take this long, and so much longer for each byte of it as it would at this speed.
const BODY_LEAST: Duration = Duration::from_secs(60);
const BODY_BYTES_PER_SECOND: u64 = 64 << 10;
const RANGE_NOT_SATISFIABLE: u16 = 416;

/// Which blob, and for whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish<'a> {
    pub(super) auth: AuthId,
    pub(super) repository: &'a Arc<str>,
    pub(super) digest: &'a Digest,
    /// As its descriptor says.
    pub(super) size: u64,
    /// On a new connection.
    pub(super) is_fresh: bool,
}

impl Client {
    pub(super) async fn blob(&self, wish: Wish<'_>, depth: Depth) -> Result<Answer, Failure> {
        match depth {
            // An empty blob has no byte to read, and no bytes to lie about.
            Depth::Read | Depth::Content if wish.size == 0 => self.head(wish).await,
            // A second look is a GET, which has an error's code in its body.
            Depth::Head if wish.is_fresh => self.first_byte(wish).await,
            Depth::Head => self.head(wish).await,
            Depth::Read => self.last_byte(wish).await,
            Depth::Content => self.hash(wish).await,
        }
    }

    async fn head(&self, wish: Wish<'_>) -> Result<Answer, Failure> {
        let head = of_blob(wish.auth, wish.repository, wish.digest, Method::HEAD);
        match self.transport.send(&head).await? {
            Outcome::Success(response) => match content_length(response.headers()) {
                Some(size) => Ok(Answer::Blob { size: Some(size) }),
                // It says that it is there, and not how large it is: a byte of it tells.
                None => self.first_byte(wish).await,
            },
            // The registry vouches for it; the target is not asked at this depth.
            Outcome::Redirect(_) | Outcome::NotModified => Ok(Answer::Blob { size: None }),
            Outcome::Refused {
                meaning: Meaning::MethodRefused,
                ..
            } => self.first_byte(wish).await,
            Outcome::Refused { meaning, status } => Ok(refused(&meaning, status)),
        }
    }

    async fn first_byte(&self, wish: Wish<'_>) -> Result<Answer, Failure> {
        match self.transport.send(&byte(wish, 0)).await? {
            Outcome::Success(response) => Ok(Answer::Blob {
                size: total_size(&response),
            }),
            Outcome::Redirect(_) | Outcome::NotModified => Ok(Answer::Blob { size: None }),
            Outcome::Refused { meaning, status } => Ok(refused(&meaning, status)),
        }
    }

    /// The last byte proves more than the first for the same price: a blob that was cut off has none.
    async fn last_byte(&self, wish: Wish<'_>) -> Result<Answer, Failure> {
        let last = self.read_byte(wish, wish.size.saturating_sub(1)).await?;
        match last {
            // Shorter than its descriptor says: how long it is, the first byte's answer tells.
            ByteRead::Refused(_, RANGE_NOT_SATISFIABLE) => {
                Ok(self.read_byte(wish, 0).await?.answer())
            }
            // Gone, or only cut off? Asked once more, when it is about to count.
            ByteRead::Short if wish.is_fresh && wish.size > 1 => {
                Ok(match self.read_byte(wish, 0).await? {
                    ByteRead::Read { .. } => Answer::Short { read: 1 },
                    other => other.answer(),
                })
            }
            other => Ok(other.answer()),
        }
    }

    async fn read_byte(&self, wish: Wish<'_>, offset: u64) -> Result<ByteRead, Failure> {
        let get = byte(wish, offset);
        let response = match self.get(&get).await? {
            Ok(response) => response,
            Err((meaning, status)) => return Ok(ByteRead::Refused(meaning, status)),
        };
        let total = total_size(&response);
        let mut body = response.bytes_stream();
        loop {
            match body.next().await {
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(Ok(_)) => return Ok(ByteRead::Read { total }),
                None => return Ok(ByteRead::Short),
                Some(Err(error)) => {
                    return read_failure(error).map_or(Ok(ByteRead::Short), Err);
                }
            }
        }
    }

    async fn hash(&self, wish: Wish<'_>) -> Result<Answer, Failure> {
        let seconds = wish.size / BODY_BYTES_PER_SECOND;
        let limit = BODY_LEAST.saturating_add(Duration::from_secs(seconds));
        let get = Wanted {
            operation: Operation::BlobGet,
            is_fresh: wish.is_fresh,
            body_limit: Some(limit),
            ..of_blob(wish.auth, wish.repository, wish.digest, Method::GET)
        };
        let response = match self.get(&get).await? {
            Ok(response) => response,
            Err((meaning, status)) => return Ok(refused(&meaning, status)),
        };
        let mut hasher = Hasher::default();
        let mut read: u64 = 0;
        let mut body = response.bytes_stream();
        while let Some(bytes) = body.next().await {
            match bytes {
                Ok(bytes) => {
                    read += bytes.len() as u64;
                    hasher.update(&bytes);
                    // More than there is to it is something else, and may have no end.
                    if read > wish.size {
                        return Ok(Answer::WrongDigest);
                    }
                }
                Err(error) => {
                    return read_failure(error).map_or(Ok(Answer::Short { read }), Err);
                }
            }
        }
        if hasher.finish() != *wish.digest {
            return Ok(Answer::WrongDigest);
        }
        Ok(Answer::Blob { size: Some(read) })
    }
}

/// What came of reading one byte.
enum ByteRead {
    Read { total: Option<u64> },
    Short,
    Refused(Meaning, u16),
}

impl ByteRead {
    fn answer(self) -> Answer {
        match self {
            Self::Read { total } => Answer::Blob { size: total },
            Self::Short => Answer::Short { read: 0 },
            Self::Refused(meaning, status) => refused(&meaning, status),
        }
    }
}

fn byte(wish: Wish<'_>, offset: u64) -> Wanted<'_> {
    Wanted {
        operation: Operation::BlobRead,
        byte: Some(offset),
        is_fresh: wish.is_fresh,
        ..of_blob(wish.auth, wish.repository, wish.digest, Method::GET)
    }
}
