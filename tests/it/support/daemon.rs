//! `pullproof` itself, as its users run it: the built binary, a configuration file, two sockets.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::http;
use super::process::{Ending, Process, free_port};

/// How long the daemon may take until something is so. Generous: two cores may be busy elsewhere.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// The binary under test.
pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_pullproof"))
}

/// The binary with nothing of the machine's: no kubeconfig, no credentials, no cache but `home`.
pub(crate) fn command(home: &Path) -> Command {
    let mut command = Command::new(binary());
    command
        .env_clear()
        .env("HOME", home)
        .env("XDG_CACHE_HOME", home.join("cache"))
        .env("PATH", "/usr/bin:/bin")
        .env("NO_COLOR", "1")
        .current_dir(home);
    command
}

/// The daemon of a home with a configuration.
fn process(home: &Path, words: &[&str]) -> Process {
    let mut command = command(home);
    let file = home.join("pullproof.yaml");
    command.arg("serve").arg("--config").arg(&file).args(words);
    Process::start(command, "pullproof", home, Ending::Terminate)
}

/// A running daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    process: Process,
    directory: TempDir,
    metrics: u16,
    ui: u16,
}

impl Daemon {
    /// Starts `pullproof serve`. `configuration` is everything but `http` and `state`.
    pub(crate) fn start(configuration: &str) -> Self {
        Self::start_with(configuration, &[])
    }

    /// The same, with these words after `serve`.
    pub(crate) fn start_with(configuration: &str, words: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self::start_at(directory, configuration, words)
    }

    /// The same, with this cluster for its current context.
    pub(crate) fn start_in_cluster(configuration: &str, kubeconfig: &Path) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let own = directory.path().join(".kube");
        std::fs::create_dir(&own).expect("a writable directory");
        std::fs::copy(kubeconfig, own.join("config")).expect("a kubeconfig");
        Self::start_at(directory, configuration, &[])
    }

    fn start_at(directory: TempDir, configuration: &str, words: &[&str]) -> Self {
        let (metrics, ui) = (free_port(), free_port());
        let file = directory.path().join("pullproof.yaml");
        let text = format!(
            "{configuration}\nhttp: {{metrics: \"127.0.0.1:{metrics}\", ui: \"127.0.0.1:{ui}\"}}\n\
             state: {{directory: state}}\n"
        );
        std::fs::write(&file, text).expect("a writable directory");
        Self {
            process: process(directory.path(), words),
            directory,
            metrics,
            ui,
        }
    }

    /// Ends it as a rollout does, and starts it again: the same configuration, ports and state.
    pub(crate) async fn restart(&mut self) {
        self.terminate().await;
        self.process = process(self.directory.path(), &[]);
        self.wait_until_ready().await;
    }

    /// `127.0.0.1:PORT`, where metrics and health are.
    pub(crate) fn metrics_host(&self) -> String {
        format!("127.0.0.1:{}", self.metrics)
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    pub(crate) fn configuration(&self) -> PathBuf {
        self.directory.path().join("pullproof.yaml")
    }

    /// One scrape in the text format, or none while it does not answer.
    pub(crate) async fn scrape(&self) -> Option<String> {
        let url = format!("http://{}/metrics", self.metrics_host());
        http::client().get(url).send().await.ok()?.text().await.ok()
    }

    /// The lines of a scrape that begin so and hold every one of these texts.
    pub(crate) async fn series(&self, name: &str, texts: &[&str]) -> Vec<String> {
        let scrape = self.scrape().await.unwrap_or_default();
        let lines = scrape.lines().filter(|line| {
            line.starts_with(&format!("pullproof_{name}"))
                && texts.iter().all(|text| line.contains(text))
        });
        lines.map(ToOwned::to_owned).collect()
    }

    /// Waits until a scrape has such a series.
    pub(crate) async fn wait_for_series(&self, name: &str, texts: &[&str]) -> String {
        let what = format!("a series {name} with {texts:?}");
        self.wait_until(&what, async || {
            self.series(name, texts).await.into_iter().next()
        })
        .await
    }

    /// Waits until no scrape has such a series any more.
    pub(crate) async fn wait_for_no_series(&self, name: &str, texts: &[&str]) {
        let what = format!("no series {name} with {texts:?}");
        let probe = async || {
            let scrape = self.scrape().await?;
            let is_there = scrape.lines().any(|line| {
                line.starts_with(&format!("pullproof_{name}"))
                    && texts.iter().all(|text| line.contains(text))
            });
            (!is_there).then_some(())
        };
        self.wait_until(&what, probe).await;
    }

    /// Waits until `/readyz` answers 200: every image was looked at.
    pub(crate) async fn wait_until_ready(&self) {
        let url = format!("http://{}/readyz", self.metrics_host());
        self.wait_until("it is ready", async || {
            let answer = http::client().get(&url).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// `/api/v1/…`
    pub(crate) async fn api(&self, path: &str) -> Value {
        let url = self.ui(&format!("/api/v1/{path}"));
        let probe = async || http::get_json(&http::client(), &url).await;
        self.wait_until(&format!("{path} answers"), probe).await
    }

    /// Where a page is.
    pub(crate) fn ui(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.ui)
    }

    /// A page's text.
    pub(crate) async fn page(&self, path: &str) -> String {
        let url = self.ui(path);
        let answer = http::client()
            .get(url)
            .send()
            .await
            .expect("the page answers");
        answer.text().await.expect("a page is text")
    }

    pub(crate) async fn wait_until<T>(
        &self,
        what: &str,
        probe: impl AsyncFnMut() -> Option<T>,
    ) -> T {
        self.process.wait_until(what, BOUND, probe).await
    }

    /// Sends SIGKILL.
    pub(crate) fn kill(&self) {
        self.signal(rustix::process::Signal::KILL);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let id = i32::try_from(self.process.id()).expect("a process id");
        let pid = rustix::process::Pid::from_raw(id).expect("a process id");
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    /// Sends SIGTERM and waits for its end.
    pub(crate) async fn terminate(&self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        super::wait::wait_until("the daemon ends", BOUND, async || self.process.status()).await
    }
}
