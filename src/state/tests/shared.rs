//! What snapshots share, and what they must not.

use super::*;
use crate::baseline::Terms;
use crate::mirrors::{self, Location, Rule};

/// How many images of the second are the very same allocation as in the first, by reference.
fn shared(one: &Snapshot, other: &Snapshot) -> Vec<String> {
    let all = |snapshot: &Snapshot| -> Vec<Arc<ImageState>> {
        let both = snapshot.images.iter().chain(&snapshot.endpoints);
        both.cloned().collect()
    };
    let before = all(one);
    let is_there = |image: &&Arc<ImageState>| before.iter().any(|one| Arc::ptr_eq(one, image));
    let now = all(other);
    let same = now.iter().filter(is_there);
    same.map(|image| image.reference().to_owned()).collect()
}

#[test]
fn what_did_not_change_is_the_same_allocation_and_what_changed_is_not() {
    let names = ["r.example/a:v1", "r.example/b:v1", "r.example/c:v1", "bad!"];
    let (first, images) = inventory(&names);
    let mut state = State::default();
    state.set_inventory(&first, Arc::clone(&images));
    state.record(round(&images, 10, &[pullable(10, 2000)]));
    let before = state.snapshot(at(11));
    assert_eq!(shared(&before, &state.snapshot(at(12))), names);
    let [_, b, _] = &images.images[..] else {
        panic!("{images:?}");
    };
    state.record_part(RoundPart {
        started_at: at(20),
        ended_at: at(20),
        reports: vec![(b.key.clone(), b.needs.clone(), pullable(20, 2000))],
        compared: Vec::new(),
    });
    let now = state.snapshot(at(21));
    assert_eq!(shared(&before, &now), [names[0], names[2], names[3]]);
    assert_eq!(now.images[1].proven_at, Some(Second::new(20)));
    // It went: the others move up, and are what they were.
    let mut fewer = Images::clone(&images);
    fewer.images.remove(0);
    state.set_inventory(&first, Arc::new(fewer));
    let after = state.snapshot(at(22));
    assert_eq!(shared(&now, &after), names[1..]);
    assert_eq!(after.images.len(), 3);
    // The same image with other users is another one.
    let mut other = Images::clone(&images);
    Arc::make_mut(&mut other.images[1]).users = [].into();
    state.set_inventory(&first, Arc::new(other));
    let last = state.snapshot(at(23));
    assert_eq!(shared(&after, &last), names[2..]);
    assert!(last.images[1].users().is_empty());
    assert_eq!(last.images[1].proven_at, Some(Second::new(20)));
}

#[test]
fn a_proof_grows_old_in_a_state_that_is_shared() {
    let (inventory, images) = inventory(&["r.example/a:v1", "r.example/b:v1"]);
    let mut state = State::default();
    state.set_inventory(&inventory, Arc::clone(&images));
    state.record(round(
        &images,
        10,
        &[pullable(10, 1810), pullable(10, 5000)],
    ));
    let verdicts = |snapshot: &Snapshot| -> Vec<Verdict> {
        let images = snapshot.images.iter();
        images.map(|image| image.verdict()).collect()
    };
    let fresh = state.snapshot(at(1810));
    assert_eq!(verdicts(&fresh), [Verdict::Pullable, Verdict::Pullable]);
    let stale = state.snapshot(at(1811));
    assert_eq!(verdicts(&stale), [Verdict::Unknown, Verdict::Pullable]);
    assert_eq!(shared(&fresh, &stale), ["r.example/b:v1"]);
    assert_eq!(shared(&stale, &state.snapshot(at(1812))).len(), 2);
    // The clock was set back.
    assert_eq!(
        verdicts(&state.snapshot(at(1810))),
        [Verdict::Pullable, Verdict::Pullable]
    );
    assert_eq!(
        verdicts(&state.snapshot(at(5001))),
        [Verdict::Unknown, Verdict::Unknown]
    );
}

#[test]
fn what_a_mirror_says_changes_the_image_and_only_then() {
    let (inventory, images) = inventory(&["r.example/a:v1", "r.example/b:v1"]);
    let location = |host: &str, prefix: &str| Location {
        host: host.to_owned(),
        prefix: prefix.to_owned(),
    };
    let rules = [Rule {
        mirror: location("m.example", ""),
        of: location("r.example", "a"),
    }];
    // Only what stands below `a`: none. Then of the whole host.
    let none = mirrors::with_endpoints(Images::clone(&images), &rules);
    assert!(none.endpoints.is_empty());
    let rules = [Rule {
        mirror: location("m.example", ""),
        of: location("r.example", ""),
    }];
    let images = Arc::new(mirrors::with_endpoints(Images::clone(&images), &rules));
    let mut state = State::default();
    state.set_inventory(&inventory, Arc::clone(&images));
    state.record(round(&images, 10, &[pullable(10, 100), pullable(10, 5000)]));
    let mirror = |end: i64, report: Report| RoundPart {
        started_at: at(end),
        ended_at: at(end),
        reports: vec![(
            images.endpoints[0].key.clone(),
            images.endpoints[0].needs.clone(),
            report,
        )],
        compared: Vec::new(),
    };
    state.record_part(mirror(11, pullable(11, 200)));
    let first = state.snapshot(at(12));
    assert_eq!(shared(&first, &state.snapshot(at(13))).len(), 4);
    let down = Report::only(Code::Unreachable, "down".to_owned());
    state.record_part(mirror(20, down));
    let second = state.snapshot(at(20));
    assert_eq!(
        shared(&first, &second),
        ["r.example/b:v1", "m.example/b:v1"]
    );
    let told = |snapshot: &Snapshot| -> Vec<Verdict> {
        let endpoints = snapshot.images[0].endpoints().iter();
        endpoints.map(|endpoint| endpoint.report.verdict).collect()
    };
    assert_eq!(told(&second), [Verdict::Pullable, Verdict::Unknown]);
    // Its own proof grows old; the mirror's counts until it does too.
    state.record_part(mirror(30, pullable(30, 200)));
    let third = state.snapshot(at(101));
    assert_eq!(told(&third), [Verdict::Unknown, Verdict::Pullable]);
    assert_eq!(third.images[0].verdict(), Verdict::Pullable);
    assert_eq!(shared(&third, &state.snapshot(at(200))).len(), 4);
    let fourth = state.snapshot(at(201));
    assert_eq!(told(&fourth), [Verdict::Unknown, Verdict::Unknown]);
    assert_eq!(fourth.images[0].verdict(), Verdict::Unknown);
    assert_eq!(shared(&fourth, &state.snapshot(at(202))).len(), 4);
}

#[test]
fn a_baseline_shows_in_what_it_knows_and_nowhere_else() {
    let (inventory, images) = inventory(&["r.example/a:v1", "r.example/b:v1", "bad!"]);
    let mut state = State::default();
    state.set_inventory(&inventory, Arc::clone(&images));
    let gone = Report::only(Code::TagMissing, "gone".to_owned());
    state.record(round(&images, 10, &[gone, pullable(10, 2000)]));
    let before = state.snapshot(at(11));
    let mut baseline = Baseline::default();
    baseline.accept(
        ["r.example/a:v1", "r.example/b:v1"].into_iter(),
        &Terms::default(),
        at(11),
    );
    baseline.images.get_mut("r.example/a:v1").unwrap().until = Some(at(20));
    state.set_baseline(Some(baseline));
    let known = state.snapshot(at(12));
    assert!(known.images[0].is_known && !known.images[1].is_known);
    assert_eq!(shared(&before, &known), ["r.example/b:v1", "bad!"]);
    assert!(!state.snapshot(at(20)).images[0].is_known);
}

#[test]
fn a_proof_by_any_credential_is_one_of_the_reference() {
    let (inventory, images) = inventory(&["r.example/a:v1"]);
    let mut both = Images::clone(&images);
    let mut secret = Image::clone(&both.images[0]);
    Arc::make_mut(&mut secret.key).puller =
        crate::images::PullerKey::Secrets(vec!["other".to_owned()]).into();
    both.images.push(Arc::new(secret));
    let both = Arc::new(both);
    let mut state = State::default();
    let mut baseline = Baseline::default();
    baseline.accept(["r.example/a:v1"].into_iter(), &Terms::default(), at(1));
    state.set_baseline(Some(baseline));
    state.set_inventory(&inventory, Arc::clone(&both));
    let gone = || Report::only(Code::TagMissing, "gone".to_owned());
    state.record(round(&both, 10, &[gone(), gone()]));
    let known = |state: &mut State| state.snapshot(at(15)).images[1].is_known;
    assert!(known(&mut state));
    assert_eq!(state.never_whole().len(), 2);
    state.record(round(&both, 20, &[pullable(20, 2000), gone()]));
    assert!(!known(&mut state), "it was whole for the other");
    assert!(state.never_whole().is_empty());
    // The other one goes, and with it what it proved; that it did is not forgotten.
    let mut one = Images::clone(&both);
    one.images.remove(0);
    state.set_inventory(&inventory, Arc::new(one));
    let image = Arc::clone(&state.snapshot(at(30)).images[0]);
    assert_eq!(
        (image.proven_at, image.is_known),
        (Some(Second::new(20)), false)
    );
}
