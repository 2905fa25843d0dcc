//! A model of everything that a collection meets: a storage, a registry with its caches, those who push,
//! delete and deploy, and collectors that die anywhere and replace each other. The collectors run the
//! [`Machine`](super::Machine) of production; around it is as little as makes it lose something as soon as
//! one guard is missing. All of it is walked through by a model checker.
//!
//! What is held to be so of the world, besides what [`scenario::Scenario`] says: a push, or each of
//! its requests, ends within `longestRequest`; what is deployed is tagged, or nobody is between a listing and its purge; a request of
//! a collector that lost its lock arrives within a lease of when it was sent.

use stateright::Property;

use self::collector::How;
use self::files::{MANIFESTS, Manifest, Manifests};
use self::known::Known;
use self::scenario::{Collectors, Forgets, Scenario};
use self::world::{World, Writer};
use super::{Effect, Goal};
use crate::collection::run::{Entry, Place, Run, Why};

mod collector;
mod files;
mod known;
mod larger;
mod listing;
mod moving;
mod mutants;
mod quiet;
mod registry;
mod scenario;
mod session;
mod tests;
mod world;

#[derive(Debug)]
struct Model {
    scenario: Scenario,
    known: Known,
    begin: World,
}

/// What may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    Tick,
    /// The registry restarts, or somebody empties the cache that it shares.
    Forget,
    Push(usize, Manifest),
    Writer(usize),
    Untag(Manifest),
    Delete(Manifest),
    Deploy(Manifest),
    Undeploy(Manifest),
    Pull(Manifest),
    Start(usize),
    /// To put everything back.
    Restore(usize),
    Collector(usize, How),
    Crash(usize),
    Land,
}

/// Nothing that is needed is in neither place.
const NOTHING_IS_LOST: &str = "nothing is lost";
/// Once faults end, everything that is needed is live.
const EVERYTHING_RETURNS: &str = "everything returns";
const A_PURGE: &str = "something is purged";
const A_RESTORE: &str = "something goes back since it is wanted";
const A_CACHE: &str = "something goes back since the registry believes in it";

impl Model {
    fn new(scenario: Scenario) -> Self {
        let (known, journals) = Known::new();
        let begin = World::new(&scenario, journals);
        Self {
            scenario,
            known,
            begin,
        }
    }

    fn who(&self) -> std::ops::Range<usize> {
        0..if self.scenario.collectors == Collectors::Two {
            2
        } else {
            1
        }
    }

    fn of_collectors(&self, world: &World, actions: &mut Vec<Action>) {
        for who in self.who() {
            if world.left.sessions > 0 && self.may_start(world, who) {
                actions.push(Action::Start(who));
                if world.left.restores > 0 {
                    actions.push(Action::Restore(who));
                }
            }
            if world.collectors[who].is_none() {
                continue;
            }
            actions.push(Action::Collector(who, How::Well));
            if world.left.failures > 0 {
                actions.push(Action::Collector(who, How::Fails));
            }
            if world.left.pages > 0 {
                let all = world.tagged.iter();
                actions.extend(all.map(|it| Action::Collector(who, How::WithoutPage(it))));
            }
            if world.left.crashes > 0 {
                actions.push(Action::Crash(who));
            }
        }
        if world.late.is_some() {
            actions.push(Action::Land);
        }
    }

    fn of_others(&self, world: &World, actions: &mut Vec<Action>) {
        let scenario = &self.scenario;
        if world.is_cached() && scenario.forgets == Forgets::AtAnyTime {
            actions.push(Action::Forget);
        }
        for (at, writer) in world.writers.iter().take(scenario.writers).enumerate() {
            if *writer != Writer::Idle {
                actions.push(Action::Writer(at));
            } else if world.left.pushes > 0 {
                actions.extend(scenario.pushed.iter().map(|it| Action::Push(at, it)));
            }
        }
        for manifest in MANIFESTS {
            let is_tagged = world.tagged.has(manifest);
            let is_kept = world.kept.has(manifest);
            if scenario.pulled.has(manifest) && world.serves(manifest) {
                actions.push(Action::Pull(manifest));
            }
            if is_tagged && scenario.untagged.has(manifest) {
                actions.push(Action::Untag(manifest));
            }
            let is_there = world.live.has(manifest.revision());
            if is_there && !is_kept && scenario.deleted.has(manifest) {
                actions.push(Action::Delete(manifest));
            }
            if scenario.deployed.has(manifest) {
                if is_kept {
                    actions.push(Action::Undeploy(manifest));
                } else if self.may_deploy(world, manifest) {
                    actions.push(Action::Deploy(manifest));
                }
            }
        }
    }

    /// What has no tag comes into use again as long as nobody purges it by what was in use before.
    fn may_deploy(&self, world: &World, manifest: Manifest) -> bool {
        let is_whole = manifest
            .closure()
            .without(world.live.and(world.held()))
            .is_empty();
        if world.tagged.has(manifest) {
            return true;
        }
        if self.scenario.is_seen_late {
            let journals = self.known.journals(world.journals);
            let taken = journals.values().filter_map(Run::last_taken).min();
            let ends = taken.map(|at| at.get() + i64::from(self.scenario.quarantine_for));
            return is_whole && ends.is_some_and(|ends| i64::from(world.clock) + 1 < ends);
        }
        let mut sessions = world.collectors.iter().flatten();
        is_whole && !sessions.any(|it| it.listed.is_some())
    }

    fn happens(&self, before: &World, action: Action) -> Option<World> {
        let mut world = *before;
        match action {
            Action::Tick => world.tick(&self.scenario),
            Action::Forget => world.forget(),
            Action::Push(at, manifest) => {
                world.left.pushes -= 1;
                world.writers[at] = Writer::Pushes {
                    manifest,
                    begun: world.clock,
                    step: world::Step::Head(0),
                };
            }
            Action::Writer(at) => world.push(&self.scenario, at),
            Action::Untag(manifest) => world.tagged.remove(manifest),
            Action::Delete(manifest) => world.delete(manifest),
            Action::Deploy(manifest) => world.kept.add(manifest),
            Action::Undeploy(manifest) => world.kept.remove(manifest),
            Action::Pull(manifest) => world.pull(&self.scenario, manifest),
            Action::Start(who) => {
                world.left.sessions -= 1;
                self.start(&mut world, who, Goal::Collect, false);
            }
            Action::Restore(who) => {
                world.left.sessions -= 1;
                world.left.restores -= 1;
                self.start(&mut world, who, Goal::Tend, true);
            }
            Action::Collector(who, how) => {
                world = self.act(before, who, how)?;
                match how {
                    How::Well => {}
                    How::Fails => world.left.failures -= 1,
                    How::WithoutPage(_) => world.left.pages -= 1,
                }
            }
            Action::Crash(who) => {
                world.left.crashes -= 1;
                self.crash(&mut world, who);
            }
            Action::Land => self.land(&mut world),
        }
        Some(world)
    }

    /// Whether somebody is about to write this.
    fn writes(&self, world: &World, is_it: impl Fn(&Entry) -> bool) -> bool {
        let mut all = world.collectors.iter().flatten();
        all.any(|it| match &self.known.node(it.node).effect {
            Effect::Write(_, entry) => is_it(entry),
            _ => false,
        })
    }
}

impl stateright::Model for Model {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.begin]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.of_collectors(world, actions);
        self.of_others(world, actions);
        if world.clock < self.scenario.clock {
            actions.push(Action::Tick);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        self.happens(world, action).filter(|after| after != world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NOTHING_IS_LOST, |_, world: &World| {
                let somewhere = world.live.and(world.held());
                world.needed().without(somewhere).is_empty()
            }),
            Property::always(EVERYTHING_RETURNS, |model: &Self, world: &World| {
                model.returns(world)
            }),
            Property::sometimes(A_PURGE, |model: &Self, world: &World| {
                let journals = model.known.journals(world.journals);
                journals.values().any(|run| run.at(Place::Gone).count() > 0)
            }),
            Property::sometimes(A_RESTORE, |model: &Self, world: &World| {
                let is_wanted =
                    |entry: &Entry| matches!(entry, Entry::ReturnIntent(Why::Wanted, _));
                model.writes(world, is_wanted)
            }),
            Property::sometimes(A_CACHE, |model: &Self, world: &World| {
                let is_cached =
                    |entry: &Entry| matches!(entry, Entry::ReturnIntent(Why::CacheUnsettled, _));
                model.writes(world, is_cached)
            }),
        ]
    }
}
