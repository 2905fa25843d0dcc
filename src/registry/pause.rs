//! A registry that asks to be left alone is left alone, within bounds. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Nobody is obeyed for longer: a registry that says ten years is asked again after this.
pub const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);
/// Each refusal in a row that follows a pause at least doubles it: one second, two, four.
const DOUBLINGS_MAX: u32 = 10;
/// From when until when a registry is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    since: Timestamp,
    pub until: Timestamp,
}

impl Pause {
    /// What a registry asked for now, at most [`PAUSE_MAX`], or `unsaid` where it does not say. `in_a_row` counts the pauses before this one
    /// after which it refused again: one that says "in a second" for ever is not asked every second.
    pub fn begin(
        retry_after: Option<Duration>,
        unsaid: Duration,
        in_a_row: u32,
        now: Timestamp,
    ) -> Self {
        let wanted = match (retry_after, in_a_row) {
            (Some(wanted), 0) => wanted,
            (wanted, n) => {
                let doubled = unsaid * 2_u32.pow(n.min(DOUBLINGS_MAX));
                wanted.unwrap_or(doubled).max(doubled)
            }
        };
        let wanted = wanted.min(PAUSE_MAX);
        let wanted = SignedDuration::try_from(wanted).unwrap_or(SignedDuration::ZERO);
        Self {
            since: now,
            until: now.saturating_add(wanted).unwrap_or(now),
        }
    }

    /// The longer of two: an answer that began before the other does not cut it short.
    #[must_use]
    pub fn or_longer(self, other: Option<Self>) -> Self {
        match other {
            Some(other) if other.until > self.until && other.left(self.since).is_some() => other,
            Some(_) | None => self,
        }
    }

    /// How much of it is left; `None` when it is over. A clock that was set back ends it.
    pub fn left(&self, now: Timestamp) -> Option<Duration> {
        if now < self.since || now >= self.until {
            return None;
        }
        Duration::try_from(self.until.duration_since(now)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNSAID: Duration = Duration::from_secs(1);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_lasts_as_long_as_asked_for_and_no_longer_than_its_cap() {
        let left = |wanted: Option<u64>, after: i64| {
            Pause::begin(wanted.map(seconds), UNSAID, 0, at(0)).left(at(after))
        };
        assert_eq!(left(Some(7), 2), Some(seconds(5)));
        assert_eq!(left(Some(7), 7), None);
        assert_eq!(left(None, 0), Some(UNSAID));
        // A date in the past.
        assert_eq!(left(Some(0), 0), None);
        for absurd in [10 * 365 * 86_400, u64::MAX] {
            assert_eq!(left(Some(absurd), 899), Some(seconds(1)));
            assert_eq!(left(Some(absurd), 900), None);
        }
        // A clock that was set back a day.
        assert_eq!(left(Some(60), -86_400), None);
    }

    #[test]
    fn one_that_goes_on_refusing_is_asked_ever_more_seldom() {
        let lasts = |wanted: Option<u64>, in_a_row| {
            let pause = Pause::begin(wanted.map(seconds), UNSAID, in_a_row, at(0));
            pause.left(at(0)).unwrap().as_secs()
        };
        let each: Vec<u64> = (0..12).map(|n| lasts(None, n)).collect();
        assert_eq!(each, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
        assert_eq!((lasts(Some(1), 5), lasts(Some(60), 5)), (32, 60));
        assert_eq!(lasts(None, u32::MAX), 900);
    }

    #[test]
    fn the_longest_that_still_lasts_counts() {
        let long = Pause::begin(Some(seconds(60)), UNSAID, 0, at(0));
        let short = Pause::begin(Some(seconds(5)), UNSAID, 0, at(10));
        assert_eq!(short.or_longer(Some(long)), long);
        assert_eq!(short.or_longer(None), short);
        // Left over from before the clock was set back: it counts no more.
        let future = Pause::begin(Some(seconds(60)), UNSAID, 0, at(5_000));
        assert_eq!(short.or_longer(Some(future)), short);
    }
}
