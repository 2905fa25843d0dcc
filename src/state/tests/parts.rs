//! What is given out for safekeeping, part by part.

use std::collections::HashMap;

use super::*;
use crate::remembered::RememberedImage;

/// What a store holds.
#[derive(Debug, Default)]
struct Disk {
    images: HashMap<Digest, RememberedImage>,
    proven: HashMap<Arc<str>, Second>,
}

impl Disk {
    fn write(&mut self, part: Unsaved) {
        self.images.extend(part.images);
        self.proven.extend(part.proven);
        for name in part.forgotten {
            self.images.remove(&name);
        }
    }

    fn restart(&self) -> State {
        let remembered = Remembered {
            images: self.images.clone(),
            proven: self.proven.clone().into_iter().collect(),
            ..Remembered::default()
        };
        State::new(remembered, None)
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("r.example/app-{number}:v1"))
        .collect()
}

fn world(count: usize) -> (Inventory, Arc<Images>) {
    let names = names(count);
    inventory(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn parts_are_bounded_and_together_all_of_it() {
    let (inventory, images) = world(25);
    let mut state = State::default();
    state.set_inventory(&inventory, Arc::clone(&images));
    let reports: Vec<_> = (0..25).map(|number| pullable(number, 2000)).collect();
    state.record(round(&images, 30, &reports));
    assert_eq!(state.sort_unsaved(), 50);
    let mut disk = Disk::default();
    let mut last: Option<Digest> = None;
    for expected in [10, 10, 10, 10, 10, 0] {
        let part = state.take_unsaved(10);
        assert_eq!(part.len(), expected);
        for (name, _) in &part.images {
            assert!(last < Some(*name), "in the order of their names");
            last = Some(*name);
        }
        disk.write(part);
    }
    assert_eq!(state.sort_unsaved(), 0);
    let mut again = disk.restart();
    again.set_inventory(&inventory, images);
    let [before, after] = [&mut state, &mut again].map(|state| {
        let snapshot = state.snapshot(at(40));
        format!("{:?}", snapshot.images)
    });
    assert_eq!(before, after);
    assert_eq!(again.sort_unsaved(), 0, "it is on disk already");
}

#[test]
fn what_could_not_be_written_is_given_out_again() {
    let (inventory, images) = world(4);
    let mut state = State::default();
    state.set_inventory(&inventory, Arc::clone(&images));
    let reports = [10, 11, 12, 13].map(|proven| pullable(proven, 2000));
    state.record(round(&images, 20, &reports));
    let mut disk = Disk::default();
    let failed = state.take_unsaved(3);
    // Meanwhile one of them is looked at again, and one goes.
    let again = &images.images[0];
    state.record_part(RoundPart {
        started_at: at(30),
        ended_at: at(30),
        reports: vec![(again.key.clone(), again.needs.clone(), pullable(30, 2000))],
        compared: Vec::new(),
    });
    let mut fewer = Images::clone(&images);
    fewer.images.remove(1);
    state.set_inventory(&inventory, Arc::new(fewer.clone()));
    state.put_back(failed);
    disk.write(state.take_unsaved(usize::MAX));
    assert_eq!(disk.images.len(), 3);
    let proven: BTreeMap<&str, i64> = disk
        .proven
        .iter()
        .map(|(name, at)| (&**name, at.get()))
        .collect();
    let expected = [
        ("r.example/app-0:v1", 30),
        ("r.example/app-1:v1", 11),
        ("r.example/app-2:v1", 12),
        ("r.example/app-3:v1", 13),
    ];
    assert_eq!(proven, expected.into());
    let mut restarted = disk.restart();
    restarted.set_inventory(&inventory, Arc::new(fewer));
    let images = restarted.snapshot(at(40)).images;
    let proven: Vec<_> = images.iter().map(|image| image.proven_at).collect();
    assert_eq!(proven, [30, 12, 13].map(|at| Some(Second::new(at))));
}

#[test]
fn a_registry_that_could_not_be_written_is_what_it_is_now() {
    let (inventory, images) = world(1);
    let mut state = State::default();
    state.set_inventory(&inventory, Arc::clone(&images));
    let with_memory = |end: i64| RoundResult {
        memory: Some(RegistryMemory::default()),
        ..round(&images, end, &[pullable(end, 2000)])
    };
    state.record(with_memory(10));
    let failed = state.take_unsaved(10);
    state.put_back(failed);
    let again = state.take_unsaved(10);
    assert_eq!(
        again.registries["r.example"].last_completed_at,
        Some(at(10))
    );
    state.record(with_memory(20));
    state.put_back(again);
    let part = state.take_unsaved(10);
    assert_eq!(part.registries["r.example"].last_completed_at, Some(at(20)));
    assert!(state.take_unsaved(10).is_empty());
}

#[test]
fn what_is_named_again_stays_on_disk_whatever_was_to_be_forgotten() {
    let (inventory, images) = world(2);
    let mut state = State::default();
    state.set_inventory(&inventory, Arc::clone(&images));
    let reports = || [pullable(10, 2000), pullable(10, 2000)];
    state.record(round(&images, 10, &reports()));
    let mut disk = Disk::default();
    disk.write(state.take_unsaved(usize::MAX));
    let none = Arc::new(Images::default());
    state.set_inventory(&inventory, Arc::clone(&none));
    let failed = state.take_unsaved(usize::MAX);
    assert_eq!((failed.forgotten.len(), disk.images.len()), (2, 2));
    state.set_inventory(&inventory, Arc::clone(&images));
    state.record(round(&images, 20, &reports()));
    state.put_back(failed);
    while !disk.images.is_empty() && state.sort_unsaved() > 0 {
        disk.write(state.take_unsaved(1));
    }
    assert_eq!(disk.images.len(), 2);
    // Gone for good.
    state.set_inventory(&inventory, none);
    disk.write(state.take_unsaved(usize::MAX));
    assert!(disk.images.is_empty());
    assert_eq!(disk.proven.len(), 2, "that they were whole is kept");
}

#[test]
fn an_inherited_verdict_is_on_disk_before_the_one_it_comes_from_goes() {
    let (inventory, images) = world(1);
    let mut state = State::default();
    state.set_inventory(&inventory, Arc::clone(&images));
    let gone = Report::only(Code::LayerMissing, "gone".to_owned());
    state.record(round(&images, 10, &[gone]));
    let mut disk = Disk::default();
    disk.write(state.take_unsaved(usize::MAX));
    let mut rotated = Images::clone(&images);
    let image = Arc::make_mut(&mut rotated.images[0]);
    Arc::make_mut(&mut image.key).puller =
        crate::images::PullerKey::Secrets(vec!["new".to_owned()]).into();
    let rotated = Arc::new(rotated);
    state.set_inventory(&inventory, Arc::clone(&rotated));
    for left in [2, 1] {
        disk.write(state.take_unsaved(1));
        assert_eq!(disk.images.len(), left);
        let mut restarted = disk.restart();
        restarted.set_inventory(&inventory, Arc::clone(&rotated));
        let image = one(&mut restarted, 20);
        assert_eq!(
            (image.verdict(), image.since),
            (Verdict::Broken, Second::new(10))
        );
    }
}

#[test]
fn when_a_verdict_changed_is_known_after_a_restart_and_goes_on() {
    let (inventory, images) = inventory(&["r.example/app:v1", "r.example/app:v2"]);
    let mut state = State::default();
    state.set_inventory(&inventory, Arc::clone(&images));
    let mut disk = Disk::default();
    let gone = || Report::only(Code::LayerMissing, "gone".to_owned());
    state.record(round(
        &images,
        10,
        &[pullable(10, 2000), pullable(10, 2000)],
    ));
    state.record(round(&images, 20, &[gone(), pullable(20, 2000)]));
    disk.write(state.take_unsaved(usize::MAX));

    let mut state = disk.restart();
    state.set_inventory(&inventory, Arc::clone(&images));
    let told = |state: &mut State, now: i64, at_: usize| -> Vec<(Verdict, Option<Code>)> {
        let snapshot = state.snapshot(at(now));
        let changes = snapshot.histories.of(&images.images[at_].key);
        changes.iter().map(|it| (it.verdict, it.code)).collect()
    };
    let before = [
        (Verdict::Pullable, None),
        (Verdict::Broken, Some(Code::LayerMissing)),
    ];
    assert_eq!(told(&mut state, 30, 0), before);
    assert_eq!(told(&mut state, 30, 1), []);
    state.record(round(
        &images,
        40,
        &[pullable(40, 2000), pullable(40, 2000)],
    ));
    disk.write(state.take_unsaved(usize::MAX));
    let mut state = disk.restart();
    state.set_inventory(&inventory, Arc::clone(&images));
    let after = [&before[..], &[(Verdict::Pullable, None)]].concat();
    assert_eq!(told(&mut state, 50, 0), after);
    assert_eq!(told(&mut state, 50, 1), []);
}
