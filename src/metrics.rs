//! Metrics: what Prometheus sees.
//!
//! Per-image samples are a function of one snapshot, made anew for each scrape: a workload that is
//! gone is gone from the next one. Counters of our own work live in `registry::stats`.

pub mod catalog;
mod collections;
pub mod collector;
pub mod compat;
pub mod exposition;
mod families;
pub mod process;
mod retention;
pub mod workloads;
