//! One run, as its journal tells it. Pure: the same fold makes it from what was just written and from what
//! a process that died wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use super::item::ItemId;
use crate::second::Second;

/// Where an item is, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Where the registry looks for it: it was never taken, or it is back.
    Live,
    /// It was to be taken, and whether it was is not known.
    Leaving,
    /// In quarantine.
    Held,
    /// It was to be put back, and whether it was is not known.
    Returning,
    /// It was to be purged, and whether it was is not known.
    Going,
    /// Purged, or taken away by somebody else.
    Gone,
}

impl Place {
    fn is_open(self) -> bool {
        matches!(self, Self::Leaving | Self::Returning | Self::Going)
    }
}

/// What came of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is where the registry looks for it.
    Live,
    /// It is in quarantine.
    Held,
    /// It is in neither place.
    Gone,
    /// Nobody knows: it has to be looked for.
    Unknown,
}

/// What the proof after a quarantine said.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// There was none since something was taken.
    #[default]
    Missing,
    /// All that could be pulled before can be pulled.
    Clean,
    /// Something that could be pulled before cannot.
    Worse,
    /// It could not be told of everything.
    Unknown,
}

/// Why things are put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// A replica still answers for it.
    CacheUnsettled,
    /// Something that is kept names it again.
    Wanted,
    /// An image that is kept is worse than before.
    Worse,
    /// Something could not be done, or nobody knows whether it was.
    Failed,
    /// An operator said so.
    Asked,
    /// The bucket would purge it soon, and nobody has looked whether it is needed again.
    Unmarked,
}

/// What is remembered of a run, in the order in which it is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Entry {
    Began,
    /// These are to be taken next.
    Intent(Vec<ItemId>),
    /// What came of it, or what was found by looking for it.
    Found(Vec<(ItemId, Outcome)>),
    /// All of the run is to go back.
    Return(Why),
    /// These are to go back next.
    ReturnIntent(Why, Vec<ItemId>),
    Proven(Proof),
    /// No replica believes in what was taken any more, and no push that began before can still end.
    Settled,
    /// These are to be purged next.
    PurgeIntent(Vec<ItemId>),
    /// Nothing of it is in quarantine, and nothing is open.
    Ended,
}

/// A run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Run {
    places: BTreeMap<ItemId, Place>,
    /// Of them, those of which nobody knows where they are: few, and asked for after each batch.
    open: BTreeSet<ItemId>,
    /// And those that are in quarantine.
    held: BTreeSet<ItemId>,
    /// When the last thing was taken.
    last_taken: Option<Second>,
    proof: Proof,
    /// All of it is to go back.
    returns: Option<Why>,
    settled_at: Option<Second>,
    has_ended: bool,
}

impl Run {
    /// Takes what was written at a time. Twice is once: what is known by looking is never less true.
    pub fn apply(&mut self, entry: &Entry, at: Second) {
        match entry {
            Entry::Began => {}
            Entry::Intent(items) => self.all(items, Place::Leaving),
            Entry::ReturnIntent(_, items) => self.all(items, Place::Returning),
            Entry::PurgeIntent(items) => self.all(items, Place::Going),
            Entry::Found(found) => {
                for (item, outcome) in found {
                    let before = self.places.get(item).copied().unwrap_or(Place::Live);
                    let place = match outcome {
                        Outcome::Live => Place::Live,
                        Outcome::Held => Place::Held,
                        Outcome::Gone => Place::Gone,
                        Outcome::Unknown => before,
                    };
                    if place == Place::Held && before != Place::Held {
                        // What is taken later has to be proven, and to settle, later.
                        if before == Place::Leaving {
                            self.last_taken = self.last_taken.max(Some(at));
                            self.proof = Proof::Missing;
                            self.settled_at = None;
                        }
                    }
                    self.put(*item, place);
                }
            }
            Entry::Return(why) => self.returns = self.returns.or(Some(*why)),
            Entry::Proven(proof) => self.proof = *proof,
            Entry::Settled => self.settled_at = Some(at),
            Entry::Ended => self.has_ended = true,
        }
    }

    fn all(&mut self, items: &[ItemId], place: Place) {
        for item in items {
            self.put(*item, place);
        }
    }

    fn put(&mut self, item: ItemId, place: Place) {
        self.places.insert(item, place);
        for (set, is_in) in [
            (&mut self.open, place.is_open()),
            (&mut self.held, place == Place::Held),
        ] {
            if is_in {
                set.insert(item);
            } else {
                set.remove(&item);
            }
        }
    }

    /// Where an item is; what nothing was written of is where it was.
    pub fn place(&self, item: ItemId) -> Place {
        self.places.get(&item).copied().unwrap_or(Place::Live)
    }

    /// The items at a place, in their order.
    #[cfg(test)]
    pub fn at(&self, place: Place) -> impl Iterator<Item = ItemId> {
        let items = self.places.iter();
        items.filter_map(move |(item, is)| (*is == place).then_some(*item))
    }

    /// What is in quarantine, in its order.
    pub fn held(&self) -> impl DoubleEndedIterator<Item = ItemId> {
        self.held.iter().copied()
    }

    /// What is in quarantine and comes after an item, in their order.
    pub fn held_after(&self, last: Option<ItemId>) -> impl Iterator<Item = ItemId> {
        let after = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.held.range((after, Bound::Unbounded)).copied()
    }

    /// Those of which nobody knows where they are.
    pub fn open(&self) -> impl Iterator<Item = ItemId> {
        self.open.iter().copied()
    }

    pub fn proof(&self) -> Proof {
        self.proof
    }

    /// Why all of it goes back, if it does.
    pub fn returns(&self) -> Option<Why> {
        self.returns
    }

    pub fn is_settled(&self) -> bool {
        self.settled_at.is_some()
    }

    /// When it was said that it is.
    pub fn settled_at(&self) -> Option<Second> {
        self.settled_at
    }

    /// Whether a listing that began at a time may say that nobody wants it: it is younger than the hold and than
    /// every push that anything let through before it settled.
    pub fn may_be_judged_at(
        &self,
        listed_at: Second,
        quarantine_for: i64,
        longest_request: i64,
    ) -> bool {
        let ended = |since: Option<Second>, long: i64| {
            since.map_or(i64::MAX, |since| since.get().saturating_add(long))
        };
        let listed_at = listed_at.get();
        listed_at >= ended(self.last_taken, quarantine_for)
            && listed_at > ended(self.settled_at, longest_request)
            && self.proof == Proof::Clean
    }

    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Whether something of it is to be put back, proven, settled or looked for.
    pub fn is_unfinished(&self) -> bool {
        let is_proven = self.proof == Proof::Clean && self.is_settled() && self.returns.is_none();
        self.open().next().is_some() || (self.holds() && !is_proven)
    }

    pub fn last_taken(&self) -> Option<Second> {
        self.last_taken
    }

    /// Whether something of it is in quarantine, or may be.
    pub fn holds(&self) -> bool {
        !self.held.is_empty() || !self.open.is_empty()
    }
}
