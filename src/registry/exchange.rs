//! A record of what was asked and answered, for whoever wants to see what a verdict stands on.
//!
//! It holds no secret: of a credential only which one it was, of a URL neither the query nor, on another
//! host, the path, since both may hold a signature that opens the object to everybody.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::{Request, Response, Url, header};
use tokio::time::Instant;

use super::stats::Operation;
use super::transport::Failure;
use super::wire;
use crate::credentials::Credential;
use crate::oci::digest::Digest;
use crate::verify::finding::Code;

tokio::task_local! {
    /// Whose turn it is in the request that is being made.
    static TURN: Option<Arc<Credential>>;
}

/// Runs a request as this credential, so that its record can name it.
pub(super) async fn as_credential<F: Future>(
    credential: Option<&Arc<Credential>>,
    request: F,
) -> F::Output {
    TURN.scope(credential.cloned(), request).await
}

/// One request and its answer.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub operation: Operation,
    pub method: String,
    /// The host that it was sent to, with the port if it is not the usual one.
    pub host: String,
    /// Without query; `None` on another host than the registry's.
    pub path: Option<String>,
    pub range: Option<String>,
    /// What it was sent with; `None` for nobody.
    pub credential: Option<Arc<Credential>>,
    /// Since the recording began.
    pub at: Duration,
    /// Until the head of the answer was there.
    pub duration: Duration,
    pub answer: Result<Answered, Fault>,
}

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub status: u16,
    pub digest: Option<Digest>,
    /// Of the whole object.
    pub size: Option<u64>,
    /// The host that it sends us to.
    pub redirect: Option<String>,
}

/// There was no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub code: Code,
    pub message: Arc<str>,
}

/// All exchanges of one command. A daemon records none: they would be without bound.
#[derive(Debug)]
pub struct Exchanges {
    began: Instant,
    list: Mutex<Vec<Exchange>>,
}

impl Default for Exchanges {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            list: Mutex::default(),
        }
    }
}

impl Exchanges {
    /// What was recorded, in the order in which it was sent.
    pub fn list(&self) -> Vec<Exchange> {
        let mut list = self.list.lock().expect("never held across a panic").clone();
        list.sort_by_key(|exchange| exchange.at);
        list
    }

    /// Notes a request that is about to be sent to the registry at `base`, or to where it points.
    pub(super) fn sending(&self, operation: Operation, base: &Url, request: &Request) -> Exchange {
        let url = request.url();
        let is_own = authority(url) == authority(base);
        let is_signed = request.headers().contains_key(header::AUTHORIZATION)
            // An identity token goes in the body.
            || operation == Operation::Token && request.body().is_some();
        let turn = TURN.try_with(Clone::clone).ok().flatten();
        Exchange {
            operation,
            method: request.method().to_string(),
            host: authority(url),
            path: (is_own || operation == Operation::Token).then(|| url.path().to_owned()),
            range: wire::text(request.headers(), header::RANGE).map(ToOwned::to_owned),
            credential: turn.filter(|_| is_signed),
            at: self.began.elapsed(),
            duration: Duration::ZERO,
            answer: Err(Fault {
                code: Code::Unreachable,
                message: "it was not answered".into(),
            }),
        }
    }

    pub(super) fn answered(&self, sent: Exchange, result: Result<&Response, &Failure>) {
        let answer = match result {
            Ok(response) => Ok(head(response)),
            Err(Failure { code, message }) => Err(Fault {
                code: *code,
                message: Arc::clone(message),
            }),
        };
        let exchange = Exchange {
            duration: self.began.elapsed().saturating_sub(sent.at),
            answer,
            ..sent
        };
        let mut list = self.list.lock().expect("never held across a panic");
        list.push(exchange);
    }
}

fn head(response: &Response) -> Answered {
    let status = response.status();
    let redirect = status
        .is_redirection()
        .then(|| wire::location(response.url(), response.headers()).ok())
        .flatten();
    Answered {
        status: status.as_u16(),
        digest: wire::announced_digest(response.headers()),
        size: wire::total_size(response).filter(|_| status.is_success()),
        redirect: redirect.as_ref().map(authority),
    }
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::SecretString;

    fn record(url: &str, authorization: Option<&str>) -> Exchange {
        let mut request = Request::new(reqwest::Method::GET, url.parse().unwrap());
        if let Some(authorization) = authorization {
            let authorization = authorization.parse().unwrap();
            request
                .headers_mut()
                .insert(header::AUTHORIZATION, authorization);
        }
        let base = "https://registry.example:5000/".parse().unwrap();
        let exchanges = Exchanges::default();
        exchanges.sending(Operation::BlobRead, &base, &request)
    }

    #[tokio::test]
    async fn of_another_host_only_its_name_is_kept() {
        drop(rustls::crypto::ring::default_provider().install_default());
        let credential = Arc::new(Credential::new(
            "alice".to_owned(),
            SecretString::from("wonder"),
            None,
            None,
        ));
        let own = as_credential(Some(&credential), async {
            record(
                "https://registry.example:5000/v2/a/blobs/b?x=1",
                Some("Basic YTpi"),
            )
        });
        let own = own.await;
        assert_eq!(own.path.as_deref(), Some("/v2/a/blobs/b"));
        assert_eq!(own.credential.as_deref(), Some(&*credential));
        let signed = "https://bucket.example/secret/key?X-Amz-Signature=abc";
        let elsewhere = as_credential(Some(&credential), async { record(signed, None) }).await;
        assert_eq!(
            (elsewhere.host.as_str(), &elsewhere.path),
            ("bucket.example", &None)
        );
        assert_eq!(elsewhere.credential, None);
        let text = format!("{own:?} {elsewhere:?}");
        for secret in ["wonder", "YTpi", "abc", "secret/key", "x=1"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
}
