//! All that is known, at one time.

use std::cmp::Ordering;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::history::Histories;
use super::image::ImageState;
use crate::drift::tags::KnownTags;
use crate::inventory::SourceState;
use crate::inventory::completeness::{self, Facts, Refusal, Rules, Shrunk, Standing};
use crate::inventory::marks::AllMarks;
use crate::oci::reference::Reference;
use crate::verify::finding::Verdict;

/// One source of the inventory.
#[derive(Debug, Clone, Default)]
pub struct SourceStatus {
    pub name: Arc<str>,
    pub incomplete: Option<String>,
    /// Its first reading has neither succeeded nor failed so far.
    pub is_awaited: bool,
    /// What is not granted or not there and does not make it incomplete.
    pub absent: Vec<String>,
    pub complete_at: Option<Timestamp>,
    pub references: usize,
    pub rules: Rules,
    pub shrunk: Option<Shrunk>,
}

impl From<&SourceState> for SourceStatus {
    fn from(source: &SourceState) -> Self {
        Self {
            name: Arc::clone(&source.name),
            incomplete: source.incomplete.clone(),
            is_awaited: source.is_awaited,
            absent: source.absent.clone(),
            complete_at: source.complete_at,
            references: source.uses.len(),
            rules: source.rules.clone(),
            shrunk: source.shrunk.clone(),
        }
    }
}

impl<'a> From<&'a SourceStatus> for Facts<'a> {
    fn from(source: &'a SourceStatus) -> Self {
        Self {
            name: &source.name,
            incomplete: source.incomplete.as_deref(),
            complete_at: source.complete_at,
            rules: &source.rules,
            shrunk: source.shrunk.as_ref(),
        }
    }
}

impl SourceStatus {
    /// Whether it hinders nobody from believing the rest: it is complete, or its last complete state
    /// stands in, or it may be away.
    pub fn is_settled(&self, now: Timestamp) -> bool {
        !self.rules.is_required || self.standing(now) != Standing::Incomplete
    }

    fn standing(&self, now: Timestamp) -> Standing {
        let reason = self.incomplete.as_deref();
        completeness::standing(reason, self.complete_at, &self.rules, now)
    }

    /// Until when its last complete state stands in; `None` if it is complete, or if none does.
    pub fn stands_until(&self) -> Option<Timestamp> {
        match self.standing(Timestamp::MIN) {
            Standing::StandsIn(until) => Some(until),
            Standing::Complete | Standing::Incomplete => None,
        }
    }
}

/// Distinct objects of one registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ObjectCounts {
    pub blobs: u64,
    pub bytes: u64,
}

/// One registry.
#[derive(Debug, Clone)]
pub struct RegistryStatus {
    pub host: Arc<str>,
    /// `None` before the first round ended.
    pub is_up: Option<bool>,
    pub last_completed_at: Option<Timestamp>,
    /// The end of the last complete round without anything broken or unknown.
    pub last_clean_at: Option<Timestamp>,
    pub last_duration: Option<SignedDuration>,
    pub interval: SignedDuration,
    /// By verdict, in the order of [`Verdict::ALL`].
    pub objects: [ObjectCounts; 3],
    pub rate_limit_remaining: Option<i64>,
    pub requests_per_day: u64,
}

/// All that is known, at one time. What did not change since the one before is the same allocation.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub at: Timestamp,
    /// Counts published snapshots.
    pub sequence: u64,
    pub sources: Vec<SourceStatus>,
    /// Entries of one reference stand together.
    pub images: Vec<Arc<ImageState>>,
    /// Other endpoints of some of them, which nobody names.
    pub endpoints: Vec<Arc<ImageState>>,
    pub registries: Vec<RegistryStatus>,
    /// What people say of alerts about workloads. Nothing else hangs on it.
    pub marks: AllMarks,
    /// Which tags name what, where that was asked.
    pub tags: Arc<KnownTags>,
    /// When images changed their verdict.
    pub histories: Arc<Histories>,
    /// Every image was looked at, and every source that has to be there is complete or stands in.
    pub is_ready: bool,
    pub baseline_images: usize,
}

impl Snapshot {
    /// What speaks against taking the inventory for the whole truth.
    pub fn refusals(&self) -> Vec<Refusal> {
        completeness::refusals(self.sources.iter().map(Facts::from), self.at)
    }

    /// The entries of each reference: one for each credential that pulls it.
    pub fn by_reference(&self) -> impl Iterator<Item = &[Arc<ImageState>]> {
        by_reference(&self.images)
    }

    /// The same of every endpoint, whether somebody names it or not.
    pub fn by_endpoint(&self) -> impl Iterator<Item = &[Arc<ImageState>]> {
        by_reference(&self.images).chain(by_reference(&self.endpoints))
    }

    /// Whether a reference is broken, whoever pulls it.
    pub fn is_broken(&self, reference: &Reference) -> bool {
        // What is no reference stands behind all that are.
        let compare = |image: &ImageState| match image.image() {
            Some(image) => image.key.reference.cmp(reference),
            None => Ordering::Greater,
        };
        let start = self.images.partition_point(|image| compare(image).is_lt());
        let entries = self.images.iter().skip(start);
        let mut entries = entries.take_while(|image| compare(image).is_eq());
        entries.any(|image| image.verdict() == Verdict::Broken)
    }

    pub fn count(&self, verdict: Verdict) -> usize {
        self.images
            .iter()
            .filter(|image| image.verdict() == verdict)
            .count()
    }
}

fn by_reference(images: &[Arc<ImageState>]) -> impl Iterator<Item = &[Arc<ImageState>]> {
    images.chunk_by(|one, other| {
        one.reference() == other.reference() && one.registry() == other.registry()
    })
}
