//! How the collection of each storage stands: when it may run, what speaks against it, what would go, what
//! is in quarantine and what the last runs did; and which tags of each registry would go. Pure.

use std::collections::BTreeSet;

use askama::Template;
use jiff::Timestamp;

use self::gate::Gate;
use self::plan::PlanCard;
use self::run::RunRow;
use self::tags::TagsCard;
use self::week::Week;
use super::words::{self, Moment, Piece};
use crate::config::Mode;
use crate::state::collections::{CollectionStatus, Collections};
use crate::state::retention::Retentions;
use crate::state::storages::{StorageStatus, Storages, Terms};
use crate::state::windows::Windows;

mod gate;
mod plan;
mod run;
mod tags;
mod week;

/// What the page is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) windows: &'a Windows,
    pub(super) storages: &'a Storages,
    pub(super) collections: &'a Collections,
    pub(super) retentions: &'a Retentions,
    pub(super) at: Timestamp,
}

#[derive(Template)]
#[template(path = "collection.html")]
pub(super) struct CollectionPage {
    version: &'static str,
    at: Moment,
    title: String,
    storages: Vec<StorageCard>,
}

struct StorageCard {
    host: String,
    /// Names its headings.
    number: usize,
    tone: &'static str,
    sign: &'static str,
    sentence: String,
    mode: Option<&'static str>,
    week: Week,
    /// Of what is only planned for nothing is asked.
    gate: Option<Gate>,
    /// `None` where only its tags are decided about.
    plan: Option<PlanCard>,
    tags: Option<TagsCard>,
    quarantine: Option<Quarantine>,
    runs: Vec<RunRow>,
    read_only_since: Option<Moment>,
    free: Option<String>,
    full_at: Option<Moment>,
}

struct Quarantine {
    blobs: String,
    bytes: String,
    is_empty: bool,
    since: Option<Moment>,
    /// So long everything can be put back.
    held_for: Option<String>,
    /// When the oldest of it may be purged, at the earliest.
    until: Option<Moment>,
    is_purged: bool,
    returns_at: Option<Moment>,
    unsettled: Vec<(String, String)>,
    restore: String,
    purged: String,
    restored: String,
    drilled_at: Option<Moment>,
}

impl CollectionPage {
    pub(super) fn of(told: &Told<'_>, now: Timestamp) -> Self {
        let windows = told.windows.groups.iter();
        let windowed = windows.flat_map(|group| group.storages.iter().map(String::as_str));
        let planned = told.storages.keys().map(String::as_str);
        let collected = told.collections.keys().map(String::as_str);
        let retained = told.retentions.keys().map(String::as_str);
        let hosts = windowed.chain(planned).chain(collected).chain(retained);
        let hosts: BTreeSet<&str> = hosts.collect();
        let cards = hosts.iter().enumerate();
        let cards = cards.map(|(number, host)| StorageCard::of(host, number, told, now));
        let storages: Vec<StorageCard> = cards.collect();
        let closed = storages.iter().filter(|it| it.tone == "unknown").count();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            at: Moment::of(told.at, now),
            title: match closed {
                0 => "collection".to_owned(),
                _ => format!("collection: {closed} of {} closed", storages.len()),
            },
            storages,
        }
    }
}

impl StorageCard {
    fn of(host: &str, number: usize, told: &Told<'_>, now: Timestamp) -> Self {
        let nothing = StorageStatus::default();
        let storage = told.storages.get(host).unwrap_or(&nothing);
        let status = told.collections.get(host);
        let terms = storage.terms.or_else(|| status.and_then(|it| it.terms));
        let week = Week::of(host, told.windows, now);
        let gate = status.map(|status| Gate::of(&status.gate, &status.carried));
        let tags = told.retentions.get(host);
        let tags = tags.map(|status| TagsCard::of(host, status, &week, now));
        let has_tags_only = tags.is_some() && !told.storages.contains_key(host) && status.is_none();
        let (tone, sign, sentence) = if has_tags_only {
            ("none", "", String::new())
        } else {
            sentence(status, gate.as_ref(), &week, terms)
        };
        let moved = status.and_then(|it| it.recent.iter().find(|last| last.has_moved()));
        let ran_at = moved.map(|last| last.at);
        let plan = PlanCard::of(storage, terms, ran_at, &week, now);
        let plan = Some(plan).filter(|_| !has_tags_only);
        Self {
            host: host.to_owned(),
            number,
            tone,
            sign,
            sentence,
            mode: terms.map(|terms| mode(terms.mode)),
            gate,
            plan,
            tags,
            quarantine: status.map(|status| Quarantine::of(host, status, terms, now)),
            runs: status.map(|it| run::rows(it, now)).unwrap_or_default(),
            read_only_since: status
                .and_then(|it| it.read_only_since)
                .map(|at| Moment::of(at, now)),
            free: storage.free_bytes.map(words::bytes),
            full_at: storage.full_at().map(|at| Moment::of(at, now)),
            week,
        }
    }
}

/// How it stands, in one sentence.
fn sentence(
    status: Option<&CollectionStatus>,
    gate: Option<&Gate>,
    week: &Week,
    terms: Option<Terms>,
) -> (&'static str, &'static str, String) {
    let (Some(status), Some(gate)) = (status, gate) else {
        let is_plan = terms.is_some_and(|terms| terms.mode == Mode::Plan);
        let sentence = if is_plan {
            "Nothing is taken: gc.mode is plan. What would go is planned for."
        } else {
            "Nothing is known of it yet."
        };
        return ("none", "", sentence.to_owned());
    };
    if status.is_running {
        let sentence = "A session is under way.".to_owned();
        return ("none", "", sentence);
    }
    if let Some(last) = status.last().filter(|last| last.failed.is_some()) {
        let failed = last.failed.clone().unwrap_or_default();
        return ("broken", "✗", format!("The last run failed: {failed}"));
    }
    if status.is_gate_open() {
        let sentence = "The gate is open: everything that is kept is proven, and a window is open.";
        return ("pullable", "✓", sentence.to_owned());
    }
    if gate.waits_for_window_only() {
        let next = match &week.next {
            Some(next) => format!("the next one opens {} UTC, {}", next.clock, next.ago),
            None => "none is configured, so nothing will ever run by itself".to_owned(),
        };
        return ("none", "", format!("It waits for a window: {next}."));
    }
    let refused = words::counted(gate.refused, "condition");
    let verb = if gate.refused == 1 { "stands" } else { "stand" };
    let sentence = match gate.refused {
        0 => "The gate is closed: not everything was looked at yet.".to_owned(),
        _ => format!("The gate is closed: {refused} {verb} against a collection."),
    };
    match gate.refused {
        0 => ("unknown", "?", sentence),
        _ => ("broken", "✗", sentence),
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Plan => "plan",
        Mode::Quarantine => "quarantine",
        Mode::Purge => "purge",
    }
}

impl Quarantine {
    fn of(host: &str, status: &CollectionStatus, terms: Option<Terms>, now: Timestamp) -> Self {
        let held = status.held;
        let due = status.held_since.zip(terms);
        let due = due.and_then(|(since, terms)| since.checked_add(terms.quarantine_for).ok());
        let unsettled = status.unsettled.iter();
        let unsettled = unsettled.map(|(replica, count)| (replica.clone(), words::number(*count)));
        let amount = |amount: crate::state::collections::Amount| {
            let blobs = usize::try_from(amount.blobs).unwrap_or(usize::MAX);
            let blobs = words::counted(blobs, "blob");
            format!("{blobs}, {}", words::bytes(amount.bytes))
        };
        Self {
            blobs: words::counted(usize::try_from(held.blobs).unwrap_or(usize::MAX), "blob"),
            bytes: words::bytes(held.bytes),
            is_empty: held.blobs == 0,
            since: status.held_since.map(|at| Moment::of(at, now)),
            held_for: terms.map(|terms| {
                let lasts = jiff::SignedDuration::try_from(terms.quarantine_for);
                words::every(lasts.unwrap_or_default())
            }),
            until: due.map(|at| Moment::of(at, now)),
            is_purged: terms.is_some_and(|terms| terms.mode == Mode::Purge),
            returns_at: status.returns_at.map(|at| Moment::of(at, now)),
            unsettled: unsettled.collect(),
            restore: format!("pullproof gc restore --all --storage {host}"),
            purged: amount(status.purged),
            restored: amount(status.restored),
            drilled_at: status.drilled_at.map(|at| Moment::of(at, now)),
        }
    }
}
