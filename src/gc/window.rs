//! When a collection may run: a cron schedule in a time zone, and how long each opening lasts. Pure.
//!
//! A schedule is held against the wall clock of its zone. Every time of that clock which it names opens the window
//! once, whatever the clock does:
//!
//! - A time that the clock shows twice, since it was put back, opens the window when it is shown first.
//! - A time that the clock skips, since it was put forward, opens the window as much later as the clock skips:
//!   02:30 becomes 03:30 where 02:00 is followed by 03:00 (jiff's `compatible`, as RFC 5545 has it).
//! - Two times that become one instant by that are one opening.
//!
//! It ends when the duration has elapsed, whatever the clock shows then. Openings of several windows that overlap
//! or touch are one. So which opening there is at a time is a function of the windows and the time alone, and
//! whoever asks late, twice, or after the clock was set gets the same answer.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};

use self::opening::{Opening, merged};
use self::schedule::Schedule;

pub mod opening;
pub mod schedule;

/// Longer than that no window may be open on end: one collection is run in an opening, and stops before its end.
pub const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A clock is put forward or back by a day at most (Samoa had no 30th of December 2011), and a zone is at most a
/// day away from another.
const DAYS_AROUND: i64 = 2;
/// Openings are looked for within these, one after the other. 29 February may be eight years away.
const DAYS_AHEAD: [i64; 4] = [2, 32, 400, 9 * 366];
/// What is open on end for longer is cut: the configuration does not let it come to that.
const MOST_AROUND: SignedDuration = SignedDuration::from_hours(64 * 24);
const DAY: SignedDuration = SignedDuration::from_hours(24);
const MOMENT: SignedDuration = SignedDuration::from_nanos(1);

/// One window of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Unique among those that hold together.
    pub name: String,
    pub schedule: Schedule,
    pub zone: TimeZone,
    /// Elapsed time; more than none.
    pub duration: SignedDuration,
}

impl Window {
    /// Its openings that start in `[from, until)`, the earliest first.
    pub fn openings(&self, from: Timestamp, until: Timestamp) -> Vec<Opening> {
        let starts = self.starts(from, until).into_iter();
        let opening = |start| Opening {
            windows: vec![self.name.clone()],
            start,
            end: plus(start, self.duration),
        };
        starts.map(opening).collect()
    }

    /// Whether the clock skips the time at which this opening is due.
    pub fn is_shifted(&self, start: Timestamp) -> bool {
        !self.schedule.has(self.zone.to_datetime(start))
    }

    fn starts(&self, from: Timestamp, until: Timestamp) -> Vec<Timestamp> {
        let day = |at| self.zone.to_datetime(at).date();
        let first = day(from).saturating_sub(DAYS_AROUND.days());
        let last = day(until).saturating_add(DAYS_AROUND.days());
        let days = std::iter::successors(Some(first), |day| day.tomorrow().ok())
            .take_while(|day| *day <= last);
        let mut starts: Vec<Timestamp> = days
            .flat_map(|day| self.schedule.on(day))
            .filter_map(|due| self.start(due))
            .filter(|start| (from..until).contains(start))
            .collect();
        // What the clock skips may come after what it shows next.
        starts.sort_unstable();
        starts.dedup();
        starts
    }

    /// `None` only past the end of all time.
    fn start(&self, due: DateTime) -> Option<Timestamp> {
        self.zone.to_ambiguous_timestamp(due).compatible().ok()
    }

    fn first_start_after(&self, after: Timestamp) -> Option<Timestamp> {
        let from = plus(after, MOMENT);
        DAYS_AHEAD.iter().find_map(|days| {
            let until = plus(after, SignedDuration::from_hours(24 * days));
            self.starts(from, until).first().copied()
        })
    }
}

/// What is open at a time, if anything is.
pub fn open_at(windows: &[Window], now: Timestamp) -> Option<Opening> {
    let longest = windows.iter().map(|window| window.duration).max()?;
    let mut around = longest + DAY;
    loop {
        let (from, until) = (plus(now, -around), plus(now, around));
        let openings = windows.iter().map(|window| window.openings(from, until));
        let openings = merged(openings.flatten().collect());
        let open = openings.into_iter().find(|it| it.contains(now))?;
        // What starts before `from` or at `until` and later would not touch it.
        let is_whole = open.start > plus(from, longest) && open.end < until;
        if is_whole || around > MOST_AROUND {
            return Some(open);
        }
        around = around + around;
    }
}

/// What opens next. What is open now is not next.
pub fn next(windows: &[Window], now: Timestamp) -> Option<Opening> {
    let after = open_at(windows, now).map_or(now, |open| open.end);
    let starts = windows.iter();
    let start = starts
        .filter_map(|window| window.first_start_after(after))
        .min()?;
    open_at(windows, start)
}

/// Everything that opens from now on, the next one first. It has no end.
pub fn upcoming(windows: &[Window], now: Timestamp) -> impl Iterator<Item = Opening> {
    std::iter::successors(next(windows, now), |last| next(windows, last.start))
}

/// Since when and until when windows are open together for longer than [`LONGEST`], if they are: within a leap year
/// taken as a sample, since a configuration is good or bad whenever it is read.
pub fn too_long(windows: &[Window]) -> Option<(Timestamp, Timestamp)> {
    let (from, until) = (
        Timestamp::from_second(SAMPLE.0).ok()?,
        Timestamp::from_second(SAMPLE.1).ok()?,
    );
    let spans = windows.iter().flat_map(|window| {
        let starts = window.starts(from, until).into_iter();
        starts.map(|start| (start, plus(start, window.duration)))
    });
    let mut spans: Vec<(Timestamp, Timestamp)> = spans.collect();
    spans.sort_unstable();
    let mut open: Option<(Timestamp, Timestamp)> = None;
    for (start, end) in spans {
        let (begun, last) = match open {
            Some((begun, last)) if start <= last => (begun, last.max(end)),
            _ => (start, end),
        };
        if last.duration_since(begun) > LONGEST {
            return Some((begun, last));
        }
        open = Some((begun, last));
    }
    None
}

/// 2028 in UTC, and ten days more.
const SAMPLE: (i64, i64) = (1_830_297_600, 1_830_297_600 + (366 + 10) * 86_400);

/// Never past the ends of all time.
fn plus(at: Timestamp, duration: SignedDuration) -> Timestamp {
    let end = if duration.is_negative() {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    at.checked_add(duration).unwrap_or(end)
}

#[cfg(test)]
mod tests;
