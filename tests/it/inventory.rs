//! The inventory against real API servers: what is found, and what is said when it cannot be.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod custom;
mod following;
mod lists;
mod mentions;
mod releases;
mod rights;
mod rights_lost;
mod scale;
mod stale;
mod watches;
