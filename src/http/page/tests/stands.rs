//! How registries and collections stand.

use std::time::Duration;

use super::*;
use crate::collection::gate::Facts;
use crate::gc::plan::Counts;
use crate::gc::refusal::{Code as Condition, Refusal as Closed};
use crate::retention::plan::LeftAlone;
use crate::state::State;
use crate::state::collections::{Amount, CollectionStatus, Did, Last};
use crate::state::largest::{Going, Largest};
use crate::state::retention::{
    Last as Ended, Planned as PlannedTags, RetentionStatus, Terms as TagTerms,
};
use crate::state::storages::{Outline, Planned, StorageStatus, Terms};
use crate::traffic::Traffic;

const HOST: &str = "registry.example";

#[tokio::test]
async fn registries_say_how_they_answer_and_what_is_down_comes_first() {
    let mut busy = Traffic {
        requests: 1_234,
        limited: 7,
        failed: 3,
        concurrency: Some(16),
        ..Traffic::default()
    };
    busy.latency[1] = 1_000;
    busy.latency[4] = 234;
    let paused = Traffic {
        paused_until: Some(ago(-330)),
        ..Traffic::default()
    };
    let asked = Asked {
        traffic: Arc::new(move |host, _| match host {
            HOST => busy,
            "docker.io" => paused,
            _ => Traffic::default(),
        }),
        ..Asked::nothing(ago(600))
    };
    let beside = Beside {
        asked,
        ..Beside::default()
    };
    let site = Site::with(night(), beside).await;
    let html = site.page("registries", "/registries").await;
    check(&html);
    follow(
        &html,
        &[
            "aria-current=\"page\">Registries",
            "docker.io",
            "✗</span> down",
            "left alone until",
            "in 5 min",
            "12",
            "No request to it has ended yet",
            "registry.example",
            "✓</span> up",
            "/?verdict=broken&#38;registry=registry.example",
            "1,234 since the start, 123 a minute",
            "3 <span class=\"faint\">without an answer",
            "7 answered 429",
            "none announced",
            "16 <span class=\"faint\">requests, as learnt",
            "half 20 ms or less, 99 % 250 ms or less",
            "1,000 20 ms or less; 234 250 ms or less; ",
            "ghcr.io",
            "not asked yet",
        ],
    );
    let none = State::default().snapshot(ago(1));
    let html = Site::of(none)
        .await
        .page("registries-none", "/registries")
        .await;
    check(&html);
    assert!(html.contains("No workload names an image of any registry yet"));
}

fn windows(config: &str) -> Windows {
    let text = format!(
        "registries: [{{host: {HOST}, storage: {{filesystem: {{root: /var/lib/registry}}}}}}]\n{config}"
    );
    let config = crate::config::parse(&text, "test.yaml", std::path::Path::new("/")).unwrap();
    Windows::of(&config, ago(0), 5)
}

fn terms(mode: crate::config::Mode) -> Terms {
    Terms {
        mode,
        quarantine_for: Duration::from_hours(6 * 24),
    }
}

fn planned() -> StorageStatus {
    let going = |name: &str, count, bytes| Going {
        name: name.to_owned(),
        count,
        bytes,
    };
    let mut status = StorageStatus::default();
    status.terms = Some(terms(crate::config::Mode::Purge));
    status.take(Ok(Planned {
        at: ago(1800),
        took: SignedDuration::from_millis(2100),
        recalled: 0,
        counts: Counts {
            blobs: 1000,
            bytes: 100 << 30,
            garbage_blobs: 412,
            garbage_bytes: 25 << 30,
            ..Counts::default()
        },
        outline: Arc::new(Outline {
            id: "0123456789abcdef".to_owned(),
            repositories: Largest {
                first: vec![
                    going("team/app", 400, 20 << 30),
                    going(HOSTILE, 12, 5 << 30),
                ],
                others: going("", 3, 1024),
                other_names: 2,
            },
            reasons: vec![going("layer_link: nothing needs it", 9, 0)],
        }),
    }));
    status.take_free(Some(3 << 30), ago(0));
    status
}

fn last(result: &'static str, seconds: i64) -> Last {
    Last {
        at: ago(seconds),
        result,
        refusals: Vec::new(),
        failed: None,
        told: Vec::new(),
        did: Did {
            taken: Some(Amount {
                blobs: 412,
                bytes: 25 << 30,
            }),
            took: [
                ("list", Duration::from_secs(12)),
                ("prove", Duration::from_secs(60)),
            ]
            .into(),
            ..Did::default()
        },
    }
}

fn collected() -> CollectionStatus {
    let mut gate = Facts::default();
    for code in Condition::ALL.into_iter().skip(2) {
        gate.met(code);
    }
    gate.refused(Closed::new(Condition::WindowClosed, "no window is open"));
    gate.refused(Closed::new(
        Condition::ImageBroken,
        format!("{HOSTILE}: see `pullproof explain`"),
    ));
    let mut status = CollectionStatus {
        terms: Some(terms(crate::config::Mode::Purge)),
        gate,
        carried: [Condition::ProofStale, Condition::DrillStale].into(),
        held: Amount {
            blobs: 412,
            bytes: 25 << 30,
        },
        held_since: Some(ago(86_400)),
        unsettled: [("registry-0".to_owned(), 5)].into(),
        ..CollectionStatus::default()
    };
    status.take(last("quarantined", 86_000));
    status.take(Last {
        refusals: vec![Closed::new(Condition::Paused, "an operator paused it")],
        did: Did::default(),
        ..last("refused", 3600)
    });
    status
}

/// A window that is far away whenever this runs.
fn nightly() -> String {
    let schedule = far_away();
    format!(
        "gc: {{mode: purge, windows: [{{name: nightly, schedule: \"{schedule}\", duration: 2h}}]}}"
    )
}

fn far_away() -> String {
    let hour = ago(12 * 3600).to_zoned(jiff::tz::TimeZone::UTC).hour();
    format!("0 {hour} * * *")
}

#[tokio::test]
async fn a_storage_says_when_why_not_what_how_much_and_how_to_put_it_back() {
    let beside = Beside {
        windows: windows(&nightly()),
        storages: [(HOST.to_owned(), planned())].into(),
        collections: [(HOST.to_owned(), collected())].into(),
        ..Beside::default()
    };
    let site = Site::with(snapshot(shop()), beside).await;
    let html = site.page("collection", "/collection").await;
    check(&html);
    follow(
        &html,
        &[
            "aria-current=\"page\">Collection",
            "mode purge",
            "The gate is closed: 2 conditions stand against a collection.",
            "class=\"open\"",
            "nightly",
            &far_away(),
            "A window is open",
            "no window is open",
            "No image that was ever proven is broken",
            "&#60;script&#62;",
            "The window is long enough",
            "A run looks at it.",
            "16 conditions are met, 2 of them as the last run found them",
            "proof_stale</code> <span class=\"faint\">in the last run",
            "<strong>25.0 GiB</strong> would go, 25 % of 100 GiB: 412 blobs",
            "plan 0123456789abcdef",
            "Space free",
            "by the windows as they are",
            "3.0 GiB free",
            "team/app",
            "20.0 GiB",
            "2 others together",
            "layer link: nothing needs it",
            "25.0 GiB</strong> can be put back",
            "Until",
            "in 4 days",
            "pullproof gc restore --all --storage registry.example",
            "registry-0 believes in 5",
            "refused",
            "paused: an operator paused it",
            "quarantined",
            "412 blobs, 25.0 GiB",
            "list 12.0 s, prove 60 s",
        ],
    );
}

fn of_tags(mode: crate::config::RetentionMode) -> RetentionStatus {
    use crate::inventory::Class as Need;
    use crate::retention::class::Class;
    let going = |name: &str, count, bytes| Going {
        name: name.to_owned(),
        count,
        bytes,
    };
    RetentionStatus {
        terms: Some(TagTerms {
            mode,
            rehearsal: Duration::from_hours(7 * 24),
        }),
        planned: Some(PlannedTags {
            at: ago(900),
            id: "fedcba9876543210".to_owned(),
            going: 812,
            due: 640,
            bytes: 25 << 30,
            repositories: Largest {
                first: vec![going("team/app", 800, 20 << 30), going(HOSTILE, 4, 5 << 30)],
                others: going("", 8, 1024),
                other_names: 3,
            },
            staying: [(Class::Needed(Need::Runtime), 27), (Class::Release, 8)].into(),
            left_alone: vec![LeftAlone {
                repository: "team/shop".into(),
                reason: format!("whether `{HOSTILE}` can be pulled is not known"),
            }],
            left_alone_count: 2,
        }),
        deleted: 1_200,
        last: Some(Ended {
            at: ago(86_400),
            deleted: 1_200,
            restored: 0,
            refusals: Vec::new(),
            failed: None,
        }),
        ..RetentionStatus::default()
    }
}

#[tokio::test]
async fn a_registry_says_which_of_its_tags_go_and_which_stay() {
    use crate::config::RetentionMode::{Delete, Plan};
    let beside = |status: RetentionStatus, nights: &str| Beside {
        windows: windows(nights),
        retentions: [(HOST.to_owned(), status)].into(),
        ..Beside::default()
    };
    let site = Site::with(snapshot(shop()), beside(of_tags(Delete), &nightly())).await;
    let html = site.page("collection-tags", "/collection").await;
    check(&html);
    follow(
        &html,
        &[
            "nightly",
            "<h3>Tags <span class=\"tag\">mode delete</span></h3>",
            "What was in every plan for 7 d is deleted in the next window",
            "<strong>812 tags</strong> would go, 95.8 % of 847: 25.0 GiB",
            "plan fedcba9876543210",
            "640 tags",
            "27 <span class=\"tag\">runtime</span>, ",
            "8 <span class=\"tag\">release</span>",
            "2 repositories",
            "1,200 tags deleted",
            "1,200 tags since the start",
            "pullproof gc restore --storage registry.example --tag REPOSITORY:TAG",
            "Tags that would go, by repository",
            "team/app",
            "3 others together",
            "Why 2 repositories are left alone",
            "team/shop",
            "&#60;script&#62;",
            "and 1 more",
            "pullproof retention plan --registry registry.example",
        ],
    );
    // Nothing is said of a storage that is not looked at.
    assert!(!html.contains("<h3>Plan</h3>") && !html.contains("Nothing is known of it yet"));

    let refused = RetentionStatus {
        planned: None,
        refused: vec![Closed::new(
            Condition::InventoryIncomplete,
            "prod: forbidden",
        )],
        ..of_tags(Plan)
    };
    let lost = Ended {
        deleted: 0,
        restored: 3,
        at: ago(5),
        refusals: Vec::new(),
        failed: None,
    };
    let put_back = RetentionStatus {
        last: Some(lost.clone()),
        ..of_tags(Delete)
    };
    let failed = RetentionStatus {
        last: Some(Ended {
            failed: Some("the registry answered 500".to_owned()),
            ..lost
        }),
        ..of_tags(Delete)
    };
    let running = RetentionStatus {
        is_running: true,
        ..of_tags(Delete)
    };
    for (status, nights, sentence) in [
        (refused.clone(), "", "prod: forbidden"),
        (refused, "", "There is no plan yet"),
        (
            of_tags(Plan),
            "",
            "Nothing is deleted: retention.mode is plan",
        ),
        (of_tags(Delete), "", "No window is configured"),
        (put_back, &nightly(), "3 tags put back, since something"),
        (failed, &nightly(), "the registry answered 500"),
        (running, &nightly(), "A run is under way"),
    ] {
        let site = Site::with(snapshot(shop()), beside(status, nights)).await;
        let html = site.page("collection-tags-more", "/collection").await;
        check(&html);
        assert!(html.contains(sentence), "{sentence}: {html}");
    }
}

#[tokio::test]
async fn a_storage_of_which_little_is_known_says_no_more_than_that() {
    let site = Site::of(snapshot(shop())).await;
    let html = site.page("collection-none", "/collection").await;
    check(&html);
    assert!(html.contains("No storage is looked at"));

    let mut plan = StorageStatus::default();
    plan.terms = Some(terms(crate::config::Mode::Plan));
    plan.take(Err(vec![Closed::new(
        Condition::InventoryIncomplete,
        "prod: forbidden",
    )]));
    let beside = Beside {
        windows: windows(""),
        storages: [(HOST.to_owned(), plan)].into(),
        ..Beside::default()
    };
    let html = Site::with(snapshot(shop()), beside).await;
    let html = html.page("collection-plan", "/collection").await;
    check(&html);
    follow(
        &html,
        &[
            "mode plan",
            "Nothing is taken: gc.mode is plan",
            "No window is configured",
            "No plan could be made the last time",
            "prod: forbidden",
            "There is no plan yet",
        ],
    );
    assert!(!html.contains("<h3>Gate</h3>") && !html.contains("<h3>Runs</h3>"));
    assert!(!html.contains("made before"));

    let mut open = collected();
    open.gate = Facts::default();
    for code in Condition::ALL {
        open.gate.met(code);
    }
    let waits = |status: &CollectionStatus| {
        let mut status = status.clone();
        status.gate = Facts::default();
        status
            .gate
            .refused(Closed::new(Condition::WindowClosed, "no window is open"));
        status
    };
    let just_ran = |status: &CollectionStatus| {
        let mut status = status.clone();
        status.take(last("quarantined", 60));
        status
    };
    let failed = CollectionStatus {
        recent: [Last {
            failed: Some("the disk is gone".to_owned()),
            ..last("failed", 5)
        }]
        .into(),
        ..open.clone()
    };
    for (status, sentence) in [
        (open.clone(), "The gate is open"),
        (
            just_ran(&open),
            "made before the last run that moved something",
        ),
        (waits(&open), "It waits for a window: the next one opens"),
        (failed, "The last run failed: the disk is gone"),
        (
            CollectionStatus {
                is_running: true,
                ..open
            },
            "A session is under way",
        ),
    ] {
        let beside = Beside {
            windows: windows(&nightly()),
            storages: [(HOST.to_owned(), planned())].into(),
            collections: [(HOST.to_owned(), status)].into(),
            ..Beside::default()
        };
        let site = Site::with(snapshot(shop()), beside).await;
        let html = site.page("collection-sentence", "/collection").await;
        assert!(html.contains(sentence), "{sentence}: {html}");
    }
}
