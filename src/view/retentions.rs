//! `/api/v1/retention`: how it stands with the tags of each registry.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::config::RetentionMode;
use crate::gc::refusal::Refusal;
use crate::retention::class::Class;
use crate::state::largest::Going;
use crate::state::retention::{Last, Planned, RetentionStatus, Retentions};

/// All registries whose tags are decided about.
#[derive(Debug, Serialize)]
pub struct RetentionsView<'a> {
    schema: &'static str,
    at: Timestamp,
    registries: Vec<OfRegistry<'a>>,
}

#[derive(Debug, Serialize)]
struct OfRegistry<'a> {
    registry: &'a str,
    /// `plan` or `delete`.
    mode: Option<&'static str>,
    rehearsal_seconds: Option<u64>,
    running: bool,
    /// The last plan; it stands while another cannot be made.
    plan: Option<OfPlan<'a>>,
    /// Why there is no newer plan.
    plan_refusals: &'a [Refusal],
    /// Since the start.
    deleted: u64,
    last_run: Option<OfRun<'a>>,
}

#[derive(Debug, Serialize)]
struct OfPlan<'a> {
    plan: &'a str,
    at: Timestamp,
    delete: usize,
    /// Of them, those that were in every plan for `retention.rehearsal`.
    due: usize,
    bytes: u64,
    /// Those of which most goes.
    repositories: Vec<OfRepository<'a>>,
    /// Tags that stay, each by its strongest class.
    keep: BTreeMap<&'static str, usize>,
    left_alone: usize,
    left_alone_first: Vec<LeftAlone<'a>>,
}

#[derive(Debug, Serialize)]
struct OfRepository<'a> {
    repository: &'a str,
    delete: usize,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct LeftAlone<'a> {
    repository: &'a str,
    reason: &'a str,
}

#[derive(Debug, Serialize)]
struct OfRun<'a> {
    at: Timestamp,
    result: &'static str,
    deleted: usize,
    restored: usize,
    refusals: &'a [Refusal],
    failed: Option<&'a str>,
}

impl<'a> RetentionsView<'a> {
    pub fn of(retentions: &'a Retentions, now: Timestamp) -> Self {
        let registries = retentions.iter();
        let registries = registries.map(|(host, status)| OfRegistry::of(host, status));
        Self {
            schema: "pullproof.dev/retention/v1",
            at: now,
            registries: registries.collect(),
        }
    }
}

impl<'a> OfRegistry<'a> {
    fn of(host: &'a str, status: &'a RetentionStatus) -> Self {
        Self {
            registry: host,
            mode: status.terms.map(|terms| match terms.mode {
                RetentionMode::Plan => "plan",
                RetentionMode::Delete => "delete",
            }),
            rehearsal_seconds: status.terms.map(|terms| terms.rehearsal.as_secs()),
            running: status.is_running,
            plan: status.planned.as_ref().map(OfPlan::from),
            plan_refusals: &status.refused,
            deleted: status.deleted,
            last_run: status.last.as_ref().map(OfRun::from),
        }
    }
}

impl<'a> From<&'a Planned> for OfPlan<'a> {
    fn from(planned: &'a Planned) -> Self {
        let repositories = planned.repositories.first.iter();
        let staying = planned.staying.iter();
        let left_alone = planned.left_alone.iter();
        Self {
            plan: &planned.id,
            at: planned.at,
            delete: planned.going,
            due: planned.due,
            bytes: planned.bytes,
            repositories: repositories.map(OfRepository::from).collect(),
            keep: staying
                .map(|(class, count): (&Class, &usize)| (class.as_str(), *count))
                .collect(),
            left_alone: planned.left_alone_count,
            left_alone_first: left_alone
                .map(|it| LeftAlone {
                    repository: &it.repository,
                    reason: &it.reason,
                })
                .collect(),
        }
    }
}

impl<'a> From<&'a Going> for OfRepository<'a> {
    fn from(going: &'a Going) -> Self {
        Self {
            repository: &going.name,
            delete: going.count,
            bytes: going.bytes,
        }
    }
}

impl<'a> From<&'a Last> for OfRun<'a> {
    fn from(last: &'a Last) -> Self {
        Self {
            at: last.at,
            result: last.result().as_str(),
            deleted: last.deleted,
            restored: last.restored,
            refusals: &last.refusals,
            failed: last.failed.as_deref(),
        }
    }
}
