//! A storage, its registry, those who push to it and those who collect it.

use std::hash::Hash;

use super::files::{File, Files, Manifest, Manifests};
use super::known::{JournalsId, NodeId};
use super::scenario::{Clients, Scenario};
use crate::collection::item::RunId;
use crate::collection::run::Outcome;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) clock: u8,
    /// Where the registry looks for them.
    pub(super) live: Files,
    /// Of those, written since the last tick, and in the one before.
    pub(super) new: Files,
    pub(super) young: Files,
    pub(super) runs: [Option<Quarantine>; 3],
    pub(super) journals: JournalsId,
    /// Tags, each with a name of its own. A push was acknowledged for each.
    pub(super) tagged: Manifests,
    /// In use.
    pub(super) kept: Manifests,
    /// In use when the clock ticked last.
    pub(super) kept_before: Manifests,
    /// Proven when a gate asked.
    pub(super) proven: Manifests,
    pub(super) cache: Cached,
    pub(super) writers: [Writer; 2],
    pub(super) lock: Lock,
    pub(super) collectors: [Option<Collector>; 2],
    /// What a dead process sent.
    pub(super) late: Option<Late>,
    pub(super) left: Left,
}

/// What a run took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Quarantine {
    pub(super) id: RunId,
    /// What it chose.
    pub(super) items: Files,
    /// What is there.
    pub(super) held: Files,
    /// Who wrote of it last, by the lock's number.
    pub(super) written_by: u8,
}

/// What the registry believes in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Cached {
    /// By repository: links of layers.
    pub(super) links: Files,
    /// By digest: bytes.
    pub(super) bytes: Files,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Writer {
    Idle,
    Pushes {
        manifest: Manifest,
        begun: u8,
        step: Step,
    },
}

/// What somebody who pushes does next, for each layer and then for the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// Asks whether the registry has the layer.
    Head(u8),
    /// The registry found it in the storage, and has not remembered it yet.
    Answered(u8),
    /// The bytes are written, unless they are there.
    Upload(u8),
    /// And then the link.
    Link(u8),
    /// The registry looks whether everything is there that the manifest names.
    Put,
    /// It is: the bytes of the manifest are written, unless they are there.
    Bytes,
    /// And then its link and the tag; it is acknowledged.
    Acknowledge,
}

impl Step {
    /// Whether a request has begun and not ended before it.
    pub(super) fn is_within_request(self) -> bool {
        matches!(
            self,
            Self::Answered(_) | Self::Link(_) | Self::Bytes | Self::Acknowledge
        )
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Lock {
    pub(super) epoch: u8,
    pub(super) holder: Option<u8>,
    pub(super) is_released: bool,
    pub(super) renewed: u8,
}

/// A session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Collector {
    pub(super) node: NodeId,
    pub(super) epoch: u8,
    /// Once it listed.
    pub(super) listed: Option<Seen>,
    /// What came of each of the batch that is under way.
    pub(super) moved: [Option<Outcome>; 4],
    /// The next of it is in both places.
    pub(super) is_copied: bool,
    /// What it sent arrives until then.
    pub(super) until: u8,
}

/// What a listing found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Seen {
    pub(super) selection: Files,
    pub(super) kept: Manifests,
}

/// One file that is to be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Late {
    pub(super) act: Act,
    pub(super) run: RunId,
    pub(super) files: Files,
    pub(super) is_copied: bool,
    pub(super) until: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Act {
    Take,
    PutBack,
    Purge,
}

/// How often something may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Left {
    pub(super) pushes: u8,
    pub(super) sessions: u8,
    pub(super) crashes: u8,
    pub(super) failures: u8,
    pub(super) pages: u8,
    pub(super) restores: u8,
}

impl World {
    pub(super) fn new(scenario: &Scenario, journals: JournalsId) -> Self {
        let mut live = Files::NONE;
        for manifest in scenario.stored.iter() {
            live = live.and(manifest.closure());
        }
        if scenario.has_layer {
            live.add(File::LinkShared);
            live.add(File::DataShared);
        }
        Self {
            clock: 0,
            live,
            new: Files::NONE,
            young: Files::NONE,
            runs: [None; 3],
            journals,
            tagged: scenario.tagged,
            kept: scenario.kept,
            kept_before: scenario.kept,
            proven: Manifests::NONE,
            cache: Cached::default(),
            writers: [Writer::Idle; 2],
            lock: Lock {
                epoch: 0,
                holder: None,
                is_released: true,
                renewed: 0,
            },
            collectors: [None; 2],
            late: None,
            left: Left {
                pushes: scenario.pushes,
                sessions: scenario.sessions,
                crashes: scenario.crashes,
                failures: scenario.failures,
                pages: scenario.pages,
                restores: scenario.restores,
            },
        }
    }

    /// In quarantine, of whatever run.
    pub(super) fn held(&self) -> Files {
        let runs = self.runs.iter().flatten();
        runs.fold(Files::NONE, |all, run| all.and(run.held))
    }

    pub(super) fn run(&self, id: RunId) -> Option<&Quarantine> {
        self.runs.iter().flatten().find(|it| it.id == id)
    }

    pub(super) fn run_mut(&mut self, id: RunId) -> Option<&mut Quarantine> {
        self.runs.iter_mut().flatten().find(|it| it.id == id)
    }

    /// Written not long ago.
    pub(super) fn is_young(&self, file: File) -> bool {
        self.live.has(file) && self.new.and(self.young).has(file)
    }

    /// The registry writes a file.
    pub(super) fn write(&mut self, file: File) {
        self.live.add(file);
        self.new.add(file);
    }

    /// All that is needed: by a tag, or since it is in use.
    pub(super) fn needed(&self) -> Files {
        let all = self.tagged.and(self.kept).iter();
        all.fold(Files::NONE, |needed, it| needed.and(it.closure()))
    }

    /// What is in use, as far as it is seen.
    pub(super) fn seen(&self, scenario: &Scenario) -> Manifests {
        if scenario.is_seen_late {
            self.kept_before
        } else {
            self.kept
        }
    }

    /// Whether it can be pulled.
    pub(super) fn serves(&self, manifest: Manifest) -> bool {
        manifest.closure().without(self.live).is_empty()
    }

    /// The clock goes on: pushes that take too long end, and so does what was sent and has not arrived.
    pub(super) fn tick(&mut self, scenario: &Scenario) {
        self.clock += 1;
        // What was moved meanwhile has no age of its own here: what is old is taken, and it stays it.
        self.young = self.new.both(self.live);
        self.new = Files::NONE;
        for writer in &mut self.writers {
            if let Writer::Pushes { begun, step, .. } = *writer
                && (scenario.clients == Clients::Quick || step.is_within_request())
                && self.clock > begun + 1
            {
                *writer = Writer::Idle;
            }
        }
        self.late = self.late.filter(|late| self.clock <= late.until);
        self.kept_before = self.kept;
    }

    /// A file goes out of the live tree.
    pub(super) fn leave(&mut self, file: File) {
        self.live.remove(file);
        self.new.remove(file);
        self.young.remove(file);
    }
}
