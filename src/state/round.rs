//! What rounds tell the state.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::snapshot::ObjectCounts;
use crate::drift::Compared;
use crate::images::ImageKey;
use crate::remembered::RegistryMemory;
use crate::verify::finding::Report;
use crate::verify::target::Needs;

/// What was found of one image, with the platforms that counted when the round began.
pub type Found = (Arc<ImageKey>, Needs, Report);

/// What a round found of some of its images: told as soon as it is judged, so that a large registry's
/// reports are never all there twice.
#[derive(Debug)]
pub struct RoundPart {
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    pub reports: Vec<Found>,
    /// What runs of these images, compared with what they are now.
    pub compared: Vec<Compared>,
}

/// What one round over one registry found.
#[derive(Debug)]
pub struct RoundResult {
    pub host: Arc<str>,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    pub duration: SignedDuration,
    /// Over all images of the registry, not only new ones.
    pub is_full: bool,
    /// False where the registry could not even be asked.
    pub was_asked: bool,
    pub is_up: bool,
    /// Those that no [`RoundPart`] has told.
    pub reports: Vec<Found>,
    /// What runs of them, compared with what they are now.
    pub compared: Vec<Compared>,
    /// How many were told in parts, by verdict, in the order of [`Verdict::ALL`].
    pub told: [usize; 3],
    pub objects: [ObjectCounts; 3],
    /// What the next round goes on from; only from rounds over all images.
    pub memory: Option<RegistryMemory>,
    pub rate_limit_remaining: Option<i64>,
    pub requests_per_day: u64,
    pub interval: SignedDuration,
}
