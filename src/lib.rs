//! pullproof.

pub mod clock;
pub mod credentials;
pub mod inventory;
pub mod oci;
pub mod registry;
pub mod verify;
