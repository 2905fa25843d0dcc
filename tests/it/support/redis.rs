//! A real redis, which replicas of a registry share as their cache.

use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::parts;
use super::process::{Ending, Process, free_port, run_well};

const START_BOUND: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Redis {
    process: Option<Process>,
    port: u16,
    _directory: TempDir,
}

impl Redis {
    /// Empty, and without anything on the disk.
    pub(crate) async fn start() -> Self {
        Self::start_with("--port", &[]).await
    }

    /// With the flag by which it is told its port, and with more.
    pub(crate) async fn start_with(listens: &str, more: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        let mut command = Command::new(parts::path("redis-server"));
        command
            .args(["--bind", "127.0.0.1", listens, &port.to_string()])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(directory.path())
            .args(more);
        let process = Process::start(command, "redis", directory.path(), Ending::Kill);
        process.wait_until_it_listens(port, START_BOUND).await;
        Self {
            process: Some(process),
            port,
            _directory: directory,
        }
    }

    pub(crate) fn stop(&mut self) {
        self.process = None;
    }

    /// What it answers to a command.
    pub(crate) async fn ask(&self, words: &[&str]) -> String {
        let mut command = Command::new(parts::path("redis-cli"));
        command.args(["-p", &self.port.to_string()]).args(words);
        run_well(command).await
    }

    /// All that it has.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let keys = self.ask(&["KEYS", "*"]).await;
        keys.lines().map(str::to_owned).collect()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Forgets everything, as an operator has it done.
    pub(crate) async fn flush(&self) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))
            .await
            .expect("it runs");
        stream.write_all(b"FLUSHALL\r\n").await.expect("it reads");
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await.expect("it answers");
        assert_eq!(&answer, b"+OK\r\n");
    }
}
