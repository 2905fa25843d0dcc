//! What each thing that happened changes.

use std::collections::BTreeMap;

use super::{Act, Doing, Effect, Ending, Event, Guarded, Listed, Machine, Note, Passed, Session};
use crate::collection::guard::Guard;
use crate::collection::item::{ItemId, RunId};
use crate::collection::run::{Entry, Outcome, Place, Proof, Why};
use crate::second::Second;

impl Machine {
    pub(super) fn happened(&mut self, session: &mut Session, event: Event, now: Second) -> Effect {
        let doing = std::mem::replace(&mut session.doing, Doing::Locking);
        match (doing, event) {
            (Doing::Locking, Event::Locked { epoch, drained_at }) => {
                session.epoch = epoch;
                if let Some(until) = drained_at.filter(|_| self.has(Guard::Drain)) {
                    session.doing = Doing::Draining;
                    return Effect::WaitUntil(until);
                }
            }
            (Doing::Locking, Event::NotLocked) => return Effect::Done(Ending::Refused),
            (Doing::Draining, Event::Waited) => {}
            (Doing::Looking(run, items), Event::Looked(outcomes)) => {
                self.looked(session, run, &items, outcomes);
            }
            (Doing::Writing(run, entry), Event::Written) => {
                return self.written(session, run, entry, now);
            }
            (Doing::Writing(run, entry), Event::NotWritten) => {
                return self.not_written(session, run, entry, now);
            }
            (Doing::CheckingGate, Event::Gate(true)) => session.passed = Passed::FirstGate,
            (Doing::Listing, Event::Listed(listed)) => self.listed(session, listed),
            (Doing::Deciding, Event::Decided(Some(permit))) => {
                session.permit = Some(permit);
                session.passed = Passed::SecondGate;
            }
            (Doing::Confirming, Event::Confirmed(true)) => session.passed = Passed::Confirmation,
            (Doing::CheckingGate, Event::Gate(false))
            | (Doing::Listing, Event::NotListed)
            | (Doing::Deciding, Event::Decided(None))
            | (Doing::Confirming, Event::Confirmed(false)) => session.note(Note::Refused),
            (Doing::Guarding(run, items, act), Event::Guarded(guarded)) => match guarded {
                Guarded::Go => return Self::act(session, run, items, act),
                // They are looked for, and are where they were.
                Guarded::Stop => session.note(Note::Stopped),
                Guarded::Lost => return Effect::Done(Ending::Failed),
            },
            (
                Doing::Moving(run, items, act),
                Event::Moved {
                    outcomes,
                    has_failed,
                },
            ) => self.moved(session, run, &items, act, outcomes, has_failed),
            (Doing::Asking(run, items), Event::Asked(believed)) => {
                self.asked(session, run, &items, &believed);
            }
            (Doing::Proving(runs), Event::Proven(proof)) => {
                Self::proven(session, &runs, proof);
            }
            (Doing::Watching, Event::Watched(wanted)) => {
                session.note(Note::Watched);
                self.wanted(session, wanted);
            }
            // What is unsettled stays it, and is not purged.
            (Doing::Watching, Event::NotWatched) => session.note(Note::Blind),
            (Doing::Forgetting(began), Event::Forgotten) => session.forgot = Some(began),
            (Doing::Forgetting(_), Event::NotForgotten) => self.not_forgotten(session),
            (Doing::Unlocking, Event::Unlocked) => return Effect::Done(ending(session)),
            // An answer to what was not asked: whoever gives it is wrong about the state of things.
            (_, _) => return Effect::Done(Ending::Failed),
        }
        self.next(session, now)
    }

    fn looked(&self, session: &mut Session, id: RunId, items: &[ItemId], outcomes: Vec<Outcome>) {
        let Some(run) = self.run(id) else { return };
        let found: Vec<_> = items.iter().copied().zip(outcomes).collect();
        if found.len() < items.len() || found.iter().any(|(_, it)| *it == Outcome::Unknown) {
            session.given_up.insert(id);
            session.note(Note::Failed);
        }
        // It was on its way back when somebody died.
        let returning = found.iter().filter(|(item, outcome)| {
            *outcome == Outcome::Held && run.place(*item) == Place::Returning
        });
        let returning: Vec<ItemId> = returning.map(|(item, _)| *item).collect();
        if !returning.is_empty() {
            self.want(session, id, Why::Wanted, Some(returning));
        }
        session.writes.push_back((id, Entry::Found(found)));
    }

    fn written(&mut self, session: &mut Session, run: RunId, entry: Entry, now: Second) -> Effect {
        self.apply(run, &entry, now);
        match entry {
            Entry::Intent(items) => self.guarded(session, run, items, Act::Take),
            Entry::PurgeIntent(items) => self.guarded(session, run, items, Act::Purge),
            Entry::ReturnIntent(_, items) => Self::act(session, run, items, Act::PutBack),
            Entry::Began
            | Entry::Found(_)
            | Entry::Return(_)
            | Entry::Proven(_)
            | Entry::Settled
            | Entry::Ended => self.next(session, now),
        }
    }

    /// What cannot be remembered is not begun; what goes back does all the same, and so does what this
    /// session took.
    fn not_written(
        &mut self,
        session: &mut Session,
        run: RunId,
        entry: Entry,
        now: Second,
    ) -> Effect {
        session.note(Note::Failed);
        if let Some(own) = session.own {
            self.apply(own, &Entry::Return(Why::Failed), now);
        }
        match entry {
            Entry::ReturnIntent(_, items) => return Self::act(session, run, items, Act::PutBack),
            Entry::Found(_) | Entry::Return(_) => self.apply(run, &entry, now),
            Entry::Proven(proof) => {
                if proof == Proof::Worse {
                    self.apply(run, &entry, now);
                }
                session.unproven.insert(run);
            }
            Entry::Settled => session.note(Note::Blind),
            Entry::Ended => {
                session.given_up.insert(run);
            }
            Entry::Began | Entry::Intent(_) | Entry::PurgeIntent(_) => {}
        }
        self.next(session, now)
    }

    fn apply(&mut self, run: RunId, entry: &Entry, now: Second) {
        if let Some(run) = self.runs.get_mut(&run) {
            run.apply(entry, now);
        }
    }

    fn guarded(&self, session: &mut Session, run: RunId, items: Vec<ItemId>, act: Act) -> Effect {
        if !self.has(Guard::LockCheck) {
            return Self::act(session, run, items, act);
        }
        session.doing = Doing::Guarding(run, items, act);
        Effect::Guard
    }

    fn act(session: &mut Session, run: RunId, items: Vec<ItemId>, act: Act) -> Effect {
        let effect = match (act, session.permit.clone()) {
            (Act::PutBack, _) => Effect::PutBack(run, items.clone()),
            (Act::Take, Some(permit)) => Effect::Take(run, items.clone(), permit),
            (Act::Purge, Some(permit)) => Effect::Purge(run, items.clone(), permit),
            // Without a permit there is nothing to do it with.
            (Act::Take | Act::Purge, None) => return Effect::Done(Ending::Failed),
        };
        session.doing = Doing::Moving(run, items, act);
        effect
    }

    fn listed(&self, session: &mut Session, listed: Listed) {
        let Listed { take, wanted } = listed;
        let count = u32::try_from(take.len()).unwrap_or(u32::MAX);
        session.queue = (0..count).rev().map(ItemId).collect();
        session.needs = take;
        session.passed = Passed::Listing;
        if self.has(Guard::Remark) {
            self.wanted(session, wanted);
        }
    }

    fn wanted(&self, session: &mut Session, wanted: BTreeMap<RunId, Vec<ItemId>>) {
        for (run, items) in wanted {
            if !items.is_empty() {
                self.want(session, run, Why::Wanted, Some(items));
            }
        }
    }

    fn moved(
        &self,
        session: &mut Session,
        run: RunId,
        items: &[ItemId],
        act: Act,
        outcomes: Vec<Outcome>,
        mut has_failed: bool,
    ) {
        let mut found: Vec<_> = items.iter().copied().zip(outcomes).collect();
        has_failed |= found.len() < items.len();
        has_failed |= found.iter().any(|(_, it)| *it == Outcome::Unknown);
        match act {
            Act::Take => {
                let held = found.iter().filter(|(_, it)| *it == Outcome::Held);
                session.unasked.extend(held.map(|(item, _)| *item));
                // What is to be forgotten is asked for after that.
                if !self.has(Guard::Settling) || self.rules.forgets {
                    session.unasked.clear();
                }
            }
            Act::PutBack => {
                // Nowhere at all is not where it belongs.
                has_failed |= found.iter().any(|(_, it)| *it != Outcome::Live);
                if has_failed {
                    session.given_up.insert(run);
                }
                let why = self.run(run).and_then(super::Run::returns);
                let why = why.or_else(|| session.back.get(&run).map(|(why, _)| *why));
                if why == Some(Why::Worse) {
                    session.note(Note::Restored);
                }
            }
            Act::Purge => {
                has_failed |= found.iter().any(|(_, it)| *it == Outcome::Held);
            }
        }
        found.retain(|(_, outcome)| *outcome != Outcome::Unknown);
        session.writes.push_back((run, Entry::Found(found)));
        if has_failed {
            session.note(Note::Failed);
            if act == Act::Take {
                session.writes.push_back((run, Entry::Return(Why::Failed)));
            }
        }
    }

    /// What a replica still believes in goes back, with all that it needs: whoever asks that replica would
    /// be told that it is there.
    fn asked(&self, session: &mut Session, run: RunId, items: &[ItemId], believed: &[bool]) {
        let answers = believed.iter().chain(std::iter::repeat(&true));
        let believed = items.iter().zip(answers).filter(|(_, believed)| **believed);
        if session.own != Some(run) {
            // What needs what is known only to the session that took it.
            if believed.count() > 0 {
                self.want(session, run, Why::CacheUnsettled, None);
            }
            return;
        }
        let mut waiting: Vec<ItemId> = believed.map(|(item, _)| *item).collect();
        let mut back = Vec::new();
        while let Some(item) = waiting.pop() {
            if back.contains(&item) {
                continue;
            }
            back.push(item);
            if self.has(Guard::Closure) {
                waiting.extend(session.needs.get(item.index()).into_iter().flatten());
            }
        }
        if back.is_empty() {
            return;
        }
        session.queue.retain(|item| !back.contains(item));
        self.want(session, run, Why::CacheUnsettled, Some(back));
    }

    /// What may be remembered goes back.
    fn not_forgotten(&self, session: &mut Session) {
        session.note(Note::Failed);
        for (id, run) in &self.runs {
            if session.is_unsettled(*id, run) {
                self.want(session, *id, Why::CacheUnsettled, None);
            }
        }
    }

    fn proven(session: &mut Session, runs: &[RunId], proof: Proof) {
        for run in runs {
            session.writes.push_back((*run, Entry::Proven(proof)));
            match proof {
                Proof::Worse => session.writes.push_back((*run, Entry::Return(Why::Worse))),
                Proof::Unknown | Proof::Missing => {
                    session.unproven.insert(*run);
                }
                Proof::Clean => {}
            }
        }
    }
}

fn ending(session: &Session) -> Ending {
    if session.has(Note::Failed) {
        Ending::Failed
    } else if session.has(Note::Restored) {
        Ending::Restored
    } else if session.has(Note::Refused) {
        Ending::Refused
    } else {
        Ending::Done
    }
}
