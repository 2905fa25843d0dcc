//! Two pullproofs, each the other's peer.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::certificates::{Authority, Certificate, Key};
use crate::support::daemon::{self, command};
use crate::support::http;
use crate::support::process::{Ending, Process, free_port};
use crate::support::wait::wait_until;

/// What one daemon sees, it publishes at its own pace, and the other asks for at its own.
const BOUND: Duration = Duration::from_secs(2 * daemon::BOUND.as_secs());

mod doubted;
mod scripted;
mod together;

/// What all daemons of a test know: who signs, and the word.
struct Ground {
    _directory: TempDir,
    authority: PathBuf,
    certificate: Certificate,
}

const TOKEN: &str = "s3cret";

impl Ground {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new(directory.path()).await;
        Self {
            certificate: authority.issue("daemon", Key::Elliptic).await,
            authority: authority.certificate().to_owned(),
            _directory: directory,
        }
    }

    fn site(&self) -> Site {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), TOKEN).unwrap();
        Site {
            home,
            authority: self.authority.clone(),
            certificate: self.certificate.clone(),
            metrics: free_port(),
            ui: free_port(),
            process: None,
        }
    }
}

/// A daemon whose page is served with TLS, or the place for one.
struct Site {
    home: TempDir,
    authority: PathBuf,
    certificate: Certificate,
    metrics: u16,
    ui: u16,
    process: Option<Process>,
}

impl Site {
    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.ui)
    }

    /// An entry of `peers` that leads here.
    fn as_peer(&self, name: &str, more: &str) -> String {
        let (url, ca) = (self.url(), self.authority.display());
        format!(
            "{{name: {name}, url: \"{url}\", ca: {{file: {ca}}}, token: {{file: token}}{more}}}"
        )
    }

    /// Writes everything but `http` and `state`; a running daemon reads it again.
    fn configure(&self, configuration: &str) {
        let Self { metrics, ui, .. } = self;
        let text = format!(
            "{configuration}\nhttp: {{metrics: \"127.0.0.1:{metrics}\", ui: \"127.0.0.1:{ui}\", \
             tls: {{file: {}, keyFile: {}}}, token: {{file: http-token}}}}\n\
             state: {{directory: state}}\n",
            self.certificate.certificate.display(),
            self.certificate.key.display(),
        );
        std::fs::write(self.path("http-token"), format!("{TOKEN}\n")).unwrap();
        std::fs::write(self.path("pullproof.yaml"), text).unwrap();
    }

    /// Lets it read its files at once: it does whenever its configuration is written.
    fn touch(&self) {
        let file = self.path("pullproof.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{text}# again\n")).unwrap();
    }

    fn start(&mut self) {
        let mut serve = command(self.home.path());
        serve.arg("serve").arg("--config");
        serve.arg(self.path("pullproof.yaml"));
        let home = self.home.path();
        self.process = Some(Process::start(serve, "pullproof", home, Ending::Terminate));
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("it was started")
    }

    /// Lets it end, however long it writes what it knows.
    async fn end(&mut self) {
        let process = self.process.take().expect("it was started");
        let id = i32::try_from(process.id()).unwrap();
        let pid = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let ended = async || process.status();
        wait_until("the daemon ends", BOUND, ended).await;
    }

    /// Ends it: nobody listens then.
    fn stop(&mut self) {
        self.process = None;
    }

    async fn get(&self, path: &str) -> Option<Value> {
        let client = http::client_trusting(&self.authority);
        let request = client.get(format!("{}{path}", self.url()));
        let answer = request.bearer_auth(TOKEN).send().await.ok()?;
        let answer = answer.error_for_status().ok()?;
        serde_json::from_slice(&answer.bytes().await.ok()?).ok()
    }

    /// Waits until something is so in what `/api/v1/…` answers.
    async fn until(&self, what: &str, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let path = format!("/api/v1/{path}");
        let probe = async || self.get(&path).await.filter(|value| is_so(value));
        self.process().wait_until(what, BOUND, probe).await
    }

    /// Waits until the keep-set is complete and has just these references.
    async fn until_keeps(&self, references: &[&str]) -> Value {
        let mut expected = references.to_vec();
        expected.sort_unstable();
        let what = format!("just these are kept: {expected:?}");
        self.until(&what, "keepset", |set| kept(set) == expected)
            .await
    }

    /// Waits until a source is incomplete for a reason with these words.
    async fn until_incomplete(&self, source: &str, words: &str) -> Value {
        let what = format!("{source} is incomplete: {words}");
        let is_so = |inventory: &Value| {
            let reason = source_of(inventory, source)["reason"].as_str();
            reason.is_some_and(|reason| reason.contains(words))
        };
        self.until(&what, "inventory", is_so).await
    }

    async fn until_complete(&self, source: &str) -> Value {
        let what = format!("{source} is complete");
        let is_so = |inventory: &Value| source_of(inventory, source)["complete"] == true;
        self.until(&what, "inventory", is_so).await
    }

    async fn series(&self, name: &str, texts: &[&str]) -> String {
        let url = format!("http://127.0.0.1:{}/metrics", self.metrics);
        let probe = async || {
            let scrape = http::client().get(&url).send().await.ok()?;
            let scrape = scrape.text().await.ok()?;
            let mut lines = scrape.lines();
            let found = lines.find(|line| {
                line.starts_with(&format!("pullproof_{name}"))
                    && texts.iter().all(|text| line.contains(text))
            });
            found.map(ToOwned::to_owned)
        };
        let what = format!("a series {name} with {texts:?}");
        self.process().wait_until(&what, BOUND, probe).await
    }
}

fn kept(set: &Value) -> Vec<&str> {
    let references = set["references"].as_array().into_iter().flatten();
    references
        .map(|kept| kept["reference"].as_str().unwrap())
        .collect()
}

fn source_of<'a>(inventory: &'a Value, name: &str) -> &'a Value {
    let sources = inventory["sources"].as_array().into_iter().flatten();
    let mut sources = sources.filter(|source| source["name"] == name);
    sources.next().unwrap_or(&Value::Null)
}

fn image_of<'a>(inventory: &'a Value, reference: &str) -> &'a Value {
    let images = inventory["images"].as_array().into_iter().flatten();
    let mut images = images.filter(|image| image["reference"] == reference);
    images.next().unwrap_or(&Value::Null)
}

/// What closes the gates.
fn refusals(inventory: &Value) -> Vec<&str> {
    let refusals = inventory["refusals"].as_array().unwrap();
    refusals
        .iter()
        .map(|it| it["message"].as_str().unwrap())
        .collect()
}
