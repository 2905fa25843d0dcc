//! One file of a batch is moved, by whoever is alive, or by what a dead process sent.

use super::super::Event;
use super::Model;
use super::collector::{How, moving};
use super::files::File;
use super::known::Node;
use super::scenario::Mover;
use super::world::{Act, Late, World};
use crate::collection::item::RunId;
use crate::collection::run::Outcome;

/// How far a file has come.
enum Step {
    /// It is in both places.
    Copied,
    Moved(Outcome),
}

impl Model {
    /// Moves the next of somebody's batch, and tells of the batch once it is through.
    pub(super) fn move_one(
        &self,
        world: &mut World,
        who: usize,
        node: &Node,
        how: How,
    ) -> Option<()> {
        let (act, run, items) = moving(&node.effect)?;
        let collector = world.collectors[who]?;
        let done = collector.moved.iter().flatten().count();
        let is_late = world.clock > collector.until;
        let has_failed = match how {
            How::Well => is_late,
            How::Fails => true,
            How::WithoutPage(_) => return None,
        };
        // After the first error nothing more is taken or purged; what goes back does.
        let is_over = has_failed && act != Act::PutBack;
        let mut moved = collector.moved;
        if has_failed {
            moved[done] = Some(Outcome::Unknown);
        } else {
            let file = world.run(run)?.items.file(items[done]);
            match self.step_one(world, act, run, file, collector.is_copied) {
                Step::Copied => {
                    world.collectors[who].as_mut()?.is_copied = true;
                    return Some(());
                }
                Step::Moved(outcome) => moved[done] = Some(outcome),
            }
        }
        let all = moved.iter().take(items.len());
        let mut outcomes: Vec<Outcome> = all.map_while(|it| *it).collect();
        if outcomes.len() < items.len() && !is_over {
            let collector = world.collectors[who].as_mut()?;
            collector.moved = moved;
            collector.is_copied = false;
            return Some(());
        }
        outcomes.resize(items.len(), Outcome::Unknown);
        let has_failed = outcomes.contains(&Outcome::Unknown);
        self.tell(world, who, outcomes, has_failed);
        Some(())
    }

    fn tell(&self, world: &mut World, who: usize, outcomes: Vec<Outcome>, has_failed: bool) {
        let event = Event::Moved {
            outcomes,
            has_failed,
        };
        self.deliver(world, who, event);
    }

    /// What a dead process sent arrives.
    pub(super) fn land(&self, world: &mut World) {
        let Some(late) = world.late.take() else {
            return;
        };
        let Late {
            act, run, files, ..
        } = late;
        for file in files.iter() {
            match self.step_one(world, act, run, file, late.is_copied) {
                Step::Copied => {
                    world.late = Some(Late {
                        is_copied: true,
                        ..late
                    });
                }
                Step::Moved(_) => {}
            }
        }
    }

    fn step_one(
        &self,
        world: &mut World,
        act: Act,
        run: RunId,
        file: File,
        is_copied: bool,
    ) -> Step {
        let copies = self.scenario.mover == Mover::CopiesAndDeletes;
        let is_young = world.is_young(file);
        let is_live = world.live.has(file);
        let Some(quarantine) = world.run_mut(run) else {
            return Step::Moved(Outcome::Unknown);
        };
        let is_held = quarantine.held.has(file);
        Step::Moved(match act {
            // It was written again since it was planned, or is not there.
            Act::Take if !is_copied && is_young => Outcome::Live,
            Act::Take if !is_copied && !is_live => Outcome::Gone,
            Act::Take => {
                if !is_copied {
                    quarantine.held.add(file);
                    if copies {
                        return Step::Copied;
                    }
                }
                world.leave(file);
                Outcome::Held
            }
            Act::PutBack if !is_copied && !is_held => {
                if is_live {
                    Outcome::Live
                } else {
                    Outcome::Gone
                }
            }
            Act::PutBack => {
                if !is_copied && copies && !is_live {
                    world.live.add(file);
                    return Step::Copied;
                }
                quarantine.held.remove(file);
                world.live.add(file);
                Outcome::Live
            }
            Act::Purge => {
                quarantine.held.remove(file);
                Outcome::Gone
            }
        })
    }
}
