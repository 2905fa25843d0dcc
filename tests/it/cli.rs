//! The command line as people and pipelines use it: the built binary, its exit codes, what it prints.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod answers;
mod beside;
mod explain;
mod foreign;
mod given;
mod lies;
mod plan;
mod plugin;
mod reports;
pub(crate) mod run;
mod windows;
mod words;

use serde_json::{Value, json};

use crate::support::clients::Clients;
use crate::support::images::{Format, push_image, push_index};
use crate::support::parts::require;
use crate::support::process::free_port;
use crate::support::registry::{Options, Registry, Version};

use self::run::{lose_blob, pullproof, shape};

#[tokio::test]
async fn the_exit_code_tells_what_was_found_and_fail_on_what_counts() {
    require!("docker-registry", "crane", "regctl");
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(Options::new(Version::V2, root.path())).await;
    let clients = Clients::of(&registry).await;
    let whole = format!("{}/whole:1", registry.host());
    push_image(&clients, &whole, "whole").await;
    let broken = format!("{}/broken:1", registry.host());
    push_image(&clients, &broken, "broken").await;
    lose_blob(&registry, &first_layer(&clients, &broken).await);
    // Nobody listens there.
    let away = format!("127.0.0.1:{}", free_port());
    let unknown = format!("{away}/app:1");

    let (whole, broken, unknown) = (whole.as_str(), broken.as_str(), unknown.as_str());
    let hosts = format!("{},{away}", registry.host());
    for (more, expected) in [
        (vec![whole], 0),
        (vec![whole, broken], 2),
        (vec![whole, unknown], 3),
        (vec![broken, unknown], 2),
        (vec!["--fail-on", "unknown", unknown], 3),
        (vec!["--fail-on", "broken", unknown, whole], 0),
        (vec!["--fail-on", "broken", broken], 2),
        (vec!["--fail-on", "never", broken, unknown], 0),
    ] {
        let mut arguments = vec!["verify", "--plain-http", &hosts];
        arguments.extend(&more);
        let ended = pullproof(&arguments).await;
        assert_eq!(ended.code, expected, "{more:?}: {ended:?}");
        // Data on stdout; nothing to complain of on stderr, whatever was found.
        assert!(ended.stdout.contains(" pullable, "), "{ended:?}");
        assert_eq!(ended.stderr, "");
    }
}

#[tokio::test]
async fn what_could_not_run_is_1_and_what_is_wrongly_used_64() {
    let home = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "http: {{metrics: \"{}\", ui: \"127.0.0.1:{}\"}}\nstate: {{directory: state}}\n",
        taken.local_addr().unwrap(),
        free_port(),
    );
    std::fs::write(home.path().join("pullproof.yaml"), text).unwrap();
    for (arguments, code, told) in [
        (vec!["serve"], 1, "(http.metrics); set another there"),
        (
            vec!["baseline", "accept"],
            1,
            "snapshot.json, which the daemon writes",
        ),
        (vec![], 64, "Usage: pullproof"),
        (vec!["prove"], 64, "unrecognized subcommand 'prove'"),
        (
            vec!["verify", "--no-such"],
            64,
            "unexpected argument '--no-such'",
        ),
        (
            vec!["verify", "--fail-on", "sometimes", "a"],
            64,
            "broken, unknown, never",
        ),
        (vec!["verify", "--platform", "///", "a"], 64, "--platform"),
        (
            vec!["verify", "registry.example/UPPER:1"],
            64,
            "`registry.example/UPPER:1` is not an image reference",
        ),
        (
            vec!["--config", "elsewhere.yaml", "verify"],
            64,
            "elsewhere.yaml: No such file",
        ),
        (
            vec!["config", "check", "elsewhere.yaml"],
            64,
            "elsewhere.yaml: No such file",
        ),
    ] {
        let ended = run::pullproof_in(home.path(), &arguments).await;
        assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(told), "{arguments:?}: {ended:?}");
        assert_eq!(ended.stdout, "", "{arguments:?}");
    }
}

#[tokio::test]
async fn the_json_has_every_key_and_null_where_nothing_is_known() {
    require!("docker-registry", "crane", "regctl", "buildah");
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(Options::new(Version::V2, root.path())).await;
    let host = registry.host();
    let clients = Clients::of(&registry).await;
    let index = push_index(&clients, &format!("{host}/team/app:v1"), "one", Format::Oci).await;
    let manifest = clients
        .crane(&["manifest", &format!("{host}/team/app:v1")])
        .await;
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let child = manifest["manifests"][1]["digest"].as_str().unwrap();
    let own_layer = layers(&clients, &format!("{host}/team/app@{child}")).await[1].clone();
    lose_blob(&registry, &own_layer);

    let workload = format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: web, namespace: shop}}, spec: \
         {{template: {{spec: {{containers: [{{name: app, image: '{host}/team/app:v1'}}]}}}}}}}}"
    );
    let ended = run::with_input(
        &["check", "--plain-http", &host, "-f", "-", "-o", "json"],
        &workload,
    )
    .await;
    assert_eq!(ended.code, 2, "{ended:?}");
    let view = ended.json();
    let (string, number, bool, none) = ("string", "number", "bool", "null");
    let user = json!({"cluster": none, "namespace": string, "kind": string, "name": string,
        "container": string, "image": string, "class": string, "via": none, "since": none,
        "idle": none, "ignored": none});
    let expected = json!({
        "schema": string, "depth": string, "duration_seconds": number,
        "requests": {"tag_head": number, "tag_list": number, "manifest_head": number, "manifest_get": number,
            "blob_head": number, "blob_read": number, "blob_get": number, "control": number,
            "token": number},
        "summary": {"images": number, "pullable": number, "broken": number, "unknown": number},
        "answers": {"lose_node": string, "fail_over": string, "roll_back": string},
        "images": [{
            "reference": string, "digest": string, "verdict": string, "pinned": bool,
            "credential": none, "namespaces": [string], "registry": string, "known": bool,
            "last_proof": none,
            "platforms": [{"platform": string, "digest": string, "verdict": string,
                "needed": bool, "tags": none, "foreign_layers": []}],
            "findings": [{"code": string, "subject": string, "platform": string, "needed": bool,
                "path": [string], "message": string}],
            "endpoints": [],
            "drift": [],
            "kubelet": [],
            "used_by": [user],
        }],
    });
    assert_eq!(shape(&view), expected);

    let image = &view["images"][0];
    let finding = &image["findings"][0];
    assert_eq!(view["schema"], "pullproof.dev/verify/v1");
    assert_eq!(
        view["summary"],
        json!({"images": 1, "pullable": 0, "broken": 1, "unknown": 0})
    );
    assert_eq!(
        view["answers"],
        json!({"lose_node": "no", "fail_over": "unknown", "roll_back": "unknown"})
    );
    assert_eq!(
        (&image["digest"], &image["namespaces"]),
        (&json!(index), &json!(["shop"]))
    );
    let verdicts = image["platforms"].as_array().unwrap().iter();
    let verdicts: Vec<_> = verdicts
        .map(|one| (&one["platform"], &one["verdict"]))
        .collect();
    assert_eq!(
        json!(verdicts),
        json!([["linux/amd64", "pullable"], ["linux/arm64", "broken"]])
    );
    assert_eq!(finding["code"], "layer_missing");
    assert_eq!(
        (&finding["subject"], &finding["path"]),
        (&json!(own_layer), &json!([index, child]))
    );

    // The same keys where there is nothing to say of them: a tag that was never there.
    let missing = format!("{host}/team/app:v2");
    let ended = pullproof(&["verify", "--plain-http", &host, "-o", "json", &missing]).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    let image = &ended.json()["images"][0];
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(image), keys(&view["images"][0]));
    assert_eq!(keys(&image["findings"][0]), keys(finding));
    assert_eq!(image["findings"][0]["code"], "tag_missing");
    let nothing = json!([
        image["digest"],
        image["platforms"],
        image["findings"][0]["subject"]
    ]);
    assert_eq!(nothing, json!([null, [], null]));
}

pub(crate) async fn layers(clients: &Clients, reference: &str) -> Vec<String> {
    let manifest: Value =
        serde_json::from_str(&clients.crane(&["manifest", reference]).await).unwrap();
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers
        .map(|layer| layer["digest"].as_str().unwrap().to_owned())
        .collect()
}

pub(crate) async fn first_layer(clients: &Clients, reference: &str) -> String {
    layers(clients, reference).await.remove(0)
}
