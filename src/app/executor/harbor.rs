//! Harbor's own collection, by its API (`api/v2.0/swagger.yaml`, `/system/gc`). It blocks.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::{info, warn};

use super::tail::Tail;
use super::{Ended, Outcome, Watch, permitted, rest};
use crate::clock::Clock;
use crate::collection::gate::Permit;
use crate::config::Registry;

const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(30);
/// How often it is asked how far it is.
const LOOKED: Duration = Duration::from_secs(1);
/// So long what was told to stop may take, and what was started may take to be listed.
const PATIENCE: Duration = Duration::from_secs(60);
const BODY_BYTES_MAX: usize = 1 << 20;
const CREDENTIALS_BYTES_MAX: usize = 4096;

/// One collection, as Harbor lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Execution {
    pub id: i64,
    #[serde(default)]
    pub job_status: String,
}

/// Where it is (`src/jobservice/job/status.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    UnderWay,
    Succeeded,
    Failed,
    Stopped,
}

impl Execution {
    /// What is none of the final states is under way.
    pub fn state(&self) -> State {
        match &*self.job_status {
            "Success" => State::Succeeded,
            "Error" => State::Failed,
            "Stopped" => State::Stopped,
            _ => State::UnderWay,
        }
    }
}

/// The way to it, as whom the configuration says.
#[derive(Debug)]
pub struct Api {
    client: reqwest::Client,
    base: String,
    authorization: SecretString,
    runtime: Handle,
}

impl Api {
    pub fn new(registry: &Registry, credentials: &Path, runtime: &Handle) -> Result<Self, String> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("pullproof/", env!("CARGO_PKG_VERSION")))
            // Credentials go to this host alone.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(ANSWER);
        let unread = |file: &Path, error: &dyn std::fmt::Display| {
            format!("{}: it cannot be read: {error}", file.display())
        };
        if let Some(file) = &registry.tls.ca {
            let bundle = std::fs::read(file).map_err(|error| unread(file, &error))?;
            let bundle = reqwest::Certificate::from_pem_bundle(&bundle);
            for certificate in bundle.map_err(|error| unread(file, &error))? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        if let Some(pair) = &registry.tls.client_certificate {
            let mut pem = Zeroizing::new(Vec::new());
            for file in [&pair.file, &pair.key_file] {
                pem.extend(std::fs::read(file).map_err(|error| unread(file, &error))?);
            }
            let identity = reqwest::Identity::from_pem(&pem);
            builder = builder.identity(identity.map_err(|error| unread(&pair.file, &error))?);
        }
        builder = match &registry.proxy {
            Some(proxy) => {
                let proxy = reqwest::Proxy::all(proxy.to_string());
                builder.proxy(proxy.map_err(|error| error.to_string())?)
            }
            None if registry.endpoint.is_loopback() => builder.no_proxy(),
            None => builder,
        };
        let secret = std::fs::read_to_string(credentials).map(Zeroizing::new);
        let secret = secret.map_err(|error| unread(credentials, &error))?;
        let secret = secret.trim();
        let is_pair = secret
            .split_once(':')
            .is_some_and(|(user, _)| !user.is_empty());
        if !is_pair || secret.len() > CREDENTIALS_BYTES_MAX || secret.contains('\n') {
            return Err(format!(
                "{}: it is not USER:PASSWORD in one line",
                credentials.display()
            ));
        }
        let endpoint = &registry.endpoint;
        Ok(Self {
            client: builder.build().map_err(|error| error.to_string())?,
            base: format!(
                "{}://{}/api/v2.0/system/gc",
                endpoint.scheme.as_str(),
                endpoint.authority()
            ),
            authorization: format!("Basic {}", STANDARD.encode(secret)).into(),
            runtime: runtime.clone(),
        })
    }

    /// The last one; `None` where there never was any.
    pub fn last(&self) -> Result<Option<Execution>, String> {
        let query = "?page=1&page_size=10&sort=-id";
        let request = self.request(Method::GET, query);
        let all: Vec<Execution> = self
            .runtime
            .block_on(async { read(send(request).await?).await })?;
        Ok(all.into_iter().max_by_key(|it| it.id))
    }

    /// Whether this one is; of none there ever was, it is not.
    pub fn is_under_way(&self, id: i64) -> Result<bool, String> {
        Ok(id > 0 && self.get(id)?.state() == State::UnderWay)
    }

    fn get(&self, id: i64) -> Result<Execution, String> {
        let request = self.request(Method::GET, &format!("/{id}"));
        self.runtime
            .block_on(async { read(send(request).await?).await })
    }

    fn stop(&self, id: i64) -> Result<(), String> {
        let request = self.request(Method::PUT, &format!("/{id}"));
        self.runtime
            .block_on(async { send(request).await.map(drop) })
    }

    /// What it says; nothing where that cannot be had.
    fn log(&self, id: i64) -> Tail {
        let request = self.request(Method::GET, &format!("/{id}/log"));
        let mut tail = Tail::default();
        let read = async {
            let mut answer = send(request).await?;
            while let Ok(Some(part)) = answer.chunk().await {
                tail.take(&part);
            }
            Ok::<_, String>(())
        };
        if let Err(problem) = self.runtime.block_on(read) {
            warn!(id, "its log cannot be read: {problem}");
        }
        tail
    }

    /// Asks for one now. Whether it was started is not known where this fails.
    fn trigger(&self, deletes_untagged: bool) -> Result<Option<i64>, String> {
        let body = json!({
            "schedule": {"type": "Manual"},
            "parameters": {"delete_untagged": deletes_untagged, "dry_run": false},
        });
        let request = self.request(Method::POST, "/schedule");
        let request = request
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.to_string());
        self.runtime.block_on(async {
            let answer = send(request).await?;
            let location = answer.headers().get(header::LOCATION);
            let location = location.and_then(|it| it.to_str().ok());
            Ok(location.and_then(|it| it.rsplit('/').next()?.parse().ok()))
        })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut authorization = header::HeaderValue::from_str(self.authorization.expose_secret())
            .unwrap_or_else(|_never| header::HeaderValue::from_static(""));
        authorization.set_sensitive(true);
        self.client
            .request(method, format!("{}{path}", self.base))
            .header(header::AUTHORIZATION, authorization)
            .header(header::ACCEPT, "application/json")
    }
}

/// Starts one, and yields its number. Another one that is under way is left alone, and nothing is started then.
pub fn start(
    permit: &Permit,
    epoch: u32,
    api: &Api,
    deletes_untagged: bool,
    before: i64,
    clock: &dyn Clock,
) -> Result<i64, Ended> {
    permitted(permit, epoch, clock).map_err(Ended::Badly)?;
    let problem = match api.trigger(deletes_untagged) {
        Ok(Some(id)) => {
            info!(id, "Harbor's collection was started");
            return Ok(id);
        }
        Ok(None) => "it does not say which".to_owned(),
        Err(problem) => problem,
    };
    // The answer may have been lost, and not the question.
    match listed_after(api, before) {
        Ok(Some(id)) => Ok(id),
        Ok(None) => Err(Ended::Badly(format!("it was not started: {problem}"))),
        Err(more) => Err(Ended::Unknown(format!(
            "whether it was started is not known: {problem}, and then {more}"
        ))),
    }
}

/// One that came after another, waited for.
fn listed_after(api: &Api, before: i64) -> Result<Option<i64>, String> {
    let begun = Instant::now();
    loop {
        let last = api.last();
        match last {
            Ok(Some(last)) if last.id > before => return Ok(Some(last.id)),
            _ if begun.elapsed() < PATIENCE / 6 => rest(&api.runtime, LOOKED),
            Ok(_) => return Ok(None),
            Err(problem) => return Err(problem),
        }
    }
}

/// Waits for its end, or stops it.
pub fn follow(api: &Api, id: i64, watch: &mut Watch<'_>) -> Outcome {
    let ended = loop {
        match api.get(id).map(|it| (it.state(), it.job_status)) {
            Ok((State::Succeeded, _)) => break Ended::Well,
            Ok((State::Failed | State::Stopped, status)) => {
                break Ended::Badly(format!("Harbor's collection {id} ended: {status}"));
            }
            Ok((State::UnderWay, _)) => {}
            Err(problem) => warn!(id, "how far it is cannot be told: {problem}"),
        }
        if let Some(why) = watch.over() {
            warn!(id, "Harbor's collection is stopped: {why}");
            break match end(api, id) {
                Ok(()) => Ended::Badly(format!("it was stopped: {why}")),
                Err(problem) => Ended::Unknown(format!("{why}, and {problem}")),
            };
        }
        rest(watch.runtime, LOOKED);
    };
    Outcome {
        ended,
        said: api.log(id),
    }
}

/// Stops it, and waits until it says so. What may go on is the error.
pub fn end(api: &Api, id: i64) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let told = match api.get(id) {
            Ok(it) if it.state() != State::UnderWay => return Ok(()),
            // Told again: it may not have been there yet.
            Ok(it) => match api.stop(id) {
                Ok(()) => format!("it still says {}", it.job_status),
                Err(problem) => problem,
            },
            Err(problem) => problem,
        };
        if begun.elapsed() >= PATIENCE {
            return Err(format!("Harbor's collection {id} was told to stop: {told}"));
        }
        rest(&api.runtime, LOOKED);
    }
}

/// Stops what a run that died may have started: the one that it noted, or whichever came after the last.
pub fn end_left_over(api: &Api, id: Option<i64>, before: i64) -> Result<(), String> {
    let id = match id {
        Some(id) => Some(id),
        None => listed_after(api, before)?,
    };
    id.map_or(Ok(()), |id| end(api, id))
}

async fn send(request: RequestBuilder) -> Result<Response, String> {
    let answer = request.send().await;
    let answer = answer.map_err(|error| innermost(&error.without_url()))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    Err(format!("Harbor's API answers {status}{}", hint(status)))
}

fn hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => ": the credentials are not right",
        StatusCode::FORBIDDEN => ": they may not run collections (a system administrator's may)",
        StatusCode::NOT_FOUND => ": is it Harbor 2.0 or later?",
        StatusCode::CONFLICT => ": another collection is under way",
        _ => "",
    }
}

async fn read<T: serde::de::DeserializeOwned>(mut answer: Response) -> Result<T, String> {
    let mut body = Vec::new();
    loop {
        let part = answer.chunk().await;
        match part.map_err(|error| innermost(&error.without_url()))? {
            Some(part) => body.extend_from_slice(&part),
            None => break,
        }
        if body.len() > BODY_BYTES_MAX {
            return Err("Harbor's API answers more than 1 MiB".to_owned());
        }
    }
    serde_json::from_slice(&body)
        .map_err(|error| format!("Harbor's API answers other JSON than it should: {error}"))
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_to_have_ended_is_under_way() {
        let state = |status: &str| {
            let text = format!(r#"{{"id": 7, "job_status": "{status}", "deleted": false}}"#);
            serde_json::from_str::<Execution>(&text).unwrap().state()
        };
        assert_eq!(state("Success"), State::Succeeded);
        assert_eq!(state("Error"), State::Failed);
        assert_eq!(state("Stopped"), State::Stopped);
        for status in ["Pending", "Scheduled", "Running", "", "Anything"] {
            assert_eq!(state(status), State::UnderWay, "{status}");
        }
    }
}
