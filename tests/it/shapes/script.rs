//! A registry that serves any layout by the letter: for shapes that no real one here accepts.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use super::layout::Layout;
use crate::support::server::Server;

type Answers = HashMap<String, (String, String, Vec<u8>)>;

/// Serves what it was given, and remembers nothing.
#[derive(Debug, Default, Clone)]
pub(super) struct Script {
    /// By path: media type, digest, content.
    answers: Arc<Mutex<Answers>>,
}

impl Script {
    pub(super) fn add(&self, repository: &str, layout: &Layout, lost: &str) {
        let mut answers = self.answers.lock().unwrap();
        let mut seen = HashSet::new();
        for (tag, root) in layout.tags() {
            for place in layout.places(&tag) {
                let Some(content) = layout.blob(&place.digest) else {
                    continue;
                };
                if place.digest == lost || !seen.insert(place.digest.clone()) {
                    continue;
                }
                let kind = if place.is_manifest {
                    "manifests"
                } else {
                    "blobs"
                };
                let digest = place.digest.clone();
                let media_type = if place.path.is_empty() {
                    root["mediaType"].as_str().unwrap()
                } else {
                    "application/octet-stream"
                };
                let answer = (media_type.to_owned(), digest.clone(), content);
                if place.path.is_empty() {
                    answers.insert(format!("{repository}/{kind}/{tag}"), answer.clone());
                }
                answers.insert(format!("{repository}/{kind}/{digest}"), answer);
            }
        }
    }

    pub(super) fn start(&self) -> Server {
        let answers = Arc::clone(&self.answers);
        let answer = move |path: Option<Path<String>>| {
            let path = path.map(|Path(path)| path).unwrap_or_default();
            let found = answers.lock().unwrap().get(&path).cloned();
            std::future::ready(reply(&path, found))
        };
        let router = Router::new()
            .route("/v2/", get(|| std::future::ready("{}")))
            .route("/v2/{*path}", get(answer));
        Server::start(router)
    }
}

fn reply(path: &str, found: Option<(String, String, Vec<u8>)>) -> Response {
    match found {
        Some((media_type, digest, content)) => {
            let headers = [
                ("content-type", media_type),
                ("docker-content-digest", digest),
            ];
            (headers, content).into_response()
        }
        None => {
            let code = if path.contains("/blobs/") {
                "BLOB_UNKNOWN"
            } else {
                "MANIFEST_UNKNOWN"
            };
            let body = format!(r#"{{"errors":[{{"code":"{code}"}}]}}"#);
            (StatusCode::NOT_FOUND, body).into_response()
        }
    }
}
