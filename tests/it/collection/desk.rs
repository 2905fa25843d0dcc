//! A storage tree, the registry that serves it, and whoever collects it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jiff::{SignedDuration, Unit};
use pullproof::clock::{Clock as _, SystemClock};
use pullproof::collection::jobs::told::Told;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::plan::tree::{Tree, files, sound};
use crate::support::daemon;
use crate::support::http::client;
use crate::support::registry::{Options, Registry, Version};
use crate::support::wait::wait_until;

/// Files with their bytes.
pub(crate) type Content = BTreeMap<PathBuf, Vec<u8>>;

#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) tree: Tree,
    pub(crate) registry: Registry,
    home: TempDir,
}

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) code: Option<i32>,
    pub(crate) view: Value,
    pub(crate) stderr: String,
}

impl Answered {
    pub(crate) fn codes(&self) -> Vec<&str> {
        let all = self.view["refusals"].as_array();
        let all = all.unwrap_or_else(|| panic!("{self:?}")).iter();
        all.map(|it| it["code"].as_str().unwrap()).collect()
    }

    pub(crate) fn result(&self) -> &str {
        let result = self.view["result"].as_str();
        result.unwrap_or_else(|| panic!("{self:?}"))
    }

    pub(crate) fn run(&self) -> String {
        self.view["run"].as_str().unwrap().to_owned()
    }
}

/// Collects until something is purged: by a listing that is younger than all pushes that were let through
/// before it settled.
pub(crate) async fn until_purged(run: impl AsyncFn() -> Answered) {
    let bound = std::time::Duration::from_secs(60);
    wait_until("what is due is purged", bound, async || {
        let ran = run().await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        (ran.result() == "purged").then_some(())
    })
    .await;
}

impl Desk {
    /// An image with a tag and one that nothing leads to, under a registry without cache.
    pub(crate) async fn start(version: Version) -> Self {
        let desk = Self::over(version, sound()).await;
        desk.keep(&["app:v1"]);
        desk
    }

    /// Any tree, under a registry without cache. Nothing is in use.
    pub(crate) async fn over(version: Version, tree: Tree) -> Self {
        tree.age();
        let options = Options::new(version, tree.root()).with_deletes();
        let registry = Registry::start(options).await;
        let desk = Self {
            tree,
            registry,
            home: tempfile::tempdir().unwrap(),
        };
        desk.configure("quarantine", "");
        desk.keep(&[]);
        desk
    }

    pub(crate) fn at(&self, reference: &str) -> String {
        format!("{}/{reference}", self.registry.host())
    }

    /// What is in use.
    pub(crate) fn keep(&self, references: &[&str]) {
        let lines = references.iter().map(|it| self.at(it) + "\n");
        let text = "# What runs.\n".to_owned() + &lines.collect::<String>();
        fs::write(self.home.path().join("keep.txt"), text).unwrap();
    }

    /// With everything that waits turned down, in a window that is open, unless `more` says otherwise.
    pub(crate) fn configure(&self, mode: &str, more: &str) {
        let text = self.configuration(mode, more).to_string();
        fs::write(self.home.path().join("pullproof.yaml"), text).unwrap();
    }

    /// The same for a daemon, which has a state directory of its own.
    pub(crate) fn of_daemon(&self, mode: &str) -> String {
        Self::daemons(self.configuration(mode, ""))
    }

    /// What is configured, for a daemon.
    pub(crate) fn as_daemon(&self) -> String {
        let text = fs::read(self.file()).unwrap();
        Self::daemons(serde_json::from_slice(&text).unwrap())
    }

    fn daemons(mut parts: Value) -> String {
        let parts = parts.as_object_mut().unwrap();
        parts.remove("state");
        parts.insert(
            "verify".to_owned(),
            json!({"interval": "2s", "blobInterval": "2s"}),
        );
        let parts = parts.iter().map(|(key, part)| format!("{key}: {part}\n"));
        parts.collect()
    }

    fn configuration(&self, mode: &str, more: &str) -> Value {
        let now = SystemClock.now() - SignedDuration::from_mins(10);
        let opened = now
            .round(Unit::Minute)
            .unwrap()
            .to_zoned(jiff::tz::TimeZone::UTC);
        let schedule = format!("{} {} * * *", opened.minute(), opened.hour());
        let window = json!({"name": "now", "schedule": schedule, "duration": "2h"});
        let mut gc = json!({
            "mode": mode, "untagged": "delete", "tagHistory": "delete", "rehearsal": "0s",
            "minimumAge": "1h", "longestRequest": "1s", "watchEvery": "1s", "quarantineFor": "1s",
            "maxCollectPercent": 100, "alarmPercent": 100, "settle": {"cache": "none"},
            "windows": [window],
        });
        let more: Value = serde_json::from_str(&format!("{{{more}}}")).unwrap();
        for (key, value) in more.as_object().unwrap() {
            gc[key] = value.clone();
        }
        json!({
            "inventory": {"references": [{"name": "keep", "file": self.home.path().join("keep.txt")}]},
            "registries": [{
                "host": self.registry.host(), "plainHttp": true, "kind": "distribution",
                "storage": {"filesystem": {"root": self.tree.root()}},
            }],
            "gc": gc,
            "state": {"directory": self.home.path().join("state")},
        })
    }

    /// Changes what is configured.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Value)) {
        let file = self.file();
        let mut text: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        change(&mut text);
        fs::write(file, text.to_string()).unwrap();
    }

    /// Whoever collects has this cluster for its current context.
    pub(crate) fn use_cluster(&self, kubeconfig: &Path) {
        let directory = self.home.path().join(".kube");
        fs::create_dir_all(&directory).unwrap();
        fs::copy(kubeconfig, directory.join("config")).unwrap();
    }

    /// Where it is configured, and what runs there.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.home.path().join("pullproof.yaml")
    }

    pub(crate) async fn gc(&self, words: &[&str]) -> Answered {
        self.gc_below(&[], words).await
    }

    /// What it says last, for whoever started it, besides.
    pub(crate) async fn gc_with_last_words(&self, words: &[&str]) -> (Answered, Told) {
        let file = self.home.path().join("termination-log");
        let words = [words, &["--termination-log", file.to_str().unwrap()]].concat();
        let ran = self.gc(&words).await;
        let text = fs::read_to_string(&file).unwrap();
        (ran, Told::parse(&text).unwrap())
    }

    /// What it says to people.
    pub(crate) async fn gc_in_words(&self, words: &[&str]) -> String {
        let mut command = daemon::command(self.home.path());
        command.arg("gc").args(words);
        let ended = tokio::task::spawn_blocking(move || command.output().unwrap());
        String::from_utf8(ended.await.unwrap().stdout).unwrap()
    }

    /// Below another program.
    pub(crate) async fn gc_below(&self, above: &[OsString], words: &[&str]) -> Answered {
        let mut command = daemon::command(self.home.path());
        if let Some((first, rest)) = above.split_first() {
            let plain = command;
            command = Command::new(first);
            command.env_clear().current_dir(self.home.path()).args(rest);
            command.arg(plain.get_program());
            for (name, value) in plain.get_envs() {
                command.env(name, value.unwrap_or_default());
            }
        }
        command.arg("gc").args(words).args(["-o", "json"]);
        let ended = tokio::task::spawn_blocking(move || command.output().unwrap());
        let ended = ended.await.unwrap();
        Answered {
            code: ended.status.code(),
            view: serde_json::from_slice(&ended.stdout).unwrap_or_default(),
            stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
        }
    }

    /// The registry again, with a cache in memory.
    pub(crate) async fn cache(&mut self) {
        let options = Options::new(Version::V3, self.tree.root());
        self.registry.stop();
        self.registry = Registry::start(options.with_deletes().with_descriptor_cache()).await;
        self.configure("quarantine", "");
        self.keep(&["app:v1"]);
    }

    pub(crate) async fn head(&self, repository: &str, digest: &str) {
        let url = format!("{}/v2/{repository}/blobs/{digest}", self.registry.url());
        let answer = client().head(url).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
    }

    pub(crate) fn root(&self) -> &Path {
        self.tree.root()
    }

    /// Every file of the registry's own, with its content.
    pub(crate) fn content(&self) -> Content {
        let all = files(&self.tree.v2()).into_iter();
        all.map(|file| {
            let content = fs::read(&file).unwrap();
            (file, content)
        })
        .collect()
    }

    /// Files that a run holds, below its quarantine.
    pub(crate) fn held(&self) -> Vec<PathBuf> {
        let quarantine = self.root().join("pullproof/quarantine");
        if quarantine.exists() {
            files(&quarantine)
        } else {
            Vec::new()
        }
    }
}
