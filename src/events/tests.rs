//! What is told, of one image of one workload and of very many.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use proptest::prelude::*;

use super::limit::{CLUSTER, NAMESPACE, PAIR_MAX};
use super::*;
use crate::images::{Image, ImageKey, Puller, PullerKey};
use crate::inventory::marks::{AllMarks, Mark, Marked, Marks};
use crate::inventory::{Class, User};
use crate::mirrors::Role;
use crate::oci::platform::Platform;
use crate::state::{
    Detailed, Details, Endpoint, ImageState, Malformed, Named, Snapshot, SourceStatus,
};
use crate::verify::finding::{Code, Finding, Report, Verdict};
use crate::verify::target::Needs;

use Verdict::{Broken, Pullable, Unknown};

fn user(workload: &str, container: &str) -> User {
    let (namespace, name) = workload.split_once('/').unwrap();
    User {
        owner: Arc::new(TopOwner {
            cluster: Some("prod".into()),
            namespace: namespace.into(),
            kind: "Deployment".into(),
            name: name.into(),
        }),
        container: container.into(),
        image: "web:1".into(),
        class: Class::Runtime,
        via: None,
        since: None,
        idle: None,
    }
}

fn finding(code: Code, platform: &str) -> Finding {
    Finding {
        code,
        subject: None,
        platform: platform.parse().ok(),
        needed: true,
        path: vec![],
        message: "what a server says".to_owned(),
    }
}

fn report(verdict: Verdict) -> Report {
    let findings = match verdict {
        Pullable => vec![],
        Unknown => vec![finding(Code::Unreachable, "")],
        Broken => vec![
            finding(Code::ChildMissing, "linux/arm64"),
            finding(Code::LayerMissing, "linux/amd64"),
        ],
    };
    Report {
        verdict,
        findings: findings.into(),
        ..Report::never_checked()
    }
}

fn state(reference: &str, report: Report, users: Vec<User>) -> ImageState {
    ImageState {
        named: Named::Image(Arc::new(Image {
            name: reference.into(),
            registry: "r.example".into(),
            key: Arc::new(ImageKey {
                reference: reference.parse().unwrap(),
                puller: PullerKey::Own.into(),
            }),
            puller: Puller::Own.into(),
            needs: Needs::All,
            users: users.into_iter().map(Arc::new).collect(),
            running: None,
        })),
        proven_at: report.proven_at,
        report: Arc::new(report),
        since: Second::new(0),
        is_known: false,
    }
}

const IMAGE: &str = "r.example/web:1";

fn source() -> SourceStatus {
    SourceStatus {
        name: "prod".into(),
        ..SourceStatus::default()
    }
}

fn snapshot(second: i64, images: Vec<ImageState>) -> Snapshot {
    Snapshot {
        at: Timestamp::from_second(second).unwrap(),
        sequence: 1,
        sources: vec![source()],
        images: images.into_iter().map(Arc::new).collect(),
        endpoints: vec![],
        registries: vec![],
        tags: Arc::default(),
        histories: Arc::default(),
        is_ready: true,
        baseline_images: 0,
        marks: AllMarks::default(),
    }
}

/// A world of one cluster over time.
#[derive(Default)]
struct Told {
    memory: Memory,
    limits: Limits,
    second: i64,
    is_follower: bool,
}

impl Told {
    /// One that has seen the image of `shop/web` pullable.
    fn settled() -> Self {
        let mut told = Self::default();
        assert_eq!(told.see(Pullable), []);
        told
    }

    fn decide(&mut self, snapshot: &Snapshot) -> Decision {
        let targets = Targets {
            clusters: vec![Target {
                cluster: Some("prod".into()),
                source: "prod".into(),
            }],
            customs: vec![],
        };
        let may_write = !self.is_follower;
        decide(
            &mut self.memory,
            &mut self.limits,
            snapshot,
            &targets,
            may_write,
        )
    }

    /// What is told of these images, a minute later than before: workload and change.
    fn see_all(&mut self, images: Vec<ImageState>) -> Vec<(String, Change)> {
        self.second += 60;
        let decision = self.decide(&snapshot(self.second, images));
        let told = decision.write.iter().map(|it| {
            let owner = &it.pair.owner;
            (format!("{}/{}", owner.namespace, owner.name), it.change)
        });
        told.collect()
    }

    /// The same of the one image of one workload.
    fn see(&mut self, verdict: Verdict) -> Vec<Change> {
        let image = state(IMAGE, report(verdict), vec![user("shop/web", "app")]);
        let told = self.see_all(vec![image]).into_iter();
        told.map(|(_, change)| change).collect()
    }

    /// As after a restart, with what was written then.
    fn restarted(self) -> Self {
        let written = serde_json::to_vec(&self.memory).unwrap();
        Self {
            memory: serde_json::from_slice(&written).unwrap(),
            limits: Limits::default(),
            ..self
        }
    }
}

#[test]
fn each_change_is_told_once() {
    let mut told = Told::settled();
    assert_eq!(told.see(Broken), [Change::Breaks]);
    assert_eq!(told.see(Broken), []);
    assert_eq!(told.see(Pullable), [Change::Heals]);
    assert_eq!(told.see(Pullable), []);
    assert_eq!(told.see(Broken), [Change::Breaks]);
}

#[test]
fn unknown_neither_breaks_nor_heals() {
    let mut told = Told::settled();
    assert_eq!(told.see(Unknown), []);
    assert_eq!(told.see(Pullable), []);
    assert_eq!(told.see(Broken), [Change::Breaks]);
    assert_eq!(told.see(Unknown), []);
    assert_eq!(told.see(Broken), []);
    assert_eq!(told.see(Unknown), []);
    assert_eq!(told.see(Pullable), [Change::Heals]);
}

#[test]
fn a_restart_repeats_nothing_and_forgets_nothing() {
    let mut told = Told::settled();
    assert_eq!(told.see(Broken), [Change::Breaks]);
    let mut told = told.restarted();
    assert_eq!(told.see(Broken), []);
    let mut told = told.restarted();
    assert_eq!(told.see(Pullable), [Change::Heals]);
    // What broke while nobody looked is news.
    let mut told = told.restarted();
    assert_eq!(told.see(Broken), [Change::Breaks]);
}

#[test]
fn what_was_broken_before_anybody_looked_is_not_told_nor_that_it_healed() {
    let mut told = Told::default();
    let unread = || {
        state(
            IMAGE,
            Report::never_checked(),
            vec![user("shop/web", "app")],
        )
    };
    assert_eq!(told.see_all(vec![unread()]), []);
    assert_eq!(told.see(Broken), []);
    assert_eq!(told.see(Pullable), []);
    assert_eq!(told.see(Broken), [Change::Breaks]);
}

#[test]
fn nothing_counts_as_looked_at_while_the_source_is_still_read() {
    let mut told = Told::default();
    let image = || state(IMAGE, report(Pullable), vec![user("shop/web", "app")]);
    let mut early = snapshot(1, vec![image()]);
    early.sources[0].is_awaited = true;
    assert_eq!(told.decide(&early), Decision::default());
    assert_eq!(told.see(Broken), []);
}

#[test]
fn a_new_workload_whose_image_is_broken_is_told_of() {
    let mut told = Told::settled();
    let web = || state(IMAGE, report(Pullable), vec![user("shop/web", "app")]);
    let new = |report| state("r.example/new:1", report, vec![user("shop/new", "app")]);
    assert_eq!(told.see_all(vec![new(Report::never_checked()), web()]), []);
    let changes = told.see_all(vec![new(report(Broken)), web()]);
    assert_eq!(changes, [("shop/new".to_owned(), Change::Breaks)]);
}

#[test]
fn what_is_in_the_baseline_is_never_told() {
    let mut told = Told::settled();
    let known = ImageState {
        is_known: true,
        ..state(IMAGE, report(Broken), vec![user("shop/web", "app")])
    };
    assert_eq!(told.see_all(vec![known]), []);
    // The baseline was cleared: nothing has changed of the image.
    assert_eq!(told.see(Broken), []);
    assert_eq!(told.see(Pullable), []);
}

#[test]
fn whose_people_asked_for_silence_is_told_nothing() {
    let mut told = Told::settled();
    let image = |verdict| state(IMAGE, report(verdict), vec![user("shop/web", "app")]);
    let silenced = |second, verdict| {
        let mut seen = snapshot(second, vec![image(verdict)]);
        let mark = Mark {
            ignore: Some("it moves away".into()),
            ..Mark::default()
        };
        let owner = user("shop/web", "app").owner;
        let marked = Marked {
            owner,
            mark: Arc::new(mark),
        };
        seen.marks = AllMarks::from_iter([Marks::new([marked].into(), Vec::new())]);
        seen
    };
    assert_eq!(told.decide(&silenced(100, Broken)).write.len(), 0);
    // What it was silent about it does not tell later either.
    assert_eq!(told.see(Broken), []);
    assert_eq!(told.see(Pullable), []);
    assert_eq!(told.see(Broken), [Change::Breaks]);
    assert_eq!(told.decide(&silenced(1000, Pullable)).write.len(), 0);
}

#[test]
fn many_containers_and_credentials_are_one_event_that_counts_them() {
    let mut told = Told::settled();
    let users = vec![user("shop/web", "app"), user("shop/web", "init")];
    let one = state(IMAGE, report(Broken), users);
    // Another credential's entry of the same reference is well.
    let other = state(IMAGE, report(Pullable), vec![user("shop/web", "debugger")]);
    let decision = told.decide(&snapshot(100, vec![one, other]));
    let [event] = &decision.write[..] else {
        panic!("{decision:?}");
    };
    assert_eq!(
        event.note,
        "r.example/web:1: The image is gone for linux/arm64 (child_missing). One more platform is broken. \
         3 containers need it. Push the whole multi-platform image again, or copy it back from a mirror; then stop \
         the collector that takes untagged manifests for garbage. See `pullproof explain r.example/web:1`."
    );
    // As long as one of them cannot pull it, it is not healed.
    let users = || vec![user("shop/web", "app")];
    let images = vec![
        state(IMAGE, report(Pullable), users()),
        state(IMAGE, report(Unknown), users()),
    ];
    assert_eq!(told.see_all(images), []);
    assert_eq!(told.see(Pullable), [Change::Heals]);
}

#[test]
fn only_whoever_runs_or_would_roll_back_is_told() {
    for (class, is_told) in [
        (Class::Runtime, true),
        (Class::Failover, true),
        (Class::Rollback, true),
        (Class::Listed, false),
        (Class::Remembered, false),
        (Class::Mentioned, false),
    ] {
        let mut told = Told::settled();
        let user = User {
            class,
            ..user("shop/web", "app")
        };
        let decision = told.decide(&snapshot(
            100,
            vec![state(IMAGE, report(Broken), vec![user])],
        ));
        assert_eq!(!decision.write.is_empty(), is_told, "{class}");
        let rolls_back = decision
            .write
            .iter()
            .any(|it| it.note.contains("A rollback"));
        assert_eq!(rolls_back, class == Class::Rollback);
    }
}

#[test]
fn nothing_is_told_to_history_to_another_cluster_or_to_what_is_no_name() {
    let owner = |change: &dyn Fn(&mut TopOwner)| {
        let mut owner = TopOwner::clone(&user("shop/web", "app").owner);
        change(&mut owner);
        User {
            owner: Arc::new(owner),
            ..user("shop/web", "app")
        }
    };
    for user in [
        owner(&|it| it.kind = "ControllerRevision".into()),
        owner(&|it| it.kind = "Rollout".into()),
        owner(&|it| it.kind = "List".into()),
        owner(&|it| it.cluster = None),
        owner(&|it| it.cluster = Some("dr".into())),
        owner(&|it| it.name = "web,metadata.namespace=kube-system".into()),
        owner(&|it| it.namespace = "../kube-system".into()),
    ] {
        let mut told = Told::settled();
        let shown = format!("{user:?}");
        let told = told.see_all(vec![state(IMAGE, report(Broken), vec![user])]);
        assert_eq!(told, [], "{shown}");
    }
}

#[test]
fn an_error_is_no_reason_to_forget_and_tell_again() {
    let mut told = Told::settled();
    assert_eq!(told.see(Broken), [Change::Breaks]);
    let mut lost = snapshot(told.second + 1, vec![]);
    lost.sources[0].incomplete = Some("forbidden".to_owned());
    lost.is_ready = false;
    assert_eq!(told.decide(&lost), Decision::default());
    assert_eq!(told.see(Broken), []);
    // Gone and come back, it is another workload.
    assert_eq!(
        told.see_all(vec![state(
            "r.example/other:1",
            report(Pullable),
            vec![user("shop/other", "app")]
        )]),
        []
    );
    assert_eq!(told.see(Broken), [Change::Breaks]);
}

#[test]
fn whoever_does_not_lead_tells_nothing_and_goes_on_from_there() {
    let mut told = Told::settled();
    told.is_follower = true;
    assert_eq!(told.see(Broken), []);
    told.is_follower = false;
    assert_eq!(told.see(Broken), []);
    assert_eq!(told.see(Pullable), [Change::Heals]);
}

#[test]
fn what_was_not_written_since_all_ended_is_news_again() {
    let mut told = Told::settled();
    let image = |verdict| state(IMAGE, report(verdict), vec![user("shop/web", "app")]);
    let decision = told.decide(&snapshot(100, vec![image(Broken)]));
    told.memory.take_back(&decision.write[0]);
    assert_eq!(told.see(Broken), [Change::Breaks]);
    let decision = told.decide(&snapshot(told.second, vec![image(Pullable)]));
    told.memory.take_back(&decision.write[0]);
    assert_eq!(told.see(Pullable), [Change::Heals]);
}

#[test]
fn a_registry_that_loses_everything_writes_a_bounded_number_and_everybody_is_told_something() {
    let mut told = Told::settled();
    let image = |number: usize, verdict| {
        let namespace = if number < 9000 { "big" } else { "small" };
        let users = vec![user(&format!("{namespace}/web-{number}"), "app")];
        state(
            &format!("r.example/web-{number:05}:1"),
            report(verdict),
            users,
        )
    };
    let all = |verdict| (0..10_000).map(|number| image(number, verdict)).collect();
    assert_eq!(told.see_all(all(Pullable)), []);
    let decision = told.decide(&snapshot(told.second, all(Broken)));
    let burst = |rate: limit::Rate| usize::try_from(rate.burst).unwrap();
    assert_eq!(decision.write.len(), 2 * burst(NAMESPACE));
    assert!(decision.write.len() <= burst(CLUSTER));
    assert_eq!(decision.dropped, 10_000 - decision.write.len());
    let namespaces: BTreeSet<&str> = decision
        .write
        .iter()
        .map(|it| &*it.pair.owner.namespace)
        .collect();
    assert_eq!(namespaces, BTreeSet::from(["big", "small"]));
    // That they healed is told to nobody who was not told that they broke.
    told.second += 7200;
    let healed = told.decide(&snapshot(told.second, all(Pullable)));
    assert_eq!(healed.write.len(), decision.write.len());
    assert_eq!(healed.dropped, 0);
}

#[test]
fn where_only_some_may_be_told_each_namespace_is_told_something() {
    let mut told = Told::settled();
    let image = |number: usize| {
        let users = vec![user(&format!("shop-{}/web-{number}", number / 50), "app")];
        state(
            &format!("r.example/web-{number:03}:1"),
            report(Broken),
            users,
        )
    };
    let decision = told.decide(&snapshot(told.second, (0..500).map(image).collect()));
    let mut by_namespace = BTreeMap::new();
    for event in &decision.write {
        *by_namespace
            .entry(&*event.pair.owner.namespace)
            .or_insert(0) += 1;
    }
    assert_eq!(by_namespace.len(), 10);
    assert!(
        by_namespace.values().all(|count| *count == 10),
        "{by_namespace:?}"
    );
}

#[test]
fn each_change_has_a_time_of_its_own_by_whichever_credential_or_endpoint() {
    let one = |verdict, second: i64, container: &str| ImageState {
        since: Second::new(second),
        ..state(IMAGE, report(verdict), vec![user("shop/web", container)])
    };
    let mut told = Told::settled();
    let mut times = Vec::new();
    // The first credential's entry never changes.
    for (verdict, second) in [
        (Broken, 100),
        (Pullable, 200),
        (Broken, 300),
        (Pullable, 400),
    ] {
        let images = vec![one(Pullable, 1, "app"), one(verdict, second, "init")];
        let decision = told.decide(&snapshot(second + 7, images));
        times.extend(decision.write.iter().map(|it| it.since.get()));
    }
    assert_eq!(times, [100, 200, 300, 400]);

    let mut told = Told::settled();
    let mut times = Vec::new();
    for (verdict, second) in [(Broken, 100), (Pullable, 200), (Broken, 300)] {
        // It has been gone from its origin for long; a mirror comes and goes.
        let mut image = one(verdict, 1, "app");
        let Named::Image(origin) = image.named else {
            panic!("it is an image");
        };
        let endpoint = Endpoint {
            role: Role::Origin,
            image: Arc::clone(&origin),
            report: Arc::new(report(Broken)),
        };
        image.named = Named::Detailed(Arc::new(Detailed {
            image: origin,
            details: Details {
                endpoints: vec![endpoint],
                ..Details::default()
            },
        }));
        let decision = told.decide(&snapshot(second, vec![image]));
        times.extend(decision.write.iter().map(|it| it.since.get()));
    }
    assert_eq!(times, [100, 200, 300]);
}

#[test]
fn an_image_that_is_flapping_is_told_of_a_few_times_an_hour() {
    let mut told = Told::settled();
    let mut count = 0;
    for _ in 0..25 {
        count += told.see(Broken).len() + told.see(Pullable).len();
    }
    assert_eq!(count, PAIR_MAX);
}

#[test]
fn whatever_a_tenant_writes_as_an_image_the_note_is_short_and_plain() {
    let mut told = Told::settled();
    let text = format!("r.example/\u{202e}{}\u{1b}[2J\n", "ü".repeat(5000));
    let image = ImageState {
        named: Named::Malformed(Arc::new(Malformed {
            reference: text.as_str().into(),
            users: [Arc::new(user("shop/web", "app"))].into(),
        })),
        report: Arc::new(Report::only(Code::ReferenceInvalid, text.clone())),
        proven_at: None,
        since: Second::new(0),
        is_known: false,
    };
    let fine = || state(IMAGE, report(Pullable), vec![user("shop/web", "app")]);
    let decision = told.decide(&snapshot(told.second, vec![fine(), image]));
    let note = &decision.write[0].note;
    assert!(note.len() <= NOTE_BYTES_MAX, "{}", note.len());
    assert!(note.contains("reference_invalid"), "{note}");
    let is_plain = |it: char| it.is_ascii_graphic() || [' ', '\u{fffd}', '…'].contains(&it);
    assert!(note.chars().all(is_plain), "{note}");
    assert!(!note.contains("pullproof explain"), "{note}");
}

#[test]
fn however_long_names_are_the_note_is_short_and_plain() {
    let mut told = Told::settled();
    let report = Report {
        findings: vec![Finding {
            platform: Some(Platform::new(&"x\u{1b}".repeat(3000), "amd64", None)),
            ..finding(Code::ChildMissing, "")
        }]
        .into(),
        ..report(Broken)
    };
    let reference = format!("r.example/{}:{}", "a".repeat(230), "t".repeat(128));
    let users = vec![user("shop/web", "app"), user("shop/web", "init")];
    let images = vec![state(&reference, report, users)];
    let decision = told.decide(&snapshot(told.second, images));
    let note = &decision.write[0].note;
    assert!(note.len() <= NOTE_BYTES_MAX, "{}", note.len());
    assert!(!note.contains(char::is_control), "{note}");
    // It does not crowd out what is the case.
    assert!(note.contains("child_missing"), "{note}");
}

#[test]
fn what_came_of_events_is_shown_where_they_are_written() {
    let counts = Counts::default();
    assert_eq!(counts.all().count(), 0);
    counts.set_on(true);
    counts.add(Outcome::Failed, 3);
    let shown: Vec<_> = counts
        .all()
        .map(|(it, count)| (it.as_str(), count))
        .collect();
    assert_eq!(shown, [("written", 0), ("dropped", 0), ("failed", 3)]);
    counts.set_on(false);
    assert_eq!(counts.all().count(), 0);
}

fn verdicts() -> impl Strategy<Value = Vec<(Verdict, bool)>> {
    let verdict = prop_oneof![Just(Pullable), Just(Unknown), Just(Broken)];
    proptest::collection::vec((verdict, any::<bool>()), 0..40)
}

proptest! {
    /// Whatever happens, and whenever it is restarted: what is told alternates, begins with a break, and is what
    /// was seen at that moment.
    #[test]
    fn breaks_and_heals_alternate(seen in verdicts()) {
        let mut told = Told::settled();
        let mut last = Change::Heals;
        for (verdict, restarts) in seen {
            // Long enough for no limit to count.
            told.second += 3600;
            let changes = told.see(verdict);
            let expected = match (verdict, last) {
                (Broken, Change::Heals) => vec![Change::Breaks],
                (Pullable, Change::Breaks) => vec![Change::Heals],
                (Broken, Change::Breaks) | (Pullable, Change::Heals) | (Unknown, _) => vec![],
            };
            prop_assert_eq!(&changes, &expected);
            last = changes.first().copied().unwrap_or(last);
            if restarts {
                told = told.restarted();
            }
        }
    }
}
