//! `pullproof serve` over a real API server and real registries, seen from outside: metrics, health,
//! the API, the page, signals. Each test has a namespace of its own.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod certificates;
mod events;
pub(crate) mod faults;
mod killed;
mod life;
mod marks;
mod memory;
pub(crate) mod shop;
mod windows;
mod workloads;
