//! The inventory against real API servers: what is found, and what is said when it cannot be.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod aliases;
mod complete;
mod custom;
mod drift;
mod events;
mod following;
mod keepset;
mod kinds;
mod kubelet;
mod ledger;
mod lists;
mod mentions;
mod peers;
pub(crate) mod pods;
mod releases;
mod rights;
mod rights_lost;
mod scale;
mod stale;
mod untagged;
mod watches;
mod who;
