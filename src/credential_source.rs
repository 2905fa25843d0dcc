//! Where a registry entry's own credential comes from, and how it stays fresh: a docker config's text,
//! a credential helper, a cloud's token service.
//!
//! Fail closed: a source that cannot give its credential now says so, and nothing is asked as anybody
//! else in its stead. What a stranger is told of a private registry is no fact about it.
//!
//! Everything here is dialled or run on the operator's word alone, never on a workload's: hence with
//! HTTP clients of its own, to which link-local addresses are as good as any.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{BoxFuture, ready};

use crate::credentials::Keyring;

pub mod acr;
pub(crate) mod aws;
mod cached;
pub mod docker_config;
pub mod ecr;
pub mod gar;
mod helper;
mod http;

/// During a round a source is looked at this often: its credential may expire before the round ends.
const LOOK_INTERVAL: Duration = Duration::from_mins(1);

/// Why there is no credential now; fit to be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(Arc<str>);

impl Unavailable {
    fn new(message: impl Into<Arc<str>>) -> Self {
        Self(message.into())
    }
}

/// Gives the credentials of a registry entry, each time as they are then.
pub trait CredentialSource: fmt::Debug + Send + Sync {
    /// The same `Arc` as long as nothing is new.
    fn current(&self) -> BoxFuture<'_, Result<Arc<Keyring>, Unavailable>>;

    /// The registry did not accept what [`CredentialSource::current`] gave.
    fn refused(&self) {}

    /// Whether the credentials are new from time to time.
    fn is_renewed(&self) -> bool;
}

/// Credentials that stay as they are.
#[derive(Debug, Default)]
pub struct Fixed(Arc<Keyring>);

impl Fixed {
    pub fn new(keyring: Keyring) -> Self {
        Self(Arc::new(keyring))
    }
}

impl CredentialSource for Fixed {
    fn current(&self) -> BoxFuture<'_, Result<Arc<Keyring>, Unavailable>> {
        Box::pin(ready(Ok(Arc::clone(&self.0))))
    }

    fn is_renewed(&self) -> bool {
        false
    }
}

/// Calls `take` with each new keyring of a source, for ever. A source that fails meanwhile is not
/// told of here: what was given before is used until the registry refuses it.
pub async fn follow(source: &dyn CredentialSource, mut take: impl FnMut(&Keyring)) -> Infallible {
    if !source.is_renewed() {
        return std::future::pending().await;
    }
    let mut last: Option<Arc<Keyring>> = None;
    loop {
        if let Ok(keyring) = source.current().await
            && last
                .as_ref()
                .is_none_or(|last| !Arc::ptr_eq(last, &keyring))
        {
            take(&keyring);
            last = Some(keyring);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// The sources of one configuration, one a host, however many provers ask for it.
#[derive(Debug, Clone, Default)]
pub struct Sources(Arc<Mutex<ByHost>>);

type ByHost = HashMap<Arc<str>, Arc<dyn CredentialSource>>;

impl Sources {
    /// The source of a host, made once; one that cannot be made is tried again next time.
    pub fn of_host<E>(
        &self,
        host: &Arc<str>,
        make: impl FnOnce() -> Result<Arc<dyn CredentialSource>, E>,
    ) -> Result<Arc<dyn CredentialSource>, E> {
        let mut sources = self.0.lock().expect("never held across a panic");
        if let Some(source) = sources.get(host) {
            return Ok(Arc::clone(source));
        }
        let source = make()?;
        sources.insert(Arc::clone(host), Arc::clone(&source));
        Ok(source)
    }
}
