//! The next openings of a storage's windows, as a picture of a week and in words. Pure.

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::super::picture::{Axis, Segment};
use super::super::words::{self, Moment};
use crate::gc::window::Window;
use crate::gc::window::opening::{self, Opening};
use crate::state::windows::Windows;

/// Days that are drawn, today's first.
const DAYS: i32 = 8;
/// Openings that are looked at: those of a week, and of the weeks after it until what is taken is purged.
const OPENINGS_MAX: usize = 200;
const AHEAD: SignedDuration = SignedDuration::from_hours(60 * 24);
/// Openings that are said in words.
const OPENINGS_SHOWN: usize = 5;

pub(in crate::http::page) struct Week {
    /// Of the week, and of the month.
    pub(in crate::http::page) days: Vec<(String, String)>,
    pub(in crate::http::page) openings: Vec<Segment>,
    /// Where now is.
    pub(in crate::http::page) now: u64,
    pub(in crate::http::page) rows: Vec<Row>,
    pub(in crate::http::page) next: Option<Moment>,
    /// The windows, in the words of the configuration.
    pub(in crate::http::page) windows: Vec<String>,
    all: Vec<Opening>,
}

pub(in crate::http::page) struct Row {
    pub(in crate::http::page) start: Moment,
    pub(in crate::http::page) end: Moment,
    pub(in crate::http::page) lasts: String,
    pub(in crate::http::page) names: String,
    pub(in crate::http::page) is_open: bool,
}

impl Week {
    pub(super) fn of(host: &str, windows: &Windows, now: Timestamp) -> Self {
        let mut groups = windows.groups.iter();
        let group = groups.find(|group| group.storages.iter().any(|storage| storage == host));
        let all: Vec<Window> = group
            .map(|group| group.windows.iter().map(|it| it.window.clone()).collect())
            .unwrap_or_default();
        let until = now.saturating_add(AHEAD).unwrap_or(Timestamp::MAX);
        let longest = all.iter().map(|window| window.duration).max();
        let from = now.saturating_sub(longest.unwrap_or_default());
        let from = from.unwrap_or(Timestamp::MIN);
        let openings = all.iter().flat_map(|window| window.openings(from, until));
        let openings = opening::merged(openings.collect()).into_iter();
        let openings = openings.filter(|opening| opening.end > now);
        let mut week = Self::drawn(openings.take(OPENINGS_MAX).collect(), now);
        week.windows = all
            .iter()
            .map(|window| {
                let zone = window.zone.iana_name().unwrap_or("UTC");
                let lasts = words::every(window.duration);
                format!("{}: {} ({zone}), for {lasts}", window.name, window.schedule)
            })
            .collect();
        week
    }

    /// Whether a window is open now.
    pub(super) fn is_open(&self) -> bool {
        self.rows.iter().any(|row| row.is_open)
    }

    /// By openings alone, the earliest first.
    pub(super) fn drawn(all: Vec<Opening>, now: Timestamp) -> Self {
        let today = now
            .to_zoned(TimeZone::UTC)
            .with()
            .time(Time::midnight())
            .build();
        let start = today.map_or(now, |today| today.timestamp());
        let day = |number: i32| {
            let hours = SignedDuration::from_hours(24 * i64::from(number));
            start.saturating_add(hours).unwrap_or(Timestamp::MAX)
        };
        let axis = Axis {
            start,
            end: day(DAYS),
        };
        let drawn = all
            .iter()
            .filter_map(|opening| axis.segment("open", opening.start, opening.end));
        let rows = all.iter().take(OPENINGS_SHOWN).map(|opening| Row {
            start: Moment::of(opening.start, now),
            end: Moment::of(opening.end, now),
            lasts: words::every(opening.duration()),
            names: opening.windows.join(", "),
            is_open: opening.contains(now),
        });
        let next = all.iter().find(|opening| opening.start > now);
        Self {
            days: (0..DAYS)
                .map(day)
                .map(|day| {
                    (
                        day.strftime("%a").to_string(),
                        day.strftime("%-d").to_string(),
                    )
                })
                .collect(),
            openings: drawn.collect(),
            now: axis.x(now),
            rows: rows.collect(),
            next: next.map(|opening| Moment::of(opening.start, now)),
            windows: Vec::new(),
            all,
        }
    }

    /// When something may be taken for the first time from now on.
    pub(super) fn first(&self, now: Timestamp) -> Option<Timestamp> {
        self.open_from(now)
    }

    /// The first time from then on at which a window is open.
    pub(super) fn open_from(&self, at: Timestamp) -> Option<Timestamp> {
        let opening = self.all.iter().find(|opening| opening.end > at)?;
        Some(opening.start.max(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_begins_today_and_shows_what_is_open() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-08-01T12:00:00Z");
        let opening = |start: &str, hours| Opening {
            windows: vec!["weekly".to_owned()],
            start: at(start),
            end: at(start) + SignedDuration::from_hours(hours),
        };
        let week = Week::drawn(
            vec![
                opening("2026-08-01T11:00:00Z", 2),
                opening("2026-08-05T00:00:00Z", 12),
                opening("2026-09-05T00:00:00Z", 12),
            ],
            now,
        );
        assert_eq!(week.days.len(), 8);
        assert_eq!(
            (&week.days[0], &week.days[7]),
            (
                &("Sat".to_owned(), "1".to_owned()),
                &("Sat".to_owned(), "8".to_owned())
            )
        );
        assert_eq!(week.now, 62);
        let drawn: Vec<_> = week.openings.iter().map(|it| (it.x, it.width)).collect();
        assert_eq!(drawn, [(57, 10), (500, 62)]);
        assert!(week.rows[0].is_open && !week.rows[1].is_open);
        assert_eq!(week.next.as_ref().unwrap().iso, "2026-08-05T00:00:00Z");
        assert_eq!(week.first(now), Some(now));
        assert_eq!(
            week.open_from(at("2026-08-01T13:00:00Z")),
            Some(at("2026-08-05T00:00:00Z"))
        );
    }
}
