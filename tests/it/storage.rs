//! A registry's storage as it is read: from a bucket of a real S3 server, by the library.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

mod between;
mod faults;
mod listing;
mod tree;
