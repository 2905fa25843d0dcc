//! From one snapshot to samples. Nothing is kept between scrapes but the count of dropped series.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use tokio::sync::watch;

use super::catalog::{self, Kind, Metric};
use super::workloads::{self, Row, RowKey};
use crate::registry::hosts::Hosts;
use crate::state::{RegistryStatus, Snapshot};
use crate::verify::finding::{Code, Verdict};

/// How many series of workloads are exposed.
#[derive(Debug, Clone, Copy)]
pub struct Caps {
    pub series: usize,
    pub series_per_namespace: usize,
}

/// Reads the snapshot of the moment of a scrape.
#[derive(Debug)]
pub struct SnapshotCollector {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    is_config_current: watch::Receiver<bool>,
    caps: Caps,
    hosts: Hosts,
    dropped: AtomicU64,
}

impl SnapshotCollector {
    pub fn new(
        snapshots: watch::Receiver<Arc<Snapshot>>,
        is_config_current: watch::Receiver<bool>,
        caps: Caps,
    ) -> Self {
        Self {
            snapshots,
            is_config_current,
            caps,
            hosts: Hosts::default(),
            dropped: AtomicU64::new(0),
        }
    }

    /// With what is known of the hosts themselves, for those that the snapshot names.
    #[must_use]
    pub fn with_hosts(mut self, hosts: Hosts) -> Self {
        self.hosts = hosts;
        self
    }
}

type Labels = Vec<(&'static str, String)>;

/// Writes the samples of one family after the other.
struct Families<'e>(DescriptorEncoder<'e>);

impl Families<'_> {
    fn gauges(&mut self, metric: &Metric, samples: &[(Labels, f64)]) -> fmt::Result {
        self.family(metric, samples, |encoder, value| {
            encoder.encode_gauge(&value)
        })
    }

    fn family(
        &mut self,
        metric: &Metric,
        samples: &[(Labels, f64)],
        encode: impl Fn(&mut MetricEncoder<'_>, f64) -> fmt::Result,
    ) -> fmt::Result {
        if samples.is_empty() {
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
                labels.iter().all(|(name, _)| metric.labels.contains(name)),
                "{}",
                metric.name
            );
            if labels.is_empty() {
                encode(&mut family, *value)?;
            } else {
                encode(&mut family.encode_family(labels)?, *value)?;
            }
        }
        Ok(())
    }
}

impl Collector for SnapshotCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let snapshot = Arc::clone(&self.snapshots.borrow());
        let mut families = Families(encoder);
        self.encode_workloads(&snapshot, &mut families)?;
        encode_images(&snapshot, &mut families)?;
        encode_sources(&snapshot, &mut families)?;
        encode_registries(&snapshot, &mut families)?;
        encode_hosts(&snapshot, &self.hosts, &mut families)?;
        let is_current = if *self.is_config_current.borrow() {
            1.0
        } else {
            0.0
        };
        families.gauges(
            &catalog::CONFIG_LAST_RELOAD_SUCCESSFUL,
            &[(vec![], is_current)],
        )?;
        let dropped = self.dropped.load(Ordering::Relaxed);
        families.family(&catalog::SERIES_DROPPED, &[(vec![], 0.0)], |family, _| {
            family.encode_counter::<NoLabelSet, _, u64>(&dropped, None)
        })?;
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        families.family(&catalog::BUILD_INFO, &[(vec![], 1.0)], |family, _| {
            family.encode_info(&version)
        })
    }
}

impl SnapshotCollector {
    fn encode_workloads(&self, snapshot: &Snapshot, families: &mut Families<'_>) -> fmt::Result {
        let mut pullable = Vec::new();
        let mut failures = Vec::new();
        let mut unknown = Vec::new();
        let mut by_namespace: HashMap<(Option<&str>, &str), usize> = HashMap::new();
        let mut total = 0;
        // What is broken must not be what is cut.
        let rows = workloads::rows(snapshot);
        let mut ordered: Vec<(&RowKey<'_>, &Row<'_>)> = rows.iter().collect();
        ordered.sort_by_key(|(_, row)| std::cmp::Reverse(row.image.verdict()));
        for (key, row) in ordered {
            let labels = workload_labels(key, row);
            let series: Vec<(Kinds, Labels, f64)> = match row.image.verdict() {
                Verdict::Pullable => vec![(Kinds::Pullable, labels, 1.0)],
                Verdict::Unknown => {
                    let reason = workloads::doubt(row.image).as_str().to_owned();
                    vec![(Kinds::Unknown, and(&labels, vec![("reason", reason)]), 1.0)]
                }
                Verdict::Broken => {
                    let failed = workloads::failures(row.image).into_iter().map(|finding| {
                        let platform = finding.platform.as_ref().map(ToString::to_string);
                        let more = vec![
                            ("platform", workloads::label(&platform.unwrap_or_default())),
                            ("reason", finding.code.as_str().to_owned()),
                            ("known", row.image.is_known.to_string()),
                        ];
                        (Kinds::Failure, and(&labels, more), 1.0)
                    });
                    failed
                        .chain([(Kinds::Pullable, labels.clone(), 0.0)])
                        .collect()
                }
            };
            let in_namespace = by_namespace
                .entry((key.cluster, key.namespace))
                .or_default();
            if total + series.len() > self.caps.series
                || *in_namespace + series.len() > self.caps.series_per_namespace
            {
                self.dropped
                    .fetch_add(series.len() as u64, Ordering::Relaxed);
                continue;
            }
            total += series.len();
            *in_namespace += series.len();
            for (kind, labels, value) in series {
                match kind {
                    Kinds::Pullable => pullable.push((labels, value)),
                    Kinds::Failure => failures.push((labels, value)),
                    Kinds::Unknown => unknown.push((labels, value)),
                }
            }
        }
        families.gauges(&catalog::WORKLOAD_IMAGE_PULLABLE, &pullable)?;
        families.gauges(&catalog::WORKLOAD_IMAGE_FAILURE, &failures)?;
        families.gauges(&catalog::WORKLOAD_IMAGE_UNKNOWN, &unknown)
    }
}

#[derive(Clone, Copy)]
enum Kinds {
    Pullable,
    Failure,
    Unknown,
}

fn and(labels: &Labels, more: Labels) -> Labels {
    labels.iter().cloned().chain(more).collect()
}

fn workload_labels(key: &RowKey<'_>, row: &Row<'_>) -> Labels {
    let cluster = key
        .cluster
        .map(|cluster| ("cluster", workloads::label(cluster)));
    let rest = [
        ("namespace", workloads::label(key.namespace)),
        ("workload_type", workloads::label(&key.kind.to_lowercase())),
        ("workload", workloads::label(key.workload)),
        ("container", workloads::label(key.container)),
        ("image", workloads::label(key.image)),
        ("registry", workloads::label(&row.image.registry)),
        ("class", row.class.as_str().to_owned()),
    ];
    cluster.into_iter().chain(rest).collect()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts and seconds are far below 2^53"
)]
fn number(value: u64) -> f64 {
    value as f64
}

fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

/// Per image: the worst verdict and the oldest proof of all its credentials.
fn encode_images(snapshot: &Snapshot, families: &mut Families<'_>) -> fmt::Result {
    struct Sum {
        doubt: Option<Code>,
        proof: Option<Timestamp>,
        platforms: Option<[usize; 3]>,
    }
    let mut sums: BTreeMap<(&str, &str), Sum> = BTreeMap::new();
    for image in &snapshot.images {
        let verdict = image.verdict();
        let platforms = (verdict != Verdict::Pullable).then(|| {
            Verdict::ALL.map(|verdict| {
                image
                    .report
                    .platforms
                    .iter()
                    .filter(|platform| platform.verdict == verdict)
                    .count()
            })
        });
        let sum = sums
            .entry((&image.registry, &image.reference))
            .or_insert(Sum {
                doubt: None,
                proof: image.proven_at,
                platforms: None,
            });
        sum.proof = [sum.proof, image.proven_at].into_iter().flatten().min();
        // The worst of several credentials' entries: most broken, then most unknown.
        let badness =
            |counts: &Option<[usize; 3]>| counts.map(|[_, unknown, broken]| (broken, unknown));
        if badness(&platforms) > badness(&sum.platforms) {
            sum.platforms = platforms;
        }
        if verdict == Verdict::Unknown {
            sum.doubt = sum.doubt.or_else(|| Some(workloads::doubt(image)));
        }
    }
    let mut unknown = Vec::new();
    let mut proofs = Vec::new();
    let mut platforms = Vec::new();
    for ((registry, image), sum) in &sums {
        let labels = vec![
            ("registry", workloads::label(registry)),
            ("image", workloads::label(image)),
        ];
        if let Some(code) = sum.doubt {
            unknown.push((
                and(&labels, vec![("reason", code.as_str().to_owned())]),
                1.0,
            ));
        }
        if let Some(at) = sum.proof {
            proofs.push((labels.clone(), seconds(at)));
        }
        for (verdict, count) in Verdict::ALL.iter().zip(sum.platforms.into_iter().flatten()) {
            let labels = and(&labels, vec![("verdict", verdict.as_str().to_owned())]);
            platforms.push((labels, number(count as u64)));
        }
    }
    families.gauges(&catalog::IMAGE_UNKNOWN, &unknown)?;
    families.gauges(&catalog::IMAGE_LAST_PROOF, &proofs)?;
    families.gauges(&catalog::IMAGE_PLATFORMS, &platforms)?;
    let images: Vec<_> = Verdict::ALL
        .iter()
        .map(|verdict| {
            let labels = vec![("verdict", verdict.as_str().to_owned())];
            (labels, number(snapshot.count(*verdict) as u64))
        })
        .collect();
    families.gauges(&catalog::IMAGES, &images)
}

fn encode_sources(snapshot: &Snapshot, families: &mut Families<'_>) -> fmt::Result {
    let of = |name: &str| vec![("source", workloads::label(name))];
    let mut complete = Vec::new();
    let mut references = Vec::new();
    let mut last = Vec::new();
    for source in &snapshot.sources {
        let is_complete = if source.incomplete.is_none() {
            1.0
        } else {
            0.0
        };
        complete.push((of(&source.name), is_complete));
        references.push((of(&source.name), number(source.references as u64)));
        // Zero while it never was: `time() - x` is then large, and an absent series would be silent.
        last.push((of(&source.name), source.complete_at.map_or(0.0, seconds)));
    }
    families.gauges(&catalog::INVENTORY_COMPLETE, &complete)?;
    families.gauges(&catalog::INVENTORY_REFERENCES, &references)?;
    families.gauges(&catalog::INVENTORY_LAST_COMPLETE, &last)
}

fn encode_registries(snapshot: &Snapshot, families: &mut Families<'_>) -> fmt::Result {
    let of = |status: &RegistryStatus| vec![("registry", workloads::label(&status.host))];
    let each = |value: &dyn Fn(&RegistryStatus) -> Option<f64>| -> Vec<(Labels, f64)> {
        snapshot
            .registries
            .iter()
            .filter_map(|status| Some((of(status), value(status)?)))
            .collect()
    };
    let last_completed = each(&|status| Some(status.last_completed_at.map_or(0.0, seconds)));
    families.gauges(&catalog::VERIFICATION_LAST_COMPLETED, &last_completed)?;
    let last_clean = each(&|status| Some(status.last_clean_at.map_or(0.0, seconds)));
    families.gauges(&catalog::VERIFICATION_LAST_CLEAN, &last_clean)?;
    let duration = each(&|status| status.last_duration.map(|duration| duration.as_secs_f64()));
    families.gauges(&catalog::VERIFICATION_DURATION, &duration)?;
    let interval = each(&|status| Some(status.interval.as_secs_f64()));
    families.gauges(&catalog::VERIFICATION_INTERVAL, &interval)?;
    let coverage = each(&|status| {
        let images = snapshot
            .images
            .iter()
            .filter(|image| image.registry == status.host);
        let (all, known) = images.fold((0_u64, 0_u64), |(all, known), image| {
            (
                all + 1,
                known + u64::from(image.verdict() != Verdict::Unknown),
            )
        });
        (all > 0).then(|| number(known) / number(all))
    });
    families.gauges(&catalog::VERIFICATION_COVERAGE, &coverage)?;
    let mut blobs = Vec::new();
    let mut bytes = Vec::new();
    for status in &snapshot.registries {
        for (verdict, count) in Verdict::ALL.iter().zip(status.objects) {
            let labels = and(&of(status), vec![("verdict", verdict.as_str().to_owned())]);
            blobs.push((labels.clone(), number(count.blobs)));
            bytes.push((labels, number(count.bytes)));
        }
    }
    families.gauges(&catalog::KEEPSET_BLOBS, &blobs)?;
    families.gauges(&catalog::KEEPSET_BLOB_BYTES, &bytes)?;
    let requests = each(&|status| Some(number(status.requests_per_day)));
    families.gauges(&catalog::ESTIMATED_REQUESTS_PER_DAY, &requests)?;
    let up = each(&|status| status.is_up.map(|is_up| if is_up { 1.0 } else { 0.0 }));
    families.gauges(&catalog::REGISTRY_UP, &up)?;
    let remaining = each(&|status| {
        status
            .rate_limit_remaining
            .map(|remaining| number(remaining.unsigned_abs()))
    });
    families.gauges(&catalog::REGISTRY_RATELIMIT_REMAINING, &remaining)
}

fn encode_hosts(snapshot: &Snapshot, hosts: &Hosts, families: &mut Families<'_>) -> fmt::Result {
    let limits: Vec<(Labels, f64)> = snapshot
        .registries
        .iter()
        .filter_map(|status| {
            let limit = hosts.concurrency_limit(&status.host)?;
            let labels = vec![("registry", workloads::label(&status.host))];
            Some((labels, number(limit as u64)))
        })
        .collect();
    families.gauges(&catalog::REGISTRY_CONCURRENCY_LIMIT, &limits)
}

#[cfg(test)]
mod tests;
