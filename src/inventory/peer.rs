//! Another pullproof as a source: what it reads at first hand, instead of a kubeconfig.
//!
//! It is asked for its keep-set (`/api/v1/keepset?firstHand=true`) with who uses what. What a daemon has
//! from its own peers it tells nobody as a peer, and what another only remembers counts here as named by
//! nobody: so two that are each other's peers give nothing back, and forget what is gone. Complete or
//! nothing, as for any source; and how old it is, is told by the clock of the one who read it.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::SourceState;
use crate::oci::digest::Digest;
use crate::oci::reference::Reference;

mod answer;
mod client;
mod judge;
pub mod told;

pub use self::client::Reader;

/// Where another pullproof is, and who we are to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerOptions {
    /// The source's.
    pub name: String,
    /// Of its page, without a slash at the end.
    pub url: String,
    /// Whether it is on this machine, and so behind no proxy.
    pub is_local: bool,
    /// PEM; trusted besides the system's.
    pub ca: Option<PathBuf>,
    /// A file with the token that it knows.
    pub token: PathBuf,
    /// How old what it says may be.
    pub max_age: SignedDuration,
}

/// Who said what is held of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub daemon: Digest,
    pub configuration: Digest,
    pub sequence: u64,
    /// What it said, without when.
    pub content: Digest,
}

/// What another pullproof said besides its uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// `None` before it was read.
    pub mark: Option<Mark>,
    /// What it keeps of each reference: what that pins, led to and runs.
    pub digests: Digests,
}

pub type Digests = Arc<[(Reference, Box<[Digest]>)]>;

/// A peer that was not read yet.
pub fn unread(name: &str) -> SourceState {
    SourceState {
        peer: Some(Arc::default()),
        ..SourceState::unread(name)
    }
}

#[cfg(test)]
mod tests;
