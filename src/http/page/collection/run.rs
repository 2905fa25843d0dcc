//! What the last runs did. Pure.

use jiff::{SignedDuration, Timestamp};

use super::super::picture::{self, Segment};
use super::super::words::{self, Moment, Piece};
use crate::state::collections::{Amount, CollectionStatus, Last};

/// Refusals that are shown of one run.
const REFUSALS_SHOWN: usize = 3;

pub(in crate::http::page) struct RunRow {
    pub(in crate::http::page) at: Moment,
    pub(in crate::http::page) result: &'static str,
    pub(in crate::http::page) tone: &'static str,
    pub(in crate::http::page) taken: String,
    pub(in crate::http::page) restored: String,
    pub(in crate::http::page) purged: String,
    /// Why not, and what else was told.
    pub(in crate::http::page) said: Vec<Vec<Piece>>,
    pub(in crate::http::page) more: usize,
    pub(in crate::http::page) phases: Vec<(&'static str, String)>,
    pub(in crate::http::page) bar: Vec<Segment>,
}

/// The newest first.
pub(super) fn rows(status: &CollectionStatus, now: Timestamp) -> Vec<RunRow> {
    let row = |last: &Last| RunRow::of(last, now);
    status.recent.iter().map(row).collect()
}

impl RunRow {
    fn of(last: &Last, now: Timestamp) -> Self {
        let refusals = last.refusals.iter();
        let refusals =
            refusals.map(|refusal| format!("{}: {}", refusal.code.as_str(), refusal.message));
        let said: Vec<String> = last.failed.iter().cloned().chain(refusals).collect();
        let took = || last.did.took.iter();
        let phases = took().map(|(phase, took)| {
            let took = SignedDuration::try_from(*took).unwrap_or_default();
            (*phase, words::took(took))
        });
        let parts = took()
            .map(|(phase, took)| (*phase, u64::try_from(took.as_millis()).unwrap_or(u64::MAX)));
        let parts: Vec<_> = parts.collect();
        Self {
            at: Moment::of(last.at, now),
            result: last.result,
            tone: match last.result {
                "failed" => "broken",
                "refused" | "restored" => "unknown",
                _ => "pullable",
            },
            taken: last.did.taken.map_or_else(|| "not told".to_owned(), amount),
            restored: amount(last.did.restored),
            purged: amount(last.did.purged),
            more: said.len().saturating_sub(REFUSALS_SHOWN),
            said: said
                .iter()
                .take(REFUSALS_SHOWN)
                .map(|text| words::pieces(text))
                .collect(),
            phases: phases.collect(),
            bar: picture::stacked(&parts),
        }
    }
}

fn amount(amount: Amount) -> String {
    match amount.blobs {
        0 => "–".to_owned(),
        blobs => {
            let blobs = usize::try_from(blobs).unwrap_or(usize::MAX);
            format!(
                "{}, {}",
                words::counted(blobs, "blob"),
                words::bytes(amount.bytes)
            )
        }
    }
}
