//! The one place that reads the wall clock. Pure code takes `now` as a parameter.

use jiff::Timestamp;

/// The time of day. A trait at the edge, so that tests can turn the hands.
pub trait Clock: Send + Sync + std::fmt::Debug {
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
