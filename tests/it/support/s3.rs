//! A real S3 server over a directory, each sub-directory a bucket: versitygw.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::fs::{XattrFlags, setxattr};
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
    /// Where versions are kept that are not what their key is.
    versions: Option<TempDir>,
}

impl S3 {
    /// With one empty bucket.
    pub(crate) async fn start() -> Self {
        Self::launch(None).await
    }

    /// With one empty bucket, whose versioning is enabled.
    pub(crate) async fn start_with_versions() -> Self {
        let versions = tempfile::tempdir().expect("a temporary directory");
        let s3 = Self::launch(Some(versions)).await;
        s3.set_versioning(true);
        s3
    }

    /// As `PutBucketVersioning` does it, to Enabled or to Suspended.
    pub(crate) fn set_versioning(&self, is_enabled: bool) {
        let flags = XattrFlags::empty();
        setxattr(
            self.bucket(),
            "user.versioning",
            &[u8::from(is_enabled)],
            flags,
        )
        .expect("the file system has attributes");
    }

    async fn launch(versions: Option<TempDir>) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(directory.path().join(BUCKET)).expect("it is empty");
        let port = free_port();
        let mut command = Command::new(parts::path("versitygw"));
        command.args(["--port", &format!("127.0.0.1:{port}"), "posix"]);
        if let Some(versions) = &versions {
            command.arg("--versioning-dir").arg(versions.path());
        }
        command
            .arg(directory.path())
            .env("ROOT_ACCESS_KEY", ACCESS_KEY)
            .env("ROOT_SECRET_KEY", SECRET_KEY);
        let process = Process::start(command, "versitygw", directory.path(), Ending::Terminate);
        process.wait_until_it_listens(port, START_BOUND).await;
        Self {
            _process: process,
            port,
            directory,
            versions,
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

    /// Where its objects lie, and their versions.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        let versions = self.versions.iter().map(|it| it.path().to_owned());
        versions.chain([self.bucket()]).collect()
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
