//! Verification: from references to verdicts.
//!
//! [`round::Round`] is a machine without input or output: it says what to ask and is told the
//! answers. [`judge`] reads the table of objects that the machine filled and gives each image its
//! verdict. [`engine`] is the pump between the machine and a registry.
//!
//! Invariants: `broken` needs a positive fact that was confirmed; whatever is not proof is `unknown`;
//! an object is asked for once a round however many images share it.

pub mod change;
pub mod depth;
pub mod engine;
pub mod finding;
mod index;
pub mod judge;
pub mod node;
pub mod nodes;
pub mod objects;
pub mod question;
pub mod round;
mod shared;
mod shorts;
pub mod suspects;
pub mod table;
pub mod target;
mod unanswered;
