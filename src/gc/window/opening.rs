//! A time in which a window is open, its name, and what may be begun in it. Pure.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

use super::plus;

/// A time in which at least one window is open without a pause: `[start, end)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The windows that it is made of, by name, in the order in which they open; never empty.
    pub windows: Vec<String>,
    pub start: Timestamp,
    pub end: Timestamp,
}

/// Names an opening across restarts: the window that begins it, and when.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OpeningId {
    pub window: String,
    pub start: Timestamp,
}

impl Opening {
    pub fn id(&self) -> OpeningId {
        OpeningId {
            window: self.windows.first().cloned().unwrap_or_default(),
            start: self.start,
        }
    }

    pub fn contains(&self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }

    /// Elapsed time.
    pub fn duration(&self) -> SignedDuration {
        self.end.duration_since(self.start)
    }
}

/// Whether the one automatic run of an opening may begin.
///
/// `last_started` is the opening of the last automatic run. An opening that is not later than that one is done:
/// so a restart gives no second run, and no clock that was set back does. A clock that was years ahead for a while
/// leaves an opening of that year behind; until then a run is an operator's to begin, which is seen as one that is
/// overdue, and is better than two runs at once.
pub fn may_start(opening: &Opening, last_started: Option<&OpeningId>, now: Timestamp) -> bool {
    opening.contains(now) && last_started.is_none_or(|last| last.start < opening.start)
}

/// When whatever runs in an opening must have stopped, to be over by its end. Never before its start.
pub fn stop_by(opening: &Opening, margin: SignedDuration) -> Timestamp {
    plus(opening.end, -margin).clamp(opening.start, opening.end)
}

/// Openings that overlap or touch become one; the earliest first.
pub fn merged(mut openings: Vec<Opening>) -> Vec<Opening> {
    openings.sort_by(|a, b| (a.start, &a.windows).cmp(&(b.start, &b.windows)));
    let mut merged: Vec<Opening> = Vec::new();
    for opening in openings {
        match merged.last_mut() {
            Some(last) if opening.start <= last.end => {
                last.end = last.end.max(opening.end);
                for name in opening.windows {
                    if !last.windows.contains(&name) {
                        last.windows.push(name);
                    }
                }
            }
            _ => merged.push(opening),
        }
    }
    merged
}

impl fmt::Display for OpeningId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}", self.window, self.start)
    }
}

/// It is not the name of an opening.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` does not name an opening: expected WINDOW@TIME, as sunday@2026-11-29T01:00:00Z")]
pub struct InvalidOpeningId(String);

impl FromStr for OpeningId {
    type Err = InvalidOpeningId;

    fn from_str(text: &str) -> Result<Self, InvalidOpeningId> {
        let parsed = text.rsplit_once('@').and_then(|(window, start)| {
            let start = start.parse().ok()?;
            let window = window.to_owned();
            (!window.is_empty()).then_some(Self { window, start })
        });
        parsed.ok_or_else(|| InvalidOpeningId(crate::oci::reference::shown(text)))
    }
}
