//! A session begins, and dies.

use super::super::{Event, Goal, Machine, Rules};
use super::Model;
use super::collector::{LEASE, moving};
use super::known::second;
use super::scenario::{Collectors, Forgets};
use super::world::{Collector, Late, World};
use crate::collection::run::Why;

impl Model {
    fn rules(&self) -> Rules {
        Rules {
            purges: true,
            quarantine_for: i64::from(self.scenario.quarantine_for),
            longest_request: 1,
            batch: self.scenario.batch,
            forgets: self.scenario.forgets == Forgets::ByTheCollector,
            guards: self.scenario.guards,
        }
    }

    /// Whether somebody may take the lock.
    pub(super) fn may_start(&self, world: &World, who: usize) -> bool {
        if world.collectors[who].is_some() {
            return false;
        }
        let Some(holder) = world.lock.holder else {
            return true;
        };
        let is_alive = world.collectors[usize::from(holder)].is_some();
        let is_silent = world.clock > world.lock.renewed + LEASE;
        !is_alive || self.scenario.collectors == Collectors::Two && is_silent
    }

    /// Somebody takes the lock, and goes on from what the journals tell.
    pub(super) fn start(&self, world: &mut World, who: usize, goal: Goal, restores: bool) {
        let may_come = self.scenario.collectors != Collectors::One && !world.lock.is_released;
        let drained = world.lock.renewed + LEASE + 1;
        world.lock.epoch += 1;
        world.lock.holder = u8::try_from(who).ok();
        world.lock.is_released = false;
        world.lock.renewed = world.clock;
        let epoch = world.lock.epoch;
        let runs = self.known.journals(world.journals);
        let machine = Machine::new(self.rules(), runs.as_ref().clone());
        let mut events = vec![Event::Started(goal)];
        if restores {
            events.extend(runs.keys().map(|run| Event::Wanted(*run, Why::Asked, None)));
        }
        events.push(Event::Locked {
            epoch: u32::from(epoch),
            drained_at: may_come.then(|| second(drained)),
        });
        let node = self.known.begin(machine, events, world.clock);
        world.collectors[who] = Some(Collector {
            node,
            epoch,
            listed: None,
            moved: [None; 4],
            is_copied: false,
            until: u8::MAX,
        });
    }

    /// Somebody dies. What was sent may still arrive.
    pub(super) fn crash(&self, world: &mut World, who: usize) {
        let Some(collector) = world.collectors[who].take() else {
            return;
        };
        if self.scenario.collectors == Collectors::One {
            return;
        }
        let node = self.known.node(collector.node);
        let done = collector.moved.iter().flatten().count();
        if let Some((act, run, items)) = moving(&node.effect)
            && let Some(quarantine) = world.run(run)
        {
            let files = items[done..].iter().map(|it| quarantine.items.file(*it));
            world.late = Some(Late {
                act,
                run,
                files: files.take(1).collect(),
                is_copied: collector.is_copied,
                until: collector.until,
            })
            .filter(|late| world.clock <= late.until && !late.files.is_empty());
        }
    }
}
