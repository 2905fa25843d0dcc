//! All that is known, at one time.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::image::ImageState;
use crate::verify::finding::Verdict;

/// One source of the inventory.
#[derive(Debug, Clone)]
pub struct SourceStatus {
    pub name: Arc<str>,
    pub incomplete: Option<String>,
    pub complete_at: Option<Timestamp>,
    pub references: usize,
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
    /// Every image was looked at, and every source read in full, at least once.
    pub is_ready: bool,
    pub baseline_images: usize,
}

impl Snapshot {
    /// The entries of each reference: one for each credential that pulls it.
    pub fn by_reference(&self) -> impl Iterator<Item = &[Arc<ImageState>]> {
        by_reference(&self.images)
    }

    /// The same of every endpoint, whether somebody names it or not.
    pub fn by_endpoint(&self) -> impl Iterator<Item = &[Arc<ImageState>]> {
        by_reference(&self.images).chain(by_reference(&self.endpoints))
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
