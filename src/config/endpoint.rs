//! Addresses: where a registry is dialled, and where pullproof itself listens.

use std::fmt;
use std::net::IpAddr;

use crate::oci::reference::{DOCKER_HUB, Reference};

/// Where Docker Hub's registry answers; `docker.io` itself is a web site.
const DOCKER_HUB_ENDPOINT: &str = "registry-1.docker.io";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A URL without user, query and fragment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    pub scheme: Scheme,
    /// In lower case; an IPv6 address in its brackets.
    pub host: String,
    /// The scheme's own port where none is written.
    pub port: u16,
    /// What stands before `/v2/`: empty, or with a slash in front and none at the end.
    pub path_prefix: String,
}

impl Endpoint {
    /// Where a registry of this host is dialled if nothing else is configured. The host is one
    /// that [`Reference::host`] gives.
    pub fn of_host(host: &str, scheme: Scheme) -> Self {
        let host = if host == DOCKER_HUB {
            DOCKER_HUB_ENDPOINT
        } else {
            host
        };
        let (name, port) = split_port(host);
        Self {
            scheme,
            host: name.to_ascii_lowercase(),
            port: port
                .and_then(|port| port.parse().ok())
                .unwrap_or_else(|| scheme.default_port()),
            path_prefix: String::new(),
        }
    }

    /// The error says what to write instead.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        const NOT_A_HOST: &str = "expected https://host, with a port if need be";
        let (scheme, rest) = text
            .split_once("://")
            .ok_or("its scheme is missing; write https:// or http:// in front")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _other => return Err("its scheme is neither https nor http"),
        };
        if rest.contains('@') {
            return Err(
                "a secret is never written here; name a file of credentials under `credentials`",
            );
        }
        if rest.contains(['?', '#']) {
            return Err("it has a query or a fragment; write it up to the path");
        }
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let (host, port) = split_port(authority);
        let port = match port {
            Some(port) => port
                .parse()
                .ok()
                .filter(|&number: &u16| number > 0 && port.bytes().all(|b| b.is_ascii_digit()))
                .ok_or("its port is not a number from 1 to 65535")?,
            None => scheme.default_port(),
        };
        // The one grammar for hosts is that of references; with a port, no host is a repository.
        format!("{host}:{port}/a")
            .parse::<Reference>()
            .map_err(|_invalid| NOT_A_HOST)?;
        let path_prefix = path.trim_end_matches('/');
        let component_is_valid = |component: &str| {
            !matches!(component, "" | "." | "..")
                && component
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
        };
        if !path_prefix
            .strip_prefix('/')
            .is_none_or(|path| path.split('/').all(component_is_valid))
        {
            return Err("its path is not words of letters, digits, `-`, `.`, `_` and `~`");
        }
        Ok(Self {
            scheme,
            host: host.to_ascii_lowercase(),
            port,
            path_prefix: path_prefix.to_owned(),
        })
    }

    /// Whether it is on this machine, whatever a name server says.
    pub fn is_loopback(&self) -> bool {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        let address = bare.parse::<IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// `host`, or `host:port` where the port is not the scheme's own.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme.as_str();
        write!(
            formatter,
            "{scheme}://{}{}",
            self.authority(),
            self.path_prefix
        )
    }
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// A name or an address, an IPv6 address without brackets; `None` is every interface.
    pub host: Option<String>,
    /// 0 is any free port.
    pub port: u16,
}

impl Listen {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = split_port(text);
        let port = port.filter(|port| port.bytes().all(|b| b.is_ascii_digit()))?;
        let port: u16 = port.parse().ok()?;
        if host.is_empty() {
            return Some(Self { host: None, port });
        }
        format!("{host}:1/a").parse::<Reference>().ok()?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some(Self {
            host: Some(host.to_owned()),
            port,
        })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        match host.as_deref() {
            None => write!(formatter, ":{port}"),
            Some(host) if host.contains(':') => write!(formatter, "[{host}]:{port}"),
            Some(host) => write!(formatter, "{host}:{port}"),
        }
    }
}

/// Parts a port from its host; the colons of an IPv6 address stand in brackets.
pub(super) fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rfind(':') {
        Some(colon) if !authority.ends_with(']') => {
            let (host, port) = authority.split_at(colon);
            (host, port.get(1..))
        }
        Some(_) | None => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_urls_without_user_query_and_fragment() {
        for (text, shown) in [
            ("https://10.0.0.7:5000", "https://10.0.0.7:5000"),
            ("HTTPS://Registry.Example/", "https://registry.example"),
            ("https://registry.example:443", "https://registry.example"),
            ("http://registry:80/a/b/", "http://registry/a/b"),
            ("http://registry", "http://registry"),
            ("https://[::1]:5000", "https://[::1]:5000"),
            ("https://[::1]", "https://[::1]"),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(endpoint.to_string(), shown);
            assert_eq!(Endpoint::parse(shown).unwrap(), endpoint);
        }
        for text in [
            "",
            "registry.example",
            "ftp://registry.example",
            "https://",
            "https:///a",
            "https://a:b@registry.example",
            "https://registry.example?a",
            "https://registry.example#a",
            "https://registry.example:0",
            "https://registry.example:+5",
            "https://registry.example:65536",
            "https://registry.example:",
            "https://registry example",
            "https://registry.example/a b",
            "https://registry.example/../a",
            "https://registry.example//a",
            "https://::1",
        ] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_host_is_dialled_by_its_own_name_but_for_docker_hub() {
        let check = |host: &str, scheme, expected: &str| {
            assert_eq!(Endpoint::of_host(host, scheme).to_string(), expected);
        };
        check("docker.io", Scheme::Https, "https://registry-1.docker.io");
        check("localhost:5000", Scheme::Http, "http://localhost:5000");
        check("quay.io", Scheme::Https, "https://quay.io");
        check("[::1]:5000", Scheme::Http, "http://[::1]:5000");
    }

    #[test]
    fn a_listener_has_a_port_and_perhaps_a_host() {
        for text in [":8080", "127.0.0.1:0", "localhost:8080", "[::1]:8080"] {
            assert_eq!(Listen::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            ":",
            "8080",
            "host",
            "host:",
            ":65536",
            ":+1",
            "::1:8080",
            "a b:1",
            "http://a:1",
        ] {
            assert_eq!(Listen::parse(text), None, "{text}");
        }
    }
}
