//! What is listed, what of it would go, and whether a second listing says the same.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::info;

use super::Session;
use crate::app::collector::settle::Unlinked;
use crate::app::collector::{Only, Reading, memory, wanted};
use crate::app::plan::{self as planning, Kept};
use crate::collection::compared::hidden;
use crate::collection::item::ItemId;
use crate::collection::machine::Listed;
use crate::collection::rehearsed::{Part, Recorded, Rehearsed};
use crate::collection::select::{self, Limits};
use crate::config::Cache;
use crate::gc::plan::{Garbage, Plan};
use crate::gc::refusal::{Code, Refusal};
use crate::view::plan::Recorded as Written;

/// So many recorded plans are told to whoever names another.
const TOLD: usize = 8;

/// The plan of which alone something is taken.
enum One<'a> {
    Recorded(&'a Recorded),
    Written(&'a Written),
}

impl Session<'_> {
    /// Everything once, live and in quarantine, and what would go of it.
    pub(super) fn list(&mut self) -> Result<Listed, Refusal> {
        let begun = Instant::now();
        let kept = self.read_kept(Reading::Known).ok_or_else(|| {
            let message = "what must stay is not known";
            Refusal::new(Code::InventoryIncomplete, message)
        })?;
        let now = self.work.clock.now();
        self.listed_at = now.into();
        let plan = self.planned(&kept, now)?;
        self.look_for_vanished(plan.graph(), now.into());
        let counts = plan.counts();
        let rehearsed = memory::rehearse(&self.vault, &self.work.registry.host, &plan, now)?;
        self.besides.mark = begun.elapsed();
        let fits = self.fits();
        let only = only(self.work.only.as_ref(), &rehearsed)?;
        let is_named = |row: &Garbage<'_>, part: Part| match &only {
            None => true,
            Some(One::Recorded(of)) => rehearsed.was_in(of, row, part),
            Some(One::Written(of)) => of.has(row),
        };
        let seen = |row: &Garbage<'_>| rehearsed.since(row);
        let (taken, not) = self.links(&plan);
        let unlinked = Unlinked {
            taken,
            not,
            seen: &seen,
        };
        let caches = self.caches(&plan, &unlinked)?;
        self.tell_waits(&plan, &unlinked, &caches);
        let gc = &self.work.registry.gc;
        // What is in quarantine already would go, and so it stays there; what would not is wanted.
        let held: BTreeSet<String> = self
            .journals
            .held()
            .map(|(_, _, item)| item.path())
            .collect();
        let percent = gc.max_collect_percent / 100.0;
        let takes_manifests = gc.cache != Cache::Unknown;
        let limits = Limits {
            blobs: portion(counts.blobs as u64, percent)
                .try_into()
                .unwrap_or(usize::MAX),
            bytes: portion(counts.bytes, percent).min(gc.max_collect_bytes.unwrap_or(u64::MAX)),
            items: fits,
            is_held: &|item| !held.is_empty() && held.contains(&item.path()),
            is_named: &is_named,
            is_rehearsed: &|row: &Garbage<'_>, part: Part| {
                rehearsed.has(row, part, gc.rehearsal, self.work.clock.now())
            },
            takes_manifests,
            takes_unlinked: gc.cache == Cache::None,
            is_settled: &|row: &Garbage<'_>| {
                let since = unlinked.since(row);
                since.is_some_and(|since| caches.have_forgotten(since))
            },
        };
        let selection = select::select(&plan, &limits);
        let wanted = wanted::by(&plan, &self.journals);
        self.selection = selection;
        self.report.left = self.selection.left;
        self.facts.met(Code::ListingIncomplete);
        let too_much = planning::too_much(&plan, &self.work.registry);
        let is_accepted =
            self.work.accepted.as_deref() == Some(&*plan.id(&self.work.registry.host));
        match too_much {
            Some(refusal) if !is_accepted => self.facts.refused(refusal),
            _ => self.facts.met(Code::ShareExceeded),
        }
        let waits = self.selection.left.rehearsal > 0 && self.selection.items.is_empty();
        self.facts.check(
            Code::Rehearsal,
            if waits && wanted.is_empty() {
                Err(format!(
                    "none of the {} that may go was in a recorded plan {} ago (`gc.rehearsal`): `serve` and `gc \
                     plan --record` record one",
                    self.selection.left.rehearsal,
                    crate::config::duration::shown(gc.rehearsal),
                ))
            } else {
                Ok(())
            },
        );
        let listed = Listed {
            wanted,
            ..self.selection.listed()
        };
        self.plan = Some(plan);
        self.kept = Some(kept);
        Ok(listed)
    }

    pub(super) fn planned(&self, kept: &Kept, now: Timestamp) -> Result<Plan, Refusal> {
        let storage = self.storage.as_ref().ok_or_else(|| {
            let message = "the registry's entry has no storage";
            Refusal::new(Code::StorageUnsupported, message)
        })?;
        let of = (storage, &self.work.registry, &self.vault);
        wanted::plan(of, &self.journals, &kept.needed, now)
    }

    /// A second listing says the same of what is old. What came since the first one began may need some of
    /// what was to go: that stays.
    pub(super) fn confirm(&mut self) -> bool {
        let (Some(kept), Some(first)) = (&self.kept, &self.plan) else {
            return false;
        };
        let second = match self.planned(kept, self.work.clock.now()) {
            Ok(second) => second,
            Err(refusal) => {
                self.refuse(vec![refusal]);
                return false;
            }
        };
        let goes = wanted::planned_paths(&second);
        let items = (0..).map(ItemId).zip(&self.selection.items);
        let changed = items.filter(|(_, item)| !goes.contains(&item.path()));
        let changed: BTreeMap<ItemId, String> =
            changed.map(|(id, item)| (id, item.path())).collect();
        // Whether the first one hid something is looked for only where that would have changed anything.
        let hidden = (changed.values().next())
            .and_then(|path| Some((path, hidden(first.graph(), second.graph(), self.listed_at)?)));
        let lost = first.graph().objects().find(|(_, object)| {
            let there = second.graph().find(&object.digest);
            object.size().is_some()
                && there.is_none_or(|id| second.graph().object(id).size().is_none())
        });
        let problem = match (hidden, lost) {
            (None, None) => {
                if !changed.is_empty() {
                    info!(
                        storage = self.work.registry.host,
                        count = changed.len(),
                        "what was pushed since the listing needs some of what was to go; that stays"
                    );
                }
                self.spared = changed.into_keys().collect();
                return true;
            }
            (Some((path, hidden)), _) => format!(
                "{path} would go, and by a second listing it would not: {hidden} is as old, and the first one \
                 did not have it"
            ),
            (None, Some((_, object))) => format!(
                "{} was listed, and is not in a second listing: something else takes content away, or the \
                 storage hides it",
                object.digest
            ),
        };
        self.refuse(vec![Refusal::new(Code::ListingIncomplete, problem)]);
        false
    }
}

/// The plan of which alone something is taken, if one was named.
fn only<'a>(named: Option<&'a Only>, rehearsed: &'a Rehearsed) -> Result<Option<One<'a>>, Refusal> {
    let id = match named {
        None => return Ok(None),
        Some(Only::Written(plan)) => return Ok(Some(One::Written(plan))),
        Some(Only::Recorded(id)) => id,
    };
    let plans = rehearsed.plans();
    if let Some(plan) = plans.iter().find(|it| it.plan == *id) {
        return Ok(Some(One::Recorded(plan)));
    }
    // The first of them is this run's own.
    let known = plans.iter().rev().take(TOLD);
    let known: Vec<String> = known
        .map(|it| format!("{} of {:.0}", it.plan, Timestamp::from(it.at)))
        .collect();
    let more = match plans.len().saturating_sub(TOLD) {
        0 => String::new(),
        more => format!(", and {more} older"),
    };
    let message = format!(
        "no plan {id} is recorded (--plan); recorded are {}{more}",
        known.join(", ")
    );
    Err(Refusal::new(Code::Rehearsal, message))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a share of a count need not be exact, and is at least one"
)]
fn portion(all: u64, share: f64) -> u64 {
    if share >= 1.0 {
        return u64::MAX;
    }
    ((all as f64 * share) as u64).max(1)
}
