//! A registry's storage tree, as it is read: nothing here writes.

pub mod layout;
