//! The keep-set: of a complete inventory only, over TLS, to whoever knows the token.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use std::path::{Path, PathBuf};

use pullproof::oci::digest::Digest;
use serde_json::Value;

use crate::api::check_keepset;
use crate::daemon::shop::{OFTEN, Stock, require_shop};
use crate::support::certificates::{Authority, Key};
use crate::support::daemon::{BOUND, command};
use crate::support::http;
use crate::support::process::{Ending, Process, free_port};

/// A daemon whose page is served with TLS.
struct Secured {
    process: Process,
    home: PathBuf,
    url: String,
    authority: PathBuf,
}

impl Secured {
    fn start(home: &Path, configuration: &Path, port: u16, authority: &Path) -> Self {
        let mut serve = command(home);
        serve.arg("serve").arg("--config").arg(configuration);
        Self {
            process: Process::start(serve, "pullproof", home, Ending::Terminate),
            home: home.to_owned(),
            url: format!("https://127.0.0.1:{port}/api/v1/keepset"),
            authority: authority.to_owned(),
        }
    }

    /// Status and text of an answer.
    async fn ask(&self, token: Option<&str>) -> Option<(u16, String)> {
        let mut request = http::client_trusting(&self.authority).get(&self.url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    async fn keep_set(&self, is_complete: bool) -> Value {
        let what = format!("a keep-set is told, complete: {is_complete}");
        self.process
            .wait_until(&what, BOUND, async || {
                let (status, text) = self.ask(Some("s3cret")).await?;
                assert_eq!(status, 200, "{text}");
                let value: Value = serde_json::from_str(&text).unwrap();
                check_keepset(&value);
                (value["complete"] == is_complete).then_some(value)
            })
            .await
    }

    async fn end(self) -> PathBuf {
        let id = i32::try_from(self.process.id()).unwrap();
        let pid = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = async || self.process.status();
        crate::support::wait::wait_until("the daemon ends", BOUND, status).await;
        self.home
    }
}

/// As the field `hash` is described.
fn hash(set: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let joined = |value: &Value| {
        let items = value.as_array().unwrap().iter().map(text);
        items.collect::<Vec<_>>().join(",")
    };
    let mut content = format!(
        "{} {} {} {}\n",
        text(&set["daemon"]),
        text(&set["configuration"]),
        set["sequence"],
        text(&set["at"])
    );
    for kept in set["references"].as_array().unwrap() {
        let (classes, digests) = (joined(&kept["classes"]), joined(&kept["digests"]));
        content.push_str(&format!(
            "{} {classes} {digests}\n",
            text(&kept["reference"])
        ));
    }
    Digest::of(content.as_bytes()).to_string()
}

#[tokio::test]
async fn it_is_told_over_tls_to_whoever_knows_the_token_and_only_whole() {
    require_shop!();
    let stock = Stock::new().await;
    let image = stock.push("app:1").await;
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    let authority = Authority::new(home).await;
    let certificate = authority.issue("daemon", Key::Elliptic).await;
    let (metrics, ui) = (free_port(), free_port());
    let list = home.join("keep.txt");
    std::fs::write(home.join("token"), "s3cret\n").unwrap();
    let configuration = home.join("pullproof.yaml");
    let text = format!(
        "inventory: {{references: [{{name: keep, file: {}}}]}}\nregistries:\n{}\
         http: {{metrics: \"127.0.0.1:{metrics}\", ui: \"127.0.0.1:{ui}\", tls: {{file: {}, keyFile: {}}}, \
         token: {{file: token}}}}\nstate: {{directory: state}}\n",
        list.display(),
        stock.entry(OFTEN),
        certificate.certificate.display(),
        certificate.key.display(),
    );
    std::fs::write(&configuration, text).unwrap();
    std::fs::write(&list, &image).unwrap();
    let start = || Secured::start(home, &configuration, ui, authority.certificate());
    let daemon = start();

    let set = daemon.keep_set(true).await;
    assert_eq!(set["schema"], "pullproof.dev/keepset/v1");
    assert_eq!(set["references"][0]["reference"], image.as_str());
    assert_eq!(
        set["references"][0]["classes"],
        serde_json::json!(["listed"])
    );
    assert_eq!(set["hash"], hash(&set).as_str());
    // What the tag led to is known once it was asked for.
    let digest = stock
        .clients
        .crane(&["digest", &image])
        .await
        .trim()
        .to_owned();
    let led = daemon
        .process
        .wait_until("the digest is in it", BOUND, async || {
            let set = daemon.keep_set(true).await;
            let digests = set["references"][0]["digests"].as_array().unwrap().clone();
            (digests == [digest.as_str()]).then_some(set)
        })
        .await;
    assert_eq!(led["hash"], hash(&led).as_str());
    // It never falls. It may be the same: what tags lead to is read when it is asked for.
    assert!(led["sequence"].as_u64() >= set["sequence"].as_u64());

    for token in [None, Some("s3cret2"), Some("")] {
        let (status, text) = daemon.ask(token).await.unwrap();
        assert_eq!(status, 401, "{text}");
        assert!(!text.contains("app:1"), "{text}");
    }
    // Nothing is told without TLS.
    let plain = daemon.url.replace("https", "http");
    assert!(
        http::client()
            .get(plain)
            .bearer_auth("s3cret")
            .send()
            .await
            .is_err()
    );

    // After a restart it is the same daemon, and goes on counting; what cannot be read is not told
    // as if it were nothing.
    daemon.end().await;
    std::fs::write(&list, [0xff]).unwrap();
    let daemon = start();
    let closed = daemon.keep_set(false).await;
    assert!(
        closed["references"].is_null() && closed["hash"].is_null(),
        "{closed:#}"
    );
    assert_eq!(closed["refusals"][0]["code"], "inventory_incomplete");
    assert_eq!(
        (&closed["daemon"], &closed["configuration"]),
        (&led["daemon"], &led["configuration"])
    );
    assert!(closed["sequence"].as_u64() > led["sequence"].as_u64());
    daemon.end().await;
}
