//! Keeps what a provider gave until it is due again: fetched by one however many wait, renewed before
//! it expires, and again when the registry refused it, but never in a hurry.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::warn;

use super::{CredentialSource, Unavailable};
use crate::credentials::Keyring;

/// A provider that failed is left alone for so long.
const FAILURE_PAUSE: Duration = Duration::from_secs(30);
/// A registry that refuses what is this new is not refusing its age.
const REFUSAL_PAUSE: Duration = Duration::from_mins(2);

/// Gives credentials when asked, at the cost of a program or a request.
pub(super) trait Provider: fmt::Debug + Send + Sync {
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, Unavailable>>;
}

/// What a provider gave.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) keyring: Keyring,
    /// It is fetched anew after this long.
    pub(super) due_after: Duration,
    /// Where that fails, it is used until then.
    pub(super) expires_after: Duration,
}

impl Fetched {
    /// Of a token that says how long it lives. Half of that is left to whoever cannot renew it, and it
    /// is not used to its last seconds: a request that carries it takes a while too.
    pub(super) fn with_life(keyring: Keyring, life: Duration) -> Self {
        Self {
            keyring,
            due_after: life / 2,
            expires_after: life.saturating_sub((life / 4).min(Duration::from_mins(1))),
        }
    }
}

#[derive(Debug)]
pub(super) struct Cached<P> {
    provider: P,
    state: Mutex<State>,
    is_refused: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
    failure: Option<(Instant, Unavailable)>,
}

#[derive(Debug)]
struct Held {
    keyring: Arc<Keyring>,
    at: Instant,
    due: Instant,
    expires: Instant,
}

impl<P: Provider> Cached<P> {
    pub(super) fn new(provider: P) -> Self {
        Self {
            provider,
            state: Mutex::default(),
            is_refused: AtomicBool::new(false),
        }
    }

    async fn keyring(&self) -> Result<Arc<Keyring>, Unavailable> {
        // Held while it is fetched: whoever comes meanwhile waits for the same answer.
        let mut state = self.state.lock().await;
        let now = Instant::now();
        if let Some(held) = &state.held {
            let is_refused =
                self.is_refused.load(Ordering::Relaxed) && now >= held.at + REFUSAL_PAUSE;
            if now < held.due && !is_refused {
                return Ok(Arc::clone(&held.keyring));
            }
        }
        let paused = state.failure.as_ref();
        let paused = paused.filter(|(at, _)| now < *at + FAILURE_PAUSE);
        let problem = match paused.map(|(_, problem)| problem.clone()) {
            Some(problem) => problem,
            None => match self.provider.fetch().await {
                Ok(fetched) => return Ok(self.keep(&mut state, fetched)),
                Err(problem) => {
                    warn!("the registry's own credential cannot be had: {problem}");
                    state.failure = Some((Instant::now(), problem.clone()));
                    problem
                }
            },
        };
        match &state.held {
            Some(held) if Instant::now() < held.expires => Ok(Arc::clone(&held.keyring)),
            Some(_) | None => Err(problem),
        }
    }

    fn keep(&self, state: &mut State, fetched: Fetched) -> Arc<Keyring> {
        let at = Instant::now();
        let keyring = Arc::new(fetched.keyring);
        state.held = Some(Held {
            keyring: Arc::clone(&keyring),
            at,
            due: at + fetched.due_after,
            expires: at + fetched.expires_after,
        });
        state.failure = None;
        self.is_refused.store(false, Ordering::Relaxed);
        keyring
    }
}

impl<P: Provider> CredentialSource for Cached<P> {
    fn current(&self) -> BoxFuture<'_, Result<Arc<Keyring>, Unavailable>> {
        Box::pin(self.keyring())
    }

    fn refused(&self) {
        self.is_refused.store(true, Ordering::Relaxed);
    }

    fn is_renewed(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
