//! The peers' part of the check.

use std::path::PathBuf;
use std::time::Duration;

use super::check::Checker;
use super::endpoint::{Endpoint, Scheme};
use super::{Peer, raw};

const MAX_AGE: Duration = Duration::from_hours(1);

/// `None` where its URL is none, which is then a problem already.
pub(super) fn check(
    checker: &mut Checker<'_, '_>,
    path: &str,
    name: String,
    raw: raw::Peer,
) -> Option<Peer> {
    let of = |key: &str| format!("{path}.{key}");
    let file = |file: raw::File| file.file.unwrap_or_default();
    let ca = raw.ca.map(|ca| checker.file(&of("ca.file"), file(ca)));
    let token = raw.token.map_or_else(PathBuf::new, |token| {
        checker.file(&of("token.file"), file(token))
    });
    let max_age = raw
        .max_age
        .map_or(MAX_AGE, |text| checker.duration(&of("maxAge"), &text));
    let endpoint = checker.url(&of("url"), &raw.url.unwrap_or_default())?;
    if let Some(problem) = problem(&endpoint, raw.plain_http.unwrap_or(false)) {
        checker.report.add(&of("url"), problem);
    }
    Some(Peer {
        name,
        endpoint,
        ca,
        token,
        required: raw.required.unwrap_or(true),
        max_age,
    })
}

fn problem(endpoint: &Endpoint, plain_http: bool) -> Option<&'static str> {
    if endpoint.path_prefix.ends_with("/api/v1/keepset") {
        return Some("write it without /api/v1/keepset, which is the same everywhere");
    }
    match endpoint.scheme {
        Scheme::Https if plain_http => {
            Some("it is https, but plainHttp is true; write http:// or take plainHttp out")
        }
        Scheme::Http if !plain_http && !endpoint.is_loopback() => Some(
            "by http everybody on the way can read the token and change what is kept; write https://, \
             or `plainHttp: true` beside it where something else protects the way",
        ),
        Scheme::Https | Scheme::Http => None,
    }
}
