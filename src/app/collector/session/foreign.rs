//! A run by somebody else's collector, which has no quarantine: the same gate, the same proofs before and after,
//! and nothing that could be put back. What is remembered of it, so that whoever comes after a crash knows.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use super::Session;
use super::gate::PROVEN;
use crate::app::collector::journals::Journals;
use crate::app::collector::{Collected, Reading, Report, Sum, Work, ground, plan_only, unreadable};
use crate::app::executor::{self, Ended, Outcome, Watch};
use crate::app::plan as planning;
use crate::collection::foreign::{self, Loss, Untagged};
use crate::collection::gate::Permit;
use crate::collection::item::RunId;
use crate::collection::machine::{Ending, Event, Guarded};
use crate::collection::proven::{self, Memory};
use crate::config::executor::Undo;
use crate::config::{Cache, Executor, Mode, ReadOnlyMode};
use crate::gc::refusal::{Code, Refusal};
use crate::vault::Lock;

/// Beside the journal: the run of a collector that is under way, or after which nothing is proven yet.
pub const NOTE: &str = "executor.json";
/// Beside the journal: what such a run lost, until it is there again.
const LOST: &str = "lost.json";
/// So much of it is remembered, and told.
const LOST_MAX: usize = 1000;

/// How it stands with somebody else's collector.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// Whether it is one that takes in this session.
    pub(super) collects: bool,
    /// Whether all was looked at that can be without asking the registry.
    pub(super) looked_over: bool,
    /// Whether one may be under way: nobody pushes meanwhile.
    pub(super) goes_on: bool,
}

/// A run of somebody else's collector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub run: String,
    /// Of all that it starts on this machine: runs of two storages may be called the same.
    pub mark: String,
    pub since: Timestamp,
    /// When it is ended by whoever started it.
    pub until: Timestamp,
    /// Which start of which machine it was started on.
    pub machine: String,
    pub undo: String,
    /// How it is found again.
    pub by: By,
    /// Whether it has ended, and what is kept is still to be proven.
    pub has_ended: bool,
}

/// How a collector is found again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum By {
    /// By the run in the environment of its processes.
    Command,
}

impl By {
    /// As the configuration has it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Command => "command",
        }
    }
}

/// One run, from the gate to the proof after it.
pub(in crate::app::collector) fn collect(work: &Work) -> Result<Report, Refusal> {
    if work.registry.gc.mode != Mode::Purge {
        return Err(plan_only(&work.registry.gc));
    }
    let mut session = begin(work)?;
    session.foreign.collects = true;
    let ending = session.collected();
    Ok(session.over(ending))
}

/// Ends what a run that died left under way, and proves what is kept. `None` where there is nothing of it.
pub(in crate::app::collector) fn tend(work: &Work) -> Result<Option<Report>, Refusal> {
    let (_, vault) = ground(&work.registries.config, &work.registry)?;
    if matches!(vault.has(NOTE), Ok(false)) {
        return Ok(None);
    }
    let mut session = begin(work)?;
    session.lock();
    let ending = if session.report.refusals.is_empty() {
        Ending::Done
    } else {
        Ending::Refused
    };
    Ok(Some(session.over(ending)))
}

fn begin(work: &Work) -> Result<Session<'_>, Refusal> {
    let (storage, vault) = ground(&work.registries.config, &work.registry)?;
    let journals = Journals::read(&vault).map_err(|error| unreadable(&error))?;
    Session::new(work, storage, vault, false, journals, true)
}

impl Session<'_> {
    fn over(mut self, ending: Ending) -> Report {
        self.switch_back();
        self.release();
        self.give_up_lead();
        self.report.ending = Some(match ending {
            _ if self.report.failed.is_some() => Ending::Failed,
            ending => ending,
        });
        self.report()
    }

    pub(super) fn release(&mut self) {
        if let Some(lock) = self.lock.take()
            && let Err(error) = lock.release()
        {
            warn!(%error, "the lock was not given back; whoever comes next waits a little");
        }
    }

    fn collected(&mut self) -> Ending {
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
        let held = self.journals.held().next().map(|(run, ..)| run);
        if let Some(run) = held {
            let message = format!(
                "the run {run} holds something in quarantine, and `{}` would take what that needs: put it back \
                 (`pullproof gc restore --all`), or purge it, first",
                self.executor().as_str()
            );
            self.refuse(vec![Refusal::new(Code::StorageUnsupported, message)]);
            return Ending::Refused;
        }
        if !self.check_gate() {
            return Ending::Refused;
        }
        self.look_over();
        match self.decide() {
            Some(permit) => self.carry_out(&permit),
            None => return Ending::Refused,
        }
        Ending::Done
    }

    pub(super) fn executor(&self) -> &Executor {
        &self.work.registry.gc.executor
    }

    /// What speaks against it in the storage, as far as that can be read.
    fn look_over(&mut self) {
        self.foreign.looked_over = true;
        // No plan of ours decides what it takes, and no canary of ours goes its way.
        self.facts.met(Code::Rehearsal);
        self.facts.met(Code::DrillStale);
        let untagged = self.untagged();
        if self.storage.is_none() {
            for code in [Code::ListingIncomplete, Code::ShareExceeded] {
                self.facts.met(code);
            }
            if untagged
                == (Untagged::Taken {
                    keeps_children: false,
                })
            {
                let message = "it deletes manifests that no tag names, and whether those of multi-arch images are \
                               among them cannot be seen without the registry's `storage`: let it be read, or say \
                               `keepsChildren: true` if it is distribution 3.0 or later";
                let refusal = Refusal::new(Code::StorageUnsupported, message);
                self.facts.refused(refusal);
            }
            return;
        }
        let Some(kept) = self.read_kept(Reading::Known) else {
            return;
        };
        let plan = match self.planned(&kept, self.work.clock.now()) {
            Ok(plan) => plan,
            Err(refusal) => {
                self.facts.refused(refusal);
                return;
            }
        };
        self.facts.met(Code::ListingIncomplete);
        let is_accepted =
            self.work.accepted.as_deref() == Some(&*plan.id(&self.work.registry.host));
        match planning::too_much(&plan, &self.work.registry) {
            Some(refusal) if !is_accepted => self.facts.refused(refusal),
            _ => self.facts.met(Code::ShareExceeded),
        }
        let endangered = foreign::endangered(plan.graph(), &kept.needed.digests, untagged);
        if let Some(first) = endangered.first() {
            let message = format!(
                "it deletes manifests that no tag of their repository names, and {} of those are kept, the first: \
                 {first}. Give each a tag, let it delete no untagged manifests, or collect with `executor: \
                 {{builtin: {{}}}}`{}",
                endangered.len(),
                match untagged {
                    Untagged::Taken {
                        keeps_children: true,
                    } => "",
                    _ =>
                        "; if it is distribution 3.0 or later, which spares what a tagged index names, say \
                          `keepsChildren: true`",
                }
            );
            let refusal = Refusal::new(Code::StorageUnsupported, message);
            self.facts.refused(refusal);
        }
        self.look_for_lost(plan.graph());
        let counts = plan.counts();
        self.report.told.push(format!(
            "the plan {} would take {} blobs, {} bytes; what `{}` takes is its own decision",
            plan.id(&self.work.registry.host),
            counts.garbage_blobs,
            counts.garbage_bytes,
            self.executor().as_str(),
        ));
        self.plan = Some(plan);
        self.kept = Some(kept);
    }

    /// What an earlier run lost has to be there again.
    fn look_for_lost(&mut self, graph: &crate::gc::graph::Graph) {
        let lost: Vec<Loss> = match self.remembered(LOST) {
            Ok(lost) => lost.unwrap_or_default(),
            Err(problem) => {
                self.facts.refused(Refusal::new(Code::ImageBroken, problem));
                return;
            }
        };
        let still: Vec<&Loss> = foreign::still_lost(graph, &lost).collect();
        if let Some(first) = still.first() {
            let message = format!(
                "an earlier run lost {} that were kept, the first: {first}; push them again, or remove \
                 pullproof/{LOST} if they are known to be lost",
                still.len()
            );
            self.facts.refused(Refusal::new(Code::ImageBroken, message));
        } else if !lost.is_empty()
            && let Err(error) = self.vault.remove(LOST)
        {
            warn!(%error, "pullproof/{LOST} cannot be removed");
        }
    }

    /// What it does with untagged manifests, as far as its words say so.
    fn untagged(&self) -> Untagged {
        match self.executor() {
            Executor::Command(command) => Untagged::of(
                command.argv.iter().map(String::as_str),
                command.keeps_children,
            ),
            Executor::Builtin | Executor::KubernetesJob(_) | Executor::Harbor(_) => Untagged::Kept,
        }
    }

    fn carry_out(&mut self, permit: &Permit) {
        let work = self.work;
        let executor = self.executor().clone();
        let now = work.clock.now();
        let deadline = executor.deadline();
        let deadline = deadline.and_then(|deadline| now.checked_add(deadline).ok());
        let until = deadline.map_or(work.until, |at| at.min(work.until));
        let epoch = self.lock.as_ref().map_or(0, Lock::epoch);
        let run = RunId {
            began: now.into(),
            epoch,
        };
        let mut note = Note {
            run: run.to_string(),
            mark: format!("{}/{run}/{}", work.registry.host, std::process::id()),
            since: now,
            until,
            machine: executor::command::machine(),
            undo: executor.undo().to_string(),
            by: By::Command,
            has_ended: false,
        };
        if let Err(problem) = self.remember(NOTE, &note) {
            self.fail(problem);
            return;
        }
        self.report.run = Some(run);
        info!(
            target: "pullproof::audit",
            storage = work.registry.host,
            %run,
            what = "collector started",
            executor = executor.as_str(),
            undo = executor.undo().as_str(),
        );
        let outcome = {
            let mut may_go_on = || self.may_go_on();
            let mut watch = Watch::new(&*work.clock, &work.runtime, until, &mut may_go_on);
            match &executor {
                Executor::Command(command) => {
                    let argv = &command.argv;
                    executor::command::run(permit, epoch, argv, &note.mark, &mut watch)
                }
                Executor::Builtin | Executor::KubernetesJob(_) | Executor::Harbor(_) => {
                    Outcome::unstarted("this version cannot start it".to_owned())
                }
            }
        };
        self.ended(&executor, outcome, &mut note);
    }

    fn ended(&mut self, executor: &Executor, outcome: Outcome, note: &mut Note) {
        let name = executor.as_str();
        let words = match &outcome.ended {
            Ended::Well => "it ended well".to_owned(),
            Ended::Badly(problem) | Ended::Unknown(problem) => problem.clone(),
        };
        info!(
            target: "pullproof::audit",
            storage = self.work.registry.host,
            run = note.run,
            what = "collector ended",
            executor = name,
            how = words,
            said_bytes = outcome.said.bytes(),
            said = outcome.said.text(),
        );
        self.report.collected = Some(Collected {
            executor: name,
            undo: executor.undo(),
            ended: words,
            said_bytes: outcome.said.bytes(),
            said: outcome.said.lines(20),
        });
        match outcome.ended {
            Ended::Well => {}
            Ended::Badly(problem) => self.fail(format!("`{name}`: {problem}")),
            Ended::Unknown(problem) => {
                self.foreign.goes_on = true;
                self.fail(format!(
                    "`{name}`: {problem}; nothing else is begun, and a registry that was made read-only stays so, \
                     until it is known to have ended"
                ));
                return;
            }
        }
        note.has_ended = true;
        if let Err(problem) = self.remember(NOTE, note) {
            self.fail(problem);
        }
        if self.work.registry.gc.read_only.mode == ReadOnlyMode::Required
            && self.work.registry.gc.cache != Cache::None
        {
            let told = "a replica's cache may still believe in what is gone: restart each before it takes pushes \
                        again, or say `settle: {cache: none}` if it has none";
            self.report.told.push(told.to_owned());
        }
        self.prove_after(note);
    }

    /// All that could be pulled before is proven again, and what was stored and is kept has to be there.
    fn prove_after(&mut self, note: &Note) {
        let memory: Memory = match self.remembered(PROVEN) {
            Ok(memory) => memory.unwrap_or_default(),
            Err(problem) => {
                self.fail(problem);
                return;
            }
        };
        let before = self.kept.take();
        let Some(kept) = self.read_kept(Reading::Known) else {
            self.fail(
                "what was kept is not proven again yet: the sources cannot be read".to_owned(),
            );
            return;
        };
        let proofs = self.proofs(&kept);
        let (broken, mut unknown) = proven::worse(&memory.proven_last(&proofs), &proofs);
        let mut lost = Vec::new();
        if self.storage.is_some() {
            match self.planned(&kept, self.work.clock.now()) {
                Ok(after) => {
                    if let (Some(plan), Some(before)) = (&self.plan, &before) {
                        let needed = &before.needed.digests;
                        lost = foreign::lost(plan.graph(), after.graph(), needed);
                        let (blobs, bytes) = foreign::freed(plan.graph(), after.graph());
                        self.report.purged = Sum {
                            items: blobs,
                            blobs,
                            bytes,
                        };
                    }
                }
                Err(refusal) => unknown.push(refusal.to_string()),
            }
        }
        self.tell_losses(note, broken, lost);
        if self.report.lost.is_empty()
            && let Some(first) = unknown.first()
        {
            self.fail(format!(
                "of {} that were kept it cannot be told whether they are still there, the first: {first}; the next \
                 session looks again",
                unknown.len()
            ));
            return;
        }
        if let Err(error) = self.vault.remove(NOTE) {
            self.fail(format!("pullproof/{NOTE} cannot be removed: {error}"));
        }
    }

    fn tell_losses(&mut self, note: &Note, broken: Vec<String>, mut lost: Vec<Loss>) {
        let count = broken.len() + lost.len();
        let mut all = broken;
        all.extend(lost.iter().map(Loss::to_string));
        all.truncate(LOST_MAX);
        for one in &all {
            error!(
                target: "pullproof::audit",
                storage = self.work.registry.host,
                run = note.run,
                what = "lost",
                executor = note.by.as_str(),
                undo = note.undo,
                "{one}"
            );
        }
        let Some(first) = all.first() else {
            return;
        };
        let way_back = match &*note.undo {
            "snapshot" => "take it from the snapshot of the storage",
            "versioning" => "take it from the versions of the bucket",
            _ => "push it again: nothing else brings it back",
        };
        let told = format!(
            "{count} that were there before `{}` are gone, the first: {first}; {way_back}",
            note.by.as_str()
        );
        self.report.lost = all;
        // Before what went wrong by it.
        self.report.failed = None;
        self.fail(told);
        lost.truncate(LOST_MAX);
        if !lost.is_empty()
            && let Err(problem) = self.remember(LOST, &lost)
        {
            self.fail(problem);
        }
    }

    /// Whether a collector may go on.
    fn may_go_on(&mut self) -> Result<(), String> {
        use std::sync::atomic::Ordering;
        if self.work.worse.load(Ordering::Relaxed) {
            return Err("an image that is kept got worse".to_owned());
        }
        match self.guard() {
            Guarded::Go => Ok(()),
            Guarded::Stop if self.takes_pushes => Err("the registry takes pushes".to_owned()),
            Guarded::Stop => {
                Err("it was told to stop, by a signal, `gc stop` or `gc pause`".to_owned())
            }
            Guarded::Lost => Err("the lock or the Lease is not ours any more".to_owned()),
        }
    }

    /// Ends what a run that died left, and proves what is kept. Whether nothing speaks against going on: of a
    /// collector that was cut off is told first, and this session does nothing else.
    pub(super) fn is_left_alone(&mut self) -> bool {
        let mut note: Note = match self.remembered(NOTE) {
            Ok(None) => return true,
            Ok(Some(note)) => note,
            Err(problem) => {
                self.foreign.goes_on = true;
                self.fail(format!(
                    "{problem}: whether a collector is under way is not known; see to it, and remove the file"
                ));
                return false;
            }
        };
        if !note.has_ended {
            let told = format!(
                "`{}` was cut off: the run {} that started it at {:.0} did not end",
                note.by.as_str(),
                note.run,
                note.since
            );
            self.fail(told);
            if let Err(problem) = self.end_left_over(&note) {
                self.foreign.goes_on = true;
                self.refuse(vec![Refusal::new(Code::NotLeader, problem)]);
                return false;
            }
            note.has_ended = true;
            if let Err(problem) = self.remember(NOTE, &note) {
                self.fail(problem);
            }
        }
        self.prove_after(&note);
        self.report.failed.is_none()
    }

    fn end_left_over(&mut self, note: &Note) -> Result<(), String> {
        match note.by {
            By::Command if note.machine == executor::command::machine() => {
                let ended = executor::command::end(&note.mark, &self.work.runtime)?;
                warn!(ended, "processes of a run that did not end were ended");
                Ok(())
            }
            // What another machine runs cannot be seen from here.
            By::Command if self.work.clock.now() < note.until => Err(format!(
                "it may still run on another machine, until {:.0}: wait for that, or see to it there and remove \
                 pullproof/{NOTE}",
                note.until
            )),
            By::Command => Ok(()),
        }
    }
}

/// What would bring back what such a collector takes, in words.
pub fn undo_words(undo: Undo) -> &'static str {
    match undo {
        Undo::Snapshot => "a snapshot of the storage, as the configuration says",
        Undo::Versioning => "the versions of the bucket, as the configuration says",
        Undo::None => "nothing",
    }
}
