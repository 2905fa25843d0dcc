//! The page as it is pasted into a chat, and the keys of its JSON.

use serde_json::{Value, json};

use super::super::run::{self, pullproof_in, shape};
use super::{explain, object};
use crate::support::clients::Clients;
use crate::support::images::{Format, push_index};
use crate::support::parts::require;
use crate::support::registry::{Options, Registry, Version};

/// What differs from run to run, in as many characters: digests, sizes, times, the port.
fn still(text: &str, host: &str) -> String {
    let (_, port) = host.rsplit_once(':').unwrap();
    let text = text.replace(port, &"P".repeat(port.len()));
    let words: Vec<&str> = text.split(' ').collect();
    let mut still = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let next = words.get(index + 1).copied().unwrap_or_default();
        // A busy machine needs more digits for how long it took.
        let is_duration = ["ms,", "s\n"].iter().any(|unit| next.starts_with(unit));
        let is_amount = ["B", "KiB", "MiB"]
            .iter()
            .any(|unit| next.starts_with(unit));
        let is_time = word.len() >= 9
            && word.matches([':', '-']).count() == 2
            && word.starts_with(|c: char| c.is_ascii_digit())
            && !word.contains('/');
        still.push(if is_duration {
            "0".to_owned()
        } else if is_amount || is_time {
            word.replace(|c: char| c.is_ascii_digit(), "0")
        } else {
            without_digests(word)
        });
    }
    still.join(" ")
}

fn without_digests(word: &str) -> String {
    let mut text = String::new();
    let mut hex = String::new();
    for character in word.chars().chain(['\0']) {
        if character.is_ascii_hexdigit() {
            hex.push(character);
            continue;
        }
        let is_digest = hex.len() >= 12;
        text.push_str(&if is_digest {
            "d".repeat(hex.len())
        } else {
            hex.clone()
        });
        hex.clear();
        text.push(character);
    }
    text.trim_end_matches('\0').to_owned()
}

async fn with_columns(home: &std::path::Path, columns: &str, arguments: &[&str]) -> run::Ended {
    let mut command = crate::support::daemon::command(home);
    command.env("COLUMNS", columns).args(arguments);
    run::run(command, "").await
}

#[tokio::test]
async fn the_page_is_drawn_for_80_columns() {
    require!("registry-3.1", "crane", "regctl", "buildah");
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(Options::new(Version::V3, root.path()).with_deletes()).await;
    let clients = Clients::of(&registry).await;
    let host = registry.host();
    let reference = format!("{host}/team/app:v1");
    push_index(&clients, &reference, "app", Format::Oci).await;
    let artifact = [
        "artifact",
        "put",
        "--artifact-type",
        "application/spdx+json",
        "--file-media-type",
        "application/spdx+json",
        "--file",
        "sbom.json",
        "--subject",
        &reference,
    ];
    std::fs::write(clients.home().join("sbom.json"), "{}").unwrap();
    clients.regctl(&artifact).await;
    let arm64 = super::children(&clients, &reference).await.remove(1);
    clients
        .crane(&["delete", &format!("{host}/team/app@{arm64}")])
        .await;
    let home = tempfile::tempdir().unwrap();
    let workload = format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: web, namespace: shop}}, spec: \
         {{template: {{spec: {{containers: [{{name: app, image: '{reference}'}}]}}}}}}}}"
    );
    std::fs::write(home.path().join("shop.yaml"), workload).unwrap();
    let arguments = [
        "explain",
        "--plain-http",
        &host,
        "-f",
        "shop.yaml",
        &reference,
    ];
    let ended = with_columns(home.path(), "80", &arguments).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (2, ""), "{ended:?}");
    for line in ended.stdout.lines() {
        assert!(
            line.chars().count() <= 80 || line.starts_with("  digest"),
            "{line}"
        );
    }
    insta::assert_snapshot!("page", still(&ended.stdout, &host));

    let wide = [&arguments[..], &["-o", "wide"]].concat();
    let wide = with_columns(home.path(), "120", &wide).await;
    assert!(wide.stdout.contains(&format!("{arm64}  ")), "{wide:?}");

    // The same, for machines.
    let json = [&arguments[..], &["-o", "json"]].concat();
    let view = pullproof_in(home.path(), &json).await.json();
    has_every_key(&view);
    assert_eq!(view["referrers"]["found"][0]["kind"], "sbom");
    assert_eq!(object(&view["tree"], &arm64)["code"], "child_missing");
}

/// Its keys are stable, and there also where nothing is known.
fn has_every_key(view: &Value) {
    let (string, number, bool, none) = ("string", "number", "bool", "null");
    assert_eq!(view["schema"], "pullproof.dev/explain/v1");
    let mut shown = shape(view);
    let leaf = json!({"kind": string, "digest": string, "media_type": string,
        "artifact_type": none, "size": number, "total_size": none, "platform": none,
        "subject": none, "attests": none, "state": string, "code": none, "message": none,
        "needed": bool, "foreign": bool, "shared_by": [], "children": []});
    assert_eq!(shown["tree"]["children"][0]["children"][0], leaf);
    shown["tree"] = none.into();
    let user = json!({"cluster": none, "namespace": string, "kind": string, "name": string,
        "container": string, "image": string, "class": string, "via": none, "since": none,
        "idle": none, "ignored": none});
    let exchanges = std::mem::replace(&mut shown["exchanges"], none.into());
    for exchange in exchanges.as_array().unwrap() {
        let keys: Vec<_> = exchange.as_object().unwrap().keys().collect();
        let expected = json!([
            "at_ms",
            "credential",
            "digest",
            "duration_ms",
            "error",
            "host",
            "method",
            "operation",
            "path",
            "range",
            "redirect",
            "size",
            "status"
        ]);
        assert_eq!(json!(keys), expected);
    }
    let expected = json!({
        "schema": string, "reference": string, "digest": string, "depth": string,
        "verdict": string, "message": none, "credential": string, "duration_seconds": number,
        "tree": none, "endpoints": [], "storages": [], "exchanges": none, "other_credentials": [],
        "findings": [{"code": string, "subject": string, "platform": string, "needed": bool,
            "path": [string], "message": string}],
        "referrers": {"subjects": [string], "problems": [], "found": [{"subject": string,
            "way": string, "kind": string, "digest": string, "size": number,
            "artifact_type": string, "tag": string}]},
        "used_by": [user],
        "keeps": [{"reference": string, "credential": none, "verdict": string, "state": string,
            "whole": bool, "platforms": [], "paths": [[string]], "classes": [string],
            "used_by": [user]}],
        "inventory": {"complete": bool, "images": number, "not_followed": number,
            "sources": [{"name": string, "complete": bool, "reason": none,
                "last_complete": string, "references": number, "required": bool,
                "stands_until": none, "shrunk": none, "absent": []}]},
    });
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn a_layer_that_both_platforms_have_is_marked_and_counted_once() {
    require!("docker-registry", "crane", "regctl", "buildah");
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(Options::new(Version::V2, root.path())).await;
    let clients = Clients::of(&registry).await;
    let host = registry.host();
    let reference = format!("{host}/app:1");
    push_index(&clients, &reference, "app", Format::Docker).await;
    let ended = explain(&host, &["-o", "json", &reference]).await;
    let view = ended.json();
    let tree = &view["tree"];
    let of = |index: usize| &tree["children"][index];
    assert_eq!(of(0)["children"][1]["shared_by"], json!(["linux/arm64"]));
    assert_eq!(of(1)["children"][1]["shared_by"], json!(["linux/amd64"]));
    assert_eq!(of(0)["children"][2]["shared_by"], json!([]));
    let number = |value: &Value| value.as_u64().unwrap();
    let shared = number(&of(0)["children"][1]["size"]);
    let both = number(&of(0)["total_size"]) + number(&of(1)["total_size"]);
    assert_eq!(
        number(&tree["total_size"]),
        both - shared + number(&tree["size"])
    );
}
