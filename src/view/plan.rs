//! `gc plan -o json` and `-o jsonl`, and what of an earlier one is read again.

use std::collections::BTreeMap;
use std::io::Write;

use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Serialize, Serializer};

use crate::gc::needed::Needed;
use crate::gc::plan::{Counts, Garbage, Plan};
use crate::gc::refusal::Refusal;
use crate::registry::kind::Kind;

const SCHEMA: &str = "pullproof.dev/gc-plan/v1";

/// Everything that is told of a plan, or of why there is none. It holds no times: the same tree and keep-set
/// are the same bytes.
#[derive(Debug, Serialize)]
pub struct PlanView<'a> {
    schema: &'static str,
    /// A digest of what would go; null where there is no plan.
    plan: Option<String>,
    storage: &'a str,
    /// Of the registry: `distribution`, `zot`, `harbor`, or `unknown` where it could not be asked, or was not.
    kind: &'static str,
    counts: Option<&'a Counts>,
    reasons: Vec<OfReason>,
    repositories: Vec<OfRepository<'a>>,
    protected: Vec<Protected<'a>>,
    /// Null in a summary.
    #[serde(skip_serializing_if = "Rows::is_elsewhere")]
    garbage: Rows<'a>,
    damaged: Vec<Damaged<'a>>,
    /// What is closed now: why nothing of it would be taken.
    refusals: &'a [Refusal],
}

#[derive(Debug, Serialize)]
struct OfReason {
    kind: &'static str,
    reason: &'static str,
    count: usize,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct OfRepository<'a> {
    repository: &'a str,
    tags: usize,
    own_bytes: u64,
    shared_bytes: u64,
    garbage: usize,
    garbage_own_bytes: u64,
    garbage_shared_bytes: u64,
    keeps_all: bool,
}

/// A repository of which nothing goes, since a host that no entry has names its path.
#[derive(Debug, Serialize)]
struct Protected<'a> {
    repository: &'a str,
    reference: &'a str,
}

#[derive(Debug, Serialize)]
struct Damaged<'a> {
    repository: Option<&'a str>,
    path: &'a str,
    problem: &'a str,
}

/// One thing that goes.
#[derive(Debug, Serialize)]
pub struct Row<'a> {
    kind: &'static str,
    digest: crate::oci::digest::Digest,
    repository: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a str>,
    bytes: u64,
    reason: &'static str,
}

impl<'a> From<Garbage<'a>> for Row<'a> {
    fn from(it: Garbage<'a>) -> Self {
        Self {
            kind: it.kind.as_str(),
            digest: it.digest,
            repository: it.repository.map(|name| &**name),
            tag: it.tag.map(|tag| &**tag),
            bytes: it.bytes,
            reason: it.reason.as_str(),
        }
    }
}

/// Rows are written one by one: all of them at once would be the plan again, as text.
#[derive(Debug)]
enum Rows<'a> {
    All(Option<&'a Plan>),
    Left,
    Elsewhere,
}

impl Rows<'_> {
    fn is_elsewhere(&self) -> bool {
        matches!(self, Self::Elsewhere)
    }
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let plan = match self {
            Self::All(plan) => plan,
            Self::Left | Self::Elsewhere => return serializer.serialize_none(),
        };
        let mut rows = serializer.serialize_seq(plan.map(|plan| plan.garbage().len()))?;
        for it in plan.iter().flat_map(|plan| plan.garbage()) {
            rows.serialize_element(&Row::from(it))?;
        }
        rows.end()
    }
}

/// Whose a plan is.
#[derive(Debug, Clone, Copy)]
pub struct Storage<'a> {
    /// The registry's.
    pub host: &'a str,
    pub kind: Kind,
}

/// How much of the rows is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    Everything,
    Summary,
    /// As [`Self::Everything`], each row in a line of its own.
    Lines,
}

impl<'a> PlanView<'a> {
    pub fn of(
        storage: Storage<'a>,
        plan: Option<&'a Plan>,
        needed: &'a Needed,
        refusals: &'a [Refusal],
        extent: Extent,
    ) -> Self {
        let repositories = plan.map(Plan::repositories).unwrap_or_default();
        let protected = plan.into_iter().flat_map(|plan| plan.protected(needed));
        Self {
            schema: SCHEMA,
            plan: plan.map(|plan| plan.id(storage.host)),
            storage: storage.host,
            kind: storage.kind.as_str(),
            counts: plan.map(Plan::counts),
            reasons: plan.into_iter().flat_map(reasons).collect(),
            repositories: repositories.into_iter().map(OfRepository::from).collect(),
            protected: protected
                .map(|(repository, reference)| Protected {
                    repository,
                    reference,
                })
                .collect(),
            garbage: match extent {
                Extent::Everything => Rows::All(plan),
                Extent::Summary => Rows::Left,
                Extent::Lines => Rows::Elsewhere,
            },
            damaged: plan.into_iter().flat_map(damaged).collect(),
            refusals,
        }
    }
}

/// As `-o jsonl`: first everything but the rows, then each of them.
pub fn write_lines(
    view: &PlanView<'_>,
    plan: Option<&Plan>,
    to: &mut impl Write,
) -> std::io::Result<()> {
    serde_json::to_writer(&mut *to, view)?;
    to.write_all(b"\n")?;
    for it in plan.into_iter().flat_map(Plan::garbage) {
        serde_json::to_writer(&mut *to, &Row::from(it))?;
        to.write_all(b"\n")?;
    }
    Ok(())
}

fn reasons(plan: &Plan) -> impl Iterator<Item = OfReason> {
    plan.reasons().into_iter().map(|of| OfReason {
        kind: of.kind.as_str(),
        reason: of.reason.as_str(),
        count: of.count,
        bytes: of.bytes,
    })
}

impl<'a> From<crate::gc::plan::OfRepository<'a>> for OfRepository<'a> {
    fn from(of: crate::gc::plan::OfRepository<'a>) -> Self {
        Self {
            repository: of.name,
            tags: of.tags,
            own_bytes: of.own_bytes,
            shared_bytes: of.shared_bytes,
            garbage: of.garbage,
            garbage_own_bytes: of.garbage_own_bytes,
            garbage_shared_bytes: of.garbage_shared_bytes,
            keeps_all: of.keeps_all,
        }
    }
}

fn damaged(plan: &Plan) -> impl Iterator<Item = Damaged<'_>> {
    plan.damaged().map(|(repository, damage)| Damaged {
        repository,
        path: &damage.path,
        problem: &damage.problem,
    })
}

/// An earlier plan, as it is read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub plan: String,
    pub storage: String,
    pub rows: BTreeMap<Key, u64>,
}

/// What tells a row from all others: repository, kind, tag and digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    pub repository: Option<String>,
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    pub digest: String,
}

#[derive(Deserialize)]
struct ReadPlan {
    schema: String,
    plan: Option<String>,
    storage: String,
    #[serde(default)]
    garbage: Option<Vec<ReadRow>>,
}

#[derive(Deserialize)]
struct ReadRow {
    #[serde(flatten)]
    key: Key,
    bytes: u64,
}

impl Recorded {
    /// Reads `-o json` or `-o jsonl`. The error is the way out.
    pub fn parse(text: &str) -> Result<Self, String> {
        let unreadable = |error: serde_json::Error| {
            format!("it is no plan as `gc plan -o json` or `-o jsonl` prints one: {error}")
        };
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>();
        let head = values.next().unwrap_or(Ok(serde_json::Value::Null));
        let head: ReadPlan = head.and_then(serde_json::from_value).map_err(unreadable)?;
        if head.schema != SCHEMA {
            return Err(format!("it is a {}, and {SCHEMA} is expected", head.schema));
        }
        let Some(plan) = head.plan else {
            return Err("it says only why there was no plan".to_owned());
        };
        let mut rows: Vec<ReadRow> = head.garbage.unwrap_or_default();
        for row in values {
            rows.push(row.and_then(serde_json::from_value).map_err(unreadable)?);
        }
        Ok(Self {
            plan,
            storage: head.storage,
            rows: rows.into_iter().map(|row| (row.key, row.bytes)).collect(),
        })
    }

    pub fn of(storage: &str, plan: &Plan) -> Self {
        let row = |it: Garbage<'_>| (Key::of(&it), it.bytes);
        Self {
            plan: plan.id(storage),
            storage: storage.to_owned(),
            rows: plan.garbage().map(row).collect(),
        }
    }
}

impl Recorded {
    /// Whether it has a row, with its bytes where they go.
    pub fn has(&self, row: &Garbage<'_>) -> bool {
        let bytes = self.rows.get(&Key::of(row));
        bytes.is_some_and(|bytes| row.bytes == 0 || *bytes == row.bytes)
    }
}

impl Key {
    fn of(row: &Garbage<'_>) -> Self {
        Self {
            repository: row.repository.map(ToString::to_string),
            kind: row.kind.as_str().to_owned(),
            tag: row.tag.map(ToString::to_string),
            digest: row.digest.to_string(),
        }
    }
}

/// `gc plan --diff`: what goes now and did not, and what went and does not.
#[derive(Debug, Serialize)]
pub struct Difference<'a> {
    schema: &'static str,
    pub from: &'a str,
    pub to: &'a str,
    pub storage: &'a str,
    pub added: Vec<Changed<'a>>,
    pub removed: Vec<Changed<'a>>,
}

#[derive(Debug, Serialize)]
pub struct Changed<'a> {
    #[serde(flatten)]
    pub key: &'a Key,
    pub bytes: u64,
}

impl<'a> Difference<'a> {
    pub fn of(from: &'a Recorded, to: &'a Recorded) -> Self {
        let only = |one: &'a Recorded, other: &Recorded| {
            let rows = one.rows.iter();
            let only = rows.filter(|(key, _)| !other.rows.contains_key(*key));
            only.map(|(key, bytes)| Changed { key, bytes: *bytes })
                .collect()
        };
        Self {
            schema: "pullproof.dev/gc-plan-diff/v1",
            from: &from.plan,
            to: &to.plan,
            storage: &to.storage,
            added: only(to, from),
            removed: only(from, to),
        }
    }
}
