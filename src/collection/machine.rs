//! The protocol: what happened, and what to do next. Pure.
//!
//! One thing is done at a time, and each is the answer to the state alone: after whatever happened, and
//! after a crash as after anything else, [`next`](Machine::next) looks at what is open and says the one
//! thing that comes first. What stands higher in it goes before what stands lower: finding out where things
//! are before putting back, putting back before proving, proving before anything more is taken.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::gate::Permit;
use super::guard::{Guard, Guards};
use super::item::{ItemId, RunId};
use super::run::{Entry, Outcome, Place, Proof, Run, Why};
use crate::second::Second;

mod happened;

/// What the machine goes by. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rules {
    /// Whether what was held long enough is purged.
    pub purges: bool,
    /// How long things are in quarantine at least.
    pub quarantine_for: i64,
    /// How long a push may take: until then what was taken may be named by one that began before.
    pub longest_request: i64,
    /// So many items are written of, and taken, at once; at least one.
    pub batch: usize,
    pub guards: Guards,
}

/// What somebody wants of a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Goal {
    /// What is open is brought to its end: nothing is taken and nothing purged.
    Tend,
    /// Besides, what is due is purged.
    Purge,
    /// Besides, what is garbage goes to the quarantine.
    Collect,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    Started(Goal),
    /// The storage's lock is ours by this epoch. One that was not cleanly released is waited for until then:
    /// what its holder sent may still arrive.
    Locked {
        epoch: u32,
        drained_at: Option<Second>,
    },
    /// Somebody else has it.
    NotLocked,
    /// The time that was waited for has come.
    Waited,
    /// Where the items are that were looked for, in their order.
    Looked(Vec<Outcome>),
    /// What was to be remembered is, synced.
    Written,
    NotWritten,
    /// Whether a listing is worth while.
    Gate(bool),
    Listed(Listed),
    NotListed,
    /// The gate, with all that is known after the listing.
    Decided(Option<Permit>),
    /// Whether a second listing says the same.
    Confirmed(bool),
    /// Whether the next batch may be touched.
    Guarded(Guarded),
    /// Where the items of the batch are now, in their order, and whether something failed.
    Moved {
        outcomes: Vec<Outcome>,
        has_failed: bool,
    },
    /// For each item in order, whether some replica still answers for it, or could not be asked.
    Asked(Vec<bool>),
    Proven(Proof),
    /// What new links want back of each run.
    Watched(BTreeMap<RunId, Vec<ItemId>>),
    /// New links could not be looked at.
    NotWatched,
    Unlocked,
    /// At any time: a run is to go back, all or some of it.
    Wanted(RunId, Why, Option<Vec<ItemId>>),
    /// At any time: nothing more is to be taken or purged.
    Stopped,
}

/// What a listing found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Listed {
    /// What may be taken, in the order in which it is: for each item those that it needs, which stay or come
    /// back where it does.
    pub take: Vec<Vec<ItemId>>,
    /// What is in quarantine and is needed again.
    pub wanted: BTreeMap<RunId, Vec<ItemId>>,
}

/// What was seen right before a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Guarded {
    Go,
    /// The window ends, or somebody said so.
    Stop,
    /// The lock is not ours any more: whoever has it goes on from the journal.
    Lost,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    Lock,
    WaitUntil(Second),
    /// Says where items are.
    Look(RunId, Vec<ItemId>),
    /// Remembers something of a run, synced.
    Write(RunId, Entry),
    CheckGate,
    List,
    Decide,
    Confirm,
    /// Looks whether the next batch may be touched: it still has the permit, the lock and the time.
    Guard,
    Take(RunId, Vec<ItemId>, Permit),
    /// Asks every replica for each.
    Ask(RunId, Vec<ItemId>),
    PutBack(RunId, Vec<ItemId>),
    Purge(RunId, Vec<ItemId>, Permit),
    /// Proves that all that could be pulled still can be.
    Prove,
    /// Looks at new links, after a while.
    Watch,
    Unlock,
    /// It is over.
    Done(Ending),
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ending {
    /// All that was wanted is done.
    Done,
    /// Nothing was taken: the gate was closed, or the lock was another's.
    Refused,
    /// Something went back since an image got worse.
    Restored,
    /// Something could not be done. What is open is brought to its end by the next session.
    Failed,
}

/// A collection of one storage.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Machine {
    rules: Rules,
    runs: BTreeMap<RunId, Run>,
    session: Option<Session>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Session {
    goal: Goal,
    doing: Doing,
    epoch: u32,
    /// The run of this session, once something is to be taken.
    own: Option<RunId>,
    passed: Passed,
    /// When the listing began.
    listed_at: Option<Second>,
    permit: Option<Permit>,
    /// What is still to be taken, the next last.
    queue: Vec<ItemId>,
    /// For each item of the own run, those that it needs.
    needs: Vec<Vec<ItemId>>,
    /// Taken, and not asked for.
    unasked: Vec<ItemId>,
    /// What is to go back, by run.
    back: BTreeMap<RunId, (Why, BTreeSet<ItemId>)>,
    /// Runs of which something could not be put back; the next session tries again.
    given_up: BTreeSet<RunId>,
    /// Runs that were to be proven and could not be.
    unproven: BTreeSet<RunId>,
    notes: BTreeSet<Note>,
    /// What is to be written next.
    writes: VecDeque<(RunId, Entry)>,
    /// When the look at new links began that is under way, or the last one that ended.
    watch_began: Option<Second>,
    /// The last item of each run that was asked for once nothing that began before it was taken can still
    /// be under way.
    asked_last: BTreeMap<RunId, ItemId>,
}

/// What is to be remembered of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Note {
    /// Nothing more is taken or purged.
    Stopped,
    Failed,
    /// Something went back since an image got worse.
    Restored,
    /// The gate was closed.
    Refused,
    /// New links cannot be looked at.
    Blind,
    /// The look at new links that began last has ended.
    Watched,
}

impl Session {
    fn has(&self, note: Note) -> bool {
        self.notes.contains(&note)
    }

    fn note(&mut self, note: Note) {
        self.notes.insert(note);
    }
}

/// What of a session's way lies behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Passed {
    Nothing,
    FirstGate,
    Listing,
    SecondGate,
    Confirmation,
}

/// What the machine waits for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Doing {
    Locking,
    Draining,
    Looking(RunId, Vec<ItemId>),
    Writing(RunId, Entry),
    CheckingGate,
    Listing,
    Deciding,
    Confirming,
    /// Before the items of a run are taken, or purged.
    Guarding(RunId, Vec<ItemId>, Act),
    Moving(RunId, Vec<ItemId>, Act),
    Asking(RunId, Vec<ItemId>),
    Proving(Vec<RunId>),
    Watching,
    Unlocking,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Act {
    Take,
    PutBack,
    Purge,
}

impl Machine {
    /// `runs` as their journals tell them.
    pub fn new(rules: Rules, runs: BTreeMap<RunId, Run>) -> Self {
        Self {
            rules,
            runs,
            session: None,
        }
    }

    pub fn runs(&self) -> &BTreeMap<RunId, Run> {
        &self.runs
    }

    /// Takes what happened at a time, and says what to do next. `None` where that was decided before: it
    /// is under way.
    pub fn step(mut self, event: Event, now: Second) -> (Self, Option<Effect>) {
        if let Event::Started(goal) = event {
            self.session.get_or_insert(Session {
                goal,
                doing: Doing::Locking,
                epoch: 0,
                own: None,
                passed: Passed::Nothing,
                listed_at: None,
                permit: None,
                queue: Vec::new(),
                needs: Vec::new(),
                unasked: Vec::new(),
                back: BTreeMap::new(),
                given_up: BTreeSet::new(),
                unproven: BTreeSet::new(),
                notes: BTreeSet::new(),
                writes: VecDeque::new(),
                watch_began: None,
                asked_last: BTreeMap::new(),
            });
            return (self, Some(Effect::Lock));
        }
        let Some(mut session) = self.session.take() else {
            return (self, None);
        };
        let effect = match event {
            Event::Wanted(run, why, items) => {
                self.want(&mut session, run, why, items);
                None
            }
            Event::Stopped => {
                session.note(Note::Stopped);
                None
            }
            event => {
                let mut effect = self.happened(&mut session, event, now);
                while !self.has(Guard::Intent) && is_intent(&effect) {
                    effect = self.happened(&mut session, Event::Written, now);
                }
                Some(effect)
            }
        };
        if !matches!(effect, Some(Effect::Done(_))) {
            self.session = Some(session);
        }
        (self, effect)
    }

    fn has(&self, guard: Guard) -> bool {
        self.rules.guards.has(guard)
    }

    fn run(&self, run: RunId) -> Option<&Run> {
        self.runs.get(&run)
    }

    /// Something is to go back, at the next occasion.
    fn want(&self, session: &mut Session, run: RunId, why: Why, items: Option<Vec<ItemId>>) {
        if !self.runs.contains_key(&run) {
            return;
        }
        let items = items.unwrap_or_else(|| {
            let run = self.run(run);
            run.map_or_else(Vec::new, |run| run.held().collect())
        });
        let (_, back) = (session.back.entry(run)).or_insert_with(|| (why, BTreeSet::new()));
        back.extend(items);
    }

    /// What comes first, of all that is open.
    fn next(&mut self, session: &mut Session, now: Second) -> Effect {
        if let Some((run, entry)) = session.writes.pop_front() {
            return write(session, run, entry);
        }
        if let Some(effect) = self.open(session) {
            return effect;
        }
        if let Some(effect) = self.asking(session) {
            return effect;
        }
        if let Some(effect) = self.returning(session) {
            return effect;
        }
        if let Some(effect) = self.proof(session) {
            return effect;
        }
        if session.goal != Goal::Tend
            && !session.has(Note::Stopped)
            && !session.has(Note::Failed)
            && let Some(effect) = self.collecting(session, now)
        {
            return effect;
        }
        if let Some(effect) = self.proof_of_own(session) {
            return effect;
        }
        if let Some(effect) = self.settling(session, now) {
            return effect;
        }
        if let Some(effect) = self.ending(session) {
            return effect;
        }
        session.doing = Doing::Unlocking;
        Effect::Unlock
    }

    /// Where things are of which nobody knows.
    fn open(&self, session: &mut Session) -> Option<Effect> {
        for (id, run) in &self.runs {
            let open: Vec<ItemId> = run.open().take(self.rules.batch).collect();
            // What could not be told once is looked for by the next session.
            if !open.is_empty() && !session.given_up.contains(id) {
                session.doing = Doing::Looking(*id, open.clone());
                return Some(Effect::Look(*id, open));
            }
        }
        None
    }

    /// What is to go back does, bytes before what refers to them.
    fn returning(&self, session: &mut Session) -> Option<Effect> {
        for (id, run) in &self.runs {
            if session.given_up.contains(id) {
                continue;
            }
            let batch = self.rules.batch;
            let (why, items): (Why, Vec<ItemId>) = match (run.returns(), session.back.get(id)) {
                (Some(why), _) => (why, run.held().rev().take(batch).collect()),
                (None, Some((why, wanted))) => {
                    let held = wanted.iter().rev();
                    let held = held.filter(|item| run.place(**item) == Place::Held);
                    (*why, held.copied().take(batch).collect())
                }
                (None, None) => continue,
            };
            if !items.is_empty() {
                return Some(write(session, *id, Entry::ReturnIntent(why, items)));
            }
        }
        session.back.clear();
        None
    }

    /// Runs whose proof is missing: somebody died before it, or could not tell.
    fn proof(&self, session: &mut Session) -> Option<Effect> {
        let own = session.own;
        self.prove(session, |id| own != Some(id))
    }

    /// What this session took is proven once there is no more to take.
    fn proof_of_own(&self, session: &mut Session) -> Option<Effect> {
        let own = session.own;
        self.prove(session, |id| own == Some(id))
    }

    fn prove(&self, session: &mut Session, of: impl Fn(RunId) -> bool) -> Option<Effect> {
        if !self.has(Guard::Proof) {
            return None;
        }
        let due = self.runs.iter().filter(|(id, run)| {
            of(**id)
                && run.held().next().is_some()
                && run.returns().is_none()
                && !matches!(run.proof(), Proof::Clean)
                && !session.unproven.contains(id)
        });
        let due: Vec<RunId> = due.map(|(id, _)| *id).collect();
        if due.is_empty() {
            return None;
        }
        session.doing = Doing::Proving(due);
        Some(Effect::Prove)
    }

    /// The way through the gates, what is due, and what is to be taken.
    fn collecting(&mut self, session: &mut Session, now: Second) -> Option<Effect> {
        // What could not be proven may be what is broken: nothing more is taken beside it.
        if session.has(Note::Refused)
            || !session.unproven.is_empty()
            || !session.given_up.is_empty()
        {
            return None;
        }
        let (doing, effect) = match session.passed {
            Passed::Nothing => (Doing::CheckingGate, Effect::CheckGate),
            Passed::FirstGate => {
                session.listed_at = Some(now);
                (Doing::Listing, Effect::List)
            }
            Passed::Listing => (Doing::Deciding, Effect::Decide),
            Passed::SecondGate if self.has(Guard::SecondListing) => {
                (Doing::Confirming, Effect::Confirm)
            }
            Passed::SecondGate | Passed::Confirmation => {
                return self.purging(session).or_else(|| self.taking(session, now));
            }
        };
        session.doing = doing;
        Some(effect)
    }

    /// What nobody wanted for long enough, by a listing that began after that.
    fn purging(&self, session: &mut Session) -> Option<Effect> {
        if !self.rules.purges {
            return None;
        }
        let listed_at = session.listed_at?;
        for (id, run) in &self.runs {
            let is_due = if self.has(Guard::TwoPhases) {
                session.own != Some(*id) && self.is_due(run, listed_at)
            } else {
                true
            };
            if !is_due || run.returns().is_some() {
                continue;
            }
            let items: Vec<ItemId> = run.held().take(self.rules.batch).collect();
            if !items.is_empty() {
                return Some(write(session, *id, Entry::PurgeIntent(items)));
            }
        }
        None
    }

    /// Whether a listing that began at a time may speak for a run: it has to be younger than the hold, and
    /// than every push that anything let through before the run settled.
    fn is_due(&self, run: &Run, listed_at: Second) -> bool {
        let ended = |since: Option<Second>, long: i64| {
            since.map_or(i64::MAX, |since| since.get().saturating_add(long))
        };
        let listed_at = listed_at.get();
        let is_held = listed_at >= ended(run.last_taken(), self.rules.quarantine_for);
        let is_settled = listed_at > ended(run.settled_at(), self.rules.longest_request);
        (is_held || !self.has(Guard::Hold))
            && (is_settled || !self.has(Guard::Settling))
            && (run.proof() == Proof::Clean || !self.has(Guard::Proof))
    }

    /// What was taken last is asked for, unless all of it goes back anyway.
    fn asking(&self, session: &mut Session) -> Option<Effect> {
        let items = std::mem::take(&mut session.unasked);
        let own = session.own?;
        let returns = self.run(own).is_none_or(|run| run.returns().is_some());
        if items.is_empty() || returns {
            return None;
        }
        session.doing = Doing::Asking(own, items.clone());
        Some(Effect::Ask(own, items))
    }

    /// The next batch.
    fn taking(&mut self, session: &mut Session, now: Second) -> Option<Effect> {
        if session.goal != Goal::Collect {
            return None;
        }
        let own = match session.own {
            Some(own) => own,
            None if session.queue.is_empty() => return None,
            None => {
                let own = RunId {
                    began: now,
                    epoch: session.epoch,
                };
                session.own = Some(own);
                self.runs.insert(own, Run::default());
                return Some(write(session, own, Entry::Began));
            }
        };
        let left = session.queue.len().saturating_sub(self.rules.batch);
        let mut items = session.queue.split_off(left);
        items.reverse();
        if items.is_empty() {
            return None;
        }
        Some(write(session, own, Entry::Intent(items)))
    }

    /// Until no push that began before can name what was taken, and no replica believes in it.
    fn settling(&self, session: &mut Session, now: Second) -> Option<Effect> {
        // What could not be put back is as it was: the next session looks at all of it again.
        let unsettled = self.runs.iter().find(|(id, run)| {
            run.held().next().is_some()
                && !run.is_settled()
                && run.returns().is_none()
                && !session.given_up.contains(id)
        });
        let (id, run) = unsettled?;
        if session.has(Note::Blind) {
            return None;
        }
        let since = run.last_taken().map_or(i64::MAX, Second::get);
        // One more look, begun after the last push could have ended.
        let ends = since.saturating_add(self.rules.longest_request);
        let last = session.watch_began.filter(|_| session.has(Note::Watched));
        let is_over = last.is_some_and(|began| began.get() > ends);
        if is_over || !self.has(Guard::Watch) {
            let asking = self.asking_last(session, *id, run);
            return Some(asking.unwrap_or_else(|| write(session, *id, Entry::Settled)));
        }
        session.watch_began = Some(now);
        session.notes.remove(&Note::Watched);
        session.doing = Doing::Watching;
        Some(Effect::Watch)
    }

    /// Everything is asked for once more, of whatever session: one that died had not asked, and a registry
    /// that looked into its storage before something was taken may have remembered it since.
    fn asking_last(&self, session: &mut Session, id: RunId, run: &Run) -> Option<Effect> {
        if !self.has(Guard::Settling) {
            return None;
        }
        let last = session.asked_last.get(&id).copied();
        let items: Vec<ItemId> = run.held_after(last).take(self.rules.batch).collect();
        session.asked_last.insert(id, *items.last()?);
        session.doing = Doing::Asking(id, items.clone());
        Some(Effect::Ask(id, items))
    }

    /// What has nothing in quarantine any more has ended.
    fn ending(&self, session: &mut Session) -> Option<Effect> {
        let ended = self
            .runs
            .iter()
            .find(|(id, run)| !run.has_ended() && !run.holds() && !session.given_up.contains(id));
        let (id, _) = ended?;
        Some(write(session, *id, Entry::Ended))
    }
}

/// Whether it announces what is done next.
fn is_intent(effect: &Effect) -> bool {
    let Effect::Write(_, entry) = effect else {
        return false;
    };
    matches!(
        entry,
        Entry::Intent(_) | Entry::ReturnIntent(..) | Entry::PurgeIntent(_)
    )
}

/// Has something written.
fn write(session: &mut Session, run: RunId, entry: Entry) -> Effect {
    session.doing = Doing::Writing(run, entry.clone());
    Effect::Write(run, entry)
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
