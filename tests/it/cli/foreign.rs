//! Layers that nodes fetch elsewhere: they count as present, and the answer says that nobody asked.

use pullproof::oci::digest::Digest;
use serde_json::{Value, json};

use super::run::pullproof;
use crate::docs::shown::{By, bash, run_by};
use crate::support::parts::require;
use crate::support::scripted::store::{CONFIG, LAYER};
use crate::support::scripted::{Script, Scripted};

#[tokio::test]
async fn foreign_layers_are_told_by_platform_and_never_asked_for() {
    require!("jq");
    let mut script = Script::default();
    let repository = script.store.repository("app");
    let config = json!({"os": "windows", "architecture": "amd64"}).to_string();
    let config = repository.blob(CONFIG, config).descriptor();
    let own = repository.blob(LAYER, "on top of it").descriptor();
    let foreign = Digest::of(b"a layer of Windows").to_string();
    let base = json!({
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": foreign, "size": 18, "urls": ["https://elsewhere.example/layer"],
    });
    let windows = repository.image_of(&config, &[base, own]);
    let linux = repository.image("linux/amd64", &["a layer"]);
    let arm64 = repository.image("linux/arm64", &["another"]);
    let index = repository.index(&[
        windows.child("windows/amd64"),
        linux.child("linux/amd64"),
        arm64.child("linux/arm64"),
    ]);
    repository.tag("v1", &index);
    repository.tag("linux", &linux);
    repository.lose(arm64.digest);
    let registry = Scripted::start(script).await;
    let host = registry.address().to_string();
    let (reference, plain) = (format!("{host}/app:v1"), format!("{host}/app:linux"));

    let arguments = ["--plain-http", &host, "-o", "json", &reference];
    let ended = pullproof(&[&["verify"], &arguments[..]].concat()).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    let view = ended.json();
    let platforms = view["images"][0]["platforms"].as_array().unwrap().iter();
    let told: Vec<Value> = platforms
        .map(|one| json!([one["platform"], one["verdict"], one["foreign_layers"]]))
        .collect();
    let expected = json!([
        ["windows/amd64", "pullable", [foreign]],
        ["linux/amd64", "pullable", []],
        // It was never read: what it names is not known.
        ["linux/arm64", "broken", null]
    ]);
    assert_eq!(json!(told), expected);
    let ended = pullproof(&[&["explain"], &arguments[..]].concat()).await;
    let tree = &ended.json()["tree"];
    let layer = &tree["children"][0]["children"][1];
    assert_eq!(
        json!([layer["digest"], layer["foreign"]]),
        json!([foreign, true])
    );
    assert_eq!(registry.count_seen(|seen| seen.path.contains(&foreign)), 0);

    // As docs/verdicts.md asks for them.
    let home = tempfile::tempdir().unwrap();
    for shown in run_by(By::Foreign) {
        let given = format!("pullproof verify --plain-http {host} -o json {reference} {plain}");
        let command = format!("{given} | {}", shown.command);
        let ended = bash(home.path(), home.path(), &command).await;
        assert_eq!(ended.stdout, format!("\"{reference}\"\n"), "{ended:?}");
    }

    // A line for people, only where there is one.
    let told = "1 of them with foreign layers";
    for (more, is_told) in [(vec![&reference, &plain], true), (vec![&plain], false)] {
        let mut arguments = vec!["verify", "--plain-http", &host];
        arguments.extend(more.into_iter().map(String::as_str));
        let ended = pullproof(&arguments).await;
        assert_eq!(ended.stdout.contains(told), is_told, "{ended:?}");
    }
}
