//! Larger worlds, one for each thing that may come together with another.

use super::files::{Manifest, Manifests};
use super::scenario::{Cache, Clients, Collectors, Forgets, Mover, Scenario};

const A: Manifests = Manifests::of(&[Manifest::A]);
const AB: Manifests = Manifests::of(&[Manifest::A, Manifest::B]);
const AC: Manifests = Manifests::of(&[Manifest::A, Manifest::C]);

/// Of what registries and those who push do.
pub(super) fn of_registries() -> Vec<(&'static str, Scenario)> {
    let small = Scenario::small();
    vec![
        (
            "slow clients, and a cache that forgets",
            Scenario {
                clients: Clients::Slow,
                cache: Cache::Unsafe,
                pulled: A,
                forgets: Forgets::AtAnyTime,
                ..small
            },
        ),
        (
            "a cache that forgets, and a crash",
            Scenario {
                cache: Cache::Unsafe,
                pulled: A,
                forgets: Forgets::AtAnyTime,
                crashes: 1,
                ..small
            },
        ),
        (
            "a mount from the other repository",
            Scenario {
                cache: Cache::SafePut,
                pulled: A,
                pushed: AC,
                ..small
            },
        ),
        (
            "a shared layer, and tags that go",
            Scenario {
                stored: AB,
                tagged: Manifests::of(&[Manifest::B]),
                untagged: AB,
                pushed: AB,
                ..small
            },
        ),
        (
            "deployments, tags that go, and an identical push",
            Scenario {
                tagged: A,
                untagged: A,
                deployed: A,
                ..small
            },
        ),
        (
            "deletes by API, and a cache of everything",
            Scenario {
                cache: Cache::Unsafe,
                pulled: A,
                pushes: 2,
                tagged: A,
                deleted: A,
                untagged: A,
                ..small
            },
        ),
        (
            "a cache of everything that is emptied, deletes by API, and a crash",
            Scenario {
                cache: Cache::Unsafe,
                forgets: Forgets::ByTheCollector,
                pulled: A,
                tagged: A,
                deleted: A,
                untagged: A,
                crashes: 1,
                ..small
            },
        ),
        (
            "a cache of everything that cannot be emptied at times, and slow clients",
            Scenario {
                cache: Cache::Unsafe,
                forgets: Forgets::ByTheCollector,
                pulled: A,
                clients: Clients::Slow,
                failures: 1,
                ..small
            },
        ),
        (
            "two who push",
            Scenario {
                writers: 2,
                pushes: 2,
                ..small
            },
        ),
    ]
}

/// Of what collectors do, and those who run them.
pub(super) fn of_collectors() -> Vec<(&'static str, Scenario)> {
    let small = Scenario::small();
    let tiny = Scenario::tiny();
    let late = Scenario {
        collectors: Collectors::OneWithLateEffects,
        crashes: 1,
        ..small
    };
    vec![
        ("a dead process's last move", late),
        (
            "a dead process's last move, in two steps",
            Scenario {
                mover: Mover::CopiesAndDeletes,
                ..late
            },
        ),
        (
            "a failure anywhere",
            Scenario {
                failures: 1,
                ..small
            },
        ),
        (
            "a failure anywhere, and a cache",
            Scenario {
                failures: 1,
                cache: Cache::SafePut,
                pulled: A,
                clock: 4,
                ..tiny
            },
        ),
        (
            "an operator who wants all of it back, and a crash",
            Scenario {
                restores: 1,
                crashes: 1,
                sessions: 3,
                ..small
            },
        ),
        (
            "lost pages, a tag that goes, and a crash",
            Scenario {
                tagged: A,
                untagged: A,
                pages: 4,
                pushes: 0,
                crashes: 1,
                ..small
            },
        ),
        (
            "two collectors, a crash and a cache",
            Scenario {
                collectors: Collectors::Two,
                crashes: 1,
                cache: Cache::SafePut,
                pulled: A,
                clock: 2,
                ..tiny
            },
        ),
    ]
}
