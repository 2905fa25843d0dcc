//! The demo's world, made from nothing: a storage tree, a registry that serves it, and workloads.
//!
//! Everything is written by the caller's wish below a directory that the caller gives, and all of it
//! is the same on every machine: no time, no randomness, no network.

pub mod corpus;
mod documents;
mod layout;
pub mod registry;
pub mod scene;
mod tar;
pub mod tree;
