//! How it stands with the tags of each registry, as samples.

use std::fmt;

use prometheus_client::encoding::{MetricEncoder, NoLabelSet};

use super::catalog;
use super::families::{Families, Labels, and, number};
use super::workloads;
use crate::retention::class::Class;
use crate::state::retention::{Retentions, RunResult};

/// All of them.
pub(super) fn encode(retentions: &Retentions, families: &mut Families<'_>) -> fmt::Result {
    let of = |host: &str| -> Labels<'static> {
        vec![("registry", workloads::label(host).into_owned().into())]
    };
    let count = |family: &mut MetricEncoder<'_>, value: f64| {
        family.encode_counter::<NoLabelSet, _, u64>(&value, None)
    };
    let planned = retentions.iter().filter_map(|(host, status)| {
        let planned = status.planned.as_ref()?;
        Some((of(host), number(planned.going as u64)))
    });
    families.gauges(&catalog::RETENTION_PLANNED_TAGS, planned)?;
    let protected = retentions.iter().flat_map(|(host, status)| {
        let planned = status.planned.iter();
        planned.flat_map(move |planned| {
            let classes = Class::ALL.into_iter().filter(|it| *it != Class::Unused);
            classes.map(move |class| {
                let count = planned.staying.get(&class).copied().unwrap_or_default();
                (and(of(host), "class", class.as_str()), number(count as u64))
            })
        })
    });
    families.gauges(&catalog::RETENTION_PROTECTED_TAGS, protected)?;
    let deleted = retentions.iter();
    let deleted = deleted.map(|(host, status)| (of(host), number(status.deleted)));
    families.family(&catalog::RETENTION_DELETED_TAGS, deleted, count)?;
    let runs = retentions.iter().flat_map(|(host, status)| {
        RunResult::ALL.into_iter().map(move |result| {
            let count = status.runs.get(&result).copied().unwrap_or_default();
            (and(of(host), "result", result.as_str()), number(count))
        })
    });
    families.family(&catalog::RETENTION_RUNS, runs, count)
}
