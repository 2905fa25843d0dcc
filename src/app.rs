//! The composition root: builds the parts, runs them, and stops them in order.
//!
//! Every task is spawned here, has an owner that awaits it, and ends when it is told to.

pub mod apart;
pub mod explain;
pub mod keeper;
pub mod once;
pub mod pipeline;
pub mod registries;
pub mod reload;
pub mod serve;
pub mod sources;
