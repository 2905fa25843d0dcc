//! The two formats: OpenMetrics, and text 0.0.4 for those who do not ask for the other.

use std::fmt;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use super::catalog;
use super::collector::SnapshotCollector;
use super::process::ProcessCollector;
use crate::registry::stats::Stats;

/// Everything that is exposed.
#[derive(Debug)]
pub struct Exposition {
    own: Registry,
    process: Registry,
}

/// The format of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    OpenMetrics,
    Text,
}

impl Format {
    /// What a scraper's `Accept` asks for. Prometheus names OpenMetrics first; curl names nothing.
    pub fn of(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

impl Exposition {
    pub fn new(collector: SnapshotCollector, stats: &Stats) -> Self {
        let mut own = Registry::with_prefix(catalog::PREFIX);
        own.register_collector(Box::new(collector.with_hosts(stats.hosts.clone())));
        let metric = catalog::REGISTRY_REQUESTS;
        own.register(metric.name, metric.help, stats.requests.clone());
        let metric = catalog::REGISTRY_REQUEST_DURATION;
        own.register(metric.name, metric.help, stats.durations.clone());
        let mut process = Registry::default();
        process.register_collector(Box::new(ProcessCollector));
        Self { own, process }
    }

    /// One scrape.
    pub fn encode(&self, format: Format) -> Result<String, fmt::Error> {
        let mut body = String::new();
        text::encode_registry(&mut body, &self.own)?;
        text::encode_registry(&mut body, &self.process)?;
        text::encode_eof(&mut body)?;
        Ok(match format {
            Format::OpenMetrics => body,
            Format::Text => to_text(&body),
        })
    }
}

/// OpenMetrics as text 0.0.4: a counter's family is called as its sample, `info` is a gauge, and
/// there is neither a unit nor an end.
fn to_text(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut help = None;
    for line in openmetrics.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("EOF" | "UNIT"), ..) => {}
            (Some("#"), Some("HELP"), Some(name), Some(words)) => help = Some((name, words)),
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    other => ("", other),
                };
                if let Some((_, words)) = help.take().filter(|(of, _)| *of == name) {
                    push_line(&mut text, &format!("# HELP {name}{suffix} {words}"));
                }
                push_line(&mut text, &format!("# TYPE {name}{suffix} {kind}"));
            }
            _ => push_line(&mut text, line),
        }
    }
    text
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}
