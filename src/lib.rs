//! pullproof.

pub mod baseline;
pub mod clock;
pub mod credentials;
pub mod files;
pub mod images;
pub mod inventory;
pub mod oci;
pub mod registry;
pub mod store;
pub mod verify;
