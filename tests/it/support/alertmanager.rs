//! A real Alertmanager, and the webhook at which its notifications arrive.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;
use tempfile::TempDir;

use super::parts;
use super::process::{Ending, Process, free_port};
use super::server::Server;

const START_BOUND: Duration = Duration::from_secs(30);

type Notifications = Arc<Mutex<Vec<Value>>>;

/// Who is paged: it keeps every notification that it is sent.
#[derive(Debug)]
pub(crate) struct Webhook {
    server: Server,
    notifications: Notifications,
}

impl Webhook {
    pub(crate) fn start() -> Self {
        let notifications = Notifications::default();
        let router = Router::new()
            .route("/", post(notified))
            .with_state(Arc::clone(&notifications));
        Self {
            server: Server::start(router),
            notifications,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/", self.server.url())
    }

    /// All of them so far, as Alertmanager sent them.
    pub(crate) fn notifications(&self) -> Vec<Value> {
        self.notifications
            .lock()
            .expect("no handler panics")
            .clone()
    }

    /// How many notifications have told of this alert with this status: `firing` or `resolved`.
    pub(crate) fn count(&self, alert: &str, status: &str) -> usize {
        let tells = |notification: &&Value| {
            notification["alerts"].as_array().is_some_and(|alerts| {
                alerts
                    .iter()
                    .any(|told| told["labels"]["alertname"] == alert && told["status"] == status)
            })
        };
        self.notifications().iter().filter(tells).count()
    }
}

async fn notified(
    State(notifications): State<Notifications>,
    Json(body): Json<Value>,
) -> StatusCode {
    notifications.lock().expect("no handler panics").push(body);
    StatusCode::OK
}

#[derive(Debug)]
pub(crate) struct Alertmanager {
    process: Process,
    port: u16,
    _directory: TempDir,
}

impl Alertmanager {
    /// One route, by alert name, to the webhook, as fast as it goes.
    pub(crate) async fn start(webhook: &Webhook) -> Self {
        Self::start_with(&format!(
            "route: {{receiver: webhook, group_by: [alertname], group_wait: 100ms, group_interval: 1s, repeat_interval: 1h}}\n\
             receivers:\n- name: webhook\n  webhook_configs: [{{url: '{}', send_resolved: true}}]\n",
            webhook.url()
        ))
        .await
    }

    /// With a configuration of the test's own.
    pub(crate) async fn start_with(text: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let configuration = directory.path().join("alertmanager.yaml");
        std::fs::write(&configuration, text).expect("the directory is there");
        let port = free_port();
        let mut command = Command::new(parts::path("prometheus-alertmanager"));
        command
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!(
                "--storage.path={}",
                directory.path().join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            // Alone: no gossip, whose port would be fixed.
            .arg("--cluster.listen-address=");
        let process = Process::start(command, "alertmanager", directory.path(), Ending::Kill);
        process.wait_until_it_listens(port, START_BOUND).await;
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
}
