//! Whether the time of day is what has passed: by a clock that was set wrong nothing expires. Pure.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::second::Second;

/// The two clocks may differ by so much from one look to the next.
const STEP_MAX: SignedDuration = SignedDuration::from_mins(1);
/// A time that stood for so long is the time. So is one at which a daemon starts again within this of when
/// it last wrote.
const STANDS: SignedDuration = SignedDuration::from_hours(24);

/// How far the time of day stepped ahead, for as long as it is not believed.
#[derive(Debug, Default)]
pub(super) struct Steps {
    last: Option<(Timestamp, Instant)>,
    ahead: SignedDuration,
    stepped: Option<Instant>,
}

impl Steps {
    /// How much longer than it seems by the time of day things are to be kept. `alive`: when the daemon last
    /// wrote, where it only begins. A machine that slept is one that stepped.
    pub(super) fn lag(
        &mut self,
        now: Timestamp,
        passed: Instant,
        alive: Option<Second>,
    ) -> SignedDuration {
        let step = match (self.last.replace((now, passed)), alive) {
            (Some((before, then)), _) => {
                let really = SignedDuration::try_from(passed.duration_since(then));
                let really = really.unwrap_or(SignedDuration::MAX);
                let step = now.duration_since(before).saturating_sub(really);
                (step.abs() > STEP_MAX).then_some(step)
            }
            (None, Some(alive)) => {
                let away = now.duration_since(alive.into());
                (away > STANDS).then_some(away)
            }
            (None, None) => None,
        };
        if let Some(step) = step {
            // One that is set right again takes back what it was ahead.
            self.ahead = self.ahead.saturating_add(step).max(SignedDuration::ZERO);
            self.stepped = Some(passed);
        }
        let stood = self.stepped.map(|since| passed.duration_since(since));
        if stood.is_some_and(|stood| stood >= STANDS.unsigned_abs()) {
            self.ahead = SignedDuration::ZERO;
            self.stepped = None;
        }
        self.ahead
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DAY: i64 = 86_400;

    #[test]
    fn a_step_is_believed_once_it_stood_for_a_day() {
        let begun = Instant::now();
        let mut steps = Steps::default();
        let mut lag = |second: i64, passed: u64| {
            let at = Timestamp::from_second(second).unwrap();
            let lag = steps.lag(at, begun + Duration::from_secs(passed), None);
            lag.as_secs()
        };
        assert_eq!(lag(0, 0), 0);
        // A busy machine, and a clock that is set a little.
        assert_eq!(lag(65, 5), 0);
        assert_eq!(lag(100 * DAY + 65, 5), 100 * DAY);
        assert_eq!(lag(100 * DAY + 70, 10), 100 * DAY);
        // It is set right.
        assert_eq!(lag(75, 15), 0);
        assert_eq!(lag(100 * DAY + 80, 20), 100 * DAY);
        assert_eq!(lag(101 * DAY + 79, 86_419), 100 * DAY);
        assert_eq!(lag(101 * DAY + 80, 86_420), 0);
        // What has passed by both clocks has passed.
        assert_eq!(lag(300 * DAY + 80, 86_420 + 199 * 86_400), 0);
    }

    #[test]
    fn a_daemon_that_was_away_for_long_waits_before_it_forgets() {
        let lag = |now: i64, alive: i64| {
            let now = Timestamp::from_second(now).unwrap();
            let alive = Some(Second::new(alive));
            Steps::default().lag(now, Instant::now(), alive).as_secs()
        };
        assert_eq!(lag(DAY, 0), 0);
        assert_eq!(lag(2 * DAY, 0), 2 * DAY);
        assert_eq!(lag(0, DAY), 0);
    }
}
