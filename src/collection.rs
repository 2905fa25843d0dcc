//! The collection: what is garbage goes to a quarantine, what is needed comes back, and what nobody wanted
//! for long enough is purged.
//!
//! [`step`](machine::step) decides each step: it takes what happened and says what to do next, and knows no
//! disk, network or clock. The same function runs in production, in the model checker and in the tests over
//! real storages. What it wants remembered is written and synced before what it stands for is done
//! ([`journal`]), so that whoever is killed anywhere goes on from there.

pub mod compared;
pub mod conflicts;
pub mod expiry;
pub mod foreign;
pub mod gate;
pub mod guard;
pub mod item;
pub mod jobs;
pub mod journal;
pub mod lease;
pub mod machine;
pub mod occasion;
pub mod pace;
pub mod proven;
pub mod rehearsed;
pub mod replicas;
pub mod rollout;
pub mod run;
pub mod select;
pub mod vanished;
