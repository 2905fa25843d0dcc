//! Who asks, and with what: identities, tokens and where credentials may go.
//!
//! A token belongs to one credential of one identity and one repository. It is fetched by one request
//! however many wait for it, used until shortly before it expires by our own monotonic clock (the
//! server's may be wrong), and thrown away once when it is refused.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::time::Instant;

use super::challenge::Challenge;
use crate::credentials::Credential;
use crate::verify::finding::Code;
use crate::verify::target::AuthId;

/// A token body longer than this is not read.
pub const TOKEN_BYTES_MAX: usize = 256 << 10;
/// What the token specification assumes where `expires_in` is missing.
const TOKEN_LIFE_DEFAULT: Duration = Duration::from_secs(60);
const TOKEN_LIFE_MAX: Duration = Duration::from_secs(3600);

/// Credentials that are tried in turn, as the kubelet tries every pull secret that matches.
#[derive(Debug, Default)]
pub struct Identity {
    /// Empty: nobody.
    pub credentials: Vec<Arc<Credential>>,
}

/// Why there is no authorization to send.
#[derive(Debug, Clone)]
pub struct AuthFault {
    pub code: Code,
    pub message: Arc<str>,
}

/// What to send as `Authorization`; `None` sends nothing.
pub type Authorization = Option<SecretString>;

type TokenKey = (AuthId, usize, Arc<str>);
type TokenSlot = Arc<tokio::sync::Mutex<Option<Token>>>;

#[derive(Debug, Clone)]
struct Token {
    header: SecretString,
    expires: Instant,
}

/// The identities and tokens of one registry.
#[derive(Debug, Default)]
pub struct Keys {
    identities: RwLock<Vec<Arc<Identity>>>,
    challenge: RwLock<Option<Challenge>>,
    tokens: Mutex<HashMap<TokenKey, TokenSlot>>,
    /// Which credential of an identity worked last for a repository.
    worked: Mutex<HashMap<(AuthId, Arc<str>), usize>>,
}

impl Keys {
    /// Sets the identities; their place in the list is their [`AuthId`].
    pub fn set_identities(&self, identities: Vec<Arc<Identity>>) {
        *self.identities.write().expect("never held across a panic") = identities;
    }

    pub fn identity(&self, auth: AuthId) -> Arc<Identity> {
        let identities = self.identities.read().expect("never held across a panic");
        identities.get(auth.0 as usize).cloned().unwrap_or_default()
    }

    pub fn challenge(&self) -> Option<Challenge> {
        self.challenge
            .read()
            .expect("never held across a panic")
            .clone()
    }

    pub fn learn_challenge(&self, challenge: Challenge) {
        *self.challenge.write().expect("never held across a panic") = Some(challenge);
    }

    /// The order in which to try the credentials: what worked last comes first.
    pub fn order(&self, auth: AuthId, repository: &Arc<str>, count: usize) -> Vec<usize> {
        let worked = self.worked.lock().expect("never held across a panic");
        let first = worked
            .get(&(auth, Arc::clone(repository)))
            .copied()
            .filter(|first| *first < count);
        let rest = (0..count).filter(|index| Some(*index) != first);
        first.into_iter().chain(rest).collect()
    }

    pub fn remember(&self, auth: AuthId, repository: &Arc<str>, index: usize) {
        if index > 0 || auth != AuthId::OWN {
            let mut worked = self.worked.lock().expect("never held across a panic");
            worked.insert((auth, Arc::clone(repository)), index);
        }
    }

    /// The slot in which the token for this use is kept; whoever holds its lock fetches it.
    fn slot(&self, key: TokenKey) -> TokenSlot {
        let mut tokens = self.tokens.lock().expect("never held across a panic");
        Arc::clone(tokens.entry(key).or_default())
    }

    /// A token, from the slot or by `fetch`, which is run once however many wait.
    pub async fn token<F>(
        &self,
        auth: AuthId,
        index: usize,
        repository: &Arc<str>,
        refused: Option<&SecretString>,
        fetch: impl FnOnce() -> F,
    ) -> Result<SecretString, AuthFault>
    where
        F: Future<Output = Result<(SecretString, Duration), AuthFault>>,
    {
        let slot = self.slot((auth, index, Arc::clone(repository)));
        let mut token = slot.lock().await;
        if let Some(Token { header, expires }) = &*token {
            let is_refused =
                refused.is_some_and(|refused| refused.expose_secret() == header.expose_secret());
            if Instant::now() < *expires && !is_refused {
                return Ok(header.clone());
            }
        }
        let (header, life) = fetch().await?;
        *token = Some(Token {
            header: header.clone(),
            expires: Instant::now() + life,
        });
        Ok(header)
    }
}

/// `Authorization: Basic` for a credential.
pub fn basic(credential: &Credential) -> SecretString {
    let pair = format!(
        "{}:{}",
        credential.username,
        credential.password.expose_secret()
    );
    format!("Basic {}", STANDARD.encode(pair)).into()
}

/// Whether credentials may be sent to a token realm.
///
/// A registry that could name any realm could have any credential (CVE-2020-15157 and its kin): only
/// its own host, what `tokenRealms` lists, and Docker Hub's well-known one.
pub fn realm_is_trusted(realm: &Url, registry: &Url, listed: &[String]) -> bool {
    let same_host = realm.host_str() == registry.host_str()
        && realm.port_or_known_default() == registry.port_or_known_default();
    let no_downgrade = realm.scheme() == "https" || realm.scheme() == registry.scheme();
    let is_docker_hub = registry.host_str() == Some("registry-1.docker.io")
        && realm.host_str() == Some("auth.docker.io")
        && realm.scheme() == "https";
    no_downgrade && (same_host || is_docker_hub) || realm_is_listed(realm, listed)
}

/// Whether the operator named this realm, or what is above it.
pub fn realm_is_listed(realm: &Url, listed: &[String]) -> bool {
    let authority = match (realm.host_str(), realm.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => return false,
    };
    let mut page = realm.clone();
    page.set_query(None);
    page.set_fragment(None);
    listed.iter().any(|entry| {
        let below = page.as_str().strip_prefix(entry.trim_end_matches('/'));
        *entry == authority || below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
    })
}

/// The answer of a token server.
#[derive(Deserialize)]
struct TokenBody {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// Reads a token and how long to use it.
pub fn read_token(body: &[u8]) -> Result<(SecretString, Duration), AuthFault> {
    let fault = |message: &str| AuthFault {
        code: Code::ServerError,
        message: message.into(),
    };
    let body: TokenBody = serde_json::from_slice(body).map_err(|_shape| {
        fault("the token server's answer is not the token specification's JSON")
    })?;
    let token = body
        .token
        .or(body.access_token)
        .filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| fault("the token server's answer has no token"))?;
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(fault("the token server's token is no header value"));
    }
    let life = body
        .expires_in
        .map_or(TOKEN_LIFE_DEFAULT, Duration::from_secs)
        .min(TOKEN_LIFE_MAX);
    // Not to the last second: the request that carries it takes a while too.
    let margin = (life / 4).min(Duration::from_secs(10));
    Ok((
        format!("Bearer {token}").into(),
        life.saturating_sub(margin),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_to_the_registrys_own_realm_and_to_listed_ones() {
        let check = |realm: &str, registry: &str, listed: &[&str], expected: bool| {
            let listed: Vec<String> = listed.iter().map(ToString::to_string).collect();
            let (realm, registry) = (realm.parse().unwrap(), registry.parse().unwrap());
            assert_eq!(
                realm_is_trusted(&realm, &registry, &listed),
                expected,
                "{realm} of {registry}"
            );
        };
        check("https://r.example/token", "https://r.example", &[], true);
        check(
            "https://r.example:444/token",
            "https://r.example",
            &[],
            false,
        );
        check("http://r.example/token", "https://r.example", &[], false);
        check(
            "http://r.example:5000/token",
            "http://r.example:5000",
            &[],
            true,
        );
        check(
            "https://evil.example/token",
            "https://r.example",
            &[],
            false,
        );
        check(
            "https://r.example.evil.example/token",
            "https://r.example",
            &["r.example"],
            false,
        );
        check(
            "https://auth.example/token",
            "https://r.example",
            &["auth.example"],
            true,
        );
        check(
            "https://gitlab.example/jwt/auth",
            "https://r.example",
            &["https://gitlab.example"],
            true,
        );
        check(
            "https://auth.example/token?account=a",
            "https://r.example",
            &["https://auth.example/token"],
            true,
        );
        check(
            "https://auth.example/tokens",
            "https://r.example",
            &["https://auth.example/token"],
            false,
        );
        check(
            "https://gitlab.example.evil/jwt",
            "https://r.example",
            &["https://gitlab.example"],
            false,
        );
        check(
            "https://auth.docker.io/token",
            "https://registry-1.docker.io",
            &[],
            true,
        );
        check(
            "http://auth.docker.io/token",
            "https://registry-1.docker.io",
            &[],
            false,
        );
    }

    #[test]
    fn a_token_lives_shorter_than_it_says() {
        let life = |json: &str| read_token(json.as_bytes()).map(|(_, life)| life.as_secs());
        assert_eq!(life(r#"{"token":"t","expires_in":300}"#).unwrap(), 290);
        assert_eq!(life(r#"{"access_token":"t"}"#).unwrap(), 50);
        assert_eq!(life(r#"{"token":"t","expires_in":0}"#).unwrap(), 0);
        assert_eq!(
            life(r#"{"token":"t","expires_in":18446744073709551615}"#).unwrap(),
            3590
        );
        assert!(life(r"{}").is_err());
        assert!(life(r#"{"token":"a\nb"}"#).is_err());
        assert!(life("<html>").is_err());
    }

    #[tokio::test]
    async fn a_token_is_fetched_once_however_many_wait_and_again_when_it_was_refused() {
        let keys = Keys::default();
        let repository: Arc<str> = "a/b".into();
        let fetched = std::sync::atomic::AtomicUsize::new(0);
        let fetch = || async {
            let n = fetched.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok((format!("Bearer {n}").into(), Duration::from_secs(60)))
        };
        let ask = |refused| keys.token(AuthId::OWN, 0, &repository, refused, fetch);
        let tokens = futures::future::join_all((0..20).map(|_| ask(None))).await;
        assert!(
            tokens
                .iter()
                .all(|token| token.as_ref().unwrap().expose_secret() == "Bearer 0")
        );
        let refused = SecretString::from("Bearer 0");
        assert_eq!(
            ask(Some(&refused)).await.unwrap().expose_secret(),
            "Bearer 1"
        );
        // Somebody else's refused token was replaced already: the fresh one is used.
        assert_eq!(
            ask(Some(&refused)).await.unwrap().expose_secret(),
            "Bearer 1"
        );
    }
}
