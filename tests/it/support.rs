//! What the integration tests stand on: the real programs, each started on a port of its own with
//! its state in a temporary directory, and stopped when its value is dropped.
//!
//! A test begins with `require!("crane", …)`, which skips loudly at a desk where a part is missing
//! and fails in CI. Nothing here sleeps for a fixed time: `wait_until` polls a condition up to a
//! bound, and shows the log of the program that was waited for when the bound is passed.

#![expect(clippy::indexing_slicing, reason = "a panic is how a test fails")]

pub(crate) mod alertmanager;
pub(crate) mod between;
pub(crate) mod browser;
pub(crate) mod certificates;
pub(crate) mod clients;
pub(crate) mod cluster;
pub(crate) mod daemon;
pub(crate) mod demo;
pub(crate) mod http;
pub(crate) mod images;
pub(crate) mod pager;
pub(crate) mod parts;
pub(crate) mod process;
pub(crate) mod prometheus;
pub(crate) mod pull;
pub(crate) mod redis;
pub(crate) mod registry;
pub(crate) mod s3;
pub(crate) mod scripted;
pub(crate) mod server;
pub(crate) mod tap;
pub(crate) mod tokens;
pub(crate) mod toxiproxy;
pub(crate) mod wait;
pub(crate) mod watchdog;
