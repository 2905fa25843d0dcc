//! Tags that are to go by the policies are deleted: through the gate, as everything is that takes something away.
//!
//! Content is not touched. What a tag named stays until a collection finds that nothing leads to it, and its
//! manifests are written down before.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
use crate::collection::machine::{Ending, Event, Guarded};
use crate::collection::proven::{self, Memory};
use crate::config::{RetentionMode, duration};
use crate::gc::refusal::{Code, Refusal};
use crate::retention::plan::Going;
use crate::retention::removal::{Batch, Outcome, Removed};
use crate::vault::Lock;

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
        if let Err(refusal) = self.lead() {
            self.refuse(vec![refusal]);
            return Ending::Refused;
        }
        let Event::Locked { drained_at, .. } = self.lock() else {
            return Ending::Refused;
        };
        if let Some(at) = drained_at {
            self.wait_until(at);
        }
        let found = self.look();
        let epoch = self.lock.as_ref().map_or(0, Lock::epoch);
        let decided = gate::decide(&self.facts, epoch, self.work.until.into());
        self.report.facts = self.facts.clone();
        match (decided, found) {
            (Ok(permit), Some((asker, planned, remembered))) => {
                self.report.is_permitted = true;
                self.remove_due(&permit, &asker, &planned, remembered)
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
        let proofs = self.proofs(&kept);
        self.judge(&proofs);
        let remembered = match record::read(Some(&self.vault)) {
            Ok(remembered) => remembered,
            Err(refusal) => {
                self.facts.refused(refusal);
                return None;
            }
        };
        let planned = self.planned_tags(&kept, &remembered)?;
        self.kept = Some(kept);
        let is_accepted = self.work.accepted.as_deref() == Some(&*planned.id);
        match retention::too_much(&planned, &self.work.registry) {
            Some(refusal) if !is_accepted => self.facts.refused(refusal),
            _ => self.facts.met(Code::ShareExceeded),
        }
        let after = record::with(&remembered, &planned, &self.work.registry);
        if let Err(refusal) = record::write(&self.vault, &after) {
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
        planned: &Planned,
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
        let due: Vec<&Going> = due.collect();
        let mut with: HashMap<&str, BTreeSet<&str>> = HashMap::new();
        for it in &due {
            with.entry(&it.repository).or_default().insert(&it.tag);
        }
        let mut batches: Vec<Batch> = Vec::new();
        for all in packed(due) {
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
            let remembering = removing::remember(asker, &all, &name, now);
            let mut batch = self.work.runtime.block_on(remembering);
            // Before anything goes: what is not written down could not be put back.
            remembered.batches += 1;
            let written = record::write_batch(&self.vault, remembered.batches, &batch);
            let counted = record::write(&self.vault, &remembered);
            if let Err(problem) = written.and(counted.map_err(|refusal| refusal.message)) {
                self.fail(problem);
                break;
            }
            let goes_on = self.remove(permit, asker, planned, (&all, &with), &mut batch);
            let written = record::write_batch(&self.vault, remembered.batches, &batch);
            batches.push(batch);
            if let Err(problem) = written {
                self.fail(problem);
                break;
            }
            if !goes_on {
                break;
            }
        }
        let lost = self.prove_after_removal();
        let ending = if lost {
            self.put_all_back(asker, &mut batches);
            Ending::Restored
        } else {
            Ending::Done
        };
        let removed = batches.into_iter().flat_map(|batch| batch.removed);
        self.report.removed = removed.collect();
        ending
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
            goes_on &= self.look_for_others(asker, (repository, &before, with), batch);
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

    /// A tag that was pushed in the very moment may have gone with a manifest that was deleted by its digest. It is
    /// put back at once.
    fn look_for_others(
        &mut self,
        asker: &Asker,
        (repository, before, with): (&str, &Names, &BTreeSet<&str>),
        batch: &Batch,
    ) -> bool {
        let name: Arc<str> = repository.into();
        let after = match self.work.runtime.block_on(removing::names(asker, &name)) {
            Ok(after) => after,
            Err(problem) => {
                self.fail(problem);
                return false;
            }
        };
        let lost = before.iter().filter(|(tag, _)| !with.contains(&***tag));
        let lost: Vec<_> = lost.filter(|(tag, _)| !after.contains_key(*tag)).collect();
        let mut goes_on = true;
        for (tag, digest) in lost {
            // Somebody else may have deleted it.
            let Some(like) = batch.removed.iter().find(|it| it.digest == *digest) else {
                continue;
            };
            goes_on = false;
            let removed = Removed {
                tag: Arc::clone(tag),
                ..like.clone()
            };
            let putting = removing::put_back(asker, batch, &removed);
            let told = match self.work.runtime.block_on(putting) {
                Ok(()) => "it was put back".to_owned(),
                Err(problem) => format!("it could not be put back: {problem}"),
            };
            self.fail(format!(
                "{repository}:{tag} was to stay, and went with {}, which was deleted: {told}",
                digest.short()
            ));
        }
        goes_on
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

    fn put_all_back(&mut self, asker: &Asker, batches: &mut [Batch]) {
        let first = self.report.lost.first().cloned().unwrap_or_default();
        self.fail(format!(
            "an image that is kept got worse, and all tags of this run go back: {first}"
        ));
        for batch in batches {
            let whole = batch.clone();
            for it in &mut batch.removed {
                if !it.outcome.as_ref().is_some_and(Outcome::is_deleted) {
                    continue;
                }
                let putting = removing::put_back(asker, &whole, it);
                match self.work.runtime.block_on(putting) {
                    Ok(()) => it.outcome = Some(Outcome::Restored),
                    Err(problem) => error!(
                        storage = self.work.registry.host,
                        "{}:{} could not be put back: {problem}", it.repository, it.tag
                    ),
                }
            }
        }
    }
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
