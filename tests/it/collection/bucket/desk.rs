//! A bucket with a storage tree, the registry that serves it, and whoever collects it: through a man between,
//! who counts, kills and answers.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Unit};
use pullproof::clock::{Clock as _, SystemClock};
use pullproof::storage::s3::{Fence, PutNew, Removed, S3};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::collection::desk::Answered;
use crate::plan::tree::{Tree, files, sound};
use crate::storage::between::{Between, Hook};
use crate::storage::tree::Reader;
use crate::support;
use crate::support::clients::Clients;
use crate::support::daemon;
use crate::support::process::run_well;
use crate::support::registry::{Options, Registry, Version};
use crate::support::s3::{ACCESS_KEY, BUCKET, SECRET_KEY};

/// 2026-01-01T00:00:00Z, when all was pushed.
const OLD: u64 = 1_767_225_600;
/// How often a bucket is looked at that changes meanwhile.
const LOOKS: usize = 20;

/// Objects with their bytes.
pub(crate) type Content = BTreeMap<String, Vec<u8>>;

pub(crate) struct Store {
    /// What was pushed, as it would be on a disk.
    pub(crate) tree: Tree,
    pub(crate) server: support::s3::S3,
    pub(crate) between: Between,
    pub(crate) registry: Registry,
    /// Past the man between.
    pub(crate) s3: S3,
    reader: Reader,
    home: TempDir,
    /// Requests in flight.
    pub(crate) concurrency: u32,
    /// Of whoever collects now.
    pub(crate) process: watch::Sender<Option<Pid>>,
}

impl Store {
    /// An image with a tag and two that nothing leads to.
    pub(crate) async fn start(version: Version, has_versions: bool) -> Self {
        let server = if has_versions {
            support::s3::S3::start_with_versions().await
        } else {
            support::s3::S3::start().await
        };
        let tree = sound();
        let between = Between::start(&server.host());
        let port = server.host().rsplit(':').next().unwrap().parse().unwrap();
        let reader = Reader::new(port);
        let s3 = reader.open();
        let options = Options::over_s3(version, &server).with_deletes();
        let registry = Registry::start(options).await;
        let store = Self {
            tree,
            server,
            between,
            registry,
            s3,
            reader,
            home: tempfile::tempdir().unwrap(),
            concurrency: 64,
            process: watch::Sender::default(),
        };
        for file in files(store.tree.root()) {
            let path = file.strip_prefix(store.tree.root()).unwrap();
            store
                .push(path.to_str().unwrap(), &fs::read(&file).unwrap())
                .await;
        }
        store.age();
        let key = format!(
            "[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
        );
        fs::write(store.home.path().join("key"), key).unwrap();
        store.configure("quarantine", "");
        store.keep(&["app:v1"]);
        store
    }

    /// Past the man between, once more.
    pub(crate) fn reader(&self) -> S3 {
        self.reader.open()
    }

    /// As a registry writes it.
    pub(crate) async fn push(&self, path: &str, content: &[u8]) {
        let put = self.s3.put_new(path, content).await.unwrap();
        assert!(matches!(put, PutNew::Written { .. }), "{path}");
    }

    /// As if all of the registry's had been pushed long ago.
    pub(crate) fn age(&self) {
        for file in files(&self.server.bucket().join("docker")) {
            set_time(&file, SystemTime::UNIX_EPOCH + Duration::from_secs(OLD));
        }
    }

    /// As if an hour had passed since whoever had the lock was killed.
    pub(crate) fn outlive_the_lock(&self) {
        let lock = self.server.bucket().join("pullproof/lock");
        if lock.exists() {
            let now = u64::try_from(SystemClock.now().as_second()).unwrap();
            let then = Duration::from_secs(now - 3600);
            set_time(&lock, SystemTime::UNIX_EPOCH + then);
        }
    }

    /// What is there now, to come back to.
    pub(crate) async fn snapshot(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        for (number, directory) in (0..).zip(self.server.directories()) {
            copy_all(&directory, &copy.path().join(number.to_string())).await;
        }
        copy
    }

    pub(crate) async fn reset(&self, snapshot: &TempDir) {
        for (number, directory) in (0..).zip(self.server.directories()) {
            for entry in fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    fs::remove_dir_all(path).unwrap();
                } else {
                    fs::remove_file(path).unwrap();
                }
            }
            copy_all(&snapshot.path().join(number.to_string()), &directory).await;
        }
        self.between.heal();
    }

    /// Kills whoever collects.
    pub(crate) fn killer(&self) -> Hook {
        let process = self.process.subscribe();
        Arc::new(move || {
            let mut process = process.clone();
            Box::pin(async move {
                // It may ask before whoever started it comes to note which it is.
                let started = process.wait_for(Option::is_some).await;
                let process = started
                    .expect("the store is still there")
                    .expect("it is some");
                kill_process(process, Signal::KILL).unwrap();
            })
        })
    }

    /// Takes a tag away with its history, as a registry does.
    pub(crate) async fn untag(&self, repository: &str, tag: &str) {
        let tag = format!("docker/registry/v2/repositories/{repository}/_manifests/tags/{tag}/");
        for file in self.s3.files(&tag).await.unwrap() {
            let now = self.s3.current(&file.path).await.unwrap().unwrap();
            let etag = now.etag.unwrap();
            let removed = self.s3.remove(&file.path, &etag, Fence::NONE).await;
            assert_eq!(removed.unwrap(), Removed::Now, "{}", file.path);
        }
    }

    pub(crate) fn at(&self, reference: &str) -> String {
        format!("{}/{reference}", self.registry.host())
    }

    /// What is in use.
    pub(crate) fn keep(&self, references: &[&str]) {
        let lines = references.iter().map(|it| self.at(it) + "\n");
        let text: String = lines.collect();
        fs::write(self.home.path().join("keep.txt"), text).unwrap();
    }

    /// With everything that waits turned down, in a window that is open, unless `more` says otherwise.
    pub(crate) fn configure(&self, mode: &str, more: &str) {
        let now = SystemClock.now() - SignedDuration::from_mins(10);
        let opened = now
            .round(Unit::Minute)
            .unwrap()
            .to_zoned(jiff::tz::TimeZone::UTC);
        let schedule = format!("{} {} * * *", opened.minute(), opened.hour());
        let window = json!({"name": "now", "schedule": schedule, "duration": "2h"});
        let mut gc = json!({
            "mode": mode, "untagged": "delete", "tagHistory": "delete", "rehearsal": "0s",
            "minimumAge": "1h", "longestRequest": "0s", "watchEvery": "0s", "quarantineFor": "0s",
            "maxCollectPercent": 100, "alarmPercent": 100, "settle": {"cache": "none"},
            "windows": [window],
        });
        let more: Value = serde_json::from_str(&format!("{{{more}}}")).unwrap();
        for (key, value) in more.as_object().unwrap() {
            gc[key] = value.clone();
        }
        let text = json!({
            "inventory": {"references": [{"name": "keep", "file": "keep.txt"}]},
            "registries": [
                {
                    "host": self.registry.host(), "plainHttp": true, "kind": "distribution",
                    "storage": {"s3": {
                        "endpoint": format!("http://127.0.0.1:{}", self.between.port()),
                        "region": "us-east-1", "bucket": BUCKET, "maxConcurrency": self.concurrency,
                        "credentials": {"accessKey": {"file": "key"}},
                    }},
                },
                // Whoever asks for a blob is sent there.
                {"host": self.server.host(), "plainHttp": true},
            ],
            "gc": gc,
            "state": {"directory": self.home.path().join("state")},
        });
        fs::write(self.home.path().join("pullproof.yaml"), text.to_string()).unwrap();
    }

    pub(crate) async fn gc(&self, words: &[&str]) -> Answered {
        let mut command = daemon::command(self.home.path());
        command.arg("gc").args(words).args(["-o", "json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let number = i32::try_from(child.id()).unwrap();
        self.process.send_replace(Pid::from_raw(number));
        let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
        let ended = ended.await.unwrap();
        self.process.send_replace(None);
        Answered {
            code: ended.status.code(),
            view: serde_json::from_slice(&ended.stdout).unwrap_or_default(),
            stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
        }
    }

    /// Every object of the registry's own, with its content.
    pub(crate) async fn content(&self) -> Content {
        for _ in 0..LOOKS {
            if let Some(content) = self.look().await {
                return content;
            }
        }
        panic!("what was listed was gone each of {LOOKS} times");
    }

    /// `None` where something was listed and gone when it was read: the bucket carries out the last request of
    /// whoever was killed after that one is gone.
    async fn look(&self) -> Option<Content> {
        let mut content = Content::new();
        for file in self.s3.files("docker/").await.unwrap() {
            let object = self.s3.get(&file.path, 64 << 20).await.unwrap();
            content.insert(file.path, object?.bytes);
        }
        Some(content)
    }

    /// A copy on a disk, for whoever reads files.
    pub(crate) async fn checkout(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        for (path, bytes) in self.content().await {
            let path = copy.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        copy
    }

    /// Things that runs hold, by their own account.
    pub(crate) async fn held(&self) -> u64 {
        let status = self.gc(&["status"]).await;
        let runs = status.view["runs"].as_array();
        let runs = runs.unwrap_or_else(|| panic!("{status:?}")).iter();
        runs.map(|run| run["items"].as_u64().unwrap()).sum()
    }

    /// Whether a client can pull it, with all that it leads to.
    pub(crate) async fn can_pull(&self, reference: &str) -> Result<(), String> {
        let clients = Clients::of(&self.registry).await;
        let reference = self.at(reference);
        let crane = ["validate", "--fast", "--insecure", "--remote", &reference];
        clients.attempt("crane", &crane).await?;
        Ok(())
    }
}

async fn copy_all(from: &Path, to: &Path) {
    let mut command = Command::new("cp");
    command.arg("-a").arg(from.join(".")).arg(to);
    run_well(command).await;
}

fn set_time(path: &Path, time: SystemTime) {
    let file = File::open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
}
