//! Families of samples, written one after the other. Nothing is collected before it is written: a
//! scrape of a hundred thousand images costs a sample's labels at a time.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;

use super::catalog::{self, Kind, Metric};

/// A sample's labels, borrowed from the snapshot where their values need no change. So are the names of
/// those that the configuration chose.
pub(super) type Labels<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// Writes the samples of one family after the other.
pub(super) struct Families<'e>(pub(super) DescriptorEncoder<'e>);

impl Families<'_> {
    pub(super) fn gauges<'a>(
        &mut self,
        metric: &Metric,
        samples: impl IntoIterator<Item = (Labels<'a>, f64)>,
    ) -> fmt::Result {
        self.family(metric, samples, |encoder, value| {
            encoder.encode_gauge(&value)
        })
    }

    /// A family without samples is not there at all.
    pub(super) fn family<'a>(
        &mut self,
        metric: &Metric,
        samples: impl IntoIterator<Item = (Labels<'a>, f64)>,
        encode: impl Fn(&mut MetricEncoder<'_>, f64) -> fmt::Result,
    ) -> fmt::Result {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let kind = match metric.kind {
            Kind::Gauge | Kind::Histogram => MetricType::Gauge,
            Kind::Counter => MetricType::Counter,
            Kind::Info => MetricType::Info,
        };
        let mut family = self
            .0
            .encode_descriptor(metric.name, metric.help, None, kind)?;
        for (labels, value) in samples {
            debug_assert!(
                metric.labels.starts_with(&catalog::WORKLOAD)
                    || labels.iter().all(|(name, _)| metric.labels.contains(name)),
                "{}",
                metric.name
            );
            if labels.is_empty() {
                encode(&mut family, value)?;
            } else {
                encode(&mut family.encode_family(&labels)?, value)?;
            }
        }
        Ok(())
    }
}

pub(super) fn and<'a>(mut labels: Labels<'a>, name: &'static str, value: &'a str) -> Labels<'a> {
    labels.push((name, value.into()));
    labels
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts and seconds are far below 2^53"
)]
pub(super) fn number(value: u64) -> f64 {
    value as f64
}

pub(super) fn truth(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}

pub(super) fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}
