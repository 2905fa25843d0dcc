//! What is remembered beside the journal, in files of JSON.

use std::fmt::Display;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::collection::rehearsed::Rehearsed;
use crate::gc::plan::Plan;
use crate::gc::refusal::{Code, Refusal};
use crate::vault::Vault;

/// Since when each thing was planned.
const PLANNED: &str = "planned.json";

/// What a file says; `None` where there is none.
pub(super) fn read<T: DeserializeOwned>(vault: &Vault, name: &str) -> Result<Option<T>, String> {
    let problem = |error: &dyn Display| format!("pullproof/{name} cannot be read: {error}");
    let text = vault.read(name).map_err(|error| problem(&error))?;
    let parsed = text.map(|text| serde_json::from_slice(&text));
    parsed.transpose().map_err(|error| problem(&error))
}

pub(super) fn write<T: Serialize>(vault: &Vault, name: &str, what: &T) -> Result<(), String> {
    let text = serde_json::to_vec(what).expect("it is text and numbers");
    let written = vault.write(name, &text);
    written.map_err(|error| format!("pullproof/{name} cannot be written: {error}"))
}

/// Since when each row was in every plan, this one included, which is remembered. `host` is the storage's.
pub(super) fn rehearse(
    vault: &Vault,
    host: &str,
    plan: &Plan,
    now: Timestamp,
) -> Result<Rehearsed, Refusal> {
    let refused = |problem: String| {
        let message = format!(
            "{problem}: what was planned before is not known; put it right, or remove the file and wait for \
             `gc.rehearsal` again"
        );
        Refusal::new(Code::Rehearsal, message)
    };
    let before: Option<Rehearsed> = read(vault, PLANNED).map_err(refused)?;
    let after = before
        .unwrap_or_default()
        .with(&plan.id(host), plan.garbage(), now.into());
    write(vault, PLANNED, &after).map_err(refused)?;
    Ok(after)
}
