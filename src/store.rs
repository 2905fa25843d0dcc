//! What is remembered across restarts, in one file: manifests by digest, what each image was found to
//! be and when, and where each registry's rotation stands.
//!
//! Nothing here makes anything green: a manifest is hashed again when it is read, and a proof keeps the
//! time at which it was made. If the file is lost, all is looked at and fetched again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use tracing::warn;

use crate::oci::digest::Digest;
use crate::registry::manifest_cache::ManifestCache;
use crate::remembered::{Common, RegistryMemory, Remembered, Unsaved};
use crate::second::Second;

const MANIFESTS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("manifests");
/// Canonical reference to the second of its last proof.
const PROVEN: TableDefinition<'_, &str, i64> = TableDefinition::new("proven");
/// By a salted name: what each image was found to be, as JSON.
const IMAGES: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("images");
/// By host: where its rotation stands, as JSON.
const REGISTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("registries");
/// The salt of this store.
const SALT: TableDefinition<'_, (), &[u8; 32]> = TableDefinition::new("salt");

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
        // All tables exist from now on, so that a read before the first write finds them.
        store
            .write(|tables| {
                if tables.salt.get(())?.is_none() {
                    tables.salt.insert((), &new_salt())?;
                }
                Ok(())
            })
            .map_err(|error| unusable(error.to_string()))?;
        Ok(store)
    }

    /// All that is remembered but manifests. A row that cannot be read is as if it were not there: that
    /// image is then unknown until it is looked at.
    pub fn remembered(&self) -> Result<Remembered, redb::Error> {
        let transaction = self.database.begin_read()?;
        let salt = transaction
            .open_table(SALT)?
            .get(())?
            .map(|salt| Digest::from_bytes(*salt.value()));
        let proven = transaction.open_table(PROVEN)?;
        let proven = proven.iter()?.map(|row| {
            let (reference, second) = row?;
            Ok((reference.value().into(), Second::new(second.value())))
        });
        let mut images = HashMap::new();
        let mut common = Common::default();
        for row in transaction.open_table(IMAGES)?.iter()? {
            let (name, image) = row?;
            match serde_json::from_slice(image.value()) {
                Ok(image) => {
                    images.insert(Digest::from_bytes(*name.value()), common.share(image));
                }
                Err(error) => warn!(%error, "what an image was found to be cannot be read"),
            }
        }
        let mut registries = HashMap::new();
        for row in transaction.open_table(REGISTRIES)?.iter()? {
            let (host, memory) = row?;
            if let Some(memory) = read_registry(host.value(), memory.value()) {
                registries.insert(host.value().to_owned(), memory);
            }
        }
        Ok(Remembered {
            salt: salt.unwrap_or_default(),
            proven: proven.collect::<Result<_, redb::Error>>()?,
            images,
            registries,
        })
    }

    /// What is remembered of one registry.
    pub fn registry(&self, host: &str) -> Result<Option<RegistryMemory>, redb::Error> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(REGISTRIES)?;
        let row = table.get(host)?;
        Ok(row.and_then(|row| read_registry(host, row.value())))
    }

    /// Remembers what changed, and writes what else is pending. All of it, or nothing.
    pub fn remember(&self, unsaved: &Unsaved) -> Result<(), redb::Error> {
        let pending = std::mem::take(&mut *self.pending.lock().expect("never held across a panic"));
        self.write(|tables| {
            for (digest, body) in &pending.manifests {
                tables.manifests.insert(digest.as_bytes(), &**body)?;
            }
            for (reference, second) in &unsaved.proven {
                tables.proven.insert(&**reference, second.get())?;
            }
            for (name, image) in &unsaved.images {
                let json = serde_json::to_vec(image).expect("it is plain data");
                tables.images.insert(name.as_bytes(), json.as_slice())?;
            }
            for name in &unsaved.forgotten {
                tables.images.remove(name.as_bytes())?;
            }
            for (host, memory) in &unsaved.registries {
                let json = serde_json::to_vec(memory).expect("it is plain data");
                tables.registries.insert(&**host, json.as_slice())?;
            }
            Ok(())
        })
    }

    fn write(
        &self,
        change: impl FnOnce(&mut Tables<'_>) -> Result<(), redb::Error>,
    ) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        change(&mut Tables {
            manifests: transaction.open_table(MANIFESTS)?,
            proven: transaction.open_table(PROVEN)?,
            images: transaction.open_table(IMAGES)?,
            registries: transaction.open_table(REGISTRIES)?,
            salt: transaction.open_table(SALT)?,
        })?;
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

/// The tables, open for writing.
struct Tables<'a> {
    manifests: redb::Table<'a, &'static [u8; 32], &'static [u8]>,
    proven: redb::Table<'a, &'static str, i64>,
    images: redb::Table<'a, &'static [u8; 32], &'static [u8]>,
    registries: redb::Table<'a, &'static str, &'static [u8]>,
    salt: redb::Table<'a, (), &'static [u8; 32]>,
}

/// A row that cannot be read is as if it were not there.
fn read_registry(host: &str, row: &[u8]) -> Option<RegistryMemory> {
    serde_json::from_slice(row)
        .inspect_err(|error| {
            warn!(%error, host, "what a registry was remembered by cannot be read");
        })
        .ok()
}

fn new_salt() -> [u8; 32] {
    let mut salt = [0; 32];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut salt)
        .expect("the system has randomness, else no TLS works either");
    salt
}

impl ManifestCache for Store {
    fn get(&self, digest: &Digest) -> Option<Bytes> {
        match self.read_manifest(digest) {
            Ok(body) => body,
            Err(error) => {
                warn!(%error, "the manifest cache cannot be read; the manifest is fetched again");
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
        if is_full && let Err(error) = self.remember(&Unsaved::default()) {
            warn!(%error, "the manifest cache cannot be written; manifests will be fetched again");
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(error) = self.remember(&Unsaved::default()) {
            warn!(%error, "the manifest cache cannot be written; manifests will be fetched again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::remembered::RememberedImage;
    use crate::verify::finding::{Code, Report};
    use crate::verify::target::Needs;

    #[test]
    fn manifests_and_proofs_survive_and_one_process_has_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sub/state.redb");
        let body = Bytes::from_static(b"{}");
        let digest = Digest::of(&body);
        let store = Store::open(&path).unwrap();
        store.put(&digest, &body);
        let image = RememberedImage {
            needs: Needs::These(["linux/arm64".parse().unwrap()].into()),
            report: Arc::new(Report::only(Code::LayerMissing, "gone".to_owned())),
            proven_at: None,
            since: jiff::Timestamp::UNIX_EPOCH.into(),
            asked_at: jiff::Timestamp::UNIX_EPOCH,
            platforms: None,
        };
        let salt = store.remembered().unwrap().salt;
        assert_ne!(salt, Digest::default());
        let mut unsaved = Unsaved::default();
        unsaved.proven.push(("a".into(), Second::new(7)));
        unsaved.images.push((digest, image.clone()));
        unsaved
            .registries
            .insert("r.example".into(), RegistryMemory::default());
        store.remember(&unsaved).unwrap();
        assert!(matches!(Store::open(&path), Err(StoreError::InUse(_))));
        drop(store);
        let store = Store::open(&path).unwrap();
        assert_eq!(store.get(&digest), Some(body));
        let remembered = store.remembered().unwrap();
        assert_eq!(remembered.salt, salt, "names stay what they were");
        assert_eq!(remembered.proven, [("a".into(), Second::new(7))]);
        assert_eq!(remembered.images, [(digest, image)].into());
        assert_eq!(
            store.registry("r.example").unwrap(),
            Some(RegistryMemory::default())
        );
        let mut unsaved = Unsaved::default();
        unsaved.forgotten.push(digest);
        store.remember(&unsaved).unwrap();
        assert!(store.remembered().unwrap().images.is_empty());
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
