//! How often work is done that takes longer the more there is: changes that come together are taken
//! together, and the dearer it is the longer they are gathered.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Work may take a three-hundredth of the time.
const REST: u32 = 300;

/// The bounds.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// So long changes are gathered, however cheap they are.
    pub least: Duration,
    /// Nothing waits longer, however dear it is.
    pub most: Duration,
}

/// The time until the next work may be done.
#[derive(Debug, Clone, Copy)]
pub struct Rest {
    pace: Pace,
    until: Instant,
}

impl Pace {
    /// Before any work.
    pub fn start(self) -> Rest {
        Rest {
            pace: self,
            until: Instant::now(),
        }
    }

    /// After work that was begun then and is done now.
    pub fn after(self, begun: Instant) -> Rest {
        let now = Instant::now();
        let rest = now
            .duration_since(begun)
            .saturating_mul(REST)
            .min(self.most);
        Rest {
            pace: self,
            until: now + rest,
        }
    }
}

impl Rest {
    /// Waits after the first change until the work is to be done.
    pub async fn over(self) {
        sleep_until(self.until.max(Instant::now() + self.pace.least)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        least: Duration::from_millis(200),
        most: Duration::from_secs(8),
    };

    /// How long a change waits that comes so long after work that took so long.
    async fn waited(work: Duration, later: Duration) -> Duration {
        let begun = Instant::now();
        tokio::time::advance(work).await;
        let rest = PACE.after(begun);
        tokio::time::advance(later).await;
        let changed = Instant::now();
        rest.over().await;
        changed.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_dear_is_done_seldom_and_what_waits_is_bounded() {
        let milliseconds = Duration::from_millis;
        for (work, later, expected) in [
            (0, 0, 200),
            (1, 0, 300),
            (20, 0, 6000),
            (20, 1000, 5000),
            // Nothing was done for long: the first change is taken at once.
            (30, 60_000, 200),
            (1000, 0, 8000),
        ] {
            let waited = waited(milliseconds(work), milliseconds(later)).await;
            // The timer counts whole milliseconds.
            let difference = waited.abs_diff(milliseconds(expected));
            assert!(difference <= milliseconds(1), "{work} {later}: {waited:?}");
        }
        let begun = Instant::now();
        PACE.start().over().await;
        assert!(begun.elapsed() <= milliseconds(201));
    }
}
