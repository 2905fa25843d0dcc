use super::*;
use crate::collection::gate::{self, Facts};
use crate::gc::refusal::Code;

fn rules() -> Rules {
    Rules {
        purges: true,
        quarantine_for: 100,
        longest_request: 10,
        batch: 2,
        forgets: false,
        guards: Guards::all(),
    }
}

fn permit() -> Permit {
    let mut facts = Facts::default();
    for code in Code::ALL {
        facts.met(code);
    }
    gate::decide(&facts, 1, Second::new(1_000_000)).unwrap()
}

/// A world in which everything works, unless a test says otherwise.
struct World {
    machine: Machine,
    now: i64,
    /// What each run's journal would tell.
    written: BTreeMap<RunId, Vec<(Entry, Second)>>,
    /// What was done, in words.
    done: Vec<String>,
    garbage: Vec<Vec<ItemId>>,
    wanted: BTreeMap<RunId, Vec<ItemId>>,
    believed: Vec<ItemId>,
    /// Also once it was to be forgotten.
    is_believed_always: bool,
    proof: Proof,
}

impl World {
    fn new(rules: Rules, garbage: usize) -> Self {
        Self {
            machine: Machine::new(rules, BTreeMap::new()),
            now: 1000,
            written: BTreeMap::new(),
            done: Vec::new(),
            garbage: vec![Vec::new(); garbage],
            wanted: BTreeMap::new(),
            believed: Vec::new(),
            is_believed_always: false,
            proof: Proof::Clean,
        }
    }

    fn now(&self) -> Second {
        Second::new(self.now)
    }

    fn answer(&mut self, effect: Effect) -> Option<Event> {
        let count = |items: &[ItemId]| items.iter().map(|it| it.0).collect::<Vec<_>>();
        let event = match effect {
            Effect::Lock => Event::Locked {
                epoch: 1,
                drained_at: None,
            },
            Effect::WaitUntil(_) => Event::Waited,
            Effect::Look(_, items) => Event::Looked(vec![Outcome::Held; items.len()]),
            Effect::Write(run, entry) => {
                let now = self.now();
                self.written.entry(run).or_default().push((entry, now));
                Event::Written
            }
            Effect::CheckGate => Event::Gate(true),
            Effect::List => Event::Listed(Listed {
                take: std::mem::take(&mut self.garbage),
                wanted: std::mem::take(&mut self.wanted),
            }),
            Effect::Decide => Event::Decided(Some(permit())),
            Effect::Confirm => Event::Confirmed(true),
            Effect::Guard => Event::Guarded(Guarded::Go),
            Effect::Take(_, items, _) => {
                self.done.push(format!("take {:?}", count(&items)));
                moved(&items, Outcome::Held)
            }
            Effect::Ask(_, items) => {
                let believed = items.iter().map(|it| self.believed.contains(it));
                Event::Asked(believed.collect())
            }
            Effect::PutBack(_, items) => {
                self.done.push(format!("back {:?}", count(&items)));
                moved(&items, Outcome::Live)
            }
            Effect::Purge(_, items, _) => {
                self.done.push(format!("purge {:?}", count(&items)));
                moved(&items, Outcome::Gone)
            }
            Effect::Prove => {
                self.done.push("prove".to_owned());
                Event::Proven(self.proof)
            }
            Effect::Watch => {
                self.now += 6;
                Event::Watched(std::mem::take(&mut self.wanted))
            }
            Effect::Forget => {
                self.done.push("forget".to_owned());
                self.believed.retain(|_| self.is_believed_always);
                Event::Forgotten
            }
            Effect::Unlock => Event::Unlocked,
            Effect::Done(_) => return None,
        };
        Some(event)
    }

    fn step(&mut self, event: Event) -> Option<Effect> {
        let rules = self.machine.rules.clone();
        let machine = std::mem::replace(&mut self.machine, Machine::new(rules, BTreeMap::new()));
        let (machine, effect) = machine.step(event, self.now());
        self.machine = machine;
        effect
    }

    fn session(&mut self, goal: Goal) -> Ending {
        self.session_until(goal, |_| false).unwrap()
    }

    /// Until an effect that is not answered any more: a crash before it.
    fn session_until(&mut self, goal: Goal, is_end: impl Fn(&Effect) -> bool) -> Option<Ending> {
        let mut effect = self.step(Event::Started(goal)).unwrap();
        for _ in 0..10_000 {
            if let Effect::Done(ending) = effect {
                return Some(ending);
            }
            if is_end(&effect) {
                return None;
            }
            let event = self.answer(effect).unwrap();
            effect = self.step(event).unwrap();
        }
        panic!("it never ends: {:?}", self.done);
    }

    /// Another process goes on from what was written.
    fn crash(&mut self) {
        let mut runs = BTreeMap::new();
        for (id, entries) in &self.written {
            let mut run = Run::default();
            for (entry, at) in entries {
                run.apply(entry, *at);
            }
            runs.insert(*id, run);
        }
        self.machine = Machine::new(self.machine.rules.clone(), runs);
    }

    fn run(&self) -> RunId {
        *self.machine.runs().keys().next().unwrap()
    }
}

fn moved(items: &[ItemId], outcome: Outcome) -> Event {
    Event::Moved {
        outcomes: vec![outcome; items.len()],
        has_failed: false,
    }
}

#[test]
fn what_nobody_wanted_for_long_enough_is_purged_in_a_later_session() {
    let mut world = World::new(rules(), 3);
    assert_eq!(world.session(Goal::Collect), Ending::Done);
    assert_eq!(world.done, ["take [0, 1]", "take [2]", "prove"]);
    world.done.clear();
    // Not yet.
    assert_eq!(world.session(Goal::Collect), Ending::Done);
    assert!(world.done.is_empty(), "{:?}", world.done);
    world.now += 100;
    assert_eq!(world.session(Goal::Tend), Ending::Done);
    assert!(world.done.is_empty(), "{:?}", world.done);
    assert_eq!(world.session(Goal::Purge), Ending::Done);
    assert_eq!(world.done, ["purge [0, 1]", "purge [2]"]);
    assert!(world.machine.runs()[&world.run()].has_ended());
}

/// What was in use when it was listed is older than the end of its time.
#[test]
fn what_becomes_due_during_a_session_is_purged_by_a_later_one() {
    let mut world = World::new(rules(), 1);
    world.session(Goal::Collect);
    world.done.clear();
    world.now += 50;
    let mut effect = world.step(Event::Started(Goal::Collect)).unwrap();
    while effect != Effect::Done(Ending::Done) {
        if effect == Effect::Decide {
            world.now += 100;
        }
        let event = world.answer(effect).unwrap();
        effect = world.step(event).unwrap();
    }
    assert!(world.done.is_empty(), "{:?}", world.done);
    assert_eq!(world.session(Goal::Purge), Ending::Done);
    assert_eq!(world.done, ["purge [0]"]);
}

/// A push that was let through by what a cache believed in, and has forgotten since, ends after that listing.
#[test]
fn what_settles_during_a_session_is_purged_by_a_later_one() {
    let mut world = World::new(rules(), 1);
    world.session_until(Goal::Collect, |effect| *effect == Effect::Watch);
    world.crash();
    world.now += 200;
    assert_eq!(world.session(Goal::Purge), Ending::Done);
    assert_eq!(world.done, ["take [0]", "prove"]);
    assert_eq!(world.session(Goal::Purge), Ending::Done);
    assert_eq!(world.done, ["take [0]", "prove"]);
    world.now += 11;
    assert_eq!(world.session(Goal::Purge), Ending::Done);
    assert_eq!(world.done.last().unwrap(), "purge [0]");
}

#[test]
fn what_is_wanted_again_goes_back_and_the_rest_is_purged() {
    let mut world = World::new(rules(), 3);
    world.session(Goal::Collect);
    world.done.clear();
    world.now += 200;
    world.wanted = [(world.run(), vec![ItemId(1)])].into();
    assert_eq!(world.session(Goal::Collect), Ending::Done);
    assert_eq!(world.done, ["back [1]", "purge [0, 2]"]);
}

#[test]
fn an_image_that_got_worse_brings_everything_back() {
    let mut world = World::new(rules(), 3);
    world.proof = Proof::Worse;
    assert_eq!(world.session(Goal::Collect), Ending::Restored);
    assert_eq!(
        world.done,
        [
            "take [0, 1]",
            "take [2]",
            "prove",
            "back [2, 1]",
            "back [0]"
        ]
    );
    assert!(world.machine.runs()[&world.run()].has_ended());
}

#[test]
fn what_cannot_be_proven_is_not_purged_and_nothing_more_is_taken() {
    let mut world = World::new(rules(), 1);
    world.proof = Proof::Unknown;
    assert_eq!(world.session(Goal::Collect), Ending::Done);
    world.now += 200;
    world.garbage = vec![Vec::new()];
    world.done.clear();
    assert_eq!(world.session(Goal::Collect), Ending::Done);
    assert_eq!(world.done, ["prove"]);
    // Later it can be told.
    world.proof = Proof::Clean;
    world.done.clear();
    world.session(Goal::Purge);
    assert_eq!(world.done, ["prove", "purge [0]"]);
}

#[test]
fn what_a_replica_believes_in_goes_back_with_all_it_needs() {
    let mut world = World::new(rules(), 4);
    // The first needs the second and the last, of which that is still to be taken.
    world.garbage[0] = vec![ItemId(1), ItemId(3)];
    world.believed = vec![ItemId(0)];
    assert_eq!(world.session(Goal::Collect), Ending::Done);
    assert_eq!(
        world.done,
        ["take [0, 1]", "back [1, 0]", "take [2]", "prove"]
    );
}

/// The session that died had not asked, and what stands in a cache stays there.
#[test]
fn what_a_session_took_that_died_is_asked_for_by_the_next() {
    let mut world = World::new(rules(), 2);
    world.believed = vec![ItemId(0)];
    let died = world.session_until(Goal::Collect, |effect| matches!(effect, Effect::Ask(..)));
    assert_eq!(died, None);
    world.crash();
    assert_eq!(world.session(Goal::Tend), Ending::Done);
    assert_eq!(world.done, ["take [0, 1]", "prove", "back [1, 0]"]);
}

/// The registry looked into its storage before something was taken, and remembers what it saw after it was
/// asked.
#[test]
fn what_is_believed_in_only_later_goes_back() {
    let mut world = World::new(rules(), 3);
    world.garbage[0] = vec![ItemId(1)];
    let mut effect = world.step(Event::Started(Goal::Collect)).unwrap();
    let ending = loop {
        if let Effect::Done(ending) = effect {
            break ending;
        }
        if effect == Effect::Watch {
            world.believed = vec![ItemId(0)];
        }
        let event = world.answer(effect).unwrap();
        effect = world.step(event).unwrap();
    };
    assert_eq!(ending, Ending::Done);
    assert_eq!(
        world.done,
        ["take [0, 1]", "take [2]", "prove", "back [1, 0]"]
    );
    let run = &world.machine.runs()[&world.run()];
    assert!(run.is_settled());
    assert_eq!(run.place(ItemId(2)), Place::Held);
}

#[test]
fn what_could_not_be_put_back_settles_in_no_session_that_failed() {
    let mut world = World::new(rules(), 1);
    world.believed = vec![ItemId(0)];
    let mut effect = world.step(Event::Started(Goal::Collect)).unwrap();
    let ending = loop {
        let event = match effect {
            Effect::Done(ending) => break ending,
            Effect::PutBack(_, items) => moved(&items, Outcome::Held),
            effect => world.answer(effect).unwrap(),
        };
        effect = world.step(event).unwrap();
    };
    assert_eq!(ending, Ending::Failed);
    assert!(!world.machine.runs()[&world.run()].is_settled());
    assert_eq!(world.session(Goal::Tend), Ending::Done);
    assert_eq!(world.done.last().unwrap(), "back [0]");
}

#[test]
fn who_is_killed_before_any_effect_loses_nothing_and_takes_nothing_twice() {
    let mut whole = World::new(rules(), 3);
    whole.session(Goal::Collect);
    for killed in 0..60 {
        let mut world = World::new(rules(), 3);
        let steps = std::cell::Cell::new(0);
        let ended = world.session_until(Goal::Collect, |_| {
            steps.set(steps.get() + 1);
            steps.get() > killed
        });
        if ended.is_some() {
            assert_eq!(world.done, whole.done);
            assert!(killed > 10, "{killed}");
            return;
        }
        world.crash();
        world.session(Goal::Tend);
        for (id, run) in world.machine.runs() {
            assert_eq!(run.open().count(), 0, "{killed} {id}");
            assert!(
                run.has_ended() || run.proof() == Proof::Clean,
                "{killed} {id}"
            );
            assert!(run.has_ended() || run.is_settled(), "{killed} {id}");
        }
        assert!(!world.done.iter().any(|it| it.starts_with("purge")));
    }
    panic!("it never ended");
}

#[test]
fn what_cannot_be_written_is_not_begun_and_what_was_taken_goes_back() {
    let mut world = World::new(rules(), 3);
    let mut effect = world.step(Event::Started(Goal::Collect)).unwrap();
    let mut intents = 0;
    let ending = loop {
        if let Effect::Done(ending) = effect {
            break ending;
        }
        let is_full = match &effect {
            Effect::Write(_, Entry::Intent(_)) => {
                intents += 1;
                intents > 1
            }
            Effect::Write(..) => intents > 1,
            _ => false,
        };
        let event = if is_full {
            Event::NotWritten
        } else {
            world.answer(effect).unwrap()
        };
        effect = world.step(event).unwrap();
    };
    assert_eq!(ending, Ending::Failed);
    assert_eq!(world.done, ["take [0, 1]", "back [1, 0]"]);
}

#[test]
fn after_the_first_failure_nothing_more_is_taken() {
    let mut world = World::new(rules(), 4);
    let mut effect = world.step(Event::Started(Goal::Collect)).unwrap();
    let ending = loop {
        let event = match effect {
            Effect::Done(ending) => break ending,
            Effect::Take(..) => {
                world.done.push("take".to_owned());
                Event::Moved {
                    outcomes: vec![Outcome::Held, Outcome::Unknown],
                    has_failed: true,
                }
            }
            effect => world.answer(effect).unwrap(),
        };
        effect = world.step(event).unwrap();
    };
    assert_eq!(ending, Ending::Failed);
    // The one of which nobody knew was looked for, and found in quarantine.
    assert_eq!(world.done, ["take", "back [1, 0]"]);
}

#[test]
fn whoever_lost_the_lock_stops_at_once() {
    let mut world = World::new(rules(), 2);
    let mut effect = world.step(Event::Started(Goal::Collect)).unwrap();
    let ending = loop {
        let event = match effect {
            Effect::Done(ending) => break ending,
            Effect::Guard => Event::Guarded(Guarded::Lost),
            effect => world.answer(effect).unwrap(),
        };
        effect = world.step(event).unwrap();
    };
    assert_eq!(ending, Ending::Failed);
    assert!(world.done.is_empty());
}

#[test]
fn a_closed_gate_takes_nothing_and_tends_all_the_same() {
    let mut world = World::new(rules(), 2);
    world.session(Goal::Collect);
    world.done.clear();
    let run = world.run();
    world.step(Event::Started(Goal::Collect)).unwrap();
    world.step(Event::Wanted(run, Why::Asked, None));
    let mut effect = world
        .step(Event::Locked {
            epoch: 2,
            drained_at: None,
        })
        .unwrap();
    let ending = loop {
        let event = match effect {
            Effect::Done(ending) => break ending,
            Effect::CheckGate => Event::Gate(false),
            effect => world.answer(effect).unwrap(),
        };
        effect = world.step(event).unwrap();
    };
    assert_eq!(ending, Ending::Refused);
    assert_eq!(world.done, ["back [1, 0]"]);
}

/// Replicas that share a cache believe in everything until it is emptied, and are asked after that.
#[test]
fn what_replicas_remember_together_is_forgotten_before_they_are_asked() {
    let forgets = Rules {
        forgets: true,
        ..rules()
    };
    for is_believed_always in [false, true] {
        let mut world = World::new(forgets.clone(), 3);
        world.believed = vec![ItemId(0), ItemId(1), ItemId(2)];
        world.is_believed_always = is_believed_always;
        let began = world.now;
        assert_eq!(world.session(Goal::Collect), Ending::Done);
        let taken = ["take [0, 1]", "take [2]", "prove", "forget"];
        assert_eq!(world.done[..4], taken);
        // Later than whatever began before it was taken.
        assert!(world.now > began + forgets.longest_request);
        let back: &[&str] = if is_believed_always {
            &["back [1, 0]", "back [2]"]
        } else {
            &[]
        };
        assert_eq!(world.done[4..], *back);
        assert!(is_believed_always != world.machine.runs()[&world.run()].is_settled());
    }
}

#[test]
fn what_cannot_be_forgotten_goes_back() {
    let mut world = World::new(
        Rules {
            forgets: true,
            ..rules()
        },
        3,
    );
    let mut effect = world.step(Event::Started(Goal::Collect)).unwrap();
    let ending = loop {
        let event = match effect {
            Effect::Done(ending) => break ending,
            Effect::Forget => Event::NotForgotten,
            effect => world.answer(effect).unwrap(),
        };
        effect = world.step(event).unwrap();
    };
    assert_eq!(ending, Ending::Failed);
    assert_eq!(world.done[3..], ["back [2, 1]", "back [0]"]);
    assert!(world.machine.runs()[&world.run()].has_ended());
}

/// Nobody knows whether it was forgotten.
#[test]
fn who_dies_before_it_is_forgotten_has_it_forgotten_by_the_next() {
    let mut world = World::new(
        Rules {
            forgets: true,
            ..rules()
        },
        1,
    );
    world.session_until(Goal::Collect, |effect| *effect == Effect::Forget);
    world.crash();
    assert_eq!(world.session(Goal::Tend), Ending::Done);
    assert_eq!(world.done, ["take [0]", "prove", "forget"]);
    assert!(world.machine.runs()[&world.run()].is_settled());
}
