//! Collections carried out on real storage trees under real registries.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod desk;
mod killed;
mod meanwhile;
mod sequences;
mod served;
mod soak;
mod table;
mod wanted;
mod whole;
