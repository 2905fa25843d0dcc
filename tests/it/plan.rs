//! `gc plan` against the registries' own collectors, over trees that they read: what each of them loses or
//! leaves, and that the plan keeps all that must stay and finds all that may go.
//!
//! What a collector does is asserted as it was measured, so that a newer one which does better is noticed.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod bytes;
mod case;
pub(crate) mod checker;
mod daemon;
mod kind;
mod links;
mod manifests;
mod odd;
mod openat;
mod ours;
mod partial;
pub(crate) mod paths;
pub(crate) mod peers;
mod pushed;
mod roots;
mod rows;
pub(crate) mod scenes;
pub(crate) mod served;
mod shared;
mod store;
mod symlinks;
pub(crate) mod tree;
mod why;
