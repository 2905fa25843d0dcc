//! Five cron fields, held against a wall clock. The only place that knows croner. Pure.
//!
//! The fields are those of crontab(5): minute, hour, day of month, month, day of week (Sunday is 0 or 7). Each is
//! `*`, or a list of numbers and ranges; a step stands behind `*` or a range; months and weekdays may have their
//! English names. Where both days are restricted, one that fits is enough: `0 2 1 * 0` is due on every first and on
//! every Sunday.
//!
//! Anything else that some cron knows is refused: seconds, years, `@daily`, `L`, `W`, `#`, `?`. So is what crons
//! read differently: a day with a step, as `*/2`, beside another day. Vixie's takes such a day for unrestricted and
//! wants both to fit, others want one.

use std::fmt;
use std::str::FromStr;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::{Date, DateTime, Time};

use crate::oci::reference::shown;

const EXPECTED: &str =
    "expected five fields (minute, hour, day of month, month, day of week), as \"0 2 * * 0\"";

/// Of a leap year and with every weekday in every month: what is due on no day of it never is.
const SAMPLE_YEAR: i16 = 2028;

struct Field {
    name: &'static str,
    first: u8,
    last: u8,
    /// The first one means `first`.
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field {
        name: "minute",
        first: 0,
        last: 59,
        names: &[],
    },
    Field {
        name: "hour",
        first: 0,
        last: 23,
        names: &[],
    },
    Field {
        name: "day of month",
        first: 1,
        last: 31,
        names: &[],
    },
    Field {
        name: "month",
        first: 1,
        last: 12,
        names: &[
            "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
        ],
    },
    Field {
        name: "day of week",
        first: 0,
        last: 7,
        names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    },
];

/// Why a text is no schedule, and what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSchedule(String);

/// When something is due by a wall clock, to the minute.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// As it was written.
    text: String,
    cron: Cron,
    /// On a day on which it is due at all; the earliest first.
    times: Vec<Time>,
}

impl Schedule {
    /// The times of a day at which it is due, the earliest first.
    pub fn on(&self, date: Date) -> impl Iterator<Item = DateTime> {
        let times = if self.has_day(date) {
            self.times.as_slice()
        } else {
            &[]
        };
        times.iter().map(move |time| date.to_datetime(*time))
    }

    /// Whether it is due at this time of a wall clock.
    pub fn has(&self, at: DateTime) -> bool {
        self.times.contains(&at.time()) && self.has_day(at.date())
    }

    fn has_day(&self, date: Date) -> bool {
        let pattern = &self.cron.pattern;
        let (month, day) = (number(date.month()), number(date.day()));
        // Neither fails for a date that there is.
        pattern.month_match(month).unwrap_or(false)
            && pattern
                .day_match(i32::from(date.year()), month, day)
                .unwrap_or(false)
    }
}

fn number(part: i8) -> u32 {
    u32::from(part.unsigned_abs())
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl FromStr for Schedule {
    type Err = InvalidSchedule;

    fn from_str(text: &str) -> Result<Self, InvalidSchedule> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields.len() != FIELDS.len() {
            let count = fields.len();
            return Err(InvalidSchedule(format!("it has {count}: {EXPECTED}")));
        }
        let mut plain = Vec::with_capacity(fields.len());
        for (field, text) in FIELDS.iter().zip(&fields) {
            plain.push(field.plain(text).map_err(InvalidSchedule)?);
        }
        if let [_, _, of_month, _, of_week] = plain.as_slice() {
            let is_stepped = |day: &str| day.starts_with("*/");
            if (is_stepped(of_month) && of_week != "*") || (is_stepped(of_week) && of_month != "*")
            {
                let message = "its two days are read differently by different crons, since one begins with */; \
                               write out which days are meant, or * for one of the two";
                return Err(InvalidSchedule(message.to_owned()));
            }
        }
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let cron = parser
            .parse(&plain.join(" "))
            .map_err(|error| InvalidSchedule(format!("{error} {EXPECTED}")))?;
        let pattern = &cron.pattern;
        let mut times = Vec::new();
        for hour in (0..24_i8).filter(|it| pattern.hour_match(number(*it)).unwrap_or(false)) {
            let minutes =
                (0..60_i8).filter(|it| pattern.minute_match(number(*it)).unwrap_or(false));
            times.extend(minutes.filter_map(|minute| Time::new(hour, minute, 0, 0).ok()));
        }
        let schedule = Self {
            text: fields.join(" "),
            cron,
            times,
        };
        if !schedule.is_ever_due() {
            let message = "it never opens: no month of it has such a day; write a day that there is, as 28 for the \
                           end of February";
            return Err(InvalidSchedule(message.to_owned()));
        }
        Ok(schedule)
    }
}

impl Schedule {
    /// By a bounded look: croner itself would search until the year 5000.
    fn is_ever_due(&self) -> bool {
        let first = Date::new(SAMPLE_YEAR, 1, 1).ok();
        let mut days = std::iter::successors(first, |day| day.tomorrow().ok())
            .take_while(|day| day.year() == SAMPLE_YEAR);
        !self.times.is_empty() && days.any(|day| self.has_day(day))
    }
}

impl Field {
    /// The field in numbers, if it is as crontab(5) has it.
    fn plain(&self, text: &str) -> Result<String, String> {
        let parts: Result<Vec<String>, String> =
            text.split(',').map(|part| self.part(part, text)).collect();
        Ok(parts?.join(","))
    }

    fn part(&self, part: &str, whole: &str) -> Result<String, String> {
        let (range, step) = match part.split_once('/') {
            None => (part, None),
            Some((range, step)) => (range, Some(self.step(step)?)),
        };
        let is_in_list = part != whole;
        let plain = match (range, range.split_once('-')) {
            ("*", _) if is_in_list && step.is_none() => {
                return Err(format!(
                    "its {} has `*` in a list, beside which nothing else counts; write one of them",
                    self.name
                ));
            }
            ("*", _) => "*".to_owned(),
            (_, None) => {
                let value = self.value(range)?;
                if step.is_some() {
                    return Err(format!(
                        "its {} `{}` has a step and no range; write where it ends, as {value}-{}{}",
                        self.name,
                        shown(part),
                        self.last,
                        part.find('/')
                            .and_then(|at| part.get(at..))
                            .unwrap_or_default()
                    ));
                }
                value.to_string()
            }
            (_, Some((first, last))) => {
                let (begin, mut end) = (self.value(first)?, self.value(last)?);
                // By its name Sunday ends a week too.
                if end == 0 && last.eq_ignore_ascii_case("SUN") && begin > 0 {
                    end = 7;
                }
                if end < begin {
                    return Err(format!(
                        "its {} `{}` ends before it begins; write it as two, as {begin}-{},{}-{end}",
                        self.name,
                        shown(part),
                        self.last,
                        self.first
                    ));
                }
                format!("{begin}-{end}")
            }
        };
        Ok(match step {
            None => plain,
            Some(step) => format!("{plain}/{step}"),
        })
    }

    fn step(&self, text: &str) -> Result<u8, String> {
        digits(text)
            .filter(|step| (1..=self.last).contains(step))
            .ok_or_else(|| {
                format!(
                    "its {} has the step `{}`, which is not a number from 1 to {}",
                    self.name,
                    shown(text),
                    self.last
                )
            })
    }

    fn value(&self, text: &str) -> Result<u8, String> {
        let named = (self.first..)
            .zip(self.names)
            .find(|(_, name)| name.eq_ignore_ascii_case(text));
        let written = digits(text).filter(|value| (self.first..=self.last).contains(value));
        named.map(|(value, _)| value).or(written).ok_or_else(|| {
            let or_name = self
                .names
                .first()
                .map_or_else(String::new, |name| format!(", or a name as {name}"));
            format!(
                "its {} `{}` is not a number from {} to {}{or_name}",
                self.name,
                shown(text),
                self.first,
                self.last
            )
        })
    }
}

/// A number without a sign.
fn digits(text: &str) -> Option<u8> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}
