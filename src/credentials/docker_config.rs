//! Reads `config.json` and `.dockercfg`. No message quotes a value: any value may be a secret.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::SecretString;
use secrecy::zeroize::{Zeroize as _, Zeroizing};
use serde_json::{Map, Value};

use crate::oci::reference::shown;

use super::helpers::{HelperCall, Helpers};
use super::pattern::Pattern;
use super::{Credential, InvalidDockerConfig, Keyring};

/// A Kubernetes secret holds at most 1 MiB.
pub(super) const DOCKER_CONFIG_BYTES_MAX: usize = 1 << 20;

/// Padded or not, as the kubelet takes both.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A docker config of our own side: of the operator, or of the person at the command line. Its helpers
/// may be run, which those of a workload's pull secret never are: whoever may write a Secret could
/// have us run a program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DockerConfig {
    /// What the files hold themselves.
    pub keyring: Keyring,
    /// Of each file, in order.
    helpers: Vec<Helpers>,
}

impl DockerConfig {
    /// The content of a `config.json`.
    pub fn parse(content: &[u8]) -> Result<Self, InvalidDockerConfig> {
        let mut config = parse_object(content)?;
        let keyring = parse_auths(&mut config, Tokens::Read)?;
        let helpers = Helpers::parse(&config)?;
        Ok(Self {
            keyring,
            helpers: vec![helpers],
        })
    }

    /// All in one, the first before the second.
    pub fn merged<'a>(configs: impl IntoIterator<Item = &'a Self>) -> Self {
        let configs: Vec<&Self> = configs.into_iter().collect();
        Self {
            keyring: Keyring::merged(configs.iter().map(|config| &config.keyring)),
            helpers: configs
                .iter()
                .flat_map(|config| config.helpers.iter().cloned())
                .collect(),
        }
    }

    /// The helpers to ask for a host, one of each file at most, until one has a credential.
    pub fn helpers(&self, host: &str) -> Vec<HelperCall> {
        self.helpers
            .iter()
            .filter_map(|helpers| helpers.call(host))
            .collect()
    }
}

/// Whether tokens in entries count. The kubelet reads user names and passwords alone
/// (`pkg/credentialprovider`, `DockerConfigEntry`): what a client at a desk could pull with a token, a node
/// cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tokens {
    Read,
    Ignored,
}

fn parse_auths(
    config: &mut Map<String, Value>,
    tokens: Tokens,
) -> Result<Keyring, InvalidDockerConfig> {
    match config.remove("auths") {
        None | Some(Value::Null) => Ok(Keyring::default()),
        Some(Value::Object(entries)) => parse_entries(entries, tokens),
        Some(mut other) => {
            wipe(&mut other);
            Err(entry_error("auths", "it is not an object"))
        }
    }
}

/// A pull secret: as on a node, no helper is asked.
pub(super) fn parse_config_json(content: &[u8]) -> Result<Keyring, InvalidDockerConfig> {
    let mut config = parse_object(content)?;
    let mut keyring = parse_auths(&mut config, Tokens::Ignored)?;
    if let Some(Value::String(store)) = config.get("credsStore")
        && !store.is_empty()
    {
        keyring.warn(format!(
            "credsStore `{}` is not supported: give the credentials of those registries in `auths`",
            shown(store)
        ));
    }
    if let Some(Value::Object(helpers)) = config.get("credHelpers") {
        for (host, helper) in helpers {
            keyring.warn(format!(
                "credHelpers `{}` for `{}` is not supported: give its credentials in `auths`",
                shown(helper.as_str().unwrap_or_default()),
                shown(host)
            ));
        }
    }
    Ok(keyring)
}

pub(super) fn parse_dockercfg(content: &[u8]) -> Result<Keyring, InvalidDockerConfig> {
    parse_entries(parse_object(content)?, Tokens::Ignored)
}

fn parse_object(content: &[u8]) -> Result<Map<String, Value>, InvalidDockerConfig> {
    if content.len() > DOCKER_CONFIG_BYTES_MAX {
        return Err(InvalidDockerConfig::TooLarge {
            limit: DOCKER_CONFIG_BYTES_MAX,
        });
    }
    // serde_json's own message may quote the value that it did not expect.
    serde_json::from_slice(content).map_err(|error| InvalidDockerConfig::Syntax {
        line: error.line(),
        column: error.column(),
    })
}

fn parse_entries(
    entries: Map<String, Value>,
    tokens: Tokens,
) -> Result<Keyring, InvalidDockerConfig> {
    let mut keyring = Keyring::default();
    for (key, mut value) in entries {
        let credential = parse_entry(&mut value, tokens);
        wipe(&mut value);
        let credential = credential.map_err(|problem| entry_error(&key, problem))?;
        match (Pattern::parse(&key), credential) {
            (Some(pattern), Some(credential)) => keyring.add(pattern, credential),
            // A credential store leaves the entry empty behind it.
            (_, None) => {}
            (None, Some(_)) => keyring.warn(format!(
                "entry `{}` does not name a registry and is left out",
                shown(&key)
            )),
        }
    }
    Ok(keyring)
}

fn parse_entry(value: &mut Value, tokens: Tokens) -> Result<Option<Credential>, &'static str> {
    let fields = match value {
        Value::Object(fields) => fields,
        Value::Null => return Ok(None),
        _ => return Err("it is not an object"),
    };
    let mut text = |name: &str| match fields.get_mut(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(std::mem::take(text)),
        Some(_) => Err("username, password, auth and the tokens must be strings"),
    };
    let mut username = text("username")?;
    let mut password = Zeroizing::new(text("password")?);
    let auth = Zeroizing::new(text("auth")?);
    let mut token = |name: &str| -> Result<Option<SecretString>, &'static str> {
        let token = secret(text(name)?);
        Ok(token.filter(|_| tokens == Tokens::Read))
    };
    let identity_token = token("identitytoken")?;
    let registry_token = token("registrytoken")?;
    if !auth.is_empty() {
        (username, password) = parse_auth(&auth)?;
    }
    if username.is_empty()
        && password.is_empty()
        && identity_token.is_none()
        && registry_token.is_none()
    {
        return Ok(None);
    }
    let password = SecretString::from(password.as_str());
    Ok(Some(Credential::new(
        username,
        password,
        identity_token,
        registry_token,
    )))
}

fn secret(text: String) -> Option<SecretString> {
    (!text.is_empty()).then(|| text.into())
}

fn parse_auth(auth: &str) -> Result<(String, Zeroizing<String>), &'static str> {
    // Go's decoder passes over line ends, and people fold long lines.
    let folded: Zeroizing<String> = Zeroizing::new(
        auth.trim()
            .chars()
            .filter(|c| !"\r\n".contains(*c))
            .collect(),
    );
    let decoded = BASE64
        .decode(folded.as_bytes())
        .map(Zeroizing::new)
        .map_err(|_quotes_the_secret| "its auth is not base64")?;
    let decoded =
        std::str::from_utf8(&decoded).map_err(|_quotes_the_secret| "its auth is not text")?;
    let (username, password) = decoded
        .split_once(':')
        .ok_or("its auth is not base64 of username:password")?;
    Ok((username.to_owned(), Zeroizing::new(password.to_owned())))
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

pub(super) fn entry_error(entry: &str, problem: &'static str) -> InvalidDockerConfig {
    InvalidDockerConfig::Entry {
        entry: shown(entry),
        problem,
    }
}
