//! The API against its own document: every answer is as it says, to the key, and nothing is served that it does
//! not name.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::collections::BTreeSet;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::collection::desk::Desk;
use crate::daemon::shop::{SELDOM, Stock, deployment, list, namespace, of_list, of_namespace};
use crate::inventory::pods::{pod, runs};
use crate::support::cluster::Cluster;
use crate::support::daemon::Daemon;
use crate::support::http::client;
use crate::support::images::push_image;
use crate::support::parts::{require, require_cluster};
use crate::support::registry::Version;

fn document() -> Value {
    serde_saphyr::from_str(include_str!("../../src/http/openapi.yaml")).unwrap()
}

/// The schema of what a path answers, with all that it names.
fn schema(document: &Value, path: &str) -> Value {
    let answer = &document["paths"][path]["get"]["responses"]["200"]["$ref"];
    let name = answer.as_str().unwrap().rsplit('/').next().unwrap();
    let of = &document["components"]["responses"][name]["content"]["application/json"]["schema"];
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": of["$ref"], "components": document["components"],
    })
}

/// What an answer says that its schema does not.
fn problems(document: &Value, path: &str, answer: &Value) -> Vec<String> {
    let validator = jsonschema::draft202012::new(&schema(document, path)).unwrap();
    let errors = validator.iter_errors(answer);
    errors
        .map(|error| format!("{path} {}: {error}", error.instance_path()))
        .collect()
}

/// Every path that answers JSON to whoever asks. The keep-set is looked at where it is told: [`check_keepset`].
fn open_paths(document: &Value) -> Vec<String> {
    let paths = document["paths"].as_object().unwrap().keys();
    let is_open = |path: &&String| !path.ends_with("/keepset") && !path.contains("openapi");
    paths.filter(is_open).cloned().collect()
}

/// Whether what answers only to whoever knows a token is as the document says.
pub(crate) fn check_keepset(answer: &Value) {
    let problems = problems(&document(), "/api/v1/keepset", answer);
    assert!(problems.is_empty(), "{problems:#?}");
}

async fn check_all(daemon: &Daemon) {
    let document = document();
    for path in open_paths(&document) {
        let answer = daemon.api(path.strip_prefix("/api/v1/").unwrap()).await;
        let problems = problems(&document, &path, &answer);
        assert!(problems.is_empty(), "{problems:#?}");
    }
}

#[test]
fn the_document_names_what_is_served_and_nothing_else() {
    let source = include_str!("../../src/http.rs");
    let routes = source.split(".route(\"").skip(1);
    let routes = routes.filter_map(|rest| rest.split('"').next());
    let served: BTreeSet<&str> = routes.filter(|path| path.starts_with("/api/")).collect();
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    let named: BTreeSet<&str> = paths.keys().map(String::as_str).collect();
    assert_eq!(named, served);
    for (path, methods) in paths {
        let methods: Vec<&String> = methods.as_object().unwrap().keys().collect();
        assert_eq!(methods, ["get"], "{path} changes something");
    }
}

#[tokio::test]
async fn what_is_answered_of_a_cluster_is_what_the_document_says() {
    require_cluster!("registry-3.1", "crane", "regctl");
    let (cluster, namespace) = namespace().await;
    let stock = Stock::new().await;
    let host = stock.host();
    let (whole, swept) = (stock.push("whole:1").await, stock.push("swept:1").await);
    let moved = format!("{host}/moved:1");
    let old = push_image(&stock.clients, &moved, "old").await;
    let yaml = [
        deployment(&namespace, "whole", &whole),
        deployment(&namespace, "swept", &swept),
        deployment(&namespace, "typo", "Registry.Example//app"),
        pod(&namespace, "moved", &moved),
    ];
    cluster.apply_yaml(&yaml.concat()).await;
    runs(cluster, &namespace, "moved", &format!("{host}/moved@{old}")).await;
    let daemon = Daemon::start(&configuration(cluster, &namespace, &stock));
    daemon.wait_until_ready().await;
    push_image(&stock.clients, &moved, "new").await;
    stock.break_layer(&swept).await;
    daemon
        .wait_for_series("workload_image_failure", &["layer_missing"])
        .await;
    daemon
        .wait_for_series("workload_image_drift", &["tag_moved"])
        .await;
    check_all(&daemon).await;

    let findings = daemon.api("findings?verdict=broken").await;
    let findings = findings["findings"].as_array().unwrap().iter();
    let codes: BTreeSet<&str> = findings.map(|it| it["code"].as_str().unwrap()).collect();
    assert_eq!(
        codes,
        BTreeSet::from(["layer_missing", "reference_invalid"])
    );
    let registries = daemon.api("registries").await;
    let registry = &registries["registries"].as_array().unwrap()[0];
    assert_eq!(
        registry["summary"],
        json!({"images": 3, "pullable": 2, "broken": 1, "unknown": 0})
    );
    assert_eq!(daemon.api("status").await["answers"]["lose_node"], "no");

    // A key too many, or one too few, is seen.
    let document = document();
    let mut answer = daemon.api("status").await;
    answer["more"] = json!(1);
    assert_eq!(problems(&document, "/api/v1/status", &answer).len(), 1);
    answer.as_object_mut().unwrap().remove("more");
    answer["registries"][0]
        .as_object_mut()
        .unwrap()
        .remove("up");
    assert!(!problems(&document, "/api/v1/status", &answer).is_empty());
}

fn configuration(cluster: &Cluster, namespace: &str, stock: &Stock) -> String {
    let verify = "{interval: 2s, blobInterval: 2s, depth: read}";
    of_namespace(
        &cluster.admin().kubeconfig,
        namespace,
        &[stock.entry(verify)],
    )
}

#[tokio::test]
async fn what_is_answered_of_a_collection_is_what_the_document_says() {
    require!("registry-3.1", "crane", "regctl");
    let desk = Desk::start(Version::V3).await;
    let daemon = Daemon::start(&desk.as_daemon());
    daemon
        .wait_for_series("gc_runs_total", &["quarantined", "} 1"])
        .await;
    check_all(&daemon).await;
    let answer = daemon.api("gc").await;
    let storage = &answer["storages"].as_array().unwrap()[0];
    assert_eq!(storage["collection"]["runs"][0]["result"], "quarantined");
    assert!(storage["collection"]["quarantined"]["blobs"].as_u64() > Some(0));
    assert!(storage["plan"]["counts"]["blobs"].as_u64() > Some(0));
}

#[tokio::test]
async fn who_has_an_answer_already_is_told_so() {
    require!("registry-3.1", "crane", "regctl");
    let stock = Stock::new().await;
    let image = stock.push("app:1").await;
    let home = tempfile::tempdir().unwrap();
    let seldom = stock.entry(SELDOM);
    let daemon = Daemon::start(&of_list(&list(home.path(), &[&image]), &[seldom]));
    daemon.wait_until_ready().await;
    let ask = async |known: Option<&str>| {
        let mut request = client().get(daemon.ui("/api/v1/registries"));
        if let Some(known) = known {
            request = request.header("if-none-match", known);
        }
        request.send().await.unwrap()
    };
    // A snapshot may come in between; then it is asked once more.
    daemon
        .wait_until("an answer is known", async || {
            let first = ask(None).await;
            let tag = first.headers()["etag"].to_str().unwrap().to_owned();
            assert!(!first.bytes().await.unwrap().is_empty());
            let again = ask(Some(&format!("\"another\", {tag}"))).await;
            let is_known = again.status() == StatusCode::NOT_MODIFIED;
            assert_eq!(again.bytes().await.unwrap().is_empty(), is_known);
            is_known.then_some(())
        })
        .await;
    assert_eq!(ask(Some("W/\"another\"")).await.status(), StatusCode::OK);
}
