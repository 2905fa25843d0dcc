//! A question to a bucket, and what a success brings.

use super::super::etag::Etag;
use super::super::history::VersionId;
use super::super::operation::Operation;
use crate::oci::digest::Digest;

/// What answers to all that has no content.
const SMALL_BYTES_MAX: u64 = 64 << 10;

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
    /// Empty where it was hashed.
    pub(in super::super) body: Vec<u8>,
    /// Of the body, where that was asked for.
    pub(in super::super) digest: Option<Digest>,
}
