//! The questions to an API server: a page of a list, a watch, a secret, and what it offers.
//!
//! Asked by way of kube's client but not its `Api`: that logs a body which it cannot parse, a secret's
//! among them, and its watch ends quietly on errors, so that nobody could tell whether it is healthy.
//! Every answer is bounded in bytes and time.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};
use http::header::ACCEPT_ENCODING;
use http::{HeaderValue, Request, StatusCode};
use kube::Client;
use kube::api::{ListParams, WatchParams};
use secrecy::zeroize::Zeroizing;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::inventory::extract::{Search, nullable};

use super::item::{Event, Hidden, Page, parse, read_event, read_page};
use super::kinds::{Resource, Shape};

/// The API server cuts its own work off at 60 s.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);
/// An event is one object.
const EVENT_BYTES_MAX: u64 = 8 << 20;
/// A secret has at most 1 MiB; base64 makes it more.
const SECRET_BYTES_MAX: u64 = 4 << 20;
/// What an API group offers; a large one has some 100 KiB.
const DISCOVERY_BYTES_MAX: u64 = 4 << 20;
/// How much of a message is passed on.
const MESSAGE_CHARS_MAX: usize = 300;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// 410: this resource version or continue token is too old.
    Gone,
    /// 403: pullproof may not.
    Refused(String),
    /// 401: the server does not know who asks.
    Unauthenticated(String),
    /// 404
    Absent,
    /// Discovery answered, and does not have the kind.
    NotInstalled,
    TooLarge,
    /// It tells of a time before what was seen already.
    Behind(String),
    Other(String),
}

impl Failure {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Gone => "its resource version is too old",
            Self::Absent => "the API server does not have it",
            Self::NotInstalled => "it is not installed",
            Self::TooLarge => "the answer is too large",
            Self::Refused(text)
            | Self::Unauthenticated(text)
            | Self::Behind(text)
            | Self::Other(text) => text,
        }
    }
}

/// One page. Without a resource version: the API server then reads from etcd's quorum, and not from
/// a cache that may lag behind or go back in time.
pub(super) async fn page(
    client: &Client,
    resource: &Resource,
    limit: u32,
    continue_token: Option<&str>,
) -> Result<Page, Failure> {
    let mut parameters = ListParams::default().limit(limit);
    parameters.continue_token = continue_token.map(ToOwned::to_owned);
    parameters.field_selector = resource.field_selector.map(ToOwned::to_owned);
    let request = kube::core::Request::new(&resource.path)
        .list(&parameters)
        .map_err(|error| other(&error))?;
    let content = whole(client, request, resource.shape.page_bytes()).await?;
    if resource.shape != Shape::Release {
        return read_page(&content, resource);
    }
    // It takes a while to unpack them, and others wait for this thread.
    let resource = resource.clone();
    let read = tokio::task::spawn_blocking(move || read_page(&content, &resource)).await;
    read.map_err(|error| other(&error))?
}

/// The answer to a question without parameters, as JSON.
pub(super) async fn get<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T, Failure> {
    let request = Request::get(path)
        .body(Vec::new())
        .map_err(|error| other(&error))?;
    parse(&whole(client, request, DISCOVERY_BYTES_MAX).await?)
}

/// A secret's manifest.
#[derive(Deserialize)]
pub(super) struct Secret {
    #[serde(default, rename = "type", deserialize_with = "nullable")]
    pub kind: String,
    #[serde(default, deserialize_with = "nullable")]
    pub data: BTreeMap<String, Hidden>,
}

/// `namespace` and `name` have been checked to be names.
pub(super) async fn secret(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Secret, Failure> {
    let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
    let request = Request::get(path)
        .body(Vec::new())
        .map_err(|error| other(&error))?;
    let content = whole(client, request, SECRET_BYTES_MAX).await?;
    // The parser's message may quote what it read.
    serde_json::from_slice(&content)
        .map_err(|_quotes_the_secret| Failure::Other("the answer is not a secret".to_owned()))
}

async fn whole(
    client: &Client,
    request: Request<Vec<u8>>,
    bytes_max: u64,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let read = async {
        let reader = client
            .request_stream(request)
            .await
            .map_err(|error| failure(&error))?;
        let mut reader = Box::pin(reader).take(bytes_max + 1);
        let mut content = Zeroizing::new(Vec::new());
        reader
            .read_to_end(&mut content)
            .await
            .map_err(|error| other(&error))?;
        if content.len() as u64 > bytes_max {
            return Err(Failure::TooLarge);
        }
        Ok(content)
    };
    timeout(ANSWER_TIMEOUT, read).await.unwrap_or_else(|_| {
        let seconds = ANSWER_TIMEOUT.as_secs();
        Err(Failure::Other(format!("no answer within {seconds} s")))
    })
}

/// An open watch.
pub(super) struct Watch {
    reader: Pin<Box<dyn AsyncBufRead + Send>>,
    shape: Shape,
    search: Option<Search>,
    line: Vec<u8>,
}

impl Watch {
    /// Returns when the server has answered 200.
    pub(super) async fn open(
        client: &Client,
        resource: &Resource,
        version: &str,
        seconds: u32,
    ) -> Result<Self, Failure> {
        let parameters = WatchParams {
            timeout: Some(seconds),
            bookmarks: true,
            field_selector: resource.field_selector.map(ToOwned::to_owned),
            ..WatchParams::default()
        };
        let mut request = kube::core::Request::new(&resource.path)
            .watch(&parameters, version)
            .map_err(|error| other(&error))?;
        // From 1.37 on each event is a gzip member of its own, and the client reads only the first
        // (kube's `request_events` says the same of itself).
        request
            .headers_mut()
            .insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let reader = timeout(ANSWER_TIMEOUT, client.request_stream(request))
            .await
            .map_err(|_elapsed| {
                let seconds = ANSWER_TIMEOUT.as_secs();
                Failure::Other(format!("no answer to the watch within {seconds} s"))
            })?
            .map_err(|error| failure(&error))?;
        Ok(Self {
            reader: Box::pin(reader),
            shape: resource.shape,
            search: resource.search.clone(),
            line: Vec::new(),
        })
    }

    /// The next event; `None` when the server has closed the watch.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            self.line.clear();
            let mut reader = (&mut self.reader).take(EVENT_BYTES_MAX);
            reader
                .read_until(b'\n', &mut self.line)
                .await
                .map_err(|error| other(&error))?;
            if self.line.len() as u64 == EVENT_BYTES_MAX {
                return Err(Failure::TooLarge);
            }
            // A line without an end was cut off by the server's going away. The next watch begins
            // before it, so nothing is lost.
            if self.line.last() != Some(&b'\n') {
                return Ok(None);
            }
            if self.line.trim_ascii().is_empty() {
                continue;
            }
            return read_event(&self.line, self.shape, self.search.as_ref()).map(Some);
        }
    }
}

pub(super) fn by_code(code: u16, text: &str) -> Failure {
    match StatusCode::from_u16(code) {
        Ok(StatusCode::GONE) => Failure::Gone,
        Ok(StatusCode::NOT_FOUND) => Failure::Absent,
        Ok(StatusCode::FORBIDDEN) => Failure::Refused(told(text)),
        Ok(StatusCode::UNAUTHORIZED) => Failure::Unauthenticated(told(text)),
        Ok(_) | Err(_) => Failure::Other(told(text)),
    }
}

fn failure(error: &kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) => {
            let text = if status.message.is_empty() {
                format!("HTTP status {}", status.code)
            } else {
                status.message.clone()
            };
            by_code(status.code, &text)
        }
        error => other(error),
    }
}

/// The innermost cause says what happened; what is around it says little.
fn other(error: &(dyn std::error::Error + 'static)) -> Failure {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    Failure::Other(told(&innermost.to_string()))
}

/// A server's words, cut and in one line.
pub(super) fn told(text: &str) -> String {
    let mut told: String = text
        .trim()
        .chars()
        .take(MESSAGE_CHARS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.trim().chars().nth(MESSAGE_CHARS_MAX).is_some() {
        told.push('…');
    }
    told
}
