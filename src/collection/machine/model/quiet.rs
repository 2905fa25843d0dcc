//! Once nobody fails and nobody pushes any more: whether everything that is needed goes back to where the
//! registry looks for it, by sessions alone.

use super::super::{Effect, Goal};
use super::Model;
use super::collector::How;
use super::world::{World, Writer};

/// So many sessions have to be enough.
const SESSIONS: usize = 2;

impl Model {
    /// Only where no session is under way: what one does is a matter of the steps that follow.
    pub(super) fn returns(&self, world: &World) -> bool {
        let is_under_way = world.collectors.iter().any(Option::is_some) || world.late.is_some();
        let is_there = |world: &World| world.needed().without(world.live).is_empty();
        if is_under_way || is_there(world) {
            return true;
        }
        let mut world = *world;
        world.writers = [Writer::Idle; 2];
        for _ in 0..SESSIONS {
            self.session(&mut world);
        }
        is_there(&world)
    }

    /// One to its end, with nothing in between but time.
    fn session(&self, world: &mut World) {
        world.tick(&self.scenario);
        world.tick(&self.scenario);
        self.start(world, 0, Goal::Collect, false);
        for _ in 0..1000 {
            let Some(collector) = world.collectors[0] else {
                return;
            };
            let node = self.known.node(collector.node);
            if matches!(node.effect, Effect::Watch | Effect::WaitUntil(_)) {
                world.tick(&self.scenario);
            }
            if let Some(after) = self.act(world, 0, How::Well) {
                *world = after;
            }
        }
        panic!("a session never ends: {world:?}");
    }
}
