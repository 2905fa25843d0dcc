//! The words of the OCI distribution and image specifications, as types.
//!
//! Pure: nothing here reads time, network or disk. Whatever arrives from a registry or a
//! workload is hostile until one of these types has parsed it.

pub mod descriptor;
pub mod digest;
pub mod error_code;
pub mod manifest;
pub mod media_type;
pub mod platform;
pub mod reference;
pub mod referrer;
pub mod schema1;
