//! `/api/v1/keepset`: what must stay pullable, for a collector and for another pullproof. To whoever knows
//! the token, and over TLS only: by it garbage is collected.

use std::fmt;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use jiff::SignedDuration;
use tokio::sync::watch;

use super::UiState;
use crate::clock::Clock;
use crate::config::Config;
use crate::inventory::Inventory;
use crate::inventory::completeness;
use crate::inventory::keepset::{KeepSet, LedTo};
use crate::oci::digest::Digest;
use crate::state::Snapshot;
use crate::view::{KeepSetView, Said};

/// Reads to what references led.
pub type ReadLedTo = Arc<dyn Fn() -> Result<Vec<LedTo>, String> + Send + Sync>;

/// Who says it, and of what.
#[derive(Clone)]
pub struct KeepSetSource {
    pub inventory: watch::Receiver<Arc<Inventory>>,
    pub led_to: ReadLedTo,
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Is added to the number of a snapshot, so that it grows over restarts too.
    pub sequence_base: u64,
    pub daemon: Digest,
    /// The configuration in use.
    pub configs: watch::Receiver<Arc<Config>>,
    /// The digest of the token.
    pub token: Digest,
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for KeepSetSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KeepSetSource")
            .finish_non_exhaustive()
    }
}

impl KeepSetSource {
    fn knows(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION);
        let given = given.and_then(|given| given.to_str().ok());
        let token = given.and_then(|given| given.strip_prefix("Bearer "));
        // Digests are compared, so how long it takes says nothing of the token.
        token.is_some_and(|token| Digest::of(token.trim().as_bytes()) == self.token)
    }

    fn view(&self) -> Result<KeepSetView, String> {
        let inventory = Arc::clone(&self.inventory.borrow());
        let config = Arc::clone(&self.configs.borrow());
        let now = self.clock.now();
        let keep = SignedDuration::try_from(config.inventory.keep_seen);
        let keep = keep.unwrap_or(SignedDuration::MAX);
        let (set, refusals) = match completeness::complete(&inventory, now) {
            Ok(complete) => {
                let led_to = (self.led_to)()?;
                let set = KeepSet::of(&complete, &config.aliases(), led_to.into_iter(), keep);
                (Some(set), Vec::new())
            }
            Err(refusals) => (None, refusals),
        };
        Ok(KeepSetView::of(
            set.as_ref(),
            &inventory,
            Said {
                daemon: self.daemon,
                // Of what it means, so that a comment changes nothing.
                configuration: Digest::of(format!("{config:?}").as_bytes()),
                sequence: self.sequence_base + self.snapshots.borrow().sequence,
                at: now,
            },
            refusals,
        ))
    }
}

pub(super) async fn keepset(State(state): State<UiState>, headers: HeaderMap) -> Response {
    let Some(source) = state.keepset else {
        let problem = "the keep-set is served over TLS and to whoever knows a token: set http.tls, \
                       http.token and state.directory\n";
        return (StatusCode::FORBIDDEN, problem).into_response();
    };
    if !source.knows(&headers) {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"pullproof\"")];
        let problem = "the token of http.token is needed, as `Authorization: Bearer TOKEN`\n";
        return (StatusCode::UNAUTHORIZED, challenge, problem).into_response();
    }
    // It reads a disk, and makes one value of all.
    let view = tokio::task::spawn_blocking(move || source.view()).await;
    match view {
        Ok(Ok(view)) => Json(view).into_response(),
        Ok(Err(problem)) => (StatusCode::SERVICE_UNAVAILABLE, problem + "\n").into_response(),
        Err(panic) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{panic}\n")).into_response(),
    }
}
