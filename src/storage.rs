//! A registry's storage tree, as it is read. What changes it is the vault's, and what a bucket can do for that.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use futures::{StreamExt as _, TryStreamExt as _, stream};

use self::filesystem::Filesystem;
use self::s3::S3;
use crate::oci::digest::Digest;
use crate::second::Second;

pub mod filesystem;
pub mod layout;
pub mod owner;
mod pool;
pub mod s3;

/// A blob that somebody looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// In bytes.
    pub size: u64,
    /// Seconds since it was written, both by the storage's own clock, and what is not a whole second is not told;
    /// `None` where that is not known.
    pub age: Option<i64>,
}

/// What a listing found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listed {
    Blob {
        digest: Digest,
        size: u64,
        modified: Option<Second>,
    },
    Layer {
        repository: Arc<str>,
        digest: Digest,
        modified: Option<Second>,
    },
    Revision {
        repository: Arc<str>,
        digest: Digest,
        modified: Option<Second>,
    },
    /// `current` is `None` for a tag without it: its push has not ended, or died.
    Tag {
        repository: Arc<str>,
        tag: Arc<str>,
        current: Option<Digest>,
    },
    TagHistory {
        repository: Arc<str>,
        tag: Arc<str>,
        digest: Digest,
        modified: Option<Second>,
    },
    /// A push that has not ended; `None` where it does not say since when.
    Upload {
        repository: Arc<str>,
        since: Option<Second>,
    },
    /// What could not be understood, of a repository or of none.
    Damage {
        repository: Option<Arc<str>>,
        /// Below the root.
        path: String,
        problem: String,
    },
}

/// Why there is no listing. A part of one is none: what it lacks would be taken for garbage.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be listed: {source}")]
pub struct Unlisted {
    /// Below the root.
    pub path: String,
    #[source]
    pub source: io::Error,
}

/// A storage, wherever it is. What it does blocks: it is for a thread of its own.
#[derive(Debug)]
pub enum Storage {
    Filesystem(Filesystem),
    S3(Box<S3>, tokio::runtime::Handle),
}

/// How far something is; whoever shows it reads it from another thread.
#[derive(Debug, Default)]
pub struct Progress {
    /// Entries that were listed.
    pub listed: AtomicUsize,
    /// Manifests that were read, and how many there are as far as is known.
    pub read: AtomicUsize,
    pub to_read: AtomicUsize,
}

impl Storage {
    /// Gives all that is there to `take`, in parts and in no order; after an error it was not all.
    pub fn list(&self, take: &(dyn Fn(Vec<Listed>) + Sync)) -> Result<(), Unlisted> {
        match self {
            Self::Filesystem(filesystem) => filesystem.list(threads(), take),
            Self::S3(s3, runtime) => runtime.block_on(s3.list(take)),
        }
    }

    /// Reads blobs of at most so many bytes, several at a time, and gives each to `take`; the results are
    /// in the order of the digests.
    pub fn read_each<T: Send>(
        &self,
        digests: &[Digest],
        most: u64,
        take: impl Fn(usize, io::Result<Vec<u8>>) -> T + Sync,
    ) -> Vec<T> {
        match self {
            Self::Filesystem(filesystem) => {
                let read = |at: usize| {
                    let digest = digests.get(at).expect("it is one of them");
                    take(at, filesystem.read(digest, most))
                };
                pool::each(threads(), digests.len(), read)
            }
            Self::S3(s3, runtime) => runtime.block_on(async {
                let read = async |(at, digest): (usize, &Digest)| {
                    let body = s3.read(digest, most).await;
                    take(at, body)
                };
                let all = stream::iter(digests.iter().enumerate()).map(read);
                all.buffered(s3.max_concurrency()).collect().await
            }),
        }
    }

    /// Each blob, by a look at it alone; `None` where it is not there.
    pub fn look(&self, digests: &[Digest]) -> io::Result<Vec<Option<Seen>>> {
        match self {
            Self::Filesystem(filesystem) => {
                let seen = digests.iter().map(|digest| filesystem.blob(digest));
                seen.collect()
            }
            Self::S3(s3, runtime) => runtime.block_on(async {
                let all = stream::iter(digests).map(|digest| s3.blob(digest));
                all.buffered(s3.max_concurrency()).try_collect().await
            }),
        }
    }

    /// Bytes that are free where it is, if that can be known.
    pub fn free_bytes(&self) -> Option<u64> {
        match self {
            Self::Filesystem(filesystem) => filesystem.free_bytes(),
            Self::S3(..) => None,
        }
    }

    /// Whether there is such a file below the registry's `rootdirectory`.
    pub fn has(&self, path: &str) -> io::Result<bool> {
        match self {
            Self::Filesystem(filesystem) => filesystem.has(path),
            Self::S3(s3, runtime) => runtime.block_on(s3.has(path)),
        }
    }
}

/// `REPOSITORY: PATH: PROBLEM` of all damage.
#[cfg(test)]
fn problems<'a>(listed: impl IntoIterator<Item = &'a Listed>) -> Vec<String> {
    let problems = listed.into_iter().filter_map(|listed| match listed {
        Listed::Damage {
            repository,
            path,
            problem,
        } => Some(format!(
            "{}: {path}: {problem}",
            repository.as_deref().unwrap_or_default()
        )),
        _ => None,
    });
    problems.collect()
}

/// Most of the time goes into calls that wait for a disk.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, NonZeroUsize::get) * 2
}
