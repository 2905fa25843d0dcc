//! `gc plan` at the command line: what it refuses, and in which forms it says what goes.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::run::{Ended, pullproof, pullproof_in, run};
use crate::support::daemon;
use crate::support::parts::{self, require};

const HOST: &str = "registry.example:5000";
/// When nothing of a tree that was just written is young any more.
const LATER: [&str; 2] = ["--now", "2126-01-01T00:00:00Z"];

/// A storage with ten tags in each of two repositories, all of which a list names, and a configuration.
struct Scene {
    home: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("registry");
        let written = pullproof(&[
            "bench-corpus",
            "--root",
            root.to_str().unwrap(),
            "--repositories",
            "2",
            "--host",
            HOST,
        ])
        .await;
        assert_eq!(written.code, 0, "{written:?}");
        let scene = Self { home };
        scene.write("keep.txt", "# nothing\n");
        scene.configure("inventory: {references: [{name: keep, file: keep.txt}]}");
        scene
    }

    fn configure(&self, inventory: &str) {
        let text = format!(
            "{inventory}\nregistries: [{{host: \"{HOST}\", kind: distribution, single: true, storage: {{filesystem: {{root: registry}}}}}}]\n\
             gc: {{untagged: delete, tagHistory: delete}}\nstate: {{directory: state}}\n"
        );
        self.write("pullproof.yaml", &text);
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.home.path().join(name), text).unwrap();
    }

    fn tree(&self, path: &str) -> std::path::PathBuf {
        let root = self.home.path().join("registry/docker/registry/v2");
        root.join(path)
    }

    async fn plan(&self, more: &[&str]) -> Ended {
        let arguments: Vec<&str> = ["gc", "plan"]
            .iter()
            .chain(&LATER)
            .chain(more)
            .copied()
            .collect();
        pullproof_in(self.home.path(), &arguments).await
    }

    async fn json(&self) -> Value {
        let ended = self.plan(&["-o", "json"]).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.json()
    }

    fn untag(&self, repository: &str, tag: &str) {
        let path = format!("repositories/bench/{repository}/_manifests/tags/{tag}");
        std::fs::remove_dir_all(self.tree(&path)).unwrap();
    }

    /// The only reason why there is no plan.
    async fn refusal(&self) -> (String, String) {
        let ended = self.plan(&["-o", "json"]).await;
        assert_eq!(ended.code, 3, "{ended:?}");
        let view = ended.json();
        assert!(view["plan"].is_null() && view["counts"].is_null(), "{view}");
        assert_eq!(view["garbage"], Value::Array(Vec::new()));
        let [refusal] = view["refusals"].as_array().unwrap().as_slice() else {
            panic!("{view}");
        };
        let text = |key: &str| refusal[key].as_str().unwrap().to_owned();
        (text("code"), text("message"))
    }
}

fn codes(view: &Value) -> Vec<&str> {
    let refusals = view["refusals"].as_array().unwrap().iter();
    refusals.map(|it| it["code"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_plan_is_the_same_bytes_again_and_tells_what_changed() {
    let scene = Scene::new().await;
    let nothing = scene.json().await;
    assert_eq!(nothing["garbage"], Value::Array(Vec::new()));
    assert_eq!(codes(&nothing), ["plan_only"]);
    let before = scene.plan(&["-o", "jsonl"]).await.stdout;
    scene.write("before.jsonl", &before);

    scene.untag("app-0001", "v1.3");
    let first = scene.plan(&["-o", "json"]).await;
    let again = scene.plan(&["-o", "json"]).await;
    assert_eq!(first.stdout, again.stdout);
    let view = first.json();
    assert_ne!(view["plan"], nothing["plan"]);
    let garbage = view["garbage"].as_array().unwrap();
    assert!(
        garbage
            .iter()
            .all(|it| it["repository"] == "bench/app-0001")
    );
    let bytes: u64 = garbage.iter().map(|it| it["bytes"].as_u64().unwrap()).sum();
    assert_eq!(view["counts"]["garbage_bytes"], bytes);
    let kinds: Vec<&str> = garbage
        .iter()
        .map(|it| it["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "manifest").count(), 3);

    let lines = scene.plan(&["-o", "jsonl"]).await.stdout;
    let rows: Vec<Value> = lines
        .lines()
        .skip(1)
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows, *garbage);
    scene.write("after.jsonl", &lines);
    let difference = scene
        .plan(&["--diff", "before.jsonl", "-o", "json"])
        .await
        .json();
    assert_eq!(difference["added"].as_array().unwrap().len(), garbage.len());
    assert_eq!(difference["removed"], Value::Array(Vec::new()));
    let same = scene.plan(&["--diff", "after.jsonl"]).await;
    assert!(same.stdout.contains("The same would go."), "{same:?}");
    let wrong = scene.plan(&["--diff", "keep.txt"]).await;
    assert_eq!(wrong.code, 64, "{wrong:?}");
    assert!(
        wrong.stderr.contains("keep.txt: it is no plan"),
        "{wrong:?}"
    );
    let summary = scene.plan(&["--summary", "-o", "json"]).await.json();
    assert!(summary["garbage"].is_null());
    assert_eq!(summary["counts"], view["counts"]);
}

#[tokio::test]
async fn what_is_not_known_to_be_all_is_no_keep_set() {
    let scene = Scene::new().await;
    scene.write(
        "keep.txt",
        &format!("{HOST}/bench/app-0000:v1.1\nno reference at all\n"),
    );
    let view = scene.json().await;
    assert_eq!(codes(&view), ["inventory_incomplete", "plan_only"]);
    let message = view["refusals"][0]["message"].as_str().unwrap();
    assert!(message.contains("no reference at all"), "{message}");

    std::fs::create_dir(scene.home.path().join("deploy")).unwrap();
    scene.write("deploy/bad.yaml", "kind: [");
    scene.configure("inventory: {manifests: [{name: gitops, path: deploy}]}");
    let (code, message) = scene.refusal().await;
    assert_eq!(code, "inventory_incomplete");
    assert!(
        message.contains("gitops") && message.contains("bad.yaml"),
        "{message}"
    );
}

#[tokio::test]
async fn a_storage_of_somebody_else_is_refused_with_what_to_do_instead() {
    let scene = Scene::new().await;
    let root = scene.home.path().join("registry");
    let marked = |path: &str| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "{}").unwrap();
        path
    };
    for (marker, words) in [
        ("scheduler-state.json", "proxy.ttl"),
        ("docker/registry/lockfiles/database-in-use", "GitLab"),
    ] {
        let marker = marked(marker);
        let (code, message) = scene.refusal().await;
        assert_eq!(code, "storage_unsupported");
        assert!(message.contains(words), "{message}");
        std::fs::remove_file(&marker).unwrap();
    }
    scene.json().await;
    std::fs::rename(&root, scene.home.path().join("moved")).unwrap();
    std::fs::create_dir(&root).unwrap();
    let (code, message) = scene.refusal().await;
    assert_eq!(code, "storage_unsupported");
    assert!(message.contains("rootdirectory"), "{message}");
    marked("team/app/oci-layout");
    marked("team/app/index.json");
    let (code, message) = scene.refusal().await;
    assert_eq!(code, "storage_unsupported");
    assert!(message.contains("zot"), "{message}");
}

#[tokio::test]
async fn a_plan_that_takes_too_much_says_so_and_a_digest_says_why_it_stays() {
    let scene = Scene::new().await;
    for tag in 0..9 {
        scene.untag("app-0000", &format!("v1.{tag}"));
        scene.untag("app-0001", &format!("v1.{tag}"));
    }
    let view = scene.json().await;
    assert_eq!(codes(&view), ["share_exceeded", "plan_only"]);

    let link = scene.tree("repositories/bench/app-0000/_manifests/tags/v1.9/current/link");
    let index = std::fs::read_to_string(link).unwrap();
    let child = child_of(&scene.tree("blobs/sha256"), &index);
    let explained = pullproof_in(scene.home.path(), &["explain", &child, "-o", "json"]).await;
    let storage = &explained.json()["storages"][0];
    assert_eq!(storage["state"], "kept", "{storage}");
    let kept = &storage["kept_by"];
    assert_eq!(
        (&kept["root"], &kept["tag"]),
        (&"tag".into(), &"v1.9".into())
    );
    assert_eq!(kept["path"], serde_json::json!([index, child]));
}

/// Nobody knows which registry is meant by a host without an entry: it may be another name of this one.
#[tokio::test]
async fn a_path_that_a_host_without_an_entry_names_keeps_its_repository() {
    let scene = Scene::new().await;
    scene.untag("app-0000", "v1.1");
    scene.untag("app-0001", "v1.1");
    let rows = async || {
        let view = scene.json().await;
        let rows = view["garbage"].as_array().unwrap().iter();
        let mut named: Vec<String> = rows
            .map(|it| it["repository"].as_str().unwrap().to_owned())
            .collect();
        named.dedup();
        (named, view["protected"].clone())
    };
    let both = ["bench/app-0000", "bench/app-0001"].map(ToOwned::to_owned);
    assert_eq!(rows().await, (both.to_vec(), json!([])));

    // Whatever the tag is, and whether there is one of it.
    let reference = "old.example/bench/app-0000:v9";
    scene.write(
        "keep.txt",
        &format!("{reference}\nold.example/nobodys:v1\n"),
    );
    let protected = json!([{"repository": "bench/app-0000", "reference": reference}]);
    assert_eq!(rows().await, (vec![both[1].clone()], protected));
    let table = scene.plan(&[]).await.stdout;
    let warned = format!("bench/app-0000 keeps everything: {reference} may mean it");
    assert!(table.contains(&warned), "{table}");

    // By a host that has an entry another registry is meant.
    let entries = format!(
        "inventory: {{references: [{{name: keep, file: keep.txt}}]}}\n\
         registries: [{{host: \"{HOST}\", kind: distribution, storage: {{filesystem: {{root: registry}}}}}}, \
         {{host: old.example}}]\ngc: {{untagged: delete, tagHistory: delete}}\n"
    );
    scene.write("pullproof.yaml", &entries);
    assert_eq!(rows().await, (both.to_vec(), json!([])));
}

/// On a terminal it is told how far it is, and nowhere else.
#[tokio::test]
async fn who_waits_at_a_terminal_sees_how_far_it_is() {
    require!("script");
    let scene = Scene::new().await;
    let plain = scene.plan(&["--summary"]).await;
    assert_eq!((plain.code, plain.stderr.as_str()), (0, ""), "{plain:?}");
    let words = [
        daemon::binary().to_str().unwrap(),
        "gc",
        "plan",
        "--summary",
        LATER[0],
        LATER[1],
    ];
    let mut command = Command::new(parts::path("script"));
    // Nothing but the bar goes to the terminal.
    let line = format!("{} > plan.txt", words.join(" "));
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    command.current_dir(scene.home.path());
    let ended = run(command, "").await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let drawn = ended.stdout;
    assert!(drawn.contains("listed "), "{drawn:?}");
    // The line is taken away in the end.
    let last = drawn.rsplit("listed ").next().unwrap_or_default();
    assert!(
        last.contains("\u{1b}[2K") || last.contains("\u{1b}[K"),
        "{drawn:?}"
    );
    let plan = std::fs::read_to_string(scene.home.path().join("plan.txt")).unwrap();
    assert!(plan.contains("Nothing was changed."), "{plan}");
}

/// The first manifest that an index lists.
fn child_of(blobs: &Path, index: &str) -> String {
    let hex = index.strip_prefix("sha256:").unwrap();
    let data = blobs.join(&hex[..2]).join(hex).join("data");
    let index: Value = serde_json::from_slice(&std::fs::read(data).unwrap()).unwrap();
    index["manifests"][0]["digest"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_a_configuration_lacks_is_said_with_the_configuration_that_was_read() {
    let home = tempfile::tempdir().unwrap();
    let ended = pullproof_in(home.path(), &["gc", "plan"]).await;
    assert_eq!(ended.code, 64, "{ended:?}");
    for told in [
        "error: no registry has a storage; write in the configuration\n  registries:",
        "no configuration was read: there is no pullproof.yaml here",
        "neither --config nor PULLPROOF_CONFIG names one",
    ] {
        assert!(ended.stderr.contains(told), "{ended:?}");
    }
    let file = home.path().join("other.yaml");
    std::fs::write(&file, "registries: [{host: registry.example}]\n").unwrap();
    let named = ["gc", "plan", "--config", file.to_str().unwrap()];
    let ended = pullproof_in(home.path(), &named).await;
    assert_eq!(ended.code, 64, "{ended:?}");
    let told = format!("(configuration: {})", file.display());
    assert!(ended.stderr.contains(&told), "{ended:?}");
}
