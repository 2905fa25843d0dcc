//! What a scripted registry answers: the honest reply, then what the rules make of it.

use std::time::Duration;

use bytes::Bytes;
use pullproof::oci::digest::Digest;
use serde_json::json;

use super::fault::Route;
use super::store::Store;
use super::tokens::Access;
use super::{REGISTRY, STORAGE, Script, Seen, World};

/// How an answer goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wire {
    Whole,
    /// The head, so much of the body, and the end: what was announced does not come.
    Cut(usize),
    /// The same, and then a reset.
    ResetIn(usize),
    /// The same, and then nothing more, with the connection left open.
    HangIn(usize),
    /// A reset instead of an answer.
    Reset,
    /// The end of the server's half instead of an answer.
    HalfClose,
    Hang,
    /// A head that never ends, a byte at a time.
    DripHead(Duration),
    /// A body that comes a byte at a time.
    DripBody(Duration),
    /// A chunked body that never ends.
    Endless,
    /// These bytes, which need not be HTTP, and the end.
    Raw(Bytes),
}

#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    pub(crate) delay: Duration,
    pub(crate) wire: Wire,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self {
            status,
            headers: vec![("content-length".to_owned(), body.len().to_string())],
            body,
            delay: Duration::ZERO,
            wire: Wire::Whole,
        }
    }

    /// The specification's error.
    pub(crate) fn error(status: u16, code: &str) -> Self {
        let body = json!({"errors": [{"code": code, "message": code.to_lowercase()}]}).to_string();
        Self::new(status, body).with("content-type", "application/json")
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.headers.retain(|(own, _)| own != name);
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Records the request and answers it.
pub(crate) fn answer(world: &mut World, seen: Seen) -> Reply {
    let routes = routes(&seen.host, &seen.path);
    let mut reply = honest_or_refused(world, &seen, &routes);
    for rule in &world.script.rules {
        if rule.takes(&routes, &seen.method) {
            for fault in &rule.faults {
                fault.apply(&mut reply);
            }
        }
    }
    world.seen.push(seen);
    reply
}

fn honest_or_refused(world: &mut World, seen: &Seen, routes: &[Route]) -> Reply {
    let Script { store, access, .. } = &world.script;
    if routes.contains(&Route::Token) {
        let to_anybody = matches!(
            access,
            Access::Token {
                to_anybody: true,
                ..
            }
        );
        return world.tokens.issue(seen, to_anybody);
    }
    if seen.path.starts_with("/v2/")
        && let Some(refusal) = world.tokens.refusal(access, seen)
    {
        return refusal;
    }
    honest(
        store,
        &seen.path,
        routes,
        seen.header("range").and_then(single_byte),
    )
}

/// Without faults and to somebody who may see it.
pub(crate) fn honest(store: &Store, path: &str, routes: &[Route], byte: Option<usize>) -> Reply {
    for route in routes {
        match route {
            Route::Front => return Reply::new(200, "{}"),
            Route::Tag(tag) => return manifest(store, path, tag),
            Route::Object(digest) if path.contains("/manifests/") => {
                return manifest(store, path, &digest.to_string());
            }
            Route::Object(digest) => return blob(store, path, *digest, byte),
            Route::Stored(digest) => {
                return match store.anywhere(&digest.hex()) {
                    Some(content) => ranged(content, byte),
                    None => Reply::new(404, "<Error><Code>NoSuchKey</Code></Error>")
                        .with("content-type", "application/xml"),
                };
            }
            _ => {}
        }
    }
    Reply::new(404, "<html>404 page not found</html>").with("content-type", "text/html")
}

fn manifest(store: &Store, path: &str, reference: &str) -> Reply {
    let Some(repository) = store.repositories.get(repository(path).unwrap_or_default()) else {
        return Reply::error(404, "NAME_UNKNOWN");
    };
    let digest = repository
        .tags
        .get(reference)
        .copied()
        .or_else(|| reference.parse().ok());
    let stored = digest.and_then(|digest| Some((digest, repository.manifests.get(&digest)?)));
    match stored {
        Some((digest, stored)) => Reply::new(200, stored.body.clone())
            .with("content-type", &stored.media_type)
            .with("docker-content-digest", &digest.to_string()),
        None => Reply::error(404, "MANIFEST_UNKNOWN"),
    }
}

fn blob(store: &Store, path: &str, digest: Digest, byte: Option<usize>) -> Reply {
    let Some(repository) = store.repositories.get(repository(path).unwrap_or_default()) else {
        return Reply::error(404, "NAME_UNKNOWN");
    };
    if repository.redirected.contains(&digest) {
        let location = format!("http://{STORAGE}/{}?X-Amz-Signature=secret", digest.hex());
        return Reply::new(307, Bytes::new()).with("location", &location);
    }
    match repository.blobs.get(&digest) {
        Some(content) => ranged(content, byte).with("docker-content-digest", &digest.to_string()),
        None => Reply::error(404, "BLOB_UNKNOWN"),
    }
}

/// The 7 of `bytes=7-7`.
fn single_byte(range: &str) -> Option<usize> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    (first == last).then(|| first.parse().ok())?
}

fn ranged(content: &Bytes, byte: Option<usize>) -> Reply {
    match byte {
        Some(at) if at < content.len() => {
            let range = format!("bytes {at}-{at}/{}", content.len());
            Reply::new(206, content.slice(at..=at)).with("content-range", &range)
        }
        Some(_) if !content.is_empty() => Reply::new(416, Bytes::new())
            .with("content-range", &format!("bytes */{}", content.len())),
        Some(_) | None => {
            Reply::new(200, content.clone()).with("content-type", "application/octet-stream")
        }
    }
}

/// The name in `/v2/NAME/manifests/…` or `/v2/NAME/blobs/…`.
pub(crate) fn repository(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/v2/")?;
    let (name, _) = rest
        .rsplit_once("/manifests/")
        .or_else(|| rest.rsplit_once("/blobs/"))?;
    Some(name)
}

/// All routes that a request is on.
pub(crate) fn routes(host: &str, path: &str) -> Vec<Route> {
    let mut routes = routes_of_path(host, path);
    routes.push(Route::Host(host.to_owned()));
    routes
}

fn routes_of_path(host: &str, path: &str) -> Vec<Route> {
    let is_registry = host == REGISTRY
        || host.starts_with("127.0.0.1")
        || host.starts_with("[::1]")
        || host.starts_with("localhost");
    if path == "/token" {
        return vec![Route::Token];
    }
    if !is_registry {
        let digest = format!("sha256:{}", path.trim_start_matches('/'))
            .parse()
            .ok();
        return [Route::Storage]
            .into_iter()
            .chain(digest.map(Route::Stored))
            .collect();
    }
    let rest = path.rsplit('/').next().unwrap_or_default();
    let object = rest.parse().ok().map(Route::Object);
    if path == "/v2/" {
        vec![Route::Front]
    } else if path.contains("/blobs/") {
        [Route::Blobs].into_iter().chain(object).collect()
    } else if path.contains("/manifests/") {
        match object {
            Some(object) => vec![Route::Manifests, object],
            None => vec![Route::Tags, Route::Tag(rest.to_owned())],
        }
    } else {
        vec![Route::Path(path.to_owned())]
    }
}
