//! A token server as the distribution token specification asks for it, with real signatures: the
//! registry is started with its authority and believes nobody else.
//!
//! Who names a user and a password gets what was asked for; who does not gets `pull`, and only
//! below `public/`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use pullproof::clock::{Clock as _, SystemClock};
use rustls::SignatureScheme;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::SigningKey;
use serde_json::{Value, json};

use super::certificates::{Authority, Key};
use super::server::Server;

pub(crate) const SERVICE: &str = "registry.test";
pub(crate) const ISSUER: &str = "tokens.test";

/// A token that was given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Issued {
    /// Empty for an anonymous one.
    pub(crate) user: String,
    /// As asked for: `repository:NAME:pull,push`.
    pub(crate) scopes: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct TokenServer {
    server: Server,
    authority: PathBuf,
    issued: Arc<Mutex<Vec<Issued>>>,
}

struct Shared {
    users: HashMap<String, String>,
    lifetime: Duration,
    key: Arc<dyn SigningKey>,
    certificate: String,
    issued: Arc<Mutex<Vec<Issued>>>,
}

impl TokenServer {
    pub(crate) async fn start(
        authority: &Authority,
        users: &[(&str, &str)],
        lifetime: Duration,
    ) -> Self {
        let made = authority.issue("tokens", Key::Rsa).await;
        let key = PrivateKeyDer::from_pem_file(&made.key).expect("openssl wrote a key");
        let certificate =
            CertificateDer::from_pem_file(&made.certificate).expect("openssl wrote a certificate");
        let issued = Arc::default();
        let shared = Shared {
            users: users
                .iter()
                .map(|&(user, word)| (user.to_owned(), word.to_owned()))
                .collect(),
            lifetime,
            key: rustls::crypto::ring::sign::any_supported_type(&key).expect("an RSA key"),
            certificate: STANDARD.encode(certificate),
            issued: Arc::clone(&issued),
        };
        let router = Router::new()
            .route("/token", get(token))
            .with_state(Arc::new(shared));
        let authority = authority.certificate().to_owned();
        Self {
            server: Server::start(router),
            authority,
            issued,
        }
    }

    /// By name: crane refuses a realm whose host is a loopback address, lest a registry send it
    /// to its neighbours with a password.
    pub(crate) fn realm(&self) -> String {
        format!("http://localhost:{}/token", self.server.port())
    }

    /// What the registry's `rootcertbundle` is.
    pub(crate) fn authority(&self) -> &Path {
        &self.authority
    }

    pub(crate) fn issued(&self) -> Vec<Issued> {
        self.issued.lock().expect("no handler panics").clone()
    }
}

async fn token(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let user = match credentials(&headers) {
        None => String::new(),
        Some((user, word)) if shared.users.get(&user) == Some(&word) => user,
        Some(_) => return StatusCode::UNAUTHORIZED.into_response(),
    };
    // `scope` may stand there several times, and hold several scopes each time.
    let url = format!("http://localhost/?{}", query.unwrap_or_default());
    let scopes: Vec<String> = reqwest::Url::parse(&url)
        .expect("a query was parsed once already")
        .query_pairs()
        .filter(|(name, _)| name == "scope")
        .flat_map(|(_, value)| value.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .filter(|scope| !scope.is_empty())
        .collect();
    let access: Vec<Value> = scopes
        .iter()
        .filter_map(|scope| grant(&user, scope))
        .collect();

    let now = SystemClock.now().as_second();
    let lifetime = i64::try_from(shared.lifetime.as_secs()).expect("a lifetime below millennia");
    let claims = json!({
        "iss": ISSUER,
        "aud": SERVICE,
        "sub": user,
        // The registry is on the same machine; a second may pass between its clock's reading and ours.
        "nbf": now - 1,
        "iat": now - 1,
        "exp": now + lifetime,
        "jti": format!("{}", shared.issued.lock().expect("no handler panics").len()),
        "access": access,
    });
    let token = sign(&shared, &claims);
    shared
        .issued
        .lock()
        .expect("no handler panics")
        .push(Issued { user, scopes });
    axum::Json(json!({"token": token, "access_token": token, "expires_in": lifetime}))
        .into_response()
}

fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let header = headers.get("authorization")?.to_str().ok()?;
    let decoded = STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, word) = text.split_once(':')?;
    Some((user.to_owned(), word.to_owned()))
}

fn grant(user: &str, scope: &str) -> Option<Value> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    let is_public = name.starts_with("public/");
    let granted: Vec<&str> = actions
        .split(',')
        .filter(|action| !user.is_empty() || (is_public && *action == "pull"))
        .collect();
    (!granted.is_empty()).then(|| json!({"type": kind, "name": name, "actions": granted}))
}

fn sign(shared: &Shared, claims: &Value) -> String {
    // The certificate rides along, and the registry follows it to the authority it was given:
    // that works alike in distribution 2 and 3, while their key ids differ.
    let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [shared.certificate]});
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header), encode(claims));
    let signature = shared
        .key
        .choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])
        .expect("an RSA key signs so")
        .sign(signed.as_bytes())
        .expect("signing does not fail");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}
