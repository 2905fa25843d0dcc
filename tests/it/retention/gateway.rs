//! A gateway in front of a registry: one that answers 504 to deletions and passes each on when it is let go, or one
//! behind which somebody moves a tag in the very moment.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{Method, StatusCode};
use tokio::sync::Mutex;

use crate::support::http::client;
use crate::support::server::Server;

#[derive(Debug, Clone)]
struct Behind {
    host: String,
    held: Arc<Mutex<Vec<String>>>,
    /// The tag that is moved to what the first deletion by a digest names.
    moved: Arc<Mutex<Option<&'static str>>>,
    is_held: bool,
}

pub(super) struct Gateway {
    server: Server,
    behind: Behind,
}

impl Gateway {
    /// Holds deletions back.
    pub(super) fn holding(host: &str) -> Self {
        Self::start(Behind {
            host: host.to_owned(),
            held: Arc::default(),
            moved: Arc::default(),
            is_held: true,
        })
    }

    /// Moves a tag of the repository to the first manifest that is deleted, just before it is.
    pub(super) fn moving(host: &str, tag: &'static str) -> Self {
        Self::start(Behind {
            host: host.to_owned(),
            held: Arc::default(),
            moved: Arc::new(Mutex::new(Some(tag))),
            is_held: false,
        })
    }

    fn start(behind: Behind) -> Self {
        let router = Router::new().fallback(pass).with_state(behind.clone());
        Self {
            server: Server::start(router),
            behind,
        }
    }

    pub(super) fn address(&self) -> String {
        self.server.url()
    }

    /// What was to be deleted.
    pub(super) async fn held(&self) -> Vec<String> {
        self.behind.held.lock().await.clone()
    }

    pub(super) async fn let_go(&self) {
        for url in self.behind.held.lock().await.drain(..) {
            let answer = client().delete(url).send().await.unwrap();
            assert!(answer.status().is_success(), "{answer:?}");
        }
    }
}

async fn pass(State(behind): State<Behind>, request: Request) -> Response {
    let path = request.uri().path_and_query().map_or("/", |it| it.as_str());
    let url = format!("http://{}{path}", behind.host);
    if request.method() == Method::DELETE && behind.is_held {
        behind.held.lock().await.push(url);
        let answer = Response::builder().status(StatusCode::GATEWAY_TIMEOUT);
        return answer.body(Body::from("upstream timed out\n")).unwrap();
    }
    if request.method() == Method::DELETE && path.contains("/manifests/sha256:") {
        let tag = behind.moved.lock().await.take();
        if let Some(tag) = tag {
            retag(&url, tag).await;
        }
    }
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 16 << 20).await.unwrap();
    let mut headers = parts.headers;
    headers.remove(http::header::HOST);
    let answer = client()
        .request(parts.method, url)
        .headers(headers)
        .body(body)
        .send()
        .await
        .unwrap();
    let mut passed = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        passed = passed.header(name, value);
    }
    let body = Body::from_stream(answer.bytes_stream());
    passed.body(body).unwrap()
}

async fn retag(manifest: &str, tag: &str) {
    let accepted = "application/vnd.oci.image.manifest.v1+json";
    let get = client()
        .get(manifest)
        .header(http::header::ACCEPT, accepted);
    let answer = get.send().await.unwrap();
    let kind = answer.headers()[http::header::CONTENT_TYPE].clone();
    let body = answer.bytes().await.unwrap();
    let (repository, _) = manifest.rsplit_once('/').unwrap();
    let put = client()
        .put(format!("{repository}/{tag}"))
        .header(http::header::CONTENT_TYPE, kind)
        .body(body);
    let answer = put.send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
}
