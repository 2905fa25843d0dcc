//! A registry with images that were pushed to it, and whoever decides about their tags.

use std::fs::{self, File, FileTimes};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::{SignedDuration, Unit};
use pullproof::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::cli::run::{Ended, pullproof_in};
use crate::support::http::client;
use crate::support::registry::{Options, Registry, Version};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DAY: Duration = Duration::from_hours(24);

#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) registry: Registry,
    _root: Option<TempDir>,
    home: TempDir,
}

/// A manifest as it was pushed.
#[derive(Debug, Clone)]
pub(crate) struct Pushed {
    pub(crate) digest: String,
    size: usize,
    media_type: &'static str,
}

impl Pushed {
    fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.size})
    }
}

impl Shop {
    /// With deletion enabled, and nothing in use.
    pub(crate) async fn start(version: Version) -> Self {
        let root = tempfile::tempdir().unwrap();
        let registry = Registry::start(Options::new(version, root.path()).with_deletes()).await;
        Self::over(registry, Some(root))
    }

    pub(crate) fn over(registry: Registry, root: Option<TempDir>) -> Self {
        let shop = Self {
            registry,
            _root: root,
            home: tempfile::tempdir().unwrap(),
        };
        shop.keep(&[]);
        // Until a test says by which policies, none are deleted by.
        shop.configure(&json!([]), |text| {
            text["retention"]["mode"] = json!("plan");
        });
        shop
    }

    pub(crate) fn at(&self, reference: &str) -> String {
        format!("{}/{reference}", self.registry.host())
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// What is in use.
    pub(crate) fn keep(&self, references: &[&str]) {
        let lines = references.iter().map(|it| self.at(it) + "\n");
        let text = "# What runs.\n".to_owned() + &lines.collect::<String>();
        fs::write(self.home.path().join("keep.txt"), text).unwrap();
    }

    /// In a window that is open, with nothing that waits.
    pub(crate) fn configure(&self, policies: &Value, change: impl FnOnce(&mut Value)) {
        let opened = SystemClock.now() - SignedDuration::from_mins(10);
        let opened = opened.round(Unit::Minute).unwrap();
        let opened = opened.to_zoned(jiff::tz::TimeZone::UTC);
        let schedule = format!("{} {} * * *", opened.minute(), opened.hour());
        let mut text = json!({
            "inventory": {"references": [{"name": "keep", "file": self.home.path().join("keep.txt")}]},
            "registries": [{
                "host": self.registry.host(), "plainHttp": true, "kind": "distribution",
                "storage": {"filesystem": {"root": self.registry.root()}},
            }],
            "gc": {
                "mode": "quarantine", "untagged": "delete", "tagHistory": "delete", "rehearsal": "0s",
                "minimumAge": "0s", "longestRequest": "1s", "watchEvery": "1s", "quarantineFor": "1s",
                "maxCollectPercent": 100, "alarmPercent": 100, "settle": {"cache": "none"},
                "windows": [{"name": "now", "schedule": schedule, "duration": "2h"}],
            },
            "retention": {"mode": "delete", "rehearsal": "0s", "policies": policies},
            "state": {"directory": self.home.path().join("state")},
        });
        change(&mut text);
        let file = self.home.path().join("pullproof.yaml");
        fs::write(file, text.to_string()).unwrap();
    }

    /// What is configured, for a daemon, which has a state directory of its own.
    pub(crate) fn as_daemon(&self) -> String {
        let text = fs::read(self.home.path().join("pullproof.yaml")).unwrap();
        let mut parts: Value = serde_json::from_slice(&text).unwrap();
        let parts = parts.as_object_mut().unwrap();
        parts.remove("state");
        let verify = json!({"interval": "2s", "blobInterval": "2s"});
        parts.insert("verify".to_owned(), verify);
        let parts = parts.iter().map(|(key, part)| format!("{key}: {part}\n"));
        parts.collect()
    }

    pub(crate) async fn run(&self, words: &[&str]) -> Ended {
        pullproof_in(self.home.path(), words).await
    }

    /// The same, as a script reads it.
    pub(crate) async fn json(&self, words: &[&str]) -> (i32, Value) {
        let all: Vec<&str> = words.iter().copied().chain(["-o", "json"]).collect();
        let ended = self.run(&all).await;
        (ended.code, ended.json())
    }

    /// An image of one layer, under a tag or by its digest.
    pub(crate) async fn push(&self, repository: &str, tag: Option<&str>, content: &str) -> Pushed {
        self.push_for(repository, tag, content, None).await
    }

    /// The same, which refers to another.
    pub(crate) async fn push_for(
        &self,
        repository: &str,
        tag: Option<&str>,
        content: &str,
        subject: Option<&Pushed>,
    ) -> Pushed {
        let plain = tar(content);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::none());
        gzip.write_all(&plain).unwrap();
        let archive = gzip.finish().unwrap();
        let layer = self.blob(repository, &archive).await;
        let config = json!({"architecture": "amd64", "os": "linux", "of": content, "rootfs": {"type": "layers", "diff_ids": [digest(&plain)]}});
        let config = config.to_string();
        let config_digest = self.blob(repository, config.as_bytes()).await;
        let mut body = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config.len()},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer, "size": archive.len()}],
        });
        if let Some(subject) = subject {
            body["subject"] = subject.descriptor();
        }
        self.put(repository, tag, &body, MANIFEST).await
    }

    pub(crate) async fn index(&self, repository: &str, tag: &str, children: &[&Pushed]) -> Pushed {
        let children: Vec<Value> = children.iter().map(|it| it.descriptor()).collect();
        let body = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children});
        self.put(repository, Some(tag), &body, INDEX).await
    }

    /// Another tag for what was pushed.
    pub(crate) async fn tag(&self, repository: &str, tag: &str, pushed: &Pushed) {
        let url = format!("{}/v2/{repository}/manifests", self.registry.url());
        let get = client().get(format!("{url}/{}", pushed.digest));
        let body = get
            .header("accept", pushed.media_type)
            .send()
            .await
            .unwrap();
        let body = body.error_for_status().unwrap().bytes().await.unwrap();
        let put = client().put(format!("{url}/{tag}")).body(body);
        let put = put.header("content-type", pushed.media_type).send().await;
        put.unwrap().error_for_status().unwrap();
    }

    async fn put(
        &self,
        repository: &str,
        tag: Option<&str>,
        body: &Value,
        media_type: &'static str,
    ) -> Pushed {
        let body = body.to_string();
        let digest = digest(body.as_bytes());
        let reference = tag.unwrap_or(&digest);
        let url = format!(
            "{}/v2/{repository}/manifests/{reference}",
            self.registry.url()
        );
        let put = client().put(url).header("content-type", media_type);
        let answer = put.body(body.clone()).send().await.unwrap();
        answer.error_for_status().unwrap();
        Pushed {
            size: body.len(),
            digest,
            media_type,
        }
    }

    async fn blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        let url = format!("{}/v2/{repository}/blobs/uploads/", self.registry.url());
        let begin = client().post(url).header("content-length", "0");
        let begun = begin.send().await.unwrap().error_for_status().unwrap();
        let location = begun.headers()["location"].to_str().unwrap();
        let path = location.split_once("/v2/").unwrap().1;
        let separator = if path.contains('?') { '&' } else { '?' };
        let url = format!(
            "{}/v2/{path}{separator}digest={digest}",
            self.registry.url()
        );
        let put = client().put(url).body(bytes.to_vec());
        let put = put.header("content-type", "application/octet-stream");
        put.send().await.unwrap().error_for_status().unwrap();
        digest
    }

    /// As if a tag had been pushed so many days ago.
    pub(crate) fn age(&self, repository: &str, tag: &str, days: u32) {
        let tags = "docker/registry/v2/repositories";
        let path = self.registry.root().join(tags).join(repository);
        let path = path.join("_manifests/tags").join(tag);
        let now: SystemTime = SystemClock.now().into();
        let at = now - DAY * days;
        for file in crate::plan::tree::files(&path) {
            let file = File::options().write(true).open(file).unwrap();
            file.set_times(FileTimes::new().set_modified(at)).unwrap();
        }
    }

    /// The tags that the registry lists, in order.
    pub(crate) async fn tags(&self, repository: &str) -> Vec<String> {
        let url = format!("{}/v2/{repository}/tags/list", self.registry.url());
        let answer = client().get(url).send().await.unwrap();
        if answer.status() == reqwest::StatusCode::NOT_FOUND {
            return Vec::new();
        }
        let body = answer.bytes().await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let tags = body["tags"].as_array().cloned().unwrap_or_default();
        let mut tags: Vec<String> = tags.iter().map(|it| it.as_str().unwrap().into()).collect();
        tags.sort();
        tags
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }
}

/// An archive with one file.
fn tar(content: &str) -> Vec<u8> {
    let mut header = vec![0_u8; 512];
    let mut field = |at: usize, text: &str| {
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
    };
    field(0, "content");
    field(100, "0000644\x000000000\x000000000\x00");
    field(
        124,
        &format!("{:011o}\x0000000000000\x00        0", content.len()),
    );
    field(257, "ustar\x0000");
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\x00 ").as_bytes());
    let mut archive = header;
    archive.extend_from_slice(content.as_bytes());
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

/// What of a plan goes, as `REPOSITORY:TAG`.
pub(crate) fn going(view: &Value) -> Vec<String> {
    let rows = view["delete"].as_array().unwrap().iter();
    let name = |row: &Value| {
        format!(
            "{}:{}",
            row["repository"].as_str().unwrap(),
            row["tag"].as_str().unwrap()
        )
    };
    rows.map(name).collect()
}

/// Why a tag stays: its classes and the reason.
pub(crate) fn staying(view: &Value, repository: &str, tag: &str) -> (Vec<String>, String) {
    let mut rows = view["keep"].as_array().unwrap().iter();
    let row = rows
        .find(|row| row["repository"] == repository && row["tag"] == tag)
        .unwrap_or_else(|| panic!("{repository}:{tag} does not stay: {view:#}"));
    let classes = row["classes"].as_array().unwrap().iter();
    let classes = classes.map(|it| it.as_str().unwrap().to_owned()).collect();
    (classes, row["reason"].as_str().unwrap().to_owned())
}

/// The codes of what is closed.
pub(crate) fn codes(view: &Value) -> Vec<String> {
    let refusals = view["refusals"].as_array().unwrap().iter();
    refusals
        .map(|it| it["code"].as_str().unwrap().to_owned())
        .collect()
}

/// What came of each tag that was to be deleted.
pub(crate) fn outcomes(view: &Value) -> Vec<String> {
    let removed = view["removed"].as_array().unwrap().iter();
    let outcome = |it: &Value| {
        let outcome = &it["outcome"];
        let told = outcome.as_str().map(ToOwned::to_owned);
        let told = told.or_else(|| Some(format!("kept: {}", outcome["kept"].as_str()?)));
        format!(
            "{}:{} {}",
            it["repository"].as_str().unwrap(),
            it["tag"].as_str().unwrap(),
            told.unwrap_or_else(|| "unknown".to_owned())
        )
    };
    let mut all: Vec<String> = removed.map(outcome).collect();
    all.sort();
    all
}
