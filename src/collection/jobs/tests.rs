use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn open() -> Opening {
    Opening {
        windows: vec!["night".to_owned()],
        start: at(1000),
        end: at(5000),
    }
}

fn name(purpose: Purpose, since: i64, attempt: u32) -> Name {
    Name {
        purpose,
        storage: of_storage("registry.example"),
        since: Second::new(since),
        attempt,
    }
}

fn told(result: &str, held_since: Option<i64>) -> Told {
    Told {
        result: result.to_owned(),
        knows_held: result != "refused",
        held_since: held_since.map(Second::new),
        ..Told::default()
    }
}

fn running(name: Name, created_at: i64) -> Seen {
    Seen {
        name,
        created_at: at(created_at),
        state: State::Running,
    }
}

fn ended(name: Name, created_at: i64, is_complete: bool, told: Option<Told>) -> Seen {
    Seen {
        state: State::Ended(Ended {
            at: at(created_at + 10),
            is_complete,
            why: None,
            told: told.map(Box::new),
        }),
        ..running(name, created_at)
    }
}

#[test]
fn a_name_is_short_and_says_what_it_is_of() {
    for (purpose, attempt) in [(Purpose::Collect, 0), (Purpose::Restore, 12)] {
        let name = name(purpose, 1_795_309_200, attempt);
        let text = name.to_string();
        assert_eq!(Name::parse(&text), Some(name));
        // A pod's name has six characters more, and a label is one too.
        assert!(text.len() + 6 <= 63, "{text}");
    }
    assert_ne!(of_storage("a.example"), of_storage("b.example"));
    for other in [
        "",
        "pullproof",
        "pullproof-collector",
        "pullproof-collect-1a2b3c4d",
        "pullproof-collect-1a2b3c4d-007",
        "pullproof-collect-1a2b3c4d-7-0",
        "pullproof-purge-1a2b3c4d-7",
    ] {
        assert_eq!(Name::parse(other), None, "{other}");
    }
}

#[test]
fn an_opening_has_one_job_and_what_was_refused_is_tried_again() {
    let (open, storage) = (open(), of_storage("registry.example"));
    let next_with = |jobs: &[Seen], collects: bool, now: i64| {
        let standing = Standing {
            collects,
            open: Some(&open),
            jobs,
            worse: None,
            storage: &storage,
        };
        next(&standing, at(now))
    };
    let first = name(Purpose::Collect, 1000, 0);
    let start = |name: Name| Start {
        name,
        opening: Some(open.id()),
        until: Some(at(4970)),
    };
    assert_eq!(next_with(&[], true, 1000), Some(start(first.clone())));
    assert_eq!(next_with(&[], false, 1000), None);
    // Too early, too late, and nothing is left.
    for now in [999, 4970, 5000] {
        assert_eq!(next_with(&[], true, now), None, "{now}");
    }
    let before = ended(name(Purpose::Collect, 500, 0), 500, true, None);
    assert_eq!(next_with(&[before], true, 1000), Some(start(first.clone())));
    // Whatever came of it, it was the one.
    for said in [
        None,
        Some(told("quarantined", Some(1005))),
        Some(told("failed", None)),
    ] {
        for is_complete in [false, true] {
            let jobs = [ended(first.clone(), 1000, is_complete, said.clone())];
            assert_eq!(next_with(&jobs, true, 4000), None, "{said:?}");
        }
    }
    assert_eq!(next_with(&[running(first.clone(), 1000)], true, 4000), None);
    // Of one that the gate refused nothing is left to fear.
    let jobs = [ended(first, 1000, false, Some(told("refused", None)))];
    assert_eq!(next_with(&jobs, true, 1909), None);
    let second = name(Purpose::Collect, 1000, 1);
    assert_eq!(next_with(&jobs, true, 1910), Some(start(second)));
    // The clock was set back.
    let later = ended(name(Purpose::Collect, 90_000, 0), 90_000, true, None);
    assert_eq!(next_with(&[later], true, 1000), None);
}

#[test]
fn what_got_worse_is_put_back_once_and_again_where_that_failed() {
    let (open, storage) = (open(), of_storage("registry.example"));
    let next_with = |jobs: &[Seen], now: i64| {
        let standing = Standing {
            collects: true,
            open: Some(&open),
            jobs,
            worse: Some(Second::new(1200)),
            storage: &storage,
        };
        next(&standing, at(now)).map(|start| start.name)
    };
    let collected = ended(
        name(Purpose::Collect, 1000, 0),
        1000,
        true,
        Some(told("quarantined", Some(1005))),
    );
    let restore = |attempt: u32| name(Purpose::Restore, 1200, attempt);
    let jobs = [collected.clone()];
    assert_eq!(next_with(&jobs, 1200), Some(restore(0)));
    let jobs = [collected.clone(), running(restore(0), 1200)];
    assert_eq!(next_with(&jobs, 1300), None);
    let jobs = [collected.clone(), ended(restore(0), 1200, false, None)];
    assert_eq!(next_with(&jobs, 1269), None);
    assert_eq!(next_with(&jobs, 1270), Some(restore(1)));
    // What could be put back is back, and it is worse for another reason: nothing is taken beside it.
    let jobs = [collected, ended(restore(0), 1200, true, None)];
    assert_eq!(next_with(&jobs, 4000), None);
}

#[test]
fn since_when_something_is_held_is_what_the_last_job_said_or_may_have_taken() {
    let collect =
        |since: i64, said: Option<Told>| ended(name(Purpose::Collect, since, 0), since, true, said);
    let restore =
        |since: i64, said: Option<Told>| ended(name(Purpose::Restore, since, 0), since, true, said);
    let held = |jobs: &[Seen]| held_since(jobs).map(Second::get);
    assert_eq!(held(&[]), None);
    let first = collect(1000, Some(told("quarantined", Some(1005))));
    assert_eq!(held(std::slice::from_ref(&first)), Some(1005));
    // Killed: it may have taken something, and what the one before took is there still.
    assert_eq!(held(&[collect(2000, None)]), Some(2000));
    assert_eq!(held(&[collect(2000, None), first.clone()]), Some(1005));
    // Whoever was refused has not looked.
    let refused = collect(3000, Some(told("refused", None)));
    assert_eq!(held(&[first.clone(), refused]), Some(1005));
    assert_eq!(held(&[first.clone(), restore(1500, None)]), Some(1005));
    assert_eq!(
        held(&[first.clone(), restore(1500, Some(told("restored", None)))]),
        None
    );
    assert_eq!(
        held(&[first, running(name(Purpose::Collect, 9000, 0), 9000)]),
        Some(1005)
    );
}

#[test]
fn what_the_bucket_would_purge_is_known_by_the_last_that_looked() {
    let collect = |since: i64, returns_at: Option<i64>, result: &str| {
        let said = Told {
            returns_at: returns_at.map(Second::new),
            ..told(result, Some(since))
        };
        ended(name(Purpose::Collect, since, 0), since, true, Some(said))
    };
    let returns = |jobs: &[Seen]| returns_at(jobs).map(Second::get);
    assert_eq!(returns(&[]), None);
    let first = collect(1000, Some(9000), "quarantined");
    assert_eq!(returns(std::slice::from_ref(&first)), Some(9000));
    // Whoever was refused has not looked.
    let refused = collect(2000, None, "refused");
    assert_eq!(returns(&[refused, first.clone()]), Some(9000));
    // It was marked again.
    assert_eq!(returns(&[collect(3000, None, "planned"), first]), None);
}

fn template() -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"generateName": "x-", "labels": {"team": "registry"}},
        "spec": {
            "backoffLimit": 6, "completions": 3, "suspend": true, "activeDeadlineSeconds": 9,
            "template": {"spec": {
                "restartPolicy": "OnFailure",
                "containers": [{"name": "pullproof", "args": ["gc", "run", "--config", "/etc/p.yaml"]}],
            }},
        },
    })
}

#[test]
fn a_job_is_what_the_template_says_tried_once_and_stopped_in_time() {
    let start = Start {
        name: name(Purpose::Collect, 1000, 0),
        opening: Some(open().id()),
        until: Some(at(4970)),
    };
    let job = manifest::made(
        &template(),
        &start,
        "registry.example",
        "registry",
        at(1010),
    )
    .unwrap();
    let metadata = &job["metadata"];
    assert_eq!(metadata["name"], start.name.to_string());
    assert_eq!(metadata["namespace"], "registry");
    assert_eq!(metadata.get("generateName"), None);
    assert_eq!(metadata["labels"]["team"], "registry");
    let labels: BTreeMap<String, String> =
        serde_json::from_value(metadata["labels"].clone()).unwrap();
    assert!(manifest::is_ours(&labels, &start.name.storage));
    assert!(!manifest::is_ours(&labels, "another"));
    assert!(!manifest::is_ours(
        [("team", "registry")],
        &start.name.storage
    ));
    let opening = &metadata["annotations"]["pullproof.dev/opening"];
    assert_eq!(*opening, "night@1970-01-01T00:16:40Z");
    let spec = &job["spec"];
    assert_eq!(
        (&spec["backoffLimit"], &spec["completions"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(spec["activeDeadlineSeconds"], 3960);
    assert_eq!(spec["ttlSecondsAfterFinished"], 604_800);
    assert_eq!(spec.get("suspend"), None);
    let pod = &spec["template"]["spec"];
    assert_eq!(pod["restartPolicy"], "Never");
    assert_eq!(
        spec["template"]["metadata"]["labels"]["pullproof.dev/job"],
        start.name.to_string()
    );
    let arguments = "gc run --config /etc/p.yaml --termination-log /dev/termination-log";
    let words: Vec<&str> = arguments.split(' ').collect();
    assert_eq!(pod["containers"][0]["args"], json!(words));
    // One that would be gone before the opening is over could be started twice.
    let mut short = template();
    short["spec"]["ttlSecondsAfterFinished"] = json!(5);
    let job = manifest::made(&short, &start, "registry.example", "registry", at(1010)).unwrap();
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 7560);
}

#[test]
fn what_puts_back_has_no_deadline() {
    let start = Start {
        name: name(Purpose::Restore, 1200, 0),
        opening: None,
        until: None,
    };
    let job = manifest::made(
        &template(),
        &start,
        "registry.example",
        "registry",
        at(1010),
    )
    .unwrap();
    assert_eq!(job["spec"].get("activeDeadlineSeconds"), None);
    let arguments = "gc restore --all --config /etc/p.yaml --termination-log /dev/termination-log";
    let words: Vec<&str> = arguments.split(' ').collect();
    assert_eq!(
        job["spec"]["template"]["spec"]["containers"][0]["args"],
        json!(words)
    );
}

#[test]
fn a_template_that_is_none_is_refused_with_the_way_out() {
    let start = Start {
        name: name(Purpose::Collect, 1000, 0),
        opening: None,
        until: Some(at(4970)),
    };
    let problem = |change: &dyn Fn(&mut Value)| {
        let mut template = template();
        change(&mut template);
        manifest::made(&template, &start, "registry.example", "registry", at(1010)).unwrap_err()
    };
    for (told, change) in [
        (
            "expected `apiVersion: batch/v1` and `kind: Job`",
            &(|it: &mut Value| it["kind"] = json!("CronJob")) as &dyn Fn(&mut Value),
        ),
        ("its namespace is `a`", &|it| {
            it["metadata"]["namespace"] = json!("a");
        }),
        ("its `metadata` is not a map", &|it| {
            it["metadata"] = json!([]);
        }),
        ("`spec.template.spec.containers` is missing", &|it| {
            it["spec"]["template"]["spec"] = json!({});
        }),
        ("none is named `pullproof`", &|it| {
            it["spec"]["template"]["spec"]["containers"] = json!([{"name": "a"}, {"name": "b"}]);
        }),
        ("have to begin with `gc`, `run`", &|it| {
            it["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["serve"]);
        }),
    ] {
        assert!(
            problem(change).contains(told),
            "{told}: {}",
            problem(change)
        );
    }
}
