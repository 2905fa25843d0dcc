//! What a collection would take, and when the space of it is free. Pure.

use jiff::Timestamp;

use super::super::picture::{self, Segment};
use super::super::words::{self, Moment, Piece};
use super::week::Week;
use crate::config::Mode;
use crate::state::largest::{Going, Largest};
use crate::state::storages::{Planned, StorageStatus, Terms};

pub(in crate::http::page) struct PlanCard {
    pub(in crate::http::page) planned: Option<PlanView>,
    /// Why there was none the last time.
    pub(in crate::http::page) refused: Vec<(&'static str, Vec<Piece>)>,
}

pub(in crate::http::page) struct PlanView {
    pub(in crate::http::page) id: String,
    pub(in crate::http::page) at: Moment,
    pub(in crate::http::page) took: String,
    pub(in crate::http::page) blobs: String,
    pub(in crate::http::page) bytes: String,
    pub(in crate::http::page) all_bytes: String,
    pub(in crate::http::page) share: String,
    pub(in crate::http::page) bar: Vec<Segment>,
    pub(in crate::http::page) repositories: Vec<GoingRow>,
    pub(in crate::http::page) reasons: Vec<GoingRow>,
    pub(in crate::http::page) is_nothing: bool,
    /// Some of it may be gone already.
    pub(in crate::http::page) is_before_run: bool,
    /// When its space is free, in words.
    pub(in crate::http::page) free: String,
}

pub(in crate::http::page) struct GoingRow {
    pub(in crate::http::page) name: String,
    pub(in crate::http::page) count: String,
    pub(in crate::http::page) bytes: String,
    /// Of the largest, in thousandths.
    pub(in crate::http::page) share: u64,
}

impl PlanCard {
    pub(super) fn of(
        storage: &StorageStatus,
        terms: Option<Terms>,
        ran_at: Option<Timestamp>,
        week: &Week,
        now: Timestamp,
    ) -> Self {
        let refused = storage.refused.iter();
        let refused =
            refused.map(|refusal| (refusal.code.as_str(), words::pieces(&refusal.message)));
        Self {
            planned: storage.planned.as_ref().map(|planned| PlanView {
                is_before_run: ran_at.is_some_and(|ran_at| planned.at < ran_at),
                ..PlanView::of(planned, terms, week, now)
            }),
            refused: refused.collect(),
        }
    }
}

impl PlanView {
    fn of(planned: &Planned, terms: Option<Terms>, week: &Week, now: Timestamp) -> Self {
        let Planned {
            at,
            took,
            counts,
            outline,
            recalled: _,
        } = planned;
        let kept = counts.bytes.saturating_sub(counts.garbage_bytes);
        let repositories = largest(&outline.repositories, |it| match it.name.as_str() {
            "" => "data that no repository links".to_owned(),
            name => name.to_owned(),
        });
        Self {
            id: outline.id.clone(),
            at: Moment::of(*at, now),
            took: words::took(*took),
            blobs: words::counted(counts.garbage_blobs, "blob"),
            bytes: words::bytes(counts.garbage_bytes),
            all_bytes: words::bytes(counts.bytes),
            share: words::percent(counts.garbage_bytes, counts.bytes),
            bar: picture::stacked(&[("going", counts.garbage_bytes), ("kept", kept)]),
            repositories,
            reasons: rows(&outline.reasons, |it| it.name.replace('_', " ")),
            is_before_run: false,
            is_nothing: outline.repositories.first.is_empty(),
            free: free(terms, week, now),
        }
    }
}

/// The largest, and then all others together.
pub(super) fn largest(largest: &Largest, name: impl Fn(&Going) -> String) -> Vec<GoingRow> {
    let mut all = rows(&largest.first, name);
    if largest.other_names > 0 {
        let others = words::number(largest.other_names);
        let most = largest.first.first().map(|it| it.bytes);
        let name = |_: &Going| format!("{others} others together");
        let row = rows(std::slice::from_ref(&largest.others), name);
        all.extend(row.into_iter().map(|row| GoingRow {
            share: picture::seen(largest.others.bytes, most.unwrap_or_default()),
            ..row
        }));
    }
    all
}

fn rows(all: &[Going], name: impl Fn(&Going) -> String) -> Vec<GoingRow> {
    let largest = all.iter().map(|it| it.bytes).max().unwrap_or_default();
    let row = |it: &Going| GoingRow {
        name: name(it),
        count: words::number(it.count),
        bytes: words::bytes(it.bytes),
        share: picture::seen(it.bytes, largest),
    };
    all.iter().map(row).collect()
}

/// When the space is free: what is taken in the next window is purged in the first one that opens, or is
/// open still, after its time in quarantine.
fn free(terms: Option<Terms>, week: &Week, now: Timestamp) -> String {
    let Some(Terms {
        mode,
        quarantine_for,
    }) = terms
    else {
        return "not known".to_owned();
    };
    let no_window = || "never by itself: no window is configured (gc.windows)".to_owned();
    let Some(taken) = week.first(now) else {
        return no_window();
    };
    let Ok(due) = taken.checked_add(quarantine_for) else {
        return no_window();
    };
    match mode {
        Mode::Plan => "never: gc.mode is plan, and nothing is taken".to_owned(),
        Mode::Quarantine => format!(
            "not by itself, since gc.mode is quarantine: what is taken in the next window may be purged by hand from {} UTC on",
            day(due)
        ),
        Mode::Purge => match week.open_from(due) {
            Some(purged) => format!(
                "{} UTC, by the windows as they are: taken {}, in quarantine until {}",
                day(purged),
                day(taken),
                day(due)
            ),
            None => format!("in the first window after {} UTC", day(due)),
        },
    }
}

fn day(at: Timestamp) -> String {
    at.strftime("%F %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::gc::window::opening::Opening;

    #[test]
    fn space_is_free_in_the_first_window_after_the_quarantine() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let opening = |day: u32| Opening {
            windows: vec!["nightly".to_owned()],
            start: at(&format!("2026-08-{day:02}T02:00:00Z")),
            end: at(&format!("2026-08-{day:02}T04:00:00Z")),
        };
        let now = at("2026-08-01T12:00:00Z");
        let week = Week::drawn((2..20).map(opening).collect(), now);
        let said = |mode, hours| {
            let quarantine_for = Duration::from_hours(hours);
            free(
                Some(Terms {
                    mode,
                    quarantine_for,
                }),
                &week,
                now,
            )
        };
        let begins = |text: String, expected: &str| {
            assert!(text.starts_with(expected), "{text}");
        };
        begins(said(Mode::Purge, 6 * 24), "2026-08-08 02:00 UTC");
        // It is open still when it is due.
        begins(said(Mode::Purge, 6 * 24 + 1), "2026-08-08 03:00 UTC");
        begins(said(Mode::Purge, 6 * 24 + 3), "2026-08-09 02:00 UTC");
        begins(
            said(Mode::Purge, 100 * 24),
            "in the first window after 2026-11-10 02:00 UTC",
        );
        assert!(said(Mode::Quarantine, 24).contains("by hand from 2026-08-03 02:00 UTC"));
        begins(said(Mode::Plan, 24), "never: gc.mode is plan");
        let none = Week::drawn(Vec::new(), now);
        let terms = Terms {
            mode: Mode::Purge,
            quarantine_for: Duration::from_hours(1),
        };
        begins(free(Some(terms), &none, now), "never by itself");
    }
}
