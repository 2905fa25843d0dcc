//! Which tags would go, why the others stay, and what was deleted. Pure.

use jiff::Timestamp;

use super::super::picture::{self, Segment};
use super::super::words::{self, Moment, Piece};
use super::plan::{GoingRow, largest};
use super::week::Week;
use crate::config::RetentionMode;
use crate::state::retention::{Last, Planned, RetentionStatus, RunResult, Terms};

pub(in crate::http::page) struct TagsCard {
    pub(in crate::http::page) mode: Option<&'static str>,
    pub(in crate::http::page) sentence: String,
    pub(in crate::http::page) planned: Option<TagsPlan>,
    /// Why there was no plan the last time.
    pub(in crate::http::page) refused: Vec<(&'static str, Vec<Piece>)>,
    pub(in crate::http::page) last: Option<TagsRun>,
    pub(in crate::http::page) deleted: String,
    /// Shows each tag with its reason.
    pub(in crate::http::page) command: String,
    /// Puts one back.
    pub(in crate::http::page) restore: String,
}

pub(in crate::http::page) struct TagsPlan {
    pub(in crate::http::page) id: String,
    pub(in crate::http::page) at: Moment,
    pub(in crate::http::page) going: String,
    pub(in crate::http::page) all: String,
    pub(in crate::http::page) share: String,
    pub(in crate::http::page) bytes: String,
    pub(in crate::http::page) due: String,
    pub(in crate::http::page) bar: Vec<Segment>,
    pub(in crate::http::page) repositories: Vec<GoingRow>,
    /// How many stay of each class, the strongest first.
    pub(in crate::http::page) staying: Vec<(&'static str, String)>,
    pub(in crate::http::page) left_alone: Vec<(String, Vec<Piece>)>,
    /// In words, empty where there are none.
    pub(in crate::http::page) left_alone_count: String,
    pub(in crate::http::page) left_alone_more: usize,
}

pub(in crate::http::page) struct TagsRun {
    pub(in crate::http::page) at: Moment,
    pub(in crate::http::page) tone: &'static str,
    pub(in crate::http::page) result: String,
    pub(in crate::http::page) said: Vec<Vec<Piece>>,
}

impl TagsCard {
    pub(super) fn of(host: &str, status: &RetentionStatus, week: &Week, now: Timestamp) -> Self {
        let refused = status.refused.iter();
        let refused =
            refused.map(|refusal| (refusal.code.as_str(), words::pieces(&refusal.message)));
        Self {
            mode: status.terms.map(|terms| match terms.mode {
                RetentionMode::Plan => "plan",
                RetentionMode::Delete => "delete",
            }),
            sentence: sentence(status, week),
            planned: status.planned.as_ref().map(|it| TagsPlan::of(it, now)),
            refused: refused.collect(),
            last: status.last.as_ref().map(|last| TagsRun::of(last, now)),
            deleted: words::counted(usize::try_from(status.deleted).unwrap_or(usize::MAX), "tag"),
            command: format!("pullproof retention plan --registry {host}"),
            restore: format!("pullproof gc restore --storage {host} --tag REPOSITORY:TAG"),
        }
    }
}

/// What becomes of what would go.
fn sentence(status: &RetentionStatus, week: &Week) -> String {
    let Some(Terms { mode, rehearsal }) = status.terms else {
        return String::new();
    };
    if status.is_running {
        return "A run is under way.".to_owned();
    }
    let rehearsal = jiff::SignedDuration::try_from(rehearsal).unwrap_or_default();
    let rehearsal = words::every(rehearsal);
    match (mode, &week.next) {
        (RetentionMode::Plan, _) => {
            "Nothing is deleted: retention.mode is plan. What would go is planned for.".to_owned()
        }
        (RetentionMode::Delete, _) if week.is_open() => format!(
            "A window is open: what was in every plan for {rehearsal} is deleted, once the gate lets it."
        ),
        (RetentionMode::Delete, Some(next)) => format!(
            "What was in every plan for {rehearsal} is deleted in the next window, {} UTC, {}, if the gate lets it.",
            next.clock, next.ago
        ),
        (RetentionMode::Delete, None) => {
            "No window is configured (gc.windows), so nothing is ever deleted by itself.".to_owned()
        }
    }
}

impl TagsPlan {
    fn of(planned: &Planned, now: Timestamp) -> Self {
        let Planned {
            at,
            id,
            going,
            due,
            bytes,
            repositories,
            staying,
            left_alone,
            left_alone_count,
        } = planned;
        let kept: usize = staying.values().sum();
        let (going, kept) = (*going as u64, kept as u64);
        let staying = staying.iter();
        let alone = left_alone.iter();
        Self {
            id: id.clone(),
            at: Moment::of(*at, now),
            going: words::counted(planned.going, "tag"),
            all: words::number(usize::try_from(going + kept).unwrap_or(usize::MAX)),
            share: words::percent(going, going + kept),
            bytes: words::bytes(*bytes),
            due: match due {
                0 => "none yet".to_owned(),
                _ => words::counted(*due, "tag"),
            },
            bar: picture::stacked(&[("going", going), ("kept", kept)]),
            repositories: largest(repositories, |it| it.name.clone()),
            staying: staying
                .map(|(class, count)| (class.as_str(), words::number(*count)))
                .collect(),
            left_alone: alone
                .map(|it| (it.repository.to_string(), words::pieces(&it.reason)))
                .collect(),
            left_alone_count: match left_alone_count {
                0 => String::new(),
                1 => "1 repository".to_owned(),
                count => format!("{} repositories", words::number(*count)),
            },
            left_alone_more: left_alone_count.saturating_sub(left_alone.len()),
        }
    }
}

impl TagsRun {
    fn of(last: &Last, now: Timestamp) -> Self {
        let refusals = last.refusals.iter();
        let refusals =
            refusals.map(|refusal| format!("{}: {}", refusal.code.as_str(), refusal.message));
        let said = last.failed.iter().cloned().chain(refusals);
        let tags = |count| words::counted(count, "tag");
        let (tone, result) = match last.result() {
            RunResult::Failed => ("broken", format!("failed, {} deleted", tags(last.deleted))),
            RunResult::Restored => (
                "broken",
                format!(
                    "{} put back, since something that is kept got worse",
                    tags(last.restored)
                ),
            ),
            RunResult::Refused => ("unknown", "refused".to_owned()),
            RunResult::Deleted if last.deleted == 0 => ("pullable", "nothing was due".to_owned()),
            RunResult::Deleted => ("pullable", format!("{} deleted", tags(last.deleted))),
        };
        Self {
            at: Moment::of(last.at, now),
            tone,
            result,
            said: said.map(|text| words::pieces(&text)).collect(),
        }
    }
}
