//! The grammar: strict, and the same for everybody.

use std::borrow::Cow;

use super::{DOCKER_HUB, REFERENCE_BYTES_MAX};
use crate::oci::digest::Digest;

/// A reference's parts, canonical.
pub(super) struct Parts<'a> {
    pub host: &'a str,
    pub repository: Cow<'a, str>,
    pub tag: Option<&'a str>,
    pub digest: Option<Digest>,
}

/// What is wrong is the error.
pub(super) fn parse(text: &str) -> Result<Parts<'_>, &'static str> {
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
    let repository = if host == DOCKER_HUB && !repository.contains('/') {
        Cow::Owned(format!("library/{repository}"))
    } else {
        Cow::Borrowed(repository)
    };
    check_repository(&repository)?;
    let tag = match (tag, digest) {
        (None, None) => Some("latest"),
        (tag, _) => tag,
    };
    Ok(Parts {
        host,
        repository,
        tag,
        digest,
    })
}

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
