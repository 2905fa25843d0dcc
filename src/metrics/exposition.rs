//! The two formats: OpenMetrics, and text 0.0.4 for those who do not ask for the other.

use std::fmt::{self, Write};

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use super::catalog;
use super::collector::SnapshotCollector;
use super::compat::{self, CompatCollector};
use super::process::ProcessCollector;
use crate::registry::stats::Stats;

/// Everything that is exposed.
#[derive(Debug)]
pub struct Exposition {
    own: Registry,
    process: Registry,
    /// Another exporter's, for whoever comes from it.
    compat: Option<Registry>,
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
        Self {
            own,
            process,
            compat: None,
        }
    }

    /// With another exporter's series beside our own, if there is one.
    #[must_use]
    pub fn with_compat(mut self, collector: Option<CompatCollector>) -> Self {
        self.compat = collector.map(|collector| {
            let mut compat = Registry::with_prefix(compat::PREFIX);
            compat.register_collector(Box::new(collector));
            compat
        });
        self
    }

    /// One scrape, written as it is made.
    pub fn encode(&self, format: Format, to: &mut dyn Write) -> fmt::Result {
        match format {
            Format::OpenMetrics => self.encode_openmetrics(to),
            Format::Text => {
                let mut text = AsText::new(to);
                self.encode_openmetrics(&mut text)
            }
        }
    }

    fn encode_openmetrics(&self, mut to: &mut dyn Write) -> fmt::Result {
        text::encode_registry(&mut to, &self.own)?;
        text::encode_registry(&mut to, &self.process)?;
        if let Some(compat) = &self.compat {
            text::encode_registry(&mut to, compat)?;
        }
        text::encode_eof(&mut to)
    }
}

/// OpenMetrics as text 0.0.4: a counter's family is called as its sample, `info` is a gauge, and
/// there is neither a unit nor an end. Samples are the same, and go through as they are.
struct AsText<'a> {
    to: &'a mut dyn Write,
    /// The line that begins with `#`, as far as it was written.
    comment: String,
    /// The last `HELP`: its family's name, and the words.
    help: Option<(String, String)>,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    LineStart,
    Sample,
    Comment,
}

impl<'a> AsText<'a> {
    fn new(to: &'a mut dyn Write) -> Self {
        Self {
            to,
            comment: String::new(),
            help: None,
            place: Place::LineStart,
        }
    }

    fn end_comment(&mut self) -> fmt::Result {
        let line = std::mem::take(&mut self.comment);
        let mut words = line.trim_end_matches('\n').splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), Some(words)) => {
                self.help = Some((name.to_owned(), words.to_owned()));
                Ok(())
            }
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    other => ("", other),
                };
                if let Some((_, words)) = self.help.take().filter(|(of, _)| of == name) {
                    writeln!(self.to, "# HELP {name}{suffix} {words}")?;
                }
                writeln!(self.to, "# TYPE {name}{suffix} {kind}")
            }
            // `EOF` and `UNIT`.
            _ => Ok(()),
        }
    }
}

impl Write for AsText<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive('\n') {
            if self.place == Place::LineStart {
                let is_comment = piece.starts_with('#');
                self.place = if is_comment {
                    Place::Comment
                } else {
                    Place::Sample
                };
            }
            let ends = piece.ends_with('\n');
            match self.place {
                Place::Comment => {
                    self.comment.push_str(piece);
                    if ends {
                        self.end_comment()?;
                    }
                }
                Place::Sample | Place::LineStart => self.to.write_str(piece)?,
            }
            if ends {
                self.place = Place::LineStart;
            }
        }
        Ok(())
    }
}
