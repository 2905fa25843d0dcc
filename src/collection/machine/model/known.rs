//! What a machine is at any time, each once and by a number: there are few of them, and a state of the world
//! that holds numbers is small. A step is taken once by [`Machine::step`], and looked up after that.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex};

use super::super::{Effect, Event, Machine};
use crate::collection::item::RunId;
use crate::collection::run::{Entry, Run};
use crate::second::Second;

/// A machine and what it wants done.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) machine: Machine,
    pub(super) effect: Effect,
}

/// What the journals of a storage tell.
pub(super) type Journals = BTreeMap<RunId, Run>;

/// A [`Node`] by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct NodeId(u32);

/// [`Journals`] by their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct JournalsId(u32);

/// All that were met.
#[derive(Debug)]
pub(super) struct Known(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    nodes: Numbered<Node>,
    journals: Numbered<Journals>,
    steps: HashMap<(u32, u8, Event), NodeId, foldhash::fast::RandomState>,
    writes: HashMap<(u32, u8, RunId, Entry), JournalsId, foldhash::fast::RandomState>,
}

/// Each once.
#[derive(Debug)]
struct Numbered<T> {
    all: Vec<Arc<T>>,
    numbers: HashMap<Arc<T>, u32, foldhash::fast::RandomState>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            numbers: HashMap::default(),
        }
    }
}

impl<T: Hash + Eq> Numbered<T> {
    fn number(&mut self, value: T) -> u32 {
        if let Some(number) = self.numbers.get(&value) {
            return *number;
        }
        let number = u32::try_from(self.all.len()).expect("there are few");
        let value = Arc::new(value);
        self.all.push(Arc::clone(&value));
        self.numbers.insert(value, number);
        number
    }

    fn get(&self, number: u32) -> Arc<T> {
        Arc::clone(&self.all[number as usize])
    }
}

/// The time of a tick of the clock.
pub(super) fn second(tick: u8) -> Second {
    Second::new(i64::from(tick))
}

impl Known {
    /// With no run remembered, which is the first number.
    pub(super) fn new() -> (Self, JournalsId) {
        let mut all = All::default();
        let empty = JournalsId(all.journals.number(Journals::new()));
        (Self(Mutex::new(all)), empty)
    }

    fn with<T>(&self, act: impl FnOnce(&mut All) -> T) -> T {
        act(&mut self.0.lock().expect("no thread panics with it"))
    }

    /// How many machines were met.
    pub(super) fn machines(&self) -> usize {
        self.with(|all| all.nodes.all.len())
    }

    pub(super) fn node(&self, id: NodeId) -> Arc<Node> {
        self.with(|all| all.nodes.get(id.0))
    }

    pub(super) fn journals(&self, id: JournalsId) -> Arc<Journals> {
        self.with(|all| all.journals.get(id.0))
    }

    /// A machine that takes its first steps.
    pub(super) fn begin(&self, machine: Machine, events: Vec<Event>, now: u8) -> NodeId {
        let mut last = (machine, None);
        for event in events {
            let (machine, effect) = last.0.step(event, second(now));
            last = (machine, effect.or(last.1));
        }
        let (machine, effect) = last;
        let effect = effect.expect("a machine that was started wants something");
        self.with(|all| NodeId(all.nodes.number(Node { machine, effect })))
    }

    /// What comes of what happened. What it wants meanwhile is what it wanted before.
    pub(super) fn step(&self, id: NodeId, event: Event, now: u8) -> NodeId {
        let key = (id.0, now, event);
        self.with(|all| {
            if let Some(known) = all.steps.get(&key) {
                return *known;
            }
            let before = all.nodes.get(id.0);
            let (machine, effect) = before.machine.clone().step(key.2.clone(), second(now));
            let effect = effect.unwrap_or_else(|| before.effect.clone());
            let after = NodeId(all.nodes.number(Node { machine, effect }));
            all.steps.insert(key, after);
            after
        })
    }

    /// What journals tell once something more is written.
    pub(super) fn written(&self, id: JournalsId, run: RunId, entry: &Entry, now: u8) -> JournalsId {
        let key = (id.0, now, run, entry.clone());
        self.with(|all| {
            if let Some(known) = all.writes.get(&key) {
                return *known;
            }
            let mut journals = Journals::clone(&all.journals.get(id.0));
            journals.entry(run).or_default().apply(entry, second(now));
            let after = JournalsId(all.journals.number(journals));
            all.writes.insert(key, after);
            after
        })
    }
}
