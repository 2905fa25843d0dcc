//! pullproof.

pub mod app;
pub mod baseline;
pub mod cli;
pub mod clock;
pub mod config;
pub mod credentials;
pub mod demo;
pub mod files;
pub mod http;
pub mod images;
pub mod inventory;
pub mod metrics;
pub mod oci;
pub mod prover;
pub mod registry;
pub mod state;
pub mod store;
pub mod telemetry;
pub mod verify;
pub mod view;
