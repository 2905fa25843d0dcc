//! A registry's storage as it is read, and what a collection does to it: in a bucket of a real S3 server,
//! by the library.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

pub(crate) mod between;
mod bucket;
mod copies;
mod deletions;
mod faults;
mod history;
mod lifecycle;
mod listing;
mod objects;
mod purges;
mod removals;
mod takes;
pub(crate) mod tree;
