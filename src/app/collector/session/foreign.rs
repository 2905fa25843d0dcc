//! A run by somebody else's collector, which has no quarantine: the same gate, the same proofs before and after,
//! and nothing that could be put back. What is remembered of it, so that whoever comes after a crash knows.

use tracing::{info, warn};

use super::Session;
use crate::app::collector::journals::Journals;
use crate::app::collector::{Collected, Reading, Report, Work, ground, plan_only, unreadable};
use crate::app::executor::tail::Tail;
use crate::app::executor::{self, Ended, Outcome, Watch, harbor, job};
use crate::app::plan as planning;
use crate::collection::foreign::{self, Loss, Untagged};
use crate::collection::gate::Permit;
use crate::collection::item::RunId;
use crate::collection::machine::{Ending, Event, Guarded};
use crate::config::executor::Undo;
use crate::config::{Cache, Executor, Mode, ReadOnlyMode};
use crate::gc::refusal::{Code, Refusal};
use crate::gc::window::opening::OpeningId;
use crate::vault::Lock;

mod after;
mod note;
mod way;

pub use note::{By, Note};
use way::Way;

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
    pub(super) fn over(mut self, ending: Ending) -> Report {
        self.switch_back();
        self.release();
        self.give_up_lead();
        self.report.ending = Some(match ending {
            _ if self.report.failed.is_some() => Ending::Failed,
            ending => ending,
        });
        self.report()
    }

    /// Takes the lead and the lock, and waits for what went before to drain. False where somebody else has them.
    pub(super) fn is_let_in(&mut self) -> bool {
        if let Err(refusal) = self.lead() {
            self.refuse(vec![refusal]);
            return false;
        }
        let Event::Locked { drained_at, .. } = self.lock() else {
            return false;
        };
        if let Some(at) = drained_at {
            self.wait_until(at);
        }
        true
    }

    fn collected(&mut self) -> Ending {
        if !self.is_let_in() {
            return Ending::Refused;
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
        if let Err(refusal) = self.reach() {
            self.facts.refused(refusal);
        }
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
        self.look_for_vanished(plan.graph(), self.now());
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
        let of = work
            .opening
            .as_ref()
            .map_or_else(|| run.to_string(), OpeningId::to_string);
        let (by, way) = match self.prepared(&of, until) {
            Ok(prepared) => prepared,
            Err(problem) => {
                self.fail(format!("`{}`: {problem}", executor.as_str()));
                return;
            }
        };
        let mut note = Note {
            run: run.to_string(),
            mark: format!("{}/{run}/{}", work.registry.host, std::process::id()),
            since: now,
            until,
            machine: executor::command::machine(),
            undo: executor.undo().to_string(),
            by,
            has_ended: false,
        };
        let noted = self.forget_stored();
        if let Err(problem) = noted.and_then(|()| self.remember(NOTE, &note)) {
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
        let started = self.start(permit, epoch, &way, &mut note);
        let outcome = match started {
            Err(ended) => Outcome {
                ended,
                said: Tail::default(),
            },
            Ok(()) => {
                let mut may_go_on = || self.may_go_on();
                let mut watch = Watch::new(&*work.clock, &work.runtime, until, &mut may_go_on);
                match (&way, &note.by) {
                    (Way::Command(argv), _) => {
                        executor::command::run(permit, epoch, argv, &note.mark, &mut watch)
                    }
                    (Way::Job(jobs, made), _) => job::follow(jobs, &made.named, &mut watch),
                    (Way::Harbor(api), By::Harbor { id: Some(id), .. }) => {
                        harbor::follow(api, *id, &mut watch)
                    }
                    (Way::Harbor(_), _) => Outcome::unstarted("it has no number".to_owned()),
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

    /// Whether a collector may go on.
    fn may_go_on(&mut self) -> Result<(), String> {
        use std::sync::atomic::Ordering;
        if self.work.worse.load(Ordering::Relaxed) {
            return Err("an image that is kept got worse".to_owned());
        }
        match self.guard() {
            Guarded::Go => Ok(()),
            Guarded::Stop if self.closed == Some(Code::RegistryWritable) => {
                Err("the registry takes pushes".to_owned())
            }
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
}

/// What would bring back what such a collector takes, in words.
pub fn undo_words(undo: Undo) -> &'static str {
    match undo {
        Undo::Snapshot => "a snapshot of the storage, as the configuration says",
        Undo::Versioning => "the versions of the bucket, as the configuration says",
        Undo::None => "nothing",
    }
}
