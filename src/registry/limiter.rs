//! How many requests a registry is asked at once: up while it answers fast, down when it says that it
//! is too much, or answers ever later. Pure.
//!
//! Additive increase, multiplicative decrease, on what is seen of the registry itself (as Netflix'
//! concurrency-limits and Envoy's adaptive concurrency do). What those learnt, and is kept here:
//!
//! - Latency grows relative to a baseline, not to a constant: a registry far away is not overloaded.
//! - A baseline is a median, never the fastest answer: one answer from a cache would make all others slow.
//! - Each operation has its own: a HEAD from memory says nothing of a GET from S3.
//! - A baseline that became wrong must not throttle for ever. With one request in flight nothing of the
//!   latency is our own queue, so what is measured there is the new baseline.
//! - No growth before there is a baseline: one that is measured while the limit grows is measured in a queue.
//! - No growth while nobody asks for more: a limit that was never used was never tried.
//! - One decrease for one overload: requests that began before it say nothing about what it helped.

use std::time::Duration;

/// Where a limit begins: high enough that a short round is not slowed.
pub const START: usize = 8;
/// So many answers to one operation give a median.
const WINDOW: usize = 16;
/// Kinds of requests that are told apart.
pub const KINDS: usize = 9;
/// A median above twice the baseline is growing latency, where it is also [`SLACK`] above it.
const TOLERANCE: u32 = 2;
/// Below this much more than the baseline nobody waits in a queue worth mentioning: a registry on the same
/// machine answers one request in a fraction of a millisecond and 32 in some.
const SLACK: Duration = Duration::from_millis(100);
/// Limits are counted in thousandths, so that they grow by less than one.
const ONE: u64 = 1000;

/// What one request showed.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Below [`KINDS`].
    pub kind: usize,
    pub latency: Duration,
    pub outcome: Outcome,
    /// Requests in flight when it began, itself included.
    pub in_flight: usize,
    /// The limiter's [`Limiter::generation`] when it began.
    pub generation: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// An answer whose latency means something.
    Answered,
    /// 429, 503, 504, or none within the deadline.
    Overloaded,
    /// A failure that says nothing about load, for instance a refused connection.
    Other,
}

/// The state: a limit and what it was learnt from.
#[derive(Debug, Clone)]
pub struct Limiter {
    limit: u64,
    max: u64,
    /// Counts decreases.
    generation: u32,
    /// One more for each answer until the first sign of load.
    is_starting: bool,
    kinds: [Kind; KINDS],
}

#[derive(Debug, Clone, Copy, Default)]
struct Kind {
    baseline: Option<Duration>,
    window: [Duration; WINDOW],
    filled: usize,
}

impl Limiter {
    /// `max` below 1 counts as 1.
    pub fn new(max: usize) -> Self {
        let max = thousandths(max.max(1));
        Self {
            limit: thousandths(START).min(max),
            max,
            generation: 0,
            is_starting: true,
            kinds: [Kind::default(); KINDS],
        }
    }

    /// How many requests may be in flight: at least 1, at most the maximum.
    pub fn limit(&self) -> usize {
        usize::try_from(self.limit / ONE).unwrap_or(usize::MAX)
    }

    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Sets another maximum, as a new configuration may.
    pub fn set_max(&mut self, max: usize) {
        self.max = thousandths(max.max(1));
        self.limit = self.limit.min(self.max);
    }

    /// Learns from one request.
    pub fn take(&mut self, sample: Sample) {
        let is_current = sample.generation == self.generation;
        match sample.outcome {
            Outcome::Other => {}
            Outcome::Overloaded => {
                if is_current {
                    self.decrease(1, 2);
                }
            }
            Outcome::Answered => {
                if is_current && self.is_slower(sample) {
                    if self.limit() == 1 {
                        // Nothing of it is our own queue: this is how long the registry takes now.
                        self.forget_baselines();
                    } else {
                        self.decrease(3, 4);
                    }
                    return;
                }
                let kind = self.kinds.get(sample.kind);
                let baseline = kind.and_then(|kind| kind.baseline);
                // An answer that took long is none to grow by, or growth would outrun the windows.
                let is_fast = baseline.is_some_and(|baseline| !is_slow(sample.latency, baseline));
                if is_fast && sample.in_flight * 2 >= self.limit() {
                    self.increase();
                }
            }
        }
    }

    /// Whether the window that this sample ends shows growing latency.
    fn is_slower(&mut self, sample: Sample) -> bool {
        let Some(kind) = self.kinds.get_mut(sample.kind) else {
            return false;
        };
        if let Some(place) = kind.window.get_mut(kind.filled) {
            *place = sample.latency;
        }
        kind.filled += 1;
        if kind.filled < WINDOW {
            return false;
        }
        kind.filled = 0;
        let (_, median, _) = kind.window.select_nth_unstable(WINDOW / 2);
        let median = *median;
        let baseline = kind.baseline.map_or(median, |before| before.min(median));
        kind.baseline = Some(baseline);
        is_slow(median, baseline)
    }

    fn increase(&mut self) {
        let step = if self.is_starting {
            ONE
        } else {
            // One more for as many answers as are in flight.
            (ONE * ONE / self.limit.max(ONE)).max(1)
        };
        self.limit = (self.limit + step).min(self.max);
    }

    fn decrease(&mut self, numerator: u64, denominator: u64) {
        self.limit = (self.limit * numerator / denominator).max(ONE);
        self.is_starting = false;
        self.generation = self.generation.wrapping_add(1);
        for kind in &mut self.kinds {
            kind.filled = 0;
        }
    }

    fn forget_baselines(&mut self) {
        self.is_starting = true;
        self.kinds = [Kind::default(); KINDS];
    }
}

fn is_slow(latency: Duration, baseline: Duration) -> bool {
    latency > baseline.saturating_mul(TOLERANCE) && latency > baseline.saturating_add(SLACK)
}

fn thousandths(requests: usize) -> u64 {
    (requests as u64).saturating_mul(ONE)
}

#[cfg(test)]
mod tests;
