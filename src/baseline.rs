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

/// On which terms something is accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// Who looks after it.
    pub owner: Option<String>,
    /// From then on it is an ordinary breakage.
    pub until: Option<Timestamp>,
}

impl Baseline {
    pub fn knows(&self, reference: &str, now: Timestamp) -> bool {
        self.images
            .get(reference)
            .is_some_and(|entry| entry.until.is_none_or(|until| now < until))
    }

    /// Takes what is broken now and was never proven, on these terms. Entries that stand keep what they say, and
    /// take from the terms what they do not say; one that has ended is made anew. Tells how many were added.
    pub fn accept<'a>(
        &mut self,
        broken: impl Iterator<Item = &'a str>,
        terms: &Terms,
        now: Timestamp,
    ) -> usize {
        let mut added = 0;
        for reference in broken {
            if self.knows(reference, now)
                && let Some(entry) = self.images.get_mut(reference)
            {
                entry.owner = entry.owner.take().or_else(|| terms.owner.clone());
                entry.until = entry.until.or(terms.until);
            } else {
                let Terms { owner, until } = terms.clone();
                let since = now;
                let entry = Entry {
                    since,
                    owner,
                    until,
                };
                self.images.insert(reference.to_owned(), entry);
                added += 1;
            }
        }
        self.made_at.get_or_insert(now);
        added
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
        let until = |second| Terms {
            owner: None,
            until: Some(at(second)),
        };
        let none = Terms::default();
        let mut baseline = Baseline::default();
        assert_eq!(baseline.accept(["a"].into_iter(), &until(10), at(1)), 1);
        assert_eq!(baseline.accept(["b"].into_iter(), &none, at(1)), 1);
        let more = ["a", "b", "c"].into_iter();
        assert_eq!(baseline.accept(more, &until(20), at(5)), 1);
        let entry = |name: &str| (baseline.images[name].since, baseline.images[name].until);
        assert_eq!(entry("a"), (at(1), Some(at(10))));
        assert_eq!(entry("b"), (at(1), Some(at(20))));
        assert_eq!(entry("c"), (at(5), Some(at(20))));
        assert!(
            baseline.knows("a", at(9))
                && !baseline.knows("a", at(10))
                && !baseline.knows("d", at(1))
        );
        // What has ended is accepted anew, and for as long as is said then.
        assert_eq!(baseline.accept(["a"].into_iter(), &none, at(12)), 1);
        let entry = &baseline.images["a"];
        assert_eq!((entry.since, entry.until), (at(12), None));
    }

    #[test]
    fn an_owner_is_nobody_elses_to_change() {
        let of = |owner: &str| Terms {
            owner: Some(owner.to_owned()),
            until: None,
        };
        let now = Timestamp::UNIX_EPOCH;
        let mut baseline = Baseline::default();
        baseline.accept(["a"].into_iter(), &of("shop"), now);
        baseline.accept(["b"].into_iter(), &Terms::default(), now);
        baseline.accept(["a", "b"].into_iter(), &of("crm"), now);
        let owners: Vec<_> = baseline.images.values().map(|it| &it.owner).collect();
        assert_eq!(owners, [&Some("shop".to_owned()), &Some("crm".to_owned())]);
    }

    #[test]
    fn it_survives_the_disk_and_damage_is_an_error_and_not_an_empty_baseline() {
        let directory = tempfile::tempdir().unwrap();
        assert!(load(directory.path()).unwrap().is_none());
        let mut baseline = Baseline::default();
        baseline.accept(["a"].into_iter(), &Terms::default(), Timestamp::UNIX_EPOCH);
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
