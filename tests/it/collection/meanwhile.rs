//! What clients do between two steps of a collection, each at the step where it matters.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::Method;

use super::desk::Desk;
use crate::plan::served::can_pull;
use crate::plan::tree::OCI_MANIFEST;
use crate::storage::between::{Between, Fault};
use crate::support::http::client;
use crate::support::parts::require;
use crate::support::pull::Puller;
use crate::support::registry::Version;
use crate::support::server::Server;

pub(super) type Act = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// In front of a registry: does something before it passes a certain request on, once.
pub(super) struct Meanwhile {
    pub(super) server: Server,
    script: Arc<Script>,
}

struct Script {
    upstream: String,
    /// A part of the path, and the method.
    at: (Method, String),
    act: Mutex<Option<Act>>,
}

impl Meanwhile {
    pub(super) fn start(upstream: &str, method: Method, part: &str, act: Act) -> Self {
        let script = Arc::new(Script {
            upstream: upstream.to_owned(),
            at: (method, part.to_owned()),
            act: Mutex::new(Some(act)),
        });
        let router = Router::new()
            .fallback(pass_on)
            .with_state(Arc::clone(&script));
        Self {
            server: Server::start(router),
            script,
        }
    }

    pub(super) fn was_asked(&self) -> bool {
        self.script.act.lock().unwrap().is_none()
    }
}

async fn pass_on(State(script): State<Arc<Script>>, request: Request) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let (wanted, part) = &script.at;
    if method == *wanted && uri.path().contains(part) {
        let act = script.act.lock().unwrap().take();
        if let Some(act) = act {
            act().await;
        }
    }
    let url = format!("{}{}", script.upstream, uri.path_and_query().unwrap());
    let asking = client()
        .request(method, url)
        .headers(request.headers().clone());
    let answer = asking.send().await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    (status, headers, answer.bytes().await.unwrap()).into_response()
}

/// The registry is asked for what is kept after the first listing, and before the second.
#[tokio::test]
async fn what_gets_a_tag_between_two_listings_stays_and_the_rest_goes() {
    require!("docker-registry", "registry-3.1", "crane", "regctl");
    for version in Version::ALL {
        let desk = Desk::start(version).await;
        let (url, digest) = (desk.registry.url(), desk.tree.find("untagged").digest);
        let act = {
            let url = url.clone();
            move || tag_again(url, digest).boxed()
        };
        let meanwhile = Meanwhile::start(&url, Method::GET, "/v2/app/", Box::new(act));
        let endpoint = format!("http://{}", meanwhile.server.host());
        desk.change(|config| config["registries"][0]["endpoint"] = endpoint.clone().into());
        let ran = desk.gc(&["run"]).await;
        assert!(meanwhile.was_asked());
        let outcome = (ran.code, ran.result());
        assert_eq!(outcome, (Some(0), "quarantined"), "{ran:?}");
        for name in ["untagged", "untagged.config", "untagged.layer-1"] {
            assert!(desk.tree.data_of(&desk.tree.find(name)).exists(), "{name}");
        }
        assert_eq!(can_pull(version, desk.root(), "app:again").await, Ok(()));
        assert!(!desk.tree.data_of(&desk.tree.find("other-old")).exists());
    }
}

async fn tag_again(url: String, digest: String) {
    let manifest = Puller::new().manifest(&url, "app", &digest).await.unwrap();
    let put = client().put(format!("{url}/v2/app/manifests/again"));
    let put = put
        .header("content-type", OCI_MANIFEST)
        .body(manifest.bytes);
    assert_eq!(put.send().await.unwrap().status().as_u16(), 201);
}

/// A registry without a cache answers for what it has.
#[tokio::test]
async fn what_is_pushed_again_before_it_is_asked_for_is_no_caches_lie() {
    require!("docker-registry", "registry-3.1");
    for version in Version::ALL {
        let desk = Desk::start(version).await;
        let (url, layer) = (desk.registry.url(), desk.tree.find("untagged.layer-1"));
        let bytes = std::fs::read(desk.tree.data_of(&layer)).unwrap();
        let (path, act) = (format!("/v2/app/blobs/{}", layer.digest), {
            let (url, digest) = (url.clone(), layer.digest.clone());
            move || push(url, digest, bytes).boxed()
        });
        let meanwhile = Meanwhile::start(&url, Method::HEAD, &path, Box::new(act));
        let endpoint = format!("http://{}", meanwhile.server.host());
        desk.change(|config| config["registries"][0]["endpoint"] = endpoint.clone().into());
        let ran = desk.gc(&["run"]).await;
        assert!(meanwhile.was_asked());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(desk.tree.data_of(&layer).exists() && desk.tree.layer_of("app", &layer).exists());
        assert!(!desk.root().join("pullproof/unsettled").exists());
        let again = desk.gc(&["run"]).await;
        assert_eq!(again.code, Some(0), "{again:?}");
    }
}

/// As of what was pushed again before it was asked for, and deleted before the storage was looked at.
#[tokio::test]
async fn what_is_answered_for_once_goes_back_and_is_no_caches_lie() {
    require!("registry-3.1");
    let desk = answered_for(&[0]).await;
    assert!(!desk.root().join("pullproof/unsettled").exists());
    let again = desk.gc(&["run"]).await;
    assert_eq!(
        (again.code, again.result()),
        (Some(0), "quarantined"),
        "{again:?}"
    );
    assert!(!desk.tree.data_of(&desk.tree.find(LAYER)).exists());
}

/// As by the cache of one of two replicas that have one address.
#[tokio::test]
async fn what_is_answered_for_now_and_then_is_a_caches_lie() {
    require!("registry-3.1");
    let desk = answered_for(&[0, 2]).await;
    let refused = desk.gc(&["run"]).await;
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert_eq!(refused.codes(), ["cache_unsettled"], "{refused:?}");
}

const LAYER: &str = "untagged.layer-1";

/// A layer that was to go, and for which the registry answered those times that it was asked for.
async fn answered_for(times: &[usize]) -> Desk {
    let desk = Desk::start(Version::V3).await;
    let layer = desk.tree.find(LAYER);
    let between = Between::start(&desk.registry.host());
    for time in times {
        let path = format!("/v2/app/blobs/{}", layer.digest);
        let answer = Fault::Answer(200, &[], String::new());
        between.when(*time..*time + 1, answer, move |method, asked| {
            method == "HEAD" && asked == path
        });
    }
    let endpoint = format!("http://127.0.0.1:{}", between.port());
    desk.change(|config| config["registries"][0]["endpoint"] = endpoint.into());
    let ran = desk.gc(&["run"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.view["left"]["unsettled"], 1, "{ran:?}");
    assert!(desk.tree.data_of(&layer).exists() && desk.tree.layer_of("app", &layer).exists());
    between.heal();
    let endpoint = desk.registry.url();
    desk.change(|config| config["registries"][0]["endpoint"] = endpoint.into());
    desk
}

/// One that gives no answer may believe in anything, and has not said so.
#[tokio::test]
async fn what_cannot_be_asked_for_goes_back_and_is_no_caches_lie() {
    require!("registry-3.1");
    let desk = Desk::start(Version::V3).await;
    let before = desk.content();
    let layer = desk.tree.find("untagged.layer-1");
    let between = Between::start(&desk.registry.host());
    let path = format!("/v2/app/blobs/{}", layer.digest);
    let failing = Fault::Answer(500, &[], String::new());
    between.when(0..usize::MAX, failing, move |method, asked| {
        method == "HEAD" && asked == path
    });
    let endpoint = format!("http://127.0.0.1:{}", between.port());
    desk.change(|config| config["registries"][0]["endpoint"] = endpoint.into());
    let ran = desk.gc(&["run"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(desk.tree.data_of(&layer).exists() && desk.tree.layer_of("app", &layer).exists());
    assert_ne!(ran.view["left"]["unsettled"], 0, "{ran:?}");
    // So nothing of what is configured is known to be wrong.
    between.heal();
    let again = desk.gc(&["run"]).await;
    assert_eq!(
        (again.code, again.result()),
        (Some(0), "quarantined"),
        "{again:?}"
    );
    assert!(!desk.tree.data_of(&layer).exists());
    assert_eq!(desk.gc(&["restore", "--all"]).await.code, Some(0));
    assert_eq!(desk.content(), before);
}

async fn push(url: String, digest: String, bytes: Vec<u8>) {
    let begun = client().post(format!("{url}/v2/app/blobs/uploads/"));
    let begun = begun.header("content-length", "0").send().await.unwrap();
    let location = begun.headers()["location"].to_str().unwrap();
    let put = client().put(format!("{location}&digest={digest}"));
    let put = put.header("content-type", "application/octet-stream");
    let answer = put.body(bytes).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 201);
}
