//! The redis in which replicas of a registry remember what they have.

use std::fmt;
use std::path::PathBuf;

use super::check::Checker;
use super::endpoint::{Endpoint, split_port};
use super::problem::quoted;
use super::raw;

/// The port where none is written.
const PORT: u16 = 6379;

/// Where it is, and who pullproof is to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    pub is_tls: bool,
    /// An IPv6 address without brackets.
    pub host: String,
    pub port: u16,
    /// The number of the database.
    pub database: u16,
    /// `None`: redis' own default user.
    pub username: Option<String>,
    pub password: Option<PathBuf>,
    /// PEM; trusted besides the system's.
    pub ca: Option<PathBuf>,
}

impl fmt::Display for Redis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "rediss" } else { "redis" };
        let (open, close) = if self.host.contains(':') {
            ("[", "]")
        } else {
            ("", "")
        };
        let Self {
            host,
            port,
            database,
            ..
        } = self;
        write!(
            formatter,
            "{scheme}://{open}{host}{close}:{port}/{database}"
        )
    }
}

impl Redis {
    /// Without who asks. The error says what to write instead.
    fn parse(text: &str) -> Result<Self, &'static str> {
        const WHERE: &str = "expected redis://host:port/database";
        let (scheme, rest) = text
            .split_once("://")
            .ok_or("its scheme is missing; write redis:// or rediss:// in front")?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "redis" => false,
            "rediss" => true,
            _other => return Err("its scheme is neither redis nor rediss"),
        };
        if rest.contains('@') {
            return Err(
                "a secret is never written here; write `username: NAME` and `password: {file: FILE}` beside it",
            );
        }
        if rest.contains(['?', '#']) {
            return Err("it has a query or a fragment; write it up to the number of the database");
        }
        if rest.contains(',') {
            return Err(
                "it names several; write the one that takes what is written, a cluster or a sentinel is none",
            );
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let database = match path {
            "" => 0,
            number if number.bytes().all(|b| b.is_ascii_digit()) => number
                .parse()
                .map_err(|_too_large| "no redis has a database of that number")?,
            _ => return Err("its path is not the number of a database"),
        };
        // The same grammar as of any address.
        let address = Endpoint::parse(&format!("http://{authority}")).map_err(|_url| WHERE)?;
        let host = address.host.trim_start_matches('[').trim_end_matches(']');
        Ok(Self {
            is_tls,
            host: host.to_owned(),
            port: split_port(authority)
                .1
                .map_or(PORT, |_written| address.port),
            database,
            username: None,
            password: None,
            ca: None,
        })
    }
}

impl Checker<'_, '_> {
    pub(super) fn redis(&mut self, path: &str, raw: raw::Redis) -> Option<Redis> {
        let of = |key: &str| format!("{path}.{key}");
        let url = raw.url.unwrap_or_default();
        let parsed = match Redis::parse(&url) {
            Ok(parsed) => Some(parsed),
            Err(way_out) => {
                if !self.report.has(&of("url")) {
                    let message = format!("{} is not usable: {way_out}", quoted(&url));
                    self.report.add(&of("url"), message);
                }
                None
            }
        };
        let file = |raw: Option<raw::File>| raw.and_then(|it| it.file);
        let password = file(raw.password).map(|name| self.file(&of("password.file"), name));
        let ca = file(raw.ca).map(|name| self.file(&of("ca.file"), name));
        if raw.username.is_some() && password.is_none() && !self.report.has(&of("password")) {
            let message = "it has no password; add `password: {file: FILE}`";
            self.report.add(&of("username"), message);
        }
        let is_clear = parsed.as_ref().is_some_and(|it| !it.is_tls);
        if ca.is_some() && is_clear {
            let message = "there is no TLS over redis://; write rediss://, or take `ca` out";
            self.report.add(&of("ca"), message);
        }
        Some(Redis {
            username: raw.username,
            password,
            ca,
            ..parsed?
        })
    }
}
