//! What stands, what goes, and what is too old.

use jiff::SignedDuration;

use super::*;
use crate::baseline::Terms;
use crate::images::{PlatformChoice, collect};
use crate::inventory::{Class, ImageUse, SourceState, TopOwner, User};
use crate::oci::digest::Digest;
use crate::remembered::Unsaved;
use crate::verify::finding::{Code, Finding};
use crate::verify::target::Needs;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn inventory(images: &[&str]) -> (Inventory, Arc<Images>) {
    let mut source = SourceState::unread("test");
    source.incomplete = None;
    source.uses = images
        .iter()
        .map(|image| ImageUse {
            user: Arc::new(User {
                owner: Arc::new(TopOwner {
                    cluster: None,
                    namespace: "shop".into(),
                    kind: "Deployment".into(),
                    name: "web".into(),
                }),
                container: "app".into(),
                image: (*image).into(),
                class: Class::Runtime,
                via: None,
                since: None,
                idle: None,
            }),
            reference: image.parse().map_err(Box::new),
            pull_secrets: [].into(),
            constraint: Arc::default(),
        })
        .collect();
    let inventory = Inventory {
        sources: vec![Arc::new(source)],
    };
    let images = Arc::new(collect(&inventory, &|_| PlatformChoice::Needed));
    (inventory, images)
}

fn pullable(proven: i64, fresh_until: i64) -> Report {
    Report {
        verdict: Verdict::Pullable,
        findings: vec![].into(),
        proven_at: Some(at(proven).into()),
        fresh_until: Some(at(fresh_until).into()),
        ..Report::never_checked()
    }
}

fn round(images: &Images, ended_at: i64, reports: &[Report]) -> RoundResult {
    RoundResult {
        host: "r.example".into(),
        started_at: at(ended_at),
        ended_at: at(ended_at),
        was_asked: true,
        duration: SignedDuration::ZERO,
        is_full: true,
        is_up: true,
        reports: images
            .images
            .iter()
            .zip(reports)
            .map(|(image, report)| (image.key.clone(), image.needs.clone(), report.clone()))
            .collect(),
        compared: Vec::new(),
        told: [0; 3],
        objects: Default::default(),
        memory: None,
        rate_limit_remaining: None,
        requests_per_day: 0,
        interval: SignedDuration::from_secs(600),
    }
}

fn one(state: &mut State, now: i64) -> Arc<ImageState> {
    state.snapshot(at(now)).images.remove(0)
}

fn codes(image: &ImageState) -> Vec<Code> {
    image
        .report
        .findings
        .iter()
        .map(|finding: &Finding| finding.code)
        .collect()
}

#[test]
fn nothing_is_green_before_it_was_checked_or_after_its_proof_is_too_old() {
    let (inventory, images) = inventory(&["r.example/app:v1"]);
    let mut state = State::default();
    assert!(!state.snapshot(at(0)).is_ready, "nothing was read yet");
    state.set_inventory(&inventory, Arc::clone(&images));
    assert_eq!(codes(&one(&mut state, 0)), [Code::NeverChecked]);
    assert!(!state.snapshot(at(0)).is_ready);
    state.record(round(&images, 10, &[pullable(10, 1810)]));
    assert_eq!(one(&mut state, 1810).verdict(), Verdict::Pullable);
    let stale = one(&mut state, 1811);
    assert_eq!(
        (stale.verdict(), codes(&stale), stale.proven_at),
        (Verdict::Unknown, vec![Code::Stale], Some(at(10).into()))
    );
}

#[test]
fn a_round_that_is_told_in_parts_says_what_it_says_as_a_whole() {
    let (inventory, images) = inventory(&["r.example/a:v1", "r.example/b:v1", "r.example/c:v1"]);
    let broken = || Report::only(Code::LayerMissing, "gone".to_owned());
    let unknown = || Report::only(Code::Timeout, "late".to_owned());
    for first in [pullable(10, 2000), broken(), unknown()] {
        let rounds = [
            [pullable(10, 2000), pullable(10, 2000), pullable(10, 2000)],
            [first, unknown(), pullable(20, 2000)],
        ];
        let [mut whole, mut parts] = [State::default(), State::default()];
        for state in [&mut whole, &mut parts] {
            state.set_inventory(&inventory, Arc::clone(&images));
        }
        for (reports, end) in rounds.iter().zip([10, 20]) {
            whole.record(round(&images, end, reports));
            let mut last = round(&images, end, reports);
            let told = last.reports.drain(..2).collect::<Vec<_>>();
            for (_, _, report) in &told {
                last.told[report.verdict as usize] += 1;
            }
            parts.record_part(RoundPart {
                started_at: last.started_at,
                ended_at: last.ended_at,
                reports: told,
                compared: Vec::new(),
            });
            assert_eq!(
                parts.snapshot(at(21)).is_ready,
                end == 20,
                "not before all was told"
            );
            parts.record(last);
            let [whole, parts] = [&mut whole, &mut parts].map(|state| {
                let mut snapshot = state.snapshot(at(21));
                snapshot.sequence = 0;
                format!(
                    "{snapshot:?} {:?}",
                    state.take_unsaved(usize::MAX).registries
                )
            });
            assert_eq!(whole, parts);
        }
    }
}

#[test]
fn a_broken_verdict_stands_through_unknown_until_a_proof() {
    let (inventory, images) = inventory(&["r.example/app:v1"]);
    let mut state = State::default();
    state.set_inventory(&inventory, Arc::clone(&images));
    let broken = Report::only(Code::LayerMissing, "gone".to_owned());
    let down = Report::only(Code::Unreachable, "down".to_owned());
    state.record(round(&images, 10, &[broken]));
    state.record(round(&images, 20, std::slice::from_ref(&down)));
    state.record(round(&images, 30, std::slice::from_ref(&down)));
    let image = one(&mut state, 31);
    assert_eq!(
        (image.verdict(), image.since),
        (Verdict::Broken, at(10).into())
    );
    assert_eq!(codes(&image), [Code::LayerMissing, Code::Unreachable]);
    state.record(round(&images, 40, &[pullable(40, 2000)]));
    assert_eq!(one(&mut state, 41).verdict(), Verdict::Pullable);
    state.record(round(&images, 50, &[down]));
    assert_eq!(one(&mut state, 51).verdict(), Verdict::Unknown);
}

#[test]
fn what_leaves_the_inventory_leaves_the_snapshot() {
    let (first, images) = inventory(&["r.example/app:v1", "nonsense!"]);
    let mut state = State::default();
    state.set_inventory(&first, Arc::clone(&images));
    state.record(round(&images, 10, &[pullable(10, 2000)]));
    let snapshot = state.snapshot(at(11));
    assert_eq!((snapshot.images.len(), snapshot.registries.len()), (2, 1));
    assert_eq!(codes(&snapshot.images[1]), [Code::ReferenceInvalid]);
    let (second, images) = inventory(&[]);
    state.set_inventory(&second, images);
    let snapshot = state.snapshot(at(12));
    assert_eq!((snapshot.images.len(), snapshot.registries.len()), (0, 0));
}

#[test]
fn known_is_what_was_broken_from_the_start_and_never_whole() {
    let (inventory, images) = inventory(&["r.example/app:v1"]);
    let mut state = State::default();
    state.set_inventory(&inventory, Arc::clone(&images));
    state.record(round(
        &images,
        10,
        &[Report::only(Code::TagMissing, "gone".to_owned())],
    ));
    let mut baseline = Baseline::default();
    let broken = state.never_whole();
    let broken = broken.iter().map(String::as_str);
    baseline.accept(broken, &Terms::default(), at(11));
    state.set_baseline(Some(baseline));
    assert!(one(&mut state, 12).is_known);
    state.record(round(&images, 20, &[pullable(20, 2000)]));
    state.record(round(
        &images,
        30,
        &[Report::only(Code::TagMissing, "gone".to_owned())],
    ));
    assert!(
        !one(&mut state, 31).is_known,
        "it was whole once: this is news"
    );
    assert_eq!(state.never_whole(), Vec::<String>::new());
}

#[test]
fn a_fact_stands_beside_new_facts_while_it_is_in_doubt() {
    let (inventory, images) = inventory(&["r.example/app:v1"]);
    let mut state = State::default();
    state.set_inventory(&inventory, Arc::clone(&images));
    let digest = |name: &str| Digest::of(name.as_bytes());
    let finding = |code: Code, subject: &str, platform: &str| Finding {
        code,
        subject: Some(digest(subject)),
        platform: platform.parse().ok(),
        needed: true,
        path: vec![digest("index")],
        message: "x".to_owned(),
    };
    let report = |root: &str, findings: &[Finding]| {
        let mut report = Report {
            digest: Some(digest(root)),
            findings: findings.to_vec().into(),
            ..Report::never_checked()
        };
        report.settle();
        report
    };
    let amd64 = || finding(Code::ChildMissing, "m1", "linux/amd64");
    let arm64 = |code| finding(code, "m2", "linux/arm64");
    let mut check = |at: i64, report: Report, expected: &[Code]| {
        state.record(round(&images, at, &[report]));
        assert_eq!(codes(&one(&mut state, at)), expected);
    };
    let (missing, down) = (Code::ChildMissing, Code::Unreachable);
    check(
        10,
        report("index", &[amd64(), arm64(missing)]),
        &[missing, missing],
    );
    // The registry goes away in the middle of a round.
    check(
        20,
        report("index", &[amd64(), arm64(down)]),
        &[missing, missing, down],
    );
    check(
        30,
        report("index", &[finding(down, "index", "")]),
        &[missing, missing, down],
    );
    // One was pushed again: what was looked at and is well is no fact any more.
    check(40, report("index", &[amd64()]), &[missing]);
    // Another root has nothing to do with what was missing below the old one.
    check(
        50,
        report("index", &[amd64(), arm64(missing)]),
        &[missing, missing],
    );
    check(
        60,
        report("other", &[amd64(), arm64(down)]),
        &[missing, down],
    );
}

#[test]
fn what_a_round_says_of_a_time_that_is_over_does_not_count() {
    let (inventory, images) = inventory(&["r.example/app:v1"]);
    let mut state = State::default();
    state.set_inventory(&inventory, Arc::clone(&images));
    state.record(round(
        &images,
        20,
        &[Report::only(Code::ChildMissing, "gone".to_owned())],
    ));
    // A long round that began before the one that found it, and ends after it.
    let late = RoundResult {
        started_at: at(10),
        ..round(&images, 30, &[pullable(15, 2000)])
    };
    state.record(late);
    assert_eq!(one(&mut state, 31).verdict(), Verdict::Broken);
    // One for platforms that are not those that count now.
    let mut other = round(&images, 40, &[pullable(40, 2000)]);
    other.reports[0].1 = Needs::These([].into());
    state.record(other);
    assert_eq!(one(&mut state, 41).verdict(), Verdict::Broken);
    state.record(round(&images, 50, &[pullable(50, 2000)]));
    assert_eq!(one(&mut state, 51).verdict(), Verdict::Pullable);
}

#[test]
fn a_secret_that_rotates_takes_no_broken_verdict_with_it() {
    let (first, images) = inventory(&["r.example/app:v1"]);
    let mut state = State::default();
    state.set_inventory(&first, Arc::clone(&images));
    state.record(round(
        &images,
        10,
        &[Report::only(Code::LayerMissing, "gone".to_owned())],
    ));
    let mut rotated = images.as_ref().clone();
    let mut image = rotated.images[0].as_ref().clone();
    Arc::make_mut(&mut image.key).puller =
        crate::images::PullerKey::Secrets(vec!["new".to_owned()]).into();
    rotated.images = vec![Arc::new(image)];
    let rotated = Arc::new(rotated);
    state.set_inventory(&first, Arc::clone(&rotated));
    assert_eq!(one(&mut state, 11).verdict(), Verdict::Broken);
    state.record(round(
        &rotated,
        20,
        &[Report::only(Code::Unreachable, "down".to_owned())],
    ));
    assert_eq!(one(&mut state, 21).verdict(), Verdict::Broken);
    state.record(round(&rotated, 30, &[pullable(30, 2000)]));
    assert_eq!(one(&mut state, 31).verdict(), Verdict::Pullable);
}

#[test]
fn a_restart_turns_nothing_green_and_nothing_young() {
    let listed = inventory;
    let (inventory, images) = listed(&["r.example/app:v1", "r.example/app:v2", "r.example/app:v3"]);
    let mut state = State::default();
    state.set_inventory(&inventory, Arc::clone(&images));
    let broken = Report::only(Code::LayerMissing, "gone".to_owned());
    let doubt = Report::only(Code::Unreachable, "down".to_owned());
    state.record(round(&images, 10, &[pullable(5, 1805), broken, doubt]));
    let Unsaved { images: saved, .. } = state.take_unsaved(usize::MAX);
    let remembered = Remembered {
        images: saved.into_iter().collect(),
        ..Remembered::default()
    };
    assert_eq!(remembered.images.len(), 3);
    let restart = || State::new(remembered.clone(), None);

    let mut state = restart();
    state.set_inventory(&inventory, Arc::clone(&images));
    let now = state.snapshot(at(100)).images;
    let verdicts: Vec<Verdict> = now.iter().map(|image| image.verdict()).collect();
    assert_eq!(
        verdicts,
        [Verdict::Pullable, Verdict::Broken, Verdict::Unknown]
    );
    assert_eq!(
        (now[0].proven_at, now[0].since),
        (Some(at(5).into()), at(10).into())
    );
    // Its proof grows old by its own time.
    assert_eq!(
        state.snapshot(at(1806)).images[0].verdict(),
        Verdict::Unknown
    );
    // An unknown that follows does not lift what was broken before the restart.
    let down = || Report::only(Code::Unreachable, "down".to_owned());
    state.record(round(&images, 110, &[down(), down(), down()]));
    let broken = &state.snapshot(at(110)).images[1];
    assert_eq!(codes(broken), [Code::LayerMissing, Code::Unreachable]);

    // What was proven for other platforms than count now was not proven.
    let mut state = restart();
    let choose = |_: &str| PlatformChoice::These(["linux/arm64".parse().unwrap()].into());
    let other = Arc::new(collect(&inventory, &choose));
    state.set_inventory(&inventory, other);
    let now = state.snapshot(at(100)).images;
    assert_eq!(codes(&now[0]), [Code::NeverChecked]);
    assert_eq!(now[1].verdict(), Verdict::Broken);

    // An inventory that is not complete yet forgets nothing; a complete one forgets what is gone.
    let mut state = restart();
    let (mut part, none) = listed(&[]);
    Arc::make_mut(&mut part.sources[0]).incomplete = Some("still reading".to_owned());
    state.set_inventory(&part, none);
    state.set_inventory(&inventory, Arc::clone(&images));
    assert_eq!(state.snapshot(at(100)).images[1].verdict(), Verdict::Broken);
    let mut state = restart();
    let (all, none) = listed(&[]);
    state.set_inventory(&all, none);
    let unsaved = state.take_unsaved(usize::MAX);
    assert_eq!((unsaved.images.len(), unsaved.forgotten.len()), (0, 3));
    state.set_inventory(&inventory, images);
    assert_eq!(
        codes(&state.snapshot(at(100)).images[1]),
        [Code::NeverChecked]
    );
}

mod drifting;
mod parts;
mod shared;
