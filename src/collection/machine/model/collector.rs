//! Each effect of a machine, carried out in a world as `app::collector` does: one file at a time, so that
//! everything else may come in between, and anybody may die.

use super::super::{Effect, Event, Guarded};
use super::Model;
use super::files::{Files, Manifest};
use super::known::{Node, second};
use super::listing::Listing;
use super::scenario::Collectors;
use super::world::{Act, Collector, Quarantine, Seen, World};
use crate::collection::gate::{self, Facts, Permit};
use crate::collection::item::{ItemId, RunId};
use crate::collection::run::{Entry, Outcome, Proof, Why};
use crate::gc::refusal::Code;

/// So long after its last sign of life somebody loses the lock, and so long what was sent may take.
pub(super) const LEASE: u8 = 1;

/// How an effect is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum How {
    Well,
    /// It fails, or nobody knows; nothing of it was done.
    Fails,
    /// What is listed lacks the page with this tag.
    WithoutPage(Manifest),
}

fn permit(epoch: u8) -> Permit {
    let mut facts = Facts::default();
    for code in Code::ALL {
        facts.met(code);
    }
    let until = second(u8::MAX);
    gate::decide(&facts, u32::from(epoch), until).expect("all is met")
}

impl Model {
    /// Carries out what somebody's machine wants. `None` where that has to wait, or cannot be so.
    pub(super) fn act(&self, before: &World, who: usize, how: How) -> Option<World> {
        let collector = before.collectors[who]?;
        let node = self.known.node(collector.node);
        let mut world = *before;
        if moving(&node.effect).is_some() {
            self.move_one(&mut world, who, &node, how)?;
            return Some(world);
        }
        let (others, event) = self.answer(&mut world, who, &node, how)?;
        for other in others {
            self.deliver(&mut world, who, other);
        }
        self.deliver(&mut world, who, event);
        Some(world)
    }

    pub(super) fn deliver(&self, world: &mut World, who: usize, event: Event) {
        let Some(mut collector) = world.collectors[who] else {
            return;
        };
        let is_aside = matches!(event, Event::Wanted(..) | Event::Stopped);
        collector.node = self.known.step(collector.node, event, world.clock);
        if !is_aside {
            collector.moved = [None; 4];
            collector.is_copied = false;
        }
        let node = self.known.node(collector.node);
        collector.until = match (self.scenario.collectors, moving(&node.effect)) {
            (Collectors::One, _) | (_, None) => u8::MAX,
            (_, Some(_)) => world.clock + LEASE,
        };
        world.collectors[who] = (!matches!(node.effect, Effect::Done(_))).then_some(collector);
    }

    /// What comes of anything but a move, and what happened besides.
    fn answer(
        &self,
        world: &mut World,
        who: usize,
        node: &Node,
        how: How,
    ) -> Option<(Vec<Event>, Event)> {
        let collector = world.collectors[who]?;
        let fails = how == How::Fails;
        let hidden = match how {
            How::WithoutPage(manifest) => Some(manifest),
            How::Well | How::Fails => None,
        };
        let is_listing = matches!(
            node.effect,
            Effect::List | Effect::Confirm | Effect::Watch | Effect::Prove
        );
        if hidden.is_some() && !is_listing {
            return None;
        }
        let listing = |world| Listing::new(&self.scenario, world, node.machine.runs(), hidden);
        let mut others = Vec::new();
        let event = match &node.effect {
            Effect::WaitUntil(until) if !fails && second(world.clock) >= *until => Event::Waited,
            Effect::Write(run, entry) => self.remember(world, who, *run, entry, fails),
            Effect::Watch if fails => Event::NotWatched,
            Effect::Prove if fails => Event::Proven(Proof::Unknown),
            Effect::Forget if fails => Event::NotForgotten,
            Effect::Guard if fails => Event::Guarded(Guarded::Stop),
            // That it can fail is as if the session had died there.
            _ if fails => return None,
            Effect::Look(run, items) => {
                let quarantine = *world.run(*run)?;
                let place = |item: &ItemId| place(world, &quarantine, *item);
                Event::Looked(items.iter().map(place).collect())
            }
            Effect::CheckGate => Event::Gate(true),
            Effect::List => {
                let listing = listing(world);
                let has_room = world.runs.iter().take(usize::from(self.scenario.runs));
                let selection = if has_room.clone().any(Option::is_none) {
                    listing.selection(&self.scenario)
                } else {
                    Files::NONE
                };
                let told = listing.told(selection);
                let kept = world.seen(&self.scenario);
                let collector = world.collectors[who].as_mut()?;
                collector.listed = Some(Seen { selection, kept });
                Event::Listed(told)
            }
            Effect::Decide => Event::Decided(self.decide(world, &collector)),
            Effect::Confirm => {
                let selection = collector.listed?.selection;
                let goes = listing(world).goes();
                Event::Confirmed(selection.without(goes).is_empty())
            }
            Effect::Guard => {
                let is_ours = world.lock.epoch == collector.epoch;
                if is_ours {
                    world.lock.renewed = world.clock;
                }
                Event::Guarded(if is_ours { Guarded::Go } else { Guarded::Lost })
            }
            Effect::Ask(run, items) => {
                let all = world.run(*run)?.items;
                let believed = items.iter().map(|item| {
                    let file = all.file(*item);
                    if let Some(manifest) = file.revision_of() {
                        return world.live.has(file) && world.live.has(manifest.bytes());
                    }
                    file.is_link() && world.believes_in(file)
                });
                Event::Asked(believed.collect())
            }
            Effect::Prove => {
                let wanted = listing(world).wanted().into_iter();
                others.extend(
                    wanted.map(|(run, items)| Event::Wanted(run, Why::Wanted, Some(items))),
                );
                let kept = world.seen(&self.scenario);
                let mut before = kept.iter().filter(|it| world.proven.has(*it));
                Event::Proven(if before.all(|it| world.serves(it)) {
                    Proof::Clean
                } else {
                    Proof::Worse
                })
            }
            Effect::Watch => Event::Watched(listing(world).wanted()),
            Effect::Forget => {
                world.forget();
                Event::Forgotten
            }
            Effect::Unlock => {
                if world.lock.epoch == collector.epoch {
                    world.lock.is_released = true;
                    world.lock.holder = None;
                }
                Event::Unlocked
            }
            Effect::Lock
            | Effect::WaitUntil(_)
            | Effect::Done(_)
            | Effect::Take(..)
            | Effect::PutBack(..)
            | Effect::Purge(..) => return None,
        };
        Some((others, event))
    }

    /// Writes of a run, unless somebody who came later did.
    fn remember(
        &self,
        world: &mut World,
        who: usize,
        run: RunId,
        entry: &Entry,
        fails: bool,
    ) -> Event {
        let Some(collector) = world.collectors[who] else {
            return Event::NotWritten;
        };
        if fails {
            return Event::NotWritten;
        }
        if *entry == Entry::Began {
            let items = collector.listed.map(|it| it.selection).unwrap_or_default();
            let free = world.runs.iter_mut().find(|it| it.is_none());
            *free.expect("it was looked for when it listed") = Some(Quarantine {
                id: run,
                items,
                held: Files::NONE,
                written_by: collector.epoch,
            });
        }
        match world.run_mut(run) {
            Some(quarantine) if quarantine.written_by <= collector.epoch => {
                quarantine.written_by = collector.epoch;
            }
            _ => return Event::NotWritten,
        }
        world.journals = self.known.written(world.journals, run, entry, world.clock);
        Event::Written
    }

    /// The gate, by what is in use now, and by proofs of now.
    fn decide(&self, world: &mut World, collector: &Collector) -> Option<Permit> {
        let seen = collector.listed?;
        let kept = world.seen(&self.scenario);
        let came = kept.without(seen.kept);
        let taken =
            |it: Manifest| seen.selection.has(it.revision()) || seen.selection.has(it.bytes());
        if came.iter().any(taken) {
            return None;
        }
        let is_fine = |it: Manifest| {
            let has_nothing_to_lose = !world.proven.has(it) && !world.live.has(it.revision());
            world.serves(it) || has_nothing_to_lose
        };
        if !kept.iter().all(is_fine) {
            return None;
        }
        for manifest in kept.iter() {
            if world.serves(manifest) {
                world.proven.add(manifest);
            }
        }
        Some(permit(collector.epoch))
    }
}

/// What of a run is to be moved, and how.
pub(super) fn moving(effect: &Effect) -> Option<(Act, RunId, &[ItemId])> {
    match effect {
        Effect::Take(run, items, _) => Some((Act::Take, *run, items)),
        Effect::PutBack(run, items) => Some((Act::PutBack, *run, items)),
        Effect::Purge(run, items, _) => Some((Act::Purge, *run, items)),
        _ => None,
    }
}

/// Where an item is.
pub(super) fn place(world: &World, quarantine: &Quarantine, item: ItemId) -> Outcome {
    let file = quarantine.items.file(item);
    if quarantine.held.has(file) {
        Outcome::Held
    } else if world.live.has(file) {
        Outcome::Live
    } else {
        Outcome::Gone
    }
}
