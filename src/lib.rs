//! pullproof.

pub mod clock;
pub mod credentials;
pub mod demo;
pub mod inventory;
pub mod oci;
