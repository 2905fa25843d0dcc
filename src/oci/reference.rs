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

/// The longest reference that is looked at. distribution's own limit for a repository name is 255;
/// a tag has 128, a digest 71.
pub const REFERENCE_BYTES_MAX: usize = 512;

/// A canonical image reference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    host: Arc<str>,
    repository: Arc<str>,
    tag: Option<Arc<str>>,
    digest: Option<Digest>,
}

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
        &self.host
    }

    pub fn repository(&self) -> &str {
        &self.repository
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The text of the repository, for whoever keeps it too.
    pub fn shared_repository(&self) -> Arc<str> {
        Arc::clone(&self.repository)
    }

    /// The text of the tag, for whoever keeps it too.
    pub fn shared_tag(&self) -> Option<Arc<str>> {
        self.tag.clone()
    }

    /// The same, with texts that are kept once however many references hold them.
    #[must_use]
    pub fn with_shared(self, mut share: impl FnMut(&str) -> Arc<str>) -> Self {
        Self {
            host: share(&self.host),
            repository: share(&self.repository),
            tag: self.tag.map(|tag| share(&tag)),
            digest: self.digest,
        }
    }

    /// The digest that the reference pins.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map_err(|problem| InvalidReference {
            text: shown(text),
            problem,
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

fn parse(text: &str) -> Result<Reference, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() > REFERENCE_BYTES_MAX {
        return Err("it is longer than 512 bytes");
    }
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => {
            let digest = digest.parse().map_err(
                |_invalid| "its digest is not sha256: and 64 lower-case hexadecimal digits",
            )?;
            (name, Some(digest))
        }
        None => (text, None),
    };
    // A bare digest would otherwise read as repository `sha256` with a tag: an imageID, not a reference.
    if name.starts_with("sha256:") && name.parse::<Digest>().is_ok() {
        return Err("it is a digest without a repository");
    }
    let (name, tag) = match name.rfind(':') {
        Some(colon) if !name[colon..].contains('/') => {
            let (name, tag) = name.split_at(colon);
            (name, Some(&tag[1..]))
        }
        Some(_) | None => (name, None),
    };
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    let (host, repository) = split_host(name);
    check_host(host)?;
    let repository: Arc<str> = if host == DOCKER_HUB && !repository.contains('/') {
        format!("library/{repository}").into()
    } else {
        repository.into()
    };
    check_repository(&repository)?;
    let tag = match (tag, digest) {
        (None, None) => Some("latest".into()),
        (tag, _) => tag.map(Into::into),
    };
    Ok(Reference {
        host: host.into(),
        repository,
        tag,
        digest,
    })
}

/// The host under which Docker Hub's images are known.
pub const DOCKER_HUB: &str = "docker.io";

/// The first component is a host if it could not be part of a repository name: it holds a dot or a
/// colon, is `localhost`, or has upper-case letters (distribution/reference, `splitDockerDomain`).
fn split_host(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.starts_with('[')
                || first.chars().any(|c| c.is_ascii_uppercase()) =>
        {
            let host = match first {
                "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
                other => other,
            };
            (host, rest)
        }
        Some(_) | None => (DOCKER_HUB, name),
    }
}

fn check_host(host: &str) -> Result<(), &'static str> {
    let (name, port) = if let Some(rest) = host.strip_prefix('[') {
        let (address, after) = rest
            .split_once(']')
            .ok_or("its host's bracket is not closed")?;
        address
            .parse::<std::net::Ipv6Addr>()
            .map_err(|_invalid| "its host is not an IPv6 address")?;
        match after.strip_prefix(':') {
            Some(port) => ("", Some(port)),
            None if after.is_empty() => ("", None),
            None => return Err("its host is malformed"),
        }
    } else {
        match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        }
    };
    if let Some(port) = port
        && (port.len() > 5
            || !port.bytes().all(|b| b.is_ascii_digit())
            || port.parse::<u16>().is_ok_and(|port| port == 0)
            || port.parse::<u16>().is_err())
    {
        return Err("its port is not a number from 1 to 65535");
    }
    if host.starts_with('[') {
        return Ok(());
    }
    let label_is_valid = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(label_is_valid) {
        return Err("its host is not a host name");
    }
    Ok(())
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = tag.bytes();
    if tag.len() <= 128
        && bytes.next().is_some_and(is_word)
        && bytes.all(|b| is_word(b) || b == b'.' || b == b'-')
    {
        Ok(())
    } else {
        Err("its tag is not 1 to 128 letters, digits, `_`, `.` and `-`")
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/…)*` of the distribution-spec.
fn check_repository(repository: &str) -> Result<(), &'static str> {
    if repository.len() > 255 {
        return Err("its repository is longer than 255 bytes");
    }
    if repository.chars().any(|c| c.is_ascii_uppercase()) {
        return Err("its repository has upper-case letters");
    }
    if repository.split('/').all(component_is_valid) {
        Ok(())
    } else {
        Err("its repository is not lower-case words parted by `/`, `.`, `_`, `__` or dashes")
    }
}

fn component_is_valid(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if !alphanumeric(first) || !alphanumeric(last) {
        return false;
    }
    component
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|separator| {
            matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
        })
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host,
            repository,
            tag,
            digest,
        } = self;
        write!(formatter, "{host}/{repository}")?;
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn familiar_names_are_spelled_out() {
        let pinned = format!("registry.example:5000/a/b:v1@sha256:{HEX}");
        let only_digest = format!("quay.io/a/b@sha256:{HEX}");
        for (text, canonical) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("bitnami/redis", "docker.io/bitnami/redis:latest"),
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            (
                "index.docker.io/library/nginx",
                "docker.io/library/nginx:latest",
            ),
            (
                "registry-1.docker.io/nginx",
                "docker.io/library/nginx:latest",
            ),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app:v1", "localhost:5000/app:v1"),
            ("127.0.0.1:5000/team/app", "127.0.0.1:5000/team/app:latest"),
            ("[::1]:5000/app:v1", "[::1]:5000/app:v1"),
            ("a__b/c-d--e/f.g", "docker.io/a__b/c-d--e/f.g:latest"),
            (pinned.as_str(), pinned.as_str()),
            (only_digest.as_str(), only_digest.as_str()),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), canonical);
            assert_eq!(canonical.parse::<Reference>().unwrap(), reference);
        }
    }

    #[test]
    fn hostile_strings_are_refused_and_shown_escaped() {
        let long = "a".repeat(1 << 20);
        let upper_digest = format!("a@sha256:{}", HEX.to_uppercase());
        let bare = format!("sha256:{HEX}");
        for text in [
            "",
            ":",
            "/",
            "@",
            " nginx",
            "nginx ",
            "Nginx",
            "nginx:",
            "nginx:.a",
            "a/:b",
            "a//b",
            "a/../b",
            "-a",
            "a-",
            "a___b",
            "a..b",
            "a:b:c",
            "http://a/b",
            "host:0/a",
            "host:99999/a",
            "host:5a/a",
            "[::1/a",
            "[zz]/a",
            "a\n",
            "\"><script>",
            "exämple.com/a",
            "a@sha256:12",
            "h.example:/a",
            "-h.example/a",
            "h..example/a",
            &long,
            &upper_digest,
            &bare,
        ] {
            let error = text.parse::<Reference>().unwrap_err();
            assert!(
                error.text.len() < 1000 && !error.to_string().contains('\n'),
                "{error}"
            );
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_what_parses_round_trips(text in "[a-zA-Z0-9:/@._\\[\\]-]{0,80}|.{0,40}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
            }
        }
    }
}
