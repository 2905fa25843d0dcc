//! How far each object is read, and which of them a round reads although its depth does not ask for it.
//!
//! A HEAD can lie: with a descriptor cache in memory, distribution 2.8 and 3.1 answer 200 for a blob
//! whose bytes are gone (distribution#4269 and its kin). One byte read is what proves; a hash proves
//! the rest. Reading everything each round would cost the registry too much, so shares of it take turns.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::oci::digest::Digest;

/// How far each object is read. Ordered: what a depth proves, those before it prove less of.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// It is asked for by HEAD, and its size compared.
    #[default]
    Head,
    /// Its last byte is read, and its size compared; manifests are read and hashed.
    Read,
    /// All of it is read and hashed.
    Content,
}

impl Depth {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Read => "read",
            Self::Content => "content",
        }
    }
}

/// What an operator asks for, round after round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    pub depth: Depth,
    /// In so many rounds each blob is read once, whatever the depth. `None`: never.
    pub share_rounds: Option<NonZeroU32>,
    /// Bytes that are hashed in a round at depth `content`. `None`: all.
    pub content_budget: Option<u64>,
}

/// Where the rotation stands; it goes on there after a restart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    pub share: Place,
    pub scrub: Scrub,
}

impl Policy {
    /// What the next round over all images does. Moves the rotation on by this round's share; the scrub
    /// is moved on by what the round then reports.
    pub fn full_round(&self, rotation: &mut Rotation) -> Effort {
        let share = self.share_rounds.map(|rounds| {
            let (stretch, next) = Stretch::in_rounds(rotation.share, rounds);
            rotation.share = next;
            stretch
        });
        let scrub = self
            .content_budget
            .filter(|_| self.depth == Depth::Content)
            .map(|budget| rotation.scrub.replenished(budget));
        Effort {
            depth: self.depth,
            share: share.filter(|_| self.depth == Depth::Head),
            scrub,
        }
    }

    /// A round over new images only leaves the rotation to the others.
    pub fn partial_round(&self) -> Effort {
        let depth = match self.content_budget {
            Some(_) => self.depth.min(Depth::Read),
            None => self.depth,
        };
        Effort {
            depth,
            ..Effort::default()
        }
    }
}

/// What one round does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Effort {
    pub depth: Depth,
    /// Blobs that are read whatever the depth: this round's part of the rotation.
    pub share: Option<Stretch>,
    /// At depth `content`: how many bytes are hashed, and where it goes on. `None` hashes everything.
    pub scrub: Option<Scrub>,
}

/// A place on the circle of all digests: their first eight bytes. Digests are spread evenly over it, so a
/// stretch of it is a share of all blobs, whichever come and go.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Place(u64);

impl Place {
    pub fn of(digest: &Digest) -> Self {
        let first = digest.as_bytes().first_chunk::<8>();
        Self(u64::from_be_bytes(*first.expect("a digest has 32 bytes")))
    }

    /// How far it is from here to there, going round.
    fn distance_to(self, there: Self) -> u64 {
        there.0.wrapping_sub(self.0)
    }
}

/// A part of the circle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    from: Place,
    /// The distance to its last place.
    reach: u64,
}

impl Stretch {
    /// The part that begins at `from` when the circle is to be covered in so many rounds, and where
    /// the next one begins.
    pub fn in_rounds(from: Place, rounds: NonZeroU32) -> (Self, Place) {
        // Rounded up, so that the last round ends past the beginning of the first.
        let reach = u64::MAX / u64::from(rounds.get());
        let next = Place(from.0.wrapping_add(reach).wrapping_add(1));
        (Self { from, reach }, next)
    }

    pub fn contains(&self, digest: &Digest) -> bool {
        self.from.distance_to(Place::of(digest)) <= self.reach
    }
}

/// Hashing everything, so many bytes a round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scrub {
    /// Where it goes on.
    pub from: Place,
    /// Bytes that may be hashed now. Negative: a blob was larger than what was left, and the rounds
    /// after it pay for it.
    pub budget: i64,
}

impl Scrub {
    /// Which of these blobs are hashed now, and where it goes on. Each is taken at most once a round.
    ///
    /// The order of `blobs` does not matter. One that is larger than the budget is taken too, else it
    /// would never be; what it costs too much is missing in the rounds after.
    pub fn choose<T>(self, mut blobs: Vec<(Digest, u64, T)>) -> (Vec<(Digest, u64, T)>, Self) {
        let order =
            |(digest, _, _): &(Digest, u64, T)| (self.from.distance_to(Place::of(digest)), *digest);
        blobs.sort_unstable_by_key(order);
        let mut budget = self.budget;
        let mut taken = 0;
        let mut next = self.from;
        for (digest, size, _) in &blobs {
            let place = Place(Place::of(digest).0.wrapping_add(1));
            // One digest in several repositories is one place: all of them are taken, or none.
            if budget <= 0 && (taken == 0 || place != next) {
                break;
            }
            budget = budget.saturating_sub(i64::try_from(*size).unwrap_or(i64::MAX));
            taken += 1;
            next = place;
        }
        blobs.truncate(taken);
        let after = Self { from: next, budget };
        (blobs, after)
    }

    /// The next round may hash so many bytes more. What was not used up is not saved.
    #[must_use]
    pub fn replenished(self, budget: u64) -> Self {
        let budget = i64::try_from(budget).unwrap_or(i64::MAX);
        Self {
            budget: self.budget.min(0).saturating_add(budget),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digests(count: u32) -> Vec<Digest> {
        (0..count).map(|n| Digest::of(&n.to_be_bytes())).collect()
    }

    #[test]
    fn the_rotation_reads_every_blob_once_in_the_promised_rounds() {
        for rounds in [1, 2, 3, 20, 1000] {
            let rounds = NonZeroU32::new(rounds).unwrap();
            let mut place = Place(u64::MAX - 7);
            let mut times = vec![0; 500];
            for _ in 0..rounds.get() {
                let (stretch, next) = Stretch::in_rounds(place, rounds);
                for (times, digest) in times.iter_mut().zip(digests(500)) {
                    *times += u32::from(stretch.contains(&digest));
                }
                place = next;
            }
            assert!(times.iter().all(|times| *times == 1), "{rounds}: {times:?}");
        }
    }

    proptest! {
        #[test]
        fn the_scrub_hashes_everything_and_keeps_its_budget_on_average(
            sizes in prop::collection::vec(1_u64..400, 1..60),
            budget in 1_u64..300,
        ) {
            let blobs: Vec<(Digest, u64, ())> = digests(60)
                .into_iter()
                .zip(&sizes)
                .map(|(digest, size)| (digest, *size, ()))
                .collect();
            let total: u64 = sizes.iter().sum();
            let mut scrub = Scrub::default();
            let mut seen = std::collections::HashSet::new();
            let mut hashed = 0;
            let rounds = total / budget + 2;
            for round in 1..=rounds {
                let (chosen, after) = scrub.replenished(budget).choose(blobs.clone());
                scrub = after;
                hashed += chosen.iter().map(|(_, size, ())| size).sum::<u64>();
                seen.extend(chosen.into_iter().map(|(digest, _, ())| digest));
                // Never ahead of its budget by more than one blob.
                prop_assert!(hashed < round * budget + 400);
            }
            prop_assert_eq!(seen.len(), blobs.len());
        }
    }

    #[test]
    fn one_digest_in_two_repositories_is_not_torn_apart() {
        let digest = Digest::of(b"a");
        let blobs = vec![(digest, 10, "one"), (digest, 10, "two")];
        let scrub = Scrub::default().replenished(5);
        let (chosen, after) = scrub.choose(blobs);
        assert_eq!(chosen.len(), 2);
        assert!(after.budget < 0);
    }
}
