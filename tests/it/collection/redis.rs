//! What two real replicas remember together in a real redis, and how it is forgotten.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::desk::{Answered, Content, Desk};
use crate::plan::served::can_pull;
use crate::plan::tree::sound;
use crate::support::certificates::{Authority, Key};
use crate::support::clients::Clients;
use crate::support::images::push_image;
use crate::support::parts::require;
use crate::support::redis::Redis;
use crate::support::registry::{Options, Registry, Version};
use crate::support::wait::wait_until;

const BOUND: Duration = Duration::from_secs(60);

/// Two replicas over one tree, of which the first is the registry, and what they remember together.
struct Site {
    version: Version,
    desk: Desk,
    second: Registry,
    clients: Clients,
    redis: Redis,
}

impl Site {
    async fn start(version: Version) -> Self {
        let redis = Redis::start().await;
        let mut desk = Desk::over(version, sound()).await;
        let options = Options::new(version, desk.root()).with_deletes();
        let options = options.with_redis(redis.port());
        desk.registry.stop();
        desk.registry = Registry::start(options.clone()).await;
        let second = Registry::start(options).await;
        desk.keep(&["app:v1"]);
        let site = Self {
            version,
            clients: Clients::of(&desk.registry).await,
            desk,
            second,
            redis,
        };
        site.configure(&site.url(0), "");
        site
    }

    fn url(&self, database: usize) -> String {
        format!("redis://127.0.0.1:{}/{database}", self.redis.port())
    }

    fn configure(&self, url: &str, more: &str) {
        let settle = json!({"redis": {"url": url}, "within": "3s"});
        let desk = &self.desk;
        desk.configure("quarantine", &format!(r#""settle": {settle}{more}"#));
        let replicas = [desk.registry.url(), self.second.url()];
        desk.change(|it| it["registries"][0]["replicaEndpoints"] = json!(replicas));
    }

    /// By one replica or the other, as whoever has just built it; with its manifest.
    async fn push(&self, replica: usize, tag: &str) -> String {
        let replica = [&self.desk.registry, &self.second][replica];
        let reference = format!("{}/app:{tag}", replica.host());
        push_image(&self.clients, &reference, "gone").await
    }

    async fn is_whole(&self, tag: &str) -> Result<(), String> {
        can_pull(self.version, self.desk.root(), &format!("app:{tag}")).await
    }

    fn data(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let below = format!("blobs/sha256/{}/{hex}/data", &hex[..2]);
        self.desk.tree.v2().join(below)
    }

    /// What a manifest names, and itself.
    fn blobs(&self, manifest: &str) -> Vec<String> {
        let text = fs::read(self.data(manifest)).unwrap();
        let text: Value = serde_json::from_slice(&text).unwrap();
        let layers = text["layers"].as_array().unwrap().iter();
        let named = layers.chain([&text["config"]]);
        named
            .map(|it| it["digest"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn run(&self) -> Answered {
        self.desk.gc(&["run"]).await
    }

    /// A run that takes something, and settles.
    async fn takes(&self) -> Answered {
        let ran = self.run().await;
        assert_eq!(
            (ran.code, ran.result()),
            (Some(0), "quarantined"),
            "{ran:?}"
        );
        let status = self.desk.gc(&["status"]).await;
        let runs = status.view["runs"].as_array().unwrap();
        let own = runs.iter().find(|it| it["run"] == ran.view["run"]).unwrap();
        assert_eq!(own["settled"], true, "{status:?}");
        ran
    }

    fn went_back(&self, before: &Content, ran: &Answered) {
        assert_eq!((ran.code, ran.result()), (Some(1), "failed"), "{ran:?}");
        assert_eq!(ran.codes(), ["cache_unsettled"], "{ran:?}");
        let is_as_before = self.desk.content() == *before;
        assert!(is_as_before && self.desk.held().is_empty(), "{ran:?}");
    }
}

#[tokio::test]
async fn what_two_replicas_believed_in_goes_in_one_run_and_a_push_writes_it_again() {
    require!(
        "docker-registry",
        "registry-3.1",
        "redis-server",
        "redis-cli",
        "crane",
        "regctl"
    );
    for version in Version::ALL {
        let site = Site::start(version).await;
        let gone = site.push(0, "gone").await;
        let blobs = site.blobs(&gone);
        let remembered = |keys: &[String]| {
            let of_registry =
                |it: &&String| it.starts_with("blobs::") || it.starts_with("repository::");
            keys.iter().filter(of_registry).count()
        };
        assert!(remembered(&site.redis.keys().await) > 0);
        // Of others, in the same database and in another.
        let others = ["blobs:a", "blob::b", "session::blobs::c", "repositories::d"];
        for key in others {
            site.redis.ask(&["SET", key, "kept"]).await;
        }
        site.redis
            .ask(&["-n", "1", "SET", "blobs::e", "kept"])
            .await;

        site.desk.tree.untag("app", "gone");
        site.desk.tree.age();
        let ran = site.takes().await;
        for blob in &blobs {
            assert!(!site.data(blob).exists(), "{ran:?}");
        }
        // Its link is gone, and its bytes stay for whoever is told that they are there.
        assert!(site.data(&gone).exists());
        let keys = site.redis.keys().await;
        for blob in blobs.iter().chain([&gone]) {
            assert!(!keys.iter().any(|key| key.ends_with(&**blob)), "{keys:?}");
        }
        for key in others {
            assert_eq!(site.redis.ask(&["GET", key]).await.trim(), "kept");
        }
        let elsewhere = site.redis.ask(&["-n", "1", "GET", "blobs::e"]).await;
        assert_eq!(elsewhere.trim(), "kept");

        // The classic loss: without it the push is accepted, and nothing is written.
        assert_eq!(site.push(1, "again").await, gone);
        assert_eq!(site.is_whole("again").await, Ok(()));
        // What it needs is not held any more once that was looked at.
        let ran = site.run().await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(site.is_whole("again").await, Ok(()));

        // Links first, and by what was forgotten after that the bytes.
        site.desk.tree.untag("app", "again");
        site.desk.tree.age();
        site.takes().await;
        assert!(site.data(&gone).exists());
        site.takes().await;
        assert!(!site.data(&gone).exists());
        assert_eq!(site.push(0, "third").await, gone);
        assert!(site.data(&gone).exists());
        assert_eq!(site.is_whole("third").await, Ok(()));
        assert_eq!(site.is_whole("v1").await, Ok(()));
    }
}

/// Nobody can be asked for it, and nothing else is taken after which it would be forgotten.
#[tokio::test]
async fn bytes_that_no_repository_links_are_forgotten_before_they_go() {
    require!(
        "registry-3.1",
        "redis-server",
        "redis-cli",
        "crane",
        "regctl"
    );
    let mut site = Site::start(Version::V3).await;
    // All other garbage: links, and then the bytes of manifests.
    for _ in 0..2 {
        site.takes().await;
    }
    let lone = site
        .desk
        .tree
        .data("lone", "application/octet-stream", b"lone");
    site.desk.tree.age();
    let lone = site.desk.tree.data_of(&lone);
    wait_until("it is taken", BOUND, async || {
        let ran = site.run().await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(lone.exists(), ran.result() == "planned", "{ran:?}");
        (!lone.exists()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn another_database_than_the_replicas_have_sends_the_run_back_and_closes_the_gate() {
    require!(
        "docker-registry",
        "registry-3.1",
        "redis-server",
        "redis-cli",
        "crane",
        "regctl"
    );
    for version in Version::ALL {
        let site = Site::start(version).await;
        site.push(0, "gone").await;
        site.desk.tree.untag("app", "gone");
        site.desk.tree.age();
        let before = site.desk.content();
        site.configure(&site.url(1), "");
        let ran = site.run().await;
        site.went_back(&before, &ran);
        let problem = ran.view["failed"].as_str().unwrap();
        let told = format!(
            "the redis at {} had none of the registry's keys",
            site.url(1)
        );
        assert!(problem.starts_with(&told), "{problem}");

        let refused = site.run().await;
        assert_eq!(refused.code, Some(3), "{refused:?}");
        assert_eq!(refused.codes(), ["cache_unsettled"], "{refused:?}");
        let message = refused.view["refusals"][0]["message"].as_str().unwrap();
        assert!(message.contains("remove pullproof/unsettled"), "{message}");
        assert!(site.desk.content() == before);

        // Another declaration is another matter.
        site.configure(&site.url(0), "");
        site.takes().await;
    }
}

#[tokio::test]
async fn what_cannot_be_made_to_forget_is_refused_before_anything_is_taken() {
    require!(
        "registry-3.1",
        "redis-server",
        "redis-cli",
        "crane",
        "regctl"
    );
    let site = Site::start(Version::V3).await;
    let before = site.desk.content();
    let guarded = Redis::start_with("--port", &["--requirepass", "a word"]).await;
    let cluster = Redis::start_with("--port", &["--cluster-enabled", "yes"]).await;
    let replica = Redis::start_with("--port", &["--replicaof", "127.0.0.1 1"]).await;
    let reader = Redis::start_with(
        "--port",
        &[
            "--user", "default", "on", "nopass", "~*", "+ping", "+info", "+scan",
        ],
    )
    .await;
    let nobody = crate::support::process::free_port();
    let registry = site.desk.registry.host();
    let registry = registry.rsplit(':').next().unwrap();
    for (port, told) in [
        (nobody.to_string(), "it cannot be reached: "),
        (guarded.port().to_string(), "NOAUTH "),
        (
            cluster.port().to_string(),
            "clusters are not supported; give the registry a redis of its own",
        ),
        (replica.port().to_string(), "name its master"),
        (reader.port().to_string(), "NOPERM "),
        (
            registry.to_owned(),
            "what it answers is not what a redis does",
        ),
    ] {
        site.configure(&format!("redis://127.0.0.1:{port}/0"), "");
        let ran = site.run().await;
        assert_eq!((ran.code, ran.result()), (Some(3), "refused"), "{ran:?}");
        assert_eq!(ran.codes(), ["cache_unsettled"], "{ran:?}");
        let message = ran.view["refusals"][0]["message"].as_str().unwrap();
        assert!(
            message.starts_with(&format!("the redis at redis://127.0.0.1:{port}/0: ")),
            "{message}"
        );
        assert!(message.contains(told), "{told}: {message}");
        assert!(site.desk.content() == before && site.desk.held().is_empty());
    }
}

#[tokio::test]
async fn a_redis_that_fails_once_something_was_taken_sends_the_run_back() {
    require!(
        "docker-registry",
        "registry-3.1",
        "redis-server",
        "redis-cli",
        "crane",
        "regctl"
    );
    for (version, dies) in [
        (Version::V2, true),
        (Version::V3, true),
        (Version::V3, false),
    ] {
        let mut site = Site::start(version).await;
        site.push(0, "gone").await;
        site.desk.tree.untag("app", "gone");
        site.desk.tree.age();
        let before = site.desk.content();
        site.configure(&site.url(0), r#", "longestRequest": "5s""#);
        let Site { desk, redis, .. } = &mut site;
        let fails = async {
            wait_until("something is taken", BOUND, async || {
                (!desk.held().is_empty()).then_some(())
            })
            .await;
            if dies {
                redis.stop();
            } else {
                redis.ask(&["REPLICAOF", "127.0.0.1", "1"]).await;
            }
        };
        let words = ["run"];
        let (ran, ()) = tokio::join!(desk.gc(&words), fails);
        site.went_back(&before, &ran);
        let problem = ran.view["failed"].as_str().unwrap();
        let told = if dies {
            "it cannot be reached"
        } else {
            "READONLY "
        };
        assert!(problem.contains(told), "{problem}");
    }
}

#[tokio::test]
async fn a_redis_is_asked_over_tls_by_whom_the_configuration_names() {
    require!("registry-3.1", "redis-server", "openssl");
    let desk = Desk::start(Version::V3).await;
    let authority = Authority::new(desk.home()).await;
    let certificate = authority.issue("redis", Key::Elliptic).await;
    let file = |it: &std::path::Path| it.to_str().unwrap().to_owned();
    let (chain, key) = (file(&certificate.certificate), file(&certificate.key));
    let more = [
        "--port",
        "0",
        "--tls-cert-file",
        &chain,
        "--tls-key-file",
        &key,
        "--tls-auth-clients",
        "no",
        "--user",
        "keeper",
        "on",
        ">aword",
        "~blobs::*",
        "~repository::*",
        "+ping",
        "+info",
        "+scan",
        "+unlink",
        "--user",
        "default",
        "off",
    ];
    let redis = Redis::start_with("--tls-port", &more).await;
    fs::write(desk.home().join("word"), "aword\n").unwrap();
    fs::write(desk.home().join("other"), "bword\n").unwrap();
    let url = format!("rediss://localhost:{}/0", redis.port());
    let ca = json!({"file": authority.certificate()});
    let word = json!({"file": "word"});
    for (settle, told) in [
        (
            json!({"url": url, "username": "keeper", "password": word}),
            "TLS: ",
        ),
        (json!({"url": url, "ca": ca}), "NOAUTH "),
        (
            json!({"url": url, "ca": ca, "username": "keeper", "password": {"file": "other"}}),
            "it does not take the password of ",
        ),
    ] {
        desk.configure("quarantine", &format!(r#""settle": {{"redis": {settle}}}"#));
        let ran = desk.gc(&["run"]).await;
        assert_eq!(ran.codes(), ["cache_unsettled"], "{ran:?}");
        let message = ran.view["refusals"][0]["message"].as_str().unwrap();
        assert!(message.contains(told), "{told}: {message}");
        assert!(!message.contains("word pair"), "{message}");
    }
    let settle = json!({"url": url, "ca": ca, "username": "keeper", "password": word});
    desk.configure("quarantine", &format!(r#""settle": {{"redis": {settle}}}"#));
    let ran = desk.gc(&["run"]).await;
    assert_eq!(
        (ran.code, ran.result()),
        (Some(0), "quarantined"),
        "{ran:?}"
    );
    // Nobody remembers anything there, and so nothing is to go by what it forgot.
    let told = ran.view["told"][0].as_str().unwrap();
    assert!(told.contains("had none of the registry's keys"), "{told}");
    assert!(!desk.root().join("pullproof/forgot.json").exists());
}

/// What nobody can find out stands beside what came of it.
#[tokio::test]
async fn each_run_prints_what_is_declared() {
    require!("registry-3.1");
    let desk = Desk::start(Version::V3).await;
    let ran = desk.gc(&["run"]).await;
    let declared = json!({"cache": "none", "redis": null, "single": false, "validation": "on"});
    assert_eq!(ran.view["declared"], declared, "{ran:?}");
    desk.configure("quarantine", r#""quarantineFor": "168h""#);
    desk.change(|it| {
        it["registries"][0]["storage"]["validation"] = json!("off");
        it["registries"][0]["single"] = json!(true);
    });
    let words = desk.gc_in_words(&["run"]).await;
    let line = "  declared: `settle.cache` none, `single` true, `validation` off\n";
    assert!(words.contains(line), "{words}");
}
