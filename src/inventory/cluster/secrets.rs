//! The pull secrets that the uses name, each read by its name: pullproof never lists secrets, since
//! the right to list them is the right to read them all.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use futures::{StreamExt as _, stream};
use kube::Client;
use secrecy::zeroize::Zeroizing;
use tokio::time::{Instant, timeout_at};

use crate::credentials::{InvalidDockerConfig, Keyring};
use crate::inventory::{ImageUse, PullSecret, PullSecrets};

use super::api::{self, Failure, Secret};
use super::kinds::is_object_name;
use super::world::View;

/// How many secrets are asked for at once.
const SECRETS_AT_ONCE: usize = 16;
/// How often all are read again.
pub(super) const SECRETS_INTERVAL: Duration = Duration::from_mins(1);

/// How many namespaces are named in one line.
const NAMESPACES_TOLD_MAX: usize = 5;

type Key = (Arc<str>, Arc<str>);

/// What is known of the secrets that were asked for.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    known: PullSecrets,
    /// What these uses name: they are many, and seldom others than before.
    named: Option<(Arc<[ImageUse]>, BTreeSet<Key>)>,
}

impl Secrets {
    /// Forgets the secrets that no use names any more. Those that are named and not yet known.
    pub(super) fn keep(&mut self, view: &View) -> Vec<Key> {
        let named = match self.named.take() {
            Some((uses, named)) if Arc::ptr_eq(&uses, &view.uses) => named,
            Some(_) | None => named(&view.uses),
        };
        self.known.retain(|key, _| named.contains(key));
        let known = &mut self.known;
        let is_unknown = |key: &&Key| match view.account_problem(&key.0, &key.1) {
            Some(problem) => {
                known.insert((*key).clone(), PullSecret::Unreadable(problem));
                false
            }
            None => !known.contains_key(*key),
        };
        let unknown = named.iter().filter(is_unknown).cloned().collect();
        self.named = Some((Arc::clone(&view.uses), named));
        unknown
    }

    pub(super) fn known(&self) -> &PullSecrets {
        &self.known
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.known.keys().cloned().collect()
    }

    /// Reads these, until `deadline`. What could not be read by then says so, unless it was known.
    /// Whether all were read.
    pub(super) async fn read(
        &mut self,
        client: &Client,
        keys: Vec<Key>,
        deadline: Instant,
    ) -> bool {
        let mut missing: BTreeSet<Key> = keys.iter().cloned().collect();
        let mut answers = stream::iter(keys)
            .map(|key| async move {
                let answer = read(client, &key).await;
                (key, answer)
            })
            .buffer_unordered(SECRETS_AT_ONCE);
        while let Ok(Some((key, answer))) = timeout_at(deadline, answers.next()).await {
            missing.remove(&key);
            match (answer, self.known.get(&key)) {
                // A server that is away for a moment says nothing about the secret.
                (
                    Err(_),
                    Some(PullSecret::Found(_) | PullSecret::Missing | PullSecret::Malformed(_)),
                ) => {}
                // The same content keeps its identity, so that nothing seems to have changed.
                (Ok(read), Some(known)) if read == *known => {}
                (Ok(read), _) => {
                    self.known.insert(key, read);
                }
                (Err(problem), _) => {
                    self.known.insert(key, PullSecret::Unreadable(problem));
                }
            }
        }
        let all = missing.is_empty();
        for key in missing {
            self.known
                .entry(key)
                .or_insert_with(|| PullSecret::Unreadable(NOT_YET.to_owned()));
        }
        all
    }

    /// What cannot be read, in one line: how many, where, and why the first.
    pub(super) fn absent(&self) -> Option<String> {
        let unreadable: Vec<(&Key, &str)> = self
            .known
            .iter()
            .filter_map(|(key, secret)| match secret {
                PullSecret::Unreadable(why) if why != NOT_YET => Some((key, why.as_str())),
                _ => None,
            })
            // The secrets behind a service account are told of with the account.
            .filter(|((_, name), _)| is_object_name(name))
            .collect();
        let (_, why) = unreadable.first()?;
        let namespaces: BTreeSet<&str> = unreadable.iter().map(|((it, _), _)| &**it).collect();
        let named: Vec<&str> = namespaces
            .iter()
            .copied()
            .take(NAMESPACES_TOLD_MAX)
            .collect();
        let more = match namespaces.len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more namespaces"),
        };
        let (count, all) = (unreadable.len(), self.known.len());
        let named = named.join(", ");
        Some(format!(
            "pull secrets: {count} of {all} cannot be read, in {named}{more}: {why}"
        ))
    }

    /// Those that the deadline left out.
    pub(super) fn left_out(&self) -> Vec<Key> {
        self.known
            .iter()
            .filter(|(_, secret)| matches!(secret, PullSecret::Unreadable(why) if why == NOT_YET))
            .map(|(key, _)| key.clone())
            .collect()
    }
}

fn named(uses: &[ImageUse]) -> BTreeSet<Key> {
    let keys = uses.iter().flat_map(|image_use| {
        let namespace = &image_use.user.namespace;
        let secrets = image_use.pull_secrets.iter();
        secrets.map(|secret| (Arc::clone(namespace), Arc::clone(secret)))
    });
    keys.collect()
}

const NOT_YET: &str = "it was not read yet";

/// `Err` is a failure that says nothing about the secret itself.
async fn read(client: &Client, (namespace, name): &Key) -> Result<PullSecret, String> {
    // Nothing can have such a name, and it would lead the request astray.
    if !is_object_name(name) || !is_object_name(namespace) {
        return Ok(PullSecret::Missing);
    }
    match api::secret(client, namespace, name).await {
        Ok(secret) => Ok(keyring(&secret)),
        Err(Failure::Absent) => Ok(PullSecret::Missing),
        Err(failure @ (Failure::Refused(_) | Failure::Unauthenticated(_))) => {
            Ok(PullSecret::Unreadable(failure.text().to_owned()))
        }
        Err(failure) => Err(failure.text().to_owned()),
    }
}

/// What the kubelet makes of it (`secretsToTrackedDockerConfigs` in `pkg/credentialprovider/secrets`).
fn keyring(secret: &Secret) -> PullSecret {
    let (field, parse): (_, fn(&[u8]) -> _) = match secret.kind.as_str() {
        "kubernetes.io/dockerconfigjson" => {
            (".dockerconfigjson", Keyring::parse_docker_config_json)
        }
        "kubernetes.io/dockercfg" => (".dockercfg", Keyring::parse_dockercfg),
        // It passes over any other type.
        _ => return PullSecret::Found(Arc::default()),
    };
    // And over one without its content.
    let Some(content) = secret.data.get(field).filter(|it| !it.0.is_empty()) else {
        return PullSecret::Found(Arc::default());
    };
    let content = base64::engine::general_purpose::STANDARD
        .decode(content.0.as_bytes())
        .map(Zeroizing::new);
    let malformed = |invalid| format!("its {field} is malformed: {invalid}");
    match content.map(|content| parse(&content)) {
        Ok(Ok(keyring)) => PullSecret::Found(Arc::new(keyring)),
        // The limit is ours: that the kubelet fails too is not known.
        Ok(Err(invalid @ InvalidDockerConfig::TooLarge { .. })) => {
            PullSecret::Unreadable(malformed(invalid))
        }
        Ok(Err(invalid)) => PullSecret::Malformed(malformed(invalid)),
        // No API server says so: who knows what this answer is.
        Err(_quotes_the_secret) => PullSecret::Unreadable(format!("its {field} is not base64")),
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::*;

    fn read(kind: &str, field: &str, content: &str) -> PullSecret {
        let data = json!({field: STANDARD.encode(content)});
        keyring(&serde_json::from_value(json!({"type": kind, "data": data})).unwrap())
    }

    #[test]
    fn a_secret_is_malformed_where_the_kubelet_does_not_pull_for_it() {
        let entry = |auth: &str| {
            format!(
                r#"{{"registry.example":{{"auth":"{}"}}}}"#,
                STANDARD.encode(auth)
            )
        };
        for (entries, expected) in [
            (entry("alice:wonder"), "1"),
            ("{}".to_owned(), "0"),
            (entry("no colon"), "malformed"),
            (
                r#"{"registry.example":{"auth":"?"}}"#.to_owned(),
                "malformed",
            ),
            (r#"{"registry.example":[]}"#.to_owned(), "malformed"),
            ("[]".to_owned(), "malformed"),
            // The API server takes none of these; older ones may hold them.
            ("{".to_owned(), "malformed"),
            // One without content is passed over.
            (String::new(), "0"),
        ] {
            let told = |kind: &str, field: &str, content: &str| match read(kind, field, content) {
                PullSecret::Found(keyring) => {
                    let image = "registry.example/app:1".parse().unwrap();
                    keyring.matching(&image).len().to_string()
                }
                PullSecret::Malformed(reason) => {
                    assert!(
                        reason.starts_with(&format!("its {field} is malformed: ")),
                        "{reason}"
                    );
                    "malformed".to_owned()
                }
                other => panic!("{other:?}"),
            };
            let config = if entries.is_empty() {
                String::new()
            } else {
                format!(r#"{{"auths":{entries}}}"#)
            };
            let json = ("kubernetes.io/dockerconfigjson", ".dockerconfigjson");
            assert_eq!(told(json.0, json.1, &config), expected, "{config}");
            let old = ("kubernetes.io/dockercfg", ".dockercfg");
            assert_eq!(told(old.0, old.1, &entries), expected, "{entries}");
            // Each type has its own key, and no other type counts.
            for (kind, field) in [(json.0, old.1), (old.0, json.1), ("Opaque", json.1)] {
                assert_eq!(told(kind, field, &config), "0", "{kind} {field}");
            }
        }
    }

    #[test]
    fn what_only_we_cannot_read_is_not_malformed() {
        let long = format!(r#"{{"auths":{{}},"x":"{}"}}"#, "x".repeat(1 << 20));
        let read = read("kubernetes.io/dockerconfigjson", ".dockerconfigjson", &long);
        assert!(matches!(read, PullSecret::Unreadable(_)), "{read:?}");
    }
}
