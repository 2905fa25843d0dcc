//! What was asked of a registry's host and how it answered, in numbers. Pure.

use jiff::Timestamp;

/// Upper bounds of the buckets of latency, in seconds; one more bucket is for what took longer.
pub const LATENCY_BOUNDS: [f64; 11] =
    [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Requests since the start of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    pub requests: u64,
    /// Answered 429.
    pub limited: u64,
    /// Without an answer, or answered 5xx.
    pub failed: u64,
    /// How many took how long, each bucket by itself.
    pub latency: [u64; LATENCY_BOUNDS.len() + 1],
    /// Requests at once that it bears, as learnt; `None` while nobody asks it.
    pub concurrency: Option<usize>,
    /// It asked to be left alone until then.
    pub paused_until: Option<Timestamp>,
}

impl Traffic {
    /// The upper bound in seconds of the bucket in which this share of all requests had ended; infinite
    /// for what took longer than the last bound, `None` where nothing was asked.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let all: u64 = self.latency.iter().sum();
        if all == 0 {
            return None;
        }
        let bounds = LATENCY_BOUNDS.into_iter().chain([f64::INFINITY]);
        let mut ended = 0;
        for (count, bound) in self.latency.iter().zip(bounds) {
            ended += count;
            #[expect(
                clippy::cast_precision_loss,
                reason = "what is lost is less than one request in 2^52"
            )]
            if ended as f64 >= share * all as f64 {
                return Some(bound);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let mut traffic = Traffic::default();
        assert_eq!(traffic.quantile(0.5), None);
        traffic.latency[0] = 50;
        traffic.latency[3] = 49;
        traffic.latency[11] = 1;
        assert_eq!(traffic.quantile(0.5), Some(0.005));
        assert_eq!(traffic.quantile(0.51), Some(0.1));
        assert_eq!(traffic.quantile(0.99), Some(0.1));
        assert_eq!(traffic.quantile(1.0), Some(f64::INFINITY));
    }
}
