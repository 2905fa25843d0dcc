//! One image, or one object, whole: the tree below it with each object's state, who needs it and what is
//! lost if it goes. Pure: from what a round learnt to values that can be drawn and printed.
//!
//! The verdict is never made here. It is [`crate::verify::judge`]'s, and the tree only shows where its
//! findings are: an object about which nothing was learnt is `unknown` in the tree too.

pub mod described;
mod endpoints;
pub mod kept;
pub mod known;
pub mod referrer;
pub mod tree;
pub mod view;
