//! A man between a client and an S3 server: passes everything on as it was signed, counts it, and does
//! with a chosen answer what networks, proxies and servers do.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, StatusCode, header};

use crate::support::http::client;
use crate::support::server::Server;

/// What is done with one answer.
#[derive(Clone)]
pub(crate) enum Fault {
    /// Half of the body, and then the connection breaks.
    Broken,
    /// Another body, as if it were this.
    Rewritten(Arc<dyn Fn(&str) -> String + Send + Sync>),
    /// This instead, and the server is not asked.
    Answer(u16, &'static [(&'static str, &'static str)], String),
    /// The server is asked and does it, and this is what is told of it.
    Instead(u16, String),
    /// Nothing, ever.
    Silence,
    /// This happens, the server is not asked, and nothing is answered.
    Unsent(Hook),
    /// The server is asked and does it, this happens, and nothing is answered.
    Unanswered(Hook),
    /// This happens first.
    Meanwhile(Hook),
}

/// Something that happens beside a request.
pub(crate) type Hook = Arc<dyn Fn() -> futures::future::BoxFuture<'static, ()> + Send + Sync>;

impl Fault {
    pub(crate) fn rewritten(change: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self::Rewritten(Arc::new(change))
    }

    /// An error as S3 tells it.
    pub(crate) fn error(status: u16, code: &str) -> Self {
        Self::Answer(status, &[("content-type", "application/xml")], error(code))
    }

    /// The same, after it was done.
    pub(crate) fn late_error(status: u16, code: &str) -> Self {
        Self::Instead(status, error(code))
    }
}

fn error(code: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
         <Message>so it is</Message><RequestId>1</RequestId></Error>"
    )
}

/// One request, and what the server itself answered to it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) answer: String,
}

impl Seen {
    pub(crate) fn is_list(&self) -> bool {
        self.path.contains("list-type=2")
    }
}

#[derive(Default)]
struct Script {
    upstream: String,
    rules: Vec<Rule>,
    seen: Vec<Seen>,
}

/// Of a method, and of `PATH?QUERY`.
type Asked = Box<dyn Fn(&str, &str) -> bool + Send>;

/// Of the requests of which this is true, counted from 0, those of these numbers.
struct Rule {
    asked: Asked,
    numbers: std::ops::Range<usize>,
    count: usize,
    fault: Fault,
}

pub(crate) struct Between {
    server: Server,
    script: Arc<Mutex<Script>>,
}

impl Between {
    /// In front of `upstream`, a host with its port.
    pub(crate) fn start(upstream: &str) -> Self {
        let script = Script {
            upstream: upstream.to_owned(),
            ..Script::default()
        };
        let script = Arc::new(Mutex::new(script));
        let router = Router::new()
            .fallback(pass_on)
            .with_state(Arc::clone(&script));
        Self {
            server: Server::start(router),
            script,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.port()
    }

    /// From now on pages are counted anew, and those of these numbers go wrong.
    pub(crate) fn on(&self, pages: std::ops::Range<usize>, fault: Fault) {
        self.heal();
        self.when(pages, fault, |_method, path| path.contains("list-type=2"));
    }

    /// From now on those requests of which this is true (of the method, and of `PATH?QUERY`) go wrong whose
    /// numbers these are, counted from 0; besides what was said before.
    pub(crate) fn when(
        &self,
        numbers: std::ops::Range<usize>,
        fault: Fault,
        asked: impl Fn(&str, &str) -> bool + Send + 'static,
    ) {
        let rule = Rule {
            asked: Box::new(asked),
            numbers,
            count: 0,
            fault,
        };
        let mut script = self.script.lock().expect("no handler panics with it");
        script.rules.push(rule);
    }

    /// Nothing goes wrong any more, and nothing was seen.
    pub(crate) fn heal(&self) {
        let mut script = self.script.lock().expect("no handler panics with it");
        script.rules.clear();
        script.seen.clear();
    }

    /// What was asked since this was last called, or a fault was set.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        let mut script = self.script.lock().expect("no handler panics with it");
        std::mem::take(&mut script.seen)
    }
}

async fn pass_on(State(script): State<Arc<Mutex<Script>>>, request: Request) -> Response {
    let path = request.uri().path_and_query().expect("it has a path");
    let path = path.to_string();
    let (method, headers) = (request.method().clone(), request.headers().clone());
    let sent = axum::body::to_bytes(request.into_body(), usize::MAX).await;
    let sent = sent.expect("a test's client sends all that it announces");
    let (fault, upstream, number) = {
        let mut script = script.lock().expect("no handler panics with it");
        let mut fault = None;
        for rule in &mut script.rules {
            if (rule.asked)(method.as_str(), &path) {
                let is_struck = rule.numbers.contains(&rule.count);
                rule.count += 1;
                if is_struck && fault.is_none() {
                    fault = Some(rule.fault.clone());
                }
            }
        }
        script.seen.push(Seen {
            method: method.to_string(),
            path: path.clone(),
            answer: String::new(),
        });
        (fault, script.upstream.clone(), script.seen.len() - 1)
    };
    match &fault {
        Some(Fault::Answer(status, headers, body)) => {
            let status = StatusCode::from_u16(*status).expect("a status");
            let headers = headers.iter().map(|(name, value)| (*name, *value));
            let headers: Vec<(&str, &str)> = headers.collect();
            let mut response = (status, body.clone()).into_response();
            for (name, value) in headers {
                let value = value.parse().expect("a header's value");
                response.headers_mut().insert(name, value);
            }
            return response;
        }
        Some(Fault::Silence) => return std::future::pending().await,
        Some(Fault::Unsent(hook)) => {
            hook().await;
            return std::future::pending().await;
        }
        Some(Fault::Meanwhile(hook)) => hook().await,
        Some(Fault::Broken | Fault::Rewritten(_) | Fault::Instead(..) | Fault::Unanswered(_))
        | None => {}
    }
    // The `Host` of the client goes with it: it is signed.
    let asked = client().request(method, format!("http://{upstream}{path}"));
    let Ok(answer) = asked.headers(headers).body(sent).send().await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let (mut status, headers) = (answer.status(), kept(answer.headers(), fault.is_some()));
    let Ok(body) = answer.bytes().await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    if let Some(Fault::Unanswered(hook)) = &fault {
        hook().await;
        return std::future::pending().await;
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    if let Some(seen) = script
        .lock()
        .expect("no handler panics with it")
        .seen
        .get_mut(number)
    {
        seen.answer.clone_from(&text);
    }
    let body = match fault {
        Some(Fault::Broken) => {
            // What has no body cannot break in its midst.
            status = StatusCode::OK;
            let half = body.slice(..body.len() / 2);
            let broken = Err(std::io::Error::other("cut"));
            Body::from_stream(stream::iter([Ok::<Bytes, _>(half), broken]))
        }
        Some(Fault::Rewritten(change)) => Body::from(change(&text)),
        Some(Fault::Instead(told, body)) => {
            status = StatusCode::from_u16(told).expect("a status");
            Body::from(body)
        }
        _ => Body::from(body),
    };
    (status, headers, body).into_response()
}

/// A changed body has another length.
fn kept(headers: &HeaderMap, is_changed: bool) -> HeaderMap {
    let mut headers = headers.clone();
    headers.remove(header::CONNECTION);
    headers.remove(header::TRANSFER_ENCODING);
    if is_changed {
        headers.remove(header::CONTENT_LENGTH);
    }
    headers
}
