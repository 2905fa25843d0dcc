//! The registry, as distribution is: what it asks its storage and what it believes, and those who push to it,
//! step by step.

use super::files::{File, Files, LINKS, Manifest};
use super::scenario::{Accepts, Cache, Clients, Scenario};
use super::world::{Cached, Step, World, Writer};

impl World {
    /// Whether the storage has what a link names. The bytes are looked for in the cache first
    /// (`cachedBlobStatter`, over digests alone).
    fn is_stored(&self, link: File) -> bool {
        let bytes = self.live.has(link.data()) || self.cache.bytes.has(link.data());
        self.live.has(link) && bytes
    }

    /// What `HEAD` of a layer answers.
    pub(super) fn believes_in(&self, link: File) -> bool {
        self.cache.links.has(link) || self.is_stored(link)
    }

    /// What was found in the storage is remembered, by repository and by digest.
    pub(super) fn remember(&mut self, scenario: &Scenario, link: File) {
        if scenario.cache != Cache::Off {
            self.cache.links.add(link);
            self.cache.bytes.add(link.data());
        }
    }

    pub(super) fn forget(&mut self) {
        self.cache = Cached::default();
    }

    /// Somebody pulls what can be.
    pub(super) fn pull(&mut self, scenario: &Scenario, manifest: Manifest) {
        for link in manifest.links() {
            self.remember(scenario, *link);
        }
        if scenario.cache == Cache::Unsafe {
            self.cache.bytes.add(manifest.bytes());
        }
    }

    /// `DELETE` of a manifest by its digest: its link and the tag. Its bytes stay.
    pub(super) fn delete(&mut self, manifest: Manifest) {
        self.leave(manifest.revision());
        self.tagged.remove(manifest);
    }

    /// The next that somebody who pushes does.
    pub(super) fn push(&mut self, scenario: &Scenario, writer: usize) {
        let Writer::Pushes {
            manifest,
            begun,
            step,
        } = self.writers[writer]
        else {
            return;
        };
        let is_under_way = step.is_within_request() || scenario.clients == Clients::Quick;
        let begun = if is_under_way { begun } else { self.clock };
        let step = self.pushed(scenario, manifest, step);
        self.writers[writer] = step.map_or(Writer::Idle, |step| Writer::Pushes {
            manifest,
            begun,
            step,
        });
    }

    fn pushed(&mut self, scenario: &Scenario, manifest: Manifest, step: Step) -> Option<Step> {
        let links = manifest.links();
        let link = |at: u8| links[usize::from(at)];
        let next = |at: u8| {
            let is_last = usize::from(at) + 1 == links.len();
            if is_last {
                Step::Put
            } else {
                Step::Head(at + 1)
            }
        };
        Some(match step {
            Step::Head(at) if self.cache.links.has(link(at)) => next(at),
            Step::Head(at) if self.is_stored(link(at)) => {
                if scenario.cache == Cache::Off {
                    next(at)
                } else {
                    Step::Answered(at)
                }
            }
            // From the other repository, if that has it.
            Step::Head(at)
                if link(at) == File::LinkMounted && self.believes_in(File::LinkShared) =>
            {
                Step::Link(at)
            }
            Step::Head(at) => Step::Upload(at),
            Step::Answered(at) => {
                self.remember(scenario, link(at));
                next(at)
            }
            Step::Upload(at) => {
                // `moveBlob` leaves what is there as it is, and asks the storage.
                if !self.live.has(link(at).data()) {
                    self.write(link(at).data());
                }
                Step::Link(at)
            }
            Step::Link(at) => {
                self.write(link(at));
                self.remember(scenario, link(at));
                next(at)
            }
            Step::Put => {
                if scenario.accepts == Accepts::Whole
                    && !links.iter().all(|link| self.believes_in(*link))
                {
                    return None;
                }
                for link in links {
                    if self.is_stored(*link) {
                        self.remember(scenario, *link);
                    }
                }
                Step::Bytes
            }
            Step::Bytes => {
                let bytes = manifest.bytes();
                let is_there = self.live.has(bytes) || self.cache.bytes.has(bytes);
                if !is_there {
                    self.write(bytes);
                }
                if scenario.cache == Cache::Unsafe {
                    self.cache.bytes.add(bytes);
                }
                Step::Acknowledge
            }
            Step::Acknowledge => {
                self.write(manifest.revision());
                self.tagged.add(manifest);
                return None;
            }
        })
    }

    /// What the registry believes in that is not there.
    pub(super) fn is_cached(&self) -> bool {
        self.cache != Cached::default()
    }

    /// Links of layers among these.
    pub(super) fn links(files: Files) -> impl Iterator<Item = File> {
        LINKS.into_iter().filter(move |link| files.has(*link))
    }
}
