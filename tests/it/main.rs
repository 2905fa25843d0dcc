//! The integration tests, one binary: real programs around the library and the daemon.

mod boundaries;
mod cli;
mod collection;
mod credentials;
mod daemon;
mod dashboards;
mod depth;
mod incident;
mod inventory;
mod manners;
mod mirrors;
mod page;
mod parts;
mod plan;
mod readme;
mod rules;
mod shapes;
mod storage;
mod support;
mod truth;
