//! Every zone, for two years, against somebody who looks at the clock step by step.
//!
//! The onlooker knows no rule of daylight saving. From instant to instant, in equal steps of elapsed time, it reads
//! the clock and keeps what the clock has shown so far. Whatever the clock shows for the first time is due now, if
//! the schedule says so; whatever it passes over is due as much later as if it had gone on; whatever it shows again
//! was due already. So each due time of the wall clock is counted exactly once: none can be lost and none doubled.
//! What a window says must be the same instants, no more and no fewer. What is due is said in Rust here, not in cron.
//!
//! The steps are five minutes, of which every schedule here is a multiple, or one where the clock is changed at
//! another minute; zones whose clocks show the same in all of the time are walked once; and of schedules that are due
//! many times a day only the days around each change of the clock are compared. The long run takes steps of a
//! minute, asks the zone anew at each, walks every zone and compares all of it.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use jiff::civil::{DateTime, Weekday};
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};

use super::{at, window};
use crate::gc::window::{Window, next, open_at};

struct Case {
    schedule: &'static str,
    /// Minutes.
    duration: i64,
    is_frequent: bool,
    is_due: fn(DateTime) -> bool,
}

const CASES: [Case; 7] = [
    Case {
        schedule: "30 2 * * *",
        duration: 180,
        is_frequent: false,
        is_due: |it| it.hour() == 2 && it.minute() == 30,
    },
    Case {
        schedule: "0 * * * *",
        duration: 20,
        is_frequent: true,
        is_due: |it| it.minute() == 0,
    },
    Case {
        schedule: "*/20 1-3 * * *",
        duration: 10,
        is_frequent: true,
        is_due: |it| it.minute() % 20 == 0 && (1..=3).contains(&it.hour()),
    },
    Case {
        schedule: "0 2 * * SUN",
        duration: 300,
        is_frequent: false,
        is_due: |it| it.weekday() == Weekday::Sunday && it.hour() == 2 && it.minute() == 0,
    },
    Case {
        schedule: "30 0 1 * *",
        duration: 60,
        is_frequent: false,
        is_due: |it| it.day() == 1 && it.hour() == 0 && it.minute() == 30,
    },
    Case {
        schedule: "30 2 29 2 *",
        duration: 60,
        is_frequent: false,
        is_due: |it| it.month() == 2 && it.day() == 29 && it.hour() == 2 && it.minute() == 30,
    },
    Case {
        schedule: "15 23 13 * 5",
        duration: 100,
        is_frequent: false,
        is_due: |it| {
            (it.day() == 13 || it.weekday() == Weekday::Friday)
                && it.hour() == 23
                && it.minute() == 15
        },
    },
];

/// Two years, and what is looked at before and after, so that nothing that reaches in is missed.
struct Years {
    from: Timestamp,
    until: Timestamp,
}

const AROUND: SignedDuration = SignedDuration::from_hours(4 * 24);

/// The years that come, and two in which Samoa left out a day and Lord Howe, Casablanca and others changed their
/// clocks; the second pair has a 29 February.
fn years() -> [Years; 2] {
    [("2026", "2028"), ("2011", "2013")].map(|(from, until)| Years {
        from: at(&format!("{from}-01-01T00:00:00Z")),
        until: at(&format!("{until}-01-01T00:00:00Z")),
    })
}

impl Years {
    fn all(&self) -> Range<i64> {
        minute(self.from)..minute(self.until)
    }

    /// Some days around each of these minutes.
    fn around(&self, changes: &[i64]) -> Vec<Range<i64>> {
        let all = self.all();
        let around = changes.iter().map(|change| {
            let clamp = |minute: i64| minute.clamp(all.start, all.end);
            clamp(change - 4 * 1440)..clamp(change + 4 * 1440)
        });
        around.collect()
    }

    fn begin(&self) -> i64 {
        minute(self.from - AROUND)
    }

    fn end(&self) -> i64 {
        minute(self.until + AROUND)
    }
}

/// Minutes since 1970.
fn minute(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

/// Which cases are due at each step of a wall clock, a bit each; once for all zones.
struct Due {
    begin: i64,
    step: i64,
    cases: Vec<u8>,
}

impl Due {
    fn of(years: &Years, step: i64) -> Self {
        // A wall clock is less than a day away from UTC, or a day and a bit.
        let (begin, end) = (years.begin() - 2 * 1440, years.end() + 2 * 1440);
        let steps = (begin..end).step_by(usize::try_from(step).unwrap());
        let cases = steps.map(|minute| {
            let wall = Offset::UTC.to_datetime(Timestamp::from_second(minute * 60).unwrap());
            let cases = CASES.iter().enumerate();
            cases
                .filter(|(_, case)| (case.is_due)(wall))
                .fold(0, |bits, (index, _)| bits | 1 << index)
        });
        Self {
            begin,
            step,
            cases: cases.collect(),
        }
    }

    fn at(&self, wall: i64) -> u8 {
        let index = (wall - self.begin) / self.step;
        self.cases[usize::try_from(index).unwrap()]
    }
}

/// Looks at a clock step by step; the minutes in which each case opens, within the years.
fn onlooker(
    years: &Years,
    due: &Due,
    mut offset: impl FnMut(i64) -> i64,
) -> [BTreeSet<i64>; CASES.len()] {
    let step = due.step;
    let mut opens: [BTreeSet<i64>; CASES.len()] = std::array::from_fn(|_| BTreeSet::new());
    let within = years.all();
    let begin = years.begin();
    let mut last = begin + offset(begin);
    let mut highest = last;
    let mut now = begin + step;
    while now < years.end() {
        let wall = now + offset(now);
        let mut shown = highest + step;
        while shown <= wall {
            // What is shown is due now; what is passed over, later than the clock would have shown it.
            let at = if shown == wall {
                now
            } else {
                now + shown - (last + step)
            };
            let mut cases = due.at(shown);
            if !within.contains(&at) {
                cases = 0;
            }
            while cases != 0 {
                opens[cases.trailing_zeros() as usize].insert(at);
                cases &= cases - 1;
            }
            shown += step;
        }
        highest = highest.max(wall);
        last = wall;
        now += step;
    }
    opens
}

/// What a clock shows over the years: its offset in minutes at the beginning, and since each change.
type Clock = Vec<(i64, i64)>;

fn clock_of(zone: &TimeZone, years: &Years) -> Clock {
    let begin = years.from - AROUND;
    let minutes = |offset: Offset| {
        assert_eq!(offset.seconds() % 60, 0, "a multiple of a step");
        i64::from(offset.seconds() / 60)
    };
    let mut clock = vec![(years.begin(), minutes(zone.to_offset(begin)))];
    for change in zone.following(begin) {
        if change.timestamp() >= years.until + AROUND {
            break;
        }
        assert_eq!(
            change.timestamp().as_second() % 60,
            0,
            "a multiple of a step"
        );
        clock.push((minute(change.timestamp()), minutes(change.offset())));
    }
    // Names of a clock's offset change too.
    clock.dedup_by_key(|(_, offset)| *offset);
    clock
}

fn zones() -> Vec<TimeZone> {
    let bundled = TimeZoneDatabase::bundled();
    let zones = bundled.available();
    zones
        .map(|name| bundled.get(&name.to_string()).unwrap())
        .collect()
}

/// Zones by what their clocks show.
fn clocks(years: &Years) -> BTreeMap<Clock, Vec<TimeZone>> {
    let mut clocks: BTreeMap<Clock, Vec<TimeZone>> = BTreeMap::new();
    for zone in zones() {
        clocks.entry(clock_of(&zone, years)).or_default().push(zone);
    }
    clocks
}

fn window_in(case: &Case, zone: &TimeZone) -> Window {
    Window {
        zone: zone.clone(),
        ..window("w", case.schedule, "UTC", case.duration)
    }
}

/// Compares all openings within a time, which is the years' or a part of it.
fn compare(case: &Case, zone: &TimeZone, within: Range<i64>, expected: &BTreeSet<i64>) {
    let window = window_in(case, zone);
    let time = |minute: i64| Timestamp::from_second(minute * 60).unwrap();
    let openings = window.openings(time(within.start), time(within.end));
    let starts: Vec<i64> = openings.iter().map(|it| it.start.as_second()).collect();
    let expected: Vec<i64> = expected.range(within).map(|minute| minute * 60).collect();
    if starts != expected {
        let only = |these: &[i64], others: &[i64]| -> Vec<Timestamp> {
            let only = these.iter().filter(|it| !others.contains(it)).take(5);
            only.map(|it| Timestamp::from_second(*it).unwrap())
                .collect()
        };
        panic!(
            "{} {:?}: doubled or made up {:?}, lost {:?}",
            case.schedule,
            zone.iana_name(),
            only(&starts, &expected),
            only(&expected, &starts)
        );
    }
    assert!(openings.iter().all(|it| it.duration() == window.duration));
}

/// At each edge of what the onlooker saw open, and just beside it: open if and only if `start <= now < end` for one
/// of its openings; and what is next is its next one. Openings that touch are one, so an edge may be inside.
fn look(case: &Case, zone: &TimeZone, expected: &BTreeSet<i64>, around: &[i64]) -> usize {
    let window = [window_in(case, zone)];
    let mut looks = 0;
    for change in around {
        for start in expected.range(change - 1500..change + 1500) {
            for edge in [*start, start + case.duration] {
                for now in [edge * 60 - 1, edge * 60, edge * 60 + 1] {
                    let is_open = expected
                        .range(now / 60 - case.duration - 1..=now / 60)
                        .any(|start| (start * 60..(start + case.duration) * 60).contains(&now));
                    let open = open_at(&window, Timestamp::from_second(now).unwrap());
                    assert_eq!(open.is_some(), is_open, "{} {now}", case.schedule);
                    looks += 1;
                }
            }
            let before = Timestamp::from_second(start * 60 - 1).unwrap();
            if open_at(&window, before).is_none() {
                let next = next(&window, before).unwrap();
                assert_eq!(next.start.as_second(), start * 60);
            }
        }
    }
    looks
}

#[test]
fn no_opening_is_lost_or_doubled_in_any_zone_in_two_years() {
    let mut counted = 0;
    for years in years() {
        let (coarse, fine) = (Due::of(&years, 5), LazyCell::new(|| Due::of(&years, 1)));
        let clocks = clocks(&years);
        let zones: usize = clocks.values().map(Vec::len).sum();
        assert!(zones > 580, "all zones that there are: {zones}");
        for (clock, zones) in &clocks {
            let mut changes = clock.iter().peekable();
            let mut offset = 0;
            let is_coarse = clock
                .iter()
                .all(|(at, offset)| at % 5 == 0 && offset % 5 == 0);
            let due = if is_coarse { &coarse } else { &*fine };
            let whens: Vec<i64> = clock.iter().map(|(at, _)| *at).collect();
            let seen = onlooker(&years, due, |now| {
                while let Some((_, new)) = changes.next_if(|(at, _)| *at <= now) {
                    offset = *new;
                }
                offset
            });
            for (case, expected) in CASES.iter().zip(&seen) {
                let parts = if case.is_frequent {
                    years.around(&whens)
                } else {
                    vec![years.all()]
                };
                for part in parts {
                    counted += expected.range(part.clone()).count();
                    compare(case, &zones[0], part, expected);
                }
            }
        }
    }
    assert!(counted > 200_000, "much is compared: {counted}");
}

#[test]
fn at_any_time_a_window_is_open_if_an_opening_has_begun_and_not_ended() {
    let mut looks = 0;
    let names: [&[&str]; 2] = [
        &[
            "Europe/Berlin",
            "Australia/Lord_Howe",
            "Antarctica/Troll",
            "Africa/Casablanca",
        ],
        &["Pacific/Apia", "America/St_Johns"],
    ];
    for (years, names) in years().into_iter().zip(names) {
        let due = Due::of(&years, 1);
        for name in names {
            let zone = TimeZoneDatabase::bundled().get(name).unwrap();
            // Asked anew each minute, not by its changes.
            let seen = onlooker(&years, &due, |now| asked(&zone, now));
            let changes: Vec<i64> = clock_of(&zone, &years).iter().map(|(at, _)| *at).collect();
            for (case, expected) in CASES.iter().zip(&seen) {
                compare(case, &zone, years.all(), expected);
                looks += look(case, &zone, expected, &changes);
            }
        }
    }
    assert!(looks > 2_000, "{looks}");
}

fn asked(zone: &TimeZone, now: i64) -> i64 {
    let offset = zone.to_offset(Timestamp::from_second(now * 60).unwrap());
    i64::from(offset.seconds() / 60)
}

#[test]
#[ignore = "takes minutes: for the long run"]
fn no_opening_is_lost_or_doubled_in_any_zone_minute_by_minute() {
    for years in years() {
        let due = Due::of(&years, 1);
        for zone in zones() {
            let seen = onlooker(&years, &due, |now| asked(&zone, now));
            let changes: Vec<i64> = clock_of(&zone, &years).iter().map(|(at, _)| *at).collect();
            for (case, expected) in CASES.iter().zip(&seen) {
                compare(case, &zone, years.all(), expected);
                look(case, &zone, expected, &changes);
            }
        }
    }
}
