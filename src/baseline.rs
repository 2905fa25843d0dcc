//! The baseline: what was broken before pullproof came. Known, listed, a warning, never critical.
//!
//! It is made by itself once, so that the first day with a registry that was damaged for years is not
//! a hundred pages; and never again, so that nothing that breaks later can hide in it. An image that
//! was ever proven is never known. None of it takes anything from the keep-set.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The file in the state directory.
pub const FILE: &str = "baseline.json";

/// Images, by canonical reference, that were broken when the baseline was made or accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    pub schema: Schema,
    pub made_at: Option<Timestamp>,
    pub images: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Schema {
    #[default]
    #[serde(rename = "pullproof.dev/baseline/v1")]
    V1,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub since: Timestamp,
    /// Who looks after it.
    #[serde(default)]
    pub owner: Option<String>,
    /// From then on it is an ordinary breakage.
    #[serde(default)]
    pub until: Option<Timestamp>,
}

impl Baseline {
    pub fn knows(&self, reference: &str, now: Timestamp) -> bool {
        self.images
            .get(reference)
            .is_some_and(|entry| entry.until.is_none_or(|until| now < until))
    }

    /// Takes what is broken now and was never proven. Entries that stand keep their owner and dates.
    pub fn accept<'a>(&mut self, broken: impl Iterator<Item = &'a str>, now: Timestamp) {
        for reference in broken {
            let entry = Entry {
                since: now,
                owner: None,
                until: None,
            };
            self.images.entry(reference.to_owned()).or_insert(entry);
        }
        self.made_at.get_or_insert(now);
    }
}

/// Why the file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    #[error("{path}: {source}; without it, everything broken counts as new")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "{path}: it is not a baseline: {source}; mend it or remove it with `pullproof baseline clear`"
    )]
    Invalid {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("{path}: {source}; is the state directory writable?")]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
}

/// Reads the baseline of a state directory; `None` if there never was one.
pub fn load(directory: &Path) -> Result<Option<Baseline>, BaselineError> {
    let path = directory.join(FILE);
    match std::fs::read(&path) {
        Ok(content) => serde_json::from_slice(&content)
            .map(Some)
            .map_err(|source| BaselineError::Invalid { path, source }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(BaselineError::Read { path, source }),
    }
}

/// Writes it whole: a crash leaves the old one or the new one.
pub fn save(directory: &Path, baseline: &Baseline) -> Result<(), BaselineError> {
    let path = directory.join(FILE);
    let content = serde_json::to_vec_pretty(baseline).expect("a baseline is plain data");
    crate::files::replace(&path, &content).map_err(|source| BaselineError::Write { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepting_again_keeps_what_stands_and_an_end_date_ends_it() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut baseline = Baseline::default();
        baseline.accept(["a", "b"].into_iter(), at(1));
        baseline.images.get_mut("a").unwrap().until = Some(at(10));
        baseline.accept(["a", "c"].into_iter(), at(5));
        assert_eq!(baseline.images["a"].since, at(1));
        assert_eq!(baseline.images["c"].since, at(5));
        assert!(
            baseline.knows("a", at(9))
                && !baseline.knows("a", at(10))
                && !baseline.knows("d", at(1))
        );
    }

    #[test]
    fn it_survives_the_disk_and_damage_is_an_error_and_not_an_empty_baseline() {
        let directory = tempfile::tempdir().unwrap();
        assert!(load(directory.path()).unwrap().is_none());
        let mut baseline = Baseline::default();
        baseline.accept(["a"].into_iter(), Timestamp::UNIX_EPOCH);
        save(directory.path(), &baseline).unwrap();
        assert_eq!(load(directory.path()).unwrap(), Some(baseline));
        std::fs::write(directory.path().join(FILE), "{").unwrap();
        assert!(
            load(directory.path())
                .unwrap_err()
                .to_string()
                .contains("baseline clear")
        );
    }
}
