//! When to ask again. The only file that names `backoff`, and it takes delays from it, no more: its
//! clock is its own and would not stop with the tests'.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

/// A question is put at most this often.
pub const ATTEMPTS_MAX: u32 = 3;
/// A registry that wants us to wait longer than this is not waited for: the next round asks again.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(20);

/// The delays between the attempts at one question.
#[derive(Debug)]
pub struct Delays {
    delays: ExponentialBackoff,
    attempts: u32,
}

impl Default for Delays {
    fn default() -> Self {
        let delays = ExponentialBackoff {
            current_interval: Duration::from_millis(200),
            initial_interval: Duration::from_millis(200),
            max_interval: Duration::from_secs(5),
            // Bounded by attempts; the crate's own limit reads the standard clock.
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Self {
            delays,
            attempts: 1,
        }
    }
}

impl Delays {
    /// How long to wait before the next attempt; `None` when there is none.
    ///
    /// `retry_after` is what the registry asked for: obeyed up to [`RETRY_AFTER_MAX`], and beyond it
    /// the question is left unanswered in this round.
    pub fn next(&mut self, retry_after: Option<Duration>) -> Option<Duration> {
        if self.attempts >= ATTEMPTS_MAX {
            return None;
        }
        self.attempts += 1;
        let delay = self.delays.next_backoff()?;
        match retry_after {
            Some(wanted) if wanted > RETRY_AFTER_MAX => None,
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
        let mut delays = Delays::default();
        assert!(delays.next(Some(Duration::from_secs(7))).unwrap() >= Duration::from_secs(7));
        assert!(delays.next(None).unwrap() <= Duration::from_secs(5));
        assert_eq!(delays.next(None), None);
        assert_eq!(
            Delays::default().next(Some(Duration::from_secs(86400 * 3650))),
            None
        );
    }
}
