//! When to ask again. The only file that names `backoff`, and it takes delays from it, no more: its
//! clock is its own and would not stop with the tests'.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

/// How patiently one question is put to a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// About how long to wait before the second attempt; each further wait is longer.
    pub first_delay: Duration,
    /// No wait of our own choosing is longer than this.
    pub longest_delay: Duration,
    /// A question is put at most this often.
    pub attempts: u32,
    /// A registry that wants us to wait longer than this is not waited for: the next round asks
    /// again.
    pub retry_after_max: Duration,
    /// How long a registry that said 429 and not until when is left alone.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first_delay: Duration::from_millis(200),
            longest_delay: Duration::from_secs(5),
            attempts: 3,
            retry_after_max: Duration::from_secs(20),
            pause: Duration::from_secs(1),
        }
    }
}

/// The delays between the attempts at one question.
#[derive(Debug)]
pub struct Delays {
    backoff: ExponentialBackoff,
    patience: Patience,
    attempts: u32,
}

impl Delays {
    pub fn new(patience: Patience) -> Self {
        let backoff = ExponentialBackoff {
            current_interval: patience.first_delay,
            initial_interval: patience.first_delay,
            max_interval: patience.longest_delay,
            // Bounded by attempts; the crate's own limit reads the standard clock.
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Self {
            backoff,
            patience,
            attempts: 1,
        }
    }

    /// How long to wait before the next attempt; `None` when there is none.
    ///
    /// `retry_after` is what the registry asked for: obeyed up to [`Patience::retry_after_max`], and
    /// beyond it the question is left unanswered in this round.
    pub fn next(&mut self, retry_after: Option<Duration>) -> Option<Duration> {
        if self.attempts >= self.patience.attempts {
            return None;
        }
        self.attempts += 1;
        let delay = self.backoff.next_backoff()?;
        match retry_after {
            Some(wanted) if wanted > self.patience.retry_after_max => None,
            Some(wanted) => Some(wanted.max(delay)),
            None => Some(delay),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_and_waiting_are_bounded() {
        let mut delays = Delays::new(Patience::default());
        assert!(delays.next(Some(Duration::from_secs(7))).unwrap() >= Duration::from_secs(7));
        // The crate's jitter is half of the interval, in both directions.
        assert!(delays.next(None).unwrap() <= Duration::from_millis(200 * 3 / 2 * 3 / 2));
        assert_eq!(delays.next(None), None);
        assert_eq!(
            Delays::new(Patience::default()).next(Some(Duration::from_secs(86400 * 3650))),
            None
        );
    }

    #[test]
    fn patience_is_what_was_asked_for() {
        let patience = Patience {
            first_delay: Duration::from_millis(2),
            longest_delay: Duration::from_millis(3),
            attempts: 5,
            retry_after_max: Duration::from_millis(10),
            pause: Duration::ZERO,
        };
        let mut delays = Delays::new(patience);
        let waits: Vec<Duration> = std::iter::from_fn(|| delays.next(None)).collect();
        assert_eq!(waits.len(), 4);
        assert!(waits[0] <= Duration::from_millis(3), "{waits:?}");
        assert!(
            waits.iter().all(|wait| *wait <= Duration::from_millis(5)),
            "{waits:?}"
        );
        let mut delays = Delays::new(patience);
        assert_eq!(
            delays.next(Some(Duration::from_millis(10))),
            Some(Duration::from_millis(10))
        );
        assert_eq!(delays.next(Some(Duration::from_millis(11))), None);
    }
}
