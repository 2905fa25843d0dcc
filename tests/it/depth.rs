//! How far is read: registries whose HEAD lies, found by reading a byte or all of it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod lies;
mod redirects;
mod rotation;
mod scene;
