//! What a bucket with versions holds of a key: all its versions and delete markers. Pure.

use std::fmt;

use super::etag::Etag;
use crate::second::Second;

mod chain;
mod page;

pub(super) use chain::Chain;
pub(super) use page::{Page, read};

/// The name of one version of an object, or of a delete marker: opaque, and `null` for what was written
/// while the bucket had no versions.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VersionId(Box<str>);

impl VersionId {
    /// `None` where it is none: without one a deletion would be another deletion.
    pub fn new(text: &str) -> Option<Self> {
        let is_one = !text.is_empty()
            && text.len() <= 1024
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_one.then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the current version is this one, of which a server says that. Some say nothing of one that
    /// was written while the bucket had no versions.
    pub(super) fn is_told_by(&self, current: Option<&Self>) -> bool {
        current.map_or("null", Self::as_str) == self.as_str()
    }
}

impl fmt::Debug for VersionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A version of an object, or a delete marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub id: VersionId,
    /// Whether it is what the key is now.
    pub is_latest: bool,
    /// As the server tells it; of several parts S3 tells when the first of them began.
    pub modified: Option<Second>,
    /// `None` for a delete marker.
    pub content: Option<Content>,
}

impl Version {
    pub fn is_marker(&self) -> bool {
        self.content.is_none()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    pub size: u64,
    pub etag: Option<Etag>,
}

/// All that there is of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Below the `rootdirectory`.
    pub path: String,
    /// Newest first; never empty. Where a server tells versions and markers apart (versitygw), their order
    /// among each other is by the times that it tells: only of the first, and of versions among
    /// themselves, it is certain.
    pub versions: Vec<Version>,
}

impl History {
    /// What the key is now.
    pub fn latest(&self) -> Option<&Version> {
        self.versions.first()
    }

    /// The newest that is no marker: what the key is once the markers above it are gone.
    pub fn newest_content(&self) -> Option<&Version> {
        self.versions.iter().find(|version| !version.is_marker())
    }

    /// The version of this name, if it is there and no marker.
    pub fn content(&self, id: &VersionId) -> Option<&Version> {
        let mut versions = self.versions.iter();
        versions.find(|version| version.id == *id && !version.is_marker())
    }
}
