//! An API server that follows a script. It is called in this process, so that the tests' clock can
//! be turned while it is silent.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::stream;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::{Instant, timeout_at};

#[derive(Debug, Clone, Default)]
pub(super) struct Server(Arc<Mutex<Script>>);

#[derive(Debug, Default)]
struct Script {
    /// By path.
    objects: BTreeMap<String, Vec<Value>>,
    secrets: BTreeMap<String, Value>,
    /// What is answered instead, once each, by path; `?watch` behind it for watches.
    answers: HashMap<String, VecDeque<Answer>>,
    /// The same for ever.
    standing: HashMap<String, Answer>,
    watches: HashMap<String, Vec<UnboundedSender<Line>>>,
    requests: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) enum Answer {
    Status(u16, &'static str),
    /// A page, whole.
    Page(Value),
    /// Events, then a connection that breaks.
    Broken(Vec<Value>),
    Hang,
    /// A good answer without a body.
    Empty,
    /// A watch that is open and never says anything, not even its end.
    Silent,
    /// A watch that ends in time, and without a bookmark before.
    Mute,
}

type Line = Result<Bytes, std::io::Error>;

impl Server {
    pub(super) fn router(&self) -> Router {
        Router::new().fallback(serve).with_state(self.clone())
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap()
    }

    pub(super) fn set(&self, path: &str, objects: Vec<Value>) {
        self.script().objects.insert(path.to_owned(), objects);
    }

    pub(super) fn set_secret(&self, namespace: &str, name: &str, secret: Value) {
        let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
        self.script().secrets.insert(path, secret);
    }

    /// Answers the next request for `path` so, and one more for each call.
    pub(super) fn once(&self, path: &str, answer: Answer) {
        let mut script = self.script();
        script
            .answers
            .entry(path.to_owned())
            .or_default()
            .push_back(answer);
    }

    pub(super) fn always(&self, path: &str, answer: Answer) {
        self.script().standing.insert(path.to_owned(), answer);
    }

    pub(super) fn no_longer(&self, path: &str) {
        self.script().standing.remove(path);
    }

    /// Sends an event to the open watches of `path`. How many there were.
    pub(super) fn emit(&self, path: &str, event: &Value) -> usize {
        let mut script = self.script();
        let watches = script.watches.entry(path.to_owned()).or_default();
        watches.retain(|watch| watch.send(Ok(line(event))).is_ok());
        watches.len()
    }

    /// Closes the open watches of `path`.
    pub(super) fn close(&self, path: &str) {
        self.script().watches.remove(path);
    }

    /// The requests so far whose path and query begin so.
    pub(super) fn requests(&self, prefix: &str) -> Vec<String> {
        let script = self.script();
        let requests = script.requests.iter();
        requests
            .filter(|request| request.starts_with(prefix))
            .cloned()
            .collect()
    }
}

async fn serve(
    State(server): State<Server>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let path = request.uri().path().to_owned();
    let query = query.unwrap_or_default();
    let is_watch = query.contains("watch=true");
    let answer = {
        let mut script = server.script();
        script.requests.push(format!("{path}?{query}"));
        let key = if is_watch {
            format!("{path}?watch")
        } else {
            path.clone()
        };
        let next = script.answers.get_mut(&key).and_then(VecDeque::pop_front);
        next.or_else(|| script.standing.get(&key).cloned())
    };
    match answer {
        Some(Answer::Status(code, message)) => status(code, message),
        Some(Answer::Page(page)) => json_response(&page),
        Some(Answer::Broken(events)) => {
            let mut lines: Vec<Line> = events.iter().map(|event| Ok(line(event))).collect();
            lines.push(Err(std::io::Error::other("connection reset by peer")));
            streamed(lines)
        }
        Some(Answer::Empty) => StatusCode::OK.into_response(),
        Some(Answer::Hang) => std::future::pending().await,
        Some(Answer::Silent) => Body::from_stream(stream::pending::<Line>()).into_response(),
        Some(Answer::Mute) => server.watch(path, &query, false),
        None if is_watch => server.watch(path, &query, true),
        None => server.get(&path),
    }
}

impl Server {
    /// Open until the time that was asked for, with a bookmark right before.
    fn watch(&self, path: String, query: &str, has_bookmark: bool) -> Response {
        let value = |name: &str| query.split('&').find_map(|part| part.strip_prefix(name));
        let seconds = value("timeoutSeconds=").unwrap().parse().unwrap();
        let closes = Instant::now() + Duration::from_secs(seconds);
        let version = value("resourceVersion=").unwrap();
        let mark =
            json!({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": version}}});
        let mark = has_bookmark.then_some(mark);
        let (sender, receiver) = unbounded_channel();
        self.script().watches.entry(path).or_default().push(sender);
        let lines = stream::unfold((receiver, mark), move |(mut receiver, mark)| async move {
            let marked = closes - Duration::from_secs(2);
            let until = if mark.is_some() { marked } else { closes };
            match (timeout_at(until, receiver.recv()).await, mark) {
                // Only while nothing else is said, whose version would be newer.
                (Ok(said), _) => said.map(|said| (said, (receiver, None))),
                (Err(_), Some(mark)) => Some((Ok(line(&mark)), (receiver, None))),
                (Err(_), None) => None,
            }
        });
        Body::from_stream(lines).into_response()
    }

    fn get(&self, path: &str) -> Response {
        let script = self.script();
        if path.contains("/secrets/") {
            return match script.secrets.get(path) {
                Some(secret) => json_response(secret),
                None => status(404, "secrets not found"),
            };
        }
        let objects = script.objects.get(path).cloned().unwrap_or_default();
        json_response(&page(&objects, "1000", ""))
    }
}

pub(super) fn page(objects: &[Value], version: &str, continue_token: &str) -> Value {
    json!({"kind": "SomeList", "metadata": {"resourceVersion": version, "continue": continue_token}, "items": objects})
}

fn line(event: &Value) -> Bytes {
    format!("{event}\n").into()
}

fn streamed(lines: Vec<Line>) -> Response {
    Body::from_stream(stream::iter(lines)).into_response()
}

fn status(code: u16, message: &str) -> Response {
    let body = json!({"kind": "Status", "status": "Failure", "code": code, "message": message});
    (StatusCode::from_u16(code).unwrap(), body.to_string()).into_response()
}

fn json_response(value: &Value) -> Response {
    value.to_string().into_response()
}
