//! What may happen in a world, and how often: small enough that all of it can be walked through.

use super::files::{Manifest, Manifests};
use crate::collection::guard::Guards;

/// What the registry remembers of what it has stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cache {
    /// Nothing.
    Off,
    /// Descriptors of layers; a push of a manifest looks at the storage.
    SafePut,
    /// Descriptors of everything: a push of a manifest that it believes in writes nothing.
    Unsafe,
}

/// When the registry forgets all that it remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forgets {
    Never,
    /// It restarts, or somebody empties the cache.
    AtAnyTime,
    /// The collector empties the cache, and takes the bytes of manifests with their links.
    ByTheCollector,
}

/// Which manifests a registry takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepts {
    /// Those of which everything is there that they name.
    Whole,
    /// `validation: {disabled: true}`.
    Any,
}

/// What ends within a tick of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clients {
    /// A push as a whole.
    Quick,
    /// Each of its requests. What a client was told it may go by for however long.
    Slow,
}

/// How things are moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mover {
    /// At once: a rename on a disk, a version of a bucket.
    Renames,
    /// First it is in both places.
    CopiesAndDeletes,
}

/// Who may collect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Collectors {
    /// One at a time, by a lock that falls with its process, and nothing of a dead process arrives.
    One,
    /// One at a time; what a dead process sent may still arrive.
    OneWithLateEffects,
    /// Whoever has not been seen for a while loses the lock and may not know it.
    Two,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Scenario {
    pub(super) guards: Guards,
    pub(super) cache: Cache,
    pub(super) mover: Mover,
    pub(super) collectors: Collectors,
    pub(super) accepts: Accepts,
    pub(super) clients: Clients,

    /// There at the beginning, for long enough.
    pub(super) stored: Manifests,
    /// Besides, the shared layer with its link.
    pub(super) has_layer: bool,
    pub(super) tagged: Manifests,
    /// In use.
    pub(super) kept: Manifests,

    /// May be pushed, again or for the first time.
    pub(super) pushed: Manifests,
    pub(super) writers: usize,
    pub(super) pushes: u8,
    /// May lose their tag: it is deleted, or names something else.
    pub(super) untagged: Manifests,
    /// May be deleted by the registry's API.
    pub(super) deleted: Manifests,
    /// May come into use, and go out of it.
    pub(super) deployed: Manifests,
    /// The collector sees what comes into use a tick late, and what has no tag comes into use long enough
    /// before its time in quarantine ends.
    pub(super) is_seen_late: bool,
    /// May be pulled, so that the registry remembers its layers.
    pub(super) pulled: Manifests,
    pub(super) forgets: Forgets,

    /// Ticks of the clock. What is older than one may go.
    pub(super) clock: u8,
    pub(super) quarantine_for: u8,
    pub(super) sessions: u8,
    pub(super) runs: u8,
    pub(super) batch: usize,
    pub(super) crashes: u8,
    /// Moves and writes of which nobody knows what came of them, looks that fail, windows that end.
    pub(super) failures: u8,
    /// Listings that lack the page with a tag.
    pub(super) pages: u8,
    /// Operators who want everything back.
    pub(super) restores: u8,
}

impl Scenario {
    /// Only a layer, whose push died, and somebody who may push a manifest that names it.
    pub(super) fn tiny() -> Self {
        Self {
            stored: Manifests::NONE,
            has_layer: true,
            ..Self::small()
        }
    }

    /// One manifest that nothing leads to and its layer, and somebody who may push it again.
    pub(super) fn small() -> Self {
        Self {
            guards: Guards::all(),
            cache: Cache::Off,
            mover: Mover::Renames,
            collectors: Collectors::One,
            accepts: Accepts::Whole,
            clients: Clients::Quick,
            stored: Manifests::of(&[Manifest::A]),
            has_layer: false,
            tagged: Manifests::NONE,
            kept: Manifests::NONE,
            pushed: Manifests::of(&[Manifest::A]),
            writers: 1,
            pushes: 1,
            untagged: Manifests::NONE,
            deleted: Manifests::NONE,
            deployed: Manifests::NONE,
            is_seen_late: false,
            pulled: Manifests::NONE,
            forgets: Forgets::Never,
            clock: 4,
            quarantine_for: 2,
            sessions: 2,
            runs: 1,
            batch: 2,
            crashes: 0,
            failures: 0,
            pages: 0,
            restores: 0,
        }
    }
}
