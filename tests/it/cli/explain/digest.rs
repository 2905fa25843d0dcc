//! A bare digest: where it is, who needs it, and what it means that nobody holds it.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::run::{Ended, pullproof_in};
use super::children;
use crate::cli::layers;
use crate::support::clients::Clients;
use crate::support::images::{Format, push_index};
use crate::support::parts::require;
use crate::support::registry::{Options, Registry, Version};

/// An image, and a copy of it in another repository that lost its first platform.
struct Scene {
    registry: Registry,
    home: TempDir,
    index: String,
    images: Vec<String>,
    /// Of the first platform: one that both have, and its own.
    layers: Vec<String>,
    _root: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let options = Options::new(Version::V3, root.path()).with_deletes();
        let registry = Registry::start(options).await;
        let clients = Clients::of(&registry).await;
        let host = registry.host();
        let (one, copy) = (format!("{host}/one:1"), format!("{host}/copy:1"));
        let index = push_index(&clients, &one, "one", Format::Oci).await;
        clients.crane(&["copy", &one, &copy]).await;
        let images = children(&clients, &one).await;
        let layers = layers(&clients, &format!("{host}/one@{}", images[0])).await;
        clients
            .crane(&["delete", &format!("{host}/copy@{}", images[0])])
            .await;
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("keep.txt"), format!("{one}\n{copy}\n")).unwrap();
        Self {
            registry,
            home,
            index,
            images,
            layers,
            _root: root,
        }
    }

    async fn ask(&self, digest: &str, more: &[&str]) -> Ended {
        let host = self.registry.host();
        let given = ["explain", "--plain-http", &host, "--references", "keep.txt"];
        pullproof_in(self.home.path(), &[&given, more, &[digest]].concat()).await
    }
}

/// What is told of each image that holds it.
fn kept(view: &Value, keys: &[&str]) -> Vec<Value> {
    let keeps = view["keeps"].as_array().unwrap().iter();
    keeps
        .map(|one| keys.iter().map(|key| one[*key].clone()).collect())
        .collect()
}

#[tokio::test]
async fn a_digest_is_found_wherever_it_is_and_what_needs_it_is_named() {
    require!("registry-3.1", "crane", "regctl", "buildah");
    let scene = Scene::new().await;
    let host = scene.registry.host();
    let (one, copy) = (format!("{host}/one:1"), format!("{host}/copy:1"));
    let Scene { index, images, .. } = &scene;
    let (shared, own) = (&scene.layers[0], &scene.layers[1]);

    // In both images of the one; in the copy only in what is left of it.
    let ended = scene.ask(shared, &["-o", "json"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let view = ended.json();
    assert_eq!(view["tree"]["kind"], "layer");
    let amd64 = json!([index, images[0], shared]);
    let arm64 = json!([index, images[1], shared]);
    let keys = [
        "reference",
        "whole",
        "platforms",
        "state",
        "paths",
        "classes",
    ];
    let (both, left) = (
        json!(["linux/amd64", "linux/arm64"]),
        json!(["linux/arm64"]),
    );
    let expected = [
        json!([copy, false, left, "pullable", [arm64], ["listed"]]),
        json!([one, false, both, "pullable", [amd64, arm64], ["listed"]]),
    ];
    assert_eq!(kept(&view, &keys), expected);
    // Only what was asked of it, besides that any proven object may be the one by which it is told whether the
    // registry still answers.
    let exchanges = view["exchanges"].as_array().unwrap();
    let asked = exchanges.iter().filter(|it| it["operation"] != "control");
    assert_eq!(asked.count(), 2, "{exchanges:#?}");

    // Only where the copy is whole.
    let ended = scene.ask(own, &["-o", "json"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(kept(&ended.json(), &["reference"]), [json!([one])]);

    // Whole in one repository, and lost in the other: it is the worst of both.
    let ended = scene.ask(&images[0], &["-o", "json"]).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    let view = ended.json();
    assert_eq!(view["verdict"], "broken");
    assert_eq!(view["findings"][0]["code"], "child_missing");
    let states = kept(&view, &["reference", "state"]);
    assert_eq!(states, [json!([copy, "broken"]), json!([one, "pullable"])]);

    // A root is all of its image.
    let ended = scene.ask(index, &["-o", "json"]).await;
    assert_eq!(
        kept(&ended.json(), &["whole"]),
        [json!([true]), json!([true])]
    );
}

#[tokio::test]
async fn what_was_not_found_or_not_read_is_unknown_and_never_nobody() {
    require!("registry-3.1", "crane", "regctl", "buildah");
    let scene = Scene::new().await;
    let nobody = format!("sha256:{}", "0".repeat(64));
    let ended = scene.ask(&nobody, &[]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (3, ""), "{ended:?}");
    let words: Vec<&str> = ended.stdout.split_whitespace().collect();
    let text = words.join(" ");
    for told in [
        "none of the 2 images",
        "1 of them could not be followed",
        "--context",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    let shared = &scene.layers[0];
    let ended = scene.ask(shared, &["--references", "none.txt"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(
        ended.stderr.contains("source none.txt is incomplete"),
        "{ended:?}"
    );
    assert!(ended.stdout.contains("so others may use it"), "{ended:?}");
}
