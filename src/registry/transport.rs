//! How a request reaches a registry: slots and pace, credentials in turn, tokens, retries, redirects,
//! and whom to dial at all. It knows nothing of what is asked.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header;
use reqwest::{Method, Response, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;

use super::address::AddressPolicy;
use super::auth::{self, AuthFault, Keys};
use super::challenge::{self, Challenge};
use super::exchange::{self, Exchanges};
use super::fault::{self, Meaning};
use super::hosts::{Host, Turn, Visit};
use super::limiter::Outcome as Load;
use super::quota::Kind;
use super::retry::{Delays, Patience};
use super::stats::{Operation, Recorder, Remaining, Stats};
use super::wire;
use crate::clock::Clock;
use crate::credentials::Credential;
use crate::oci::digest::Digest;
use crate::verify::finding::Code;
use crate::verify::question::Answer;
use crate::verify::target::AuthId;

/// Most redirects that are followed for one manifest.
const REDIRECTS_MAX: usize = 5;
/// An error's body is read up to this.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// How long each part of a request may take.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    pub connect: Duration,
    /// No byte for this long.
    pub idle: Duration,
    pub total: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            idle: Duration::from_secs(15),
            total: Duration::from_secs(30),
        }
    }
}

/// Everything about one registry host.
#[derive(Debug)]
pub struct ClientOptions {
    /// As workloads write it; the label `registry`.
    pub host: Arc<str>,
    /// As it is dialled.
    pub base: Url,
    /// The rule for whom to dial; `None` for a host that the operator listed.
    pub guard: Option<AddressPolicy>,
    /// The rule for redirects and realms on other hosts.
    pub elsewhere: AddressPolicy,
    /// PEM bundles of authorities that sign this registry's certificate, besides the system's.
    pub authorities: Vec<Bytes>,
    /// PEM of a client certificate and its key.
    pub client_certificate: Option<SecretString>,
    pub proxy: Option<Url>,
    pub token_realms: Vec<String>,
    /// Most requests at once; how many of them there are is learnt ([`super::limiter`]).
    pub concurrency: usize,
    pub requests_per_second: Option<f64>,
    /// One in how many of the quota that it announces are ours ([`super::quota`]); `None` for a registry
    /// of the operator's own, which keeps the floor only.
    pub quota_share: Option<u64>,
    pub deadlines: Deadlines,
    pub patience: Patience,
    /// Where each request and its answer is noted, if somebody wants to see them.
    pub exchanges: Option<Arc<Exchanges>>,
}

/// The way to one registry host.
#[derive(Debug)]
pub(super) struct Transport {
    options: ClientOptions,
    /// The endpoint's path, with a slash at its end.
    base_path: Box<str>,
    http: reqwest::Client,
    /// Never reuses a connection: a second look must not come from the same broken backend.
    fresh: reqwest::Client,
    /// For other hosts that this registry points to.
    elsewhere: reqwest::Client,
    /// For the token realms that the operator named.
    realm: reqwest::Client,
    pub(super) keys: Keys,
    /// What all clients of this host share.
    host: Arc<Host>,
    pub(super) remaining: Remaining,
    recorder: Recorder,
    clock: Arc<dyn Clock>,
}

/// Why there is no response that means something.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) code: Code,
    pub(super) message: Arc<str>,
}

impl Failure {
    pub(super) fn new(code: Code, message: impl Into<Arc<str>>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl From<AuthFault> for Failure {
    fn from(AuthFault { code, message }: AuthFault) -> Self {
        Self { code, message }
    }
}

impl From<Failure> for Answer {
    fn from(Failure { code, message }: Failure) -> Self {
        Self::Failed { code, message }
    }
}

/// One request as it is meant, before credentials and retries.
#[derive(Debug, Clone)]
pub(super) struct Wanted<'a> {
    pub(super) operation: Operation,
    pub(super) auth: AuthId,
    pub(super) repository: &'a Arc<str>,
    pub(super) method: Method,
    /// Below the endpoint, without leading slash.
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) is_manifest: bool,
    /// Only the byte at this offset.
    pub(super) byte: Option<u64>,
    /// Only if the tag names something else.
    pub(super) unless: Option<Digest>,
    pub(super) is_fresh: bool,
    /// Over the connections of a batch, and no others.
    pub(super) batch: Option<&'a Batch>,
    /// How long all of it may take, where that is longer than usual.
    pub(super) body_limit: Option<Duration>,
    /// What is sent, with its media type.
    pub(super) body: Option<(String, Bytes)>,
    /// What a token has to allow.
    pub(super) right: Right,
}

/// What is asked of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    Pull,
    /// To delete in a repository, and to put back.
    Change,
    /// To list its repositories.
    Catalog,
}

impl Wanted<'_> {
    /// The scope of a token (distribution's token scope documentation).
    fn scope(&self) -> Arc<str> {
        let repository = self.repository;
        match self.right {
            Right::Pull => format!("repository:{repository}:pull").into(),
            Right::Change => format!("repository:{repository}:delete,pull,push").into(),
            Right::Catalog => "registry:catalog:*".into(),
        }
    }

    /// By which tokens are told apart: the repository where it is only pulled from.
    fn token_key(&self) -> Arc<str> {
        match self.right {
            Right::Pull => Arc::clone(self.repository),
            Right::Change | Right::Catalog => self.scope(),
        }
    }
}

/// Connections that nobody had before, for questions that belong together: new ones for each would cost a
/// registry's handshake for every blob that was taken.
#[derive(Debug)]
pub struct Batch(reqwest::Client);

/// What came back when something did: a success or a redirect, or what the refusal means.
#[derive(Debug)]
pub(super) enum Outcome {
    Success(Response),
    /// Somewhere else has it.
    Redirect(Url),
    /// It is what [`Wanted::unless`] says.
    NotModified,
    Refused {
        meaning: Meaning,
        status: u16,
    },
}

impl Transport {
    pub(super) fn new(
        options: ClientOptions,
        stats: Stats,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, reqwest::Error> {
        let guard = options.guard.clone();
        let http = build(&options, guard.as_ref(), true)?.build()?;
        let fresh = build(&options, guard.as_ref(), true)?
            .pool_max_idle_per_host(0)
            .build()?;
        let elsewhere = build(&options, Some(&options.elsewhere), false)?.build()?;
        let realm = build(&options, None, false)?.build()?;
        let base_path = format!("{}/", options.base.path().trim_end_matches('/'));
        let host = stats
            .hosts
            .host(&options.host, options.concurrency, clock.now());
        Ok(Self {
            base_path: base_path.into(),
            http,
            fresh,
            elsewhere,
            realm,
            keys: Keys::default(),
            remaining: host.remaining.clone(),
            recorder: Recorder::new(stats, Arc::clone(&options.host)),
            host,
            clock,
            options,
        })
    }

    /// Connections for a batch of questions.
    pub(super) fn batch(&self) -> Result<Batch, reqwest::Error> {
        let builder = build(&self.options, self.options.guard.as_ref(), true)?;
        builder.build().map(Batch)
    }

    pub(super) fn concurrency(&self) -> usize {
        self.options.concurrency
    }

    /// The path below the endpoint and the query of a URL, if it is one of this registry: of the same
    /// scheme, host and port.
    pub(super) fn own(&self, url: &Url) -> Option<(String, Option<String>)> {
        let path = url.path().strip_prefix(&*self.base_path)?;
        let is_own = url.origin() == self.options.base.origin();
        is_own.then(|| (path.to_owned(), url.query().map(ToOwned::to_owned)))
    }

    /// Follows redirects without credentials: a token is for the host that asked for it.
    pub(super) async fn follow(
        &self,
        wanted: &Wanted<'_>,
        mut url: Url,
    ) -> Result<Result<Response, (Meaning, u16)>, Failure> {
        for _hop in 0..REDIRECTS_MAX {
            if self.options.base.scheme() == "https" && url.scheme() != "https" {
                return Err(Failure::new(
                    Code::Untrusted,
                    "it redirects from https to plain http",
                ));
            }
            let own = match wanted.batch {
                Some(batch) => &batch.0,
                None if wanted.is_fresh => &self.fresh,
                None => &self.http,
            };
            let client = self.client_for(&url, own)?;
            let mut request = reqwest::Request::new(wanted.method.clone(), url.clone());
            *request.headers_mut() = wire::headers(wanted);
            *request.timeout_mut() = wanted.body_limit;
            let (result, _) = self.timed(wanted.operation, client, request).await;
            let response = result?;
            let status = response.status();
            if status.is_redirection() {
                url = wire::location(&url, response.headers())?;
            } else if status.is_success() {
                return Ok(Ok(response));
            } else {
                let is_head = wanted.method == Method::HEAD;
                let body = if is_head {
                    None
                } else {
                    Some(wire::read_some(response, ERROR_BYTES_MAX).await)
                };
                let meaning = fault::meaning_elsewhere(status.as_u16(), body.as_deref());
                return Ok(Err((meaning, status.as_u16())));
            }
        }
        Err(Failure::new(
            Code::ServerError,
            format!("it redirects more than {REDIRECTS_MAX} times"),
        ))
    }

    /// The client that may dial this URL: one for the registry's own host, or the one for others.
    fn client_for<'a>(
        &'a self,
        url: &Url,
        own: &'a reqwest::Client,
    ) -> Result<&'a reqwest::Client, Failure> {
        let base = &self.options.base;
        let is_same = url.host_str() == base.host_str()
            && url.port_or_known_default() == base.port_or_known_default();
        if is_same {
            return Ok(own);
        }
        let host = url.host_str().unwrap_or_default();
        let authority = url
            .port()
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        if !self.options.elsewhere.lists(&authority)
            && let Some(reason) = self.options.elsewhere.refusal_of_host(host)
        {
            let message = format!("it points to {host}, and {reason}");
            return Err(Failure::new(Code::Untrusted, message));
        }
        Ok(&self.elsewhere)
    }

    /// Sends with every credential in turn, until one is let in.
    pub(super) async fn send(&self, wanted: &Wanted<'_>) -> Result<Outcome, Failure> {
        let identity = self.keys.identity(wanted.auth);
        if identity.credentials.is_empty() {
            return self.send_as(wanted, 0, None).await;
        }
        let mut refusal = None;
        let mut absence = None;
        for index in self
            .keys
            .order(wanted.auth, wanted.repository, identity.credentials.len())
        {
            let credential = identity.credentials.get(index);
            match exchange::as_credential(credential, self.send_as(wanted, index, credential)).await
            {
                Ok(Outcome::Refused {
                    meaning: meaning @ (Meaning::Unauthorized | Meaning::Forbidden),
                    status,
                }) => refusal = Some(Ok(Outcome::Refused { meaning, status })),
                Err(failure) if failure.code.verdict_is_about_credentials() => {
                    refusal = Some(Err(failure));
                }
                // Registries say "not there" of what a credential may not see: the next one may.
                Ok(Outcome::Refused {
                    meaning: Meaning::Absent,
                    status,
                }) => {
                    absence = Some(Ok(Outcome::Refused {
                        meaning: Meaning::Absent,
                        status,
                    }));
                }
                Ok(outcome) => {
                    if !matches!(outcome, Outcome::Refused { .. }) {
                        self.keys.remember(wanted.auth, wanted.repository, index);
                    }
                    return Ok(outcome);
                }
                Err(failure) => return Err(failure),
            }
        }
        // Absent only if every one of them says so: one that was refused might have seen it.
        refusal
            .or(absence)
            .unwrap_or_else(|| Err(Failure::new(Code::Unauthorized, "there is no credential")))
    }

    /// Sends as one credential, answering a challenge once and refreshing a token once.
    async fn send_as(
        &self,
        wanted: &Wanted<'_>,
        index: usize,
        credential: Option<&Arc<Credential>>,
    ) -> Result<Outcome, Failure> {
        let mut refused = None;
        let mut was_challenged = false;
        loop {
            let challenge = self.keys.challenge();
            let authorization = self
                .authorization(wanted, index, credential, refused.as_ref())
                .await;
            let authorization = match authorization {
                Ok(authorization) => authorization,
                // What the registry once said of where tokens are had may be over, or have been said by
                // somebody else: it is asked once without one, and says it anew.
                Err(failure) if !was_challenged => {
                    self.send_patiently(wanted, "", None, &mut was_challenged)
                        .await?;
                    if !was_challenged || self.keys.challenge() == challenge {
                        return Err(failure);
                    }
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            let outcome = self
                .send_patiently(
                    wanted,
                    credential.map_or("", |credential| credential.id()),
                    authorization.as_ref(),
                    &mut was_challenged,
                )
                .await?;
            let Outcome::Refused {
                meaning: Meaning::Unauthorized,
                ..
            } = outcome
            else {
                return Ok(outcome);
            };
            let can_answer = match (&authorization, self.keys.challenge()) {
                (None, Some(Challenge::Basic)) => credential.is_some(),
                (None, Some(Challenge::Bearer { .. })) => was_challenged,
                (Some(sent), Some(Challenge::Bearer { .. })) if refused.is_none() => {
                    refused = Some(sent.clone());
                    true
                }
                (_, _) => false,
            };
            if !can_answer {
                return Ok(outcome);
            }
        }
    }

    async fn authorization(
        &self,
        wanted: &Wanted<'_>,
        index: usize,
        credential: Option<&Arc<Credential>>,
        refused: Option<&SecretString>,
    ) -> Result<auth::Authorization, Failure> {
        match self.keys.challenge() {
            None => Ok(None),
            Some(Challenge::Basic) => Ok(credential.map(|credential| auth::basic(credential))),
            Some(Challenge::Bearer { realm, service }) => {
                if let Some(token) =
                    credential.and_then(|credential| credential.registry_token.as_ref())
                {
                    return Ok(Some(format!("Bearer {}", token.expose_secret()).into()));
                }
                let (key, scope) = (wanted.token_key(), wanted.scope());
                let fetch = || self.fetch_token(&realm, service.as_deref(), &scope, credential);
                let token = self
                    .keys
                    .token(wanted.auth, index, &key, refused, fetch)
                    .await?;
                Ok(Some(token))
            }
        }
    }

    /// Asks the realm for a token to pull from one repository.
    async fn fetch_token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: &str,
        credential: Option<&Arc<Credential>>,
    ) -> Result<(SecretString, Duration), AuthFault> {
        let fault = |code: Code, message: String| AuthFault {
            code,
            message: message.into(),
        };
        let mut url: Url = realm
            .parse()
            .map_err(|_url| fault(Code::ServerError, "its token realm is not a URL".to_owned()))?;
        let authority = url.host_str().unwrap_or_default().to_owned();
        if credential.is_some()
            && !auth::realm_is_trusted(&url, &self.options.base, &self.options.token_realms)
        {
            let message = format!(
                "it wants its credentials sent to {authority}, which is another host; \
                 list it under registries[].tokenRealms if that is meant"
            );
            return Err(fault(Code::Untrusted, message));
        }
        let client = if auth::realm_is_listed(&url, &self.options.token_realms) {
            // The operator's word, like an endpoint: it may be at any address.
            &self.realm
        } else {
            self.client_for(&url, &self.http)
                .map_err(|Failure { code, message }| AuthFault { code, message })?
        };
        let request =
            match credential.map(|credential| (credential, credential.identity_token.as_ref())) {
                Some((_, Some(identity_token))) => client
                    .post(url)
                    .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(wire::refresh_form(identity_token, service, scope)),
                Some((credential, None)) => {
                    wire::token_query(&mut url, service, scope);
                    let authorization = auth::basic(credential);
                    client
                        .get(url)
                        .header(header::AUTHORIZATION, wire::sensitive(&authorization))
                }
                None => {
                    wire::token_query(&mut url, service, scope);
                    client.get(url)
                }
            };
        let from_failure = |Failure { code, message }: Failure| AuthFault { code, message };
        let request = request
            .build()
            .map_err(|error| from_failure(wire::transport_failure(&error.without_url())))?;
        let (result, _) = self.timed(Operation::Token, client, request).await;
        let response = result.map_err(from_failure)?;
        let status = response.status();
        if status.is_success() {
            let body = wire::read(response, auth::TOKEN_BYTES_MAX)
                .await
                .map_err(from_failure)?;
            return auth::read_token(&body);
        }
        let code = match status {
            StatusCode::UNAUTHORIZED => Code::Unauthorized,
            StatusCode::FORBIDDEN => Code::Forbidden,
            StatusCode::TOO_MANY_REQUESTS => Code::RateLimited,
            _ => Code::ServerError,
        };
        Err(fault(
            code,
            format!("the token server {authority} answered {}", status.as_u16()),
        ))
    }

    /// Sends until it is answered, waiting as long as the registry wants within bounds.
    async fn send_patiently(
        &self,
        wanted: &Wanted<'_>,
        credential: &str,
        authorization: Option<&SecretString>,
        was_challenged: &mut bool,
    ) -> Result<Outcome, Failure> {
        let mut delays = Delays::new(self.options.patience);
        loop {
            let result = self
                .send_once(wanted, credential, authorization, was_challenged)
                .await;
            let retry_after = match &result {
                Ok(Outcome::Refused {
                    meaning: Meaning::RateLimited { retry_after },
                    ..
                }) => {
                    self.pause(*retry_after);
                    *retry_after
                }
                Ok(Outcome::Refused {
                    meaning: Meaning::Trouble { retry_after },
                    ..
                }) => {
                    // Only if it says so: one bad answer is no reason to leave the others alone.
                    if retry_after.is_some() {
                        self.pause(*retry_after);
                    }
                    *retry_after
                }
                Err(failure) if failure.code == Code::Unreachable => None,
                Ok(_) | Err(_) => return result,
            };
            // Whether it was done is not known, and what is there now may be somebody else's.
            if wanted.right == Right::Change {
                return result;
            }
            match delays.next(retry_after) {
                Some(delay) => tokio::time::sleep(delay).await,
                None => return result,
            }
        }
    }

    /// Asks once, as nobody, and follows nothing. Whatever is answered is an answer.
    pub(super) async fn look(&self, path: &str) -> Result<Response, Failure> {
        let turn = self.turn("", Kind::Other).await?;
        let mut url = self.options.base.clone();
        url.set_path(&format!("{}{path}", self.base_path));
        let request = reqwest::Request::new(Method::GET, url);
        let operation = Operation::Control;
        let (result, took) = self.timed(operation, &self.fresh, request).await;
        let headers = result.as_ref().ok().map(Response::headers);
        turn.end(headers, operation as usize, took, load(result.as_ref()));
        result
    }

    /// Waits until a request may be sent.
    async fn turn<'a>(&'a self, credential: &'a str, kind: Kind) -> Result<Turn<'a>, Failure> {
        let visit = Visit {
            credential,
            kind,
            share: self.options.quota_share,
            requests_per_second: self.options.requests_per_second,
            wait_max: self.options.patience.retry_after_max,
        };
        let turn = self.host.turn(visit, self.clock.as_ref()).await;
        turn.map_err(|reason| Failure::new(Code::RateLimited, reason))
    }

    async fn send_once(
        &self,
        wanted: &Wanted<'_>,
        credential: &str,
        authorization: Option<&SecretString>,
        was_challenged: &mut bool,
    ) -> Result<Outcome, Failure> {
        let base = &self.options.base;
        if let (Some(guard), Some(host)) = (&self.options.guard, base.host_str())
            && let Some(reason) = guard.refusal_of_host(host)
        {
            let message =
                format!("{host} is not asked: {reason}; list it under `registries` to allow it");
            return Err(Failure::new(Code::Untrusted, message));
        }
        let is_pull = wanted.is_manifest && wanted.method == Method::GET;
        let kind = if is_pull { Kind::Pull } else { Kind::Other };
        let turn = self.turn(credential, kind).await?;
        let client = if wanted.is_fresh {
            &self.fresh
        } else {
            &self.http
        };
        // Only path and query are parsed anew for each request: host and port are the endpoint's.
        let mut url = base.clone();
        url.set_path(&format!("{}{}", self.base_path, wanted.path));
        url.set_query(wanted.query.as_deref());
        let mut request = reqwest::Request::new(wanted.method.clone(), url);
        *request.headers_mut() = wire::headers(wanted);
        if let Some(authorization) = authorization {
            let authorization = wire::sensitive(authorization);
            request
                .headers_mut()
                .insert(header::AUTHORIZATION, authorization);
        }
        if let Some((media_type, body)) = &wanted.body {
            if let Ok(media_type) = header::HeaderValue::from_str(media_type) {
                request
                    .headers_mut()
                    .insert(header::CONTENT_TYPE, media_type);
            }
            *request.body_mut() = Some(body.clone().into());
        }
        *request.timeout_mut() = wanted.body_limit;
        let (result, took) = self.timed(wanted.operation, client, request).await;
        let headers = result.as_ref().ok().map(Response::headers);
        let kind = wanted.operation as usize;
        turn.end(headers, kind, took, load(result.as_ref()));
        let response = result?;
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED && wanted.unless.is_some() {
            return Ok(Outcome::NotModified);
        }
        if status.is_success() {
            return Ok(Outcome::Success(response));
        }
        if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
            let base: Url = response.url().clone();
            return wire::location(&base, response.headers()).map(Outcome::Redirect);
        }
        if status == StatusCode::UNAUTHORIZED {
            let values = response.headers().get_all(header::WWW_AUTHENTICATE);
            if let Some(challenge) =
                challenge::choose(values.iter().filter_map(|value| value.to_str().ok()))
            {
                *was_challenged = true;
                self.keys.learn_challenge(challenge);
            }
        }
        let retry_after = wire::text(response.headers(), header::RETRY_AFTER)
            .and_then(|value| fault::retry_after(value, self.clock.now()));
        let body = if wanted.method == Method::HEAD {
            None
        } else {
            Some(wire::read_some(response, ERROR_BYTES_MAX).await)
        };
        let meaning = fault::meaning(status.as_u16(), body.as_deref(), retry_after);
        Ok(Outcome::Refused {
            meaning,
            status: status.as_u16(),
        })
    }

    fn pause(&self, retry_after: Option<Duration>) {
        let unsaid = self.options.patience.pause;
        self.host.pause(retry_after, unsaid, self.clock.now());
    }

    /// Sends one request and counts it.
    async fn timed(
        &self,
        operation: Operation,
        client: &reqwest::Client,
        request: reqwest::Request,
    ) -> (Result<Response, Failure>, Duration) {
        let exchanges = self.options.exchanges.as_deref();
        let sent =
            exchanges.map(|exchanges| exchanges.sending(operation, &self.options.base, &request));
        let started = Instant::now();
        let result = client.execute(request).await;
        let took = started.elapsed();
        let status = result
            .as_ref()
            .ok()
            .map(|response| response.status().as_u16());
        self.recorder.record(operation, status, took);
        // A URL may hold a signature, and this is shown to people.
        let result = result.map_err(|error| wire::transport_failure(&error.without_url()));
        if let (Some(exchanges), Some(sent)) = (exchanges, sent) {
            exchanges.answered(sent, result.as_ref());
        }
        (result, took)
    }
}

/// What an answer says of how busy the registry is.
fn load(result: Result<&Response, &Failure>) -> Load {
    match result.map(|response| response.status().as_u16()) {
        Ok(429 | 503 | 504)
        | Err(Failure {
            code: Code::Timeout,
            ..
        }) => Load::Overloaded,
        Ok(_) => Load::Answered,
        Err(_) => Load::Other,
    }
}

fn build(
    options: &ClientOptions,
    guard: Option<&AddressPolicy>,
    is_registry: bool,
) -> Result<reqwest::ClientBuilder, reqwest::Error> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("pullproof/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        // What is sent again is sent by us, and counted; and no request need be kept for it.
        .retry(reqwest::retry::never().max_retries_per_request(0))
        .timeout(options.deadlines.total)
        .connect_timeout(options.deadlines.connect)
        .read_timeout(options.deadlines.idle)
        .pool_max_idle_per_host(options.concurrency)
        .tcp_nodelay(true);
    if options.base.host_str().is_some_and(is_loopback) {
        // What runs on this machine is not behind the environment's proxy.
        builder = builder.no_proxy();
    }
    if let Some(policy) = guard {
        builder = builder.dns_resolver(super::address::GuardedResolver(policy.clone()));
    }
    for bundle in &options.authorities {
        for certificate in reqwest::Certificate::from_pem_bundle(bundle)? {
            builder = builder.add_root_certificate(certificate);
        }
    }
    if let Some(proxy) = &options.proxy {
        builder = builder.proxy(reqwest::Proxy::all(proxy.clone())?);
    }
    if let Some(pem) = options.client_certificate.as_ref().filter(|_| is_registry) {
        builder = builder.identity(reqwest::Identity::from_pem(pem.expose_secret().as_bytes())?);
    }
    Ok(builder)
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
