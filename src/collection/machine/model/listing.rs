//! What a listing says: what would go, what of that a run takes, and what is in quarantine and needed. As
//! `gc::mark`, `gc::plan` and `collection::select` say it, over a handful of files.

use std::collections::BTreeMap;

use super::super::Listed;
use super::files::{File, Files, MANIFESTS, Manifest, Manifests};
use super::known::Journals;
use super::scenario::{Cache, Scenario};
use super::world::World;
use crate::collection::item::{ItemId, RunId};

/// A listing, by whoever knows these runs.
pub(super) struct Listing<'a> {
    world: &'a World,
    runs: &'a Journals,
    /// In quarantine as far as is known.
    held: Files,
    needed: Files,
}

impl<'a> Listing<'a> {
    /// `hidden` is a manifest whose tag stands on a page that is lost.
    pub(super) fn new(
        scenario: &Scenario,
        world: &'a World,
        runs: &'a Journals,
        hidden: Option<Manifest>,
    ) -> Self {
        let mut held = Files::NONE;
        for (id, run) in runs {
            if let Some(quarantine) = world.run(*id) {
                let items = run.held().map(|it| quarantine.items.file(it));
                held = held.and(items.collect());
            }
        }
        let mut listing = Self {
            world,
            runs,
            held,
            needed: Files::NONE,
        };
        listing.mark(world.seen(scenario), hidden);
        listing
    }

    fn listed(&self) -> Files {
        self.world.live.and(self.held)
    }

    fn mark(&mut self, kept: Manifests, hidden: Option<Manifest>) {
        let world = self.world;
        let listed = self.listed();
        for manifest in MANIFESTS {
            let is_tagged = world.tagged.has(manifest) && hidden != Some(manifest);
            let is_young = world.is_young(manifest.revision()) || world.is_young(manifest.bytes());
            if !(is_tagged || is_young || kept.has(manifest)) {
                continue;
            }
            // Only what can be read leads on.
            if listed.has(manifest.bytes()) {
                self.needed = self.needed.and(manifest.closure());
            }
            self.needed.add(manifest.revision());
        }
        for file in world.live.iter().filter(|file| world.is_young(*file)) {
            self.needed.add(file);
            if file.is_link() {
                self.needed.add(file.data());
            }
        }
    }

    /// All that would go.
    pub(super) fn goes(&self) -> Files {
        self.listed().without(self.needed)
    }

    /// What a run takes of it.
    pub(super) fn selection(&self, scenario: &Scenario) -> Files {
        let listed = self.listed();
        let is_linked = |file| World::links(listed).any(|link| link.data() == file);
        let goes = self.goes().without(self.held).iter();
        goes.filter(|file| {
            let is_held_back = file.is_manifest_bytes() && scenario.cache == Cache::Unsafe
                || file.is_data() && scenario.cache != Cache::Off && !is_linked(*file);
            !is_held_back
        })
        .collect()
    }

    /// What is in quarantine and would not go.
    pub(super) fn wanted(&self) -> BTreeMap<RunId, Vec<ItemId>> {
        let goes = self.goes();
        let mut wanted = BTreeMap::new();
        for (id, run) in self.runs {
            let Some(quarantine) = self.world.run(*id) else {
                continue;
            };
            let items = run.held();
            let items = items.filter(|item| !goes.has(quarantine.items.file(*item)));
            let items: Vec<ItemId> = items.collect();
            if !items.is_empty() {
                wanted.insert(*id, items);
            }
        }
        wanted
    }

    /// What the machine is told.
    pub(super) fn told(&self, selection: Files) -> Listed {
        let needs = |file: File| {
            let needs = file.needs().both(selection).iter();
            needs.filter_map(|it| selection.item(it)).collect()
        };
        Listed {
            take: selection.iter().map(needs).collect(),
            wanted: self.wanted(),
        }
    }
}
