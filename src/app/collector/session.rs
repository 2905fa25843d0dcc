//! Each effect of the machine, carried out.

use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    BTreeMap, BTreeSet, Code, Duration, Event, Journals, Kept, Lock, LockError, Ordering, Refusal,
    Report, RunId, Second, Storage, Timestamp, Vault, Work, error, info, json, planning, proof,
    warn,
};
use crate::collection::gate::{self, Facts, Permit};
use crate::collection::item::{Item, ItemId};
use crate::collection::machine::{Effect, Guarded, Listed};
use crate::collection::proven::{self, Memory, Proofs};
use crate::collection::rehearsed::Rehearsed;
use crate::collection::run::{Entry, Outcome, Proof, Why};
use crate::collection::select::{self, Limits, Selection};
use crate::config::Cache;
use crate::config::endpoint::Endpoint;
use crate::gc::plan::{Garbage, Plan};
use crate::oci::digest::Digest;
use crate::prover::Prover;
use crate::storage::Progress;
use crate::vault::filesystem::Moved;

/// Beside the journal: what was ever proven.
const PROVEN: &str = "proven.json";
/// And since when each thing was planned.
const PLANNED: &str = "planned.json";

/// What a session has and knows.
pub(super) struct Session<'a> {
    work: &'a Work,
    storage: Storage,
    vault: Vault,
    journals: Journals,
    lock: Option<Lock>,
    facts: Facts,
    memory: Memory,
    kept: Option<Kept>,
    plan: Option<Plan>,
    selection: Selection,
    /// One for each replica, once something was to be asked for.
    askers: Vec<Option<Prover>>,
    report: Report,
}

impl<'a> Session<'a> {
    pub(super) fn new(work: &'a Work, storage: Storage, vault: Vault, journals: Journals) -> Self {
        Self {
            work,
            storage,
            vault,
            journals,
            lock: None,
            facts: Facts::default(),
            memory: Memory::default(),
            kept: None,
            plan: None,
            selection: Selection::default(),
            askers: Vec::new(),
            report: Report::default(),
        }
    }

    pub(super) fn now(&self) -> Second {
        self.work.clock.now().into()
    }

    pub(super) fn report(self) -> Report {
        self.report
    }

    /// Does it, and says what came of it; `None` when it was the end. What else happened comes besides.
    pub(super) fn perform(&mut self, effect: Effect) -> (Option<Event>, Vec<Event>) {
        let mut others = Vec::new();
        let event = match effect {
            Effect::Lock => self.lock(),
            Effect::WaitUntil(until) => {
                self.wait_until(until);
                Event::Waited
            }
            Effect::Look(run, items) => {
                let moved = self.vault.look(run, &self.journals.items(run, &items));
                Event::Looked(self.told(moved).0)
            }
            Effect::Write(run, entry) => self.write(run, &entry),
            Effect::CheckGate => Event::Gate(self.check_gate()),
            Effect::List => match self.list() {
                Ok(listed) => Event::Listed(listed),
                Err(refusal) => {
                    self.refuse(vec![refusal]);
                    Event::NotListed
                }
            },
            Effect::Decide => Event::Decided(self.decide()),
            Effect::Confirm => Event::Confirmed(self.confirm()),
            Effect::Guard => Event::Guarded(self.guard()),
            Effect::Take(run, items, permit) => {
                self.moved(run, &items, Outcome::Held, |vault, lock, items, now| {
                    vault.take(lock, run, items, &permit, now)
                })
            }
            Effect::Purge(run, items, permit) => {
                self.moved(run, &items, Outcome::Gone, |vault, lock, items, now| {
                    vault.purge(lock, run, items, &permit, now)
                })
            }
            Effect::PutBack(run, items) => {
                self.moved(run, &items, Outcome::Live, |vault, _, items, _| {
                    vault.put_back(run, items)
                })
            }
            Effect::Ask(run, items) => Event::Asked(self.ask(run, &items)),
            Effect::Prove => {
                let (proof, wanted) = self.prove();
                others.extend(wanted);
                Event::Proven(proof)
            }
            Effect::Watch => self.watch(),
            Effect::Unlock => {
                if let Some(lock) = self.lock.take()
                    && let Err(error) = lock.release()
                {
                    warn!(%error, "the storage's lock was not given back; whoever comes next waits a little");
                }
                Event::Unlocked
            }
            Effect::Done(ending) => {
                self.report.ending = Some(ending);
                info!(
                    storage = self.work.registry.host,
                    ?ending,
                    "the collection's session ended"
                );
                return (None, others);
            }
        };
        (Some(event), others)
    }

    fn lock(&mut self) -> Event {
        let holder = format!("process {}", std::process::id());
        match self.vault.lock(&holder, self.now()) {
            Ok(lock) => {
                // Whatever was written before the lock was ours was another's.
                match Journals::read(&self.vault) {
                    Ok(journals) if journals.runs() == self.journals.runs() => {}
                    Ok(_) => {
                        let message = "another process has just collected this storage; try again";
                        self.refuse(vec![Refusal::new(Code::NotLeader, message)]);
                        return Event::NotLocked;
                    }
                    Err(error) => {
                        self.refuse(vec![super::unreadable(&error)]);
                        return Event::NotLocked;
                    }
                }
                let event = Event::Locked {
                    epoch: lock.epoch(),
                    drained_at: lock.drained_at(),
                };
                self.lock = Some(lock);
                if let Err(error) = self.vault.clear_drill() {
                    warn!(%error, "the canary of a drill that was cut off cannot be removed");
                }
                // It was for whoever had the lock before.
                if let Err(error) = self.vault.remove("stop") {
                    warn!(%error, "pullproof/stop cannot be removed: this stops before its first batch");
                }
                event
            }
            Err(error) => {
                let message = match &error {
                    LockError::Held(_) => format!("{error}: wait for it, or stop it"),
                    LockError::Io(_) | LockError::Damaged(_) => error.to_string(),
                };
                self.refuse(vec![Refusal::new(Code::NotLeader, message)]);
                Event::NotLocked
            }
        }
    }

    fn wait_until(&self, until: Second) {
        while self.now() < until && !self.work.stop.load(Ordering::Relaxed) {
            let moment = tokio::time::sleep(Duration::from_millis(200));
            self.work.runtime.block_on(moment);
        }
    }

    fn write(&mut self, run: RunId, entry: &Entry) -> Event {
        let epoch = self.lock.as_ref().map_or(0, Lock::epoch);
        let now = self.now();
        if *entry == Entry::Began {
            let about = self.about();
            self.report.run = Some(run);
            self.journals.begin(run, &self.selection.items, about);
        }
        match self.journals.write(&self.vault, run, entry, now, epoch) {
            Ok(()) => {
                if *entry == Entry::Ended
                    && let Err(error) = self.vault.prune(run)
                {
                    warn!(%run, %error, "empty directories of its quarantine stay");
                }
                Event::Written
            }
            Err(error) => {
                self.fail(format!("the journal of {run} cannot be written: {error}"));
                Event::NotWritten
            }
        }
    }

    /// With what a run goes.
    fn about(&self) -> serde_json::Value {
        let gc = &self.work.registry.gc;
        let plan = self.plan.as_ref();
        json!({
            "storage": self.work.registry.host,
            "version": env!("CARGO_PKG_VERSION"),
            "plan": plan.map(|plan| plan.id(&self.work.registry.host)),
            "keepset": self.kept.as_ref().map(|kept| kept.set.hash("").to_string()),
            "quarantine_for_seconds": gc.quarantine_for.as_secs(),
            "longest_request_seconds": gc.longest_request.as_secs(),
            "cache": gc.cache.as_str(),
            "proven": self.memory.proven.len(),
        })
    }

    fn refuse(&mut self, refusals: Vec<Refusal>) {
        for refusal in refusals {
            if !self.report.refusals.contains(&refusal) {
                warn!(storage = self.work.registry.host, "refused: {refusal}");
                self.report.refusals.push(refusal);
            }
        }
    }

    fn fail(&mut self, problem: String) {
        error!(storage = self.work.registry.host, "{problem}");
        self.report.failed.get_or_insert(problem);
    }

    fn told(&mut self, moved: Moved) -> (Vec<Outcome>, bool) {
        let has_failed = moved.failed.is_some();
        if let Some(error) = moved.failed {
            self.fail(error.to_string());
        }
        (moved.outcomes, has_failed)
    }

    fn moved(
        &mut self,
        run: RunId,
        ids: &[ItemId],
        wanted: Outcome,
        act: impl FnOnce(&Vault, &Lock, &[Item], Second) -> Moved,
    ) -> Event {
        let items = self.journals.items(run, ids);
        let now = self.now();
        let Some(lock) = &self.lock else {
            return Event::Moved {
                outcomes: Vec::new(),
                has_failed: true,
            };
        };
        let moved = act(&self.vault, lock, &items, now);
        let sum = match wanted {
            Outcome::Held => &mut self.report.taken,
            Outcome::Gone => &mut self.report.purged,
            Outcome::Live | Outcome::Unknown => &mut self.report.restored,
        };
        for (item, outcome) in items.iter().zip(&moved.outcomes) {
            if *outcome == wanted {
                sum.items += 1;
                sum.bytes = sum.bytes.saturating_add(item.bytes);
                info!(
                    target: "pullproof::audit",
                    storage = self.work.registry.host,
                    %run,
                    what = match wanted {
                        Outcome::Held => "quarantined",
                        Outcome::Gone => "purged",
                        Outcome::Live | Outcome::Unknown => "restored",
                    },
                    path = item.path(),
                    bytes = item.bytes,
                    why = item.reason,
                );
            }
        }
        let (outcomes, has_failed) = self.told(moved);
        Event::Moved {
            outcomes,
            has_failed,
        }
    }

    /// What can be told before anything is listed.
    fn check_gate(&mut self) -> bool {
        self.facts = Facts::default();
        self.standing_facts();
        let refusals = self.facts.refusals();
        let is_open = refusals.is_empty();
        self.refuse(refusals);
        is_open
    }

    fn standing_facts(&mut self) {
        let gc = &self.work.registry.gc;
        let facts = &mut self.facts;
        // Told before a session begins, and by the lock that it holds.
        for code in [
            Code::PlanOnly,
            Code::WindowClosed,
            Code::StorageUnsupported,
            Code::NotLeader,
            Code::RegistryWritable,
        ] {
            facts.met(code);
        }
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
        let replicas = replicas(self.work);
        facts.check(
            Code::ReplicasUnknown,
            if replicas.is_empty() {
                Err(
                    "nobody said how many replicas the registry has: write `single: true`, or name each under \
                     `replicaEndpoints`"
                        .to_owned(),
                )
            } else {
                Ok(())
            },
        );
        let left = self.work.until.duration_since(self.work.clock.now());
        facts.check(
            Code::WindowShort,
            if left.as_secs() > 0 {
                Ok(())
            } else {
                Err("the window ends now".to_owned())
            },
        );
        // A fact against a declaration closes it until the declaration is another.
        let unsettled = self.vault.read("unsettled");
        let declared = gc.cache.as_str();
        facts.check(
            Code::CacheUnsettled,
            match unsettled {
                Ok(None) => Ok(()),
                Ok(Some(text)) if text != declared.as_bytes() => Ok(()),
                Ok(Some(_)) => Err(format!(
                    "`gc.cache` says {declared}, and a replica answered for what was taken: write what \
                     is so, or remove pullproof/unsettled"
                )),
                Err(error) => Err(format!("pullproof/unsettled cannot be read: {error}")),
            },
        );
    }

    /// Everything once, live and in quarantine, and what would go of it.
    fn list(&mut self) -> Result<Listed, Refusal> {
        let kept = self.read_kept().ok_or_else(|| {
            let message = "what must stay is not known";
            Refusal::new(Code::InventoryIncomplete, message)
        })?;
        let now = self.work.clock.now();
        let plan = self.planned(&kept, now)?;
        let gc = &self.work.registry.gc;
        let counts = plan.counts();
        let rehearsed = self.rehearsed(&plan, now)?;
        let percent = gc.max_collect_percent / 100.0;
        let takes_manifests = gc.cache != Cache::Unknown;
        let limits = Limits {
            blobs: portion(counts.blobs as u64, percent)
                .try_into()
                .unwrap_or(usize::MAX),
            bytes: portion(counts.bytes, percent).min(gc.max_collect_bytes.unwrap_or(u64::MAX)),
            is_rehearsed: &|row: &Garbage<'_>| {
                rehearsed.has(row, gc.rehearsal, self.work.clock.now())
            },
            takes_manifests,
            takes_unlinked: gc.cache == Cache::None,
        };
        let all = select::select(&plan, &limits);
        // What is in quarantine already would go, and so it stays there; what would not is wanted.
        let wanted = self.wanted_by(&plan);
        let held: BTreeSet<String> = self
            .journals
            .held()
            .map(|(_, _, item)| item.path())
            .collect();
        self.selection = without(all, &|item| held.contains(&item.path()));
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

    /// Since when each row was in every plan, this one included.
    fn rehearsed(&self, plan: &Plan, now: Timestamp) -> Result<Rehearsed, Refusal> {
        let refused = |problem: String| {
            let message = format!(
                "{problem}: what was planned before is not known; put it right, or remove the file and wait for \
                 `gc.rehearsal` again"
            );
            Refusal::new(Code::Rehearsal, message)
        };
        let before: Option<Rehearsed> = self.remembered(PLANNED).map_err(refused)?;
        let after = before.unwrap_or_default().with(plan.garbage(), now.into());
        self.remember(PLANNED, &after).map_err(refused)?;
        Ok(after)
    }

    fn planned(&self, kept: &Kept, now: Timestamp) -> Result<Plan, Refusal> {
        let held = self.journals.held();
        let held: Vec<(RunId, Item)> = held.map(|(run, _, item)| (run, item.clone())).collect();
        let read_held = |run: RunId, digest: &Digest| self.vault.read_held(run, digest);
        planning::plan_with(
            &self.storage,
            &self.work.registry,
            &kept.needed,
            &planning::Held {
                items: &held,
                read: &read_held,
            },
            now,
            &Progress::default(),
        )
    }

    fn read_kept(&mut self) -> Option<Kept> {
        match (self.work.read_kept)() {
            Ok(Ok(kept)) => {
                for code in [
                    Code::InventoryIncomplete,
                    Code::InventoryShrunk,
                    Code::LedgerMissing,
                ] {
                    self.facts.met(code);
                }
                for refusal in &kept.refusals {
                    self.facts.refused(refusal.clone());
                }
                Some(kept)
            }
            Ok(Err(refusals)) => {
                for refusal in &refusals {
                    self.facts.refused(refusal.clone());
                }
                self.refuse(refusals);
                None
            }
            Err(error) => {
                let message = format!("the sources cannot be read: {error:#}");
                let refusal = Refusal::new(Code::InventoryIncomplete, message);
                self.facts.refused(refusal.clone());
                self.refuse(vec![refusal]);
                None
            }
        }
    }

    /// The gate, by an inventory that is read after the listing, and by proofs of now.
    fn decide(&mut self) -> Option<Permit> {
        let selected = std::mem::take(&mut self.facts);
        for code in [
            Code::ListingIncomplete,
            Code::ShareExceeded,
            Code::Rehearsal,
        ] {
            if selected.is_met(code) == Some(true) {
                self.facts.met(code);
            }
        }
        for refusal in selected.refusals() {
            self.facts.refused(refusal);
        }
        self.standing_facts();
        let kept = self.read_kept();
        if let (Some(kept), Some(before)) = (&kept, &self.kept) {
            // What came since must not be among what goes.
            let taken: BTreeSet<Digest> = self.selection.items.iter().map(|it| it.digest).collect();
            let new = kept.needed.digests.iter().find(|digest| {
                before.needed.digests.binary_search(digest).is_err() && taken.contains(digest)
            });
            if let Some(digest) = new {
                let message = format!("{digest} has come into use since the listing; try again");
                self.facts.refused(Refusal::new(Code::ProofStale, message));
            }
        }
        if let Some(kept) = kept {
            let proofs = self.proofs(&kept);
            self.judge(&proofs);
            self.kept = Some(kept);
        }
        self.drill();
        let epoch = self.lock.as_ref().map_or(0, Lock::epoch);
        match gate::decide(&self.facts, epoch, self.work.until.into()) {
            Ok(permit) => Some(permit),
            Err(refusals) => {
                self.refuse(refusals);
                None
            }
        }
    }

    fn proofs(&self, kept: &Kept) -> Proofs {
        let plan = self.plan.as_ref();
        let stored = |digest: &Digest| {
            plan.is_some_and(|plan| {
                let graph = plan.graph();
                graph
                    .find(digest)
                    .is_some_and(|id| graph.object(id).size().is_some())
            })
        };
        let references = proof::references(&kept.set, &self.work.registry, &stored);
        let (proofs, _) = self.work.runtime.block_on(proof::prove(
            &self.work.registries,
            &self.work.registry.host,
            &references,
            &self.work.clock,
        ));
        proofs
    }

    /// What the proofs say to the gate, and what is remembered of them.
    fn judge(&mut self, proofs: &Proofs) {
        self.memory = match self.remembered(PROVEN) {
            Ok(memory) => memory.unwrap_or_default(),
            Err(problem) => {
                let message = format!("{problem}, and with it goes what was ever proven");
                self.facts.refused(Refusal::new(Code::ProofStale, message));
                return;
            }
        };
        let is_acknowledged = |reference: &str| self.work.is_acknowledged(reference);
        let judged = proven::judge(proofs, &self.memory, &is_acknowledged);
        for code in [Code::ImageBroken, Code::ImageUnknown, Code::ProofStale] {
            self.facts.met(code);
        }
        for refusal in judged.refusals {
            self.facts.refused(refusal);
        }
        for told in judged.told {
            warn!(
                storage = self.work.registry.host,
                "it closes nothing: {told}"
            );
            self.report.told.push(told);
        }
        self.memory.take(proofs, self.now());
        if let Err(problem) = self.remember(PROVEN, &self.memory) {
            self.facts.refused(Refusal::new(Code::ProofStale, problem));
        }
    }

    /// What a file of ours beside the journal says; `None` where there is none.
    fn remembered<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, String> {
        let problem = |error: &dyn Display| format!("pullproof/{name} cannot be read: {error}");
        let text = self.vault.read(name).map_err(|error| problem(&error))?;
        let parsed = text.map(|text| serde_json::from_slice(&text));
        parsed.transpose().map_err(|error| problem(&error))
    }

    fn remember<T: Serialize>(&self, name: &str, what: &T) -> Result<(), String> {
        let text = serde_json::to_vec(what).expect("it is text and numbers");
        let written = self.vault.write(name, &text);
        written.map_err(|error| format!("pullproof/{name} cannot be written: {error}"))
    }

    /// A canary goes the way of all that is taken, and comes back.
    fn drill(&mut self) {
        let drilled = self.vault.drill(self.now());
        self.facts.check(
            Code::DrillStale,
            drilled.map_err(|error| {
                format!("a canary was to be moved and put back as what is garbage is, and: {error}")
            }),
        );
    }

    /// A second listing says the same of what is old.
    fn confirm(&mut self) -> bool {
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
        let goes = planned_paths(&second);
        let changed = self
            .selection
            .items
            .iter()
            .find(|item| !goes.contains(&item.path()));
        let lost = first.graph().objects().find(|(_, object)| {
            let there = second.graph().find(&object.digest);
            object.size().is_some()
                && there.is_none_or(|id| second.graph().object(id).size().is_none())
        });
        let problem = match (changed, lost) {
            (None, None) => return true,
            (Some(item), _) => format!(
                "{} would go, and by a second listing it would not",
                item.path()
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

    fn guard(&mut self) -> Guarded {
        let now = self.now();
        let is_ours = match &mut self.lock {
            Some(lock) => lock.renew(&self.vault, now),
            None => Ok(false),
        };
        match is_ours {
            Ok(true) => {}
            Ok(false) => {
                self.fail("the storage's lock is not ours any more".to_owned());
                return Guarded::Lost;
            }
            Err(error) => {
                self.fail(format!("whether the lock is ours cannot be told: {error}"));
                return Guarded::Lost;
            }
        }
        let is_over = self.work.clock.now() >= self.work.until;
        let is_stopped = self.work.stop.load(Ordering::Relaxed);
        // A mark that cannot be looked for may be there.
        let is_marked = ["stop", "pause"]
            .iter()
            .any(|mark| self.vault.has(mark).unwrap_or(true));
        if is_over || is_stopped || is_marked {
            return Guarded::Stop;
        }
        Guarded::Go
    }

    /// Whether some replica still answers for each.
    fn ask(&mut self, run: RunId, ids: &[ItemId]) -> Vec<bool> {
        let items = self.journals.items(run, ids);
        if self.askers.is_empty() {
            self.askers = self.askers();
        }
        let mut believed = vec![false; items.len()];
        for asker in &self.askers {
            let found = self
                .work
                .runtime
                .block_on(proof::believed(asker.as_ref(), &items));
            for (believed, found) in believed.iter_mut().zip(found) {
                *believed |= found;
            }
        }
        let count = believed.iter().filter(|it| **it).count();
        if count > 0 {
            warn!(
                storage = self.work.registry.host,
                count, "a replica still answers for what was taken; it goes back (cache_unsettled)"
            );
            self.report.left.unsettled += count;
            if self.work.registry.gc.cache == Cache::None {
                let declared = Cache::None.as_str();
                if let Err(error) = self.vault.write("unsettled", declared.as_bytes()) {
                    self.fail(format!("pullproof/unsettled cannot be written: {error}"));
                }
            }
        }
        believed
    }

    /// Whoever asks each replica; `None` for one that cannot be asked.
    fn askers(&self) -> Vec<Option<Prover>> {
        let kept = self.kept.as_ref();
        let all = kept.map(|kept| proof::references(&kept.set, &self.work.registry, &|_| false));
        // By one round it is known as whom to ask.
        let one: BTreeSet<String> = all.unwrap_or_default().into_iter().take(1).collect();
        let replicas = replicas(self.work).into_iter();
        let asker = |replica| {
            self.work.runtime.block_on(proof::asker(
                &self.work.registries,
                &self.work.registry.host,
                replica,
                &one,
                &self.work.clock,
            ))
        };
        replicas.map(asker).collect()
    }

    /// Everything that was proven before is proven again, and what new links want is told.
    fn prove(&mut self) -> (Proof, Vec<Event>) {
        let memory: Memory = match self.remembered(PROVEN) {
            Ok(memory) => memory.unwrap_or_default(),
            Err(problem) => {
                self.fail(problem);
                return (Proof::Unknown, Vec::new());
            }
        };
        let Some(kept) = self.read_kept() else {
            return (Proof::Unknown, Vec::new());
        };
        let proofs = self.proofs(&kept);
        let before = memory.proven_last(&proofs);
        let (broken, unknown) = proven::worse(&before, &proofs);
        let wanted = match self.planned(&kept, self.work.clock.now()) {
            Ok(plan) => self.wanted_by(&plan),
            Err(refusal) => {
                warn!(
                    storage = self.work.registry.host,
                    "after the quarantine: {refusal}"
                );
                return (Proof::Unknown, Vec::new());
            }
        };
        let events = wanted
            .into_iter()
            .map(|(run, items)| Event::Wanted(run, Why::Wanted, Some(items)));
        let proof = if let Some(first) = broken.first() {
            self.fail(format!(
                "{} that could be pulled before cannot be now, the first: {first}; everything goes back",
                broken.len()
            ));
            Proof::Worse
        } else if let Some(first) = unknown.first() {
            warn!(
                storage = self.work.registry.host,
                "it cannot be told of everything: {first}"
            );
            Proof::Unknown
        } else {
            Proof::Clean
        };
        (proof, events.collect())
    }

    fn wanted_by(&self, plan: &Plan) -> BTreeMap<RunId, Vec<ItemId>> {
        let goes = planned_paths(plan);
        let mut wanted: BTreeMap<RunId, Vec<ItemId>> = BTreeMap::new();
        for (run, id, item) in self.journals.held() {
            if !goes.contains(&item.path()) {
                wanted.entry(run).or_default().push(id);
            }
        }
        wanted
    }

    fn watch(&mut self) -> Event {
        let every = self.work.registry.gc.watch_every;
        let until = self
            .work
            .clock
            .now()
            .saturating_add(every)
            .unwrap_or(self.work.until);
        self.wait_until(until.into());
        if self.work.stop.load(Ordering::Relaxed) {
            return Event::NotWatched;
        }
        let Some(kept) = self.read_kept() else {
            return Event::NotWatched;
        };
        match self.planned(&kept, self.work.clock.now()) {
            Ok(plan) => Event::Watched(self.wanted_by(&plan)),
            Err(refusal) => {
                warn!(
                    storage = self.work.registry.host,
                    "new links cannot be looked at: {refusal}"
                );
                Event::NotWatched
            }
        }
    }
}

/// Where each replica is asked; none where nobody said how many there are.
fn replicas(work: &Work) -> Vec<Endpoint> {
    let registry = &work.registry;
    if !registry.replica_endpoints.is_empty() {
        return registry.replica_endpoints.clone();
    }
    if registry.single || registry.endpoint.is_loopback() {
        return vec![registry.endpoint.clone()];
    }
    Vec::new()
}

/// The paths of all that would go.
fn planned_paths(plan: &Plan) -> BTreeSet<String> {
    let limits = Limits {
        blobs: usize::MAX,
        bytes: u64::MAX,
        is_rehearsed: &|_| true,
        takes_manifests: true,
        takes_unlinked: true,
    };
    let all = select::select(plan, &limits);
    all.items.iter().map(Item::path).collect()
}

/// The selection without some items, and with the others' numbers.
fn without(all: Selection, is_left_out: &dyn Fn(&Item) -> bool) -> Selection {
    let stays: Vec<bool> = all.items.iter().map(|item| !is_left_out(item)).collect();
    let mut next = 0;
    let numbers: Vec<Option<ItemId>> = stays
        .iter()
        .map(|stays| {
            stays.then(|| {
                let number = ItemId(next);
                next += 1;
                number
            })
        })
        .collect();
    let number = |id: ItemId| numbers.get(id.index()).copied().flatten();
    let pairs = all.items.into_iter().zip(all.needs).zip(&stays);
    let (items, needs) = pairs
        .filter(|(_, stays)| **stays)
        .map(|((item, needs), _)| (item, needs.into_iter().filter_map(number).collect()))
        .unzip();
    Selection {
        items,
        needs,
        left: all.left,
    }
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
