//! The composition root: builds the parts, runs them, and stops them in order.
//!
//! Every task is spawned here, has an owner that awaits it, and ends when it is told to.

pub mod acceptance;
pub mod apart;
pub mod archive;
pub mod beside;
pub mod collecting;
pub mod collector;
pub mod custody;
pub mod events;
pub mod executor;
pub mod explain;
pub mod keeper;
pub mod keepset;
pub mod kept;
pub mod kind;
pub mod ledger;
pub mod once;
pub mod pipeline;
pub mod plan;
pub mod planner;
mod quiet;
pub mod recollection;
pub mod registries;
pub mod reload;
pub mod retaining;
pub mod retention;
pub mod serve;
pub mod sources;
pub mod tags;
pub mod windows;
