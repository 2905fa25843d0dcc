//! The chart, as Helm renders it, and Kubernetes' objects as texts and values.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::parts;
use crate::support::process::run;

/// A path in the repository.
pub(super) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

pub(super) fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The values that the chart is tested with, by their names.
pub(super) fn cases() -> Vec<String> {
    let files = fs::read_dir(path("deploy/helm/pullproof/ci")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let names = names.map(|name| name.strip_suffix("-values.yaml").unwrap().to_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    assert!(names.len() > 3, "{names:?}");
    names
}

pub(super) fn values_of(case: &str) -> PathBuf {
    path(&format!("deploy/helm/pullproof/ci/{case}-values.yaml"))
}

/// Helm with nothing of the machine's.
pub(super) async fn helm(arguments: &[&str]) -> Result<String, String> {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(parts::path("helm"));
    command
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", "/usr/bin:/bin")
        .args(arguments);
    run(command).await
}

/// What `helm template` makes of these arguments for the release `pullproof` in the namespace of that name.
pub(super) async fn template(arguments: &[&str]) -> Result<String, String> {
    let chart = path("deploy/helm/pullproof");
    let words = ["template", "pullproof", chart.to_str().unwrap()];
    let words = [&words[..], &["--namespace", "pullproof"], arguments].concat();
    helm(&words).await
}

pub(super) async fn rendered(values: &Path) -> Vec<Object> {
    let text = template(&["--values", values.to_str().unwrap()]).await;
    objects(&text.unwrap_or_else(|problem| panic!("{}: {problem}", values.display())))
}

/// One object of Kubernetes.
#[derive(Debug, Clone)]
pub(super) struct Object {
    /// As it is written, without the line that says where Helm had it from.
    pub(super) text: String,
    pub(super) value: Value,
}

impl Object {
    pub(super) fn kind(&self) -> &str {
        self.value["kind"].as_str().unwrap()
    }

    pub(super) fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap()
    }

    /// Empty for what belongs to no namespace.
    pub(super) fn namespace(&self) -> &str {
        let namespace = self.value["metadata"]["namespace"].as_str();
        namespace.unwrap_or_default()
    }

    /// `KIND NAMESPACE/NAME`
    pub(super) fn key(&self) -> String {
        format!("{} {}/{}", self.kind(), self.namespace(), self.name())
    }
}

/// The objects of a file.
pub(super) fn objects(text: &str) -> Vec<Object> {
    let mut documents = vec![String::new()];
    for line in text.lines() {
        if line == "---" {
            documents.push(String::new());
        } else if !line.starts_with("# Source: ") {
            let last = documents.last_mut().unwrap();
            last.push_str(line.trim_end());
            last.push('\n');
        }
    }
    let objects = documents.into_iter().map(|text| {
        let value: Value = serde_saphyr::from_str(&text).unwrap_or_default();
        let text = format!("{}\n", text.trim());
        Object { text, value }
    });
    objects.filter(|object| !object.value.is_null()).collect()
}
