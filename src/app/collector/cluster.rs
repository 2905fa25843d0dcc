//! The cluster that a collection needs: for its Lease, and for what runs the registry.

use std::time::Duration;

use kube::Client;
use tokio::runtime::Handle;

use crate::inventory::cluster::{self as source, Access};

/// So long an answer of the API server may take.
pub(in crate::app) const ANSWER: Duration = Duration::from_secs(5);

/// Which manager of fields switches the registry.
pub(in crate::app) const MANAGER: &str = "pullproof";

/// A client of the current context, else of the cluster around us. It does not talk to it yet.
pub(in crate::app) fn client(runtime: &Handle, what: &str) -> Result<Client, String> {
    runtime.block_on(reached(what))
}

/// The same. `what` is the key of the configuration that asks for a cluster.
pub(in crate::app) async fn reached(what: &str) -> Result<Client, String> {
    let client = source::reach(&Access::Infer, what).await;
    client.map_err(|error| format!("{}: {}; {}", error.place, error.problem, error.way_out))
}

/// What a request came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::app) enum Failure {
    /// It is not there.
    Absent,
    /// Somebody else has changed it, or owns what was to be changed.
    Conflict(String),
    Other(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => formatter.write_str("there is none"),
            Self::Conflict(message) | Self::Other(message) => formatter.write_str(message),
        }
    }
}

/// An answer within its time.
pub(in crate::app) async fn answer<T>(
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(ANSWER, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) => Err(match status.code {
            404 => Failure::Absent,
            409 => Failure::Conflict(status.message.clone()),
            code if status.message.is_empty() => Failure::Other(format!("HTTP status {code}")),
            _ => Failure::Other(status.message.clone()),
        }),
        Ok(Err(error)) => Err(Failure::Other(innermost(&error))),
        Err(_elapsed) => {
            let seconds = ANSWER.as_secs();
            Err(Failure::Other(format!("no answer within {seconds} s")))
        }
    }
}

/// The innermost cause says what happened; what is around it says little.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
