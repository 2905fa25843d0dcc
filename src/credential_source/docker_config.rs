//! The credentials of docker configs: what they hold, and what the helpers that they name give.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::cached::{Cached, Fetched, Provider};
use super::{CredentialSource, Fixed, Unavailable, helper};
use crate::credentials::helpers::HelperCall;
use crate::credentials::{DockerConfig, Keyring};

/// A helper does not say how long its answer is good for (ECR's are for 12 hours).
const HELPER_DUE_AFTER: Duration = Duration::from_mins(5);
/// Where the helper fails then, its last answer is used until it is this old.
const HELPER_EXPIRES_AFTER: Duration = Duration::from_mins(15);

/// The source of one host's credentials.
pub fn source(config: &DockerConfig, host: &Arc<str>) -> Arc<dyn CredentialSource> {
    let calls = config.helpers(host);
    let keyring = config.keyring.clone();
    if calls.is_empty() {
        return Arc::new(Fixed::new(keyring));
    }
    Arc::new(Cached::new(Helped {
        host: Arc::clone(host),
        calls,
        keyring,
    }))
}

#[derive(Debug)]
struct Helped {
    host: Arc<str>,
    calls: Vec<HelperCall>,
    /// What the files hold themselves: for hosts of which the helpers know nothing.
    keyring: Keyring,
}

impl Helped {
    async fn ask(&self) -> Result<Keyring, Unavailable> {
        for call in &self.calls {
            if let Some(credential) = helper::get(call).await? {
                let helped = Keyring::of_host(&self.host, credential);
                return Ok(Keyring::merged([&helped, &self.keyring]));
            }
        }
        Ok(self.keyring.clone())
    }
}

impl Provider for Helped {
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, Unavailable>> {
        Box::pin(async {
            Ok(Fetched {
                keyring: self.ask().await?,
                due_after: HELPER_DUE_AFTER,
                expires_after: HELPER_EXPIRES_AFTER,
            })
        })
    }
}
