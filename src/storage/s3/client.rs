//! Questions to a bucket: signed, bounded in number, time and size, and put again while that may help.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Method, Response, Url};
use secrecy::ExposeSecret as _;
use tokio::sync::Semaphore;

use super::Settings;
use super::refusal::{self, Answer, Asked, Meaning};
use super::{connection, page};
use crate::clock::{Clock, SystemClock};
use crate::credential_source::aws::{Keys, Session, sigv4};
use crate::oci::digest::Digest;
use crate::registry::retry::{Delays, Patience};
use crate::registry::transport::Deadlines;

/// An error's body is read up to this.
const ERROR_BYTES_MAX: u64 = 64 << 10;
/// A server that cannot be reached is asked less often than one that says it is busy.
const UNREACHED_MAX: u32 = 5;
/// Keys that are refused are renewed so often for one question.
const RENEWALS_MAX: u32 = 2;

/// How patient a client is if nothing else is said. Of a thousand pages none may fail, where a third of
/// all answers is `503 SlowDown`.
pub(super) const PATIENCE: Patience = Patience {
    first_delay: Duration::from_millis(200),
    longest_delay: Duration::from_secs(5),
    attempts: 12,
    retry_after_max: Duration::from_secs(20),
    pause: Duration::from_secs(1),
};

/// A question. What is not said is not asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) method: &'a Method,
    /// The object's; empty for the bucket.
    pub(super) key: &'a str,
    pub(super) query: &'a [(&'a str, &'a str)],
    /// A longer body is an error.
    pub(super) most: u64,
}

/// What a success brought.
#[derive(Debug)]
pub(super) struct Success {
    /// `Content-Length`
    pub(super) size: Option<u64>,
    pub(super) body: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    session: Session,
    slots: Semaphore,
    patience: Patience,
    clock: Arc<dyn Clock>,
    bucket: String,
    region: String,
    /// Scheme and authority.
    base: String,
    /// As it is signed and sent.
    host: String,
    /// Before a key, encoded, with a slash at its end.
    path: String,
}

impl Client {
    pub(super) fn new(
        settings: &Settings,
        deadlines: Deadlines,
        patience: Patience,
    ) -> Result<Self, String> {
        let Settings { region, bucket, .. } = settings;
        let (base, path) = connection::address(settings);
        let parsed: Url = base
            .parse()
            .map_err(|error| format!("{base} is no address: {error}"))?;
        let failed = |error: reqwest::Error| format!("there is no client for {base}: {error}");
        let http = connection::build(settings, deadlines)?;
        let session = Session::new(settings.access_key.clone(), region).map_err(failed)?;
        Ok(Self {
            http: http.build().map_err(failed)?,
            session,
            slots: Semaphore::new(usize::try_from(settings.max_concurrency).unwrap_or(1)),
            patience,
            clock: Arc::new(SystemClock),
            bucket: bucket.clone(),
            region: region.clone(),
            host: parsed.authority().to_owned(),
            base,
            path,
        })
    }

    /// Puts the question, and again while that may help. What `read` makes of the body of a success is the
    /// answer; `None` where there is no such object.
    pub(super) async fn ask<T>(
        &self,
        question: Question<'_>,
        read: impl Fn(Success) -> Result<T, Meaning>,
    ) -> io::Result<Option<T>> {
        // It is kept while waiting: a server that is busy gets less to do.
        let _slot = self.slots.acquire().await.map_err(io::Error::other)?;
        let mut delays = Delays::new(self.patience);
        let (mut unreached, mut renewals) = (0, 0);
        loop {
            let keys = self.session.keys().await.map_err(io::Error::other)?;
            let (meaning, wait) = match self.send(question, &keys).await {
                Ok(Ok(success)) => match read(success) {
                    Ok(answer) => return Ok(Some(answer)),
                    Err(meaning) => (meaning, None),
                },
                Ok(Err((meaning, wait))) => (meaning, wait),
                Err(problem) => {
                    unreached += 1;
                    let problem = format!("it cannot be asked: {problem}");
                    if unreached >= UNREACHED_MAX {
                        (Meaning::Final(problem), None)
                    } else {
                        (Meaning::Again(problem), None)
                    }
                }
            };
            let problem = match meaning {
                Meaning::Absent => return Ok(None),
                Meaning::Final(problem) => return Err(self.failed(&problem)),
                Meaning::Again(problem) => problem,
                Meaning::Renew(problem) => {
                    renewals += 1;
                    self.session.refused(&keys).await;
                    if renewals > RENEWALS_MAX {
                        return Err(self.failed(&problem));
                    }
                    problem
                }
            };
            match delays.next(wait) {
                Some(delay) => tokio::time::sleep(delay).await,
                None => return Err(self.failed(&problem)),
            }
        }
    }

    fn failed(&self, problem: &str) -> io::Error {
        io::Error::other(format!(
            "the bucket `{}` at {}: {problem}",
            self.bucket, self.base
        ))
    }

    /// Sends once. The outer error is that nothing came, or not all.
    async fn send(
        &self,
        question: Question<'_>,
        keys: &Keys,
    ) -> Result<Result<Success, (Meaning, Option<Duration>)>, String> {
        let request = self.request(question, keys)?;
        let is_head = question.method == Method::HEAD;
        let response = self.http.execute(request).await.map_err(root)?;
        let status = response.status().as_u16();
        let (size, headers) = (length(response.headers()), response.headers().clone());
        if status == 200 {
            if !is_head && size.is_some_and(|size| size > question.most) {
                let problem = format!("it has {} bytes", size.unwrap_or_default());
                return Ok(Err((Meaning::Final(problem), None)));
            }
            let body = match body(response, question.most).await? {
                Ok(body) => body,
                Err(problem) => return Ok(Err((Meaning::Final(problem), None))),
            };
            return Ok(Ok(Success { size, body }));
        }
        // What is too long for an error is none of S3's.
        let body = body(response, ERROR_BYTES_MAX).await?.unwrap_or_default();
        let fault = page::fault(&body);
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let answer = Answer {
            status,
            fault: fault.as_ref(),
            is_head,
            region: text("x-amz-bucket-region"),
        };
        let wait = text(RETRY_AFTER.as_str()).and_then(|wait| wait.trim().parse().ok());
        Ok(Err((self.meaning(&answer), wait.map(Duration::from_secs))))
    }

    pub(super) fn meaning(&self, answer: &Answer<'_>) -> Meaning {
        let asked = Asked {
            bucket: &self.bucket,
            region: &self.region,
        };
        refusal::meaning(answer, asked)
    }

    fn request(&self, question: Question<'_>, keys: &Keys) -> Result<reqwest::Request, String> {
        let Question {
            method, key, query, ..
        } = question;
        let path = format!("{}{}", self.path, sigv4::encoded_path(key));
        let query = sigv4::canonical_query(query);
        let url = format!("{}{path}", self.base);
        let url = if query.is_empty() {
            url
        } else {
            format!("{url}?{query}")
        };
        let parsed: Url = url.parse().map_err(|error| format!("{url}: {error}"))?;
        // A parser of URLs may understand a path otherwise than S3 does, which knows of no `..`.
        if parsed.as_str() != url {
            return Err(format!("`{key}` cannot be asked for"));
        }
        let now = self.clock.now();
        let (date, hash) = (sigv4::date(now), Digest::of(b"").hex());
        let mut headers = vec![
            ("host", self.host.as_str()),
            ("x-amz-content-sha256", &hash),
            ("x-amz-date", &date),
        ];
        if let Some(token) = &keys.session_token {
            headers.push(("x-amz-security-token", token.expose_secret()));
        }
        let signed = sigv4::Request {
            method: method.as_str(),
            path: &path,
            query: &query,
            headers: &headers,
            body: b"",
        };
        let scope = sigv4::Scope {
            region: &self.region,
            service: "s3",
            at: now,
        };
        let authorization = sigv4::authorization(&signed, &scope, &keys.id, &keys.secret);
        let request = headers.iter().fold(
            self.http.request(method.clone(), parsed),
            |request, (name, value)| request.header(*name, *value),
        );
        request
            .header("authorization", authorization)
            .build()
            .map_err(root)
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(reqwest::header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// The whole body. The inner error is that there is more than that.
async fn body(response: Response, most: u64) -> Result<Result<Vec<u8>, String>, String> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(root)?;
        if body.len() + chunk.len() > most {
            return Ok(Err(format!("it has more than {most} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Ok(body))
}

/// The innermost cause says what happened; those around it, that something did.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn root(error: reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
