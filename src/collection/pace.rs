//! How much fits into what is left of a window. Pure.
//!
//! What is taken goes in an order of its own, links before bytes, so that a run that is cut off has taken the
//! links of everything and the bytes of nothing. A window that is too short for its plan is known before: the
//! run selects no more than fits, and takes that whole.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// As nobody has measured it: slower than any storage that is not broken.
const FIRST: Pace = Pace {
    items: 200,
    millis: 1000,
    proof_millis: None,
};

/// How fast a run took what it took, files or objects, with what is asked and remembered of each batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    pub items: u64,
    /// In so many milliseconds.
    pub millis: u64,
    /// So long it took to prove what is kept.
    #[serde(default)]
    pub proof_millis: Option<u64>,
}

impl Default for Pace {
    fn default() -> Self {
        FIRST
    }
}

impl Pace {
    /// How long so many take.
    pub fn lasts(&self, items: usize) -> Duration {
        let millis = u128::from(self.millis) * items as u128 / u128::from(self.items.max(1));
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    /// How many go within so long.
    pub fn fits(&self, within: Duration) -> usize {
        let items = within.as_millis() * u128::from(self.items) / u128::from(self.millis.max(1));
        usize::try_from(items).unwrap_or(usize::MAX)
    }
}

/// What a run does besides taking, as long as each takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Besides {
    /// To list everything, and see what of it would go.
    pub mark: Duration,
    /// To prove all that is kept.
    pub proof: Duration,
    /// Until replicas have forgotten what was taken, at most.
    pub settle: Duration,
    /// To purge what is due, which comes first.
    pub purge: Duration,
}

impl Besides {
    /// How many may be taken once they were listed, if that and all that has to follow is to end in the time
    /// that is left: a proof and a second listing before, and both once more after.
    pub fn fits(&self, left: Duration, pace: &Pace) -> usize {
        let before = self.proof + self.mark + self.purge;
        pace.fits(left.saturating_sub(before + self.after()))
    }

    /// What has to follow the last batch.
    pub fn after(&self) -> Duration {
        self.proof + self.mark + self.settle
    }

    /// Whether so much is left, after the listing and the proof, that both and one batch go once more.
    pub fn is_long_enough(&self, left: Duration, batch: Duration) -> bool {
        left >= self.mark + self.proof + batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn as_much_is_taken_as_goes_besides_the_rest() {
        let pace = Pace {
            items: 200,
            millis: 10_000,
            proof_millis: None,
        };
        let besides = Besides {
            mark: seconds(30),
            proof: seconds(20),
            settle: seconds(60),
            purge: seconds(10),
        };
        // A proof, a listing and the purge before, a proof, a listing and the settling after: 170 s.
        assert_eq!(besides.fits(seconds(170), &pace), 0);
        assert_eq!(besides.fits(seconds(171), &pace), 20);
        assert_eq!(besides.fits(seconds(270), &pace), 2000);
        // And they do go in it.
        let lasts = pace.lasts(besides.fits(seconds(270), &pace));
        assert!(lasts <= seconds(100), "{lasts:?}");
        assert_eq!(besides.fits(seconds(0), &pace), 0);
    }

    #[test]
    fn nothing_overflows() {
        let besides = Besides::default();
        assert_eq!(besides.fits(Duration::MAX, &Pace::default()), usize::MAX);
        let none = Pace {
            items: 0,
            millis: 0,
            proof_millis: None,
        };
        assert_eq!(none.fits(seconds(1)), 0);
        assert_eq!(none.lasts(1), Duration::ZERO);
        assert_eq!(Pace::default().lasts(usize::MAX).as_secs(), u64::MAX / 1000);
    }

    #[test]
    fn a_window_is_long_enough_for_one_batch_and_all_once_more() {
        let besides = Besides {
            mark: seconds(30),
            proof: seconds(20),
            settle: seconds(600),
            purge: seconds(600),
        };
        assert!(besides.is_long_enough(seconds(60), seconds(10)));
        assert!(!besides.is_long_enough(seconds(59), seconds(10)));
    }
}
