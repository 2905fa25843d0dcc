//! From the parts of the daemon to what serves the keep-set.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::watch;
use tracing::warn;

use crate::clock::Clock;
use crate::config::Http;
use crate::http::keepset::{KeepSetSource, Published, ReadLedTo};
use crate::inventory::keepset::LedTo;
use crate::oci::digest::Digest;
use crate::state::Snapshot;
use crate::store::Store;

/// Snapshots of one life of a daemon; a number that none of them has reached.
const SNAPSHOTS_MAX: u64 = 1 << 32;

/// What it is made of.
#[derive(Debug)]
pub struct Parts<'a> {
    pub http: &'a Http,
    pub store: Option<Arc<Store>>,
    pub published: watch::Receiver<Arc<Published>>,
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    pub clock: Arc<dyn Clock>,
}

/// `None` where nobody is to be served it.
pub fn source(parts: Parts<'_>) -> anyhow::Result<Option<KeepSetSource>> {
    let Some(file) = &parts.http.token else {
        return Ok(None);
    };
    let token = std::fs::read_to_string(file)
        .with_context(|| format!("reading {} (http.token)", file.display()))?;
    let token = token.trim();
    if token.is_empty() {
        anyhow::bail!(
            "{} (http.token): it is empty; everybody would know it",
            file.display()
        );
    }
    let Some(store) = parts.store else {
        warn!("the keep-set is not served: without a state directory nothing is remembered");
        return Ok(None);
    };
    let life = store.begin_life().context("counting the daemon's starts")?;
    let salt = store
        .remembered_salt()
        .context("reading who the daemon is")?;
    let led_to = read_led_to(store);
    Ok(Some(KeepSetSource {
        published: parts.published,
        led_to,
        snapshots: parts.snapshots,
        sequence_base: life.saturating_mul(SNAPSHOTS_MAX),
        // The salt itself is told nobody.
        daemon: Digest::of(format!("daemon {salt}").as_bytes()),
        token: Digest::of(token.as_bytes()),
        clock: parts.clock,
        last: Arc::default(),
    }))
}

/// Reads to what references led.
pub fn read_led_to(store: Arc<Store>) -> ReadLedTo {
    Arc::new(move || {
        let rows = store
            .led_to()
            .map_err(|error| format!("the ledger cannot be read: {error}"))?;
        let row = |row: crate::store::seen::LedTo| LedTo {
            reference: row.reference,
            digest: row.digest,
            last: row.last.into(),
        };
        Ok(rows.into_iter().map(row).collect())
    })
}
