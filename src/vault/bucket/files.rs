//! Files of our own in a bucket.

use std::io;

use super::Vault;
use crate::vault::OWN;

/// What is ours is small: plans that were made, what was proven, a journal.
pub(super) const BYTES_MAX: u64 = 64 << 20;

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
}
