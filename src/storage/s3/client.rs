//! Questions to a bucket: bounded in number, time and size, and put again while that may help.
//!
//! What changes something is put again only where asking twice is the same as asking once, or where it was
//! certainly not done: refused, or never sent. Else an answer that was lost is an error that says so, and
//! whoever asks has to look what is there before it asks again.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use tokio::sync::Semaphore;

use super::Settings;
use super::etag::Etag;
use super::history::VersionId;
use super::operation::Operation;
use super::page;
use super::refusal::{Answer, Meaning};
use super::{body, connection};
use crate::clock::{Clock, SystemClock};
use crate::credential_source::aws::{Keys, Session};
use crate::registry::retry::{Delays, Patience};
use crate::registry::transport::Deadlines;
use crate::second::Second;

mod exchange;
mod meaning;
mod signed;

pub use exchange::Fence;
pub(super) use exchange::{Question, Success};

/// An error's body is read up to this.
const ERROR_BYTES_MAX: u64 = 64 << 10;
/// A server that cannot be reached is asked less often than one that says it is busy.
const UNREACHED_MAX: u32 = 5;
/// Keys that are refused are renewed so often for one question.
const RENEWALS_MAX: u32 = 2;
/// A server may be silent for long while it copies or deletes many: so many times the deadlines for all else.
const SLOW_IDLE: u32 = 20;
const SLOW_TOTAL: u32 = 120;

/// What an error says where it is not known what became of the question.
const UNKNOWN: &str = "whether it was done is not known: look, and ask again";

/// There is no such object.
pub(super) const NO_SUCH_KEY: &str = "NoSuchKey";

/// How patient a client is if nothing else is said. Of a thousand pages none may fail, where a third of
/// all answers is `503 SlowDown`.
pub(super) const PATIENCE: Patience = Patience {
    first_delay: Duration::from_millis(200),
    longest_delay: Duration::from_secs(5),
    attempts: 12,
    retry_after_max: Duration::from_secs(20),
    pause: Duration::from_secs(1),
};

#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    /// For operations that take long; made when the first is asked for.
    slow: OnceLock<reqwest::Client>,
    session: Session,
    slots: Semaphore,
    patience: Patience,
    deadlines: Deadlines,
    clock: Arc<dyn Clock>,
    settings: Settings,
    /// Scheme and authority.
    base: String,
    /// As it is signed and sent.
    host: String,
    /// Before a key, encoded, with a slash at its end.
    path: String,
}

/// What came of sending a question once.
enum Sent {
    Success(Success),
    Expected(&'static str),
    Refused(Meaning, Option<Duration>),
}

/// No answer came, or not all of it.
struct Lost {
    problem: String,
    /// Whether the server may have got the question.
    was_sent: bool,
}

impl Client {
    pub(super) fn new(
        settings: &Settings,
        deadlines: Deadlines,
        patience: Patience,
    ) -> Result<Self, String> {
        let (base, path) = connection::address(settings);
        let parsed: Url = base
            .parse()
            .map_err(|error| format!("{base} is no address: {error}"))?;
        let failed = |error: reqwest::Error| format!("there is no client for {base}: {error}");
        let http = connection::build(settings, deadlines)?;
        let session =
            Session::new(settings.access_key.clone(), &settings.region).map_err(failed)?;
        Ok(Self {
            http: http.build().map_err(failed)?,
            slow: OnceLock::new(),
            session,
            slots: Semaphore::new(usize::try_from(settings.max_concurrency).unwrap_or(1)),
            patience,
            deadlines,
            clock: Arc::new(SystemClock),
            settings: settings.clone(),
            host: parsed.authority().to_owned(),
            base,
            path,
        })
    }

    /// As [`Client::put`], of what may be there or not: `None` where it is not.
    pub(super) async fn ask<T>(
        &self,
        question: Question<'_>,
        read: impl Fn(Success) -> Result<T, Meaning>,
    ) -> io::Result<Option<T>> {
        let question = Question {
            expected: &[NO_SUCH_KEY],
            ..question
        };
        Ok(self.put(question, read).await?.ok())
    }

    /// Puts the question, and again while that may help. What `read` makes of a success is the answer, or
    /// the code if it is one that was expected.
    ///
    /// The error's kind is `PermissionDenied` where a right is missing, and `Unsupported` where the server
    /// does not know the operation.
    pub(super) async fn put<T>(
        &self,
        question: Question<'_>,
        read: impl Fn(Success) -> Result<T, Meaning>,
    ) -> io::Result<Result<T, &'static str>> {
        // It is kept while waiting: a server that is busy gets less to do.
        let _slot = self.slots.acquire().await.map_err(io::Error::other)?;
        let is_repeatable = question.operation.is_repeatable();
        let failed = |kind, problem: &str| self.failed(question, kind, problem);
        let mut delays = Delays::new(self.patience);
        let (mut unreached, mut renewals) = (0, 0);
        loop {
            let keys = self.session.keys().await.map_err(io::Error::other)?;
            if !(question.fence.0)() {
                let problem = "it was not asked: whoever asks may not do it any more";
                return Err(failed(io::ErrorKind::Other, problem));
            }
            let (meaning, wait) = match self.send(question, &keys).await {
                Ok(Sent::Success(success)) => match read(success) {
                    Ok(answer) => return Ok(Ok(answer)),
                    Err(meaning) => (meaning, None),
                },
                Ok(Sent::Expected(code)) => return Ok(Err(code)),
                Ok(Sent::Refused(meaning, wait)) => (meaning, wait),
                Err(Lost { problem, was_sent }) => {
                    unreached += 1;
                    let problem = format!("it cannot be asked: {problem}");
                    let meaning = match unreached {
                        UNREACHED_MAX.. if is_repeatable || !was_sent => Meaning::Final(problem),
                        _ if was_sent => Meaning::Again(problem),
                        _ => Meaning::Busy(problem),
                    };
                    (meaning, None)
                }
            };
            let problem = match meaning {
                Meaning::Absent if question.expected.contains(&NO_SUCH_KEY) => {
                    return Ok(Err(NO_SUCH_KEY));
                }
                Meaning::Absent => {
                    return Err(failed(io::ErrorKind::NotFound, "there is no such object"));
                }
                Meaning::Denied(problem) => {
                    return Err(failed(io::ErrorKind::PermissionDenied, &problem));
                }
                Meaning::Unsupported(problem) => {
                    return Err(failed(io::ErrorKind::Unsupported, &problem));
                }
                Meaning::Final(problem) => return Err(failed(io::ErrorKind::Other, &problem)),
                Meaning::Again(problem) if !is_repeatable => {
                    let problem = format!("{problem}; {UNKNOWN}");
                    return Err(failed(io::ErrorKind::Other, &problem));
                }
                Meaning::Again(problem) | Meaning::Busy(problem) => problem,
                Meaning::Renew(problem) => {
                    renewals += 1;
                    self.session.refused(&keys).await;
                    if renewals > RENEWALS_MAX {
                        return Err(failed(io::ErrorKind::Other, &problem));
                    }
                    problem
                }
            };
            match delays.next(wait) {
                Some(delay) => tokio::time::sleep(delay).await,
                None => return Err(failed(io::ErrorKind::Other, &problem)),
            }
        }
    }

    fn failed(&self, question: Question<'_>, kind: io::ErrorKind, problem: &str) -> io::Error {
        let Question { operation, key, .. } = question;
        let (name, bucket) = (operation.name(), &self.settings.bucket);
        let of = if key.is_empty() {
            String::new()
        } else {
            format!(" of `{key}`")
        };
        let text = format!(
            "{name}{of} in the bucket `{bucket}` at {}: {problem}",
            self.base
        );
        io::Error::new(kind, text)
    }

    /// Sends once.
    async fn send(&self, question: Question<'_>, keys: &Keys) -> Result<Sent, Lost> {
        let unsent = |problem| Lost {
            problem,
            was_sent: false,
        };
        let http = self.http(question).map_err(unsent)?;
        let request = self.request(question, keys).map_err(unsent)?;
        let is_head = question.operation == Operation::HeadObject;
        let response = http.execute(request).await.map_err(|error| Lost {
            was_sent: !error.is_connect(),
            problem: body::root(error),
        })?;
        let cut = |problem| Lost {
            problem,
            was_sent: true,
        };
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if matches!(status, 200 | 204) {
            let size = length(&headers);
            let limit = if question.is_hashed || is_head {
                None
            } else {
                Some(question.most)
            };
            let too_long = size.filter(|size| limit.is_some_and(|most| *size > most));
            if let Some(size) = too_long {
                let problem = format!("it has {size} bytes");
                return Ok(Sent::Refused(Meaning::Final(problem), None));
            }
            let (body, digest) = if question.is_hashed {
                (Vec::new(), Some(body::digest(response).await.map_err(cut)?))
            } else {
                match body::whole(response, question.most).await.map_err(cut)? {
                    Ok(body) => (body, None),
                    Err(problem) => return Ok(Sent::Refused(Meaning::Final(problem), None)),
                }
            };
            let modified = text("last-modified").and_then(moment);
            let date = text("date").and_then(moment);
            return Ok(Sent::Success(Success {
                modified,
                age: modified
                    .zip(date)
                    .map(|(modified, date)| date.get().saturating_sub(modified.get())),
                size,
                etag: text("etag").and_then(Etag::new),
                version: text("x-amz-version-id").and_then(VersionId::new),
                is_marker: text("x-amz-delete-marker") == Some("true"),
                body,
                digest,
            }));
        }
        // What is too long for an error is none of S3's.
        let body = body::whole(response, ERROR_BYTES_MAX).await.map_err(cut)?;
        let fault = page::fault(&body.unwrap_or_default());
        let answer = Answer {
            status,
            fault: fault.as_ref(),
            is_head,
            region: text("x-amz-bucket-region"),
        };
        let code = answer.code();
        let others = question.expected.iter().filter(|it| **it != NO_SUCH_KEY);
        if let Some(code) = others.into_iter().find(|it| **it == code) {
            return Ok(Sent::Expected(code));
        }
        let wait = text(RETRY_AFTER.as_str()).and_then(|wait| wait.trim().parse().ok());
        let meaning = self.meaning(question.operation, &answer);
        Ok(Sent::Refused(meaning, wait.map(Duration::from_secs)))
    }

    fn http(&self, question: Question<'_>) -> Result<&reqwest::Client, String> {
        if !(question.is_hashed || question.operation.is_slow()) {
            return Ok(&self.http);
        }
        if let Some(slow) = self.slow.get() {
            return Ok(slow);
        }
        let Deadlines {
            connect,
            idle,
            total,
        } = self.deadlines;
        let deadlines = Deadlines {
            connect,
            idle: idle * SLOW_IDLE,
            total: total * SLOW_TOTAL,
        };
        let built = connection::build(&self.settings, deadlines)?.build();
        let built = built.map_err(body::root)?;
        Ok(self.slow.get_or_init(|| built))
    }
}

/// A time as HTTP has it (RFC 9110, 5.6.7).
fn moment(text: &str) -> Option<Second> {
    let at = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(at.timestamp().into())
}

fn length(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(reqwest::header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}
