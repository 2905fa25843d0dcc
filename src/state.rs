//! What is known of all images now, as one value. Pure: events in, a [`Snapshot`] out.
//!
//! Everything that is shown (page, metrics, API) is a function of one snapshot, so that no two of
//! them can disagree, and what is gone from the inventory is gone from all of them at once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use crate::baseline::Baseline;
use crate::images::{Image, ImageKey, Images};
use crate::inventory::Inventory;
use crate::inventory::marks::AllMarks;
use crate::remembered::{self, RegistryMemory, Remembered};
use crate::second::Second;
use crate::verify::finding::{Report, Verdict};

pub mod answers;
pub mod collections;
mod drifting;
mod facts;
pub mod history;
mod image;
pub mod largest;
pub mod retention;
mod round;
mod show;
mod snapshot;
mod standing;
mod standings;
pub mod storages;
mod unsaved;
pub mod windows;

use drifting::Drifting;
use history::Histories;
pub use image::{Detailed, Details, Endpoint, ImageState, Malformed, Named};
pub use round::{Found, RoundPart, RoundResult};
pub use snapshot::{ObjectCounts, RegistryStatus, Snapshot, SourceStatus};
use standing::Standing;
use standings::Standings;
use unsaved::Changed;

/// The state that events change.
#[derive(Debug, Default)]
pub struct State {
    sources: Vec<SourceStatus>,
    marks: AllMarks,
    standings: Standings,
    /// What is no reference, as it was last shown.
    malformed: Vec<Arc<ImageState>>,
    registries: BTreeMap<Arc<str>, RegistryStatus>,
    /// Canonical references that were proven once, ever, where no standing says so: before they went
    /// from the inventory, or were looked at again.
    proven: HashMap<Arc<str>, Second>,
    /// What was not taken for safekeeping yet.
    unsaved: Changed,
    drifting: Drifting,
    histories: Arc<Histories>,
    /// What was remembered, and is not in the inventory yet.
    remembered: Remembered,
    baseline: Baseline,
    sequence: u64,
    unchecked: Unchecked,
}

/// The report of all images that nobody looked at.
#[derive(Debug)]
struct Unchecked(Arc<Report>);

impl Default for Unchecked {
    fn default() -> Self {
        Self(Arc::new(Report::never_checked()))
    }
}

impl State {
    /// Starts with what was remembered.
    pub fn new(mut remembered: Remembered, baseline: Option<Baseline>) -> Self {
        Self {
            proven: std::mem::take(&mut remembered.proven).into_iter().collect(),
            remembered,
            baseline: baseline.unwrap_or_default(),
            ..Self::default()
        }
    }

    pub fn set_baseline(&mut self, baseline: Option<Baseline>) {
        self.baseline = baseline.unwrap_or_default();
    }

    /// Takes a new inventory. What it no longer names is forgotten at once.
    pub fn set_inventory(&mut self, inventory: &Inventory, images: Arc<Images>) {
        self.sources = inventory
            .sources
            .iter()
            .map(|source| SourceStatus::from(&**source))
            .collect();
        self.marks = inventory.marks();
        let gone = self.standings.replace(images);
        let images = Arc::clone(self.standings.images());
        for (image, standing) in gone {
            self.forget(&image, &standing, &images);
        }
        self.drifting.retain(|key| images.get(key).is_some());
        let is_there = |key: &ImageKey| images.get(key).is_some();
        // Snapshots share it: it is not copied for nothing.
        if !self.histories.is_within(is_there) {
            Arc::make_mut(&mut self.histories).retain(is_there);
        }
        let hosts = images.hosts();
        self.drifting.retain_hosts(|host| hosts.contains(host));
        self.registries.retain(|host, _| hosts.contains(&**host));
        self.recall(inventory.is_complete());
    }

    /// Lets go of what nothing names any more; that it was proven once is kept.
    fn forget(&mut self, image: &Image, standing: &Standing, images: &Images) {
        let name = remembered::name(&self.remembered.salt, &image.key);
        self.unsaved.forget(name);
        if let Some(at) = standing.proven_at {
            let latest = self.proven.entry(Arc::clone(&image.name)).or_insert(at);
            *latest = at.max(*latest);
        }
        if !standing.is_broken() {
            return;
        }
        // The same image by another credential (a secret rotated, or cannot be read now): what was
        // missing stays missing until a proof, also after a restart.
        for heir in images.of_reference(&image.key.reference) {
            let position = self.standings.position(&heir.key);
            let heir_standing = position.and_then(|position| self.standings.at_mut(position));
            if let Some(heirs) = heir_standing.filter(|heirs| heirs.report.is_none()) {
                *heirs = standing.inherited();
                self.mark_unsaved(&heir.key);
            }
        }
    }

    /// Gives images and registries that have just appeared what was known of them before a restart.
    fn recall(&mut self, is_complete: bool) {
        if self.remembered.images.is_empty() && self.remembered.registries.is_empty() {
            return;
        }
        for (image, standing) in self.standings.all_mut() {
            let name = remembered::name(&self.remembered.salt, &image.key);
            let mut before = self.remembered.images.remove(&name);
            if let Some(platforms) = before.as_mut().and_then(|before| before.platforms.take()) {
                self.drifting.recall(&image.key, *platforms);
            }
            let changes = before
                .as_mut()
                .map(|before| std::mem::take(&mut before.changes));
            if let Some(before) = before
                && standing.report.is_none()
                && let Some(recalled) = Standing::recalled(before, &image.needs)
            {
                if recalled.proven_at.is_some() {
                    self.proven.remove(&image.name);
                }
                *standing = recalled;
                if let Some(changes) = changes.filter(|changes| !changes.is_empty()) {
                    Arc::make_mut(&mut self.histories).recall(&image.key, changes);
                }
            }
            let Some(memory) = self.remembered.registries.remove(image.host()) else {
                continue;
            };
            let host: Arc<str> = image.host().into();
            self.registries
                .entry(Arc::clone(&host))
                .or_insert_with(|| RegistryStatus {
                    host,
                    is_up: None,
                    last_completed_at: memory.last_completed_at,
                    last_clean_at: memory.last_clean_at,
                    last_duration: None,
                    interval: memory.interval.unwrap_or_default(),
                    objects: [ObjectCounts::default(); 3],
                    rate_limit_remaining: None,
                    requests_per_day: 0,
                });
        }
        // Once everything was read, what nothing names any more is no longer needed.
        if is_complete {
            for (name, _) in std::mem::take(&mut self.remembered.images) {
                self.unsaved.forget(name);
            }
            self.remembered.registries = HashMap::new();
            self.proven.shrink_to_fit();
        }
    }

    /// Takes a part of what a round found. The round itself is recorded when it is over.
    pub fn record_part(&mut self, part: RoundPart) {
        let RoundPart {
            started_at,
            ended_at,
            reports,
            compared,
        } = part;
        self.compare(compared, started_at);
        for found in reports {
            self.record_image(found, started_at, ended_at);
        }
    }

    fn record_image(&mut self, found: Found, started_at: Timestamp, ended_at: Timestamp) {
        let (key, needs, report) = found;
        let Some(position) = self.standings.position(&key) else {
            return;
        };
        let Some((image, standing)) = self.standings.at(position) else {
            return;
        };
        // A long round may end after a quicker one that began later, or after the inventory has
        // changed: what it says is of a time that is over.
        if image.needs != needs || standing.is_newer_than(started_at) {
            return;
        }
        if let Some(at) = report.proven_at {
            self.proven.remove(&image.name);
            self.unsaved.prove(&image.name, at);
        }
        self.drifting
            .proceed(&image.key, standing.report.as_deref(), &report);
        let before = standing.change();
        if let Some(standing) = self.standings.at_mut(position) {
            standing.advance(report, started_at, ended_at);
            if let (Some(before), Some(now)) = (before, standing.change())
                && before.verdict != now.verdict
            {
                Arc::make_mut(&mut self.histories).note(&key, before, now);
            }
        }
        self.mark_unsaved(&key);
    }

    /// Takes the results of a round.
    pub fn record(&mut self, round: RoundResult) {
        let RoundResult {
            host,
            started_at,
            ended_at,
            was_asked,
            duration,
            is_full,
            is_up,
            reports,
            compared,
            told,
            ..
        } = round;
        self.compare(compared, started_at);
        let [_, unknown, broken] = told;
        let mut is_clean = unknown == 0 && broken == 0;
        for found in reports {
            is_clean &= found.2.verdict == Verdict::Pullable;
            self.record_image(found, started_at, ended_at);
        }
        let mut images = self.standings.images().all();
        if !images.any(|image| image.host() == &*host) {
            return;
        }
        if !is_full {
            // A round over new images says nothing of the registry as a whole but that it answers.
            if let Some(status) = self.registries.get_mut(&host) {
                status.is_up = Some(is_up);
            }
            return;
        }
        let last_clean_at = if is_clean {
            Some(ended_at)
        } else {
            self.registries
                .get(&host)
                .and_then(|before| before.last_clean_at)
        };
        let status = RegistryStatus {
            host: Arc::clone(&host),
            is_up: Some(is_up),
            last_completed_at: if was_asked {
                Some(ended_at)
            } else {
                self.registries
                    .get(&host)
                    .and_then(|before| before.last_completed_at)
            },
            last_clean_at,
            last_duration: Some(duration),
            interval: round.interval,
            objects: round.objects,
            rate_limit_remaining: round.rate_limit_remaining,
            requests_per_day: round.requests_per_day,
        };
        if let Some(memory) = round.memory {
            let memory = RegistryMemory {
                last_completed_at: status.last_completed_at,
                last_clean_at: status.last_clean_at,
                interval: Some(status.interval),
                ..memory
            };
            self.unsaved.registries.insert(Arc::clone(&host), memory);
        }
        self.registries.insert(host, status);
    }

    /// What a baseline made now would hold: broken, and never proven.
    pub fn never_whole(&self) -> Vec<String> {
        let broken = self.standings.all().enumerate();
        let broken = broken.filter(|(position, (_, standing))| {
            let is_proven = || {
                standing
                    .proven_at
                    .or_else(|| self.proven_elsewhere(*position))
            };
            standing.is_broken() && is_proven().is_none()
        });
        broken
            .map(|(_, (image, _))| image.name.to_string())
            .collect()
    }
}

#[cfg(test)]
mod tests;
