//! A copy, beside the journal, of what references led to. Pure.
//!
//! A daemon that loses its state directory forgets what tags named before, and what workloads may be rolled
//! back to. Whoever collects keeps what it knew. Where the copy is lost too, nothing is purged until a new
//! one is as old as the quarantine lasts: by then whatever is needed was seen again.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::inventory::keepset::LedTo;
use crate::oci::digest::Digest;
use crate::second::Second;

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Copied {
    /// Since when there is one, without a gap.
    since: Second,
    led_to: Vec<Row>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    reference: Box<str>,
    digest: Digest,
    last: Timestamp,
}

impl Copied {
    /// The next copy: what is known now, without what was seen longer ago than it is kept for.
    pub(super) fn next(
        before: Option<&Self>,
        known: &[LedTo],
        keep: Duration,
        now: Timestamp,
    ) -> Self {
        let keep = SignedDuration::try_from(keep).unwrap_or(SignedDuration::MAX);
        let mut last: BTreeMap<(&str, Digest), Timestamp> = BTreeMap::new();
        for LedTo {
            reference,
            digest,
            last: seen,
        } in known
        {
            if now.duration_since(*seen) <= keep {
                let last = last.entry((reference, *digest)).or_insert(*seen);
                *last = (*last).max(*seen);
            }
        }
        let rows = last.into_iter().map(|((reference, digest), last)| Row {
            reference: reference.into(),
            digest,
            last,
        });
        Self {
            since: before.map_or_else(|| now.into(), |before| before.since),
            led_to: rows.collect(),
        }
    }

    pub(super) fn rows(&self) -> Vec<LedTo> {
        let rows = self.led_to.iter().map(|row| LedTo {
            reference: row.reference.clone(),
            digest: row.digest,
            last: row.last,
        });
        rows.collect()
    }

    /// Whether it reaches back as far as what may be purged was taken.
    pub(super) fn reaches(&self, quarantine_for: i64, now: Second) -> bool {
        now.get().saturating_sub(self.since.get()) >= quarantine_for
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led_to(reference: &str, content: &str, second: i64) -> LedTo {
        LedTo {
            reference: reference.into(),
            digest: Digest::of(content.as_bytes()),
            last: Timestamp::from_second(second).unwrap(),
        }
    }

    #[test]
    fn it_keeps_what_was_seen_last_and_since_when_it_is_there() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let keep = Duration::from_secs(100);
        let known = [
            led_to("a", "x", 950),
            led_to("a", "y", 901),
            led_to("a", "x", 990),
            led_to("b", "z", 899),
        ];
        let first = Copied::next(None, &known, keep, at(1000));
        assert_eq!(
            first.rows(),
            [led_to("a", "x", 990), led_to("a", "y", 901)]
                .map(Some)
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
        );
        let next = Copied::next(Some(&first), &first.rows(), keep, at(1050));
        assert_eq!(next.rows(), [led_to("a", "x", 990)]);
        assert!(next.reaches(50, Second::new(1050)) && !next.reaches(51, Second::new(1050)));
        assert!(!Copied::next(None, &next.rows(), keep, at(1060)).reaches(50, Second::new(1060)));
    }
}
