//! pullproof.

pub mod clock;
pub mod config;
pub mod credentials;
pub mod inventory;
pub mod oci;
