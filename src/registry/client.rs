//! Questions into requests, responses into answers: one client for one registry host.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::address::AddressPolicy;
use super::auth::{self, AuthFault, Keys};
use super::challenge::{self, Challenge};
use super::fault::{self, Meaning};
use super::manifest_cache::ManifestCache;
use super::retry::Delays;
use super::stats::{Operation, Remaining, Stats};
use crate::clock::Clock;
use crate::credentials::Credential;
use crate::oci::digest::Digest;
use crate::oci::manifest::MANIFEST_BYTES_MAX;
use crate::oci::media_type::ACCEPT_MANIFESTS;
use crate::oci::platform::Platform;
use crate::verify::engine::Ask as Asked;
use crate::verify::finding::Code;
use crate::verify::node::Node;
use crate::verify::round::{Answer, Ask, Question};
use crate::verify::table::ObjectKind;
use crate::verify::target::AuthId;

/// Most redirects that are followed for one manifest.
const REDIRECTS_MAX: usize = 5;
/// An error's body is read up to this.
const ERROR_BYTES_MAX: usize = 64 << 10;
/// A config is read up to this, for its platform.
const CONFIG_BYTES_MAX: usize = 1 << 20;

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
    pub concurrency: usize,
    pub requests_per_second: Option<f64>,
    pub deadlines: Deadlines,
}

/// The client of one registry host.
#[derive(Debug)]
pub struct Client {
    options: ClientOptions,
    http: reqwest::Client,
    /// Never reuses a connection: a second look must not come from the same broken backend.
    fresh: reqwest::Client,
    /// For other hosts that this registry points to.
    elsewhere: reqwest::Client,
    pub keys: Keys,
    slots: Semaphore,
    pace: Option<governor::DefaultDirectRateLimiter>,
    /// A registry that said 429 is left alone until then.
    paused_until: std::sync::Mutex<Option<Instant>>,
    pub remaining: Remaining,
    stats: Stats,
    manifests: Arc<dyn ManifestCache>,
    clock: Arc<dyn Clock>,
}

/// Why there is no response that means something.
#[derive(Debug, Clone)]
struct Failure {
    code: Code,
    message: Arc<str>,
}

impl Failure {
    fn new(code: Code, message: impl Into<Arc<str>>) -> Self {
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
struct Wanted<'a> {
    operation: Operation,
    auth: AuthId,
    repository: &'a Arc<str>,
    method: Method,
    /// Below the endpoint, without leading slash.
    path: String,
    is_manifest: bool,
    first_byte_only: bool,
    is_fresh: bool,
}

/// What came back when something did: a success or a redirect, or what the refusal means.
#[derive(Debug)]
enum Outcome {
    Success(Response),
    /// Somewhere else has it.
    Redirect(Url),
    Refused {
        meaning: Meaning,
        status: u16,
    },
}

impl Client {
    pub fn new(
        options: ClientOptions,
        stats: Stats,
        manifests: Arc<dyn ManifestCache>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, reqwest::Error> {
        let guard = options.guard.clone();
        let http = build(&options, guard.as_ref(), true)?.build()?;
        let fresh = build(&options, guard.as_ref(), true)?
            .pool_max_idle_per_host(0)
            .build()?;
        let elsewhere = build(&options, Some(&options.elsewhere), false)?.build()?;
        let pace = options
            .requests_per_second
            .and_then(quota)
            .map(governor::RateLimiter::direct);
        Ok(Self {
            slots: Semaphore::new(options.concurrency.max(1)),
            http,
            fresh,
            elsewhere,
            keys: Keys::default(),
            pace,
            paused_until: std::sync::Mutex::default(),
            remaining: Remaining::default(),
            stats,
            manifests,
            clock,
            options,
        })
    }

    pub fn concurrency(&self) -> usize {
        self.options.concurrency
    }

    async fn answer(&self, question: &Question) -> Answer {
        let Question {
            auth,
            repository,
            ask,
            confirm,
            ..
        } = question;
        let result = match ask {
            Ask::Tag(tag) => self.tag(*auth, repository, tag, *confirm).await,
            Ask::Manifest { digest, known } => {
                self.manifest(*auth, repository, digest, *known, *confirm)
                    .await
            }
            Ask::Access { digest } => {
                self.manifest(*auth, repository, digest, true, *confirm)
                    .await
            }
            Ask::Blob { digest } => self.blob(*auth, repository, digest, *confirm).await,
            Ask::Config { digest } => self.config(*auth, repository, digest).await,
            Ask::Canary { digest } => {
                let wanted =
                    self.by_digest(Operation::Control, *auth, repository, digest, Method::HEAD);
                self.presence(&wanted).await
            }
            Ask::Control {
                proven: Some((digest, ObjectKind::Blob)),
            } => {
                let wanted = Wanted {
                    operation: Operation::Control,
                    is_fresh: true,
                    ..self.of_blob(*auth, repository, digest, Method::HEAD)
                };
                self.presence(&wanted).await
            }
            Ask::Control {
                proven: Some((digest, ObjectKind::Manifest | ObjectKind::Access)),
            } => {
                let wanted =
                    self.by_digest(Operation::Control, *auth, repository, digest, Method::HEAD);
                self.presence(&Wanted {
                    is_fresh: true,
                    ..wanted
                })
                .await
            }
            Ask::Control { proven: None } => self.front_door(*auth, repository).await,
        };
        result.unwrap_or_else(Answer::from)
    }

    async fn tag(
        &self,
        auth: AuthId,
        repository: &Arc<str>,
        tag: &str,
        confirm: bool,
    ) -> Result<Answer, Failure> {
        let head = Wanted {
            operation: Operation::TagHead,
            path: format!("v2/{repository}/manifests/{tag}"),
            is_fresh: confirm,
            ..self.by_digest(
                Operation::TagHead,
                auth,
                repository,
                &Digest::of(b""),
                Method::HEAD,
            )
        };
        if !confirm {
            match self.manifest_response(&head).await? {
                Ok(response) => {
                    if let Some(digest) = announced_digest(response.headers()) {
                        return Ok(Answer::Tag { digest });
                    }
                    // Older registries omit Docker-Content-Digest: the body has to be hashed.
                }
                Err((Meaning::MethodRefused, _)) => {}
                Err((meaning, status)) => return Ok(refused(&meaning, status)),
            }
        }
        let get = Wanted {
            operation: Operation::ManifestGet,
            method: Method::GET,
            ..head
        };
        match self.manifest_response(&get).await? {
            Ok(response) => {
                let body = read(response, MANIFEST_BYTES_MAX).await?;
                let digest = Digest::of(&body);
                self.manifests.put(&digest, &body);
                Ok(Answer::Tag { digest })
            }
            Err((meaning, status)) => Ok(refused(&meaning, status)),
        }
    }

    async fn manifest(
        &self,
        auth: AuthId,
        repository: &Arc<str>,
        digest: &Digest,
        known: bool,
        confirm: bool,
    ) -> Result<Answer, Failure> {
        let cached = if known {
            None
        } else {
            self.manifests
                .get(digest)
                .filter(|body| Digest::of(body) == *digest)
        };
        if (known || cached.is_some()) && !confirm {
            let head = self.by_digest(
                Operation::ManifestHead,
                auth,
                repository,
                digest,
                Method::HEAD,
            );
            match self.manifest_response(&head).await? {
                Ok(response) => {
                    if announced_digest(response.headers())
                        .is_some_and(|announced| announced != *digest)
                    {
                        return Ok(Answer::WrongDigest);
                    }
                    let size = content_length(response.headers());
                    let node = cached.map(|body| Arc::new(Node::read(&body, None)));
                    return Ok(Answer::Manifest { node, size });
                }
                Err((Meaning::MethodRefused, _)) => {}
                Err((meaning, status)) => return Ok(refused(&meaning, status)),
            }
        }
        let get = Wanted {
            is_fresh: confirm,
            ..self.by_digest(
                Operation::ManifestGet,
                auth,
                repository,
                digest,
                Method::GET,
            )
        };
        match self.manifest_response(&get).await? {
            Ok(response) => {
                let content_type =
                    text(response.headers(), header::CONTENT_TYPE).map(ToOwned::to_owned);
                let body = read(response, MANIFEST_BYTES_MAX).await?;
                if Digest::of(&body) != *digest {
                    return Ok(Answer::WrongDigest);
                }
                self.manifests.put(digest, &body);
                let node = Arc::new(Node::read(&body, content_type.as_deref()));
                Ok(Answer::Manifest {
                    size: Some(node.size),
                    node: Some(node),
                })
            }
            Err((meaning, status)) => Ok(refused(&meaning, status)),
        }
    }

    async fn blob(
        &self,
        auth: AuthId,
        repository: &Arc<str>,
        digest: &Digest,
        confirm: bool,
    ) -> Result<Answer, Failure> {
        if !confirm {
            let head = self.of_blob(auth, repository, digest, Method::HEAD);
            match self.send(&head).await? {
                Outcome::Success(response) => {
                    return Ok(Answer::Blob {
                        size: content_length(response.headers()),
                    });
                }
                // The registry vouches for it; the target is not asked at this depth.
                Outcome::Redirect(_) => return Ok(Answer::Blob { size: None }),
                Outcome::Refused {
                    meaning: Meaning::MethodRefused,
                    ..
                } => {}
                Outcome::Refused { meaning, status } => return Ok(refused(&meaning, status)),
            }
        }
        let get = Wanted {
            operation: Operation::BlobRead,
            first_byte_only: true,
            is_fresh: confirm,
            ..self.of_blob(auth, repository, digest, Method::GET)
        };
        match self.send(&get).await? {
            Outcome::Success(response) => Ok(Answer::Blob {
                size: total_size(&response),
            }),
            Outcome::Redirect(_) => Ok(Answer::Blob { size: None }),
            Outcome::Refused { meaning, status } => Ok(refused(&meaning, status)),
        }
    }

    /// The platform in a config: it is hashed, since a lie here would make a platform needed or not.
    async fn config(
        &self,
        auth: AuthId,
        repository: &Arc<str>,
        digest: &Digest,
    ) -> Result<Answer, Failure> {
        let get = Wanted {
            operation: Operation::BlobGet,
            ..self.of_blob(auth, repository, digest, Method::GET)
        };
        let response = match self.send(&get).await? {
            Outcome::Success(response) => response,
            Outcome::Redirect(url) => match self.follow(&get, url).await? {
                Ok(response) => response,
                Err((meaning, status)) => return Ok(refused(&meaning, status)),
            },
            Outcome::Refused { meaning, status } => return Ok(refused(&meaning, status)),
        };
        let body = read(response, CONFIG_BYTES_MAX).await?;
        if Digest::of(&body) != *digest {
            return Ok(Answer::WrongDigest);
        }
        Ok(Answer::Config {
            platform: config_platform(&body),
        })
    }

    /// `/v2/` answers as a registry does: 200, or 401 to those whom it does not know.
    async fn front_door(&self, auth: AuthId, repository: &Arc<str>) -> Result<Answer, Failure> {
        let wanted = Wanted {
            path: "v2/".to_owned(),
            is_manifest: false,
            is_fresh: true,
            ..self.by_digest(
                Operation::Control,
                auth,
                repository,
                &Digest::of(b""),
                Method::GET,
            )
        };
        match self.send(&wanted).await? {
            Outcome::Success(_)
            | Outcome::Refused {
                meaning: Meaning::Unauthorized | Meaning::Forbidden,
                ..
            } => Ok(Answer::Alive),
            Outcome::Redirect(_) => Err(Failure::new(
                Code::ServerError,
                "`/v2/` answers with a redirect",
            )),
            Outcome::Refused { meaning, status } => Ok(refused(&meaning, status)),
        }
    }

    /// Whether it is there; the answer's body is not looked at.
    async fn presence(&self, wanted: &Wanted<'_>) -> Result<Answer, Failure> {
        match self.send(wanted).await? {
            Outcome::Success(_) | Outcome::Redirect(_) => Ok(Answer::Alive),
            Outcome::Refused { meaning, status } => Ok(refused(&meaning, status)),
        }
    }

    fn by_digest<'a>(
        &self,
        operation: Operation,
        auth: AuthId,
        repository: &'a Arc<str>,
        digest: &Digest,
        method: Method,
    ) -> Wanted<'a> {
        let path = format!("v2/{repository}/manifests/{digest}");
        Wanted {
            operation,
            auth,
            repository,
            method,
            path,
            is_manifest: true,
            first_byte_only: false,
            is_fresh: false,
        }
    }

    fn of_blob<'a>(
        &self,
        auth: AuthId,
        repository: &'a Arc<str>,
        digest: &Digest,
        method: Method,
    ) -> Wanted<'a> {
        Wanted {
            operation: Operation::BlobHead,
            path: format!("v2/{repository}/blobs/{digest}"),
            is_manifest: false,
            ..self.by_digest(Operation::BlobHead, auth, repository, digest, method)
        }
    }

    /// A manifest request with its redirects followed.
    async fn manifest_response(
        &self,
        wanted: &Wanted<'_>,
    ) -> Result<Result<Response, (Meaning, u16)>, Failure> {
        match self.send(wanted).await? {
            Outcome::Success(response) => Ok(Ok(response)),
            Outcome::Refused { meaning, status } => Ok(Err((meaning, status))),
            Outcome::Redirect(url) => self.follow(wanted, url).await,
        }
    }

    /// Follows redirects without credentials: a token is for the host that asked for it.
    async fn follow(
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
            let client = self.client_for(&url, wanted.is_fresh)?;
            let request = client
                .request(wanted.method.clone(), url.clone())
                .headers(headers(wanted));
            let response = self.timed(wanted.operation, request).await?;
            let status = response.status();
            if status.is_redirection() {
                url = location(&url, response.headers())?;
            } else if status.is_success() {
                return Ok(Ok(response));
            } else {
                // Absence is for the registry to say, not for the storage behind it.
                return Ok(Err((Meaning::Strange, status.as_u16())));
            }
        }
        Err(Failure::new(
            Code::ServerError,
            format!("it redirects more than {REDIRECTS_MAX} times"),
        ))
    }

    /// The client that may dial this URL.
    fn client_for(&self, url: &Url, is_fresh: bool) -> Result<&reqwest::Client, Failure> {
        let base = &self.options.base;
        let is_same = url.host_str() == base.host_str()
            && url.port_or_known_default() == base.port_or_known_default();
        if is_same {
            return Ok(if is_fresh { &self.fresh } else { &self.http });
        }
        let host = url.host_str().unwrap_or_default();
        if let Some(reason) = self.options.elsewhere.refusal_of_host(host) {
            let message = format!("it points to {host}, and {reason}");
            return Err(Failure::new(Code::Untrusted, message));
        }
        Ok(&self.elsewhere)
    }

    /// Sends with every credential in turn, until one is let in.
    async fn send(&self, wanted: &Wanted<'_>) -> Result<Outcome, Failure> {
        let identity = self.keys.identity(wanted.auth);
        if identity.credentials.is_empty() {
            return self.send_as(wanted, 0, None).await;
        }
        let mut last = None;
        for index in self
            .keys
            .order(wanted.auth, wanted.repository, identity.credentials.len())
        {
            let credential = identity.credentials.get(index);
            match self.send_as(wanted, index, credential).await {
                Ok(Outcome::Refused {
                    meaning: meaning @ (Meaning::Unauthorized | Meaning::Forbidden),
                    status,
                }) => {
                    last = Some(Ok(Outcome::Refused { meaning, status }));
                }
                Err(failure) if failure.code.verdict_is_about_credentials() => {
                    last = Some(Err(failure))
                }
                Ok(outcome) => {
                    self.keys.remember(wanted.auth, wanted.repository, index);
                    return Ok(outcome);
                }
                Err(failure) => return Err(failure),
            }
        }
        last.unwrap_or_else(|| Err(Failure::new(Code::Unauthorized, "there is no credential")))
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
            let authorization = self
                .authorization(wanted, index, credential, refused.as_ref())
                .await?;
            let outcome = self
                .send_patiently(wanted, authorization.as_ref(), &mut was_challenged)
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
                let fetch =
                    || self.fetch_token(&realm, service.as_deref(), wanted.repository, credential);
                let token = self
                    .keys
                    .token(wanted.auth, index, wanted.repository, refused, fetch)
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
        repository: &Arc<str>,
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
        let client = self
            .client_for(&url, false)
            .map_err(|Failure { code, message }| AuthFault { code, message })?;
        let scope = format!("repository:{repository}:pull");
        let request =
            match credential.map(|credential| (credential, credential.identity_token.as_ref())) {
                Some((_, Some(identity_token))) => client
                    .post(url)
                    .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(refresh_form(identity_token, service, &scope)),
                Some((credential, None)) => {
                    token_query(&mut url, service, &scope);
                    let authorization = auth::basic(credential);
                    client
                        .get(url)
                        .header(header::AUTHORIZATION, sensitive(&authorization))
                }
                None => {
                    token_query(&mut url, service, &scope);
                    client.get(url)
                }
            };
        let from_failure = |Failure { code, message }: Failure| AuthFault { code, message };
        let response = self
            .timed(Operation::Token, request)
            .await
            .map_err(from_failure)?;
        let status = response.status();
        if status.is_success() {
            let body = read(response, auth::TOKEN_BYTES_MAX)
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
        authorization: Option<&SecretString>,
        was_challenged: &mut bool,
    ) -> Result<Outcome, Failure> {
        let mut delays = Delays::default();
        loop {
            let result = self.send_once(wanted, authorization, was_challenged).await;
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
                }) => *retry_after,
                Err(failure) if failure.code == Code::Unreachable => None,
                Ok(_) | Err(_) => return result,
            };
            match delays.next(retry_after) {
                Some(delay) => tokio::time::sleep(delay).await,
                None => return result,
            }
        }
    }

    async fn send_once(
        &self,
        wanted: &Wanted<'_>,
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
        let _slot = self
            .slots
            .acquire()
            .await
            .expect("the semaphore is never closed");
        self.wait_for_pause().await;
        if let Some(pace) = &self.pace {
            pace.until_ready().await;
        }
        let client = if wanted.is_fresh {
            &self.fresh
        } else {
            &self.http
        };
        let url = format!("{}/{}", base.as_str().trim_end_matches('/'), wanted.path);
        let mut request = client
            .request(wanted.method.clone(), url)
            .headers(headers(wanted));
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, sensitive(authorization));
        }
        let response = self.timed(wanted.operation, request).await?;
        self.note_quota(response.headers());
        let status = response.status();
        if status.is_success() {
            return Ok(Outcome::Success(response));
        }
        if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
            let base: Url = response.url().clone();
            return location(&base, response.headers()).map(Outcome::Redirect);
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
        let retry_after = text(response.headers(), header::RETRY_AFTER)
            .and_then(|value| fault::retry_after(value, self.clock.now()));
        let body = if wanted.method == Method::HEAD {
            None
        } else {
            Some(read_some(response, ERROR_BYTES_MAX).await)
        };
        let meaning = fault::meaning(status.as_u16(), body.as_deref(), retry_after);
        Ok(Outcome::Refused {
            meaning,
            status: status.as_u16(),
        })
    }

    /// Sends one request and counts it.
    async fn timed(
        &self,
        operation: Operation,
        request: reqwest::RequestBuilder,
    ) -> Result<Response, Failure> {
        let started = Instant::now();
        let result = request.timeout(self.options.deadlines.total).send().await;
        let status = result
            .as_ref()
            .ok()
            .map(|response| response.status().as_u16());
        self.stats
            .record(&self.options.host, operation, status, started.elapsed());
        result.map_err(|error| transport_failure(&error))
    }

    fn pause(&self, retry_after: Option<Duration>) {
        let wait = retry_after
            .unwrap_or(Duration::from_secs(1))
            .min(super::retry::RETRY_AFTER_MAX);
        *self.paused_until.lock().expect("never held across a panic") = Some(Instant::now() + wait);
    }

    async fn wait_for_pause(&self) {
        let until = *self.paused_until.lock().expect("never held across a panic");
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
    }

    /// `ratelimit-remaining: 76;w=21600`
    fn note_quota(&self, headers: &HeaderMap) {
        let value = headers
            .get("ratelimit-remaining")
            .and_then(|value| value.to_str().ok());
        if let Some(count) = value.and_then(|value| value.split(';').next()?.trim().parse().ok()) {
            self.remaining.set(count);
        }
    }
}

impl Asked for Client {
    async fn ask(&self, question: Question) -> (Question, Answer) {
        let answer = self.answer(&question).await;
        (question, answer)
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
        .connect_timeout(options.deadlines.connect)
        .read_timeout(options.deadlines.idle)
        .pool_max_idle_per_host(options.concurrency)
        .tcp_nodelay(true);
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

/// A second's worth may come at once.
fn quota(per_second: f64) -> Option<governor::Quota> {
    let period = Duration::try_from_secs_f64(per_second.recip()).ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it saturates"
    )]
    let burst = std::num::NonZeroU32::new(per_second.ceil() as u32)?;
    Some(governor::Quota::with_period(period)?.allow_burst(burst))
}

fn headers(wanted: &Wanted<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // A compressed body would have another digest, and could be a bomb.
    headers.insert(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    );
    if wanted.is_manifest {
        headers.insert(header::ACCEPT, HeaderValue::from_static(ACCEPT_MANIFESTS));
    }
    if wanted.first_byte_only {
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=0-0"));
    }
    headers
}

fn sensitive(secret: &SecretString) -> HeaderValue {
    let mut value = HeaderValue::from_str(secret.expose_secret())
        .unwrap_or_else(|_not_a_header| HeaderValue::from_static("invalid"));
    value.set_sensitive(true);
    value
}

fn token_query(url: &mut Url, service: Option<&str>, scope: &str) {
    let mut query = url.query_pairs_mut();
    if let Some(service) = service {
        query.append_pair("service", service);
    }
    query.append_pair("scope", scope);
}

/// The OAuth2 form in which an identity token is exchanged.
fn refresh_form(identity_token: &SecretString, service: Option<&str>, scope: &str) -> String {
    let mut url: Url = "http://form/".parse().expect("a constant URL");
    url.query_pairs_mut()
        .append_pair("grant_type", "refresh_token")
        .append_pair("client_id", "pullproof")
        .append_pair("refresh_token", identity_token.expose_secret())
        .append_pair("service", service.unwrap_or_default())
        .append_pair("scope", scope);
    url.query().unwrap_or_default().to_owned()
}

fn refused(meaning: &Meaning, status: u16) -> Answer {
    match meaning {
        Meaning::Absent => Answer::Absent,
        Meaning::Unauthorized
        | Meaning::Forbidden
        | Meaning::RateLimited { .. }
        | Meaning::Trouble { .. }
        | Meaning::MethodRefused
        | Meaning::Strange => {
            let message = match (meaning, status) {
                (Meaning::Strange, 404) => {
                    "the registry answered 404 without the specification's error code".to_owned()
                }
                (_, status) => format!("the registry answered {status}"),
            };
            Answer::Failed {
                code: meaning.code(),
                message: message.into(),
            }
        }
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn announced_digest(headers: &HeaderMap) -> Option<Digest> {
    headers
        .get("docker-content-digest")?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// The header itself: what the client library reports for a HEAD is the length of its empty body.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, header::CONTENT_LENGTH)?.parse().ok()
}

/// The whole object's size from an answer to a ranged GET.
fn total_size(response: &Response) -> Option<u64> {
    if response.status() == StatusCode::PARTIAL_CONTENT {
        let range = text(response.headers(), header::CONTENT_RANGE)?;
        return range.rsplit_once('/')?.1.parse().ok();
    }
    content_length(response.headers())
}

fn location(base: &Url, headers: &HeaderMap) -> Result<Url, Failure> {
    text(headers, header::LOCATION)
        .and_then(|location| base.join(location).ok())
        .ok_or_else(|| Failure::new(Code::ServerError, "it redirects to nowhere"))
}

/// Reads a whole body, or fails: a part of a body is none.
async fn read(response: Response, bytes_max: usize) -> Result<Bytes, Failure> {
    let mut body = BytesMut::new();
    let mut stream = response.bytes_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| transport_failure(&error))?;
        if body.len() + chunk.len() > bytes_max {
            let message = format!("its answer is longer than {bytes_max} bytes");
            return Err(Failure::new(Code::ServerError, message));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Reads what fits, for an error's code.
async fn read_some(response: Response, bytes_max: usize) -> Bytes {
    read(response, bytes_max).await.unwrap_or_default()
}

fn transport_failure(error: &reqwest::Error) -> Failure {
    let mut causes = Vec::new();
    let mut source: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    let mut code = if error.is_timeout() {
        Code::Timeout
    } else {
        Code::Unreachable
    };
    let mut message = None;
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<super::address::Refused>() {
            code = Code::Untrusted;
            message = Some(refused.to_string());
        }
        if let Some(tls) = tls_problem(cause) {
            code = Code::Tls;
            let hint = if tls.contains("InvalidContentType") {
                "; if it is meant to speak plain HTTP, say so for this host (plainHttp: true, or --plain-http HOST)"
            } else {
                ""
            };
            message = Some(format!("{tls}{hint}"));
        }
        causes.push(cause.to_string());
        source = cause.source();
    }
    // The innermost cause names the thing; the outer ones repeat the URL.
    let message = message
        .or_else(|| causes.pop())
        .unwrap_or_else(|| error.to_string());
    Failure::new(code, message)
}

/// rustls hides in an I/O error in an I/O error, which `source` steps over.
fn tls_problem(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
        return Some(tls.to_string());
    }
    tls_problem(cause.downcast_ref::<std::io::Error>()?.get_ref()?)
}

fn config_platform(body: &[u8]) -> Option<Platform> {
    #[derive(serde::Deserialize)]
    struct Config {
        os: String,
        architecture: String,
        #[serde(default)]
        variant: Option<String>,
    }
    let config: Config = serde_json::from_slice(body).ok()?;
    if config.os.is_empty() || config.architecture.is_empty() {
        return None;
    }
    Some(Platform::new(
        &config.os,
        &config.architecture,
        config.variant.as_deref(),
    ))
}
