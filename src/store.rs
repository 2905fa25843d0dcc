//! What is remembered across restarts, in one file: manifests by digest, and when each image was
//! last proven.
//!
//! Nothing here is believed without a look: a manifest is hashed again when it is read, and a proof
//! only tells that an image was whole once. If the file is lost, manifests are fetched again.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use crate::oci::digest::Digest;
use crate::registry::manifest_cache::ManifestCache;

const MANIFESTS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("manifests");
/// Canonical reference to the second of its last proof.
const PROVEN: TableDefinition<'_, &str, i64> = TableDefinition::new("proven");

/// How many bytes of manifests are collected before they are written: each write waits for the disk.
const BATCH_BYTES: usize = 1 << 20;
/// What redb keeps of the file in memory; its own default is 1 GiB. A manifest is read once in a
/// process's life, so there is little to win.
const CACHE_BYTES: usize = 8 << 20;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{0}: it is in use by another pullproof")]
    InUse(PathBuf),
    #[error("{path}: {problem}; remove the file to start anew (manifests are then fetched again)")]
    Unusable { path: PathBuf, problem: String },
}

/// The open file. One process at a time has it.
#[derive(Debug)]
pub struct Store {
    database: Database,
    pending: std::sync::Mutex<Pending>,
}

/// Manifests that were not written yet.
#[derive(Debug, Default)]
struct Pending {
    manifests: Vec<(Digest, Bytes)>,
    bytes: usize,
}

impl Store {
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let unusable = |problem: String| StoreError::Unusable {
            path: path.to_owned(),
            problem,
        };
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(|error| unusable(error.to_string()))?;
        }
        let mut builder = Database::builder();
        let created = builder.set_cache_size(CACHE_BYTES).create(path);
        let database = created.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.to_owned()),
            other => unusable(other.to_string()),
        })?;
        let store = Self {
            database,
            pending: std::sync::Mutex::default(),
        };
        // Both tables exist from now on, so that a read before the first write finds them.
        store
            .write(|_, _| Ok(()))
            .map_err(|error| unusable(error.to_string()))?;
        Ok(store)
    }

    /// When each image was last proven, by canonical reference.
    pub fn proven(&self) -> Result<Vec<(String, i64)>, redb::Error> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(PROVEN)?;
        let rows = table.iter()?.map(|row| {
            let (reference, second) = row?;
            Ok((reference.value().to_owned(), second.value()))
        });
        rows.collect()
    }

    /// Remembers proofs, and writes what else is pending.
    pub fn remember<'a>(
        &self,
        proven: impl Iterator<Item = (&'a str, i64)>,
    ) -> Result<(), redb::Error> {
        let pending = std::mem::take(&mut *self.pending.lock().expect("never held across a panic"));
        self.write(|manifests, proofs| {
            for (digest, body) in &pending.manifests {
                manifests.insert(digest.as_bytes(), &**body)?;
            }
            for (reference, second) in proven {
                proofs.insert(reference, second)?;
            }
            Ok(())
        })
    }

    fn write(
        &self,
        change: impl FnOnce(
            &mut redb::Table<'_, &'static [u8; 32], &'static [u8]>,
            &mut redb::Table<'_, &'static str, i64>,
        ) -> Result<(), redb::Error>,
    ) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut manifests = transaction.open_table(MANIFESTS)?;
            let mut proofs = transaction.open_table(PROVEN)?;
            change(&mut manifests, &mut proofs)?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn read_manifest(&self, digest: &Digest) -> Result<Option<Bytes>, redb::Error> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(MANIFESTS)?;
        Ok(table
            .get(digest.as_bytes())?
            .map(|body| Bytes::copy_from_slice(body.value())))
    }
}

impl ManifestCache for Store {
    fn get(&self, digest: &Digest) -> Option<Bytes> {
        match self.read_manifest(digest) {
            Ok(body) => body,
            Err(error) => {
                tracing::warn!(%error, "the manifest cache cannot be read; the manifest is fetched again");
                None
            }
        }
    }

    fn put(&self, digest: &Digest, body: &Bytes) {
        let is_full = {
            let mut pending = self.pending.lock().expect("never held across a panic");
            pending.manifests.push((*digest, body.clone()));
            pending.bytes += body.len();
            pending.bytes >= BATCH_BYTES
        };
        if is_full && let Err(error) = self.remember(std::iter::empty()) {
            tracing::warn!(%error, "the manifest cache cannot be written; manifests will be fetched again");
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(error) = self.remember(std::iter::empty()) {
            tracing::warn!(%error, "the manifest cache cannot be written; manifests will be fetched again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_and_proofs_survive_and_one_process_has_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sub/state.redb");
        let body = Bytes::from_static(b"{}");
        let digest = Digest::of(&body);
        let store = Store::open(&path).unwrap();
        store.put(&digest, &body);
        store.remember([("a", 7)].into_iter()).unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::InUse(_))));
        drop(store);
        let store = Store::open(&path).unwrap();
        assert_eq!(store.get(&digest), Some(body));
        assert_eq!(store.proven().unwrap(), [("a".to_owned(), 7)]);
        drop(store);
        std::fs::write(
            &path,
            "garbage that is long enough to be read as a header of something else",
        )
        .unwrap();
        assert!(
            Store::open(&path)
                .unwrap_err()
                .to_string()
                .contains("remove the file")
        );
    }
}
