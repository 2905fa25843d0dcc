//! For each guard the smallest world in which it is missed.

use super::files::{Manifest, Manifests};
use super::scenario::{Cache, Collectors, Forgets, Mover, Scenario};
use super::{EVERYTHING_RETURNS, NOTHING_IS_LOST};
use crate::collection::guard::Guard;

const A: Manifests = Manifests::of(&[Manifest::A]);

/// The world, and what does not hold in it without the guard.
pub(super) fn missed(guard: Guard) -> (Scenario, &'static str) {
    let small = Scenario::small();
    let tiny = Scenario::tiny();
    let scenario = match guard {
        // A push was let through before the listing, and ends after it.
        Guard::TwoPhases => Scenario {
            sessions: 1,
            clock: 1,
            ..small
        },
        // Somebody rolls back to what has no tag, and that is seen a while later.
        Guard::Hold => Scenario {
            pushes: 0,
            deployed: A,
            is_seen_late: true,
            clock: 6,
            quarantine_for: 6,
            ..small
        },
        Guard::Remark => Scenario {
            pushes: 0,
            deployed: A,
            ..small
        },
        Guard::Settling => Scenario {
            cache: Cache::SafePut,
            pulled: A,
            clock: 2,
            quarantine_for: 1,
            ..small
        },
        // What a cache of everything believes in is not written when it is pushed again.
        Guard::Forgetting => Scenario {
            cache: Cache::Unsafe,
            forgets: Forgets::ByTheCollector,
            pulled: A,
            ..small
        },
        // A registry looked into its storage before, and remembers it after it was asked for the last time.
        Guard::Watch => Scenario {
            cache: Cache::SafePut,
            pushes: 2,
            clock: 2,
            quarantine_for: 0,
            ..tiny
        },
        // An image in use, and a storage that hides a page of its listing each time.
        Guard::Proof => Scenario {
            pushes: 0,
            tagged: A,
            kept: A,
            deployed: A,
            pages: 4,
            ..small
        },
        // The same, where only a tag keeps it.
        Guard::SecondListing => Scenario {
            pushes: 0,
            tagged: A,
            pages: 4,
            ..small
        },
        Guard::LockCheck => Scenario {
            collectors: Collectors::Two,
            mover: Mover::CopiesAndDeletes,
            clock: 2,
            ..tiny
        },
        Guard::Drain => Scenario {
            collectors: Collectors::OneWithLateEffects,
            mover: Mover::CopiesAndDeletes,
            crashes: 1,
            clock: 3,
            ..tiny
        },
        Guard::Intent => Scenario {
            crashes: 1,
            sessions: 1,
            clock: 1,
            ..small
        },
        // What the registry believes in goes back, and its bytes do not.
        Guard::Closure => Scenario {
            cache: Cache::SafePut,
            pulled: A,
            batch: 1,
            ..small
        },
    };
    let lost = match guard {
        Guard::Intent => EVERYTHING_RETURNS,
        _ => NOTHING_IS_LOST,
    };
    (scenario, lost)
}
