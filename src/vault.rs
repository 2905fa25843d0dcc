//! What a collection does to a registry's storage: takes, puts back, purges, and remembers beside it.
//!
//! All of it lies below `pullproof/` in the registry's `rootdirectory`, where the registry never looks:
//!
//! ```text
//! pullproof/lock                                     who collects, and the how manieth it is
//! pullproof/journal/RUN.jsonl                        what was done, and what was about to be
//! pullproof/quarantine/RUN/docker/registry/v2/…      what was taken, each where it was
//! pullproof/pause, pullproof/stop                    an operator's marks
//! ```
//!
//! Nothing here decides. What takes or purges asks for a permit, which only the gate makes.

mod filesystem;

pub use filesystem::{Lock, LockError, Moved, Vault};

/// Of all that pullproof keeps in a storage.
pub const OWN: &str = "pullproof";

/// Where the items of a run are held, below the registry's `rootdirectory`.
pub fn quarantine(run: crate::collection::item::RunId) -> String {
    format!("{OWN}/quarantine/{run}")
}

/// Where a run is remembered.
pub fn journal(run: crate::collection::item::RunId) -> String {
    format!("{OWN}/journal/{run}.jsonl")
}
