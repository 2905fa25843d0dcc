//! The overview: the state in one sentence, what is wrong and why, then everything else. Pure.
//!
//! It costs some passes over the snapshot, and is rendered for one page of images only.

use askama::Template;
use jiff::Timestamp;

use super::super::filter::{Filter, PAGE_DEFAULT, PAGE_MAX};
use super::address;
use super::form::Form;
use super::head::{self, Banner, Head, Tally};
use super::list::{self, Group};
use super::questions::{self, Card};
use super::words::{self, Moment, Piece};
use crate::state::answers::Answers;
use crate::state::{RegistryStatus, Snapshot, SourceStatus};
use crate::verify::finding::{Code, Verdict};
use crate::view::Summary;

#[derive(Template)]
#[template(path = "overview.html")]
pub(super) struct Overview {
    version: &'static str,
    head: Head,
    at: Moment,
    counts: Vec<Count>,
    /// None where there is nothing to ask about.
    questions: Vec<Card>,
    banners: Vec<Banner>,
    form: Form,
    groups: Vec<Group>,
    /// Instead of images: why there are none.
    waiting: Option<Vec<String>>,
    paging: Paging,
    /// One reference is listed more than once, for several pull secrets.
    is_split: bool,
    registries: Vec<RegistryRow>,
    sources: Vec<SourceRow>,
    json: String,
}

struct Count {
    verdict: Verdict,
    number: String,
    is_zero: bool,
    is_current: bool,
    href: String,
}

struct Paging {
    matching: String,
    first: String,
    last: String,
    previous: Option<String>,
    next: Option<String>,
}

struct RegistryRow {
    name: String,
    href: String,
    is_up: Option<bool>,
    images: String,
    broken: usize,
    unknown: usize,
    completed: Option<Moment>,
    took: Option<String>,
    every: String,
    objects: String,
    bytes: String,
    rate_limit: Option<String>,
    requests_per_day: String,
}

struct SourceRow {
    name: String,
    reason: Option<String>,
    absent: Vec<String>,
    shrunk: Option<String>,
    complete: Option<Moment>,
    references: String,
}

impl Overview {
    pub(super) fn of(snapshot: &Snapshot, filter: &Filter, now: Timestamp) -> Self {
        let summary = Summary::of(snapshot);
        let tally = Tally::of(snapshot);
        let (matching, page) = filter.apply(snapshot);
        let paging = Paging::of(filter, matching, page.len());
        Self {
            version: env!("CARGO_PKG_VERSION"),
            head: Head::of(snapshot, summary, &tally),
            at: Moment::of(snapshot.at, now),
            counts: counts(filter, summary),
            questions: questions(snapshot),
            banners: head::banners(snapshot, &tally, now),
            form: Form::of(filter, snapshot),
            groups: list::groups(&page, &snapshot.marks, now),
            waiting: snapshot.images.is_empty().then(|| waiting(snapshot)),
            paging,
            is_split: snapshot.images.len() > summary.images,
            registries: registries(snapshot, &tally, now),
            sources: sources(snapshot, now),
            json: address::filtered("/api/v1/images", filter, filter.offset),
        }
    }
}

fn questions(snapshot: &Snapshot) -> Vec<Card> {
    if snapshot.images.is_empty() {
        return Vec::new();
    }
    questions::cards(&Answers::of(snapshot)).into()
}

fn counts(filter: &Filter, summary: Summary) -> Vec<Count> {
    let Summary {
        images: _,
        pullable,
        broken,
        unknown,
    } = summary;
    let counts = [
        (Verdict::Broken, broken),
        (Verdict::Unknown, unknown),
        (Verdict::Pullable, pullable),
    ];
    let count = |(verdict, count): (Verdict, usize)| {
        let only = Filter {
            verdict: verdict.as_str().to_owned(),
            limit: filter.limit,
            ..Filter::default()
        };
        Count {
            verdict,
            number: words::number(count),
            is_zero: count == 0,
            is_current: filter.verdict == verdict.as_str(),
            href: address::filtered("/", &only, 0),
        }
    };
    counts.into_iter().map(count).collect()
}

impl Paging {
    fn of(filter: &Filter, matching: usize, shown: usize) -> Self {
        let limit = filter.limit.unwrap_or(PAGE_DEFAULT).min(PAGE_MAX);
        let end = filter.offset.saturating_add(shown);
        let page = |offset| address::filtered("/", filter, offset);
        Self {
            matching: words::number(matching),
            first: words::number(if shown == 0 { 0 } else { filter.offset + 1 }),
            last: words::number(if shown == 0 { 0 } else { end }),
            previous: (filter.offset > 0).then(|| {
                // From beyond the end, back to the last page.
                page(filter.offset.min(matching).saturating_sub(limit))
            }),
            next: (shown > 0 && end < matching).then(|| page(end)),
        }
    }
}

fn waiting(snapshot: &Snapshot) -> Vec<String> {
    if snapshot.sources.is_empty() {
        return vec!["pullproof is reading its sources for the first time.".to_owned()];
    }
    let source = |source: &SourceStatus| match &source.incomplete {
        Some(reason) => format!("The source {}: {reason}.", source.name),
        None => format!(
            "The source {} was read in full, and names no image.",
            source.name
        ),
    };
    snapshot.sources.iter().map(source).collect()
}

fn registries(snapshot: &Snapshot, tally: &Tally<'_>, now: Timestamp) -> Vec<RegistryRow> {
    let row = |registry: &RegistryStatus| {
        let [pullable, unknown, broken] = tally.of_registry(&registry.host);
        let only = Filter {
            registry: registry.host.to_string(),
            ..Filter::default()
        };
        let objects: u64 = registry.objects.iter().map(|count| count.blobs).sum();
        let count = |count: u64| words::number(usize::try_from(count).unwrap_or(usize::MAX));
        RegistryRow {
            name: registry.host.to_string(),
            href: address::filtered("/", &only, 0),
            is_up: registry.is_up,
            images: words::number(pullable + unknown + broken),
            broken,
            unknown,
            completed: registry.last_completed_at.map(|at| Moment::of(at, now)),
            took: registry.last_duration.map(words::took),
            every: words::every(registry.interval),
            objects: count(objects),
            bytes: words::bytes(registry.objects.iter().map(|count| count.bytes).sum()),
            rate_limit: registry
                .rate_limit_remaining
                .map(|left| count(u64::try_from(left).unwrap_or_default())),
            requests_per_day: count(registry.requests_per_day),
        }
    };
    snapshot.registries.iter().map(row).collect()
}

fn sources(snapshot: &Snapshot, now: Timestamp) -> Vec<SourceRow> {
    let row = |source: &SourceStatus| SourceRow {
        name: source.name.to_string(),
        reason: source.incomplete.clone(),
        absent: source.absent.clone(),
        shrunk: source.shrunk.as_ref().map(ToString::to_string),
        complete: source.complete_at.map(|at| Moment::of(at, now)),
        references: words::number(source.references),
    };
    snapshot.sources.iter().map(row).collect()
}
