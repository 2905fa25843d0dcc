//! What an operator accepted of a source that shrank: a file beside the daemon, which looks at it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::archive::{Archive, ArchiveError, Entry, Levels};
use crate::files;
use crate::inventory::completeness::Shrunk;
use crate::inventory::loss::Level;

/// In the state directory.
pub const FILE: &str = "accepted.json";
/// The oldest beyond it are forgotten.
const KEPT_MAX: usize = 1000;

/// Who accepted what, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptance {
    pub source: String,
    /// What was seen when it was accepted.
    pub shrunk: Shrunk,
    pub at: Timestamp,
    pub by: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Acceptances {
    schema: Schema,
    /// The oldest first.
    acceptances: Vec<Acceptance>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
enum Schema {
    #[default]
    #[serde(rename = "pullproof.dev/accepted/v1")]
    V1,
}

/// Why nothing was accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    #[error("{path}: {problem}; is the state directory the daemon's, and may it be written?")]
    File { path: PathBuf, problem: String },
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("there is no source {name}; {known}")]
    Unknown { name: String, known: String },
}

/// Accepts that a source shrank. `None`: it did not.
pub fn accept(
    directory: &Path,
    source: &str,
    by: &str,
    now: Timestamp,
) -> Result<Option<Acceptance>, AcceptError> {
    let levels = Archive::of(directory).levels()?;
    let entry = levels
        .sources
        .get(source)
        .ok_or_else(|| AcceptError::Unknown {
            name: source.to_owned(),
            known: known(&levels, directory),
        })?;
    let Some(shrunk) = shrunk(entry) else {
        return Ok(None);
    };
    let acceptance = Acceptance {
        source: source.to_owned(),
        shrunk,
        at: now,
        by: by.to_owned(),
    };
    let mut all = load(directory)?;
    all.acceptances.push(acceptance.clone());
    let too_many = all.acceptances.len().saturating_sub(KEPT_MAX);
    all.acceptances.drain(..too_many);
    let path = directory.join(FILE);
    let text = serde_json::to_vec_pretty(&all).expect("it is plain data");
    files::replace(&path, &text).map_err(|error| AcceptError::File {
        path,
        problem: error.to_string(),
    })?;
    Ok(Some(acceptance))
}

fn shrunk(entry: &Entry) -> Option<Shrunk> {
    let level = entry.level.as_ref();
    level.and_then(|level| level.shrunk(entry.references))
}

fn known(levels: &Levels, directory: &Path) -> String {
    if levels.sources.is_empty() {
        let directory = directory.display();
        return format!(
            "the daemon has not read any yet, or its state directory (state.directory) is not {directory}"
        );
    }
    let names: Vec<&str> = levels.sources.keys().map(String::as_str).collect();
    format!("known are: {}", names.join(", "))
}

fn load(directory: &Path) -> Result<Acceptances, AcceptError> {
    let path = directory.join(FILE);
    let problem = |problem: String| AcceptError::File {
        path: path.clone(),
        problem,
    };
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| problem(error.to_string())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Acceptances::default()),
        Err(error) => Err(problem(error.to_string())),
    }
}

/// The level of a source after what was accepted of it. Only what was accepted of just this loss counts.
pub fn accepted(
    directory: &Path,
    source: &str,
    level: &Level,
) -> Result<Option<(Level, Acceptance)>, AcceptError> {
    let Some(since) = level.shrunk_since else {
        return Ok(None);
    };
    let all = load(directory)?.acceptances;
    let is_of_it = |it: &&Acceptance| it.source == source && it.shrunk.since == since;
    Ok(all.iter().rev().find(is_of_it).map(|acceptance| {
        let level = Level {
            references: acceptance.shrunk.to,
            at: acceptance.at,
            shrunk_since: None,
        };
        (level, acceptance.clone())
    }))
}
