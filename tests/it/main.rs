//! The integration tests, one binary: real programs around the library and the daemon.

mod api;
mod boundaries;
mod cli;
mod collection;
mod credentials;
mod daemon;
mod dashboards;
mod deploy;
mod depth;
mod docs;
mod incident;
mod inventory;
mod manners;
mod metrics;
mod migration;
mod mirrors;
mod page;
mod paging;
mod parts;
mod plan;
mod retention;
mod rules;
mod shapes;
mod storage;
mod support;
mod truth;
