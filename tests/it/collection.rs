//! Collections carried out on real storage trees under real registries.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod asked;
mod bucket;
mod chosen;
mod contested;
pub(crate) mod desk;
mod executor;
pub(crate) mod job;
mod killed;
mod kubelet;
mod lease;
mod managed;
mod meanwhile;
mod readonly;
mod recalled;
mod redis;
mod sequences;
mod served;
mod service;
mod settle;
mod soak;
pub(crate) mod started;
mod table;
mod vanished;
mod wanted;
mod whole;
