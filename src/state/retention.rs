//! How it stands with the tags of each registry, as a daemon that decides about them knows. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::gc::refusal::Refusal;
use crate::retention::class::Class;
use crate::retention::plan::Plan;

/// By the registry's host.
pub type Retentions = BTreeMap<String, RetentionStatus>;

/// One registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetentionStatus {
    /// The last plan; it stands while a later one cannot be made.
    pub planned: Option<Planned>,
    /// Why there was no plan the last time; empty if there was one.
    pub refused: Vec<Refusal>,
    /// Tags that were deleted since the start.
    pub deleted: u64,
    /// What came of the last run in a window.
    pub last: Option<Last>,
}

/// A plan in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    pub at: Timestamp,
    /// A digest of what would go.
    pub id: String,
    pub going: usize,
    /// Of them, those that are planned for long enough.
    pub due: usize,
    pub bytes: u64,
    /// Tags that stay, each by its strongest class.
    pub staying: BTreeMap<Class, usize>,
    /// Repositories of which nothing goes, since something about them is not known.
    pub left_alone: usize,
}

impl Planned {
    pub fn of(id: &str, plan: &Plan, due: usize, at: Timestamp) -> Self {
        Self {
            at,
            id: id.to_owned(),
            going: plan.going.len(),
            due,
            bytes: plan.bytes(),
            staying: plan.by_class(),
            left_alone: plan.left_alone.len(),
        }
    }
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    pub at: Timestamp,
    pub deleted: usize,
    pub refusals: Vec<Refusal>,
    pub failed: Option<String>,
}
