//! Whose storage it is, by the answers of its registry: Harbor keeps the tree of any registry, and only its
//! database knows what is garbage. A script plays it, and zot; their words are from their sources.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse as _;
use http::{StatusCode, Uri};
use serde_json::{Value, json};

use super::tree::{Tree, sound, write};
use crate::cli::run::{Ended, pullproof_in};
use crate::support::parts::require;
use crate::support::process::free_port;
use crate::support::s3::{self, S3};
use crate::support::server::Server;

/// What is answered to a path: a status, headers and a body; 404 to all others.
type Answer = (
    &'static str,
    u16,
    &'static [(&'static str, &'static str)],
    &'static str,
);

struct Script {
    answers: Vec<Answer>,
    asked: AtomicUsize,
}

/// A registry that answers so.
struct Played {
    server: Server,
    script: Arc<Script>,
}

impl Played {
    fn start(answers: &[Answer]) -> Self {
        let script = Arc::new(Script {
            answers: answers.to_vec(),
            asked: AtomicUsize::new(0),
        });
        let answer = async |State(script): State<Arc<Script>>, uri: Uri| {
            script.asked.fetch_add(1, Ordering::Relaxed);
            let found = script.answers.iter().find(|it| it.0 == uri.path());
            let (_, status, headers, body) = found.copied().unwrap_or(("", 404, &[], ""));
            let mut response = body.into_response();
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            for (name, value) in headers {
                response.headers_mut().append(*name, value.parse().unwrap());
            }
            response
        };
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&script));
        Self {
            server: Server::start(router),
            script,
        }
    }

    fn asked(&self) -> usize {
        self.script.asked.load(Ordering::Relaxed)
    }
}

const HARBOR: &str =
    "Bearer realm=\"https://harbor.example/service/token\",service=\"harbor-registry\"";
type Header = (&'static str, &'static str);
const VERSION: Header = ("docker-distribution-api-version", "registry/2.0");
const BROWSERS: Header = (
    "access-control-allow-headers",
    "Authorization,content-type,X-ZOT-API-CLIENT",
);
const BASIC: Header = ("www-authenticate", "Basic realm=\"Registry Realm\"");
const TOKEN: Header = (
    "www-authenticate",
    "Bearer realm=\"http://auth.example/token\",service=\"registry\"",
);

/// Plans for a storage whose registry is dialled there.
async fn plan(storage: &Value, port: u16, kind: &str) -> Ended {
    let home = tempfile::tempdir().unwrap();
    write(&home.path().join("keep.txt"), b"# Nothing is in use.\n");
    let key = format!(
        "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        s3::ACCESS_KEY,
        s3::SECRET_KEY
    );
    write(&home.path().join("key"), key.as_bytes());
    let entry = json!({
        "host": "registry.example", "endpoint": format!("http://127.0.0.1:{port}"), "kind": kind, "storage": storage,
    });
    let configuration = json!({
        "inventory": {"references": [{"name": "keep", "file": "keep.txt"}]},
        "registries": [entry],
        "gc": {"untagged": "delete", "alarmPercent": 100},
    });
    let file = home.path().join("pullproof.yaml");
    fs::write(&file, configuration.to_string()).unwrap();
    pullproof_in(home.path(), &["gc", "plan", "-o", "json"]).await
}

fn storage(tree: &Tree) -> Value {
    tree.age();
    json!({"filesystem": {"root": tree.root()}})
}

/// The only refusal where there is no plan.
fn refused(ended: &Ended, kind: &str, words: &str) {
    assert_eq!(ended.code, 3, "{ended:?}");
    let view = ended.json();
    assert_eq!(view["kind"], kind, "{view}");
    assert!(view["plan"].is_null() && view["counts"].is_null(), "{view}");
    assert_eq!(view["refusals"].as_array().unwrap().len(), 1, "{view}");
    assert_eq!(view["refusals"][0]["code"], "storage_unsupported", "{view}");
    let message = view["refusals"][0]["message"].as_str().unwrap();
    assert!(message.contains(words), "{message}");
}

fn planned(ended: &Ended, kind: &str) {
    assert_eq!(ended.code, 0, "{ended:?}");
    let view = ended.json();
    assert_eq!(view["kind"], kind, "{view}");
    assert_eq!(view["counts"]["garbage_blobs"], 8, "{view}");
    let codes: Vec<&Value> = (view["refusals"].as_array().unwrap().iter())
        .map(|it| &it["code"])
        .collect();
    assert_eq!(codes, ["plan_only"], "{view}");
}

#[tokio::test]
async fn nothing_is_planned_for_who_decides_himself_what_is_garbage() {
    let tree = sound();
    let storage = storage(&tree);
    let harbor = [(
        "/v2/",
        401,
        &[VERSION, ("www-authenticate", HARBOR)][..],
        "",
    )];
    let inner = [(
        "/v2/",
        401,
        &[
            VERSION,
            (
                "www-authenticate",
                "Basic realm=\"harbor-registry-basic-realm\"",
            ),
        ][..],
        "",
    )];
    // Behind something that lets everybody in.
    let open = [
        ("/v2/", 200, &[VERSION][..], "{}"),
        ("/api/v2.0/ping", 200, &[], "Pong"),
    ];
    for answers in [&harbor[..], &inner, &open] {
        let played = Played::start(answers);
        let ended = plan(&storage, played.server.port(), "auto").await;
        refused(&ended, "harbor", "Administration, Clean Up");
        assert_eq!(ended.stderr, "", "{ended:?}");
    }
    let zot = [("/v2/", 401, &[VERSION, BROWSERS][..], "")];
    let extensions = r#"{"extensions":[{"name":"_zot","endpoints":["/v2/_zot/ext/search"]}]}"#;
    let listed = [
        ("/v2/", 200, &[VERSION][..], "{}"),
        ("/v2/_oci/ext/discover", 200, &[], extensions),
    ];
    for answers in [&zot[..], &listed] {
        let played = Played::start(answers);
        let ended = plan(&storage, played.server.port(), "auto").await;
        refused(&ended, "zot", "storage.gc");
    }
    // Nobody is asked for what is written.
    let played = Played::start(&harbor);
    let port = played.server.port();
    refused(
        &plan(&storage, port, "harbor").await,
        "harbor",
        "is configured",
    );
    refused(&plan(&storage, port, "zot").await, "zot", "is configured");
    planned(&plan(&storage, port, "distribution").await, "distribution");
    assert_eq!(played.asked(), 0);
}

#[tokio::test]
async fn a_plain_registry_is_told_by_its_answers_and_one_that_gives_none_is_unknown() {
    let tree = sound();
    let storage = storage(&tree);
    for (status, headers) in [
        (200, &[VERSION][..]),
        (401, &[VERSION, BASIC]),
        (401, &[VERSION, TOKEN]),
    ] {
        let played = Played::start(&[("/v2/", status, headers, "{}")]);
        let ended = plan(&storage, played.server.port(), "auto").await;
        planned(&ended, "distribution");
        assert_eq!(ended.stderr, "", "{ended:?}");
        assert_eq!(played.asked(), 3);
    }
    let warned = |ended: &Ended, why: &str| {
        planned(ended, "unknown");
        let stderr = &ended.stderr;
        assert!(stderr.starts_with("warning: registry.example"), "{stderr}");
        assert!(
            stderr.contains(why) && stderr.contains("`kind`"),
            "{stderr}"
        );
    };
    warned(&plan(&storage, free_port(), "auto").await, "refused");
    let moved = &[("location", "https://127.0.0.1/v2/")][..];
    for (status, headers) in [(503, &[][..]), (301, moved), (404, &[])] {
        let played = Played::start(&[("/v2/", status, headers, "")]);
        let ended = plan(&storage, played.server.port(), "auto").await;
        warned(&ended, &format!("answered {status} to /v2/"));
    }
    // It may be Harbor, whose own part is down.
    let half = [
        ("/v2/", 200, &[VERSION][..], "{}"),
        ("/api/v2.0/ping", 502, &[], ""),
    ];
    let played = Played::start(&half);
    let ended = plan(&storage, played.server.port(), "auto").await;
    warned(&ended, "answered 502 to /api/v2.0/ping");
}

#[tokio::test]
async fn zots_content_in_a_bucket_is_told_by_its_layout() {
    require!("versitygw");
    let s3 = S3::start().await;
    let storage = json!({"s3": {
        "endpoint": format!("http://{}", s3.host()),
        "region": "us-east-1",
        "bucket": s3::BUCKET,
        "prefix": "zot",
        "credentials": {"accessKey": {"file": "key"}},
    }});
    let repository = s3.bucket().join("zot/team/app");
    write(&repository.join("index.json"), b"{}");
    let ended = plan(&storage, free_port(), "distribution").await;
    let view = ended.json();
    assert_eq!(view["refusals"][0]["code"], "listing_incomplete", "{view}");
    write(&repository.join("oci-layout"), b"{}");
    let ended = plan(&storage, free_port(), "distribution").await;
    refused(&ended, "distribution", "OCI layout");
}
