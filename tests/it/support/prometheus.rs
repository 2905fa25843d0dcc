//! A real Prometheus that scrapes and evaluates every second.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::alertmanager::Alertmanager;
use super::http;
use super::parts;
use super::process::{Ending, Process, free_port};

const START_BOUND: Duration = Duration::from_mins(1);

/// One element of an instant vector.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

#[derive(Debug)]
pub(crate) struct Prometheus {
    process: Process,
    port: u16,
    _directory: TempDir,
}

impl Prometheus {
    /// Targets are pairs of a job's name and `HOST:PORT`; their `/metrics` is scraped with
    /// `honor_labels`, as our `ServiceMonitor` asks for.
    pub(crate) async fn start(
        targets: &[(&str, String)],
        rules: &[PathBuf],
        alertmanager: Option<&Alertmanager>,
    ) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let configuration = directory.path().join("prometheus.yaml");
        let scrapes: Vec<Value> = targets
            .iter()
            .map(|(job, host)| {
                json!({
                    "job_name": job,
                    "honor_labels": true,
                    "static_configs": [{"targets": [host]}],
                })
            })
            .collect();
        let alertmanagers: Vec<String> =
            alertmanager.iter().map(|manager| manager.host()).collect();
        // JSON is YAML too.
        let text = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": rules,
            "scrape_configs": scrapes,
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": alertmanagers}]}]},
        });
        std::fs::write(&configuration, text.to_string()).expect("the directory is there");
        let port = free_port();
        let mut command = Command::new(parts::path("prometheus"));
        command
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.path().join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let process = Process::start(command, "prometheus", directory.path(), Ending::Kill);
        let ready = format!("http://127.0.0.1:{port}/-/ready");
        let client = http::client();
        process
            .wait_until("Prometheus is ready", START_BOUND, async || {
                client
                    .get(&ready)
                    .send()
                    .await
                    .ok()?
                    .error_for_status()
                    .ok()
                    .map(drop)
            })
            .await;
        Self {
            process,
            port,
            _directory: directory,
        }
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Waits with its log at hand.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// The instant vector that the expression yields now; panics when it is no such expression.
    pub(crate) async fn query(&self, expression: &str) -> Vec<Sample> {
        let mut url = reqwest::Url::parse(&format!("http://{}/api/v1/query", self.host()))
            .expect("an address of ours");
        url.query_pairs_mut().append_pair("query", expression);
        let response = http::client()
            .get(url)
            .send()
            .await
            .expect("Prometheus answers");
        let body = response.text().await.expect("Prometheus answers with text");
        let body: Value = serde_json::from_str(&body).expect("Prometheus answers with JSON");
        assert_eq!(body["status"], "success", "{expression}: {body}");
        let result = body["data"]["result"]
            .as_array()
            .expect("an instant vector");
        result.iter().map(sample).collect()
    }
}

/// Prometheus' tool with this on its input; it fails where a test that required Prometheus has none.
pub(crate) fn promtool(words: &[&str], input: &str) -> Output {
    let mut promtool = Command::new(parts::path("promtool"))
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut given = promtool.stdin.take().expect("it is piped");
    given
        .write_all(input.as_bytes())
        .expect("it reads its input");
    drop(given);
    promtool.wait_with_output().expect("it ends")
}

/// That the tool has nothing to say of a scrape in the text format.
pub(crate) fn check_metrics(scrape: &str) {
    let told = promtool(&["check", "metrics"], scrape);
    let said = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.status.success() && said.is_empty(), "{said}");
}

fn sample(element: &Value) -> Sample {
    let labels = serde_json::from_value(element["metric"].clone()).expect("labels are strings");
    let value = element["value"][1].as_str().expect("a value is a string");
    Sample {
        labels,
        value: value.parse().expect("a value is a number"),
    }
}
