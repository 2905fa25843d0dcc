//! How the collection of each storage stands, as samples.

use std::fmt;

use prometheus_client::encoding::{MetricEncoder, NoLabelSet};

use super::catalog;
use super::families::{Families, Labels, and, number, seconds, truth};
use super::workloads;
use crate::gc::refusal::Code;
use crate::state::collections::{CollectionStatus, Collections, RESULTS};

/// Of a storage.
pub(super) fn labels(host: &str) -> Labels<'static> {
    vec![("storage", workloads::label(host).into_owned().into())]
}

/// All of them.
pub(super) fn encode(collections: &Collections, families: &mut Families<'_>) -> fmt::Result {
    let of = labels;
    let each = |value: &dyn Fn(&CollectionStatus) -> Option<f64>| -> Vec<(Labels<'static>, f64)> {
        let all = collections.iter();
        all.filter_map(|(host, status)| Some((of(host), value(status)?)))
            .collect()
    };
    let count = |family: &mut MetricEncoder<'_>, value: f64| {
        family.encode_counter::<NoLabelSet, _, u64>(&value, None)
    };
    let is_open = each(&|it| Some(truth(it.is_gate_open())));
    families.gauges(&catalog::GC_GATE_OPEN, is_open)?;
    let conditions = collections.iter().flat_map(|(host, status)| {
        let known = Code::ALL.into_iter();
        let known = known.filter_map(|code| Some((code, status.gate.is_met(code)?)));
        known.map(|(code, met)| (and(of(host), "condition", code.as_str()), truth(met)))
    });
    families.gauges(&catalog::GC_GATE_CONDITION_MET, conditions)?;
    families.gauges(&catalog::GC_RUNNING, each(&|it| Some(truth(it.is_running))))?;
    let runs = collections.iter().flat_map(|(host, status)| {
        // All of them from the start: what appears with its first value shows no increase.
        RESULTS.into_iter().map(|result| {
            let count = status.runs.get(result).copied().unwrap_or_default();
            (and(of(host), "result", result), number(count))
        })
    });
    families.family(&catalog::GC_RUNS, runs, count)?;
    let success = each(&|it| it.last_success_at.map(seconds));
    families.gauges(&catalog::GC_LAST_SUCCESS, success)?;
    let drilled = each(&|it| it.drilled_at.map(seconds));
    families.gauges(&catalog::GC_DRILL_LAST_SUCCESS, drilled)?;
    let blobs = each(&|it| Some(number(it.held.blobs)));
    families.gauges(&catalog::GC_QUARANTINED_BLOBS, blobs)?;
    let bytes = each(&|it| Some(number(it.held.bytes)));
    families.gauges(&catalog::GC_QUARANTINED_BYTES, bytes)?;
    let unsettled = collections.iter().flat_map(|(host, status)| {
        let replicas = status.unsettled.iter();
        replicas.map(|(replica, count)| {
            let mut labels = of(host);
            labels.push(("replica", workloads::label(replica).into_owned().into()));
            (labels, number(*count as u64))
        })
    });
    families.gauges(&catalog::GC_UNSETTLED_OBJECTS, unsettled)?;
    let read_only = each(&|it| it.read_only_since.map(seconds));
    families.gauges(&catalog::GC_READ_ONLY_SINCE, read_only)?;
    let blobs = each(&|it| Some(number(it.purged.blobs)));
    families.family(&catalog::GC_PURGED_BLOBS, blobs, count)?;
    let bytes = each(&|it| Some(number(it.purged.bytes)));
    families.family(&catalog::GC_PURGED_BYTES, bytes, count)?;
    let blobs = each(&|it| Some(number(it.restored.blobs)));
    families.family(&catalog::GC_RESTORED_BLOBS, blobs, count)
}
