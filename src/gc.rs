//! What of a registry's storage nobody needs, and when it may be taken. Pure, and linear in what is stored.

pub mod graph;
pub mod mark;
pub mod needed;
pub mod plan;
pub mod refusal;
pub mod why;
pub mod window;
