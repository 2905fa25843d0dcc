//! The registry client: the read side of the OCI distribution-spec, for one host.
//!
//! It turns questions into requests and answers into facts, and knows nothing of verdicts. It never
//! writes to a registry: there is no method for it here.
//!
//! Invariants: credentials go to the registry's own host and its token realms only, never across a
//! redirect, and never from one identity to another's request; a body is bounded before it is read;
//! an error is never an absence; all clients of one host share what the host bears and allows ([`hosts`]).

pub mod address;
pub mod auth;
pub mod challenge;
pub mod client;
pub mod exchange;
pub mod fault;
pub mod hosts;
pub mod kind;
pub mod limiter;
mod link;
pub mod manifest_cache;
pub mod pause;
pub mod quota;
pub mod quotas;
pub mod retry;
mod slots;
pub mod stats;
mod traffic;
pub mod transport;
mod wire;
