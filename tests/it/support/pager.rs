//! Who watches a daemon: a real Prometheus with the shipped rules, a real Alertmanager with the shipped
//! routing, and the one who is paged. Only waits are scaled, see [`hurried`].

use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::alertmanager::{Alertmanager, Webhook};
use super::daemon::Daemon;
use super::http;
use super::prometheus::Prometheus;
use super::wait::wait_until;

const RULES: &str = include_str!("../../../alerts/pullproof.rules.yaml");
const ROUTING: &str = include_str!("../../../alerts/alertmanager.example.yaml");

pub(crate) const MISSING: &str = "PullproofImageNotPullable";
pub(crate) const UNREACHABLE: &str = "PullproofRegistryUnreachable";

/// For what takes some ten seconds on a machine that has nothing else to do.
pub(crate) const BOUND: Duration = Duration::from_mins(3);

/// When the last round over the registry ended, as it is written in a scrape.
pub(crate) fn last_completed_in(scrape: &str, host: &str) -> Option<String> {
    let series =
        format!("pullproof_verification_last_completed_timestamp_seconds{{registry=\"{host}\"}} ");
    let value = scrape.lines().find_map(|line| line.strip_prefix(&series))?;
    Some(value.to_owned())
}

/// Who watches the daemon: Prometheus with the shipped rules, Alertmanager with the shipped
/// routing, and the one who is paged.
#[derive(Debug)]
pub(crate) struct Pager {
    prometheus: Prometheus,
    alertmanager: Alertmanager,
    webhook: Webhook,
    _directory: TempDir,
}

impl Pager {
    pub(crate) async fn watch(daemon: &Daemon) -> Self {
        let webhook = Webhook::start();
        let mut routing = hurried(ROUTING);
        for receiver in ["platform", "shop"] {
            let url = format!("http://{receiver}.example/alerts");
            assert!(routing.contains(&url), "{routing}");
            routing = routing.replace(&url, &webhook.url());
        }
        let alertmanager = Alertmanager::start_with(&routing).await;
        let directory = tempfile::tempdir().expect("a temporary directory");
        let rules = directory.path().join("pullproof.rules.yaml");
        std::fs::write(&rules, hurried(RULES)).expect("the directory is there");
        let targets = [("pullproof", daemon.metrics_host())];
        let prometheus = Prometheus::start(&targets, &[rules], Some(&alertmanager)).await;
        Self {
            prometheus,
            alertmanager,
            webhook,
            _directory: directory,
        }
    }

    /// Everything that it was told so far, a notification each.
    pub(crate) fn notifications(&self) -> Vec<Value> {
        self.webhook.notifications()
    }

    /// What the webhook was told of this alert with this label, once for each notification.
    pub(crate) fn told(&self, alert: &str, label: &str, value: &str, status: &str) -> Vec<Value> {
        let is_it = |told: &&Value| {
            let labels = &told["labels"];
            labels["alertname"] == alert && labels[label] == value && told["status"] == status
        };
        let notifications = self.webhook.notifications();
        let alerts = notifications
            .iter()
            .filter_map(|notification| notification["alerts"].as_array());
        alerts.flatten().filter(is_it).cloned().collect()
    }

    /// How often it was told that this image is missing, and that it is not any more.
    pub(crate) fn times_told_of_image(&self, image: &str) -> (usize, usize) {
        let times = |status| self.told(MISSING, "image", image, status).len();
        (times("firing"), times("resolved"))
    }

    pub(crate) async fn wait_until_told_of_image(&self, image: &str, status: &str) -> Value {
        self.wait_until_told(MISSING, "image", image, status).await
    }

    pub(crate) async fn wait_until_told(
        &self,
        alert: &str,
        label: &str,
        value: &str,
        status: &str,
    ) -> Value {
        let what = format!("the webhook is told of {alert} for {value}, {status}");
        self.alertmanager
            .process()
            .wait_until(&what, BOUND, async || {
                self.told(alert, label, value, status).pop()
            })
            .await
    }

    /// Waits until what would have happened has happened.
    pub(crate) async fn wait_for_evaluations(&self, count: u32) {
        let before = self.evaluations().await;
        self.prometheus
            .process()
            .wait_until(
                "the rules were evaluated again and again",
                BOUND,
                async || (self.evaluations().await >= before + f64::from(count)).then_some(()),
            )
            .await;
    }

    /// How often Prometheus has evaluated the alerts for images.
    async fn evaluations(&self) -> f64 {
        let url = format!("http://{}/metrics", self.prometheus.host());
        wait_until(
            "Prometheus tells how often it evaluated",
            BOUND,
            async || {
                let answer = http::client().get(&url).send().await.ok()?;
                let text = answer.text().await.ok()?;
                let line = text.lines().find(|line| {
                    line.starts_with("prometheus_rule_group_iterations_total{")
                        && line.contains(";pullproof-images\"}")
                })?;
                line.rsplit(' ').next()?.parse().ok()
            },
        )
        .await
    }

    /// That Prometheus has not once seen this workload fail or its image's alert pend.
    pub(crate) async fn assert_never_missing(&self, workload: &str, image: &str) {
        for selector in [
            format!("pullproof_workload_image_failure{{workload=\"{workload}\"}}"),
            format!("ALERTS{{alertname=\"{MISSING}\",image=\"{image}\"}}"),
        ] {
            let expression = format!("count_over_time({selector}[1h])");
            let samples = self.prometheus.query(&expression).await;
            assert!(samples.is_empty(), "{samples:?}");
        }
    }
}

/// The shipped file with every wait a sixtieth of what it is, so that a minute is a second. A test
/// cannot wait for minutes; all by one factor, so that what bridges what stays as it was designed.
fn hurried(text: &str) -> String {
    const WAITS: [&str; 5] = [
        "for",
        "keep_firing_for",
        "group_wait",
        "group_interval",
        "repeat_interval",
    ];
    let mut lines = Vec::new();
    for line in text.lines() {
        let wait = line
            .split_once(": ")
            .filter(|(key, _)| WAITS.contains(&key.trim()));
        lines.push(match wait {
            Some((key, value)) => format!("{key}: {}", sixtieth(value)),
            None => line.to_owned(),
        });
    }
    lines.push(String::new());
    lines.join("\n")
}

fn sixtieth(duration: &str) -> String {
    let unit = duration.len() - 1;
    let (number, unit) = duration.split_at(unit);
    let number: u32 = number.parse().expect("a duration has one number");
    match unit {
        "s" => format!("{}ms", number * 1000 / 60),
        "m" => format!("{number}s"),
        "h" => format!("{number}m"),
        "d" => format!("{}m", number * 24),
        _ => panic!("{duration} is in no unit that the shipped files use"),
    }
}

#[test]
fn a_hurried_file_differs_in_its_waits_alone() {
    assert_eq!(
        hurried(
            "a: 5m\n  for: 5m\n  keep_firing_for: 15m\ngroup_wait: 30s\nrepeat_interval: 12h\nfor: 8d\n"
        ),
        "a: 5m\n  for: 5s\n  keep_firing_for: 15s\ngroup_wait: 500ms\nrepeat_interval: 12m\nfor: 192m\n"
    );
}
