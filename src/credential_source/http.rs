//! Requests to token services and metadata services: bounded in time and size, tried again while it
//! may help, and their errors told without what was sent.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use serde::Deserialize as _;
use serde::de::DeserializeOwned;

use super::Unavailable;
use crate::oci::reference::shown;
use crate::registry::retry::{Delays, Patience};

const BODY_BYTES_MAX: usize = 256 << 10;
const FILE_BYTES_MAX: u64 = 64 << 10;
const CONNECT_BOUND: Duration = Duration::from_secs(5);
const TOTAL_BOUND: Duration = Duration::from_secs(15);

/// Where metadata services are, which speak plain HTTP: of an instance, and of a container or pod.
const METADATA_HOSTS: &[&str] = &[
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "[fd00:ec2::254]",
    "[fd00:ec2::23]",
    "metadata.google.internal",
];

/// The clients. Neither follows redirects, and neither knows of a registry's address guard.
#[derive(Debug)]
pub(super) struct Http {
    outside: Client,
    /// For this machine's own services, which are behind no proxy.
    here: Client,
}

impl Http {
    /// `authorities` are PEM bundles to trust besides the system's.
    pub(super) fn new(authorities: &[Bytes], proxy: Option<&str>) -> Result<Self, reqwest::Error> {
        let mut outside = builder();
        for bundle in authorities {
            for certificate in reqwest::Certificate::from_pem_bundle(bundle)? {
                outside = outside.add_root_certificate(certificate);
            }
        }
        if let Some(proxy) = proxy {
            outside = outside.proxy(reqwest::Proxy::all(proxy)?);
        }
        Ok(Self {
            outside: outside.build()?,
            here: builder().no_proxy().build()?,
        })
    }

    /// The client for a URL, where what is sent there is sent safely: by https, or within the machine.
    pub(super) fn client(&self, what: &str, url: &str) -> Result<(&Client, Url), Unavailable> {
        let parsed: Url = url
            .parse()
            .map_err(|_url| Unavailable::new(format!("{what}: {} is no URL", shown(url))))?;
        let host = parsed.host_str().unwrap_or_default();
        let is_here = METADATA_HOSTS.contains(&host) || is_loopback(host);
        if parsed.scheme() != "https" && !(parsed.scheme() == "http" && is_here) {
            return Err(Unavailable::new(format!(
                "{what}: {} is neither https nor on this machine, and is sent no credentials",
                shown(url)
            )));
        }
        let client = if is_here { &self.here } else { &self.outside };
        Ok((client, parsed))
    }
}

fn builder() -> reqwest::ClientBuilder {
    Client::builder()
        .user_agent(concat!("pullproof/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_BOUND)
        .timeout(TOTAL_BOUND)
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Sends, again if it may help, and yields the body of a success. `what` names the service.
pub(super) async fn send(
    what: &str,
    request: RequestBuilder,
) -> Result<Zeroizing<Vec<u8>>, Unavailable> {
    let mut delays = Delays::new(Patience::default());
    loop {
        let attempt = request
            .try_clone()
            .ok_or_else(|| Unavailable::new(format!("{what}: the request cannot be sent twice")))?;
        let (problem, may_help) = match attempt.send().await {
            Ok(response) => {
                let status = response.status();
                let body = read(what, response).await?;
                if status.is_success() {
                    return Ok(body);
                }
                let may_help = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                let answered = format!("{what} answered {}{}", status.as_u16(), reason(&body));
                (answered, may_help)
            }
            // The error's text has the URL, and a URL may have a token.
            Err(error) => (format!("{what}: {}", root(&error.without_url())), true),
        };
        match delays.next(None).filter(|_| may_help) {
            Some(delay) => tokio::time::sleep(delay).await,
            None => return Err(Unavailable::new(problem)),
        }
    }
}

/// Sends, and reads JSON. What does not fit is not quoted: it may be a token.
pub(super) async fn send_for<T: DeserializeOwned>(
    what: &str,
    request: RequestBuilder,
) -> Result<T, Unavailable> {
    let body = send(what, request).await?;
    serde_json::from_slice(&body)
        .map_err(|_quotes| Unavailable::new(format!("{what} answered other JSON than it should")))
}

async fn read(what: &str, response: Response) -> Result<Zeroizing<Vec<u8>>, Unavailable> {
    let mut body = Zeroizing::new(Vec::new());
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk
            .map_err(|error| Unavailable::new(format!("{what}: {}", root(&error.without_url()))))?;
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(Unavailable::new(format!(
                "{what} answered more than 256 KiB"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The innermost cause says what happened; those around it, that something did.
fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The short words for an error, as AWS and OAuth have them. Never the whole answer: a signature that
/// does not match is answered with all that was signed.
fn reason(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let word = match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(json) => ["/__type", "/error", "/error/status", "/errors/0/code"]
            .iter()
            .find_map(|place| json.pointer(place)?.as_str().map(str::to_owned)),
        Err(_no_json) => between(&text, "<Code>", "</Code>").map(str::to_owned),
    };
    word.map_or_else(String::new, |word| format!(" ({})", shown(&word)))
}

/// The text between two marks, the first that is found.
pub(super) fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}

/// `application/x-www-form-urlencoded`
pub(super) fn form(pairs: &[(&str, &str)]) -> String {
    let mut url: Url = "http://form/".parse().expect("a constant URL");
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

/// A string of JSON that is a secret.
pub(super) fn secret<'de, D: serde::Deserializer<'de>>(from: D) -> Result<SecretString, D::Error> {
    String::deserialize(from).map(Into::into)
}

/// A variable of the environment that says something.
#[expect(
    clippy::disallowed_methods,
    reason = "by these, a cloud tells each of its clients what they are; none is of our configuration"
)]
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The content of a file that holds a secret, without the end of its last line.
pub(super) async fn file(what: &str, path: &Path) -> Result<SecretString, Unavailable> {
    let problem =
        |problem: String| Unavailable::new(format!("{what} {}: {problem}", path.display()));
    let metadata = tokio::fs::metadata(path)
        .await
        .map_err(|error| problem(format!("it cannot be read: {error}")))?;
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        return Err(problem("it is not a file of at most 64 KiB".to_owned()));
    }
    let content = tokio::fs::read(path)
        .await
        .map(Zeroizing::new)
        .map_err(|error| problem(format!("it cannot be read: {error}")))?;
    let text = std::str::from_utf8(&content)
        .map_err(|_quotes| problem("it is not text".to_owned()))?
        .trim();
    if text.is_empty() {
        return Err(problem("it is empty".to_owned()));
    }
    Ok(text.into())
}
