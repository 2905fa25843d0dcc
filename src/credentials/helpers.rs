//! Credential helpers as a docker config names them: programs `docker-credential-NAME` that are asked
//! for a host's credential (the protocol of docker-credential-helpers). Here are their names and what
//! their answers mean; running them is `credential_source`'s.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::SecretString;
use secrecy::zeroize::Zeroize as _;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::oci::reference::DOCKER_HUB;

use super::pattern::Pattern;
use super::{Credential, DOCKER_HUB_KEY, InvalidDockerConfig, docker_config};

/// Longer is no name of a program.
const NAME_BYTES_MAX: usize = 64;
/// What Docker calls its own registry when it asks a helper.
const DOCKER_HUB_SERVER: &str = "https://index.docker.io/v1/";
const NOT_A_NAME: &str =
    "a credential helper is named by up to 64 letters, digits, `.`, `_` and `-`";
/// How a helper says that it has none, with exit code 1.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// What follows `docker-credential-` in a helper's name: it can only lead to a program on the `PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelperName(Box<str>);

impl HelperName {
    fn parse(text: &str) -> Option<Self> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let starts_well = text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric());
        (starts_well && text.len() <= NAME_BYTES_MAX && text.bytes().all(is_word))
            .then(|| Self(text.into()))
    }

    /// The program's file name.
    pub fn program(&self) -> String {
        format!("docker-credential-{self}")
    }
}

impl fmt::Display for HelperName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// One question to one helper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelperCall {
    pub name: HelperName,
    /// As the helper is to be asked for it.
    pub server: String,
}

/// The helpers of one docker config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Helpers {
    /// By the key as it is written.
    by_host: BTreeMap<String, HelperName>,
    store: Option<HelperName>,
}

impl Helpers {
    /// Both keys of a `config.json`.
    pub(super) fn parse(config: &Map<String, Value>) -> Result<Self, InvalidDockerConfig> {
        let name = |entry: &str, value: Option<&Value>| match value {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => HelperName::parse(text)
                .map(Some)
                .ok_or_else(|| docker_config::entry_error(entry, NOT_A_NAME)),
            Some(_) => Err(docker_config::entry_error(entry, NOT_A_NAME)),
        };
        let store = name("credsStore", config.get("credsStore"))?;
        let mut by_host = BTreeMap::new();
        match config.get("credHelpers") {
            None | Some(Value::Null) => {}
            Some(Value::Object(entries)) => {
                for (host, value) in entries {
                    if let Some(name) = name(host, Some(value))? {
                        by_host.insert(host.clone(), name);
                    }
                }
            }
            Some(_) => {
                let problem = "it is not an object";
                return Err(docker_config::entry_error("credHelpers", problem));
            }
        }
        Ok(Self { by_host, store })
    }

    /// The helper that Docker would ask for a host: the host's own, else the store of all.
    pub(super) fn call(&self, host: &str) -> Option<HelperCall> {
        let own = self.by_host.iter().find(|(key, _)| names_host(key, host));
        let server = || {
            let is_hub = host == DOCKER_HUB;
            if is_hub { DOCKER_HUB_SERVER } else { host }.to_owned()
        };
        match (own, &self.store) {
            (Some((key, name)), _) => Some(HelperCall {
                name: name.clone(),
                server: key.clone(),
            }),
            (None, Some(name)) => Some(HelperCall {
                name: name.clone(),
                server: server(),
            }),
            (None, None) => None,
        }
    }
}

/// The key is a host, as Docker looks it up; of Docker Hub there are two names.
fn names_host(key: &str, host: &str) -> bool {
    Pattern::parse(key).is_some_and(|pattern| {
        pattern.key() == host || (host == DOCKER_HUB && pattern.key() == DOCKER_HUB_KEY)
    })
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

/// What a helper that ended well printed. `None` is that it has none. No error quotes the answer.
pub fn read_answer(call: &HelperCall, stdout: &[u8]) -> Result<Option<Credential>, &'static str> {
    let Answer {
        username,
        mut secret,
    } = serde_json::from_slice(stdout)
        .map_err(|_quotes_the_secret| "its answer is not JSON with a Username and a Secret")?;
    if secret.is_empty() {
        return if username.is_empty() {
            Ok(None)
        } else {
            Err("its answer has no Secret")
        };
    }
    // A helper's secret may change with each answer. Who it is for does not.
    let id = format!("helper:{}/{}/{username}", call.name, call.server);
    let held = SecretString::from(secret.as_str());
    secret.zeroize();
    let credential = if username == "<token>" {
        Credential::new(username, SecretString::default(), Some(held), None)
    } else {
        Credential::new(username, held, None, None)
    };
    Ok(Some(credential.with_id(id)))
}

/// Whether a helper that ended with an error only says that it knows none for this host.
pub fn is_not_found(stdout: &[u8]) -> bool {
    stdout.trim_ascii() == NOT_FOUND.as_bytes()
}
