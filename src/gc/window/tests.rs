//! Windows against clocks.

use jiff::{SignedDuration, Timestamp};

use super::Window;

mod clocks;
mod merging;
mod oracle;
mod schedules;

fn window(name: &str, schedule: &str, zone: &str, minutes: i64) -> Window {
    Window {
        name: name.to_owned(),
        schedule: schedule.parse().unwrap(),
        zone: jiff::tz::TimeZoneDatabase::bundled().get(zone).unwrap(),
        duration: SignedDuration::from_mins(minutes),
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}
