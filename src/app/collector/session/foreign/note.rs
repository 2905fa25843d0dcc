//! What is remembered of a collector that is under way.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::Named;

/// A run of somebody else's collector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub run: String,
    /// Of all that it starts on this machine: runs of two storages may be called the same.
    pub mark: String,
    pub since: Timestamp,
    /// When it is ended by whoever started it.
    pub until: Timestamp,
    /// Which start of which machine it was started on.
    pub machine: String,
    pub undo: String,
    /// How it is found again.
    pub by: By,
    /// Whether it has ended, and what is kept is still to be proven.
    pub has_ended: bool,
}

/// How a collector is found again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum By {
    /// By the run in the environment of its processes.
    Command,
    /// By its name, which says of which run it is.
    KubernetesJob(Named),
    /// By its number, once that is known: it is after this one then.
    Harbor { id: Option<i64>, before: i64 },
}

impl By {
    /// As the configuration has it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::KubernetesJob(_) => "kubernetesJob",
            Self::Harbor { .. } => "harbor",
        }
    }
}
