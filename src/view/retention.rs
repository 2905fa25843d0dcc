//! `retention plan -o json`.

use jiff::Timestamp;
use serde::Serialize;

use crate::config::Retention;
use crate::gc::refusal::Refusal;
use crate::oci::digest::Digest;
use crate::retention::class::Class;
use crate::retention::plan::{Going, Plan, Staying};
use crate::retention::rehearsed::Rehearsed;

const SCHEMA: &str = "pullproof.dev/retention-plan/v1";

/// Everything that is told of a plan of tags, or of why there is none.
#[derive(Debug, Serialize)]
pub struct RetentionView<'a> {
    schema: &'static str,
    /// A digest of what would go; null where there is no plan.
    plan: Option<&'a str>,
    registry: &'a str,
    counts: Counts,
    delete: Vec<Delete<'a>>,
    keep: Vec<Keep<'a>>,
    left_alone: Vec<LeftAlone<'a>>,
    /// What is closed now: why nothing of it would be deleted.
    refusals: &'a [Refusal],
}

#[derive(Debug, Default, Serialize)]
struct Counts {
    tags: usize,
    delete: usize,
    /// Of them, those that were in every plan for `retention.rehearsal`.
    due: usize,
    keep: usize,
    left_alone: usize,
    /// What a collection could take once all of them are gone.
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Delete<'a> {
    repository: &'a str,
    tag: &'a str,
    digest: Digest,
    class: Class,
    age_seconds: u64,
    bytes: u64,
    /// Where the policy stands.
    rule: String,
    reason: &'a str,
    /// Since when it is in every plan; null where no plan was recorded that has it.
    planned_since: Option<Timestamp>,
    due: bool,
}

#[derive(Debug, Serialize)]
struct Keep<'a> {
    repository: &'a str,
    tag: &'a str,
    digest: Option<Digest>,
    classes: Vec<Class>,
    reason: &'a str,
}

#[derive(Debug, Serialize)]
struct LeftAlone<'a> {
    repository: &'a str,
    reason: &'a str,
}

/// A plan that is told.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    pub id: &'a str,
    pub plan: &'a Plan,
    pub rehearsed: &'a Rehearsed,
    pub retention: &'a Retention,
    pub now: Timestamp,
}

impl Told<'_> {
    pub fn is_due(&self, it: &Going) -> bool {
        let long = self.retention.rehearsal;
        let rehearsed = self.rehearsed;
        rehearsed.is_due(&it.repository, &it.tag, long, self.now)
    }

    pub fn since(&self, it: &Going) -> Option<Timestamp> {
        let since = self.rehearsed.since(&it.repository, &it.tag);
        since.map(Timestamp::from)
    }
}

/// Where a policy stands in the configuration.
pub fn rule(policy: usize) -> String {
    format!("retention.policies[{policy}]")
}

impl<'a> RetentionView<'a> {
    pub fn of(registry: &'a str, told: Option<Told<'a>>, refusals: &'a [Refusal]) -> Self {
        let empty = Self {
            schema: SCHEMA,
            plan: None,
            registry,
            counts: Counts::default(),
            delete: Vec::new(),
            keep: Vec::new(),
            left_alone: Vec::new(),
            refusals,
        };
        let Some(told) = told else {
            return empty;
        };
        let Plan {
            going,
            staying,
            left_alone,
        } = told.plan;
        Self {
            plan: Some(told.id),
            counts: Counts {
                tags: going.len() + staying.len(),
                delete: going.len(),
                due: going.iter().filter(|it| told.is_due(it)).count(),
                keep: staying.len(),
                left_alone: left_alone.len(),
                bytes: told.plan.bytes(),
            },
            delete: going.iter().map(|it| Delete::of(it, &told)).collect(),
            keep: staying.iter().map(Keep::from).collect(),
            left_alone: left_alone
                .iter()
                .map(|it| LeftAlone {
                    repository: &it.repository,
                    reason: &it.reason,
                })
                .collect(),
            ..empty
        }
    }
}

impl<'a> Delete<'a> {
    fn of(it: &'a Going, told: &Told<'_>) -> Self {
        Self {
            repository: &it.repository,
            tag: &it.tag,
            digest: it.digest,
            class: Class::Unused,
            age_seconds: it.age,
            bytes: it.bytes,
            rule: rule(it.policy),
            reason: &it.reason,
            planned_since: told.since(it),
            due: told.is_due(it),
        }
    }
}

impl<'a> From<&'a Staying> for Keep<'a> {
    fn from(it: &'a Staying) -> Self {
        Self {
            repository: &it.repository,
            tag: &it.tag,
            digest: it.digest,
            classes: it.classes.iter().copied().collect(),
            reason: &it.reason,
        }
    }
}
