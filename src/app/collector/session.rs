//! Each effect of the machine, carried out.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::{error, info, warn};

use super::journals::Journals;
use super::{Report, Work};
use crate::app::plan::Kept;
use crate::collection::gate::{Facts, Permit};
use crate::collection::item::{Item, ItemId, RunId};
use crate::collection::machine::{Effect, Event, Guarded};
use crate::collection::proven::Memory;
use crate::collection::run::{Entry, Outcome};
use crate::collection::select::Selection;
use crate::gc::plan::Plan;
use crate::gc::refusal::{Code, Refusal};
use crate::prover::Prover;
use crate::second::Second;
use crate::storage::Storage;
use crate::vault::{Lock, LockError, Moved, Vault};

mod gate;
mod listing;
mod proving;

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
    /// When the listing began from which it was selected.
    listed_at: Second,
    /// What of it stays all the same.
    spared: BTreeSet<ItemId>,
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
            listed_at: work.clock.now().into(),
            spared: BTreeSet::new(),
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
            Effect::Take(run, items, permit) => self.take(run, &items, &permit),
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

    /// All but what is spared, which is where it was.
    fn take(&mut self, run: RunId, ids: &[ItemId], permit: &Permit) -> Event {
        let is_spared = |id: &ItemId| self.spared.contains(id);
        let (spared, taken): (Vec<ItemId>, Vec<ItemId>) = ids.iter().partition(|id| is_spared(id));
        let event = self.moved(run, &taken, Outcome::Held, |vault, lock, items, now| {
            vault.take(lock, run, items, permit, now)
        });
        let Event::Moved {
            outcomes,
            has_failed,
        } = event
        else {
            return event;
        };
        let mut outcomes = outcomes.into_iter();
        let of_each = ids.iter().map_while(|id| {
            if spared.contains(id) {
                Some(Outcome::Live)
            } else {
                outcomes.next()
            }
        });
        Event::Moved {
            outcomes: of_each.collect(),
            has_failed,
        }
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
}
