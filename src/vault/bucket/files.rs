//! Files of our own in a bucket, and the journal in pieces: an object cannot be appended to.
//!
//! A line of the journal is an object, named by the number of lines before it and written only where nothing is:
//! whoever else writes to the same journal is noticed, and a line whose answer was lost is found there.

use std::collections::BTreeMap;
use std::io;

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::Vault;
use crate::collection::item::RunId;
use crate::storage::s3::PutNew;
use crate::vault::OWN;

/// What is ours is small: plans that were made, what was proven, a journal's line.
const BYTES_MAX: u64 = 64 << 20;
/// So often it is tried to write what may be written twice.
const TRIES: usize = 3;

impl Vault {
    pub fn has(&self, name: &str) -> io::Result<bool> {
        self.read(name).map(|found| found.is_some())
    }

    pub fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let path = format!("{OWN}/{name}");
        let found = self.block(self.s3.get(&path, BYTES_MAX))?;
        Ok(found.map(|object| object.bytes))
    }

    /// An answer that was lost is looked for: the last one who writes is who counts.
    pub fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let path = format!("{OWN}/{name}");
        self.block(async {
            let Err(error) = self.s3.put(&path, content).await else {
                return Ok(());
            };
            match self.s3.get(&path, BYTES_MAX).await {
                Ok(Some(object)) if object.bytes == content => Ok(()),
                _ => Err(error),
            }
        })
    }

    pub fn remove(&self, name: &str) -> io::Result<()> {
        let path = format!("{OWN}/{name}");
        self.block(async {
            // In a bucket with versions a marker would be left of what never was.
            if self.s3.get(&path, BYTES_MAX).await?.is_none() {
                return Ok(());
            }
            self.s3.delete(&path).await
        })
    }

    pub fn journals(&self) -> io::Result<Vec<(RunId, Vec<u8>)>> {
        let prefix = format!("{OWN}/journal/");
        self.block(async {
            let files = self.s3.files(&prefix).await?;
            let mut parts: Vec<(RunId, String)> = Vec::new();
            for file in files {
                let name = file.path.strip_prefix(&prefix).unwrap_or_default();
                // A run as a disk has it comes before its lines: `.` before `/`.
                let run = match name.split_once('/') {
                    Some((run, line)) if line.strip_suffix(".jsonl").is_some() => run.parse(),
                    Some(_) => continue,
                    None => name.strip_suffix(".jsonl").unwrap_or_default().parse(),
                };
                // What people put there is theirs.
                if let Ok(run) = run {
                    parts.push((run, file.path));
                }
            }
            let read = async |(run, path): &(RunId, String)| {
                let object = self.s3.get(path, BYTES_MAX).await?;
                let gone = || io::Error::other(format!("{path} was listed and is gone"));
                Ok::<_, io::Error>((*run, object.ok_or_else(gone)?.bytes))
            };
            let all = stream::iter(&parts).map(read);
            let all: Vec<_> = all
                .buffered(self.s3.max_concurrency())
                .try_collect()
                .await?;
            let mut journals: BTreeMap<RunId, Vec<u8>> = BTreeMap::new();
            for (run, part) in all {
                journals.entry(run).or_default().extend(part);
            }
            Ok(journals.into_iter().collect())
        })
    }

    pub fn append(&self, run: RunId, lines: u64, line: &[u8]) -> io::Result<()> {
        let path = format!("{OWN}/journal/{run}/{lines:08}.jsonl");
        self.block(async {
            let mut last = None;
            for _ in 0..TRIES {
                let put = self.s3.put_new(&path, line).await;
                if let Ok(PutNew::Written { .. }) = put {
                    return Ok(());
                }
                // It may be there by us: the same line is the same line.
                let there = self.s3.get(&path, BYTES_MAX).await;
                match (there, put) {
                    (Ok(Some(object)), _) if object.bytes == line => return Ok(()),
                    (Ok(Some(_)), _) => {
                        return Err(io::Error::new(
                            io::ErrorKind::AlreadyExists,
                            format!(
                                "{path} is there, and is another line: somebody else writes it"
                            ),
                        ));
                    }
                    (Ok(None) | Err(_), Err(error)) | (Err(error), Ok(_)) => last = Some(error),
                    (Ok(None), Ok(_)) => {
                        last = Some(io::Error::other(format!(
                            "{path} is said to be there, and is not"
                        )));
                    }
                }
            }
            Err(last.unwrap_or_else(|| io::Error::other(format!("{path} is not written"))))
        })
    }
}
