//! Who is paged for what, by the shipped rules and the shipped routing over real daemons: one notification for
//! a registry that is down however many images it has, one for pullproof itself, none for one that answers
//! every other request.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

use crate::daemon::shop::{Stock, entry, list, of_list, of_manifests};
use crate::plan::tree::Tree;
use crate::support::daemon::Daemon;
use crate::support::http::client;
use crate::support::pager::{BOUND, Pager, UNREACHABLE, last_completed_in};
use crate::support::parts::require;
use crate::support::registry::{Options, Registry, Version};
use crate::support::server::Server;

const IMAGES: usize = 10_000;
const NAMESPACES: usize = 20;

/// The default interval, a sixtieth of it like every wait of the rules.
const HURRIED: &str = "{interval: 10s, blobInterval: 10s}";

/// As many seconds as it takes for every alert that a registry's silence could fire: the longest wait of the
/// rules for images and registries, after the three intervals in which a proof gets stale.
const LONG: u32 = 90;

macro_rules! require_pager {
    () => {
        require!(
            "registry-3.1",
            "crane",
            "regctl",
            "prometheus",
            "prometheus-alertmanager"
        );
    };
}

/// Deployments in many namespaces, each of an image of its own.
fn workloads(host: &str) -> String {
    let mut yaml = String::new();
    for number in 0..IMAGES {
        let namespace = number % NAMESPACES;
        write!(
            yaml,
            "---\napiVersion: apps/v1\nkind: Deployment\n\
             metadata: {{name: web-{number}, namespace: team-{namespace}}}\n\
             spec: {{template: {{spec: {{containers: [{{name: main, image: '{host}/app:v{number}'}}]}}}}}}\n"
        )
        .unwrap();
    }
    yaml
}

/// What was told: each alert's name and status, as often as it was sent.
fn told(notifications: &[Value]) -> BTreeMap<(String, String), usize> {
    let mut told = BTreeMap::new();
    for alert in notifications
        .iter()
        .flat_map(|it| it["alerts"].as_array().unwrap())
    {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let key = (text(&alert["labels"]["alertname"]), text(&alert["status"]));
        *told.entry(key).or_default() += 1;
    }
    told
}

fn only(name: &str, statuses: &[&str]) -> BTreeMap<(String, String), usize> {
    let keys = statuses.iter();
    keys.map(|status| ((name.to_owned(), (*status).to_owned()), 1))
        .collect()
}

#[tokio::test]
async fn a_registry_of_ten_thousand_images_that_stops_is_one_notification() {
    require_pager!();
    let mut tree = Tree::new();
    let image = tree.image("app", "app");
    for number in 0..IMAGES {
        tree.tag("app", &format!("v{number}"), &image);
    }
    let mut registry = Registry::start(Options::new(Version::V3, tree.root())).await;
    let host = registry.host();
    let home = tempfile::tempdir().unwrap();
    let manifests = home.path().join("workloads.yaml");
    std::fs::write(&manifests, workloads(&host)).unwrap();
    let daemon = Daemon::start(&of_manifests(&manifests, &[entry(&host, HURRIED)]));
    let all_pullable = format!("{{verdict=\"pullable\"}} {IMAGES}");
    daemon
        .process()
        .wait_until("every image was proven", BOUND, async || {
            let series = daemon.series("images", &[&all_pullable]).await;
            series.into_iter().next()
        })
        .await;
    let pager = Pager::watch(&daemon).await;
    pager.wait_for_evaluations(1).await;

    registry.stop();
    pager
        .wait_until_told(UNREACHABLE, "registry", &host, "firing")
        .await;
    pager.wait_for_evaluations(LONG).await;
    let notifications = pager.notifications();
    assert_eq!(told(&notifications), only(UNREACHABLE, &["firing"]));
    let description = &notifications[0]["alerts"][0]["annotations"]["description"];
    let count = format!("{IMAGES} images are not known now");
    assert!(
        description.as_str().unwrap().contains(&count),
        "{description}"
    );

    registry.start_again().await;
    // Besides the round that was under way.
    let mut rounds = BTreeSet::new();
    daemon
        .process()
        .wait_until("it is told that it is back", BOUND, async || {
            let scrape = daemon.scrape().await?;
            rounds.insert(last_completed_in(&scrape, &host)?);
            let resolved = pager.told(UNREACHABLE, "registry", &host, "resolved");
            (!resolved.is_empty()).then_some(())
        })
        .await;
    assert!(rounds.len() <= 4, "{rounds:?}");
    pager.wait_for_evaluations(LONG).await;
    let both = only(UNREACHABLE, &["firing", "resolved"]);
    assert_eq!(told(&pager.notifications()), both);
}

#[tokio::test]
async fn pullproof_killed_is_one_notification_of_its_own() {
    require_pager!();
    let stock = Stock::new().await;
    let image = stock.push("app:1").await;
    let home = tempfile::tempdir().unwrap();
    let list = list(home.path(), &[&image]);
    let daemon = Daemon::start(&of_list(&list, &[stock.entry(HURRIED)]));
    daemon.wait_until_ready().await;
    let pager = Pager::watch(&daemon).await;
    pager.wait_for_evaluations(15).await;
    assert_eq!(told(&pager.notifications()), BTreeMap::new());
    daemon.kill();
    pager
        .wait_until_told("PullproofDown", "severity", "critical", "firing")
        .await;
    pager.wait_for_evaluations(30).await;
    let once = only("PullproofDown", &["firing"]);
    assert_eq!(told(&pager.notifications()), once);
}

/// Between clients and a registry: every other request fails, whatever it asks for.
struct Flapping {
    upstream: String,
    asked: AtomicUsize,
}

async fn flap(State(flapping): State<Arc<Flapping>>, request: Request) -> Response {
    let number = flapping.asked.fetch_add(1, Ordering::Relaxed);
    // Not in step with anybody who asks twice: 0 1 1 0 1 0 0 1 …
    if number.count_ones() % 2 == 1 {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let url = format!("{}{}", flapping.upstream, request.uri());
    let (parts, _) = request.into_parts();
    let mut asked = client().request(parts.method, url);
    for (name, value) in &parts.headers {
        if name != "host" {
            asked = asked.header(name, value);
        }
    }
    let answer = asked.send().await.unwrap();
    let mut response = Response::builder().status(answer.status());
    response
        .headers_mut()
        .unwrap()
        .extend(answer.headers().clone());
    response
        .body(Body::from_stream(answer.bytes_stream()))
        .unwrap()
}

#[tokio::test]
async fn a_registry_that_fails_every_other_request_pages_nobody_again_and_again() {
    require_pager!();
    let stock = Stock::new().await;
    let mut references = String::new();
    for number in 0..20 {
        let pushed = stock.push(&format!("app-{number}:1")).await;
        references.push_str(&pushed);
        references.push('\n');
    }
    let flapping = Arc::new(Flapping {
        upstream: stock.registry.url(),
        asked: AtomicUsize::new(0),
    });
    let router = Router::new()
        .fallback(flap)
        .with_state(Arc::clone(&flapping));
    let server = Server::start(router);
    let host = server.host();
    let home = tempfile::tempdir().unwrap();
    let list = list(home.path(), &[&references.replace(&stock.host(), &host)]);
    let often = entry(&host, "{interval: 3s, blobInterval: 3s}");
    let daemon = Daemon::start(&of_list(&list, &[often]));
    daemon
        .wait_for_series("registry_requests_total", &["code=\"500\""])
        .await;
    let pager = Pager::watch(&daemon).await;
    pager.wait_for_evaluations(2 * LONG).await;
    let asked = flapping.asked.load(Ordering::Relaxed);
    assert!(asked > 500, "{asked}");
    // Whatever was told was told once, and stands: nothing came and went.
    let told = told(&pager.notifications());
    let is_steady =
        |((_, status), count): (&(String, String), &usize)| status == "firing" && *count == 1;
    assert!(told.iter().all(is_steady), "{told:?}");
    // No answer of it is a missing image.
    pager
        .assert_never_missing("app", &format!("{host}/app-0:1"))
        .await;
    assert!(
        !told.keys().any(|(name, _)| name.contains("NotPullable")),
        "{told:?}"
    );
}
