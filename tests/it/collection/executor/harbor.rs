//! Harbor's own collection, by a server that speaks its API's shapes (`api/v2.0/swagger.yaml`) beside a real
//! registry.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{by, failed, refused};
use crate::collection::desk::Desk;
use crate::plan::tree::sound;
use crate::support::daemon;
use crate::support::http::client;
use crate::support::parts::require;
use crate::support::process::{Ending, Process};
use crate::support::registry::Version;
use crate::support::server::Server;
use crate::support::wait::wait_until;

const BOUND: Duration = Duration::from_secs(60);
/// `admin:Harbor12345`
const AUTHORIZATION: &str = "Basic YWRtaW46SGFyYm9yMTIzNDU=";
const AT: &str = "/api/v2.0/system/gc";

#[derive(Debug, Default)]
pub(super) struct Script {
    /// By number, with what each says of itself.
    pub(super) executions: Vec<(i64, String)>,
    /// What was asked for.
    asked: Vec<Value>,
    stopped: Vec<i64>,
    /// So often it is looked at before it ends, and how; otherwise it goes on.
    ends: Option<(usize, &'static str)>,
    /// What it takes meanwhile.
    takes: Option<PathBuf>,
    /// The answer to the one that starts it is lost.
    loses_answer: bool,
    /// So often it was asked for all of them.
    pub(super) looks: usize,
    /// So many requests went to the registry.
    pub(super) forwarded: usize,
}

#[derive(Debug)]
pub(super) struct Harbor {
    server: Server,
    script: Arc<Mutex<Script>>,
}

impl Harbor {
    /// In front of a registry, which serves all that is not Harbor's own.
    fn before(registry: &str) -> Self {
        let script: Arc<Mutex<Script>> = Arc::default();
        let state = (Arc::clone(&script), registry.to_owned());
        let router = Router::new().fallback(answer).with_state(state);
        Self {
            server: Server::start(router),
            script,
        }
    }

    pub(super) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }
}

async fn answer(
    State((script, registry)): State<(Arc<Mutex<Script>>, String)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(path) = uri.path().strip_prefix(AT) else {
        script.lock().unwrap().forwarded += 1;
        return forward(&registry, method, &uri, headers).await;
    };
    if headers
        .get("authorization")
        .is_none_or(|it| it != AUTHORIZATION)
    {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let mut script = script.lock().unwrap();
    let id = path
        .trim_start_matches('/')
        .split('/')
        .next()
        .and_then(|it| it.parse::<i64>().ok());
    let shown = |(id, status): &(i64, String)| {
        json!({
            "id": id, "job_name": "GARBAGE_COLLECTION", "job_kind": "MANUAL", "job_parameters": "{}",
            "schedule": {"type": "MANUAL"}, "job_status": status, "deleted": false,
            "creation_time": "2026-11-22T03:00:00.000Z", "update_time": "2026-11-22T03:00:01.000Z",
        })
    };
    match (method.as_str(), id) {
        ("GET", None) => {
            script.looks += 1;
            let all: Vec<Value> = script.executions.iter().rev().map(shown).collect();
            json_answer(&json!(all))
        }
        ("POST", None) if path == "/schedule" => {
            script.asked.push(serde_json::from_slice(&body).unwrap());
            let id = script.executions.last().map_or(1, |last| last.0 + 1);
            script.executions.push((id, "Pending".to_owned()));
            if let Some(file) = &script.takes {
                fs::remove_file(file).unwrap();
            }
            if script.loses_answer {
                return StatusCode::BAD_GATEWAY.into_response();
            }
            (StatusCode::CREATED, [("location", format!("{AT}/{id}"))]).into_response()
        }
        ("GET", Some(_)) if path.ends_with("/log") => "3 blobs deleted\n".into_response(),
        ("GET", Some(id)) => {
            let ends = script.ends;
            let Some(found) = script.executions.iter_mut().find(|it| it.0 == id) else {
                return StatusCode::NOT_FOUND.into_response();
            };
            if found.1 == "Pending" || found.1 == "Running" {
                match ends {
                    Some((0, status)) => status.clone_into(&mut found.1),
                    _ => "Running".clone_into(&mut found.1),
                }
            }
            let answer = json_answer(&shown(found));
            script.ends = ends.map(|(looks, status)| (looks.saturating_sub(1), status));
            answer
        }
        ("PUT", Some(id)) => {
            script.stopped.push(id);
            if let Some(found) = script.executions.iter_mut().find(|it| it.0 == id) {
                "Stopped".clone_into(&mut found.1);
            }
            StatusCode::OK.into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn json_answer(value: &Value) -> Response {
    ([("content-type", "application/json")], value.to_string()).into_response()
}

async fn forward(registry: &str, method: Method, uri: &Uri, mut headers: HeaderMap) -> Response {
    headers.remove("host");
    let asked = client()
        .request(method, format!("{registry}{uri}"))
        .headers(headers);
    let answer = asked.send().await.unwrap();
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        if name != "transfer-encoding" {
            response = response.header(name, value);
        }
    }
    response
        .body(Body::from(answer.bytes().await.unwrap()))
        .unwrap()
}

pub(super) async fn scene() -> (Desk, Harbor) {
    let desk = Desk::over(Version::V3, sound()).await;
    let harbor = Harbor::before(&desk.registry.url());
    desk.keep(&["app:v1"]);
    fs::write(desk.home().join("admin"), "admin:Harbor12345\n").unwrap();
    configure(&desk, &harbor, &json!({"file": "admin"}));
    (desk, harbor)
}

fn configure(desk: &Desk, harbor: &Harbor, credentials: &Value) {
    by(
        desk,
        &json!({"harbor": {"credentials": credentials}}),
        r#""readOnly": {"mode": "notRequired"}"#,
    );
    desk.change(|it| {
        it["registries"][0]["endpoint"] = json!(harbor.server.url());
    });
}

#[tokio::test]
async fn it_is_started_followed_and_proven() {
    require!("registry-3.1");
    let (desk, harbor) = scene().await;
    harbor.script().ends = Some((2, "Success"));
    let ran = desk.gc(&["run"]).await;
    assert_eq!((ran.code, ran.result()), (Some(0), "purged"), "{ran:?}");
    assert_eq!(ran.view["executor"]["output"], json!(["3 blobs deleted"]));
    assert_eq!(ran.view["executor"]["undo"], "none");
    let body = json!({"schedule": {"type": "Manual"}, "parameters": {"delete_untagged": true, "dry_run": false}});
    assert_eq!(harbor.script().asked, [body]);
    assert!(harbor.script().stopped.is_empty());
    // Its storage is its own: nothing is read or written there.
    assert!(!desk.root().join("pullproof").exists());

    harbor.script().ends = Some((1, "Error"));
    failed(
        &desk.gc(&["run"]).await,
        1,
        "Harbor's collection 2 ended: Error",
    );
    // The answer is lost, and it was started all the same.
    harbor.script().loses_answer = true;
    harbor.script().ends = Some((1, "Success"));
    let ran = desk.gc(&["run"]).await;
    assert_eq!((ran.code, ran.result()), (Some(0), "purged"), "{ran:?}");
    assert_eq!(harbor.script().asked.len(), 3);
}

#[tokio::test]
async fn nothing_is_started_beside_another_or_as_nobody() {
    require!("registry-3.1");
    let (desk, harbor) = scene().await;
    harbor.script().executions.push((7, "Running".to_owned()));
    refused(
        &desk.gc(&["run"]).await,
        &["not_leader"],
        "Harbor's collection 7 is under way",
    );
    harbor.script().executions.clear();
    fs::write(desk.home().join("other"), "admin:wrong").unwrap();
    configure(&desk, &harbor, &json!({"file": "other"}));
    refused(
        &desk.gc(&["run"]).await,
        &["storage_unsupported"],
        "the credentials are not right",
    );
    fs::write(desk.home().join("other"), "admin").unwrap();
    refused(
        &desk.gc(&["run"]).await,
        &["storage_unsupported"],
        "it is not USER:PASSWORD",
    );
    assert!(harbor.script().asked.is_empty());
}

#[tokio::test]
async fn at_its_deadline_it_is_stopped_and_what_it_took_is_told() {
    require!("registry-3.1");
    let (desk, harbor) = scene().await;
    desk.change(|it| it["gc"]["executor"]["harbor"]["deadline"] = json!("1s"));
    failed(
        &desk.gc(&["run"]).await,
        1,
        "it was stopped: its time was over",
    );
    assert_eq!(harbor.script().stopped, [1]);
    configure(&desk, &harbor, &json!({"file": "admin"}));
    harbor.script().ends = Some((0, "Success"));
    harbor.script().takes = Some(desk.tree.data_of(&desk.tree.find("app.layer-1")));
    failed(&desk.gc(&["run"]).await, 2, "app:v1");
    harbor.script().takes = None;
    refused(&desk.gc(&["run"]).await, &["image_broken"], "app:v1");
    assert_eq!(harbor.script().asked.len(), 2);
}

#[tokio::test]
async fn one_whose_starter_died_is_stopped_by_whoever_comes_next() {
    require!("registry-3.1");
    let (desk, harbor) = scene().await;
    let mut command = daemon::command(desk.home());
    command.args(["gc", "run"]);
    let run = Process::start(command, "collector", desk.home(), Ending::Terminate);
    let is_running = || {
        harbor
            .script()
            .executions
            .iter()
            .any(|it| it.1 == "Running")
    };
    wait_until("it runs", BOUND, async || is_running().then_some(())).await;
    let own = Pid::from_raw(i32::try_from(run.id()).unwrap()).unwrap();
    kill_process(own, Signal::KILL).unwrap();
    wait_until("it is killed", BOUND, async || run.status()).await;
    failed(&desk.gc(&["run"]).await, 1, "`harbor` was cut off");
    assert_eq!(harbor.script().stopped, [1]);
    harbor.script().ends = Some((0, "Success"));
    assert_eq!(desk.gc(&["run"]).await.result(), "purged");
}
