//! `pullproof gc plan` over a copy of the tree, and the plan carried out to the letter.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::paths::{data, history, layer, revision};
use super::tree::NOW;
use crate::support::daemon;
use crate::support::s3;

pub(crate) const HOST: &str = "registry.example:5000";
/// What most cases are about: everything that nothing needs.
pub(crate) const ALL: &str = "untagged: delete, tagHistory: delete";

/// What it answered.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) code: Option<i32>,
    pub(crate) view: Value,
    pub(crate) stdout: String,
    stderr: String,
}

/// One thing that goes.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) kind: String,
    pub(crate) digest: String,
    pub(crate) repository: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) bytes: u64,
}

/// Plans, below another program if there are words. `kept` are lines of the keep-list, and `gc` is the
/// configuration's.
pub(crate) async fn plan(root: &Path, kept: &[String], gc: &str, words: &[OsString]) -> Planned {
    plan_storage(&json!({"filesystem": {"root": root}}), kept, gc, words).await
}

/// The same over the bucket of an S3 server, which is reached by this host.
pub(crate) async fn plan_bucket(host: &str) -> Planned {
    let storage = json!({
        "endpoint": format!("http://{host}"),
        "region": "us-east-1",
        "bucket": s3::BUCKET,
        "credentials": {"accessKey": {"file": "key"}},
    });
    plan_storage(&json!({"s3": storage}), &[], ALL, &[]).await
}

async fn plan_storage(storage: &Value, kept: &[String], gc: &str, words: &[OsString]) -> Planned {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("pullproof.yaml");
    fs::write(
        home.path().join("keep.txt"),
        format!("# What runs.\n{}\n", kept.join("\n")),
    )
    .unwrap();
    let key = format!(
        "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        s3::ACCESS_KEY,
        s3::SECRET_KEY
    );
    fs::write(home.path().join("key"), key).unwrap();
    let text = format!(
        "inventory: {{references: [{{name: keep, file: keep.txt}}]}}\n\
         registries: [{{host: \"{HOST}\", kind: distribution, storage: {storage}}}]\n\
         gc: {{{gc}, minimumAge: 24h, repositories: [\"**\"]}}\n"
    );
    fs::write(&file, text).unwrap();
    let mut command = daemon::command(home.path());
    if let Some((first, rest)) = words.split_first() {
        let plain = command;
        command = Command::new(first);
        command.env_clear().current_dir(home.path()).args(rest);
        command.arg(plain.get_program());
        for (name, value) in plain.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
    }
    command.arg("--config").arg(&file);
    command.args(["gc", "plan", "-o", "json", "--now", NOW]);
    let ended = tokio::task::spawn_blocking(move || command.output().unwrap());
    let ended = ended.await.unwrap();
    let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
    Planned {
        code: ended.status.code(),
        view: serde_json::from_slice(&ended.stdout).unwrap_or_default(),
        stdout: String::from_utf8(ended.stdout).unwrap(),
        stderr,
    }
}

impl Planned {
    pub(crate) fn rows(&self) -> Vec<Row> {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert_eq!(self.view["schema"], "pullproof.dev/gc-plan/v1", "{self:?}");
        let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
        let rows = self.view["garbage"].as_array().unwrap().iter();
        let rows = rows.map(|row| {
            assert!(!text(&row["reason"]).unwrap().is_empty(), "{row}");
            Row {
                kind: text(&row["kind"]).unwrap(),
                digest: text(&row["digest"]).unwrap(),
                repository: text(&row["repository"]),
                tag: text(&row["tag"]),
                bytes: row["bytes"].as_u64().unwrap(),
            }
        });
        rows.collect()
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        let count = self.view["counts"][name].as_u64();
        count.unwrap_or_else(|| panic!("no {name}: {} {}", self.view, self.stderr))
    }

    /// Of each damage, the repository and the path.
    pub(crate) fn damaged(&self) -> Vec<(Option<String>, String)> {
        let all = self.view["damaged"].as_array().unwrap().iter();
        let all = all.map(|it| {
            assert!(!it["problem"].as_str().unwrap().is_empty(), "{it}");
            let repository = it["repository"].as_str().map(ToOwned::to_owned);
            (repository, it["path"].as_str().unwrap().to_owned())
        });
        all.collect()
    }

    /// The codes of what kept it from planning.
    pub(crate) fn refusals(&self) -> Vec<String> {
        let all = self.view["refusals"].as_array();
        let all = all.unwrap_or_else(|| panic!("{self:?}")).iter();
        all.map(|it| it["code"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// Removes what the rows say and nothing else. Each must find what it names.
pub(crate) fn apply(root: &Path, rows: &[Row]) {
    for row in rows {
        let (kind, digest) = (row.kind.as_str(), row.digest.as_str());
        let repository = row.repository.as_deref();
        let link = match (kind, repository) {
            ("manifest", Some(repository)) => Some(revision(root, repository, digest)),
            ("config" | "layer" | "layer_link", Some(repository)) => {
                Some(layer(root, repository, digest))
            }
            ("tag_history", Some(repository)) => {
                let tag = row.tag.as_deref().unwrap();
                Some(history(root, repository, tag, digest))
            }
            ("manifest" | "config" | "layer", None) => None,
            _ => panic!("{row:?}"),
        };
        if let Some(link) = link {
            remove(row, &link);
        }
        let data = data(root, digest);
        let is_empty = || fs::metadata(&data).is_ok_and(|told| told.len() == 0);
        if row.bytes > 0 || (matches!(kind, "config" | "layer") && is_empty()) {
            assert_eq!(fs::metadata(&data).unwrap().len(), row.bytes, "{row:?}");
            remove(row, &data);
        }
    }
}

/// A file with its directory, which is its own.
fn remove(row: &Row, file: &Path) {
    assert!(file.exists(), "{row:?}: {}", file.display());
    fs::remove_dir_all(file.parent().unwrap()).unwrap();
}
