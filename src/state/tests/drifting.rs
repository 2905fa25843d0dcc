//! What drifts, what nodes say, and that both go again.

use super::*;
use crate::drift::tags::{HostTags, Pass, Wanted};
use crate::drift::{Compared, Kind, Relation};
use crate::images::{Apart, ImageKey, PullerKey, with_running};
use crate::inventory::running::{ImageId, Place, Reason, Refusal, Running, RunningUse};
use crate::mirrors::{self, Location, Rule};
use crate::oci::platform::Platform;
use crate::remembered::Remembered;
use crate::second::Second;
use crate::verify::finding::PlatformReport;

const APP: &str = "r.example/app:1";

fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn id(name: &str) -> ImageId {
    ImageId {
        digest: digest(name),
        place: Place::Named,
    }
}

fn key(reference: &str) -> ImageKey {
    ImageKey {
        reference: reference.parse().unwrap(),
        puller: PullerKey::Own.into(),
    }
}

/// One image, and what its Pods say.
fn said(running: &[&str], refusal: Option<(Reason, &str)>) -> (Inventory, Arc<Images>) {
    let (mut inventory, _) = inventory(&[APP]);
    let source = Arc::make_mut(&mut inventory.sources[0]);
    let refusal = refusal.map(|(reason, message)| Refusal {
        reason,
        message: message.into(),
    });
    if !running.is_empty() || refusal.is_some() {
        source.running = [Arc::new(RunningUse {
            user: Arc::clone(&source.uses[0].user),
            running: running
                .iter()
                .map(|name| Running {
                    id: id(name),
                    by: "ReplicaSet/web-a".into(),
                })
                .collect(),
            refusal: refusal.map(Box::new),
            pulled: None,
        })]
        .into();
    }
    let images = Arc::new(collect(&inventory, &|_| PlatformChoice::Needed));
    (inventory, images)
}

fn compared(others: &[(&str, Relation)]) -> Vec<Compared> {
    vec![Compared {
        key: Arc::new(key(APP)),
        others: others
            .iter()
            .map(|(name, relation)| (id(name), *relation))
            .collect(),
    }]
}

/// A round with a proof, and what it said of what runs.
fn proof(images: &Images, at: i64, others: &[(&str, Relation)]) -> RoundResult {
    RoundResult {
        compared: compared(others),
        ..round(images, at, &[pullable(at, 20_000)])
    }
}

fn drift(state: &mut State, now: i64) -> Vec<(Kind, Option<Digest>, usize)> {
    let snapshot = state.snapshot(at(now));
    let drift = snapshot.images[0].drift().iter();
    let drift = drift.map(|one| (one.kind, one.digest, one.users.len()));
    drift.collect()
}

#[test]
fn a_moved_tag_is_told_until_nothing_runs_what_it_named() {
    let (inventory, images) = said(&["old", "new"], None);
    let mut state = State::default();
    state.set_inventory(&inventory, Arc::clone(&images));
    assert_eq!(drift(&mut state, 1), []);
    state.record(proof(&images, 10, &[("old", Relation::Moved)]));
    let moved = [(Kind::TagMoved, Some(digest("old")), 1)];
    assert_eq!(drift(&mut state, 11), moved);
    // The registry is down: what was told stands.
    let down = RoundResult {
        compared: Vec::new(),
        ..round(
            &images,
            20,
            &[Report::only(Code::Unreachable, "down".to_owned())],
        )
    };
    state.record(down);
    assert_eq!(drift(&mut state, 21), moved);
    // A manifest cannot be read for now.
    state.record(proof(
        &images,
        30,
        &[("old", Relation::CannotTell), ("new", Relation::CannotTell)],
    ));
    assert_eq!(drift(&mut state, 31), moved);
    // A round that began before says nothing new.
    let late = RoundResult {
        started_at: at(5),
        ..proof(&images, 40, &[])
    };
    state.record(late);
    assert_eq!(drift(&mut state, 41), moved);
    let (inventory, images) = said(&["new"], None);
    state.set_inventory(&inventory, Arc::clone(&images));
    assert_eq!(drift(&mut state, 42), []);
    // It is back, and the tag too.
    let (inventory, images) = said(&["old"], None);
    state.set_inventory(&inventory, Arc::clone(&images));
    assert_eq!(drift(&mut state, 43), moved);
    state.record(proof(&images, 50, &[]));
    assert_eq!(drift(&mut state, 51), []);
}

#[test]
fn what_runs_and_cannot_be_pulled_again_is_missing_until_it_is_proven() {
    let (inventory, images) = said(&["old"], None);
    let apart: Apart = [(Arc::new(key(APP)), [digest("old")].into())].into();
    let images = Arc::new(with_running(Images::clone(&images), &apart));
    let by_digest = format!("r.example/app@{}", digest("old"));
    let own = &images.endpoints[0];
    assert_eq!((images.endpoints.len(), &*own.name), (1, &*by_digest));
    let user = &own.users[0];
    assert_eq!(
        (user.class, user.via.clone()),
        (Class::Runtime, Some("ReplicaSet/web-a".into()))
    );
    let mut state = State::default();
    state.set_inventory(&inventory, Arc::clone(&images));
    let apart_round = |at: i64, report: Report| RoundResult {
        reports: vec![(own.key.clone(), own.needs.clone(), report)],
        ..round(&images, at, &[])
    };
    state.record(proof(&images, 10, &[("old", Relation::CannotTell)]));
    assert_eq!(drift(&mut state, 11), []);
    let missing = Report::only(Code::ManifestMissing, "gone".to_owned());
    state.record(apart_round(20, missing));
    let lost = (Kind::RunningDigestMissing, Some(digest("old")), 1);
    assert_eq!(drift(&mut state, 21), [lost]);
    state.record(proof(&images, 30, &[("old", Relation::Moved)]));
    assert_eq!(
        drift(&mut state, 31),
        [(Kind::TagMoved, Some(digest("old")), 1), lost]
    );
    // Unknown is not missing, and a broken verdict stands until a proof.
    state.record(apart_round(
        40,
        Report::only(Code::Timeout, "slow".to_owned()),
    ));
    assert_eq!(drift(&mut state, 41).len(), 2);
    state.record(apart_round(50, pullable(50, 20_000)));
    assert_eq!(
        drift(&mut state, 51),
        [(Kind::TagMoved, Some(digest("old")), 1)]
    );
}

#[test]
fn a_platform_that_was_proven_once_is_missed_also_after_a_restart() {
    let (inventory, images) = inventory(&[APP]);
    let with = |at: i64, platforms: &[&str]| {
        let platforms = platforms.iter().map(|name| PlatformReport {
            platform: Some(name.parse().unwrap()),
            digest: Some(digest(name)),
            verdict: Verdict::Pullable,
            needed: true,
        });
        let report = Report {
            digest: Some(digest("root")),
            platforms: platforms.collect(),
            ..pullable(at, 20_000)
        };
        round(&images, at, &[report])
    };
    let lost = |state: &mut State| -> Vec<Platform> {
        let snapshot = state.snapshot(at(100));
        let drift = snapshot.images[0].drift().iter();
        drift
            .map(|one| {
                assert_eq!((one.kind, one.users.len()), (Kind::PlatformMissing, 1));
                one.platform.clone().unwrap()
            })
            .collect()
    };
    let restarted = |state: &mut State| {
        let unsaved = state.take_unsaved(usize::MAX);
        let remembered = Remembered {
            images: unsaved.images.into_iter().collect(),
            ..Remembered::default()
        };
        let mut again = State::new(remembered, None);
        again.set_inventory(&inventory, Arc::clone(&images));
        again
    };
    let mut state = State::default();
    state.set_inventory(&inventory, Arc::clone(&images));
    state.record(with(10, &["linux/amd64", "linux/arm64"]));
    assert_eq!(lost(&mut state), []);
    let mut state = restarted(&mut state);
    state.record(with(20, &["linux/amd64"]));
    assert_eq!(lost(&mut state), ["linux/arm64".parse().unwrap()]);
    let mut state = restarted(&mut state);
    assert_eq!(lost(&mut state), ["linux/arm64".parse().unwrap()]);
    state.record(with(30, &["linux/amd64", "linux/arm64"]));
    assert_eq!(lost(&mut state), []);
}

#[test]
fn endpoints_disagree_when_both_are_known_and_differ() {
    let (inventory, images) = inventory(&[APP]);
    let location = |host: &str| Location {
        host: host.to_owned(),
        prefix: String::new(),
    };
    let rules = [Rule {
        mirror: location("m.example"),
        of: location("r.example"),
    }];
    let images = Arc::new(mirrors::with_endpoints(Images::clone(&images), &rules));
    let mut state = State::default();
    state.set_inventory(&inventory, Arc::clone(&images));
    let named = |name: &str, at: i64| Report {
        digest: Some(digest(name)),
        ..pullable(at, 20_000)
    };
    let mirror = |at: i64, report: Report| RoundResult {
        host: "m.example".into(),
        reports: vec![(
            images.endpoints[0].key.clone(),
            images.endpoints[0].needs.clone(),
            report,
        )],
        ..round(&images, at, &[])
    };
    state.record(round(&images, 10, &[named("one", 10)]));
    assert_eq!(drift(&mut state, 11), []);
    state.record(mirror(12, named("one", 12)));
    assert_eq!(drift(&mut state, 13), []);
    state.record(round(&images, 20, &[named("two", 20)]));
    assert_eq!(
        drift(&mut state, 21),
        [(Kind::RegistryDisagreement, Some(digest("one")), 1)]
    );
    let told = state.snapshot(at(21)).images[0].drift()[0].registry.clone();
    assert_eq!(told.as_deref(), Some("m.example"));
    state.record(mirror(
        30,
        Report::only(Code::Unreachable, "down".to_owned()),
    ));
    assert_eq!(drift(&mut state, 31), []);
    state.record(mirror(40, named("two", 40)));
    assert_eq!(drift(&mut state, 41), []);
}

#[test]
fn a_kubelet_disagrees_that_fails_after_our_proof_or_on_and_on() {
    const WHY: (Reason, &str) = (Reason::ErrImagePull, "404 Not Found");
    const LATER: (Reason, &str) = (Reason::ImagePullBackOff, "Back-off pulling image \"x\"");
    const FULL: (Reason, &str) = (Reason::ErrImagePull, "no space left on device");
    let (calm, images) = said(&[], None);
    let proven_at = |second: i64| {
        let mut state = State::default();
        state.set_inventory(&calm, Arc::clone(&images));
        state.record(proof(&images, second, &[]));
        state
    };
    let says = |state: &mut State, refusal: Option<(Reason, &str)>, now: i64| {
        let (inventory, images) = said(&[], refusal);
        state.set_inventory(&inventory, images);
        state.snapshot(at(now)).images[0].disagreements().len()
    };
    // It failed after our proof, waits to try again, and has it at last.
    let mut state = proven_at(100);
    assert_eq!(says(&mut state, Some(WHY), 110), 1);
    assert_eq!(says(&mut state, Some(LATER), 120), 1);
    // A newer proof comes first: perhaps it was mended. Who fails on and on is right or wrong.
    state.record(proof(&images, 200, &[]));
    assert_eq!(says(&mut state, Some(LATER), 201), 0);
    assert_eq!(says(&mut state, Some(LATER), 709), 0);
    assert_eq!(says(&mut state, Some(LATER), 710), 1);
    assert_eq!(says(&mut state, None, 720), 0);
    // It failed long ago, and since when is not known before it has failed again.
    let mut state = State::default();
    assert_eq!(says(&mut state, Some(WHY), 90), 0, "nothing is proven");
    state.record(proof(&images, 100, &[]));
    assert_eq!(says(&mut state, Some(WHY), 101), 0);
    assert_eq!(says(&mut state, Some(WHY), 700), 1);
    // Not what is the node's own, and not what is not said.
    assert_eq!(says(&mut proven_at(100), Some(FULL), 900), 0);
    assert_eq!(says(&mut proven_at(100), Some(LATER), 900), 0);
    // Where we do not say that it is pullable there is nothing to disagree with.
    let mut state = proven_at(100);
    state.record(round(
        &images,
        110,
        &[Report::only(Code::TagMissing, "gone".to_owned())],
    ));
    assert_eq!(says(&mut state, Some(WHY), 120), 0);
}

#[test]
fn an_image_of_which_nothing_is_to_be_said_is_shared_as_before() {
    let (inventory, images) = said(&["same"], None);
    let mut state = State::default();
    state.set_inventory(&inventory, Arc::clone(&images));
    state.record(proof(&images, 10, &[("same", Relation::Moved)]));
    let first = state.snapshot(at(11));
    let second = state.snapshot(at(12));
    assert!(Arc::ptr_eq(&first.images[0], &second.images[0]));
    state.record(proof(&images, 20, &[]));
    let third = state.snapshot(at(21));
    assert!(matches!(third.images[0].named, Named::Image(_)));
}

#[test]
fn an_untagged_digest_is_told_while_that_counts_and_it_is_not_lost() {
    let pinned = digest("pinned");
    let (inventory, _) = inventory(&[&format!("r.example/app@{pinned}")]);
    let images = Arc::new(collect(&inventory, &|_| PlatformChoice::Needed));
    let wanted = Wanted {
        pinned: [pinned].into(),
        ..Wanted::default()
    };
    let mut pass = Pass::begin(wanted);
    for _ in 0..2 {
        pass.list([], |_| 0);
        pass.wants_list_again();
    }
    let place = ("app".into(), PullerKey::Own.into());
    let tags: HostTags = [(place, Arc::new(pass.answer(Second::new(100))))].into();
    let tags = Arc::new(tags);
    let mut state = State::default();
    state.set_inventory(&inventory, Arc::clone(&images));
    let whole = || round(&images, 10, &[pullable(10, 20_000)]);
    state.record(whole());
    state.set_tags("other.example".into(), Arc::clone(&tags));
    assert_eq!(drift(&mut state, 11), []);
    state.set_tags("r.example".into(), tags);
    let untagged = [(Kind::PinnedDigestUntagged, Some(pinned), 1)];
    assert_eq!(drift(&mut state, 12), untagged);
    // Doubt takes nothing back; what is lost is told as that.
    let told = |code| round(&images, 20, &[Report::only(code, "it is so".to_owned())]);
    state.record(told(Code::Unreachable));
    assert_eq!(drift(&mut state, 21), untagged);
    state.record(told(Code::ManifestMissing));
    assert_eq!(drift(&mut state, 22), []);
    state.record(RoundResult {
        started_at: at(30),
        ..whole()
    });
    assert_eq!(drift(&mut state, 100), untagged);
    assert_eq!(drift(&mut state, 101), [], "it was asked too long ago");
}
