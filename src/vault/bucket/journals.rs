//! The journal in pieces: an object cannot be appended to.
//!
//! A line is an object, named by the number of lines before it and written only where nothing is: whoever else
//! writes to the same journal is noticed, and a line whose answer was lost is found there. At the end of a session
//! the lines of a run are folded into one object, named by how many they are, and of a run that has ended all are
//! one object elsewhere, which nobody reads again. What is written in place of others is written first and never
//! changed, so that whoever dies in between, or comes back late, leaves the same to be read.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::Vault;
use super::files::BYTES_MAX;
use crate::collection::item::RunId;
use crate::storage::s3::PutNew;
use crate::vault::{Found, OWN, ended};

/// So often it is tried to write what may be written twice, and to read what is folded meanwhile.
const TRIES: usize = 3;

/// Some lines of a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// All, as a disk has them.
    File,
    /// So many from the first.
    Folded(u64),
    /// The one with so many before it.
    Line(u64),
}

impl Part {
    /// Below `pullproof/journal/`. What people put there is theirs.
    fn parse(name: &str) -> Option<(RunId, Self)> {
        let name = name.strip_suffix(".jsonl")?;
        let Some((run, part)) = name.split_once('/') else {
            return Some((name.parse().ok()?, Self::File));
        };
        let number = |text: &str| {
            let is_number = text.len() >= 8 && text.bytes().all(|it| it.is_ascii_digit());
            is_number.then(|| text.parse().ok()).flatten()
        };
        let part = match part.split_once('-') {
            Some((first, end)) if number(first) == Some(0) => Self::Folded(number(end)?),
            Some(_) => return None,
            None => Self::Line(number(part)?),
        };
        Some((run.parse().ok()?, part))
    }

    fn path(&self, run: RunId) -> String {
        match self {
            Self::File => crate::vault::journal(run),
            Self::Folded(lines) => format!("{OWN}/journal/{run}/00000000-{lines:08}.jsonl"),
            Self::Line(before) => format!("{OWN}/journal/{run}/{before:08}.jsonl"),
        }
    }
}

/// What of it has to be read, in order: the largest fold, and what came after it.
fn needed(parts: &BTreeSet<Part>) -> Vec<&Part> {
    let folded = parts.iter().filter_map(|part| match part {
        Part::Folded(lines) => Some(*lines),
        Part::File | Part::Line(_) => None,
    });
    let folded = folded.max();
    let is_needed = |part: &&Part| match part {
        Part::File => true,
        Part::Folded(lines) => Some(*lines) == folded,
        Part::Line(before) => folded.is_none_or(|lines| *before >= lines),
    };
    parts.iter().filter(is_needed).collect()
}

impl Vault {
    pub fn journals(&self) -> io::Result<Found> {
        self.block(async {
            let mut last = None;
            for _ in 0..TRIES {
                match self.found().await {
                    // Whoever has the lock folds what was just listed.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => last = Some(error),
                    found => return found,
                }
            }
            Err(last.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
        })
    }

    async fn found(&self) -> io::Result<Found> {
        let parts = self.parts(&format!("{OWN}/journal/")).await?;
        // After the lines: of what ends in between not all may have been listed.
        let over = self.ended().await?;
        let mut wanted = Vec::new();
        for (run, parts) in &parts {
            if !over.contains(run) {
                wanted.extend(needed(parts).into_iter().map(|part| (*run, part)));
            }
        }
        let read = async |(run, part): &(RunId, &Part)| {
            Ok::<_, io::Error>((*run, self.part(*run, part).await?))
        };
        let all = stream::iter(&wanted).map(read);
        let all: Vec<_> = all
            .buffered(self.s3.max_concurrency())
            .try_collect()
            .await?;
        let mut open: BTreeMap<RunId, Vec<u8>> = BTreeMap::new();
        for (run, part) in all {
            open.entry(run).or_default().extend(part);
        }
        let left = parts.keys().filter(|run| over.contains(run)).copied();
        Ok(Found {
            open: open.into_iter().collect(),
            left: left.collect(),
            ended: over.len(),
        })
    }

    async fn ended(&self) -> io::Result<BTreeSet<RunId>> {
        let prefix = format!("{OWN}/ended/");
        let files = self.s3.files(&prefix).await?;
        let runs = files.iter().filter_map(|file| {
            let name = file.path.strip_prefix(&prefix)?;
            name.strip_suffix(".jsonl")?.parse().ok()
        });
        Ok(runs.collect())
    }

    /// What there is of each run below a prefix.
    async fn parts(&self, prefix: &str) -> io::Result<BTreeMap<RunId, BTreeSet<Part>>> {
        let mut parts: BTreeMap<RunId, BTreeSet<Part>> = BTreeMap::new();
        let journal = format!("{OWN}/journal/");
        for file in self.s3.files(prefix).await? {
            let name = file.path.strip_prefix(&journal).unwrap_or_default();
            if let Some((run, part)) = Part::parse(name) {
                parts.entry(run).or_default().insert(part);
            }
        }
        Ok(parts)
    }

    async fn part(&self, run: RunId, part: &Part) -> io::Result<Vec<u8>> {
        let path = part.path(run);
        let object = self.s3.get(&path, BYTES_MAX).await?;
        let gone = || {
            let told = format!("{path} was listed and is gone");
            io::Error::new(io::ErrorKind::NotFound, told)
        };
        Ok(object.ok_or_else(gone)?.bytes)
    }

    /// All of a run, and what of it is there.
    async fn whole(&self, run: RunId) -> io::Result<(Vec<u8>, BTreeSet<Part>)> {
        let parts = self.parts(&format!("{OWN}/journal/{run}")).await?;
        let parts = parts.get(&run).cloned().unwrap_or_default();
        let all = stream::iter(needed(&parts)).map(|part| self.part(run, part));
        let all: Vec<Vec<u8>> = all
            .buffered(self.s3.max_concurrency())
            .try_collect()
            .await?;
        Ok((all.concat(), parts))
    }

    /// Makes one object of the lines of a run. The lock has to be ours.
    pub fn fold(&self, run: RunId) -> io::Result<()> {
        self.block(async {
            let (text, parts) = self.whole(run).await?;
            let lines = text.split_inclusive(|byte| *byte == b'\n').count() as u64;
            // One of a disk stays as it is, and so does what could not be read again.
            let is_done = parts.len() < 2 || parts.contains(&Part::File);
            if is_done || !text.ends_with(b"\n") || text.len() as u64 > BYTES_MAX {
                return Ok(());
            }
            let folded = Part::Folded(lines);
            if !parts.contains(&folded) {
                self.put_once(&folded.path(run), &text).await?;
            }
            let rest = parts.into_iter().filter(|part| *part != folded);
            self.remove_parts(run, rest).await
        })
    }

    /// Puts the journal of a run that has ended where nobody reads it again. The lock has to be ours.
    pub fn retire(&self, run: RunId) -> io::Result<()> {
        self.block(async {
            let parts = if self.ended().await?.contains(&run) {
                let parts = self.parts(&format!("{OWN}/journal/{run}")).await?;
                parts.get(&run).cloned().unwrap_or_default()
            } else {
                let (text, parts) = self.whole(run).await?;
                if parts.is_empty() {
                    return Ok(());
                }
                self.put_once(&ended(run), &text).await?;
                parts
            };
            self.remove_parts(run, parts).await
        })
    }

    async fn remove_parts(
        &self,
        run: RunId,
        parts: impl IntoIterator<Item = Part>,
    ) -> io::Result<()> {
        let all = stream::iter(parts).map(async |part: Part| {
            let path = part.path(run);
            self.s3.delete(&path).await
        });
        let all = all.buffer_unordered(self.s3.max_concurrency());
        all.try_collect().await
    }

    pub fn append(&self, run: RunId, lines: u64, line: &[u8]) -> io::Result<()> {
        self.block(self.put_once(&Part::Line(lines).path(run), line))
    }

    /// Writes what is there only once. An answer that was lost is looked for.
    async fn put_once(&self, path: &str, content: &[u8]) -> io::Result<()> {
        let mut last = None;
        for _ in 0..TRIES {
            let put = self.s3.put_new(path, content).await;
            if let Ok(PutNew::Written { .. }) = put {
                return Ok(());
            }
            // It may be there by us: the same line is the same line.
            let there = self.s3.get(path, BYTES_MAX).await;
            match (there, put) {
                (Ok(Some(object)), _) if object.bytes == content => return Ok(()),
                (Ok(Some(_)), _) => {
                    return Err(io::Error::new(
                        io::ErrorKind::AlreadyExists,
                        format!("{path} is there, and is another line: somebody else writes it"),
                    ));
                }
                (Ok(None) | Err(_), Err(error)) | (Err(error), Ok(_)) => last = Some(error),
                (Ok(None), Ok(_)) => {
                    let told = format!("{path} is said to be there, and is not");
                    last = Some(io::Error::other(told));
                }
            }
        }
        Err(last.unwrap_or_else(|| io::Error::other(format!("{path} is not written"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_is_there_the_largest_fold_and_what_came_after_it_is_read() {
        let run = "20261122T010000Z-0007";
        let parsed = |name: &str| Part::parse(&format!("{run}{name}"));
        let id = run.parse().unwrap();
        for part in [Part::File, Part::Folded(12), Part::Line(7)] {
            let path = part.path(id);
            let name = path.strip_prefix("pullproof/journal/").unwrap();
            assert_eq!(Part::parse(name), Some((id, part)));
        }
        for theirs in [
            "/notes.txt",
            "/7.jsonl",
            "/00000003-00000009.jsonl",
            "/+0000007.jsonl",
            ".bak",
        ] {
            assert_eq!(parsed(theirs), None, "{theirs}");
        }
        let read = |parts: &[Part]| {
            let parts: BTreeSet<Part> = parts.iter().cloned().collect();
            needed(&parts).into_iter().cloned().collect::<Vec<_>>()
        };
        let lines: Vec<Part> = (0..12).map(Part::Line).collect();
        assert_eq!(read(&lines), lines);
        // Somebody died before what was folded was removed, or while it was.
        let mut both = lines.clone();
        both.extend([Part::Folded(4), Part::Folded(10)]);
        let expected = [Part::Folded(10), Part::Line(10), Part::Line(11)];
        assert_eq!(read(&both), expected);
        both.retain(|it| !matches!(it, Part::Line(0..=4 | 7)));
        assert_eq!(read(&both), expected);
        assert_eq!(
            read(&[Part::File, Part::Line(3)]),
            [Part::File, Part::Line(3)]
        );
    }
}
