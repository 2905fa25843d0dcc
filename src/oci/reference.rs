//! Image references: `[host[:port]/]repository[:tag][@digest]`, by a strict grammar.
//!
//! The API server accepts any string as an image (kubernetes#115736 was closed), so every tenant
//! can write here. What does not parse is never dialled, and stays visible as it was written.
//!
//! Canonical form: Docker's familiar names spelled out (`nginx` is `docker.io/library/nginx:latest`).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::digest::Digest;

pub use self::aliases::Aliases;
pub use self::sharing::Sharing;

mod aliases;
mod grammar;
mod sharing;

/// The longest reference that is looked at. distribution's own limit for a repository name is 255;
/// a tag has 128, a digest 71.
pub const REFERENCE_BYTES_MAX: usize = 512;

/// The host under which Docker Hub's images are known.
pub const DOCKER_HUB: &str = "docker.io";

/// A canonical image reference. A copy of it shares all its texts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    repository: Arc<Repository>,
    tag: Option<Arc<str>>,
    /// Apart, since few have one and every reference would have its 32 bytes.
    digest: Option<Arc<Digest>>,
}

/// One for all references to it, where they are [shared](Sharing).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Repository {
    host: Arc<str>,
    name: Arc<str>,
}

// An inventory holds each reference twice.
const _: () = assert!(size_of::<Reference>() == 32);

/// Why a string is no image reference. The text is shortened, its control characters escaped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[error("`{text}` is not an image reference: {problem}")]
pub struct InvalidReference {
    pub text: String,
    pub problem: &'static str,
}

impl Reference {
    /// The registry's host as workloads write it, with the port if they write one.
    pub fn host(&self) -> &str {
        &self.repository.host
    }

    pub fn repository(&self) -> &str {
        &self.repository.name
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The text of the host, for whoever keeps it too.
    pub fn shared_host(&self) -> Arc<str> {
        Arc::clone(&self.repository.host)
    }

    /// The text of the repository, for whoever keeps it too.
    pub fn shared_repository(&self) -> Arc<str> {
        Arc::clone(&self.repository.name)
    }

    /// The text of the tag, for whoever keeps it too.
    pub fn shared_tag(&self) -> Option<Arc<str>> {
        self.tag.clone()
    }

    /// The digest that the reference pins.
    pub fn digest(&self) -> Option<Digest> {
        self.digest.as_deref().copied()
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = grammar::parse(text).map_err(|problem| InvalidReference {
            text: shown(text),
            problem,
        })?;
        Ok(Self {
            repository: Arc::new(Repository {
                host: parts.host.into(),
                name: parts.repository.into(),
            }),
            tag: parts.tag.map(Into::into),
            digest: parts.digest.map(Arc::new),
        })
    }
}

/// A hostile string made fit for a line of text: escaped and cut.
pub fn shown(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(128)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(128).is_some() {
        shown.push('…');
    }
    shown
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            repository,
            tag,
            digest,
        } = self;
        let Repository { host, name } = &**repository;
        write!(formatter, "{host}/{name}")?;
        if let Some(tag) = tag {
            write!(formatter, ":{tag}")?;
        }
        if let Some(digest) = digest {
            write!(formatter, "@{digest}")?;
        }
        Ok(())
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
