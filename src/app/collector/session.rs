//! Each effect of the machine, carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::{error, info, warn};

use self::pacing::Pacing;
use super::asked::{self, Asked, Wanted};
use super::copied::Copied;
use super::journals::Journals;
use super::lease::Lease;
use super::readonly::Note;
use super::{Report, Standing, Work, conflicts, memory, unmarked};
use crate::app::plan::Kept;
use crate::collection::gate::{Facts, Permit};
use crate::collection::item::{Item, ItemId, RunId};
use crate::collection::machine::{Effect, Ending, Event, Guarded};
use crate::collection::pace::Besides;
use crate::collection::proven::Memory;
use crate::collection::run::{Entry, Outcome, Run};
use crate::collection::select::Selection;
use crate::config::{PurgeBy, ReadOnlyMode};
use crate::gc::graph::Graph;
use crate::gc::plan::Plan;
use crate::gc::refusal::{Code, Refusal};
use crate::gc::window::opening::OpeningId;
use crate::prover::Prover;
use crate::second::Second;
use crate::storage::Storage;
use crate::vault::{Lock, LockError, Moved, Vault};

mod cluster;
pub mod foreign;
mod forgetting;
pub(super) mod gate;
mod listing;
mod pacing;
mod proving;
pub mod retention;
mod vanished;

pub(super) use gate::standing;
pub(super) use vanished::told as vanished;

/// Beside the journal: what references led to.
const COPIED: &str = "ledger.json";
/// When the last listing began that a collection went by.
pub(super) const MARKED: &str = "marked.json";
/// And of which opening the last run was that began by itself.
const OPENING: &str = "opening";

/// What a session has and knows.
pub(super) struct Session<'a> {
    work: &'a Work,
    /// `None` where somebody else collects what cannot be read from here.
    storage: Option<Storage>,
    vault: Vault,
    /// Whether what is due is purged.
    purges: bool,
    journals: Journals,
    lock: Option<Lock>,
    /// Whether it takes the Lease, where there is one.
    leads: bool,
    lease: Option<Lease>,
    /// What is to be made writable again.
    switched: Option<Note>,
    /// Why a batch was not begun: the registry takes pushes, or another collector may be at work.
    closed: Option<Code>,
    foreign: foreign::Standing,
    facts: Facts,
    memory: Memory,
    kept: Option<Kept>,
    plan: Option<Plan>,
    /// What a plan of tags was made of.
    tags: Option<Arc<Graph>>,
    selection: Selection,
    /// When the listing began from which it was selected.
    listed_at: Second,
    /// What of it stays all the same.
    spared: BTreeSet<ItemId>,
    /// How fast it goes.
    pacing: Pacing,
    besides: Besides,
    /// One for each replica, by its address, once something was to be asked for.
    askers: BTreeMap<String, Option<Prover>>,
    /// What came of making the redis forget that replicas share.
    forgetting: forgetting::Known,
    /// What references led to, as it was copied before.
    copied: Option<Copied>,
    /// What was asked back, as it was obeyed last.
    obeyed: Option<Asked>,
    report: Report,
}

impl<'a> Session<'a> {
    /// The error says which memory cannot be read, and what to do.
    pub(super) fn new(
        work: &'a Work,
        storage: Option<Storage>,
        vault: Vault,
        purges: bool,
        journals: Journals,
        leads: bool,
    ) -> Result<Self, Refusal> {
        let mut session = Self {
            work,
            storage,
            vault,
            purges,
            journals,
            lock: None,
            leads,
            lease: None,
            switched: None,
            closed: None,
            foreign: foreign::Standing::default(),
            facts: Facts::default(),
            memory: Memory::default(),
            kept: None,
            plan: None,
            tags: None,
            selection: Selection::default(),
            listed_at: work.clock.now().into(),
            spared: BTreeSet::new(),
            pacing: Pacing::default(),
            besides: Besides::default(),
            askers: BTreeMap::new(),
            forgetting: forgetting::Known::default(),
            copied: None,
            obeyed: None,
            report: Report::default(),
        };
        session.copied = session.remembered(COPIED).map_err(|problem| {
            let message = format!(
                "{problem}; put it right, or remove it: then nothing is purged until the next is as old as \
                 `gc.quarantineFor`"
            );
            Refusal::new(Code::LedgerMissing, message)
        })?;
        Ok(session)
    }

    pub(super) fn journals(&self) -> &Journals {
        &self.journals
    }

    /// Whether what is due may be purged: it is known what references led to since it was taken.
    pub(super) fn may_purge(&mut self) -> bool {
        if self.journals.held().next().is_none() {
            return true;
        }
        let lasts = super::seconds(self.work.registry.gc.quarantine_for);
        let copied = self.copied.as_ref();
        let may = copied.is_some_and(|copied| copied.reaches(lasts, self.now()));
        if !may {
            let told = "nothing is purged: what references led to is not remembered for as long as \
                        `gc.quarantineFor` (pullproof/ledger.json is new)";
            self.report.told.push(told.to_owned());
        }
        may
    }

    pub(super) fn now(&self) -> Second {
        self.work.clock.now().into()
    }

    /// What came of it, and how the storage stands.
    pub(super) fn report(mut self) -> Report {
        // Its end may have come before its time.
        self.switch_back();
        self.report.left.window += self.cut_off();
        let mut standing = Standing::default();
        for (run, _, item) in self.journals.held() {
            standing.held.add(item);
            let began = Some(run.began);
            standing.held_since = match standing.held_since {
                Some(_) => standing.held_since.min(began),
                None => began,
            };
        }
        standing.is_open = self.journals.runs().values().any(Run::is_unfinished)
            || self.vault.has(foreign::NOTE).unwrap_or(true)
            || self.vault.has(asked::NOTE).unwrap_or(true);
        let marked = unmarked::find(self.work, &self.vault, &self.journals);
        match marked {
            Ok(unmarked) => standing.returns_at = unmarked.into_values().min(),
            // It is looked at again soon.
            Err(problem) => {
                standing.is_open = true;
                self.report.told.push(problem);
            }
        }
        standing.opening = self.opening().ok().flatten();
        self.report.standing = standing;
        self.report
    }

    /// Of the last run that began by itself.
    fn opening(&self) -> Result<Option<OpeningId>, String> {
        let name = "pullproof/opening";
        let text = self.vault.read(OPENING);
        let text = text.map_err(|error| format!("{name} cannot be read: {error}"))?;
        let parsed = text.map(|text| String::from_utf8_lossy(&text).trim().parse());
        parsed
            .transpose()
            .map_err(|error| format!("{name}: {error}; remove it"))
    }

    /// Notes that the one run of an opening has begun, and that it had not before.
    fn take_opening(&self) -> Result<(), String> {
        let Some(opening) = &self.work.opening else {
            return Ok(());
        };
        if self
            .opening()?
            .is_some_and(|last| last.start >= opening.start)
        {
            return Err(format!("{opening} has had its run"));
        }
        let written = self.vault.write(OPENING, opening.to_string().as_bytes());
        written.map_err(|error| format!("pullproof/opening cannot be written: {error}"))
    }

    /// Does it, and says what came of it; `None` when it was the end. What else happened comes besides.
    pub(super) fn perform(&mut self, effect: Effect) -> (Option<Event>, Vec<Event>) {
        let mut others = Vec::new();
        let event = match effect {
            Effect::Lock => match self.lead() {
                Ok(()) => {
                    let event = self.lock();
                    if event == Event::NotLocked {
                        self.give_up_lead();
                    }
                    event
                }
                Err(refusal) => {
                    self.refuse(vec![refusal]);
                    Event::NotLocked
                }
            },
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
            Effect::Confirm => {
                let is_confirmed = self.confirm();
                if is_confirmed {
                    self.mark();
                }
                Event::Confirmed(is_confirmed)
            }
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
            Effect::Ask(run, items) => {
                let asked = self.ask(run, &items);
                others.extend(self.unbelieved(run));
                self.pacing.went_on();
                Event::Asked(asked)
            }
            Effect::Prove => {
                self.pacing.end();
                let (proof, wanted) = self.prove();
                others.extend(wanted);
                Event::Proven(proof)
            }
            Effect::Watch => self.watch(),
            Effect::Forget => self.forget(),
            Effect::Unlock => {
                self.remember_pace();
                self.switch_back();
                self.tidy();
                self.answered();
                self.release();
                self.give_up_lead();
                Event::Unlocked
            }
            Effect::Done(ending) => {
                let is_empty = self.report.taken.items == 0 && self.report.purged.items == 0;
                let ending = match ending {
                    Ending::Done if self.report.failed.is_some() => Ending::Failed,
                    Ending::Done if self.closed.is_some() && is_empty => Ending::Refused,
                    ending => ending,
                };
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
                self.find_switched();
                if !self.is_left_alone() {
                    self.switch_back();
                    self.release();
                    return Event::NotLocked;
                }
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
                let (code, message) = match &error {
                    LockError::Held(holder) => {
                        self.report.holder = Some(holder.clone());
                        self.report.is_locked_out = true;
                        (Code::NotLeader, format!("{error}: wait for it, or stop it"))
                    }
                    LockError::Io(_) | LockError::Damaged(_) => {
                        (Code::NotLeader, error.to_string())
                    }
                    LockError::Unsupported(_) => (Code::StorageUnsupported, error.to_string()),
                };
                let refusal = Refusal::new(code, message);
                // Whoever only puts back asks the holder to.
                if self.report.holder.is_some() && !self.leads {
                    self.report.refusals.push(refusal);
                } else {
                    self.refuse(vec![refusal]);
                }
                Event::NotLocked
            }
        }
    }

    fn release(&mut self) {
        if let Some(lock) = self.lock.take() {
            give_back(lock);
        }
    }

    /// Whether the storage's lock is ours, as far as can be told, and says that we live.
    fn has_lock(&mut self) -> bool {
        let now = self.now();
        let lock = self.lock.as_mut();
        lock.is_some_and(|lock| lock.renew(&self.vault, now).unwrap_or(false))
    }

    /// Remembers that what is in quarantine was looked at, and that what is wanted of it is back. Who forgets it
    /// puts back more than is wanted.
    fn mark(&self) {
        let by_bucket = self.work.registry.gc.purge_by == PurgeBy::Lifecycle;
        if by_bucket && let Err(problem) = self.remember(MARKED, &self.listed_at) {
            warn!(storage = self.work.registry.host, "{problem}");
        }
    }

    /// What the next who reads need not read, as long as the storage's lock is ours.
    fn tidy(&mut self) {
        if !self.has_lock() {
            return;
        }
        // The journals tell what was taken, and go after it.
        if let Err(problem) = self.forget_taken() {
            warn!(storage = self.work.registry.host, "{problem}");
            return;
        }
        if let Err(error) = self.journals.tidy(&self.vault) {
            warn!(
                storage = self.work.registry.host,
                %error, "the journals stay as long as they are; the next session tries again"
            );
        }
    }

    fn wait_until(&self, until: Second) {
        let is_called = || {
            let calls = [&self.work.stop, &self.work.worse];
            calls.iter().any(|call| call.load(Ordering::Relaxed))
        };
        // A bucket is not asked all the time.
        let mut moments = 0;
        while self.now() < until && !is_called() {
            let moment = tokio::time::sleep(Duration::from_millis(200));
            self.work.runtime.block_on(moment);
            moments += 1;
            if moments % 10 == 0 && self.is_asked_back() {
                return;
            }
        }
    }

    /// Whether an operator asked for something since it was obeyed last.
    pub(super) fn is_asked_back(&self) -> bool {
        // What cannot be read is told where it is obeyed.
        Asked::read(&self.vault).is_ok_and(|asked| asked.is_some() && asked != self.obeyed)
    }

    /// What an operator asked for meanwhile, once.
    pub(super) fn asked_back(&mut self) -> Option<Wanted> {
        self.lock.as_ref()?;
        let asked = match Asked::read(&self.vault) {
            Ok(asked) => asked.filter(|asked| self.obeyed.as_ref() != Some(asked))?,
            Err(problem) => {
                warn!(
                    storage = self.work.registry.host,
                    "{problem}: it is not obeyed"
                );
                return None;
            }
        };
        let told = format!(
            "something was asked back (pullproof/{}): nothing more is taken",
            asked::NOTE
        );
        warn!(storage = self.work.registry.host, "{told}");
        self.report.told.push(told);
        let wanted = asked.wanted(&self.journals);
        self.obeyed = Some(asked);
        Some(wanted)
    }

    /// Whoever asked for something has it, unless it was asked for since.
    fn answered(&mut self) {
        if !self.has_lock() || self.obeyed.is_none() || self.is_asked_back() {
            return;
        }
        if let Err(error) = self.vault.remove(asked::NOTE) {
            warn!(%error, "pullproof/{} stays, and is obeyed once more", asked::NOTE);
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
        if let Entry::Intent(items) = entry
            && let Err(error) = self.journals.name_versions(&self.vault, run, items)
        {
            self.fail(format!("what is to be taken cannot be looked at: {error}"));
            return Event::NotWritten;
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
            "redis": gc.redis.as_ref().map(ToString::to_string),
            "single": self.work.registry.single,
            "validation": self.work.registry.validates,
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
        self.pacing.begin(ids.len());
        let (spared, taken): (Vec<ItemId>, Vec<ItemId>) = ids.iter().partition(|id| is_spared(id));
        let event = self.moved(run, &taken, Outcome::Held, |vault, lock, items, now| {
            vault.take(lock, run, items, permit, now)
        });
        self.pacing.went_on();
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
                sum.add(item);
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

    fn remembered<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, String> {
        memory::read(&self.vault, name)
    }

    fn remember<T: Serialize>(&self, name: &str, what: &T) -> Result<(), String> {
        memory::write(&self.vault, name, what)
    }

    /// Whether it may go on at all: the lock is ours, nobody said stop, and its time is not over.
    fn goes_on(&mut self) -> Guarded {
        if let Err(problem) = self.leads_still() {
            self.fail(problem);
            return Guarded::Lost;
        }
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
        if is_stopped || is_marked {
            return Guarded::Stop;
        }
        if is_over {
            self.pacing.is_short = true;
            return Guarded::Stop;
        }
        Guarded::Go
    }

    fn guard(&mut self) -> Guarded {
        let goes_on = self.goes_on();
        if goes_on != Guarded::Go {
            return goes_on;
        }
        if !self.has_time() {
            self.pacing.is_short = true;
            return Guarded::Stop;
        }
        if self.work.registry.gc.read_only.mode != ReadOnlyMode::NotRequired
            && let Err(problem) = self.prove_read_only()
        {
            self.closed = Some(Code::RegistryWritable);
            self.refuse(vec![Refusal::new(Code::RegistryWritable, problem)]);
            return Guarded::Stop;
        }
        if !self.foreign.collects {
            let refusals = conflicts::look(&self.work.runtime, &self.work.registry.gc.conflicts);
            if !refusals.is_empty() {
                self.closed = Some(Code::StorageUnsupported);
                self.refuse(refusals);
                return Guarded::Stop;
            }
        }
        Guarded::Go
    }
}

pub(super) fn give_back(lock: Lock) {
    if let Err(error) = lock.release() {
        warn!(%error, "the storage's lock was not given back; whoever comes next waits a little");
    }
}
