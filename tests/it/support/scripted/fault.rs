//! What goes wrong: rules that change the honest answer, by route, method and the how manieth request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pullproof::oci::digest::Digest;

use super::answer::{Reply, Wire};

/// Which requests a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Any,
    /// `/v2/` itself.
    Front,
    /// The token server, wherever it is.
    Token,
    /// Manifests by tag.
    Tags,
    Tag(String),
    /// Manifests by digest.
    Manifests,
    Blobs,
    /// One object, as manifest or blob; on the registry itself, not behind a redirect.
    Object(Digest),
    /// The storage behind a redirect.
    Storage,
    /// One object in the storage.
    Stored(Digest),
    /// Everything on a host, by its name.
    Host(String),
    /// A path on the registry's host that is not of the API.
    Path(String),
}

/// Which of the requests on a route, counted for each rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Always,
    /// The first so many.
    First(usize),
    /// All but the first so many.
    After(usize),
    /// Every second one, beginning with the first.
    EverySecond,
}

impl Which {
    fn includes(self, index: usize) -> bool {
        match self {
            Self::Always => true,
            Self::First(count) => index < count,
            Self::After(count) => index >= count,
            Self::EverySecond => index.is_multiple_of(2),
        }
    }
}

/// One change to an answer.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// This status, with no body.
    Status(u16),
    /// This status, with the specification's error body.
    Error(u16, &'static str),
    /// Another answer altogether.
    Instead(u16, Bytes),
    Set(&'static str, String),
    /// One more of a header that may be there.
    Add(&'static str, String),
    Remove(&'static str),
    /// Another `WWW-Authenticate`, where the registry lets nobody in.
    Challenge(String),
    /// 307 to there.
    Redirect(String),
    /// The status and the headers stay those of the honest answer.
    Body(Bytes),
    Delay(Duration),
    On(Wire),
}

impl Fault {
    pub(crate) fn apply(&self, reply: &mut Reply) {
        match self {
            Self::Status(status) => *reply = Reply::new(*status, Bytes::new()),
            Self::Error(status, code) => *reply = Reply::error(*status, code),
            Self::Instead(status, body) => *reply = Reply::new(*status, body.clone()),
            Self::Set(name, value) => {
                reply.remove(name);
                reply.headers.push(((*name).to_owned(), value.clone()));
            }
            Self::Add(name, value) => reply.headers.push(((*name).to_owned(), value.clone())),
            Self::Remove(name) => reply.remove(name),
            Self::Challenge(challenge) if reply.status == 401 => {
                reply.remove("www-authenticate");
                let header = ("www-authenticate".to_owned(), challenge.clone());
                reply.headers.push(header);
            }
            Self::Challenge(_) => {}
            Self::Redirect(location) => {
                *reply = Reply::new(307, Bytes::new()).with("location", location);
            }
            Self::Body(body) => {
                reply.remove("content-length");
                let length = body.len().to_string();
                reply.headers.push(("content-length".to_owned(), length));
                reply.body = body.clone();
            }
            Self::Delay(delay) => reply.delay = *delay,
            Self::On(wire) => reply.wire = wire.clone(),
        }
    }
}

/// Some faults for some requests.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) route: Route,
    pub(crate) method: Option<&'static str>,
    pub(crate) which: Which,
    pub(crate) faults: Vec<Fault>,
    hits: Arc<AtomicUsize>,
}

/// A rule for these requests that changes nothing yet.
pub(crate) fn on(route: Route) -> Rule {
    Rule {
        route,
        method: None,
        which: Which::Always,
        faults: Vec::new(),
        hits: Arc::default(),
    }
}

impl Rule {
    pub(crate) fn head(mut self) -> Self {
        self.method = Some("HEAD");
        self
    }

    pub(crate) fn get(mut self) -> Self {
        self.method = Some("GET");
        self
    }

    pub(crate) fn only(mut self, which: Which) -> Self {
        self.which = which;
        self
    }

    pub(crate) fn give(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// Whether the request is one of the rule's, which is counted.
    pub(crate) fn takes(&self, routes: &[Route], method: &str) -> bool {
        self.is_about(routes, method)
            && self
                .which
                .includes(self.hits.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn is_about(&self, routes: &[Route], method: &str) -> bool {
        self.method.is_none_or(|own| own == method)
            && (self.route == Route::Any || routes.contains(&self.route))
    }
}
