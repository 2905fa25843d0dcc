//! Random sequences of what people, registries and collectors do, over real files: pushes in two parts,
//! tags that move, deletes, deployments, a clock that goes on, and sessions that die anywhere. After each of
//! them a checker of its own hashes every blob that something acknowledged needs.
//!
//! The machine, the vault, the journals, the plan and the selection are those of production; what a registry
//! would answer is told by the files. Every operation means something in every state, so that what is left
//! of a sequence that fails is a sequence too.

mod content;
mod disk;
mod session;

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use self::content::{IMAGES, TAGS};
use self::disk::Disk;
use self::session::{Collects, Died};
use pullproof::collection::machine::Goal;

/// What may also happen in the middle of a session.
#[derive(Debug, Clone)]
enum Deed {
    /// The first part of a push: configs and layers that the registry has not.
    Upload(usize),
    /// The second: the manifest, by a tag; refused if something is missing.
    Put(usize, usize),
    DeleteTag(usize),
    DeleteManifest(usize),
    Deploy(usize),
    Undeploy(usize),
}

#[derive(Debug, Clone)]
enum Operation {
    Deed(Deed),
    /// Both parts of a push.
    Push(usize, usize),
    Minutes(i64),
    Session(Session),
}

#[derive(Debug, Clone)]
struct Session {
    goal: Goal,
    /// Whether an operator wants everything back.
    restores: bool,
    /// Before this effect, or in the middle of it.
    died: Option<(usize, Died)>,
    /// Before these effects.
    meanwhile: BTreeMap<usize, Deed>,
}

fn deeds() -> impl Strategy<Value = Deed> {
    let image = 0..IMAGES;
    prop_oneof![
        3 => image.clone().prop_map(Deed::Upload),
        3 => (image.clone(), 0..TAGS).prop_map(|(image, tag)| Deed::Put(image, tag)),
        2 => (0..TAGS).prop_map(Deed::DeleteTag),
        1 => image.clone().prop_map(Deed::DeleteManifest),
        1 => image.clone().prop_map(Deed::Deploy),
        1 => image.prop_map(Deed::Undeploy),
    ]
}

fn sessions() -> impl Strategy<Value = Session> {
    let goal = prop_oneof![
        6 => Just(Goal::Collect),
        1 => Just(Goal::Purge),
        1 => Just(Goal::Tend),
    ];
    let died = prop_oneof![Just(Died::Before), Just(Died::Amid)];
    let died = proptest::option::weighted(0.4, (0..50_usize, died));
    let meanwhile = proptest::collection::btree_map(0..50_usize, deeds(), 0..4);
    (goal, prop::bool::weighted(0.1), died, meanwhile).prop_map(
        |(goal, restores, died, meanwhile)| Session {
            goal,
            restores,
            died,
            meanwhile,
        },
    )
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let operation = prop_oneof![
        3 => deeds().prop_map(Operation::Deed),
        3 => (0..IMAGES, 0..TAGS).prop_map(|(image, tag)| Operation::Push(image, tag)),
        3 => (1..200_i64).prop_map(Operation::Minutes),
        5 => sessions().prop_map(Operation::Session),
    ];
    proptest::collection::vec(operation, 1..40)
}

/// How often what matters happened in all cases: a run that never purged would hold nothing to the truth.
#[derive(Debug, Default)]
struct Counts {
    taken: usize,
    back: usize,
    purged: usize,
    died: usize,
}

fn play(operations: &[Operation], counts: &mut Counts) -> Result<(), TestCaseError> {
    let mut disk = Disk::new();
    let mut collects = Collects::new(disk.root());
    for operation in operations {
        match operation {
            Operation::Deed(deed) => disk.does(deed),
            Operation::Push(image, tag) => {
                disk.does(&Deed::Upload(*image));
                disk.does(&Deed::Put(*image, *tag));
            }
            Operation::Minutes(minutes) => disk.now += 60 * minutes,
            Operation::Session(session) => collects.session(&mut disk, session, counts),
        }
        let lost = disk.lost();
        prop_assert!(lost.is_empty(), "after {operation:?}: {lost:#?}");
    }
    // Nobody fails any more.
    let sound = Session {
        goal: Goal::Collect,
        restores: false,
        died: None,
        meanwhile: BTreeMap::new(),
    };
    for _ in 0..2 {
        disk.now += 6 * 3600;
        collects.session(&mut disk, &sound, counts);
        let lost = disk.lost();
        prop_assert!(lost.is_empty(), "in the end: {lost:#?}");
    }
    let absent = disk.absent();
    prop_assert!(absent.is_empty(), "did not return: {absent:#?}");
    Ok(())
}

fn run(cases: u32) {
    let counts = std::cell::RefCell::new(Counts::default());
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&operations(), |operations| {
        play(&operations, &mut counts.borrow_mut())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let counts = counts.into_inner();
    let all = [counts.taken, counts.back, counts.purged, counts.died];
    assert!(
        all.iter().all(|it| *it >= cases as usize / 10),
        "{counts:?}"
    );
}

#[test]
fn in_two_hundred_sequences_nothing_is_lost_and_everything_returns() {
    run(200);
}

#[test]
#[ignore = "it takes many minutes: `make long`"]
fn in_twenty_thousand_sequences_nothing_is_lost_and_everything_returns() {
    run(20_000);
}
