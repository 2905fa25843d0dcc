//! From one snapshot to samples. Nothing is kept between scrapes but the count of dropped series.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use tokio::sync::watch;

use super::families::{Families, Labels, and, number, seconds, truth};
use super::workloads::{self, Row};
use super::{catalog, collections, retention};
use crate::events::Counts;
use crate::registry::hosts::Hosts;
use crate::second::Second;
use crate::state::collections::{Collections, Leading};
use crate::state::retention::Retentions;
use crate::state::storages::{Planned, Storages};
use crate::state::windows::Windows;
use crate::state::{ImageState, RegistryStatus, Snapshot};
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
    storages: Option<watch::Receiver<Arc<Storages>>>,
    windows: Option<watch::Receiver<Arc<Windows>>>,
    collections: Option<watch::Receiver<Arc<Collections>>>,
    retentions: Option<watch::Receiver<Arc<Retentions>>>,
    leading: Option<watch::Receiver<Leading>>,
    events: Arc<Counts>,
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
            storages: None,
            windows: None,
            collections: None,
            retentions: None,
            leading: None,
            events: Arc::default(),
            dropped: AtomicU64::new(0),
        }
    }

    /// With what was planned for storages.
    #[must_use]
    pub fn with_storages(mut self, storages: watch::Receiver<Arc<Storages>>) -> Self {
        self.storages = Some(storages);
        self
    }

    /// With how it stands with the tags of each registry.
    #[must_use]
    pub fn with_retentions(mut self, retentions: watch::Receiver<Arc<Retentions>>) -> Self {
        self.retentions = Some(retentions);
        self
    }

    /// With how the collection of each storage stands.
    #[must_use]
    pub fn with_collections(mut self, collections: watch::Receiver<Arc<Collections>>) -> Self {
        self.collections = Some(collections);
        self
    }

    /// With whether this process has the Lease.
    #[must_use]
    pub fn with_leading(mut self, leading: watch::Receiver<Leading>) -> Self {
        self.leading = Some(leading);
        self
    }

    /// With what came of Kubernetes Events.
    #[must_use]
    pub fn with_events(mut self, events: Arc<Counts>) -> Self {
        self.events = events;
        self
    }

    /// With the windows in which a collection may run.
    #[must_use]
    pub fn with_windows(mut self, windows: watch::Receiver<Arc<Windows>>) -> Self {
        self.windows = Some(windows);
        self
    }

    /// With what is known of the hosts themselves, for those that the snapshot names.
    #[must_use]
    pub fn with_hosts(mut self, hosts: Hosts) -> Self {
        self.hosts = hosts;
        self
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
        if let Some(windows) = &self.windows {
            let windows = Arc::clone(&windows.borrow());
            encode_windows(&windows, &mut families)?;
        }
        let collections = self.collections.as_ref().map(|it| Arc::clone(&it.borrow()));
        let collections = collections.unwrap_or_default();
        if let Some(storages) = &self.storages {
            let storages = Arc::clone(&storages.borrow());
            encode_storages(&storages, &collections, &mut families)?;
        }
        collections::encode(&collections, &mut families)?;
        let retentions = self.retentions.as_ref().map(|it| Arc::clone(&it.borrow()));
        retention::encode(&retentions.unwrap_or_default(), &mut families)?;
        let leads = self.leading.as_ref().and_then(|it| it.borrow().is_leader());
        let leads = leads.map(|leads| (vec![], truth(leads)));
        families.gauges(&catalog::LEADER, leads)?;
        // All results from the start: what appears with its first value shows no increase.
        let events = self.events.all().map(|(outcome, count)| {
            let labels: Labels<'_> = vec![("result", outcome.as_str().into())];
            (labels, number(count))
        });
        families.family(&catalog::KUBERNETES_EVENTS, events, |family, value| {
            family.encode_counter::<NoLabelSet, _, u64>(&value, None)
        })?;
        let is_current = truth(*self.is_config_current.borrow());
        families.gauges(
            &catalog::CONFIG_LAST_RELOAD_SUCCESSFUL,
            [(vec![], is_current)],
        )?;
        let dropped = self.dropped.load(Ordering::Relaxed);
        families.family(&catalog::SERIES_DROPPED, [(vec![], 0.0)], |family, _| {
            family.encode_counter::<NoLabelSet, _, u64>(&dropped, None)
        })?;
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        families.family(&catalog::BUILD_INFO, [(vec![], 1.0)], |family, _| {
            family.encode_info(&version)
        })
    }
}

impl SnapshotCollector {
    fn encode_workloads(&self, snapshot: &Snapshot, families: &mut Families<'_>) -> fmt::Result {
        let rows = self.within_caps(workloads::rows(snapshot));
        let of = |verdict: Verdict| {
            rows.iter()
                .filter(move |row| row.image.verdict() == verdict)
        };
        let pullable = of(Verdict::Broken)
            .chain(of(Verdict::Pullable))
            .map(|row| (labels(row), truth(row.image.verdict() == Verdict::Pullable)));
        families.gauges(&catalog::WORKLOAD_IMAGE_PULLABLE, pullable)?;
        let failures = of(Verdict::Broken).flat_map(|row| {
            let failures = workloads::failures(row.image).into_iter();
            failures.map(|finding| {
                let platform = finding.platform.as_ref().map(ToString::to_string);
                let platform = workloads::label(&platform.unwrap_or_default()).into_owned();
                let mut labels = labels(row);
                labels.push(("platform", platform.into()));
                let labels = and(labels, "reason", finding.code.as_str());
                let known = if row.image.is_known { "true" } else { "false" };
                (and(labels, "known", known), 1.0)
            })
        });
        families.gauges(&catalog::WORKLOAD_IMAGE_FAILURE, failures)?;
        let unknown = of(Verdict::Unknown).map(|row| {
            let reason = workloads::doubt(&row.image.report).as_str();
            (and(labels(row), "reason", reason), 1.0)
        });
        families.gauges(&catalog::WORKLOAD_IMAGE_UNKNOWN, unknown)?;
        let drift = rows.iter().flat_map(|row| {
            let kinds = workloads::drift(row).into_iter();
            kinds.map(|kind| (and(labels(row), "drift", kind.as_str()), 1.0))
        });
        families.gauges(&catalog::WORKLOAD_IMAGE_DRIFT, drift)?;
        let disputed = rows.iter().filter(|row| workloads::is_disputed(row));
        let disputed = disputed.map(|row| (labels(row), 1.0));
        families.gauges(&catalog::WORKLOAD_IMAGE_KUBELET_DISAGREEMENT, disputed)
    }

    /// Those that fit, and counts the series of the others. What is broken must not be what is cut.
    fn within_caps<'a>(&self, mut rows: Vec<Row<'a>>) -> Vec<Row<'a>> {
        rows.sort_by_key(|row| std::cmp::Reverse(row.image.verdict()));
        let mut by_namespace: HashMap<(Option<&str>, &str), usize> = HashMap::new();
        let mut total = 0;
        rows.retain(|row| {
            let series = match row.image.verdict() {
                Verdict::Pullable | Verdict::Unknown => 1,
                Verdict::Broken => 1 + workloads::failures(row.image).len(),
            };
            let drift = workloads::drift(row).len();
            let series = series + drift + usize::from(workloads::is_disputed(row));
            let in_namespace = by_namespace
                .entry((row.user.cluster.as_deref(), &row.user.namespace))
                .or_default();
            let fits = total + series <= self.caps.series
                && *in_namespace + series <= self.caps.series_per_namespace;
            if fits {
                total += series;
                *in_namespace += series;
            } else {
                self.dropped.fetch_add(series as u64, Ordering::Relaxed);
            }
            fits
        });
        rows
    }
}

fn labels<'a>(row: &Row<'a>) -> Labels<'a> {
    let user = row.user;
    let mut labels = Vec::with_capacity(catalog::WORKLOAD.len() + 4);
    if let Some(cluster) = &user.cluster {
        labels.push(("cluster", workloads::label(cluster)));
    }
    labels.extend([
        ("namespace", workloads::label(&user.namespace)),
        ("workload_type", workloads::kind(&user.kind)),
        ("workload", workloads::label(&user.name)),
        ("container", workloads::label(&user.container)),
        ("image", workloads::label(row.image.reference())),
        ("registry", workloads::label(row.image.registry())),
        ("class", row.class.as_str().into()),
    ]);
    // Only where it is so: nobody else's series change their names. Why is free text, and no label.
    if row.marking.ignored().is_some() {
        labels.push((catalog::IGNORED, "true".into()));
    }
    let chosen = row.marking.labels();
    labels.extend(chosen.map(|(name, value)| (name, workloads::label(value))));
    labels
}

/// What is said of one reference: the worst verdict and the oldest proof of all its credentials.
struct Sum<'a> {
    image: &'a ImageState,
    doubt: Option<Code>,
    proof: Option<Second>,
    platforms: Option<[usize; 3]>,
}

impl<'a> Sum<'a> {
    fn of(images: &'a [Arc<ImageState>]) -> Option<Self> {
        let mut sum = Self {
            image: images.first()?,
            doubt: None,
            proof: images.iter().filter_map(|image| image.proven_at).min(),
            platforms: None,
        };
        // The worst of several credentials' entries: most broken, then most unknown.
        let badness =
            |counts: &Option<[usize; 3]>| counts.map(|[_, unknown, broken]| (broken, unknown));
        for image in images {
            let report = image.own_report();
            if report.verdict == Verdict::Pullable {
                continue;
            }
            let platforms = Some(Verdict::ALL.map(|verdict| {
                let platforms = report.platforms.iter();
                platforms
                    .filter(|platform| platform.verdict == verdict)
                    .count()
            }));
            if badness(&platforms) > badness(&sum.platforms) {
                sum.platforms = platforms;
            }
            if report.verdict == Verdict::Unknown {
                sum.doubt = sum.doubt.or_else(|| Some(workloads::doubt(report)));
            }
        }
        Some(sum)
    }

    fn labels(&self) -> Labels<'a> {
        vec![
            ("registry", workloads::label(self.image.registry())),
            ("image", workloads::label(self.image.reference())),
        ]
    }
}

fn encode_images(snapshot: &Snapshot, families: &mut Families<'_>) -> fmt::Result {
    let sums = || snapshot.by_endpoint().filter_map(Sum::of);
    let unknown =
        sums().filter_map(|sum| Some((and(sum.labels(), "reason", sum.doubt?.as_str()), 1.0)));
    families.gauges(&catalog::IMAGE_UNKNOWN, unknown)?;
    let proofs = sums().filter_map(|sum| Some((sum.labels(), seconds(sum.proof?.into()))));
    families.gauges(&catalog::IMAGE_LAST_PROOF, proofs)?;
    let platforms = sums().flat_map(|sum| {
        let counts = Verdict::ALL
            .into_iter()
            .zip(sum.platforms.into_iter().flatten());
        counts.map(move |(verdict, count)| {
            let labels = and(sum.labels(), "verdict", verdict.as_str());
            (labels, number(count as u64))
        })
    });
    families.gauges(&catalog::IMAGE_PLATFORMS, platforms)?;
    let images = Verdict::ALL.map(|verdict| {
        let labels: Labels<'_> = vec![("verdict", verdict.as_str().into())];
        (labels, number(snapshot.count(verdict) as u64))
    });
    families.gauges(&catalog::IMAGES, images)
}

fn encode_sources(snapshot: &Snapshot, families: &mut Families<'_>) -> fmt::Result {
    let of = |name| -> Labels<'_> { vec![("source", workloads::label(name))] };
    let sources = || snapshot.sources.iter();
    let complete = sources().map(|source| (of(&source.name), truth(source.incomplete.is_none())));
    families.gauges(&catalog::INVENTORY_COMPLETE, complete)?;
    let references = sources().map(|source| (of(&source.name), number(source.references as u64)));
    families.gauges(&catalog::INVENTORY_REFERENCES, references)?;
    // Zero while it never was: `time() - x` is then large, and an absent series would be silent.
    let last = sources().map(|source| {
        let at = source.complete_at.map_or(0.0, seconds);
        (of(&source.name), at)
    });
    families.gauges(&catalog::INVENTORY_LAST_COMPLETE, last)?;
    let required = sources().map(|source| (of(&source.name), truth(source.rules.is_required)));
    families.gauges(&catalog::INVENTORY_REQUIRED, required)?;
    let shrunk = sources().filter(|source| source.shrunk.is_some());
    let shrunk = shrunk.map(|source| (of(&source.name), 1.0));
    families.gauges(&catalog::INVENTORY_SHRUNK, shrunk)
}

fn encode_windows(windows: &Windows, families: &mut Families<'_>) -> fmt::Result {
    let of = |label: &str| -> Labels<'static> {
        vec![("window", workloads::label(label).into_owned().into())]
    };
    let open = windows.all();
    let open = open.map(|it| (of(&it.label), truth(it.open.is_some())));
    families.gauges(&catalog::GC_WINDOW_OPEN, open)?;
    let next = windows.all();
    let next = next.filter_map(|it| Some((of(&it.label), seconds(it.next.as_ref()?.start))));
    families.gauges(&catalog::GC_WINDOW_NEXT_OPEN, next)
}

fn encode_storages(
    storages: &Storages,
    collections: &Collections,
    families: &mut Families<'_>,
) -> fmt::Result {
    let of = collections::labels;
    let planned = |value: &dyn Fn(&Planned) -> f64| -> Vec<(Labels<'static>, f64)> {
        let all = storages.iter();
        all.filter_map(|(host, status)| Some((of(host), value(status.planned.as_ref()?))))
            .collect()
    };
    let blobs = planned(&|it| number(it.counts.garbage_blobs as u64));
    families.gauges(&catalog::GC_GARBAGE_BLOBS, blobs)?;
    let bytes = planned(&|it| number(it.counts.garbage_bytes));
    families.gauges(&catalog::GC_GARBAGE_BYTES, bytes)?;
    families.gauges(&catalog::GC_LAST_PLAN, planned(&|it| seconds(it.at)))?;
    let took = planned(&|it| it.took.as_secs_f64()).into_iter();
    let took = took.map(|(labels, took)| (and(labels, "phase", "plan"), took));
    let of_runs = collections.iter().flat_map(|(host, it)| {
        let phases = it.took.iter();
        phases.map(|(phase, took)| (and(of(host), "phase", phase), took.as_secs_f64()))
    });
    let took = took.chain(of_runs);
    families.gauges(&catalog::GC_PHASE_DURATION, took)?;
    let mut refusals: BTreeMap<(&str, &'static str), u64> = BTreeMap::new();
    let of_plans = storages.iter().map(|(host, it)| (host, &it.refusals));
    let of_runs = collections.iter().map(|(host, it)| (host, &it.refusals));
    for (host, counted) in of_plans.chain(of_runs) {
        for (reason, count) in counted {
            *refusals.entry((host, reason)).or_default() += count;
        }
    }
    let refusals = refusals.into_iter();
    let refusals =
        refusals.map(|((host, reason), count)| (and(of(host), "reason", reason), number(count)));
    families.family(&catalog::GC_REFUSALS, refusals, |family, value| {
        family.encode_counter::<NoLabelSet, _, u64>(&value, None)
    })?;
    let blobs = planned(&|it| number(it.counts.blobs as u64));
    families.gauges(&catalog::STORAGE_BLOBS, blobs)?;
    families.gauges(
        &catalog::STORAGE_BYTES,
        planned(&|it| number(it.counts.bytes)),
    )?;
    let free = storages.iter();
    let free = free.filter_map(|(host, status)| Some((of(host), number(status.free_bytes?))));
    families.gauges(&catalog::STORAGE_FREE_BYTES, free)?;
    let full = storages.iter();
    let full = full.filter_map(|(host, status)| Some((of(host), seconds(status.full_at()?))));
    families.gauges(&catalog::STORAGE_FULL, full)
}

fn encode_registries(snapshot: &Snapshot, families: &mut Families<'_>) -> fmt::Result {
    let of = |status: &RegistryStatus| -> (&'static str, Cow<'static, str>) {
        (
            "registry",
            workloads::label(&status.host).into_owned().into(),
        )
    };
    let each = |value: &dyn Fn(&RegistryStatus) -> Option<f64>| -> Vec<(Labels<'_>, f64)> {
        snapshot
            .registries
            .iter()
            .filter_map(|status| Some((vec![of(status)], value(status)?)))
            .collect()
    };
    let last_completed = each(&|status| Some(status.last_completed_at.map_or(0.0, seconds)));
    families.gauges(&catalog::VERIFICATION_LAST_COMPLETED, last_completed)?;
    let last_clean = each(&|status| Some(status.last_clean_at.map_or(0.0, seconds)));
    families.gauges(&catalog::VERIFICATION_LAST_CLEAN, last_clean)?;
    let duration = each(&|status| status.last_duration.map(|duration| duration.as_secs_f64()));
    families.gauges(&catalog::VERIFICATION_DURATION, duration)?;
    let interval = each(&|status| Some(status.interval.as_secs_f64()));
    families.gauges(&catalog::VERIFICATION_INTERVAL, interval)?;
    let coverage = each(&|status| {
        let images = snapshot
            .images
            .iter()
            .filter(|image| image.registry() == &*status.host);
        let (all, known) = images.fold((0_u64, 0_u64), |(all, known), image| {
            (
                all + 1,
                known + u64::from(image.verdict() != Verdict::Unknown),
            )
        });
        (all > 0).then(|| number(known) / number(all))
    });
    families.gauges(&catalog::VERIFICATION_COVERAGE, coverage)?;
    let objects = || {
        snapshot.registries.iter().flat_map(|status| {
            let counts = Verdict::ALL.into_iter().zip(status.objects);
            counts.map(move |(verdict, count)| {
                (and(vec![of(status)], "verdict", verdict.as_str()), count)
            })
        })
    };
    let blobs = objects().map(|(labels, count)| (labels, number(count.blobs)));
    families.gauges(&catalog::KEEPSET_BLOBS, blobs)?;
    let bytes = objects().map(|(labels, count)| (labels, number(count.bytes)));
    families.gauges(&catalog::KEEPSET_BLOB_BYTES, bytes)?;
    let requests = each(&|status| Some(number(status.requests_per_day)));
    families.gauges(&catalog::ESTIMATED_REQUESTS_PER_DAY, requests)?;
    let up = each(&|status| status.is_up.map(truth));
    families.gauges(&catalog::REGISTRY_UP, up)?;
    let remaining = each(&|status| {
        status
            .rate_limit_remaining
            .map(|remaining| number(remaining.unsigned_abs()))
    });
    families.gauges(&catalog::REGISTRY_RATELIMIT_REMAINING, remaining)
}

fn encode_hosts(snapshot: &Snapshot, hosts: &Hosts, families: &mut Families<'_>) -> fmt::Result {
    let limits = snapshot.registries.iter().filter_map(|status| {
        let limit = hosts.concurrency_limit(&status.host)?;
        let labels = vec![("registry", workloads::label(&status.host))];
        Some((labels, number(limit as u64)))
    });
    families.gauges(&catalog::REGISTRY_CONCURRENCY_LIMIT, limits)
}

#[cfg(test)]
mod tests;
