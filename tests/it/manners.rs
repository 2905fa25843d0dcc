//! How registries are treated: their quotas, their wish to be left alone, how much they bear at once.
//!
//! Scripted registries over real sockets, a clock whose hands the test turns, and rounds as the daemon
//! makes them. What is asserted is what the registry saw: how often it was asked, and for what.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod busy;
mod metrics;
mod pauses;
mod quota;
mod rounds;
pub(crate) mod scripted;
