//! An API server that follows a script, and what is asked of it.

use std::collections::VecDeque;
use std::sync::Mutex;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::events::{Change, Pair, Target, is_name};
use crate::inventory::TopOwner;
use crate::inventory::extract::CustomResource;
use crate::second::Second;

/// Answers to creations, one after the other, and then 201.
#[derive(Debug, Default)]
struct Script {
    creations: VecDeque<u16>,
    has_workload: bool,
    /// `METHOD PATH` of each.
    asked: Vec<String>,
    created: Vec<Value>,
}

#[derive(Debug, Clone)]
struct Server(Arc<Mutex<Script>>);

impl Server {
    fn answering(creations: &[u16]) -> Self {
        Self(Arc::new(Mutex::new(Script {
            creations: creations.iter().copied().collect(),
            has_workload: true,
            ..Script::default()
        })))
    }

    /// What came of one Event on each of these workloads.
    async fn write(&self, workloads: &[(&str, &str)]) -> (Done, Vec<Failure>) {
        let router = Router::new().fallback(serve).with_state(self.clone());
        let client = Client::new(router, "default");
        let events = workloads
            .iter()
            .map(|(kind, name)| event(kind, name, Change::Breaks, 1));
        let targets = Targets {
            clusters: vec![Target {
                cluster: None,
                source: "kubernetes".into(),
            }],
            customs: vec![Arc::new(CustomResource {
                group: "argoproj.io".to_owned(),
                version: "v1alpha1".to_owned(),
                kind: "Rollout".to_owned(),
                pod_template: None,
                images: vec![],
                pull_secrets: vec![],
                may_be_empty: false,
            })],
        };
        let stop = CancellationToken::new();
        let now = Timestamp::UNIX_EPOCH;
        write_by(
            &client,
            events.collect(),
            &targets,
            "pullproof-0",
            now,
            &stop,
        )
        .await
    }

    fn created(&self) -> Vec<Value> {
        self.0.lock().unwrap().created.clone()
    }

    fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().asked.clone()
    }
}

fn status(code: u16) -> Response {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "message": format!("it says {code}"), "reason": "", "metadata": {}});
    (StatusCode::from_u16(code).unwrap(), axum::Json(body)).into_response()
}

async fn serve(State(server): State<Server>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let mut script = server.0.lock().unwrap();
    let path = parts.uri.path();
    script.asked.push(format!("{} {path}", parts.method));
    if parts.method == http::Method::POST {
        let event: Value = serde_json::from_slice(&body).unwrap();
        let code = script.creations.pop_front().unwrap_or(201);
        script.created.push(event);
        return match code {
            201 => (StatusCode::CREATED, Body::from(body)).into_response(),
            code => status(code),
        };
    }
    if path == "/apis/argoproj.io/v1alpha1" {
        let resources = json!([{"name": "rollouts", "kind": "Rollout", "namespaced": true, "verbs": ["list"],
            "singularName": ""}]);
        return axum::Json(json!({"kind": "APIResourceList", "apiVersion": "v1",
            "groupVersion": "argoproj.io/v1alpha1", "resources": resources}))
        .into_response();
    }
    let query = parts.uri.query().unwrap_or_default();
    let (_, name) = query.split_once("metadata.name%3D").unwrap();
    let (name, _) = name.split_once('&').unwrap_or((name, ""));
    let found = json!({"metadata": {"name": name, "namespace": "shop", "uid": "uid-1"}});
    let items = if script.has_workload {
        vec![found]
    } else {
        vec![]
    };
    axum::Json(
        json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {},
        "items": items}),
    )
    .into_response()
}

fn event(kind: &str, workload: &str, change: Change, since: i64) -> ToWrite {
    ToWrite {
        pair: Pair {
            owner: Arc::new(TopOwner {
                cluster: None,
                namespace: "shop".into(),
                kind: kind.into(),
                name: workload.into(),
            }),
            image: "r.example/web:1".into(),
        },
        change,
        since: Second::new(since),
        note: "it is gone".to_owned(),
    }
}

const WEB: (&str, &str) = ("Deployment", "web");

fn numbers(done: &Done) -> [usize; 3] {
    Outcome::ALL.map(|outcome| done.count(outcome))
}

#[tokio::test(start_paused = true)]
async fn an_event_is_created_on_the_object_that_is_there() {
    let server = Server::answering(&[]);
    let (done, failures) = server.write(&[WEB, ("Rollout", "canary")]).await;
    assert_eq!((numbers(&done), failures), ([2, 0, 0], vec![]));
    let create = "POST /apis/events.k8s.io/v1/namespaces/shop/events";
    let expected = [
        "GET /apis/apps/v1/namespaces/shop/deployments",
        create,
        "GET /apis/argoproj.io/v1alpha1",
        "GET /apis/argoproj.io/v1alpha1/namespaces/shop/rollouts",
        create,
    ];
    assert_eq!(server.asked(), expected);
    let regarding = json!({"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web",
        "uid": "uid-1"});
    let [first, second] = &server.created()[..] else {
        panic!("{:#?}", server.created());
    };
    assert_eq!(first["regarding"], regarding);
    assert_eq!(first["type"], "Warning");
    assert_eq!(second["regarding"]["apiVersion"], "argoproj.io/v1alpha1");
}

#[tokio::test(start_paused = true)]
async fn what_is_there_already_was_written_by_an_answer_that_got_lost() {
    let server = Server::answering(&[503, 409]);
    let (done, failures) = server.write(&[WEB]).await;
    assert_eq!((numbers(&done), failures), ([1, 0, 0], vec![]));
    let names: Vec<Value> = server
        .created()
        .iter()
        .map(|it| it["metadata"]["name"].clone())
        .collect();
    assert_eq!(names.len(), 2);
    assert_eq!(names[0], names[1]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_is_asked_a_few_times_and_then_not_for_the_others() {
    let server = Server::answering(&[500, 429, 503, 500, 500]);
    let (done, failures) = server.write(&[WEB, WEB, WEB]).await;
    assert_eq!(numbers(&done), [0, 0, 3]);
    assert_eq!(failures, [Failure::Away("it says 503".to_owned())]);
    assert_eq!(server.created().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_not_tried_again_and_says_nothing_of_the_others() {
    let server = Server::answering(&[403, 422]);
    let (done, failures) = server.write(&[WEB, WEB, WEB]).await;
    assert_eq!(numbers(&done), [1, 0, 2]);
    let expected = [
        Failure::Forbidden("it says 403".to_owned()),
        Failure::Refused("it says 422".to_owned()),
    ];
    assert_eq!(failures, expected);
    assert_eq!(server.created().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_on_what_is_gone() {
    let server = Server::answering(&[]);
    server.0.lock().unwrap().has_workload = false;
    let (done, failures) = server.write(&[WEB]).await;
    assert_eq!((numbers(&done), failures), ([0, 1, 0], vec![]));
    assert!(server.created().is_empty());
}

#[test]
fn a_cause_is_said_once_until_something_was_written() {
    let mut writer = Writer::new();
    let forbidden = [Failure::Forbidden("no".to_owned())];
    let failed = Done {
        failed: 1,
        ..Done::default()
    };
    let said = |writer: &Writer| writer.told.len();
    writer.say("prod", &failed, &forbidden);
    writer.say("prod", &failed, &forbidden);
    writer.say("dr", &failed, &forbidden);
    assert_eq!(said(&writer), 2);
    let well = Done {
        written: 1,
        ..Done::default()
    };
    writer.say("prod", &well, &[]);
    assert_eq!(said(&writer), 1);
}

#[test]
fn each_change_of_each_object_has_a_name_of_its_own() {
    let named = |change, since, uid| name(&event("Deployment", "web", change, since), uid);
    let first = named(Change::Breaks, 1, "uid-1");
    assert_eq!(first, named(Change::Breaks, 1, "uid-1"));
    assert!(first.starts_with("web.") && is_name(&first), "{first}");
    for other in [
        named(Change::Breaks, 1, "uid-2"),
        named(Change::Heals, 1, "uid-1"),
        named(Change::Breaks, 2, "uid-1"),
    ] {
        assert_ne!(other, first);
    }
    for long in [
        "a".repeat(253),
        format!("{}-.{}", "a".repeat(198), "b".repeat(40)),
    ] {
        let name = name(&event("Deployment", &long, Change::Breaks, 1), "uid-1");
        assert!(is_name(&name) && !name.contains("-."), "{name}");
    }
}
