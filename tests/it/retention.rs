//! Which tags may go, and how they go, on real registries.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

pub(crate) mod apply;
mod gateway;
mod incident;
mod killed;
mod listing;
mod meanwhile;
mod sample;
mod served;
mod shop;
