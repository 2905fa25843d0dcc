//! The registry under test: its replicas, what they share, and whoever collects their storage.

use std::fs;
use std::path::PathBuf;

use jiff::{SignedDuration, Unit};
use pullproof::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::support::daemon;
use crate::support::redis::Redis;
use crate::support::registry::{Options, Registry, Version};
use crate::support::s3::{ACCESS_KEY, BUCKET, S3, SECRET_KEY};

/// What replicas remember of their blobs, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cache {
    Off,
    InMemory,
    Redis,
}

/// Where the content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Storage {
    Filesystem,
    Bucket { has_versions: bool },
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    pub(super) version: Version,
    pub(super) cache: Cache,
    pub(super) replicas: usize,
    pub(super) storage: Storage,
}

impl Setup {
    /// As an operator declares it.
    fn declared(self) -> &'static str {
        match (self.cache, self.version) {
            (Cache::Off, _) => "none",
            // A push of a manifest that the cache believes in is answered 201 and not written.
            (_, Version::V2 | Version::V311) => "unknown",
            (_, Version::V3) => "safePut",
        }
    }
}

#[derive(Debug)]
pub(super) struct Site {
    pub(super) setup: Setup,
    replicas: Mutex<Vec<Registry>>,
    /// Of each replica.
    urls: Vec<String>,
    host: String,
    redis: Option<Redis>,
    bucket: Option<S3>,
    root: TempDir,
    home: TempDir,
}

/// What a command answered.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) view: Value,
    pub(super) stderr: String,
}

impl Site {
    pub(super) async fn start(setup: Setup) -> Self {
        let root = tempfile::tempdir().unwrap();
        let redis = match setup.cache {
            Cache::Redis => Some(Redis::start().await),
            Cache::Off | Cache::InMemory => None,
        };
        let bucket = match setup.storage {
            Storage::Filesystem => None,
            Storage::Bucket { has_versions: true } => Some(S3::start_with_versions().await),
            Storage::Bucket {
                has_versions: false,
            } => Some(S3::start().await),
        };
        let mut replicas = Vec::new();
        for _ in 0..setup.replicas {
            let options = match &bucket {
                None => Options::new(setup.version, root.path()),
                Some(bucket) => Options::over_s3(setup.version, bucket),
            };
            let options = match (setup.cache, &redis) {
                (Cache::InMemory, _) => options.with_descriptor_cache(),
                (Cache::Redis, Some(redis)) => options.with_redis(redis.port()),
                (Cache::Off | Cache::Redis, _) => options,
            };
            replicas.push(Registry::start(options.with_deletes()).await);
        }
        let site = Self {
            setup,
            urls: replicas.iter().map(Registry::url).collect(),
            host: replicas[0].host(),
            replicas: Mutex::new(replicas),
            redis,
            bucket,
            root,
            home: tempfile::tempdir().unwrap(),
        };
        let key = format!(
            "[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
        );
        fs::write(site.home.path().join("key"), key).unwrap();
        site.keep([]);
        site
    }

    pub(super) fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Where the content lies, as files.
    pub(super) fn root(&self) -> PathBuf {
        match &self.bucket {
            None => self.root.path().to_owned(),
            Some(bucket) => bucket.bucket(),
        }
    }

    /// Starts one replica after the other again, and empties what they share.
    pub(super) async fn restart(&self) {
        for replica in self.replicas.lock().await.iter_mut() {
            replica.start_again().await;
        }
        if let Some(redis) = &self.redis {
            redis.flush().await;
        }
    }

    /// What workloads use, below the registry's host. Whoever reads it finds it whole.
    pub(super) fn keep<'a>(&self, references: impl IntoIterator<Item = &'a String>) {
        let lines = references
            .into_iter()
            .map(|it| format!("{}/{it}\n", self.host));
        let text = "# What runs.\n".to_owned() + &lines.collect::<String>();
        let file = self.home.path().join("keep.txt");
        fs::write(file.with_extension("new"), text).unwrap();
        fs::rename(file.with_extension("new"), file).unwrap();
    }

    /// What two share is made to forget; for one nobody says so, as for what each has of its own.
    fn settle(&self) -> Value {
        let cache = self.setup.declared();
        match self.redis.as_ref().filter(|_| self.setup.replicas > 1) {
            None => json!({"cache": cache}),
            Some(redis) => {
                let url = format!("redis://127.0.0.1:{}/0", redis.port());
                json!({"cache": cache, "redis": {"url": url}})
            }
        }
    }

    /// A collection, with everything that takes days turned down to seconds.
    pub(super) async fn collect(&self, mode: &str) -> Answered {
        let now = SystemClock.now() - SignedDuration::from_mins(10);
        let opened = now.round(Unit::Minute).unwrap();
        let opened = opened.to_zoned(jiff::tz::TimeZone::UTC);
        let schedule = format!("{} {} * * *", opened.minute(), opened.hour());
        let storage = match &self.bucket {
            None => json!({"filesystem": {"root": self.root()}}),
            Some(bucket) => json!({"s3": {
                "endpoint": format!("http://{}", bucket.host()), "region": "us-east-1", "bucket": BUCKET,
                "credentials": {"accessKey": {"file": "key"}},
            }}),
        };
        // Whoever asks for a blob is sent to the bucket.
        let beside = self.bucket.iter();
        let beside = beside.map(|it| json!({"host": it.host(), "plainHttp": true}));
        let mut registries = vec![json!({
            "host": self.host, "plainHttp": true, "kind": "distribution", "storage": storage,
            "replicaEndpoints": self.urls,
        })];
        registries.extend(beside);
        let unversioned = Storage::Bucket {
            has_versions: false,
        };
        let allowed: &[&str] = if self.setup.storage == unversioned {
            &["purgeWithoutVersions"]
        } else {
            &[]
        };
        let text = json!({
            "inventory": {"references": [{"name": "keep", "file": "keep.txt"}]},
            "registries": registries,
            "gc": {
                "unsafe": allowed,
                "mode": mode, "untagged": "delete", "tagHistory": "delete",
                "rehearsal": "1s", "minimumAge": "2s", "longestRequest": "2s", "watchEvery": "1s",
                "quarantineFor": "3s", "maxCollectPercent": 100, "alarmPercent": 100,
                "settle": self.settle(),
                "windows": [{"name": "now", "schedule": schedule, "duration": "4h"}],
            },
            "state": {"directory": self.home.path().join("state")},
        });
        fs::write(self.home.path().join("pullproof.yaml"), text.to_string()).unwrap();
        let mut command = daemon::command(self.home.path());
        command.args(["gc", "run", "-o", "json"]);
        let ended = tokio::task::spawn_blocking(move || command.output().unwrap());
        let ended = ended.await.unwrap();
        Answered {
            view: serde_json::from_slice(&ended.stdout).unwrap_or_default(),
            stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
        }
    }
}
