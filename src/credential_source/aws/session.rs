//! The keys of a client that asks often: got once, and again when they are refused.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::{Keys, keys};
use crate::credential_source::Unavailable;
use crate::credential_source::http::Http;

/// Who signs the requests of one client.
#[derive(Debug)]
pub(crate) struct Session {
    http: Http,
    file: Option<PathBuf>,
    region: String,
    /// Held while they are got: many wait for one answer.
    held: Mutex<Option<Arc<Keys>>>,
}

impl Session {
    /// `file` has an access key; without one, what the environment gives.
    pub(crate) fn new(file: Option<PathBuf>, region: &str) -> Result<Self, reqwest::Error> {
        Ok(Self {
            http: Http::new(&[], None)?,
            file,
            region: region.to_owned(),
            held: Mutex::default(),
        })
    }

    /// The same `Arc` until it is refused.
    pub(crate) async fn keys(&self) -> Result<Arc<Keys>, Unavailable> {
        let mut held = self.held.lock().await;
        if let Some(keys) = &*held {
            return Ok(Arc::clone(keys));
        }
        let got = Arc::new(keys(&self.http, self.file.as_deref(), &self.region).await?);
        *held = Some(Arc::clone(&got));
        Ok(got)
    }

    /// These were not accepted. Those that came after them are left: many requests may be refused with
    /// the same keys.
    pub(crate) async fn refused(&self, keys: &Arc<Keys>) {
        let mut held = self.held.lock().await;
        if held.as_ref().is_some_and(|held| Arc::ptr_eq(held, keys)) {
            *held = None;
        }
    }
}
