//! Whether a source names much less than it did. Pure.
//!
//! A wrong kubeconfig, a list that was cut, a filter on the way: what is read in full may still be the
//! wrong thing. A deletion comes piece by piece, so what a source names is compared with the most that it
//! named within a day.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::completeness::Shrunk;

/// How long the most that was named is what is compared with, while less is named.
const STANDS: SignedDuration = SignedDuration::from_hours(24);

/// What the configuration says of losses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossRules {
    /// The part of its references that a source may lose, from 0 to 1.
    pub maximum: f64,
    /// How long a loss must have stood to be the state of things.
    pub stands: SignedDuration,
}

/// With what a source is compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// Distinct references.
    pub references: usize,
    /// When it last named so many.
    pub at: Timestamp,
    /// Since when it lacks more than it may.
    pub shrunk_since: Option<Timestamp>,
}

impl Level {
    /// The level after a complete state with so many distinct references.
    #[must_use]
    pub fn after(
        before: Option<&Self>,
        references: usize,
        now: Timestamp,
        rules: LossRules,
    ) -> Self {
        let new = Self {
            references,
            at: now,
            shrunk_since: None,
        };
        let Some(before) = before.filter(|before| references < before.references) else {
            return new;
        };
        let stood = |since: Timestamp, long: SignedDuration| now.duration_since(since) >= long;
        if is_too_much(before.references, references, rules.maximum) {
            let since = before.shrunk_since.unwrap_or(now);
            if stood(since, rules.stands) {
                return new;
            }
            return Self {
                shrunk_since: Some(since),
                ..before.clone()
            };
        }
        if stood(before.at, STANDS) {
            return new;
        }
        Self {
            shrunk_since: None,
            ..before.clone()
        }
    }

    /// What is to be said of a source that names so many now.
    pub fn shrunk(&self, references: usize) -> Option<Shrunk> {
        Some(Shrunk {
            from: self.references,
            to: references,
            since: self.shrunk_since?,
        })
    }
}

fn is_too_much(from: usize, to: usize, maximum: f64) -> bool {
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of references are far below 2^53"
    )]
    let (lost, from) = ((from - to) as f64, from as f64);
    lost > maximum * from
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: LossRules = LossRules {
        maximum: 0.5,
        stands: SignedDuration::from_hours(90 * 24),
    };

    fn hour(hour: i64) -> Timestamp {
        Timestamp::from_second(hour * 3600).unwrap()
    }

    /// What is said after each of these counts, an hour apart unless a number of hours is given.
    fn said(counts: &[(i64, usize)], rules: LossRules) -> Vec<bool> {
        let mut level: Option<Level> = None;
        counts
            .iter()
            .map(|(at, count)| {
                let after = Level::after(level.as_ref(), *count, hour(*at), rules);
                let is_shrunk = after.shrunk(*count).is_some();
                level = Some(after);
                is_shrunk
            })
            .collect()
    }

    #[test]
    fn more_than_the_part_is_a_loss_and_so_is_the_same_in_pieces() {
        assert_eq!(said(&[(0, 10), (1, 5)], RULES), [false, false]);
        assert_eq!(said(&[(0, 10), (1, 4)], RULES), [false, true]);
        assert_eq!(said(&[(0, 1), (1, 0)], RULES), [false, true]);
        assert_eq!(said(&[(0, 0), (1, 0)], RULES), [false, false]);
        // In pieces, none of which is too much.
        assert_eq!(
            said(&[(0, 10), (1, 7), (2, 4)], RULES),
            [false, false, true]
        );
        // What stood a day is the state of things.
        assert_eq!(
            said(&[(0, 10), (1, 7), (24, 7), (25, 4)], RULES),
            [false; 4]
        );
        // Grown back.
        assert_eq!(
            said(&[(0, 10), (1, 1), (2, 6), (3, 4)], RULES),
            [false, true, false, true]
        );
        let none = LossRules {
            maximum: 0.0,
            ..RULES
        };
        assert_eq!(said(&[(0, 10), (1, 9)], none), [false, true]);
        let all = LossRules {
            maximum: 1.0,
            ..RULES
        };
        assert_eq!(said(&[(0, 10), (1, 0)], all), [false, false]);
    }

    #[test]
    fn a_loss_stands_until_it_stood_long_and_a_clock_set_back_ends_none() {
        let long = 90 * 24;
        let counts = [(0, 10), (1, 1), (long, 1), (long + 1, 1), (long + 2, 1)];
        assert_eq!(said(&counts, RULES), [false, true, true, false, false]);
        assert_eq!(
            said(&[(500, 10), (501, 1), (0, 1)], RULES),
            [false, true, true]
        );
    }
}
