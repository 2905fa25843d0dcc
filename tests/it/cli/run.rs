//! Runs a command of `pullproof` to its end, within a bound.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::daemon;
use crate::support::registry::Registry;

/// No command takes longer, however busy the machine is.
const BOUND: Duration = Duration::from_mins(2);

/// A command that ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// What `-o json` printed.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The codes of all findings of an image, by the end of its reference.
    pub(crate) fn codes(&self, suffix: &str) -> Vec<String> {
        let view = self.json();
        let image = view["images"].as_array().unwrap().iter();
        let image = image
            .filter(|image| image["reference"].as_str().unwrap().ends_with(suffix))
            .collect::<Vec<_>>();
        assert_eq!(image.len(), 1, "{suffix}: {view:#}");
        let findings = image[0]["findings"].as_array().unwrap().iter();
        findings
            .map(|finding| finding["code"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// In a home of its own.
pub(crate) async fn pullproof(arguments: &[&str]) -> Ended {
    with_input(arguments, "").await
}

/// In a home of its own, with this on standard input.
pub(crate) async fn with_input(arguments: &[&str], input: &str) -> Ended {
    let home = tempfile::tempdir().unwrap();
    let mut command = daemon::command(home.path());
    command.args(arguments);
    run(command, input).await
}

pub(crate) async fn pullproof_in(home: &Path, arguments: &[&str]) -> Ended {
    let mut command = daemon::command(home);
    command.args(arguments);
    run(command, "").await
}

pub(crate) async fn run(mut command: Command, input: &str) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary is there");
    let id = i32::try_from(child.id()).expect("a process id");
    let mut stdin = child.stdin.take().expect("it is piped");
    // Less than a pipe holds. A command that ended without reading it does not want it.
    stdin.write_all(input.as_bytes()).ok();
    drop(stdin);
    let waiting = tokio::task::spawn_blocking(move || child.wait_with_output());
    let Ok(output) = tokio::time::timeout(BOUND, waiting).await else {
        let pid = rustix::process::Pid::from_raw(id).expect("a process id");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it runs");
        panic!("{command:?} did not end within {BOUND:?}");
    };
    let output = output
        .expect("waiting does not panic")
        .expect("it was started");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    Ended {
        code: output.status.code().expect("it ended by itself"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Takes a blob's content away, as a collector or a bad disk does. Its links stay.
pub(crate) fn lose_blob(registry: &Registry, digest: &str) {
    let hash = digest.strip_prefix("sha256:").expect("a digest");
    let blobs = registry.root().join("docker/registry/v2/blobs/sha256");
    let directory = blobs.join(&hash[..2]).join(hash);
    std::fs::remove_dir_all(directory).expect("the registry has the blob");
}

/// A value with words for its leaves, and in an array each shape once.
pub(crate) fn shape(value: &Value) -> Value {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "string".into(),
        Value::Array(values) => {
            let mut shapes: Vec<Value> = Vec::new();
            for value in values.iter().map(shape) {
                if !shapes.contains(&value) {
                    shapes.push(value);
                }
            }
            shapes.into()
        }
        Value::Object(fields) => {
            let fields = fields.iter();
            Value::Object(
                fields
                    .map(|(key, value)| (key.clone(), shape(value)))
                    .collect(),
            )
        }
    }
}
