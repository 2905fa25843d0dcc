//! The registries' own collectors, each over a copy of the tree.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::parts;
use crate::support::process::run;
use crate::support::registry::Version;

/// A tree that was collected.
#[derive(Debug)]
pub(crate) struct Collected {
    directory: TempDir,
    /// What it said.
    pub(crate) ended: Result<String, String>,
}

impl Collected {
    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }
}

pub(crate) fn program(version: Version) -> OsString {
    let name = match version {
        Version::V2 => "docker-registry",
        Version::V311 => "registry-3.1.1",
        Version::V3 => "registry-3.1",
    };
    parts::path(name).into()
}

/// Collects a copy, with manifests that no tag names.
pub(crate) async fn collect(version: Version, copy: TempDir) -> Collected {
    collect_below(version, copy, &[]).await
}

/// The same below another program, whose words come first.
pub(crate) async fn collect_below(
    version: Version,
    copy: TempDir,
    words: &[OsString],
) -> Collected {
    let storage = json!({"filesystem": {"rootdirectory": copy.path()}});
    let ended = collect_storage(version, &storage, words).await;
    Collected {
        directory: copy,
        ended,
    }
}

/// Collects what a configuration's `storage` says.
pub(crate) async fn collect_storage(
    version: Version,
    storage: &Value,
    words: &[OsString],
) -> Result<String, String> {
    let directory = tempfile::tempdir().unwrap();
    let configuration = directory.path().join("registry.yaml");
    // JSON is YAML too.
    let text = json!({"version": "0.1", "storage": storage, "http": {"addr": "127.0.0.1:0"}});
    fs::write(&configuration, text.to_string()).unwrap();
    let mut words: Vec<OsString> = words.to_vec();
    words.push(program(version));
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .args(["garbage-collect", "--delete-untagged"])
        .arg(&configuration)
        .env_remove("AWS_CA_BUNDLE")
        .env("OTEL_TRACES_EXPORTER", "none");
    run(command).await
}
