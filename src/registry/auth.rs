//! Who asks, and with what: identities, tokens and where credentials may go.
//!
//! A token belongs to one credential of one identity and one repository. It is fetched by one request
//! however many wait for it, used until shortly before it expires by our own monotonic clock (the
//! server's may be wrong), and thrown away once when it is refused.
//!
//! What is kept is bounded by what is in use: with each round go the tokens that expired, those of
//! identities that are gone, and what was learnt of repositories that the round before did not ask for.

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
/// From so many tokens on, expired ones are looked for within a round too.
const TOKENS_TIDY: usize = 1024;

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

/// Token slots, and at how many of them to look for expired ones.
#[derive(Debug, Default)]
struct Tokens {
    slots: HashMap<TokenKey, TokenSlot>,
    tidy_at: usize,
}

/// Which credential worked last, and in which round it was asked for last.
#[derive(Debug, Clone, Copy)]
struct Worked {
    index: usize,
    round: u64,
}

/// What worked, by round.
#[derive(Debug, Default)]
struct Memory {
    round: u64,
    worked: HashMap<(AuthId, Arc<str>), Worked>,
}

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
    tokens: Mutex<Tokens>,
    /// Which credential of an identity worked last for a repository.
    memory: Mutex<Memory>,
}

impl Keys {
    /// Sets the identities; their place in the list is their [`AuthId`]. A round begins with it: what is not
    /// in use any more is forgotten.
    pub fn set_identities(&self, identities: Vec<Arc<Identity>>) {
        let mut current = self.identities.write().expect("never held across a panic");
        let before = std::mem::replace(&mut *current, identities);
        // One's token must never be another's, whoever has its number now.
        let stays = |auth: AuthId| {
            let place = auth.0 as usize;
            match (before.get(place), current.get(place)) {
                (Some(before), Some(now)) => {
                    Arc::ptr_eq(before, now) || before.credentials == now.credentials
                }
                // Nobody is on no list at first.
                (None, Some(now)) => now.credentials.is_empty(),
                (_, None) => auth == AuthId::OWN,
            }
        };
        let mut tokens = self.tokens.lock().expect("never held across a panic");
        let now = Instant::now();
        tokens
            .slots
            .retain(|(auth, ..), slot| stays(*auth) && is_in_use(slot, now));
        tokens.tidy_at = 0;
        drop(tokens);
        let mut memory = self.memory.lock().expect("never held across a panic");
        let round = memory.round;
        memory
            .worked
            .retain(|(auth, _), worked| stays(*auth) && worked.round == round);
        memory.round += 1;
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
        if count < 2 {
            return (0..count).collect();
        }
        let mut memory = self.memory.lock().expect("never held across a panic");
        let round = memory.round;
        let worked = memory.worked.get_mut(&(auth, Arc::clone(repository)));
        let first = worked.map(|worked| {
            worked.round = round;
            worked.index
        });
        let first = first.filter(|first| *first < count);
        let rest = (0..count).filter(|index| Some(*index) != first);
        first.into_iter().chain(rest).collect()
    }

    /// Remembers which credential worked. The first one is tried first anyway.
    pub fn remember(&self, auth: AuthId, repository: &Arc<str>, index: usize) {
        let mut memory = self.memory.lock().expect("never held across a panic");
        let key = (auth, Arc::clone(repository));
        if index == 0 {
            memory.worked.remove(&key);
        } else {
            let round = memory.round;
            memory.worked.insert(key, Worked { index, round });
        }
    }

    /// The slot in which the token for this use is kept; whoever holds its lock fetches it.
    fn slot(&self, key: TokenKey) -> TokenSlot {
        let mut tokens = self.tokens.lock().expect("never held across a panic");
        if let Some(slot) = tokens.slots.get(&key) {
            return Arc::clone(slot);
        }
        if tokens.slots.len() >= tokens.tidy_at.max(TOKENS_TIDY) {
            let now = Instant::now();
            tokens.slots.retain(|_, slot| is_in_use(slot, now));
            // Twice what is left, so that looking costs each token once or twice.
            tokens.tidy_at = tokens.slots.len() * 2;
        }
        Arc::clone(tokens.slots.entry(key).or_default())
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

/// Whether somebody waits for this token, or it can still be used.
fn is_in_use(slot: &TokenSlot, now: Instant) -> bool {
    Arc::strong_count(slot) > 1
        || slot.try_lock().map_or(true, |token| {
            token.as_ref().is_some_and(|token| now < token.expires)
        })
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

    fn identity(name: &str) -> Arc<Identity> {
        let password = SecretString::from("word");
        let credential = Credential::new(name.to_owned(), password, None, None);
        Arc::new(Identity {
            credentials: vec![Arc::new(credential)],
        })
    }

    async fn fetch(keys: &Keys, auth: u32, repository: &str, name: &str, life: u64) -> String {
        let fetched = || async { Ok((SecretString::from(name), Duration::from_secs(life))) };
        let repository: Arc<str> = repository.into();
        let token = keys.token(AuthId(auth), 0, &repository, None, fetched);
        token.await.unwrap().expose_secret().to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_forgets_what_expired_and_whose_identity_is_gone() {
        let keys = Keys::default();
        let (a, b) = (identity("a"), identity("b"));
        keys.set_identities(vec![Arc::default(), Arc::clone(&a), b]);
        fetch(&keys, 0, "public", "nobody", 60).await;
        for number in 0..50 {
            fetch(&keys, 1, &format!("short/{number}"), "short", 10).await;
        }
        fetch(&keys, 1, "long", "of a", 600).await;
        fetch(&keys, 2, "long", "of b", 600).await;
        tokio::time::advance(Duration::from_secs(20)).await;
        // The second's number is another's now: its token must not be.
        let c = identity("c");
        keys.set_identities(vec![Arc::default(), a, c]);
        assert_eq!(keys.tokens.lock().unwrap().slots.len(), 2);
        assert_eq!(fetch(&keys, 0, "public", "again", 60).await, "nobody");
        assert_eq!(fetch(&keys, 1, "long", "again", 60).await, "of a");
        assert_eq!(fetch(&keys, 2, "long", "of c", 60).await, "of c");
        keys.set_identities(Vec::new());
        assert_eq!(keys.tokens.lock().unwrap().slots.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_round_does_not_keep_every_token_it_ever_had() {
        let keys = Keys::default();
        for number in 0..20 * TOKENS_TIDY {
            fetch(&keys, 0, &format!("r/{number}"), "t", 50).await;
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(keys.tokens.lock().unwrap().slots.len() <= TOKENS_TIDY);
    }

    #[test]
    fn what_worked_is_remembered_while_it_is_asked_for() {
        let keys = Keys::default();
        let two = Arc::new(Identity {
            credentials: [identity("a"), identity("b")]
                .iter()
                .flat_map(|identity| identity.credentials.clone())
                .collect(),
        });
        let begin = || keys.set_identities(vec![Arc::default(), Arc::clone(&two)]);
        let (asked, not_asked): (Arc<str>, Arc<str>) = ("asked".into(), "not".into());
        begin();
        for repository in [&asked, &not_asked] {
            keys.remember(AuthId(1), repository, 1);
        }
        for _ in 0..3 {
            begin();
            assert_eq!(keys.order(AuthId(1), &asked, 2), [1, 0]);
        }
        assert_eq!(keys.order(AuthId(1), &not_asked, 2), [0, 1]);
        assert_eq!(keys.memory.lock().unwrap().worked.len(), 1);
        keys.remember(AuthId(1), &asked, 0);
        assert!(keys.memory.lock().unwrap().worked.is_empty());
    }
}
