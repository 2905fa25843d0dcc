use std::collections::BTreeMap;
use std::fmt::Write as _;

use stateright::{Checker, HasDiscoveries, Model as _, Path};

use super::mutants::missed;
use super::scenario::{Accepts, Cache, Clients, Mover};
use super::*;
use crate::collection::guard::{Guard, Guards};

const A: Manifests = Manifests::of(&[Manifest::A]);

/// What was found in all of a world.
#[derive(Debug)]
struct Found {
    states: usize,
    machines: usize,
    /// By property: what happened, a line each. A test shows it with `--nocapture`.
    traces: BTreeMap<&'static str, String>,
}

impl Found {
    /// Of a world that was walked through wholly, unless something else was asked for.
    fn of(checker: &impl Checker<Model>) -> Self {
        let discoveries = checker.discoveries().into_iter();
        Self {
            states: checker.unique_state_count(),
            machines: checker.model().known.machines(),
            traces: discoveries
                .map(|(name, path)| (name, trace(checker.model(), path)))
                .collect(),
        }
    }

    fn everywhere(scenario: Scenario) -> Self {
        Self::of(&Model::new(scenario).checker().spawn_bfs().join())
    }

    /// Until it is found that something is not so, by the shortest way.
    fn until_not_so(property: &'static str, scenario: Scenario) -> Self {
        let checker = Model::new(scenario).checker();
        let checker = checker.finish_when(HasDiscoveries::AnyOf([property].into()));
        Self::of(&checker.spawn_bfs().join())
    }

    /// Nothing is lost, and everything returns.
    fn is_sound(&self, name: &str) {
        println!(
            "{name}: {} states, {} of machines",
            self.states, self.machines
        );
        for property in [NOTHING_IS_LOST, EVERYTHING_RETURNS] {
            if let Some(trace) = self.traces.get(property) {
                panic!("{name}, not so: {property}\n{trace}");
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        self.traces.contains_key(name)
    }
}

fn trace(model: &Model, path: Path<World, Action>) -> String {
    let mut told = String::new();
    for (world, action) in path.into_vec() {
        match action {
            None => writeln!(told, "  and then {world:?}"),
            Some(Action::Collector(who, how)) => {
                let collector = world.collectors[who].expect("it acts");
                let effect = &model.known.node(collector.node).effect;
                writeln!(told, "  collector {who}, {how:?}: {effect:?}")
            }
            Some(action) => writeln!(told, "  {action:?}"),
        }
        .expect("it is memory");
    }
    told
}

#[test]
fn no_guard_is_idle() {
    for guard in Guard::ALL {
        let (scenario, lost) = missed(guard);
        // The one with two collectors is the largest, and has a test of its own.
        if guard != Guard::LockCheck {
            Found::everywhere(scenario).is_sound(&format!("{guard:?}"));
        }
        let guards = Guards::without(guard);
        let found = Found::until_not_so(lost, Scenario { guards, ..scenario });
        let Some(trace) = found.traces.get(lost) else {
            panic!("without {guard:?} nothing is missed: {found:#?}");
        };
        println!(
            "without {guard:?} not so: {lost}, in {} steps, {} states\n{trace}",
            trace.lines().count() - 1,
            found.states
        );
    }
}

/// Whoever was not seen for a while loses the lock to another, and acts on.
#[test]
fn two_collectors_lose_nothing_in_a_million_states() {
    let (scenario, _) = missed(Guard::LockCheck);
    let found = Found::everywhere(scenario);
    found.is_sound("two collectors");
    assert!(found.states >= 1_000_000, "{}", found.states);
}

/// A push of what is taken, pulls, a cache of everything, and a crash anywhere.
#[test]
fn a_cache_of_everything_and_a_crash_lose_nothing_in_a_million_states() {
    let found = Found::everywhere(Scenario {
        cache: Cache::Unsafe,
        pulled: A,
        crashes: 1,
        ..Scenario::small()
    });
    found.is_sound("a cache and a crash");
    assert!(found.states >= 1_000_000, "{}", found.states);
    for possible in [A_PURGE, A_RESTORE, A_CACHE] {
        assert!(found.has(possible), "never so: {possible}");
    }
}

/// A client goes by what it was told for however long: what names what is gone has to be refused.
#[test]
fn a_registry_that_takes_every_manifest_loses_layers() {
    let slow = Scenario {
        clients: Clients::Slow,
        ..Scenario::tiny()
    };
    Found::everywhere(slow).is_sound("slow clients");
    let scenario = Scenario {
        accepts: Accepts::Any,
        ..slow
    };
    let found = Found::until_not_so(NOTHING_IS_LOST, scenario);
    assert!(found.has(NOTHING_IS_LOST));
}

/// What dead processes sent may still arrive; where that is one rename, everything is there all the same, and
/// what arrives late is in no journal.
#[test]
fn on_a_disk_what_arrives_late_is_held_and_never_returns() {
    let (scenario, _) = missed(Guard::Drain);
    let scenario = Scenario {
        mover: Mover::Renames,
        ..scenario
    };
    let guards = Guards::without(Guard::Drain);
    let found = Found::everywhere(Scenario { guards, ..scenario });
    assert!(found.has(EVERYTHING_RETURNS) && !found.has(NOTHING_IS_LOST));
}

/// How many pages a storage has to hide, one after the other and each with the same tag, until something is
/// lost that only a tag keeps.
#[test]
fn it_takes_five_lost_pages_to_lose_what_only_a_tag_keeps() {
    let (scenario, _) = missed(Guard::SecondListing);
    let five = Scenario {
        pages: 5,
        ..scenario
    };
    assert!(Found::until_not_so(NOTHING_IS_LOST, five).has(NOTHING_IS_LOST));
    // What is in use is proven by the registry, which no lost page changes.
    let in_use = Scenario {
        kept: A,
        pages: 6,
        ..scenario
    };
    Found::everywhere(in_use).is_sound("six lost pages, and in use");
}

/// Another repository gets a layer without its bytes being sent, while that goes.
#[test]
fn a_mount_of_what_goes_loses_nothing() {
    let found = Found::everywhere(Scenario {
        cache: Cache::SafePut,
        pulled: A,
        pushed: Manifests::of(&[Manifest::C]),
        ..Scenario::small()
    });
    found.is_sound("a mount");
    assert!(found.has(A_PURGE) && found.has(A_RESTORE));
}

#[test]
#[ignore = "it takes many minutes: `make long`"]
fn many_millions_of_states_lose_nothing() {
    let mut states = 0;
    for (name, scenario) in larger::of_registries()
        .into_iter()
        .chain(larger::of_collectors())
    {
        let found = Found::everywhere(scenario);
        found.is_sound(name);
        states += found.states;
    }
    println!("{states} states");
    assert!(states >= 10_000_000, "{states}");
}
