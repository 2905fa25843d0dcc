//! `/api/v1/registries`: how each registry stands.

use jiff::Timestamp;
use serde::Serialize;

use super::{RegistryView, Summary};
use crate::state::{RegistryStatus, Snapshot};
use crate::verify::finding::Verdict;

/// All registries that an image names.
#[derive(Debug, Serialize)]
pub struct RegistriesView {
    schema: &'static str,
    at: Timestamp,
    registries: Vec<OfRegistry>,
}

/// One of them.
#[derive(Debug, Serialize)]
struct OfRegistry {
    #[serde(flatten)]
    registry: RegistryView,
    summary: Summary,
    /// Distinct manifests, configs and layers that its images need, by verdict.
    keepset: Vec<Objects>,
}

#[derive(Debug, Serialize)]
struct Objects {
    verdict: Verdict,
    blobs: u64,
    bytes: u64,
}

impl RegistriesView {
    pub fn of(snapshot: &Snapshot) -> Self {
        let summaries = Summary::by_registry(snapshot);
        let registries = snapshot.registries.iter().map(|status| {
            let summary = summaries.get(&*status.host).copied();
            OfRegistry::of(status, summary.unwrap_or_default())
        });
        Self {
            schema: "pullproof.dev/registries/v1",
            at: snapshot.at,
            registries: registries.collect(),
        }
    }
}

impl OfRegistry {
    fn of(status: &RegistryStatus, summary: Summary) -> Self {
        let objects = Verdict::ALL.into_iter().zip(status.objects);
        let keepset = objects.map(|(verdict, count)| Objects {
            verdict,
            blobs: count.blobs,
            bytes: count.bytes,
        });
        Self {
            registry: RegistryView::from(status),
            summary,
            keepset: keepset.collect(),
        }
    }
}
