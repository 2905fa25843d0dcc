//! A man between a client and an API server: passes everything on, by plain HTTP towards the client,
//! and does with a chosen answer what networks and proxies do.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{HeaderMap, StatusCode, header};
use tokio::sync::{Notify, watch};

use super::cluster::{Cluster, Identity};
use super::daemon::BOUND;
use super::http::client_trusting;
use super::server::Server;

/// What is done with one answer.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Half of the body, and then the connection breaks.
    Cut,
    /// This instead, and the API server is not asked.
    Answer(u16, String),
    /// Asked with this at the end of the query.
    With(&'static str),
    /// Nothing, ever.
    Silence,
    /// Asked when it is let go.
    Held(Hold),
}

/// A request that waits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hold {
    arrived: Arc<Notify>,
    goes_on: Arc<Notify>,
}

impl Hold {
    pub(crate) async fn arrived(&self) {
        let arrived = tokio::time::timeout(BOUND, self.arrived.notified());
        arrived.await.expect("nobody asked");
    }

    pub(crate) fn let_go(&self) {
        self.goes_on.notify_one();
    }
}

type Asked = Box<dyn Fn(&str) -> bool + Send + Sync>;

struct Rule {
    asked: Asked,
    fault: Fault,
    /// For so many more answers.
    times: usize,
}

struct Script {
    rules: Mutex<Vec<Rule>>,
    requests: Mutex<Vec<String>>,
    upstream: Mutex<String>,
    client: reqwest::Client,
    /// Counts the cuts.
    cuts: watch::Sender<usize>,
}

pub(crate) struct Between {
    server: Server,
    script: Arc<Script>,
}

impl Between {
    pub(crate) fn start(cluster: &Cluster) -> Self {
        let script = Arc::new(Script {
            rules: Mutex::default(),
            requests: Mutex::default(),
            upstream: Mutex::new(cluster.url()),
            client: client_trusting(cluster.authority()),
            cuts: watch::Sender::new(0),
        });
        let router = Router::new()
            .fallback(pass_on)
            .with_state(Arc::clone(&script));
        let server = Server::start(router);
        Self { server, script }
    }

    /// The identity's way to the cluster through here.
    pub(crate) fn kubeconfig(&self, cluster: &Cluster, identity: &Identity) -> PathBuf {
        cluster.kubeconfig_by(identity, &self.server.url())
    }

    /// The next so many answers to requests (`PATH?QUERY`) of which this is true.
    pub(crate) fn on(
        &self,
        times: usize,
        fault: Fault,
        asked: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) {
        let rule = Rule {
            asked: Box::new(asked),
            fault,
            times,
        };
        self.script
            .rules
            .lock()
            .expect("never held across a panic")
            .push(rule);
    }

    /// No rule stands any more.
    pub(crate) fn heal(&self) {
        self.script
            .rules
            .lock()
            .expect("never held across a panic")
            .clear();
    }

    /// Another API server answers from now on; what is under way goes on.
    pub(crate) fn switch(&self, upstream: &str) {
        upstream.clone_into(
            &mut self
                .script
                .upstream
                .lock()
                .expect("never held across a panic"),
        );
    }

    /// Breaks every answer that is under way, begun or awaited.
    pub(crate) fn cut(&self) {
        self.script.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Keeps the next request of which this is true waiting until it is let go.
    pub(crate) fn hold(&self, asked: impl Fn(&str) -> bool + Send + Sync + 'static) -> Hold {
        let hold = Hold::default();
        self.on(1, Fault::Held(hold.clone()), asked);
        hold
    }

    /// All requests so far, `PATH?QUERY`.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.script
            .requests
            .lock()
            .expect("never held across a panic")
            .clone()
    }

    /// The lists so far, each by its first page.
    pub(crate) fn lists(&self) -> usize {
        let requests = self.requests();
        let lists = requests
            .iter()
            .filter(|it| it.contains("limit=500") && !it.contains("continue="));
        lists.count()
    }
}

async fn pass_on(State(script): State<Arc<Script>>, request: Request) -> Response {
    let asked = request
        .uri()
        .path_and_query()
        .expect("a request has a path")
        .to_string();
    script
        .requests
        .lock()
        .expect("never held across a panic")
        .push(asked.clone());
    let fault = {
        let mut rules = script.rules.lock().expect("never held across a panic");
        let rule = rules
            .iter_mut()
            .find(|rule| rule.times > 0 && (rule.asked)(&asked));
        rule.map(|rule| {
            rule.times -= 1;
            rule.fault.clone()
        })
    };
    let mut url = format!(
        "{}{asked}",
        script.upstream.lock().expect("never held across a panic")
    );
    match &fault {
        Some(Fault::Answer(status, body)) => {
            let status = StatusCode::from_u16(*status).expect("a status");
            let kind = [(header::CONTENT_TYPE, "application/json")];
            return (status, kind, body.clone()).into_response();
        }
        Some(Fault::Silence) => return std::future::pending().await,
        Some(Fault::With(more)) => url.push_str(more),
        Some(Fault::Held(hold)) => {
            hold.arrived.notify_one();
            hold.goes_on.notified().await;
        }
        Some(Fault::Cut) | None => {}
    }
    let mut headers = request.headers().clone();
    headers.remove(header::HOST);
    let body = axum::body::to_bytes(request.into_body(), usize::MAX)
        .await
        .expect("a request without a body");
    let asking = script
        .client
        .request(reqwest::Method::GET, url)
        .headers(headers)
        .body(body);
    let mut cuts = script.cuts.subscribe();
    let answer = tokio::select! {
        answer = asking.send() => answer.ok(),
        _ = cuts.changed() => None,
    };
    let Some(answer) = answer else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let (status, headers) = (answer.status(), kept(answer.headers()));
    let body = if matches!(fault, Some(Fault::Cut)) {
        let whole = answer.bytes().await.unwrap_or_default();
        let half = whole.slice(..whole.len() / 2);
        Body::from_stream(stream::iter([Ok(half), Err(broken())]))
    } else {
        under_way(&script, answer)
    };
    (status, headers, body).into_response()
}

fn broken() -> std::io::Error {
    std::io::Error::other("cut")
}

fn kept(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in [
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
    ] {
        headers.remove(name);
    }
    headers
}

/// The body as it comes, until somebody cuts it.
fn under_way(script: &Script, answer: reqwest::Response) -> Body {
    let state = Answering {
        chunks: answer.bytes_stream().boxed(),
        cuts: script.cuts.subscribe(),
    };
    let body = stream::unfold(Some(state), async |state| {
        let mut state = state?;
        match state.next().await {
            Some(Ok(chunk)) => Some((Ok(chunk), Some(state))),
            Some(Err(error)) => Some((Err(error), None)),
            None => None,
        }
    });
    Body::from_stream(body)
}

struct Answering {
    chunks: stream::BoxStream<'static, reqwest::Result<Bytes>>,
    cuts: watch::Receiver<usize>,
}

impl Answering {
    async fn next(&mut self) -> Option<std::io::Result<Bytes>> {
        let Self { chunks, cuts } = self;
        tokio::select! {
            biased;
            _ = cuts.changed() => Some(Err(broken())),
            chunk = chunks.next() => chunk.map(|it| it.map_err(std::io::Error::other)),
        }
    }
}
