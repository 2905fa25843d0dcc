//! Whether replicas still answer for what was taken, and whether all that was proven can still be pulled.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::warn;

use super::Session;
use super::gate::{PROVEN, UNSETTLED};
use crate::app::collector::{Reading, proof, replicas, wanted};
use crate::collection::item::{Item, ItemId, RunId};
use crate::collection::machine::Event;
use crate::collection::proven::{self, Memory};
use crate::collection::run::{Proof, Why};
use crate::config::Cache;
use crate::config::endpoint::Endpoint;
use crate::prover::Prover;
use crate::registry::client::believed::Belief;

/// So often it is looked again whether there are replicas that were not asked.
const ROUNDS: usize = 5;

/// Between an answer and the look at the storage it may have been deleted, or be written. A cache says it again,
/// if it is asked so often; that of one replica behind an address of several may not say it each time.
const AGAIN: usize = 4;
const UNTIL_AGAIN: Duration = Duration::from_secs(1);

/// What a replica's word for something that was taken comes to; the strongest of all replicas' counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    Gone,
    /// It was pushed again meanwhile: its link and its bytes are there.
    Back,
    /// It may answer for what is not there.
    Unknown,
    /// It answers for what is not there: it has a cache.
    Lie,
}

impl Word {
    fn is_unsettled(self) -> bool {
        self >= Self::Unknown
    }

    /// What it comes to where the storage has, or has not, what is believed in, or cannot tell.
    fn of(belief: &Belief, is_live: impl FnOnce() -> io::Result<bool>) -> Self {
        if *belief == Belief::Gone {
            return Self::Gone;
        }
        match is_live() {
            Ok(true) => Self::Back,
            Ok(false) if *belief == Belief::Answers => Self::Lie,
            Ok(false) | Err(_) => Self::Unknown,
        }
    }
}

/// What all replicas say of the same things.
struct Words {
    strongest: Vec<Word>,
    /// By replica, of how many.
    unsettled: BTreeMap<String, usize>,
}

impl Session<'_> {
    /// Whether some replica still answers for each. Where all are restarted after the last batch, that is
    /// asked then, unless there is something besides that they share.
    pub(super) fn ask(&mut self, run: RunId, ids: &[ItemId]) -> Vec<bool> {
        self.forgetting.is_believed = false;
        if self.restarts() && self.work.registry.gc.redis.is_none() {
            return vec![false; ids.len()];
        }
        self.believed(run, ids)
    }

    /// The same, at once.
    pub(super) fn believed(&mut self, run: RunId, ids: &[ItemId]) -> Vec<bool> {
        let items = self.journals.items(run, ids);
        let Words {
            strongest,
            unsettled,
        } = self.words_of_all(&items);
        for (replica, count) in unsettled {
            *self.report.unsettled.entry(replica).or_default() += count;
        }
        let count = strongest.iter().filter(|it| it.is_unsettled()).count();
        if count > 0 {
            warn!(
                storage = self.work.registry.host,
                count,
                "a replica may still answer for what was taken; it goes back (cache_unsettled)"
            );
            self.report.left.unsettled += count;
            self.forgetting.is_believed = true;
        }
        let answered = items.into_iter().zip(&strongest);
        let lies = answered.filter(|(_, word)| **word == Word::Lie);
        let lies: Vec<Item> = lies.map(|(item, _)| item).collect();
        self.contradict(&lies);
        strongest.into_iter().map(|it| it != Word::Gone).collect()
    }

    /// A replica that answers for what is not there, and goes on to, has something that nobody declared.
    fn contradict(&mut self, lies: &[Item]) {
        let gc = &self.work.registry.gc;
        let declared = match &gc.redis {
            Some(redis) => redis.to_string(),
            None if gc.cache == Cache::None => gc.cache.as_str().to_owned(),
            None => return,
        };
        let Some(repeated) = self.repeated(lies) else {
            return;
        };
        warn!(
            storage = self.work.registry.host,
            path = repeated.path(),
            "a replica answers for it again, and it is not there: `gc.settle` says {declared}"
        );
        if let Err(error) = self.vault.write(UNSETTLED, declared.as_bytes()) {
            self.fail(format!("pullproof/{UNSETTLED} cannot be written: {error}"));
        }
    }

    /// The first of it that is said again.
    fn repeated(&mut self, lies: &[Item]) -> Option<Item> {
        let until = self.within();
        for _ in 0..AGAIN {
            if lies.is_empty() || self.pause(UNTIL_AGAIN, until).is_err() {
                return None;
            }
            let words = self.words_of_all(lies).strongest;
            let mut answered = lies.iter().zip(words);
            if let Some((lie, _)) = answered.find(|(_, word)| *word == Word::Lie) {
                return Some(lie.clone());
            }
        }
        None
    }

    /// Each one's strongest word. Which replicas there are may change meanwhile: who comes is asked too, and who
    /// is gone believes in nothing any more.
    fn words_of_all(&mut self, items: &[Item]) -> Words {
        let work = self.work;
        let mut asked: BTreeMap<String, (Endpoint, Vec<Word>)> = BTreeMap::new();
        let mut is_complete = false;
        for _ in 0..ROUNDS {
            let replicas = match replicas::of(&work.registry, &work.runtime) {
                Ok(replicas) => replicas,
                Err(problem) => {
                    warn!(
                        storage = work.registry.host,
                        "what was taken goes back: {problem}"
                    );
                    break;
                }
            };
            asked.retain(|known, _| replicas.iter().any(|it| it.to_string() == *known));
            let new = replicas.into_iter();
            let new: Vec<Endpoint> = new
                .filter(|it| !asked.contains_key(&it.to_string()))
                .collect();
            if new.is_empty() {
                is_complete = true;
                break;
            }
            for replica in new {
                let words = self.words_of(&replica, items);
                asked.insert(replica.to_string(), (replica, words));
            }
        }
        let first = if is_complete {
            Word::Gone
        } else {
            Word::Unknown
        };
        let mut all = Words {
            strongest: vec![first; items.len()],
            unsettled: BTreeMap::new(),
        };
        for (replica, words) in asked.into_values() {
            let count = words.iter().filter(|it| it.is_unsettled()).count();
            if count > 0 {
                let of = all.unsettled.entry(replica.authority()).or_default();
                *of += count;
            }
            for (strongest, word) in all.strongest.iter_mut().zip(words) {
                *strongest = word.max(*strongest);
            }
        }
        all
    }

    fn words_of(&mut self, replica: &Endpoint, items: &[Item]) -> Vec<Word> {
        let known = replica.to_string();
        if !self.askers.contains_key(&known) {
            let asker = self.asker(replica.clone());
            self.askers.insert(known.clone(), asker);
        }
        let asker = self.askers.get(&known).and_then(Option::as_ref);
        let found = proof::believed(asker, items);
        let found = self.work.runtime.block_on(found);
        let unknown = found.iter().find_map(|it| match it {
            Belief::Unknown(why) => Some(why),
            Belief::Gone | Belief::Answers => None,
        });
        if let Some(why) = unknown {
            warn!(
                storage = self.work.registry.host,
                replica = replica.authority(),
                "whether it still believes in what was taken is not known, and that goes back: {why}"
            );
        }
        let words = items.iter().zip(&found);
        words
            .map(|(item, found)| Word::of(found, || self.has(item)))
            .collect()
    }

    /// Whether its link and its bytes are there, which they may be again.
    fn has(&self, item: &Item) -> io::Result<bool> {
        let Some(storage) = &self.storage else {
            return Err(io::Error::other("there is no storage"));
        };
        Ok(storage.has(&item.path())? && storage.look(&[item.digest])?.iter().any(Option::is_some))
    }

    /// Whoever asks a replica; `None` for one that cannot be asked.
    fn asker(&self, replica: Endpoint) -> Option<Prover> {
        let kept = self.kept.as_ref();
        let all = kept.map(|kept| proof::references(&kept.set, self.work.entry(), &|_| false));
        // By one round it is known as whom to ask.
        let one: BTreeSet<String> = all.unwrap_or_default().into_iter().take(1).collect();
        self.work.runtime.block_on(proof::asker(
            &self.work.registries,
            &self.work.registry.host,
            replica,
            &one,
            &self.work.clock,
        ))
    }

    /// Everything that was proven before is proven again, and what new links want is told.
    pub(super) fn prove(&mut self) -> (Proof, Vec<Event>) {
        let mut events = self.restart_replicas();
        let memory: Memory = match self.remembered(PROVEN) {
            Ok(memory) => memory.unwrap_or_default(),
            Err(problem) => {
                self.fail(problem);
                return (Proof::Unknown, events);
            }
        };
        let Some(kept) = self.read_kept(Reading::Known) else {
            return (Proof::Unknown, events);
        };
        let proofs = self.proofs(&kept);
        let before = memory.proven_last(&proofs);
        let (broken, unknown) = proven::worse(&before, &proofs);
        let wanted = match self.planned(&kept, self.work.clock.now()) {
            Ok(plan) => wanted::by(&plan, &self.journals),
            Err(refusal) => {
                warn!(
                    storage = self.work.registry.host,
                    "after the quarantine: {refusal}"
                );
                return (Proof::Unknown, events);
            }
        };
        events.extend(
            wanted
                .into_iter()
                .map(|(run, items)| Event::Wanted(run, Why::Wanted, Some(items))),
        );
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
        (proof, events)
    }

    pub(super) fn watch(&mut self) -> Event {
        let every = self.work.registry.gc.watch_every;
        let until = self
            .work
            .clock
            .now()
            .saturating_add(every)
            .unwrap_or(self.work.until);
        self.wait_until(until.into());
        // What was asked back goes first; the next session goes on watching.
        if self.work.stop.load(Ordering::Relaxed) || self.is_asked_back() {
            return Event::NotWatched;
        }
        let Some(kept) = self.read_kept(Reading::Known) else {
            return Event::NotWatched;
        };
        match self.planned(&kept, self.work.clock.now()) {
            Ok(plan) => Event::Watched(wanted::by(&plan, &self.journals)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_storage_says_it_has_not_is_a_lie() {
        let unknown = Belief::Unknown("it said 500".to_owned());
        let error = || Err(io::Error::other("slow down"));
        let word = |belief: &Belief, is_live: io::Result<bool>| Word::of(belief, || is_live);
        assert_eq!(word(&Belief::Answers, Ok(true)), Word::Back);
        assert_eq!(word(&Belief::Answers, Ok(false)), Word::Lie);
        assert_eq!(word(&Belief::Answers, error()), Word::Unknown);
        assert_eq!(word(&unknown, Ok(true)), Word::Back);
        assert_eq!(word(&unknown, Ok(false)), Word::Unknown);
        assert_eq!(word(&unknown, error()), Word::Unknown);
        for is_live in [Ok(true), Ok(false), error()] {
            assert_eq!(word(&Belief::Gone, is_live), Word::Gone);
        }
    }
}
