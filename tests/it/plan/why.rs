//! `explain sha256:…` over a storage: from what each thing stays, by way of what, or why it goes.

use std::fs;

use axum::Router;
use jiff::Timestamp;
use pullproof::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::tree::{OCI_LAYER, Object, Tree, write};
use crate::cli::run::pullproof_in;
use crate::support::server::Server;

const HOST: &str = "registry.example:5000";

/// A tree, and a registry of it that has nothing: a storage is explained all the same.
struct Scene {
    tree: Tree,
    home: TempDir,
    server: Server,
}

impl Scene {
    fn new(tree: Tree) -> Self {
        tree.age();
        Self {
            tree,
            home: tempfile::tempdir().unwrap(),
            server: Server::start(Router::new()),
        }
    }

    fn configure(&self, gc: &Value, kept: &[String]) {
        let file = |name: &str| self.home.path().join(name);
        fs::write(file("keep.txt"), kept.join("\n")).unwrap();
        let storage = json!({"filesystem": {"root": self.tree.root()}});
        let entry = json!({
            "host": HOST, "endpoint": self.server.url(), "kind": "distribution", "storage": storage,
        });
        let references = json!([{"name": "keep", "file": "keep.txt"}]);
        let configuration = json!({
            "inventory": {"references": references}, "registries": [entry], "gc": gc,
        });
        fs::write(file("pullproof.yaml"), configuration.to_string()).unwrap();
    }

    /// As one line with names for digests.
    async fn told(&self, name: &str) -> String {
        let object = self.tree.find(name);
        let words = ["explain", object.digest.as_str(), "-o", "json"];
        let ended = pullproof_in(self.home.path(), &words).await;
        let view = ended.json();
        let storage = &view["storages"][0];
        assert_eq!(storage["storage"], HOST, "{view}");
        assert_eq!(storage["refusals"], json!([]), "{storage}");
        assert_eq!(storage["bytes"], object.descriptor()["size"], "{storage}");
        let mut line = storage["state"].as_str().unwrap().to_owned();
        if let Some(kept) = storage["kept_by"].as_object() {
            let text = |key: &str| kept[key].as_str().unwrap_or("-").to_owned();
            line = format!("{} {}:{}", text("root"), text("repository"), text("tag"));
            for word in [
                names(&kept["path"], " > "),
                names(&kept["references"], ", "),
            ] {
                line.push_str(&format!(" [{word}]"));
            }
        }
        for row in storage["garbage"].as_array().unwrap() {
            assert!(!row["message"].as_str().unwrap().is_empty(), "{row}");
            let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
            let place = format!("{}:{}", text("repository"), text("tag"));
            line.push_str(&format!("; {} {place} {}", text("kind"), text("reason")));
        }
        let named_by = names(&storage["named_by"], ", ");
        if !named_by.is_empty() {
            line.push_str(&format!(" by {named_by}"));
        }
        self.tree.named(&line)
    }

    async fn tells(&self, expected: &[(&str, &str)]) {
        for (name, expected) in expected {
            assert_eq!(self.told(name).await, *expected, "{name}");
        }
    }
}

fn names(list: &Value, between: &str) -> String {
    let all = list.as_array().unwrap().iter();
    let all: Vec<&str> = all.map(|it| it.as_str().unwrap()).collect();
    all.join(between)
}

/// Of a reference to a digest of the storage's own registry.
fn reference(repository: &str, object: &Object) -> String {
    format!("{HOST}/{repository}@{}", object.digest)
}

#[tokio::test]
async fn each_thing_that_stays_is_told_with_the_way_down_to_it() {
    let now: Timestamp = SystemClock.now();
    let mut tree = Tree::new();
    let tagged = tree.image("app", "tagged");
    tree.tag("app", "v1", &tagged);
    let children = ["amd64", "arm64"].map(|name| tree.image("app", name));
    let index = tree.index("app", "index", &[&children[0], &children[1]]);
    tree.tag("app", "multi", &index);
    let signature = tree.referrer("app", "signature", &tagged);
    tree.referrer("app", "countersigned", &signature);
    let used = tree.image("app", "used");
    tree.image("app", "runs");
    let fresh = tree.image("app", "fresh");
    let second = u64::try_from(now.as_second()).unwrap();
    tree.written(tree.revision_of("app", &fresh), second);
    let named = tree.layer("app", "named");
    let future =
        json!({"schemaVersion": 7, "mediaType": "application/x.future", "of": [named.digest]});
    tree.manifest("app", "future", "application/x.future", &future);
    // Something is being pushed, for which the one may wait; the other is named by what waits.
    tree.layer("push", "waiting");
    tree.image("push", "pushed");
    let named_twice = tree.layer("push", "named-twice");
    let future = json!({"schemaVersion": 7, "mediaType": "application/x.future", "for": [named_twice.digest]});
    tree.manifest("push", "future-push", "application/x.future", &future);
    let upload = tree.repository("push").join("_uploads/0f9e");
    write(&upload.join("startedat"), now.to_string().as_bytes());
    // A link that holds no digest.
    tree.image("hurt", "hurt");
    write(&tree.tags("hurt").join("v1/current/link"), b"nonsense");
    // A tag that lost what it names.
    let lost = tree.image("half", "lost");
    tree.tag("half", "v1", &lost);
    fs::remove_dir_all(tree.tags("half").join("v1/current")).unwrap();
    // What another repository has, and needs no more.
    let shared = tree.find("tagged.layer-1");
    tree.link_layer("other", &shared);

    let scene = Scene::new(tree);
    let config = scene.tree.find("runs.config");
    let kept = [reference("app", &used), reference("app", &config)];
    scene.configure(
        &json!({"untagged": "delete", "tagHistory": "delete"}),
        &kept,
    );
    let in_use = format!("in_use -:- [used > used.layer-2] [{}]", kept[0]);
    let in_use = scene.tree.named(&in_use);
    let runs = format!(
        "in_use -:- [runs.config > runs > runs.layer-1] [{}]",
        kept[1]
    );
    let runs = scene.tree.named(&runs);
    scene
        .tells(&[
            ("tagged", "tag app:v1 [tagged] []"),
            ("tagged.config", "tag app:v1 [tagged > tagged.config] []"),
            (
                "arm64.layer-1",
                "tag app:multi [index > arm64 > arm64.layer-1] []",
            ),
            (
                "signature.layer",
                "tag app:v1 [tagged > signature > signature.layer] []",
            ),
            (
                "countersigned",
                "tag app:v1 [tagged > signature > countersigned] []",
            ),
            ("used.layer-2", &in_use),
            // A runtime says by its config what it runs.
            ("runs.layer-1", &runs),
            ("fresh.layer-1", "young -:- [fresh > fresh.layer-1] []"),
            ("named", "not_understood -:- [future > named] []"),
            ("waiting", "pushing push:- [waiting] []"),
            (
                "pushed.layer-1",
                "pushing push:- [pushed > pushed.layer-1] []",
            ),
            (
                "named-twice",
                "not_understood -:- [future-push > named-twice] []",
            ),
            ("hurt.layer-1", "damaged hurt:- [hurt.layer-1] []"),
            ("lost.config", "tag_history half:v1 [lost > lost.config] []"),
            (
                "tagged.layer-1",
                "tag app:v1 [tagged > tagged.layer-1] []; layer_link other:- unused_here",
            ),
        ])
        .await;
}

#[tokio::test]
async fn what_is_kept_by_the_configuration_says_so() {
    let mut tree = Tree::new();
    let before = tree.image("app", "before");
    tree.tag("app", "v1", &before);
    let tagged = tree.image("app", "tagged");
    tree.tag("app", "v1", &tagged);
    tree.image("app", "untagged");
    tree.image("elsewhere", "elsewhere");
    tree.image("team/far", "far");
    let scene = Scene::new(tree);
    // Loopback, which nobody asks unless it is listed.
    let kept = "127.0.0.1:9/team/far:v1".to_owned();
    let gc = json!({
        "untagged": "keep", "tagHistory": "keep", "repositories": ["app", "team/**"],
    });
    scene.configure(&gc, std::slice::from_ref(&kept));
    let far = format!("protected team/far:- [far.config] [{kept}]");
    scene
        .tells(&[
            (
                "before.config",
                "tag_history app:v1 [before > before.config] []",
            ),
            (
                "untagged.config",
                "untagged app:- [untagged > untagged.config] []",
            ),
            (
                "elsewhere.config",
                "out_of_scope elsewhere:- [elsewhere.config] []",
            ),
            ("far.config", &far),
        ])
        .await;
}

#[tokio::test]
async fn each_thing_that_goes_is_told_with_every_reason() {
    let mut tree = Tree::new();
    let before = tree.image("app", "before");
    tree.tag("app", "v1", &before);
    let tagged = tree.image("app", "tagged");
    tree.tag("app", "v1", &tagged);
    tree.referrer("app", "signature", &before);
    tree.index("app", "index", &[&before]);
    tree.layer("app", "unnamed");
    tree.data("unlinked", OCI_LAYER, b"nobody links it");
    let layers = [tree.find("before.layer-1")];
    tree.link_layer("other", &layers[0]);
    tree.image_of("other", "other", &layers);
    let scene = Scene::new(tree);
    scene.configure(&json!({"untagged": "delete", "tagHistory": "delete"}), &[]);
    scene
        .tells(&[
            // What refers to it and its own config do not name it.
            (
                "before",
                "goes; manifest app:- untagged; tag_history app:v1 superseded by index",
            ),
            ("signature", "goes; manifest app:- untagged"),
            (
                "before.config",
                "goes; config app:- named_by_garbage by before",
            ),
            ("unnamed", "goes; layer app:- unnamed"),
            ("unlinked", "goes; layer -:- unlinked"),
        ])
        .await;
    let both = scene.told("before.layer-1").await;
    let rows = "goes; layer app:- named_by_garbage; layer other:- named_by_garbage by ";
    let named_by = both.strip_prefix(rows).unwrap_or_else(|| panic!("{both}"));
    let mut named_by: Vec<&str> = named_by.split(", ").collect();
    named_by.sort_unstable();
    assert_eq!(named_by, ["before", "other"]);
}
