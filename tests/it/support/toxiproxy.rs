//! A real toxiproxy: latency, resets and slow bodies between a client and a server.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::http;
use super::parts;
use super::process::{Ending, Process, free_port};

const START_BOUND: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Toxiproxy {
    process: Process,
    port: u16,
    _directory: TempDir,
}

impl Toxiproxy {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        let mut command = Command::new(parts::path("toxiproxy-server"));
        command.args(["-host", "127.0.0.1", "-port", &port.to_string()]);
        let process = Process::start(command, "toxiproxy", directory.path(), Ending::Kill);
        process.wait_until_it_listens(port, START_BOUND).await;
        Self {
            process,
            port,
            _directory: directory,
        }
    }

    /// Puts a proxy before the upstream, `HOST:PORT`, and yields its own `HOST:PORT`.
    pub(crate) async fn proxy(&self, name: &str, upstream: &str) -> String {
        let listen = format!("127.0.0.1:{}", free_port());
        self.post(
            "proxies",
            &json!({"name": name, "listen": listen, "upstream": upstream}),
        )
        .await;
        listen
    }

    /// Poisons what flows back from the upstream; `latency` takes `{"latency": 100}` in
    /// milliseconds, `reset_peer` takes `{"timeout": 0}`, `limit_data` takes `{"bytes": 100}`.
    pub(crate) async fn poison(&self, proxy: &str, kind: &str, attributes: &Value) {
        let toxic =
            json!({"name": kind, "type": kind, "stream": "downstream", "attributes": attributes});
        self.post(&format!("proxies/{proxy}/toxics"), &toxic).await;
    }

    /// Takes a poison away again.
    pub(crate) async fn heal(&self, proxy: &str, kind: &str) {
        let url = format!(
            "http://127.0.0.1:{}/proxies/{proxy}/toxics/{kind}",
            self.port
        );
        let response = http::client()
            .delete(url)
            .send()
            .await
            .expect("toxiproxy answers");
        assert!(
            response.status().is_success(),
            "{kind}: {}",
            response.status()
        );
    }

    /// Waits with its log at hand.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    async fn post(&self, path: &str, body: &Value) {
        let url = format!("http://127.0.0.1:{}/{path}", self.port);
        http::post_json(&http::client(), &url, body).await;
    }
}
