//! Tags that are to go by the policies are deleted: through the gate, as everything is that takes something away.
//!
//! Content is not touched. What a tag named stays until a collection finds that nothing leads to it, and its
//! manifests are written down before.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use tracing::{error, info, warn};

use super::Session;
use super::gate::PROVEN;
use crate::app::collector::journals::Journals;
use crate::app::collector::{Reading, Report, Retained, Work, unreadable};
use crate::app::plan::Kept;
use crate::app::retention::removing::{self, By, Names};
use crate::app::retention::{self, Asker, Of, Planned, asker, memory, record};
use crate::collection::gate::{self, Permit};
use crate::collection::item::RunId;
use crate::collection::machine::{Ending, Guarded};
use crate::collection::proven::{self, Found, Memory, Proofs};
use crate::config::{RetentionMode, duration};
use crate::gc::refusal::{Code, Refusal};
use crate::oci::digest::Digest;
use crate::oci::reference::Reference;
use crate::retention::plan::Going;
use crate::retention::removal::{Batch, Outcome, Removed};
use crate::vault::Lock;

/// A repository and a tag.
type Name = (Arc<str>, Arc<str>);

/// So many tags are written of at once, or as many as name one manifest.
const BATCH: usize = 50;

/// Why nothing is deleted where tags are only planned.
pub fn plan_only() -> Refusal {
    let message = "`retention.mode` is `plan`: nothing is deleted; set it to `delete`: what was deleted can be put \
                   back while its content is held";
    Refusal::new(Code::PlanOnly, message)
}

/// One run, from the gate to the proof after it.
pub(in crate::app::collector) fn retain(work: &Work) -> Result<Report, Refusal> {
    if work.registry.retention.mode == RetentionMode::Plan {
        return Err(plan_only());
    }
    let vault = memory::open(&work.registries.config, &work.registry)?;
    let journals = Journals::read(&vault).map_err(|error| unreadable(&error))?;
    let mut session = Session::new(work, None, vault, false, journals, true)?;
    let ending = session.retained();
    Ok(session.over(ending))
}

impl Session<'_> {
    fn retained(&mut self) -> Ending {
        if !self.is_let_in() {
            return Ending::Refused;
        }
        let found = self.look();
        let epoch = self.lock.as_ref().map_or(0, Lock::epoch);
        let decided = gate::decide(&self.facts, epoch, self.work.until.into());
        self.report.facts = self.facts.clone();
        match (decided, found) {
            (Ok(permit), Some((asker, mut planned, remembered))) => {
                self.report.is_permitted = true;
                self.remove_due(&permit, &asker, &mut planned, remembered)
            }
            (Err(refusals), _) => {
                self.refuse(refusals);
                Ending::Refused
            }
            (Ok(_), None) => Ending::Refused,
        }
    }

    /// What the gate is told; the plan, where there is one.
    fn look(&mut self) -> Option<(Asker, Planned, record::Remembered)> {
        self.standing_of_tags();
        let kept = self.read_kept(Reading::New)?;
        let remembered = match record::read(Some(&self.vault)) {
            Ok(remembered) => remembered,
            Err(refusal) => {
                self.facts.refused(refusal);
                return None;
            }
        };
        let mut planned = self.planned_tags(&kept, &remembered)?;
        // What runs is proven too, as far as it was listed.
        self.tags = Some(Arc::clone(&planned.graph));
        let proofs = self.proofs(&kept);
        self.judge(&proofs);
        let doubts = doubts(&proofs);
        if !doubts.is_empty() {
            planned.again(&self.work.registry, None, doubts);
        }
        let is_known = kept.refusals.is_empty();
        self.kept = Some(kept);
        let is_accepted = self.work.accepted.as_deref() == Some(&*planned.id);
        match retention::too_much(&planned, &self.work.registry) {
            Some(refusal) if !is_accepted => self.facts.refused(refusal),
            _ => self.facts.met(Code::ShareExceeded),
        }
        let after = record::with(&remembered, &planned, &self.work.registry);
        // A plan by a part of what is needed is none.
        if is_known && let Err(refusal) = record::write(&self.vault, &after) {
            self.facts.refused(refusal);
        }
        let now = self.work.clock.now();
        let due = record::due(&after, &planned, &self.work.registry, now);
        self.report.retention = Some(Arc::new(Retained {
            id: planned.id.clone(),
            plan: planned.plan.clone(),
            due,
        }));
        if due == 0 && !planned.plan.going.is_empty() {
            let message = format!(
                "{} tags would go, and none of them was in every recorded plan for `retention.rehearsal` ({}); the \
                 first is since {:.0}",
                planned.plan.going.len(),
                duration::shown(self.work.registry.retention.rehearsal),
                after.rehearsed.oldest().map_or(now, jiff::Timestamp::from),
            );
            self.facts.refused(Refusal::new(Code::Rehearsal, message));
        } else {
            self.facts.met(Code::Rehearsal);
        }
        let asker = self.asker_of_tags()?;
        Some((asker, planned, after))
    }

    fn standing_of_tags(&mut self) {
        let leads = self.leads_still();
        let facts = &mut self.facts;
        // Told before, or of what is only asked where content is taken.
        for code in [
            Code::PlanOnly,
            Code::WindowClosed,
            Code::StorageUnsupported,
            Code::RegistryWritable,
            Code::ReplicasUnknown,
            Code::CacheUnsettled,
            Code::DrillStale,
        ] {
            facts.met(code);
        }
        facts.check(Code::NotLeader, leads);
        let is_paused = self.vault.has("pause");
        facts.check(
            Code::Paused,
            match is_paused {
                Ok(false) => Ok(()),
                Ok(true) => {
                    Err("an operator paused it; `pullproof gc resume` ends that".to_owned())
                }
                Err(error) => Err(format!("whether it is paused cannot be told: {error}")),
            },
        );
        let left = self.work.until.duration_since(self.work.clock.now());
        let has_time = if left.as_secs() > 0 {
            Ok(())
        } else {
            Err("the window ends now".to_owned())
        };
        facts.check(Code::WindowShort, has_time);
    }

    fn planned_tags(&mut self, kept: &Kept, remembered: &record::Remembered) -> Option<Planned> {
        let doubts = BTreeMap::new();
        let of = Of {
            registries: &self.work.registries,
            registry: &self.work.registry,
            clock: &self.work.clock,
            doubts: &doubts,
        };
        let planning = retention::plan(of, kept, remembered.first_seen.clone());
        match self.work.runtime.block_on(planning) {
            Ok(planned) => {
                self.facts.met(Code::ListingIncomplete);
                Some(planned)
            }
            Err(refusal) => {
                self.facts.refused(refusal);
                None
            }
        }
    }

    fn asker_of_tags(&mut self) -> Option<Asker> {
        let host = &self.work.registry.host;
        let asking = asker(&self.work.registries, host);
        match self.work.runtime.block_on(asking) {
            Ok(asker) => Some(asker),
            Err(error) => {
                let message = format!("{host} cannot be asked: {error:#}");
                let refusal = Refusal::new(Code::ListingIncomplete, message);
                self.facts.refused(refusal);
                None
            }
        }
    }

    /// Deletes what is due, batch by batch, and proves what is kept.
    fn remove_due(
        &mut self,
        permit: &Permit,
        asker: &Asker,
        planned: &mut Planned,
        mut remembered: record::Remembered,
    ) -> Ending {
        let now = self.work.clock.now();
        let epoch = self.lock.as_ref().map_or(0, Lock::epoch);
        let run = RunId {
            began: now.into(),
            epoch,
        };
        self.report.run = Some(run);
        let name = run.to_string();
        let long = self.work.registry.retention.rehearsal;
        let rehearsed = &remembered.rehearsed;
        let going = planned.plan.going.iter();
        let due = going.filter(|it| rehearsed.is_due(&it.repository, &it.tag, long, now));
        let due: Vec<Going> = due.cloned().collect();
        let mut with: HashMap<&str, BTreeSet<&str>> = HashMap::new();
        for it in &due {
            with.entry(&it.repository).or_default().insert(&it.tag);
        }
        // Of each batch its number.
        let mut batches: Vec<(u32, Batch)> = Vec::new();
        for all in packed(due.iter().collect()) {
            match self.goes_on() {
                Guarded::Go => {}
                Guarded::Stop => {
                    let told =
                        "it was stopped, or its window ends: the rest is deleted another time";
                    self.report.told.push(told.to_owned());
                    break;
                }
                Guarded::Lost => break,
            }
            let still = match self.needed_again(planned) {
                Ok(still) => still,
                Err(problem) => {
                    self.fail(problem);
                    break;
                }
            };
            if let Some(still) = still {
                for (repository, tags) in &mut with {
                    tags.retain(|tag| still.contains(&((*repository).into(), (*tag).into())));
                }
                self.return_needed(asker, &still, &mut batches);
            }
            let goes = |it: &&Going| {
                with.get(&*it.repository)
                    .is_some_and(|tags| tags.contains(&*it.tag))
            };
            let all: Vec<&Going> = all.into_iter().filter(goes).collect();
            let remembering = removing::remember(asker, &all, &name, now);
            let mut batch = self.work.runtime.block_on(remembering);
            // Before anything goes: what is not written down could not be put back.
            let number = match record::begin_batch(&self.vault, &batch) {
                Ok(number) => number,
                Err(problem) => {
                    self.fail(problem);
                    break;
                }
            };
            let goes_on = self.remove(permit, asker, planned, (&all, &with), &mut batch);
            let written = record::write_batch(&self.vault, number, &batch);
            batches.push((number, batch));
            if let Err(problem) = written {
                self.fail(problem);
                break;
            }
            if !goes_on {
                break;
            }
        }
        if !batches.is_empty() {
            match self.needed_again(planned) {
                Ok(None) => {}
                Ok(Some(still)) => self.return_needed(asker, &still, &mut batches),
                Err(problem) => self.fail(problem),
            }
        }
        let lost = self.prove_after_removal();
        let ending = if lost {
            self.put_all_back(asker, &mut batches);
            Ending::Restored
        } else {
            Ending::Done
        };
        let removed = batches.into_iter().flat_map(|(_, batch)| batch.removed);
        self.report.removed = removed.collect();
        self.forget_removed(&mut remembered);
        ending
    }

    /// What was deleted, or put back, or may be gone, is rehearsed anew should it be there again.
    fn forget_removed(&mut self, remembered: &mut record::Remembered) {
        let removed = self.report.removed.iter();
        let kept = |it: &&Removed| matches!(it.outcome, Some(Outcome::Kept(_)));
        let mut is_changed = false;
        for it in removed.filter(|it| !kept(it)) {
            remembered.rehearsed.forget(&it.repository, &it.tag);
            is_changed = true;
        }
        if is_changed && let Err(refusal) = record::write(&self.vault, remembered) {
            self.fail(refusal.message);
        }
    }

    /// Looks again at what is needed; where that is not what it was, the result is what goes by it, of all that was
    /// planned. An error: it is not known any more, and nothing more goes.
    fn needed_again(&mut self, planned: &mut Planned) -> Result<Option<HashSet<Name>>, String> {
        let kept = self.read_kept(Reading::Known);
        let refused = kept.as_ref().and_then(|kept| kept.refusals.first());
        let refused = refused.map(ToString::to_string);
        let (Some(kept), None) = (kept, refused.as_ref()) else {
            let problem = refused.unwrap_or_else(|| "it cannot be read".to_owned());
            return Err(format!(
                "what is needed is not known any more, and nothing more is deleted: {problem}"
            ));
        };
        let before = self.kept.as_ref().map(|before| before.set.references());
        let is_same = before == Some(kept.set.references());
        let going = (!is_same).then(|| {
            let (config, registry) = (&self.work.registries.config, &self.work.registry);
            let protection = retention::protection(config, registry, &kept);
            planned.again(registry, Some(protection), BTreeMap::new());
            let going = planned.plan.going.iter();
            going
                .map(|it| (Arc::clone(&it.repository), Arc::clone(&it.tag)))
                .collect()
        });
        self.kept = Some(kept);
        Ok(going)
    }

    /// Puts back what was deployed after it was deleted.
    fn return_needed(
        &mut self,
        asker: &Asker,
        going: &HashSet<Name>,
        batches: &mut [(u32, Batch)],
    ) {
        let is_needed = |it: &Removed| {
            let name = (Arc::clone(&it.repository), Arc::clone(&it.tag));
            !going.contains(&name)
        };
        let why = "it is needed since it was deleted";
        self.put_back_those(asker, batches, &is_needed, why);
    }

    fn put_back_those(
        &mut self,
        asker: &Asker,
        batches: &mut [(u32, Batch)],
        is_wanted: &dyn Fn(&Removed) -> bool,
        why: &str,
    ) {
        let storage = &self.work.registry.host;
        let mut problems = Vec::new();
        for (number, batch) in batches {
            let whole = batch.clone();
            // What nobody knows of may be gone too.
            let is_gone = |it: &&mut Removed| it.outcome.as_ref().is_none_or(Outcome::is_deleted);
            let gone = batch.removed.iter_mut().filter(is_gone);
            let mut is_changed = false;
            for it in gone.filter(|it| is_wanted(it)) {
                let tag = format!("{}:{}", it.repository, it.tag);
                let putting = removing::put_back(asker, &whole, it);
                match self.work.runtime.block_on(putting) {
                    Ok(()) => {
                        let digest = it.digest;
                        info!(target: "pullproof::audit", storage, what = "tag put back", tag, %digest, why);
                        it.outcome = Some(Outcome::Restored);
                        is_changed = true;
                    }
                    Err(problem) => {
                        problems.push(format!("{tag} could not be put back: {problem}"));
                    }
                }
            }
            if is_changed && let Err(problem) = record::write_batch(&self.vault, *number, batch) {
                problems.push(problem);
            }
        }
        for problem in problems {
            self.fail(problem);
        }
    }

    /// Deletes the tags of a batch. False where nothing more is to be deleted.
    fn remove(
        &mut self,
        permit: &Permit,
        asker: &Asker,
        planned: &Planned,
        (all, with): (&[&Going], &HashMap<&str, BTreeSet<&str>>),
        batch: &mut Batch,
    ) -> bool {
        let epoch = self.lock.as_ref().map_or(0, Lock::epoch);
        let none = BTreeSet::new();
        // What the tags of each repository named just before, where one is deleted by digest.
        let mut names: HashMap<&str, Option<Names>> = HashMap::new();
        let mut goes_on = true;
        for (it, removed) in all.iter().zip(&mut batch.removed) {
            if removed.outcome.is_some() {
                continue;
            }
            let by = By {
                permit,
                epoch,
                now: self.work.clock.now().into(),
            };
            let with = with.get(&*it.repository).unwrap_or(&none);
            let names = names.entry(&it.repository).or_default();
            let removing = removing::remove(asker, by, planned, it, with, names);
            match self.work.runtime.block_on(removing) {
                Ok(outcome) => {
                    self.tell(it, &outcome);
                    removed.outcome = Some(outcome);
                }
                Err(problem) => {
                    // After what nobody knows nothing more goes.
                    self.fail(problem);
                    goes_on = false;
                    break;
                }
            }
        }
        for (repository, before) in names {
            let Some(before) = before else { continue };
            let with = with.get(repository).unwrap_or(&none);
            goes_on &= self.look_for_others(asker, planned, (repository, &before, with), batch);
        }
        goes_on
    }

    fn tell(&mut self, it: &Going, outcome: &Outcome) {
        let storage = &self.work.registry.host;
        match outcome {
            Outcome::Deleted | Outcome::DeletedByDigest => info!(
                target: "pullproof::audit",
                storage,
                what = "tag deleted",
                tag = format!("{}:{}", it.repository, it.tag),
                digest = %it.digest,
                by_digest = *outcome == Outcome::DeletedByDigest,
                bytes = it.bytes,
                why = it.reason,
            ),
            Outcome::Kept(problem) => {
                warn!(storage, "{}:{} stays: {problem}", it.repository, it.tag);
            }
            Outcome::Restored => {}
        }
    }

    /// What was pushed in the very moment may have gone with a manifest that was deleted by its digest: then all of
    /// them are put back at once.
    fn look_for_others(
        &mut self,
        asker: &Asker,
        planned: &Planned,
        (repository, before, with): (&str, &Names, &BTreeSet<&str>),
        batch: &Batch,
    ) -> bool {
        let by_digest = batch.removed.iter().filter(|it| {
            &*it.repository == repository
                && matches!(it.outcome, Some(Outcome::DeletedByDigest) | None)
        });
        let deleted: BTreeSet<Digest> = by_digest.map(|it| it.digest).collect();
        if deleted.is_empty() {
            return true;
        }
        let name: Arc<str> = repository.into();
        let runtime = &self.work.runtime;
        let looking = removing::lost_with(asker, planned, &name, (before, with), &deleted);
        let lost = match runtime.block_on(looking) {
            Ok(lost) if lost.is_empty() => return true,
            Ok(lost) => lost.join("; "),
            Err(problem) => problem,
        };
        let putting = removing::put_manifests_back(asker, &name, batch, &deleted);
        let told = match runtime.block_on(putting) {
            Ok(()) => "they are put back, without their tags".to_owned(),
            Err(problem) => format!("they could not be put back: {problem}"),
        };
        self.fail(format!(
            "{repository}: after manifests were deleted by their digests: {lost}; {told}"
        ));
        false
    }

    /// Whether something that is kept got worse.
    fn prove_after_removal(&mut self) -> bool {
        let memory: Memory = match self.remembered(PROVEN) {
            Ok(memory) => memory.unwrap_or_default(),
            Err(problem) => {
                self.fail(problem);
                return false;
            }
        };
        let Some(kept) = self.kept.take() else {
            return false;
        };
        let proofs = self.proofs(&kept);
        let (broken, unknown) = proven::worse(&memory.proven_last(&proofs), &proofs);
        for one in &broken {
            error!(
                target: "pullproof::audit",
                storage = self.work.registry.host,
                what = "lost",
                "{one}"
            );
        }
        if let Some(first) = unknown.first().filter(|_| broken.is_empty()) {
            self.fail(format!(
                "of {} that are kept it cannot be told whether they are still there, the first: {first}",
                unknown.len()
            ));
        }
        self.report.lost.clone_from(&broken);
        !broken.is_empty()
    }

    fn put_all_back(&mut self, asker: &Asker, batches: &mut [(u32, Batch)]) {
        let first = self.report.lost.first().cloned().unwrap_or_default();
        self.fail(format!(
            "an image that is kept got worse, and all tags of this run go back: {first}"
        ));
        let why = "an image that is kept got worse";
        self.put_back_those(asker, batches, &|_| true, why);
    }
}

/// Repositories with an image of which nobody can tell whether it can be pulled.
fn doubts(proofs: &Proofs) -> BTreeMap<Box<str>, String> {
    let unknown = proofs.iter().filter_map(|(reference, found)| match found {
        Found::Unknown(problem) => Some((reference, problem)),
        Found::Proven | Found::Broken { .. } => None,
    });
    let doubts = unknown.filter_map(|(reference, problem)| {
        let parsed: Reference = reference.parse().ok()?;
        let doubt = format!("whether `{reference}` can be pulled is not known: {problem}");
        Some((Box::from(parsed.repository()), doubt))
    });
    doubts.collect()
}

/// In batches, in each of which are all tags of a manifest: they may go together.
fn packed(mut due: Vec<&Going>) -> Vec<Vec<&Going>> {
    due.sort_by_key(|it| (&it.repository, it.digest, &it.tag));
    let mut batches: Vec<Vec<&Going>> = Vec::new();
    for group in due.chunk_by(|a, b| (&a.repository, a.digest) == (&b.repository, b.digest)) {
        match batches.last_mut() {
            Some(last) if last.len() + group.len() <= BATCH => last.extend(group),
            _ => batches.push(group.to_vec()),
        }
    }
    batches
}
