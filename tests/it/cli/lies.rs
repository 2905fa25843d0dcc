//! Registries that lie: each lie is the right finding, and what is beside it goes on being proven.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse as _, Response};
use pullproof::oci::digest::Digest;
use serde_json::json;

use super::run::{self, pullproof};
use crate::support::process::free_port;
use crate::support::server::Server;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const ABSENT: &str = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;

/// What a scripted registry answers: by path, a body and the digest that it announces.
#[derive(Debug, Default)]
struct Script {
    manifests: HashMap<String, (String, Digest)>,
    blobs: HashMap<String, String>,
    /// Below this nothing is JSON.
    html_below: &'static str,
}

impl Script {
    /// A whole image of one platform.
    fn image(&mut self, name: &str) -> String {
        let config = json!({"os": "linux", "architecture": "amd64"}).to_string();
        let layer = format!("layer of {name}");
        let described = |content: &str, kind: &str| {
            json!({"mediaType": kind, "size": content.len(),
            "digest": Digest::of(content.as_bytes()).to_string()})
        };
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST,
            "config": described(&config, "application/vnd.oci.image.config.v1+json"),
            "layers": [described(&layer, "application/vnd.oci.image.layer.v1.tar")]})
        .to_string();
        for blob in [config, layer] {
            let digest = Digest::of(blob.as_bytes());
            self.blobs
                .insert(format!("/v2/{name}/blobs/{digest}"), blob);
        }
        manifest
    }

    /// Serves `body` under the tag and under the digest that is announced for it.
    fn serve(&mut self, name: &str, tag: &str, body: &str, announced: Digest) {
        for suffix in [tag.to_owned(), announced.to_string()] {
            let path = format!("/v2/{name}/manifests/{suffix}");
            self.manifests.insert(path, (body.to_owned(), announced));
        }
    }

    fn start(self) -> Server {
        Server::start(Router::new().fallback(answer).with_state(Arc::new(self)))
    }
}

async fn answer(State(script): State<Arc<Script>>, method: Method, uri: Uri) -> Response {
    let path = uri.path();
    if let Some((body, announced)) = script.manifests.get(path) {
        let headers = [
            (header::CONTENT_TYPE.as_str(), MANIFEST.to_owned()),
            ("docker-content-digest", announced.to_string()),
        ];
        return (headers, body.clone()).into_response();
    }
    if let Some(blob) = script.blobs.get(path) {
        return blob.clone().into_response();
    }
    if path == "/v2/" {
        return "{}".into_response();
    }
    let is_page = !script.html_below.is_empty() && path.starts_with(script.html_below);
    if is_page && method != Method::HEAD {
        let page = Html("<html><h1>404 Not Found</h1>nginx</html>");
        return (StatusCode::NOT_FOUND, page).into_response();
    }
    let json = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::NOT_FOUND, json, ABSENT).into_response()
}

#[tokio::test]
async fn each_lie_is_the_right_finding_and_the_rest_is_proven() {
    let mut script = Script {
        html_below: "/v2/behind/a-proxy/",
        ..Script::default()
    };
    let whole = script.image("whole");
    script.serve("whole", "1", &whole, Digest::of(whole.as_bytes()));
    let nonsense = "this is no JSON";
    script.serve("nonsense", "1", nonsense, Digest::of(nonsense.as_bytes()));
    // The tag says one digest, and what is served under that digest is something else.
    let other = script.image("other");
    script.serve("other", "1", &other, Digest::of(b"what was pushed"));
    let short = script.image("short");
    script.serve("short", "1", &short, Digest::of(short.as_bytes()));
    for (path, blob) in &mut script.blobs {
        if path.starts_with("/v2/short/") && blob.starts_with("layer") {
            blob.truncate(3);
        }
    }
    let server = script.start();
    let yes = Server::start(Router::new().fallback(|| async { "yes" }));
    let away = format!("127.0.0.1:{}", free_port());

    let host = server.host();
    let list = [
        format!("{host}/nonsense:1"),
        format!("{host}/other:1"),
        format!("{host}/short:1"),
        format!("{host}/behind/a-proxy:1"),
        format!("{host}/never/was:1"),
        format!("{}/anything:1", yes.host()),
        format!("{away}/app:1"),
        "not a reference".to_owned(),
        format!("{host}/whole:1"),
    ]
    .join("\n");
    let hosts = format!("{host},{},{away}", yes.host());
    let arguments = [
        "verify",
        "--plain-http",
        &hosts,
        "--references",
        "-",
        "-o",
        "json",
    ];
    let ended = run::with_input(&arguments, &list).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    for (suffix, expected) in [
        ("/nonsense:1", &["manifest_invalid"][..]),
        ("/other:1", &["digest_mismatch"]),
        ("/short:1", &["size_mismatch"]),
        // A 404 page of a proxy is no registry's word for absence.
        ("/behind/a-proxy:1", &["server_error"]),
        ("/never/was:1", &["tag_missing"]),
        ("/anything:1", &["untrusted"]),
        (&format!("{away}/app:1"), &["unreachable"]),
        ("not a reference", &["reference_invalid"]),
        ("/whole:1", &[]),
    ] {
        assert_eq!(ended.codes(suffix), expected, "{suffix}: {}", ended.stdout);
    }
    let summary = json!({"images": 9, "pullable": 1, "broken": 5, "unknown": 3});
    assert_eq!(ended.json()["summary"], summary);
}

#[tokio::test]
async fn a_registry_that_has_everything_proves_nothing() {
    // Whole by every answer, were it not that it also has what cannot exist.
    let mut script = Script::default();
    let whole = script.image("whole");
    let digest = Digest::of(whole.as_bytes());
    let answer = move |method: Method, uri: Uri| {
        let whole = whole.clone();
        async move {
            let headers = [("docker-content-digest", digest.to_string())];
            let is_blob = uri.path().contains("/blobs/");
            let body = if is_blob || method == Method::HEAD {
                String::new()
            } else {
                whole
            };
            (headers, body)
        }
    };
    let server = Server::start(Router::new().fallback(answer));
    let host = server.host();
    let reference = format!("{host}/whole:1");
    let arguments = ["verify", "--plain-http", &host, "-o", "json", &reference];
    let ended = pullproof(&arguments).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert_eq!(ended.codes("/whole:1"), ["untrusted"]);
}
