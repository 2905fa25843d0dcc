//! A registry of our own: it has some images, writes down what it is asked, and answers as a script says
//! before it answers as a registry does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use pullproof::oci::digest::Digest;
use serde_json::json;

use crate::support::server::Server;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
}

impl Asked {
    /// What Docker Hub counts.
    pub(crate) fn is_pull(&self) -> bool {
        self.method == Method::GET && self.path.contains("/manifests/")
    }
}

/// What a script does with a request: the answer, or the registry's own with these headers added.
pub(crate) enum Play {
    Instead(Response),
    With(HeaderMap),
}

impl Play {
    pub(crate) fn well() -> Self {
        Self::With(HeaderMap::new())
    }

    pub(crate) fn status(status: u16, headers: &[(&'static str, String)]) -> Self {
        let mut response = StatusCode::from_u16(status).unwrap().into_response();
        for (name, value) in headers {
            response.headers_mut().insert(*name, value.parse().unwrap());
        }
        Self::Instead(response)
    }
}

#[derive(Debug)]
pub(crate) struct Scripted {
    server: Server,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Scripted {
    /// Has `count` images `app/N:v1` of two platforms: three manifests each.
    pub(crate) fn start<F>(
        count: usize,
        script: impl Fn(Asked) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Play> + Send,
    {
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let shared = Arc::new((content(count), script, Arc::clone(&asked)));
        let router = Router::new().fallback(move |request: Request| {
            let shared = Arc::clone(&shared);
            async move {
                let (content, script, log) = &*shared;
                let asked = Asked {
                    method: request.method().clone(),
                    path: request.uri().path().to_owned(),
                    headers: request.headers().clone(),
                };
                log.lock().unwrap().push(asked.clone());
                match script(asked.clone()).await {
                    Play::Instead(response) => response,
                    Play::With(headers) => {
                        let mut response = answer(content, &asked.path);
                        response.headers_mut().extend(headers);
                        response
                    }
                }
            }
        });
        Self {
            server: Server::start(router),
            asked,
        }
    }

    pub(crate) fn host(&self) -> String {
        self.server.host()
    }

    pub(crate) fn references(&self, count: usize) -> Vec<String> {
        let host = self.host();
        (0..count).map(|n| format!("{host}/app/{n}:v1")).collect()
    }

    /// What it was asked since the last time.
    pub(crate) fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

/// By path: the media type and the bytes.
type Content = HashMap<String, (&'static str, Bytes)>;

fn content(count: usize) -> Content {
    let mut content = Content::new();
    for n in 0..count {
        let mut put = |kind: &str, name: Option<&str>, media_type, body: Bytes| {
            let digest = Digest::of(&body).to_string();
            let size = body.len();
            for name in [Some(digest.as_str()), name].into_iter().flatten() {
                content.insert(
                    format!("/v2/app/{n}/{kind}/{name}"),
                    (media_type, body.clone()),
                );
            }
            json!({"mediaType": media_type, "digest": digest, "size": size})
        };
        let mut children = Vec::new();
        for architecture in ["amd64", "arm64"] {
            let config = json!({"os": "linux", "architecture": architecture, "n": n}).to_string();
            let config = put(
                "blobs",
                None,
                "application/vnd.oci.image.config.v1+json",
                config.into(),
            );
            let layer = format!("layer of {n} for {architecture}");
            let layer = put(
                "blobs",
                None,
                "application/vnd.oci.image.layer.v1.tar",
                layer.into(),
            );
            let manifest = json!({
                "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer],
            });
            let mut child = put("manifests", None, MANIFEST, manifest.to_string().into());
            child["platform"] = json!({"os": "linux", "architecture": architecture});
            children.push(child);
        }
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children});
        put("manifests", Some("v1"), INDEX, index.to_string().into());
    }
    content
}

fn answer(content: &Content, path: &str) -> Response {
    match content.get(path) {
        Some((media_type, body)) => Response::builder()
            .header("content-type", *media_type)
            .header("docker-content-digest", Digest::of(body).to_string())
            .body(Body::from(body.clone()))
            .unwrap(),
        None if path == "/v2/" => StatusCode::OK.into_response(),
        None => {
            let error = json!({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "unknown"}]});
            (StatusCode::NOT_FOUND, axum::Json(error)).into_response()
        }
    }
}
