//! A real S3 server over a directory, each sub-directory a bucket: versitygw.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::parts;
use super::process::{Ending, Process, free_port};

const START_BOUND: Duration = Duration::from_secs(30);
pub(crate) const ACCESS_KEY: &str = "pullproof";
pub(crate) const SECRET_KEY: &str = "not a secret";
pub(crate) const BUCKET: &str = "registry";

#[derive(Debug)]
pub(crate) struct S3 {
    _process: Process,
    port: u16,
    directory: TempDir,
}

impl S3 {
    /// With one empty bucket.
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(directory.path().join(BUCKET)).expect("it is empty");
        let port = free_port();
        let mut command = Command::new(parts::path("versitygw"));
        command
            .args(["--port", &format!("127.0.0.1:{port}"), "posix"])
            .arg(directory.path())
            .env("ROOT_ACCESS_KEY", ACCESS_KEY)
            .env("ROOT_SECRET_KEY", SECRET_KEY);
        let process = Process::start(command, "versitygw", directory.path(), Ending::Terminate);
        process.wait_until_it_listens(port, START_BOUND).await;
        Self {
            _process: process,
            port,
            directory,
        }
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where the bucket's objects lie.
    pub(crate) fn bucket(&self) -> PathBuf {
        self.directory.path().join(BUCKET)
    }

    /// The part of a registry's configuration that names this bucket as its storage.
    pub(crate) fn storage(host: &str) -> serde_json::Value {
        serde_json::json!({
            "accesskey": ACCESS_KEY,
            "secretkey": SECRET_KEY,
            "region": "us-east-1",
            "regionendpoint": format!("http://{host}"),
            "forcepathstyle": true,
            "secure": false,
            "bucket": BUCKET,
        })
    }
}
