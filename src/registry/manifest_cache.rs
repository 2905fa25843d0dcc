//! Manifests by digest: immutable, so fetched once in their life, across restarts.
//!
//! A GET of a manifest counts as a pull at Docker Hub; a HEAD does not.

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;

use crate::oci::digest::Digest;

/// A place that keeps manifests. What it loses is fetched again; what it returns is hashed again by
/// whoever stores it on a disk.
pub trait ManifestCache: Send + Sync + std::fmt::Debug {
    fn get(&self, digest: &Digest) -> Option<Bytes>;
    fn put(&self, digest: &Digest, body: &Bytes);
}

/// Keeps them for the life of the process.
#[derive(Debug, Default)]
pub struct InMemory(Mutex<HashMap<Digest, Bytes>>);

impl ManifestCache for InMemory {
    fn get(&self, digest: &Digest) -> Option<Bytes> {
        self.0.lock().ok()?.get(digest).cloned()
    }

    fn put(&self, digest: &Digest, body: &Bytes) {
        if let Ok(mut map) = self.0.lock() {
            map.insert(*digest, body.clone());
        }
    }
}
