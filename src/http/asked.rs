//! What is looked up only when somebody asks: too much to be in every snapshot.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use crate::oci::digest::Digest;
use crate::traffic::Traffic;

/// Reads a manifest that was fetched once; it may touch a disk.
pub type ReadManifest = dyn Fn(&Digest) -> Option<Bytes> + Send + Sync;
/// What was asked of a registry's host, and how it stands now.
pub type ReadTraffic = dyn Fn(&str, Timestamp) -> Traffic + Send + Sync;

/// Where it is looked up.
#[derive(Clone)]
pub struct Asked {
    pub manifest: Arc<ReadManifest>,
    pub traffic: Arc<ReadTraffic>,
    /// When counting began.
    pub since: Timestamp,
}

impl Asked {
    /// Knows nothing.
    pub fn nothing(since: Timestamp) -> Self {
        Self {
            manifest: Arc::new(|_| None),
            traffic: Arc::new(|_, _| Traffic::default()),
            since,
        }
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Asked").finish_non_exhaustive()
    }
}
