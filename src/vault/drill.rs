//! The canary that goes the way of all that is taken, and comes back.

use std::fmt::Display;

use crate::collection::item::{Class, Item, RunId};
use crate::collection::run::Outcome;
use crate::oci::digest::Digest;
use crate::second::Second;

/// Notes the canary of a drill that is under way.
pub(super) const NOTE: &str = "drill";

/// A blob of our own, in a run that is nobody's: its epoch is 0.
pub(super) struct Canary {
    pub(super) run: RunId,
    pub(super) item: Item,
    pub(super) content: String,
}

impl Canary {
    pub(super) fn new(now: Second) -> Self {
        let content = format!(
            "a canary of pullproof, {now}, process {}",
            std::process::id()
        );
        let item = Item {
            class: Class::Blob,
            digest: Digest::of(content.as_bytes()),
            repository: None,
            tag: None,
            bytes: content.len() as u64,
            modified: None,
            version: None,
            reason: "drill".to_owned(),
        };
        let run = RunId {
            began: now,
            epoch: 0,
        };
        Self { run, item, content }
    }

    /// Whether what came back is it.
    pub(super) fn came_back(&self, read: Option<&[u8]>) -> Result<(), String> {
        if read == Some(self.content.as_bytes()) {
            Ok(())
        } else {
            Err("what came back is not what was taken".to_owned())
        }
    }
}

/// What did not work, and why.
pub(super) fn failed<E: Display>(what: &str) -> impl Fn(E) -> String {
    move |error| format!("{what}: {error}")
}

/// Whether a step ended as it was to.
pub(super) fn expect<E: Display>(
    what: &str,
    found: Result<Outcome, E>,
    wanted: Outcome,
) -> Result<(), String> {
    match found {
        Ok(found) if found == wanted => Ok(()),
        Ok(found) => Err(format!("{what}: it is {found:?}, not {wanted:?}")),
        Err(error) => Err(failed(what)(error)),
    }
}
