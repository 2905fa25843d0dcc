//! How it stands with the tags of each registry, as a daemon that decides about them knows. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::largest::Largest;
use crate::config::{Retention, RetentionMode};
use crate::gc::refusal::Refusal;
use crate::retention::class::Class;
use crate::retention::plan::{LeftAlone, Plan};

/// Repositories that are left alone and told one by one.
const LEFT_ALONE_MAX: usize = 20;

/// By the registry's host.
pub type Retentions = BTreeMap<String, RetentionStatus>;

/// What may be done to tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    pub mode: RetentionMode,
    /// Only what was in every plan for so long is deleted.
    pub rehearsal: Duration,
}

impl From<&Retention> for Terms {
    fn from(retention: &Retention) -> Self {
        Self {
            mode: retention.mode,
            rehearsal: retention.rehearsal,
        }
    }
}

/// One registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetentionStatus {
    pub terms: Option<Terms>,
    /// The last plan; it stands while a later one cannot be made.
    pub planned: Option<Planned>,
    /// Why there was no plan the last time; empty if there was one.
    pub refused: Vec<Refusal>,
    /// Whether a run is under way.
    pub is_running: bool,
    /// Tags that were deleted since the start.
    pub deleted: u64,
    /// Runs that ended since the start.
    pub runs: BTreeMap<RunResult, u64>,
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
    /// By repository. Data that several tags have is counted once.
    pub repositories: Largest,
    /// Tags that stay, each by its strongest class.
    pub staying: BTreeMap<Class, usize>,
    /// The first repositories of which nothing goes, since something about them is not known.
    pub left_alone: Vec<LeftAlone>,
    /// All of them.
    pub left_alone_count: usize,
}

impl Planned {
    pub fn of(id: &str, plan: &Plan, due: usize, at: Timestamp) -> Self {
        Self::without(id, plan, due, at, &BTreeSet::new())
    }

    /// What is left of a plan of which some tags are gone, by repository and tag; `due` are those that were due
    /// and are not gone.
    pub fn without(
        id: &str,
        plan: &Plan,
        due: usize,
        at: Timestamp,
        gone: &BTreeSet<(Arc<str>, Arc<str>)>,
    ) -> Self {
        let going = || {
            let all = plan.going.iter();
            all.filter(|it| !gone.contains(&(Arc::clone(&it.repository), Arc::clone(&it.tag))))
        };
        let left_alone = plan.left_alone.iter();
        Self {
            at,
            id: id.to_owned(),
            going: going().count(),
            due,
            bytes: going().map(|it| it.bytes).sum(),
            repositories: Largest::of(going().map(|it| (&*it.repository, it.bytes))),
            staying: plan.by_class(),
            left_alone: left_alone.take(LEFT_ALONE_MAX).cloned().collect(),
            left_alone_count: plan.left_alone.len(),
        }
    }
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    pub at: Timestamp,
    pub deleted: usize,
    /// Tags that were gone and are there again, since something that is kept got worse.
    pub restored: usize,
    pub refusals: Vec<Refusal>,
    pub failed: Option<String>,
}

/// A run in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunResult {
    /// What was due went; that may be nothing.
    Deleted,
    /// The gate was closed.
    Refused,
    /// Something that is kept got worse or was deployed meanwhile, and tags were put back.
    Restored,
    /// Something could not be done, or was not answered.
    Failed,
}

impl RunResult {
    pub const ALL: [Self; 4] = [Self::Deleted, Self::Refused, Self::Restored, Self::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Refused => "refused",
            Self::Restored => "restored",
            Self::Failed => "failed",
        }
    }
}

impl Last {
    pub fn result(&self) -> RunResult {
        if self.restored > 0 {
            RunResult::Restored
        } else if self.failed.is_some() {
            RunResult::Failed
        } else if !self.refusals.is_empty() {
            RunResult::Refused
        } else {
            RunResult::Deleted
        }
    }
}

impl RetentionStatus {
    /// Takes what came of a run.
    pub fn take(&mut self, last: Last) {
        *self.runs.entry(last.result()).or_default() += 1;
        self.deleted = self.deleted.saturating_add(last.deleted as u64);
        self.last = Some(last);
    }
}
