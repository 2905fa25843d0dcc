//! A registry's storage tree, as it is read: nothing here writes.

use std::sync::Arc;

use crate::oci::digest::Digest;
use crate::second::Second;

pub mod filesystem;
pub mod layout;
mod pool;
pub mod s3;

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
    pub source: std::io::Error,
}
