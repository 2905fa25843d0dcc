//! Stores that fail now and then: an error that is taken for an absence loses what was not seen.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{Method, StatusCode};
use serde_json::json;

use super::case::{Case, image, rows};
use super::ours::{self, ALL};
use super::peers::{collect_below, collect_storage};
use super::tree::{Object, Tree};
use crate::support::http::client;
use crate::support::parts::{self, require};
use crate::support::process::run_well;
use crate::support::registry::Version;
use crate::support::s3::S3;
use crate::support::server::Server;

/// A tagged index with a child, which stands after it in a listing, and an untagged image.
fn indexed() -> Tree {
    let mut tree = Tree::new();
    let child = tree.image("app", "child");
    let mut scratch = Tree::new();
    let mut index = (0..).map(|it| scratch.index("app", &format!("index-{it}"), &[&child]));
    let index = index.find(|it| it.digest < child.digest).unwrap();
    let index = tree.index("app", &index.name, &[&child]);
    tree.tag("app", "v1", &index);
    tree.image("app", "old");
    tree
}

/// A tagged image, and an untagged one that stands before it in a listing.
fn plain() -> (Tree, Object) {
    let mut tree = Tree::new();
    let tagged = tree.image("app", "tagged");
    tree.tag("app", "v1", &tagged);
    let mut scratch = Tree::new();
    let mut untagged = (0..).map(|it| scratch.image("app", &format!("untagged-{it}")));
    let untagged = untagged.find(|it| it.digest < tagged.digest).unwrap();
    let untagged = tree.image("app", &untagged.name);
    (tree, untagged)
}

/// What 3.1 takes for a child that it does not have: a link that cannot be read.
#[tokio::test]
async fn a_child_whose_link_cannot_be_read() {
    require!("docker-registry", "registry-3.1");
    let tree = indexed();
    let link = tree.revision_of("app", &tree.find("child"));
    fs::remove_file(&link).unwrap();
    fs::create_dir(&link).unwrap();
    let case = Case::of(&tree);
    assert_eq!(
        case.deeds().await,
        [
            "lost 7 of 9 blobs, 1 of 9 links; freed 0 of 0",
            "lost 7 of 9 blobs, 7 of 9 links; freed 0 of 0"
        ]
    );
    assert_eq!(case.refused().await, ["listing_incomplete"]);
}

/// The same of a store that answers one question wrongly, and then well.
#[tokio::test]
async fn a_child_that_a_store_fails_to_tell_once() {
    require!("docker-registry", "registry-3.1", "versitygw");
    let tree = indexed();
    let child = tree.find("child");
    for (version, expected) in [
        (
            Version::V2,
            "aborted (AccessDenied), lost 0 of 5 blobs, 0 of 5 links; freed 0 of 4",
        ),
        (Version::V3, "lost 3 of 5 blobs, 3 of 5 links; freed 4 of 4"),
    ] {
        let told = over_s3(&tree, version, &child, StatusCode::FORBIDDEN).await;
        assert_eq!(told, expected, "{version:?}");
    }
    let case = Case::of(&tree);
    assert_eq!(case.garbage().await, image("app", "old"));
    let (s3, between) = bucket(&tree, &child, StatusCode::FORBIDDEN).await;
    let planned = ours::plan_bucket(&s3.host()).await;
    assert_eq!(case.told(&planned.rows()), image("app", "old"));
    let planned = ours::plan_bucket(&between.server.host()).await;
    assert!(between.was_asked());
    assert_eq!(planned.refusals(), ["listing_incomplete"], "{planned:?}");
}

/// A link that is listed and gone when it is read: a delete in between, or a listing that lags. Both
/// versions go on without the rest of the repository, and then sweep what they have not seen.
#[tokio::test]
async fn a_link_that_is_gone_when_it_is_read() {
    require!("docker-registry", "registry-3.1", "versitygw", "strace");
    let (tree, untagged) = plain();
    for (version, expected) in [
        (Version::V2, "lost 4 of 4 blobs, 0 of 4 links; freed 4 of 4"),
        (Version::V3, "lost 4 of 4 blobs, 3 of 4 links; freed 4 of 4"),
    ] {
        let told = over_s3(&tree, version, &untagged, StatusCode::NOT_FOUND).await;
        assert_eq!(told, expected, "{version:?}");
    }
    let case = Case::of(&tree);
    let link = tree.revision_of("app", &untagged);
    for (version, expected) in [
        (Version::V2, "lost 4 of 4 blobs, 0 of 4 links; freed 4 of 4"),
        (Version::V3, "lost 4 of 4 blobs, 3 of 4 links; freed 4 of 4"),
    ] {
        let copy = tree.copy().await;
        let link = copy.path().join(link.strip_prefix(tree.root()).unwrap());
        let words = failing(&link, "openat", "ENOENT");
        let peer = case.peer(collect_below(version, copy, &words).await);
        assert_eq!(peer.deed, expected, "{version:?}");
    }
    let planned = ours::plan(tree.root(), &[], ALL, &failing(&link, "openat", "ENOENT")).await;
    let name = &untagged.name;
    let expected = ["layer -", "layer app"].map(|it| format!("{it} {name}"));
    let layers = ["config", "layer-1", "layer-2"]
        .map(|it| format!("{} .{it}", expected[1]).replace(" .", "."));
    let expected = rows(&[vec![expected[0].clone()], layers.to_vec()], &[]);
    assert_eq!(case.told(&planned.rows()), expected);
}

/// The same for good: a symbolic link to nowhere.
#[tokio::test]
async fn a_link_that_leads_to_nowhere() {
    require!("docker-registry", "registry-3.1");
    let (tree, untagged) = plain();
    let link = tree.revision_of("app", &untagged);
    fs::remove_file(&link).unwrap();
    symlink("nowhere", &link).unwrap();
    let case = Case::of(&tree);
    assert_eq!(
        case.deeds().await,
        [
            "lost 4 of 8 blobs, 0 of 8 links; freed 0 of 0",
            "lost 4 of 8 blobs, 3 of 8 links; freed 0 of 0"
        ]
    );
    let ours = case.plan().await;
    assert_eq!(case.told(&ours.planned.rows()), [""; 0]);
    assert_eq!(case.damaged(&ours).len(), 1);
}

/// A disk that cannot be read. There is no plan, but for a manifest's own bytes: those are hurt, and whose
/// they are keeps everything. 2.8.2 does not look at the child of an index.
#[tokio::test]
async fn what_cannot_be_read_is_not_absent() {
    require!("docker-registry", "registry-3.1", "strace");
    let tree = indexed();
    let child = tree.find("child");
    let case = Case::of(&tree);
    let (data, config) = (tree.data_of(&child), tree.find("child.config"));
    let listed = "openat,getdents64";
    let aborts = "aborted (input/output error), lost 0 of 5 blobs, 0 of 5 links; freed 0 of 4";
    let passes = "lost 3 of 5 blobs, 1 of 5 links; freed 4 of 4";
    let aborts_late = "aborted (input/output error), lost 0 of 5 blobs, 1 of 5 links; freed 0 of 4";
    for (path, calls, old) in [
        (tree.revision_of("app", &child), "openat", aborts),
        (tree.layer_of("app", &config), "openat", passes),
        (data.clone(), "openat", passes),
        (data.clone(), "statx,newfstatat", aborts),
        (tree.tags("app").join("v1/current/link"), "openat", aborts),
        (tree.tags("app"), listed, aborts),
        (tree.repository("app"), listed, aborts),
        (tree.v2().join("repositories"), listed, aborts),
        (tree.v2().join("blobs/sha256"), listed, aborts_late),
    ] {
        let is_hurt = path == data && calls == "openat";
        for error in ["EIO", "ESTALE"] {
            let planned = ours::plan(tree.root(), &[], ALL, &failing(&path, calls, error)).await;
            let told = format!("{error} {planned:?} {}", path.display());
            if is_hurt && error == "EIO" {
                assert_eq!(case.told(&planned.rows()), [""; 0], "{told}");
                assert_eq!(planned.damaged().len(), 1, "{told}");
            } else {
                assert_eq!(planned.code, Some(3), "{told}");
                assert_eq!(planned.refusals(), ["listing_incomplete"], "{told}");
            }
        }
        for (version, expected) in [(Version::V2, old), (Version::V3, aborts)] {
            let copy = tree.copy().await;
            let path = copy.path().join(path.strip_prefix(tree.root()).unwrap());
            let words = failing(&path, calls, "EIO");
            let peer = case.peer(collect_below(version, copy, &words).await);
            assert_eq!(peer.deed, expected, "{version:?} {}", path.display());
        }
    }
}

/// Lets calls on a path fail.
fn failing(path: &Path, calls: &str, error: &str) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec![parts::path("strace").into()];
    words.extend(["-f", "-qq", "-o", "/dev/null"].map(OsString::from));
    // Whole, as the collectors name it, and from a directory that is open already.
    let parts: Vec<_> = path.iter().collect();
    for count in [parts.len(), 2, 5] {
        words.push("-P".into());
        words.push(
            parts[parts.len() - count..]
                .iter()
                .collect::<PathBuf>()
                .into(),
        );
    }
    let calls = calls.replace("openat", "openat,openat2");
    words.extend(["-e".into(), format!("trace={calls}").into()]);
    words.extend(["-e".into(), format!("inject={calls}:error={error}").into()]);
    words
}

/// A copy in S3, where the first question for a link to a digest is answered so.
async fn bucket(tree: &Tree, object: &Object, status: StatusCode) -> (S3, Between) {
    let s3 = S3::start().await;
    let mut command = Command::new("cp");
    command
        .arg("-a")
        .arg(tree.root().join("docker"))
        .arg(s3.bucket());
    run_well(command).await;
    let between = Between::start(&s3, object.hex(), status);
    (s3, between)
}

/// Collects such a copy.
async fn over_s3(tree: &Tree, version: Version, object: &Object, status: StatusCode) -> String {
    let case = Case::of(tree);
    let (s3, between) = bucket(tree, object, status).await;
    let storage = json!({"s3": S3::storage(&between.server.host())});
    let ended = collect_storage(version, &storage, &[]).await;
    assert!(between.was_asked(), "{ended:?}");
    case.deed(&ended, &s3.bucket())
}

/// In front of an S3 server.
struct Between {
    server: Server,
    script: Arc<Script>,
}

struct Script {
    upstream: String,
    /// What is asked for.
    hex: String,
    status: StatusCode,
    is_left: AtomicBool,
}

impl Between {
    fn start(s3: &S3, hex: &str, status: StatusCode) -> Self {
        let script = Arc::new(Script {
            upstream: s3.host(),
            hex: hex.to_owned(),
            status,
            is_left: AtomicBool::new(true),
        });
        let router = Router::new()
            .fallback(pass_on)
            .with_state(Arc::clone(&script));
        Self {
            server: Server::start(router),
            script,
        }
    }
}

impl Between {
    /// Whether the answer was given.
    fn was_asked(&self) -> bool {
        !self.script.is_left.load(Ordering::Relaxed)
    }
}

async fn pass_on(State(script): State<Arc<Script>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let asked = parts.uri.path_and_query().unwrap().to_string();
    let is_it = parts.method == Method::GET && asked.contains(&format!("/{}/link", script.hex));
    if is_it && script.is_left.swap(false, Ordering::Relaxed) {
        let code = match script.status {
            StatusCode::NOT_FOUND => "NoSuchKey",
            _ => "AccessDenied",
        };
        let body = format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>");
        return (script.status, [("content-type", "application/xml")], body).into_response();
    }
    let url = format!("http://{}{asked}", script.upstream);
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    // With the host that was asked, since that is signed.
    let asking = client()
        .request(parts.method, url)
        .headers(parts.headers)
        .body(body);
    let answer = asking.send().await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    (status, headers, answer.bytes().await.unwrap()).into_response()
}
