//! Retention: which tags may go. Decided by what is deployed, and not by what tags are called.
//!
//! Everything below is pure: a [`plan`] is a function of what a registry has ([`crate::gc::graph`]), of what is
//! needed of it ([`protection`]), of the configured policies ([`policy`]) and of the time. What is not known
//! keeps: a repository of which anything is unclear is left alone, and said.

pub mod class;
pub mod export;
pub mod listing;
pub mod pattern;
pub mod plan;
pub mod policy;
pub mod protection;
pub mod rehearsed;
pub mod removal;
