use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::judge::{Look, Refused, judge};
use super::told::{self, Users};
use super::*;
use crate::images::{self, PlatformChoice};
use crate::inventory::completeness::{self, Refusal, RefusalCode};
use crate::inventory::keepset::{KeepSet, LedTo};
use crate::inventory::marks::{self, Marked, Marks, sorted};
use crate::inventory::running::{ImageId, Place, Running, RunningUse};
use crate::inventory::{
    Class, Idle, ImageUse, Inventory, NodeConstraint, PullSecret, TopOwner, User, references,
    stored,
};
use crate::oci::reference::Aliases;
use crate::verify::target::Needs;
use crate::view::{ForPeer, KeepSetAnswer, Said};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn said() -> Said {
    Said {
        daemon: digest("dr"),
        configuration: digest("a configuration"),
        sequence: 7,
        at: at(1000),
    }
}

/// A cluster whose Deployment runs on arm alone, and whose Job anywhere.
fn cluster() -> SourceState {
    let one = |kind: &str, image: &str, constraint, secrets: &[&str]| ImageUse {
        user: Arc::new(User {
            owner: Arc::new(TopOwner {
                cluster: Some("far".into()),
                namespace: "shop".into(),
                kind: kind.into(),
                name: "web".into(),
            }),
            container: "app".into(),
            image: image.into(),
            class: Class::Runtime,
            via: (kind == "Job").then(|| "Job/web-1".into()),
            since: Some(at(500).into()),
            idle: (kind == "Job").then_some(Idle::Done),
        }),
        reference: image.parse().map_err(Box::new),
        pull_secrets: secrets.iter().map(|it| Arc::from(*it)).collect(),
        constraint: Arc::new(constraint),
    };
    let arm = NodeConstraint {
        architecture: Some("arm64".to_owned()),
        ..NodeConstraint::default()
    };
    let uses: Arc<[ImageUse]> = [
        one("Deployment", "r.example/app:1", arm, &["pull"]),
        one("Job", "r.example/app:1", NodeConstraint::default(), &[]),
        one("Job", "no reference", NodeConstraint::default(), &[]),
    ]
    .into();
    let running = RunningUse {
        user: Arc::clone(&uses[1].user),
        running: [Running {
            id: ImageId {
                digest: digest("what runs"),
                place: Place::Named,
            },
            by: "Job/web-1".into(),
        }]
        .into(),
        refusal: None,
        pulled: None,
    };
    let platforms = ["linux/amd64", "linux/arm64"].map(|it| it.parse().unwrap());
    SourceState {
        incomplete: None,
        complete_at: Some(at(990)),
        uses,
        running: [Arc::new(running)].into(),
        platforms: Some(platforms.into()),
        ..SourceState::unread("far")
    }
}

fn all_sources() -> Vec<SourceState> {
    let list = references::read_text("keep", "r.example/tool:1\nr.example/app:1", at(1000));
    vec![cluster(), list]
}

fn led_to() -> LedTo {
    LedTo {
        reference: "r.example/app:1".into(),
        digest: digest("what it led to"),
        last: at(999),
    }
}

fn aliases() -> Aliases {
    Aliases::of([("r.internal", "r.example")].into_iter())
}

fn of(sources: Vec<SourceState>) -> Arc<Inventory> {
    Arc::new(Inventory {
        sources: sources.into_iter().map(Arc::new).collect(),
    })
}

fn keep_set(inventory: &Arc<Inventory>, led_to: Vec<LedTo>) -> KeepSet {
    let complete = completeness::complete(inventory, at(1000)).unwrap();
    KeepSet::of(&complete, &aliases(), led_to.into_iter(), HOUR)
}

/// What a daemon with these sources answers.
fn answer(sources: Vec<SourceState>, said: Said) -> String {
    let inventory = Arc::new(told::first_hand(&of(sources)));
    let set = keep_set(&inventory, vec![led_to()]);
    let content = Users::of(&inventory, &aliases()).content(&set).unwrap();
    text(&KeepSetAnswer {
        said,
        inventory,
        aliases: aliases(),
        complete: true,
        set: Some(set),
        refusals: Vec::new(),
        peer: Some(ForPeer {
            content: Some(content),
            unchanged: false,
        }),
    })
}

fn text(answer: &KeepSetAnswer) -> String {
    let mut text = Vec::new();
    answer.write(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn look(now: i64) -> Look {
    Look {
        max_age: HOUR,
        asked: at(now),
        now: at(now),
        settling: None,
    }
}

fn taken(text: &str, before: &SourceState, look: Look) -> Result<SourceState, Refused> {
    let answer = answer::read(text.as_bytes()).unwrap();
    judge(answer, before, look)
}

/// What is held after a first answer.
fn held() -> SourceState {
    taken(&answer(all_sources(), said()), &unread("dr"), look(1000)).unwrap()
}

#[test]
fn it_becomes_uses_that_say_whose_they_are() {
    let state = held();
    assert_eq!(
        (&state.incomplete, state.complete_at),
        (&None, Some(at(990)))
    );
    let told: Vec<String> = state
        .uses
        .iter()
        .map(|it| {
            let user = &it.user;
            let reference = it.reference.as_ref().map_or("none", |it| it.repository());
            format!(
                "{reference} {} {} {} {} ({})",
                user.cluster.as_deref().unwrap(),
                user.kind,
                user.name,
                user.class,
                user.via.as_ref().unwrap()
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "app far Deployment web runtime (peer dr)",
            "app far Job web runtime (Job/web-1, peer dr)",
            "app dr List keep listed (line 2, peer dr)",
            "tool dr List keep listed (line 1, peer dr)",
            "none far Job web runtime (Job/web-1, peer dr)",
        ]
    );
    let job = &state.uses[1].user;
    assert_eq!(
        (job.since, job.idle),
        (Some(at(500).into()), Some(Idle::Done))
    );
    // What nodes run is told of the same use.
    let [running] = &*state.running else {
        panic!("{state:?}")
    };
    assert!(Arc::ptr_eq(&running.user, &state.uses[1].user));
    assert_eq!(running.running, cluster().running[0].running);
    // A secret's name is told, and nothing of what is in it.
    let key = ("shop".into(), "pull".into());
    assert!(matches!(
        state.pull_secrets[&key],
        PullSecret::Unreadable(_)
    ));
}

#[test]
fn each_use_needs_the_platforms_of_the_nodes_that_may_run_it() {
    let needs = |name: &str, class: Class| {
        let state = held();
        let kept = |it: &&ImageUse| {
            let reference = it.reference.as_ref();
            reference.is_ok_and(|it| it.repository() == name) && it.user.class == class
        };
        let uses: Vec<ImageUse> = state.uses.iter().filter(kept).cloned().collect();
        let inventory = of(vec![SourceState {
            uses: uses.into(),
            ..state
        }]);
        let images = images::collect(&inventory, &|_| PlatformChoice::Needed);
        let told = images.images.iter().map(|image| match &image.needs {
            Needs::All => "all".to_owned(),
            Needs::These(these) => {
                let these: Vec<_> = these.iter().map(ToString::to_string).collect();
                these.join(" ")
            }
        });
        told.collect::<Vec<_>>()
    };
    // By two credentials: arm alone needs the secret, and the Job runs anywhere.
    assert_eq!(
        needs("app", Class::Runtime),
        ["linux/amd64 linux/arm64", "linux/arm64"]
    );
    assert_eq!(needs("tool", Class::Listed), ["all"]);
}

#[test]
fn what_it_keeps_is_kept_here() {
    let there = keep_set(&of(all_sources()), vec![led_to()]);
    let here = keep_set(&of(vec![held()]), Vec::new());
    assert_eq!(here.references(), there.references());
    let app = &here.references()[&"r.example/app:1".parse().unwrap()];
    assert_eq!(
        app.digests,
        [digest("what runs"), digest("what it led to")].into()
    );
    // Also after a restart.
    let mut text = Vec::new();
    let from = stored::ReadFrom {
        identity: "peer".to_owned(),
        beyond: None,
    };
    stored::write(&held(), &from, &mut text).unwrap();
    let (back, _) = stored::read("dr", &from, None, &mut &*text).unwrap();
    assert_eq!((&back.uses, &back.running), (&held().uses, &held().running));
    assert_eq!(
        (&back.peer, &back.platforms),
        (&held().peer, &held().platforms)
    );
    assert_eq!(back.complete_at, Some(at(990)));
    assert!(back.incomplete.is_some());
}

#[test]
fn what_is_written_with_another_name_of_its_registry_is_told_by_both() {
    let list = references::read_text("keep", "r.internal/app:1", at(1000));
    let state = taken(&answer(vec![list], said()), &unread("dr"), look(1000)).unwrap();
    let here = keep_set(&of(vec![state.clone()]), Vec::new());
    let names: Vec<String> = here.references().keys().map(ToString::to_string).collect();
    assert_eq!(names, ["r.example/app:1", "r.internal/app:1"]);
    let own = &here.references()[&"r.example/app:1".parse().unwrap()];
    assert_eq!(own.digests, [digest("what it led to")].into());
    let written: Vec<&str> = state.uses.iter().map(|it| &*it.user.image).collect();
    assert_eq!(written, ["r.internal/app:1", "r.internal/app:1"]);
}

#[test]
fn nothing_is_told_that_another_told() {
    let mut ours = all_sources();
    let alone = answer(ours.clone(), said());
    ours.push(held());
    ours.push(unread("third"));
    assert_eq!(answer(ours.clone(), said()), alone);
    assert_eq!(told::nothing_of_its_own(&of(ours)), None);
    let echo = told::nothing_of_its_own(&of(vec![
        held(),
        references::read_text(crate::inventory::ledger::SOURCE, "", at(1000)),
    ]));
    assert!(echo.unwrap().message.contains("reads nothing itself"));
    // Before anything was read that is not said.
    assert_eq!(told::nothing_of_its_own(&Inventory::default()), None);
}

#[test]
fn what_another_remembers_is_named_by_nobody() {
    let mut sources = all_sources();
    let mut ledger = references::read_text("ledger", "r.example/gone:1", at(1000));
    let gone = &ledger.uses[0];
    ledger.uses = [ImageUse {
        user: Arc::new(User {
            class: Class::Remembered,
            since: Some(at(500).into()),
            ..User::clone(&gone.user)
        }),
        ..gone.clone()
    }]
    .into();
    sources.push(ledger);
    let state = taken(&answer(sources, said()), &unread("dr"), look(1000)).unwrap();
    let inventory = of(vec![state.clone()]);
    let gone: Reference = "r.example/gone:1".parse().unwrap();
    let kept = keep_set(&inventory, Vec::new());
    assert_eq!(kept.references()[&gone].classes, [Class::Remembered].into());
    assert!(!crate::inventory::distinct(state.uses.iter()).contains(&gone));
    assert_eq!(crate::inventory::distinct(state.uses.iter()).len(), 2);
}

#[test]
fn its_time_is_that_of_the_least_fresh_source_and_what_is_too_old_says_so() {
    let mut sources = all_sources();
    sources[0].complete_at = Some(at(600));
    let text = answer(sources, said());
    let state = taken(&text, &unread("dr"), look(1000)).unwrap();
    assert_eq!((state.incomplete, state.complete_at), (None, Some(at(600))));
    let strict = Look {
        max_age: SignedDuration::from_secs(399),
        ..look(1000)
    };
    let state = taken(&text, &unread("dr"), strict).unwrap();
    let reason = state.incomplete.unwrap();
    assert!(
        reason.contains("1970-01-01T00:10:00Z, which is too long ago"),
        "{reason}"
    );
    // It is what it is all the same, and of then.
    assert_eq!((state.uses.len(), state.complete_at), (5, Some(at(600))));

    // A cluster that is away there, within its own maxAge.
    let mut sources = all_sources();
    sources[0].complete_at = Some(at(100));
    sources[0].incomplete = Some("it is away".to_owned());
    sources[0].rules.max_age = Some(HOUR);
    let state = taken(&answer(sources, said()), &unread("dr"), look(1000)).unwrap();
    assert_eq!(state.complete_at, Some(at(100)));
    assert!(state.incomplete.unwrap().contains("too long ago"));
    // Nobody says that he read something later than he says it.
    let mut sources = all_sources();
    sources.pop();
    sources[0].complete_at = Some(at(5000));
    let state = taken(&answer(sources, said()), &unread("dr"), look(1000)).unwrap();
    assert_eq!(state.complete_at, Some(at(1000)));
}

#[test]
fn what_did_not_change_is_the_same_allocation_and_a_few_words() {
    let before = held();
    let later = Said {
        sequence: 8,
        at: at(1010),
        ..said()
    };
    let again = taken(&answer(all_sources(), later), &before, look(1010)).unwrap();
    assert!(Arc::ptr_eq(&again.uses, &before.uses));
    assert!(Arc::ptr_eq(&again.running, &before.running));

    let content = before.peer.as_ref().unwrap().mark.as_ref().unwrap().content;
    let unchanged = |content| {
        text(&KeepSetAnswer {
            said: later,
            inventory: of(all_sources()),
            aliases: aliases(),
            complete: true,
            set: None,
            refusals: Vec::new(),
            peer: Some(ForPeer {
                content: Some(content),
                unchanged: true,
            }),
        })
    };
    let words = unchanged(content);
    assert!(words.len() < 2000, "{words}");
    let again = taken(&words, &before, look(1010)).unwrap();
    assert!(Arc::ptr_eq(&again.uses, &before.uses));
    assert_eq!(
        again.peer.as_ref().unwrap().mark.as_ref().unwrap().sequence,
        8
    );
    assert_eq!(
        again.peer.unwrap().digests,
        before.peer.as_ref().unwrap().digests
    );
    // Of something else than what we have, that is nothing.
    for (before, content) in [(&before, digest("other")), (&unread("dr"), content)] {
        let refused = taken(&unchanged(content), before, look(1010)).unwrap_err();
        assert!(
            refused.to_string().contains("not what it said before"),
            "{refused}"
        );
    }
}

/// What the answer is refused for after a change of its text.
fn refused(change: impl Fn(&mut Value)) -> String {
    let later = Said {
        sequence: 8,
        ..said()
    };
    let mut value: Value = serde_json::from_str(&answer(all_sources(), later)).unwrap();
    change(&mut value);
    // The order of the keys is another then, and says nothing.
    match answer::read(value.to_string().as_bytes()) {
        Err(error) => format!("malformed: {error}"),
        Ok(answer) => judge(answer, &held(), look(1000)).unwrap_err().to_string(),
    }
}

#[test]
fn everything_that_speaks_against_it_is_said() {
    let set =
        |key: &'static str, value: Value| move |answer: &mut Value| answer[key] = value.clone();
    let cases: Vec<(String, &str)> = vec![
        (
            refused(set("schema", "pullproof.dev/keepset/v2".into())),
            "keepset/v2",
        ),
        (
            refused(|it| drop(it.as_object_mut().unwrap().remove("schema"))),
            "missing field `schema`",
        ),
        (
            refused(|it| drop(it.as_object_mut().unwrap().remove("daemon"))),
            "missing field `daemon`",
        ),
        (
            refused(|it| drop(it.as_object_mut().unwrap().remove("first_hand"))),
            "its version knows no peers",
        ),
        (
            refused(set("daemon", digest("another").to_string().into())),
            "another pullproof answers",
        ),
        (
            refused(set("sequence", 6.into())),
            "its sequence fell from 7 to 6",
        ),
        (
            refused(set("configuration", digest("new").to_string().into())),
            "its configuration is another",
        ),
        (
            refused(set("at", at(1061).to_string().into())),
            "its clock is about 1 min ahead of ours",
        ),
        (
            refused(set("at", at(939).to_string().into())),
            "its clock is about 1 min behind ours",
        ),
        (
            refused(set("complete_at", Value::Null)),
            "does not say when it was complete",
        ),
        (
            refused(set("content", Value::Null)),
            "does not say when it was complete",
        ),
        (
            refused(set("references", Value::Null)),
            "not what its hash is of",
        ),
        (
            refused(set("hash", digest("x").to_string().into())),
            "not what its hash is of",
        ),
        (
            refused(set("sequence", 9.into())),
            "not what its hash is of",
        ),
        (
            refused(|it| drop(it["references"].as_array_mut().unwrap().remove(0))),
            "not what its hash is of",
        ),
        (
            refused(|it| it["references"][1]["used_by"] = Value::Array(Vec::new())),
            "not what its hash is of",
        ),
        (
            refused(|it| it["references"][0]["digests"] = Value::Array(Vec::new())),
            "not what its hash is of",
        ),
        (
            refused(|it| it["references"][0]["classes"][0] = "other".into()),
            "malformed: unknown variant",
        ),
        (
            refused(|it| it["references"][0]["reference"] = "a b".into()),
            "malformed: `a b` is not an image reference",
        ),
        (
            refused(set("references", "none".into())),
            "malformed: invalid type",
        ),
    ];
    for (refused, expected) in cases {
        assert!(refused.contains(expected), "{expected}: {refused}");
    }
}

#[test]
fn one_that_is_not_complete_itself_says_why() {
    let incomplete = text(&KeepSetAnswer {
        said: said(),
        inventory: of(all_sources()),
        aliases: aliases(),
        complete: false,
        set: None,
        refusals: vec![
            Refusal {
                code: RefusalCode::InventoryIncomplete,
                message: "far: it is away".to_owned(),
            };
            5
        ],
        peer: Some(ForPeer::default()),
    });
    let refused = taken(&incomplete, &held(), look(1000)).unwrap_err();
    let words = refused.to_string();
    assert!(
        words.starts_with("it is not complete itself: inventory_incomplete: far: it is away;"),
        "{words}"
    );
    assert!(words.ends_with("and 2 more"), "{words}");
}

#[test]
fn a_new_configuration_is_taken_when_it_is_said_again() {
    let new = Said {
        sequence: 8,
        configuration: digest("new"),
        ..said()
    };
    let text = answer(all_sources(), new);
    let Err(Refused::Settling(configuration)) = taken(&text, &held(), look(1000)) else {
        panic!("it is taken at once");
    };
    let other = Look {
        settling: Some(digest("third")),
        ..look(1000)
    };
    assert!(taken(&text, &held(), other).is_err());
    let again = Look {
        settling: Some(configuration),
        ..look(1000)
    };
    assert_eq!(taken(&text, &held(), again).unwrap().incomplete, None);
    // The first answer of all has nothing to be compared with.
    assert!(taken(&text, &unread("dr"), look(1000)).is_ok());
}

#[test]
fn an_answer_that_is_cut_anywhere_is_none() {
    let text = answer(all_sources(), said());
    for end in 0..text.len() {
        assert!(answer::read(&text.as_bytes()[..end]).is_err(), "{end}");
    }
    assert!(answer::read(format!("{text}{text}").as_bytes()).is_err());
}

#[test]
fn its_content_is_of_all_that_is_told_and_of_no_time() {
    let content = |sources: Vec<SourceState>| {
        let inventory = of(sources);
        let set = keep_set(&inventory, Vec::new());
        Users::of(&inventory, &aliases()).content(&set).unwrap()
    };
    let mut contents = BTreeSet::from([content(all_sources())]);
    let mut later = all_sources();
    later[0].complete_at = Some(at(999));
    assert_eq!(content(later), content(all_sources()));
    let changes: [fn(&mut SourceState); 4] = [
        |source| source.platforms = None,
        |source| source.running = [].into(),
        |source| source.uses = source.uses[1..].into(),
        |source| source.uses = source.uses[..2].into(),
    ];
    for change in changes {
        let mut sources = all_sources();
        change(&mut sources[0]);
        assert!(contents.insert(content(sources)));
    }
}

#[test]
fn a_hundred_thousand_references_pass() {
    let names: Vec<String> = (0..100_000)
        .map(|number| format!("r.example/team-{}/app-{number}:v1", number % 100))
        .collect();
    let list = references::read_text("keep", &names.join("\n"), at(1000));
    let state = taken(&answer(vec![list], said()), &unread("dr"), look(1000)).unwrap();
    assert_eq!((state.uses.len(), state.incomplete), (100_000, None));
}

#[test]
fn what_is_silenced_there_is_silenced_here_under_its_name_here() {
    let mut far = cluster();
    let owner = |kind: &str| {
        let mut uses = far.uses.iter();
        let of = uses.find(|it| *it.user.kind == *kind).unwrap();
        Arc::clone(&of.user.owner)
    };
    let unnamed = |owner: &TopOwner| TopOwner {
        cluster: None,
        ..owner.clone()
    };
    let mark = |reason: &str| {
        Arc::new(marks::Mark {
            ignore: Some(reason.into()),
            labels: [("team".into(), "far".into())].into(),
        })
    };
    let marked = sorted(vec![
        Marked {
            owner: owner("Deployment"),
            mark: mark("moving"),
        },
        Marked {
            owner: owner("Job"),
            mark: mark(""),
        },
    ]);
    far.marks = Marks::new(marked.into(), Vec::new());
    let said_there = answer(vec![far.clone()], said());
    let state = taken(&said_there, &unread("dr"), look(1000)).unwrap();
    let of = |state: &SourceState, kind: &str| {
        let mut uses = state.uses.iter();
        let of = uses.find(|it| *it.user.kind == *kind).unwrap();
        let of = state.marks.of(&of.user);
        // Labels are this daemon's own choice.
        assert_eq!(of.labels().count(), 0);
        of.ignored().map(ToString::to_string)
    };
    assert_eq!(of(&state, "Deployment").as_deref(), Some("moving"));
    assert_eq!(of(&state, "Job"), None);
    // It is a part of what is told, and of nothing that is kept.
    let silent = SourceState {
        marks: Marks::default(),
        ..far.clone()
    };
    let before = taken(&answer(vec![silent], said()), &unread("dr"), look(1000)).unwrap();
    assert_eq!(before.uses, state.uses);
    let content = |state: &SourceState| state.peer.as_ref().unwrap().mark.clone().unwrap().content;
    assert_ne!(content(&before), content(&state));
    // A cluster without a name there is called as the peer is here.
    let uses = far.uses.iter().map(|it| {
        let user = User {
            owner: Arc::new(unnamed(&it.user.owner)),
            ..User::clone(&it.user)
        };
        ImageUse {
            user: Arc::new(user),
            ..it.clone()
        }
    });
    let anonymous = SourceState {
        running: [].into(),
        marks: Marks::new(
            [Marked {
                owner: Arc::new(unnamed(&owner("Deployment"))),
                mark: mark("moving"),
            }]
            .into(),
            Vec::new(),
        ),
        uses: uses.collect(),
        ..far.clone()
    };
    let state = taken(&answer(vec![anonymous], said()), &unread("dr"), look(1000)).unwrap();
    assert_eq!(of(&state, "Deployment").as_deref(), Some("moving"));
}
