//! A question to a bucket, and what a success brings.

use std::fmt;

use super::super::etag::Etag;
use super::super::history::VersionId;
use super::super::operation::Operation;
use crate::oci::digest::Digest;
use crate::second::Second;

/// What answers to all that has no content.
const SMALL_BYTES_MAX: u64 = 64 << 10;

/// Whether something may still be taken away: asked right before each request that does, also before one that is
/// put again.
#[derive(Clone, Copy)]
pub struct Fence<'a>(pub &'a (dyn Fn() -> bool + Sync));

impl Fence<'static> {
    pub const NONE: Self = Self(&|| true);
}

impl fmt::Debug for Fence<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Fence").finish_non_exhaustive()
    }
}

/// A question. What is not said is not asked.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Question<'a> {
    pub(in super::super) operation: Operation,
    /// The object's; empty for the bucket.
    pub(in super::super) key: &'a str,
    pub(in super::super) query: &'a [(&'a str, &'a str)],
    /// Besides those that every question has; names in lower case. They are signed.
    pub(in super::super) headers: &'a [(&'a str, &'a str)],
    pub(in super::super) body: &'a [u8],
    /// A longer answer is an error.
    pub(in super::super) most: u64,
    /// The answer may be of any length: it is hashed and not kept.
    pub(in super::super) is_hashed: bool,
    /// The codes that are an answer, and no failure.
    pub(in super::super) expected: &'a [&'static str],
    pub(in super::super) fence: Fence<'a>,
}

impl<'a> Question<'a> {
    /// Of this object, or of the bucket.
    pub(in super::super) fn new(operation: Operation, key: &'a str) -> Self {
        Self {
            operation,
            key,
            query: &[],
            headers: &[],
            body: b"",
            most: SMALL_BYTES_MAX,
            is_hashed: false,
            expected: &[],
            fence: Fence::NONE,
        }
    }
}

/// What a success brought.
#[derive(Debug)]
pub(in super::super) struct Success {
    /// `Content-Length`
    pub(in super::super) size: Option<u64>,
    pub(in super::super) etag: Option<Etag>,
    /// `x-amz-version-id`
    pub(in super::super) version: Option<VersionId>,
    /// `x-amz-delete-marker`
    pub(in super::super) is_marker: bool,
    /// `Last-Modified`
    pub(in super::super) modified: Option<Second>,
    /// Seconds between `Last-Modified` and `Date`, both by the server's clock.
    pub(in super::super) age: Option<i64>,
    /// Empty where it was hashed.
    pub(in super::super) body: Vec<u8>,
    /// Of the body, where that was asked for.
    pub(in super::super) digest: Option<Digest>,
}
