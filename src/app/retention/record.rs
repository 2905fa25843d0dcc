//! What is remembered between plans: since when each tag is in every one of them, and when it was seen first.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Planned;
use crate::config::Registry;
use crate::gc::refusal::{Code, Refusal};
use crate::retention::rehearsed::{FirstSeen, Rehearsed};
use crate::retention::removal::Batch;
use crate::vault::Vault;

/// Since when each tag was planned, and seen.
const PLANNED: &str = "tags.json";
/// The number of the last batch of tags that were deleted. Apart from what plans write: they are made by whoever
/// plans, and this only by whoever has the lock.
const LAST: &str = "tags-last";

/// What is remembered of a registry's tags.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Remembered {
    pub rehearsed: Rehearsed,
    pub first_seen: FirstSeen,
}

/// Reads it; nothing is remembered where nothing was written.
pub fn read(vault: Option<&Vault>) -> Result<Remembered, Refusal> {
    let text = vault.map_or(Ok(None), |vault| vault.read(PLANNED));
    let problem = |error: &dyn std::fmt::Display| {
        let message = format!(
            "pullproof/{PLANNED} cannot be read: {error}: since when tags are planned is not known; put it right, or \
             remove the file and wait for `retention.rehearsal` again"
        );
        Refusal::new(Code::Rehearsal, message)
    };
    let text = text.map_err(|error| problem(&error))?;
    let parsed = text.map(|text| serde_json::from_slice(&text));
    let parsed = parsed.transpose().map_err(|error| problem(&error))?;
    Ok(parsed.unwrap_or_default())
}

/// With a plan of now.
pub fn with(before: &Remembered, planned: &Planned, registry: &Registry) -> Remembered {
    let policies = &registry.retention.policies;
    let first_seen = planned.first_seen.clone();
    Remembered {
        rehearsed: before.rehearsed.with(&planned.plan, policies, planned.at),
        first_seen: first_seen.unwrap_or_default(),
    }
}

/// Writes it.
pub fn write(vault: &Vault, remembered: &Remembered) -> Result<(), Refusal> {
    let text = serde_json::to_vec(remembered).expect("it is text and numbers");
    vault.write(PLANNED, &text).map_err(|error| {
        let message = format!("pullproof/{PLANNED} cannot be written: {error}");
        Refusal::new(Code::Rehearsal, message)
    })
}

/// How many tags of a plan are in every plan for long enough.
pub fn due(
    remembered: &Remembered,
    planned: &Planned,
    registry: &Registry,
    now: Timestamp,
) -> usize {
    let long = registry.retention.rehearsal;
    let going = planned.plan.going.iter();
    let rehearsed = &remembered.rehearsed;
    going
        .filter(|it| rehearsed.is_due(&it.repository, &it.tag, long, now))
        .count()
}

fn name(batch: u32) -> String {
    format!("tags-{batch:06}.json")
}

/// The number of the last batch; 0 where there is none. No file of a batch has a higher one.
fn last_batch(vault: &Vault) -> Result<u32, String> {
    let problem = |problem: &dyn std::fmt::Display| {
        format!(
            "pullproof/{LAST} cannot be read: {problem}; write the number of the last pullproof/tags-*.json into it"
        )
    };
    let text = vault.read(LAST).map_err(|error| problem(&error))?;
    let text = text.map(|text| String::from_utf8_lossy(&text).trim().to_owned());
    let mut last = match text {
        None => 0,
        Some(text) => text.parse::<u32>().map_err(|error| problem(&error))?,
    };
    // Whoever was killed may not have counted its last one.
    while vault
        .has(&name(last + 1))
        .map_err(|error| problem(&error))?
    {
        last += 1;
    }
    Ok(last)
}

/// Writes down a batch of tags before they are deleted; the result is its number. Nothing is overwritten.
pub fn begin_batch(vault: &Vault, batch: &Batch) -> Result<u32, String> {
    let number = last_batch(vault)? + 1;
    write_batch(vault, number, batch)?;
    let counted = vault.write(LAST, number.to_string().as_bytes());
    counted.map_err(|error| format!("pullproof/{LAST} cannot be written: {error}"))?;
    Ok(number)
}

/// Writes what came of a batch.
pub fn write_batch(vault: &Vault, number: u32, batch: &Batch) -> Result<(), String> {
    let name = name(number);
    let text = serde_json::to_vec_pretty(batch).expect("it is text");
    let written = vault.write(&name, &text);
    written.map_err(|error| format!("pullproof/{name} cannot be written: {error}"))
}

/// The newest batch in which a tag was deleted, with its number; `None` where it was in none.
pub fn find(vault: &Vault, repository: &str, tag: &str) -> Result<Option<(u32, Batch)>, String> {
    for number in (1..=last_batch(vault)?).rev() {
        let name = name(number);
        let text = vault.read(&name);
        let text = text.map_err(|error| format!("pullproof/{name} cannot be read: {error}"))?;
        // What an operator removed is not looked for.
        let Some(text) = text else { continue };
        let batch: Batch = serde_json::from_slice(&text)
            .map_err(|error| format!("pullproof/{name} cannot be read: {error}"))?;
        if batch.find(repository, tag).is_some() {
            return Ok(Some((number, batch)));
        }
    }
    Ok(None)
}
