//! Registry credentials as Docker and the kubelet keep them, and which of them fit an image.
//!
//! Matching is the kubelet's (`pkg/credentialprovider/keyring.go`): whoever asks "may this workload
//! pull" must try what the node would try, no more. A secret never leaves this module as text:
//! errors and warnings name the entry, `Debug` says `[redacted]`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use crate::oci::digest::Digest;
use crate::oci::reference::{DOCKER_HUB, Reference};

use self::pattern::Pattern;

mod docker_config;
pub mod helpers;
mod pattern;

pub use self::docker_config::DockerConfig;

/// What one entry says, whichever fields it has.
pub struct Credential {
    pub username: String,
    pub password: SecretString,
    /// A refresh token that the token server takes instead of a password (`identitytoken`).
    pub identity_token: Option<SecretString>,
    /// A bearer token that goes to the registry as it is (`registrytoken`).
    pub registry_token: Option<SecretString>,
    id: Box<str>,
}

impl Credential {
    pub fn new(
        username: String,
        password: SecretString,
        identity_token: Option<SecretString>,
        registry_token: Option<SecretString>,
    ) -> Self {
        let id = identity(
            &username,
            &password,
            identity_token.as_ref(),
            registry_token.as_ref(),
        );
        Self {
            username,
            password,
            identity_token,
            registry_token,
            id,
        }
    }

    /// The same credential under a name of its own, for one whose content is new at each refresh:
    /// whose it is stays the same, and so do the proofs made with it.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<Box<str>>) -> Self {
        self.id = id.into();
        self
    }

    /// Names the content without telling it: two secrets that hold the same are one identity.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// Each part with its length before it, so that no two contents read alike.
fn identity(
    username: &str,
    password: &SecretString,
    identity_token: Option<&SecretString>,
    registry_token: Option<&SecretString>,
) -> Box<str> {
    let parts = [
        Some(username),
        Some(password.expose_secret()),
        identity_token.map(ExposeSecret::expose_secret),
        registry_token.map(ExposeSecret::expose_secret),
    ];
    let mut content = Zeroizing::new(Vec::with_capacity(256));
    for part in parts {
        let part = part.unwrap_or_default();
        content.extend_from_slice(&(part.len() as u64).to_be_bytes());
        content.extend_from_slice(part.as_bytes());
    }
    let mut hex = Digest::of(&content).hex();
    hex.truncate(16);
    hex.into()
}

impl PartialEq for Credential {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Credential {}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Credential")
            .field("id", &self.id)
            .field("content", &"[redacted]")
            .finish_non_exhaustive()
    }
}

/// Why a docker config cannot be used. The kubelet refuses the whole file too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDockerConfig {
    #[error("it is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("it is not the JSON of a docker config (line {line}, column {column})")]
    Syntax { line: usize, column: usize },
    #[error("entry `{entry}`: {problem}")]
    Entry {
        entry: String,
        problem: &'static str,
    },
}

/// The credentials of one docker config file or pull secret, or of several merged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keyring {
    /// By the text of the pattern, in the order in which they were added: the kubelet's index.
    entries: BTreeMap<Arc<str>, Entry>,
    warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    pattern: Pattern,
    credentials: Vec<Arc<Credential>>,
}

impl Keyring {
    /// The content of a `config.json` or of a secret of type `kubernetes.io/dockerconfigjson`.
    pub fn parse_docker_config_json(content: &[u8]) -> Result<Self, InvalidDockerConfig> {
        docker_config::parse_config_json(content)
    }

    /// The content of a `.dockercfg` or of a secret of type `kubernetes.io/dockercfg`.
    pub fn parse_dockercfg(content: &[u8]) -> Result<Self, InvalidDockerConfig> {
        docker_config::parse_dockercfg(content)
    }

    /// One credential for everything on a host; none where the host cannot be a key.
    pub fn of_host(host: &str, credential: Credential) -> Self {
        let mut keyring = Self::default();
        if let Some(pattern) = Pattern::parse(host) {
            keyring.add(pattern, credential);
        }
        keyring
    }

    /// The credential of this identity, as it is in here.
    pub fn by_id(&self, id: &str) -> Option<&Arc<Credential>> {
        let mut all = self.entries.values().flat_map(|entry| &entry.credentials);
        all.find(|credential| credential.id() == id)
    }

    /// All in one. The kubelet puts every secret of a pod into one index, so an entry of the last
    /// secret that is more specific comes before a general one of the first; within one key the
    /// order of the secrets stands.
    pub fn merged<'a>(keyrings: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut merged = Self::default();
        for keyring in keyrings {
            for (key, entry) in &keyring.entries {
                merged
                    .entries
                    .entry(Arc::clone(key))
                    .or_insert_with(|| Entry {
                        pattern: entry.pattern.clone(),
                        credentials: Vec::new(),
                    })
                    .credentials
                    .extend(entry.credentials.iter().cloned());
            }
            merged.warnings.extend(keyring.warnings.iter().cloned());
        }
        merged
    }

    /// Every credential that the kubelet would try for this image, in its order, each once.
    pub fn matching(&self, reference: &Reference) -> Vec<Arc<Credential>> {
        let mut matching: Vec<Arc<Credential>> = Vec::new();
        // Reverse order of text puts the longer path of one host first, and `*` after letters.
        let entries = self
            .entries
            .values()
            .rev()
            .filter(|entry| entry.pattern.fits(reference.host(), reference.repository()));
        for credential in entries.flat_map(|entry| &entry.credentials) {
            if !matching.contains(credential) {
                matching.push(Arc::clone(credential));
            }
        }
        // Docker Hub's key is `https://index.docker.io/v1/`, which is the host of no image: the
        // kubelet looks there last, and only if nothing else fits.
        if matching.is_empty()
            && reference.host() == DOCKER_HUB
            && let Some(entry) = self.entries.get(DOCKER_HUB_KEY)
        {
            for credential in &entry.credentials {
                if !matching.contains(credential) {
                    matching.push(Arc::clone(credential));
                }
            }
        }
        matching
    }

    /// What is in the file but cannot be used here, fit to be shown.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn add(&mut self, pattern: Pattern, credential: Credential) {
        self.entries
            .entry(pattern.key().into())
            .or_insert_with(|| Entry {
                pattern,
                credentials: Vec::new(),
            })
            .credentials
            .push(Arc::new(credential));
    }

    fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }
}

const DOCKER_HUB_KEY: &str = "index.docker.io";

#[cfg(test)]
mod tests;
