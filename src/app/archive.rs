//! The last complete state of each source, and with what it is compared, in files of the state directory.
//!
//! A state is written whole and renamed. What is damaged is said, and counts as never read: then its
//! source is incomplete until it was read again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::sources::Wanted;
use crate::files;
use crate::inventory::loss::Level;
use crate::inventory::stored::{self, ReadFrom, StoredError};
use crate::inventory::{SourceState, nodes};
use crate::oci::digest::Digest;

/// Below the state directory.
const FOLDER: &str = "sources";
const LEVELS: &str = "levels.json";

/// What is known of all sources besides their states.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Levels {
    schema: Schema,
    pub sources: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Schema {
    #[default]
    #[serde(rename = "pullproof.dev/sources/v1")]
    V1,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub level: Option<Level>,
    /// Distinct references of the last complete state.
    pub references: usize,
    /// The state that is on the disk, and when it was last true.
    pub content: Option<Digest>,
    pub complete_at: Option<Timestamp>,
    /// The platforms that nodes had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<nodes::Seen>,
}

/// Why the archive cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct ArchiveError {
    path: PathBuf,
    problem: String,
}

impl ArchiveError {
    fn of(path: &Path, problem: &dyn ToString) -> Self {
        Self {
            path: path.to_owned(),
            problem: problem.to_string(),
        }
    }
}

/// The archive of a state directory.
#[derive(Debug, Clone)]
pub struct Archive {
    folder: PathBuf,
}

impl Archive {
    pub fn of(state_directory: &Path) -> Self {
        Self {
            folder: state_directory.join(FOLDER),
        }
    }

    /// None were written yet: that is an empty one.
    pub fn levels(&self) -> Result<Levels, ArchiveError> {
        let path = self.folder.join(LEVELS);
        match fs::read(&path) {
            Ok(text) => {
                serde_json::from_slice(&text).map_err(|error| ArchiveError::of(&path, &error))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Levels::default()),
            Err(error) => Err(ArchiveError::of(&path, &error)),
        }
    }

    pub fn save_levels(&self, levels: &Levels) -> Result<(), ArchiveError> {
        let path = self.folder.join(LEVELS);
        let text = serde_json::to_vec_pretty(levels).expect("it is plain data");
        let written = fs::create_dir_all(&self.folder).and_then(|()| files::replace(&path, &text));
        written.map_err(|error| ArchiveError::of(&path, &error))
    }

    /// Writes the complete state of a source.
    pub fn save(&self, state: &SourceState, from: &ReadFrom) -> Result<Digest, ArchiveError> {
        let path = self.path(&state.name);
        let mut content = Digest::default();
        let written = fs::create_dir_all(&self.folder).and_then(|()| {
            files::replace_with(&path, |file| {
                content = stored::write(state, from, file)?;
                Ok(())
            })
        });
        written.map_err(|error| ArchiveError::of(&path, &error))?;
        Ok(content)
    }

    /// The last complete state of a source, if there is one of just this source.
    pub fn read(&self, wanted: &Wanted, levels: &Levels) -> Option<SourceState> {
        let name = wanted.name();
        let path = self.path(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                warn!(source = name, %error, "its last complete state cannot be read");
                return None;
            }
        };
        let mut file = BufReader::new(file);
        match stored::read(name, &wanted.read_from(), wanted.class(), &mut file) {
            Ok((state, content)) => {
                let entry = levels.sources.get(name);
                let later = entry
                    .filter(|entry| entry.content == Some(content))
                    .and_then(|entry| entry.complete_at);
                Some(SourceState {
                    // What does not stand in was never true of what is wanted now.
                    complete_at: state
                        .complete_at
                        .map(|at| later.map_or(at, |later| at.max(later))),
                    ..state
                })
            }
            // Under the same name something else is read now.
            Err(StoredError::Other(_)) => None,
            Err(error) => {
                let file = path.display();
                warn!(source = name, %error, %file, "its last complete state cannot be used");
                None
            }
        }
    }

    /// Removes what is of none of these sources.
    pub fn keep_only<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let kept: Vec<PathBuf> = names.map(|name| self.path(name)).collect();
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let is_state = path.extension().is_some_and(|it| it == "jsonl");
            if is_state && !kept.contains(&path) {
                // One that stays is only a file too many.
                drop(fs::remove_file(path));
            }
        }
    }

    /// A name may hold anything, so the file has its digest's.
    fn path(&self, name: &str) -> PathBuf {
        let mut hex = Digest::of(name.as_bytes()).hex();
        hex.truncate(16);
        self.folder.join(format!("{hex}.jsonl"))
    }
}
