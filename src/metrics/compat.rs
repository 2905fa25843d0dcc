//! The series of k8s-image-availability-exporter, for whoever comes from it: the same names, labels and
//! values, so that its alerts and dashboards go on while ours are taken over. Pure.
//!
//! Seven gauges a container, of which one is 1, as it has them. It asks for a tag's manifest alone; here
//! `absent` is whatever is broken, a child or a layer too. What was not looked at yet has no series, where it
//! says `available`, and neither has what pullproof may not read the credential for: neither is a fact.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use tokio::sync::watch;

use super::catalog::{Kind, Metric};
use super::families::{Families, Labels, truth};
use super::workloads::{self, Row};
use crate::inventory::Class;
use crate::state::Snapshot;
use crate::verify::finding::{Code, Verdict};

/// Whose series are exposed beside our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compat {
    K8sIae,
}

impl FromStr for Compat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "k8s-iae" => Ok(Self::K8sIae),
            other => Err(format!(
                "`{other}` is none of what can be exposed: k8s-iae (k8s-image-availability-exporter)"
            )),
        }
    }
}

/// What every name begins with.
pub const PREFIX: &str = "k8s_image_availability_exporter";

/// How an image is, in its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Available,
    Absent,
    BadImageFormat,
    RegistryUnavailable,
    AuthenticationFailure,
    AuthorizationFailure,
    UnknownError,
}

macro_rules! modes {
    ($($mode:ident = $name:literal, $help:literal;)*) => {
        const MODES: [(Mode, Metric); 7] = [$((
            Mode::$mode,
            Metric { name: $name, kind: Kind::Gauge, help: $help, labels: &LABELS },
        )),*];
    };
}

/// `cluster` only where clusters are named: without it two of them could not be told apart.
const LABELS: [&str; 6] = ["cluster", "namespace", "container", "image", "kind", "name"];

modes! {
    Available = "available", "Whether the image can be pulled";
    Absent = "absent", "Whether the image, or something below it, is not there";
    BadImageFormat = "bad_image_format", "Whether the image is no reference";
    RegistryUnavailable = "registry_unavailable", "Whether the registry does not answer as it should";
    AuthenticationFailure = "authentication_failure", "Whether the registry does not know the pull secret";
    AuthorizationFailure = "authorization_failure", "Whether the registry refuses the image to the pull secret";
    UnknownError = "unknown_error", "Whether it is not known for another reason";
}

/// The kinds of workloads that it looks at.
const KINDS: [&str; 4] = ["Deployment", "StatefulSet", "DaemonSet", "CronJob"];

/// Reads the snapshot of the moment of a scrape.
#[derive(Debug)]
pub struct CompatCollector {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    /// So many containers at most.
    most: usize,
}

impl CompatCollector {
    /// With about so many series at most.
    pub fn new(snapshots: watch::Receiver<Arc<Snapshot>>, series: usize) -> Self {
        Self {
            snapshots,
            most: series / MODES.len(),
        }
    }
}

impl Collector for CompatCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let snapshot = Arc::clone(&self.snapshots.borrow());
        let mut rows: Vec<(Row<'_>, Mode)> = workloads::rows(&snapshot)
            .into_iter()
            .filter(|row| is_seen(row))
            .filter_map(|row| Some((row, mode(&row)?)))
            .collect();
        // What is wrong must not be what is cut.
        rows.sort_by_key(|(_, mode)| *mode == Mode::Available);
        rows.truncate(self.most);
        let mut families = Families(encoder);
        for (mode, metric) in &MODES {
            let samples = rows.iter();
            let samples = samples.map(|(row, is)| (labels(row), truth(is == mode)));
            families.gauges(metric, samples)?;
        }
        Ok(())
    }
}

/// Whether it would look at that: what runs now, of four kinds.
fn is_seen(row: &Row<'_>) -> bool {
    matches!(row.class, Class::Runtime | Class::Failover) && KINDS.contains(&&*row.user.kind)
}

/// `None` where there is nothing to say.
fn mode(row: &Row<'_>) -> Option<Mode> {
    let report = &row.image.report;
    match report.verdict {
        Verdict::Pullable => Some(Mode::Available),
        Verdict::Broken => {
            let is_malformed = report
                .findings
                .iter()
                .any(|finding| finding.code == Code::ReferenceInvalid);
            Some(if is_malformed {
                Mode::BadImageFormat
            } else {
                Mode::Absent
            })
        }
        Verdict::Unknown => match workloads::doubt(report) {
            Code::NeverChecked | Code::CredentialUnavailable => None,
            Code::Unauthorized => Some(Mode::AuthenticationFailure),
            Code::Forbidden => Some(Mode::AuthorizationFailure),
            Code::Unreachable | Code::Tls | Code::Timeout | Code::ServerError => {
                Some(Mode::RegistryUnavailable)
            }
            _ => Some(Mode::UnknownError),
        },
    }
}

fn labels<'a>(row: &Row<'a>) -> Labels<'a> {
    let user = row.user;
    let cluster = user.cluster.as_deref();
    let cluster = cluster.map(|cluster| ("cluster", workloads::label(cluster)));
    let all = cluster.into_iter().chain([
        ("namespace", workloads::label(&user.namespace)),
        ("container", workloads::label(&user.container)),
        // As it is written in the workload.
        ("image", workloads::label(&user.image)),
        ("kind", workloads::kind(&user.kind)),
        ("name", workloads::label(&user.name)),
    ]);
    all.collect()
}
