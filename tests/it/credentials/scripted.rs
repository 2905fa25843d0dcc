//! A registry that tells who asked: it has one small image under every name, lets in whom a test says,
//! and remembers the `Authorization` of each request. What cloud registries do that the real parts
//! cannot, this does: a credential that ends, a stranger who is told 404, ACR's exchange.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pullproof::oci::digest::Digest;
use serde_json::json;

use crate::cli::run::{Ended, run};
use crate::support::daemon::command;
use crate::support::server::Server;

/// How a client gets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// With a user and a password.
    Basic,
    /// With a token of its own realm. A stranger gets one too, and sees nothing with it.
    Token,
}

/// One request below `/v2/`, or to the realm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) path: String,
    /// `user:password`, `refresh:TOKEN`, `token of user:password`, or empty.
    pub(crate) who: String,
}

#[derive(Debug)]
struct Inner {
    door: Door,
    /// Who may pull, and below which repository.
    allowed: Vec<(String, String)>,
    /// Tokens that count, and whose they are.
    tokens: BTreeMap<String, String>,
    tokens_made: usize,
    /// What is taken in exchange for a refresh token (ACR).
    exchanges: BTreeMap<String, String>,
    seen: Vec<Seen>,
    host: String,
}

#[derive(Debug)]
pub(crate) struct Scripted {
    server: Server,
    inner: Arc<Mutex<Inner>>,
}

type Shared = Arc<Mutex<Inner>>;

impl Scripted {
    pub(crate) fn new(door: Door) -> Self {
        let inner = Arc::new(Mutex::new(Inner {
            door,
            allowed: Vec::new(),
            tokens: BTreeMap::new(),
            tokens_made: 0,
            exchanges: BTreeMap::new(),
            seen: Vec::new(),
            host: String::new(),
        }));
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&inner));
        let server = Server::start(router);
        inner.lock().unwrap().host = server.host();
        Self { server, inner }
    }

    pub(crate) fn host(&self) -> String {
        self.server.host()
    }

    /// Lets `user:password` (or `refresh:TOKEN`) pull what is below this.
    pub(crate) fn allow(&self, who: &str, prefix: &str) {
        self.lock()
            .allowed
            .push((who.to_owned(), prefix.to_owned()));
    }

    /// From now on nobody may, and no token counts.
    pub(crate) fn allow_nobody(&self) {
        let mut inner = self.lock();
        inner.allowed.clear();
        inner.tokens.clear();
    }

    /// No token that was given out counts any more.
    pub(crate) fn revoke_tokens(&self) {
        self.lock().tokens.clear();
    }

    /// `POST /oauth2/exchange` takes this access token and gives this refresh token.
    pub(crate) fn exchange(&self, access_token: &str, refresh_token: &str) {
        let pair = (access_token.to_owned(), refresh_token.to_owned());
        self.lock().exchanges.extend([pair]);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.lock().seen.clone()
    }

    /// Everybody who asked for this path, each once, sorted.
    pub(crate) fn who_asked(&self, path: &str) -> Vec<String> {
        let seen = self.seen();
        let who = seen.iter().filter(|seen| seen.path.contains(path));
        let who: std::collections::BTreeSet<&str> = who.map(|seen| seen.who.as_str()).collect();
        who.into_iter().map(str::to_owned).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no handler panics")
    }
}

/// The variables of a command's environment.
pub(crate) type Environment = Vec<(&'static str, String)>;

/// `pullproof verify` of one image of a registry, by what the home configures and these tell.
pub(crate) async fn verify(home: &Path, registry: &Scripted, environment: &Environment) -> Ended {
    let mut command = command(home);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let reference = format!("{}/team/app:1", registry.host());
    command.args(["verify", "-o", "json", &reference]);
    run(command, "").await
}

/// It ended since there was no credential, for this reason, and told no secret.
#[track_caller]
pub(crate) fn assert_unavailable(ended: &Ended, told: &str, secrets: &[&str]) {
    assert_eq!(
        (ended.code, ended.codes("/app:1")),
        (3, vec!["credential_unavailable".to_owned()]),
        "{told}: {ended:?}"
    );
    let view = ended.json();
    let message = view["images"][0]["findings"][0]["message"]
        .as_str()
        .unwrap();
    assert!(message.contains(told), "{message}");
    for secret in secrets {
        let is_told = ended.stdout.contains(secret) || ended.stderr.contains(secret);
        assert!(!is_told, "{ended:?}");
    }
}

async fn answer(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut inner = shared.lock().expect("no handler panics");
    let authorization = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let form = form(&body);
    let path = uri.path().to_owned();
    let who = match authorization.map(|text| text.split_once(' ').unwrap_or((text, ""))) {
        None => match form.get("refresh_token") {
            Some(token) => format!("refresh:{token}"),
            None => String::new(),
        },
        Some(("Basic", pair)) => String::from_utf8(STANDARD.decode(pair).unwrap()).unwrap(),
        Some((_, token)) => match inner.tokens.get(token) {
            Some(who) => format!("token of {who}"),
            None => "a token that does not count".to_owned(),
        },
    };
    inner.seen.push(Seen {
        path: path.clone(),
        who: who.clone(),
    });
    match path.as_str() {
        "/token" | "/oauth2/token" => token(&mut inner, who),
        "/oauth2/exchange" => exchange(&inner, &form),
        _ => registry(&inner, &method, &path, &who),
    }
}

pub(super) fn form(body: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(body);
    let url = reqwest::Url::parse(&format!("http://form/?{text}")).unwrap();
    url.query_pairs().into_owned().collect()
}

fn token(inner: &mut Inner, who: String) -> Response {
    if !who.is_empty() && !inner.allowed.iter().any(|(allowed, _)| *allowed == who) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    inner.tokens_made += 1;
    let token = format!("token-{}", inner.tokens_made);
    inner.tokens.insert(token.clone(), who);
    axum::Json(json!({"access_token": token, "expires_in": 600})).into_response()
}

fn exchange(inner: &Inner, form: &BTreeMap<String, String>) -> Response {
    let of = |key: &str| form.get(key).map(String::as_str);
    let asks_well = of("grant_type") == Some("access_token") && of("service") == Some(&*inner.host);
    let token = form
        .get("access_token")
        .and_then(|token| inner.exchanges.get(token));
    match token {
        Some(token) if asks_well => axum::Json(json!({"refresh_token": token})).into_response(),
        _ => {
            let problem = json!({"errors": [{"code": "UNAUTHORIZED", "message": "told hunter2"}]});
            (StatusCode::UNAUTHORIZED, axum::Json(problem)).into_response()
        }
    }
}

fn registry(inner: &Inner, method: &Method, path: &str, who: &str) -> Response {
    let known = match inner.door {
        Door::Basic => Some(who).filter(|who| !who.is_empty()),
        Door::Token => who.strip_prefix("token of "),
    };
    let Some(known) = known else {
        let challenge = match inner.door {
            Door::Basic => "Basic realm=\"test\"".to_owned(),
            Door::Token => {
                let host = &inner.host;
                // ACR and GitLab name a path of their own; a refresh token is POSTed there.
                format!("Bearer realm=\"http://{host}/oauth2/token\",service=\"{host}\"")
            }
        };
        let headers = [("www-authenticate", challenge)];
        return (StatusCode::UNAUTHORIZED, headers, "{}").into_response();
    };
    let Some(rest) = path.strip_prefix("/v2/").filter(|rest| !rest.is_empty()) else {
        return StatusCode::OK.into_response();
    };
    let (repository, object) = match (rest.split_once("/manifests/"), rest.split_once("/blobs/")) {
        (Some((repository, name)), _) => (repository, Ok(name)),
        (_, Some((repository, digest))) => (repository, Err(digest)),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let mut allowed = inner.allowed.iter();
    if !allowed.any(|(who, prefix)| who == known && repository.starts_with(prefix.as_str())) {
        // Who is not told of it is told that it is not there; who is nobody for a password is not let in.
        return match inner.door {
            Door::Basic => StatusCode::UNAUTHORIZED.into_response(),
            Door::Token => not_there("NAME_UNKNOWN"),
        };
    }
    let (config, layer) = (config(), b"layer of the scripted image".to_vec());
    let manifest = manifest(&config, &layer);
    let digest = Digest::of(&manifest).to_string();
    match object {
        Ok(name) if name == "1" || name == digest => {
            let kind = "application/vnd.oci.image.manifest.v1+json";
            let headers = [("content-type", kind), ("docker-content-digest", &digest)];
            found(method, &headers, manifest)
        }
        Ok(_) => not_there("MANIFEST_UNKNOWN"),
        Err(digest) => {
            let mut blobs = [config, layer].into_iter();
            match blobs.find(|blob| Digest::of(blob).to_string() == digest) {
                Some(blob) => found(
                    method,
                    &[("content-type", "application/octet-stream")],
                    blob,
                ),
                None => not_there("BLOB_UNKNOWN"),
            }
        }
    }
}

fn config() -> Vec<u8> {
    json!({"architecture": "amd64", "os": "linux"})
        .to_string()
        .into_bytes()
}

fn manifest(config: &[u8], layer: &[u8]) -> Vec<u8> {
    let descriptor = |kind: &str, content: &[u8]| json!({"mediaType": kind, "digest": Digest::of(content).to_string(), "size": content.len()});
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
    })
    .to_string()
    .into_bytes()
}

fn found(method: &Method, headers: &[(&'static str, &str)], content: Vec<u8>) -> Response {
    let mut response = Response::builder().header("content-length", content.len());
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    let body = if *method == Method::HEAD {
        Vec::new()
    } else {
        content
    };
    response.body(body.into()).expect("good headers")
}

fn not_there(code: &str) -> Response {
    let body = axum::Json(json!({"errors": [{"code": code, "message": code}]}));
    (StatusCode::NOT_FOUND, body).into_response()
}
