//! What an operator chooses about a run: which plans are remembered, and of which alone something is taken.

use std::fs;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::desk::Desk;
use crate::plan::checker::Needed;
use crate::plan::served::can_pull;
use crate::support::parts::require;
use crate::support::registry::Version;

/// Where plans are remembered.
fn planned(desk: &Desk) -> PathBuf {
    desk.root().join("pullproof/planned.json")
}

/// As if everything had been recorded so long ago.
fn recorded_earlier(desk: &Desk, seconds: i64) {
    let text = fs::read(planned(desk)).unwrap();
    let mut text: Value = serde_json::from_slice(&text).unwrap();
    let rows = text["rows"].as_object_mut().unwrap();
    assert!(!rows.is_empty());
    for row in rows.values_mut() {
        let since: Timestamp = row[0].as_str().unwrap().parse().unwrap();
        let earlier = since - SignedDuration::from_secs(seconds);
        row[0] = earlier.to_string().into();
    }
    fs::write(planned(desk), text.to_string()).unwrap();
}

fn id(view: &Value) -> String {
    view["plan"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_plan_is_remembered_where_that_is_asked_for_and_then_rehearsed() {
    require!("registry-3.1", "crane", "regctl");
    let desk = Desk::start(Version::V3).await;
    desk.configure("quarantine", r#""rehearsal": "1h""#);
    let plan = desk.gc(&["plan"]).await;
    assert_eq!(plan.code, Some(0), "{plan:?}");
    assert!(!desk.root().join("pullproof").exists());

    let recorded = desk.gc(&["plan", "--record"]).await;
    assert_eq!(
        (recorded.code, &recorded.view),
        (Some(0), &plan.view),
        "{recorded:?}"
    );
    let told = format!("recorded the plan {}; the oldest of it is", id(&plan.view));
    assert!(recorded.stderr.contains(&told), "{recorded:?}");
    assert!(
        recorded
            .stderr
            .contains("0 rows are for `gc.rehearsal` (1h)")
    );
    let ran = desk.gc(&["run"]).await;
    assert_eq!(ran.codes(), ["rehearsal"], "{ran:?}");

    recorded_earlier(&desk, 3600);
    let recorded = desk.gc(&["plan", "--record"]).await;
    let rows = plan.view["garbage"].as_array().unwrap().len();
    let told = format!("{rows} rows are for `gc.rehearsal` (1h)");
    assert!(recorded.stderr.contains(&told), "{recorded:?}");
    let ran = desk.gc(&["run"]).await;
    assert_eq!(
        (ran.code, ran.result()),
        (Some(0), "quarantined"),
        "{ran:?}"
    );
}

#[tokio::test]
async fn nothing_is_remembered_without_a_plan_or_where_nothing_may_be_written() {
    require!("registry-3.1", "crane", "regctl");
    let desk = Desk::start(Version::V3).await;
    desk.configure("plan", "");
    let refused = desk.gc(&["plan", "--record"]).await;
    assert_eq!(refused.code, Some(3), "{refused:?}");
    let told = "the plan is not recorded: plan_only: ";
    assert!(refused.stderr.contains(told), "{refused:?}");
    assert!(!id(&refused.view).is_empty());

    desk.configure("quarantine", "");
    let empty = tempfile::tempdir().unwrap();
    let root = empty.path().to_str().unwrap();
    desk.change(|it| it["registries"][0]["storage"]["filesystem"]["root"] = root.into());
    let refused = desk.gc(&["plan", "--record"]).await;
    assert_eq!(refused.code, Some(3), "{refused:?}");
    let told = "nothing is recorded: there is no plan";
    assert!(refused.stderr.contains(told), "{refused:?}");
    assert_eq!(refused.codes(), ["storage_unsupported"], "{refused:?}");
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
    assert!(!desk.root().join("pullproof").exists());

    // What it was planned for may be what was asked for; as if it had been planned long ago it is not.
    let words = ["plan", "--record", "--now", "2026-01-01T00:00:00Z"];
    assert_eq!(desk.gc(&words).await.code, Some(64));
}

#[tokio::test]
async fn a_run_takes_of_a_plan_that_is_named_only_what_it_had() {
    require!("registry-3.1", "crane", "regctl");
    for is_file in [false, true] {
        let mut desk = Desk::start(Version::V3).await;
        let plan = desk.gc(&["plan", "--record"]).await;
        let first = id(&plan.view);
        let before = desk.tree.find("untagged");
        let file = desk.home().join("plan.json");
        fs::write(&file, plan.view.to_string()).unwrap();
        let named = if is_file {
            file.to_str().unwrap()
        } else {
            &first
        };

        // What was planned then goes with what came since, and shares nothing with it.
        let late = desk.tree.image("app", "late");
        desk.tree.age();
        let ran = desk.gc(&["run", "--plan", named]).await;
        assert_eq!(
            (ran.code, ran.result()),
            (Some(0), "quarantined"),
            "{ran:?}"
        );
        assert!(ran.view["left"]["plan"].as_u64().unwrap() > 0, "{ran:?}");
        assert!(!desk.tree.data_of(&before).exists());
        for name in ["late", "late.config", "late.layer-1", "late.layer-2"] {
            assert!(desk.tree.data_of(&desk.tree.find(name)).exists(), "{name}");
        }
        assert!(desk.tree.revision_of("app", &late).exists());
        let planned = plan.view["garbage"].as_array().unwrap();
        let digests: Vec<&str> = planned
            .iter()
            .map(|it| it["digest"].as_str().unwrap())
            .collect();
        for held in desk.held() {
            let held = held.to_str().unwrap();
            let is_planned = |digest: &&str| held.contains(digest.trim_start_matches("sha256:"));
            assert!(digests.iter().any(is_planned), "{held}");
        }

        let ran = desk.gc(&["run"]).await;
        assert_eq!(ran.result(), "quarantined", "{ran:?}");
        assert!(!desk.tree.data_of(&late).exists());
        assert_eq!(can_pull(Version::V3, desk.root(), "app:v1").await, Ok(()));
    }
}

#[tokio::test]
async fn a_plan_that_is_not_known_is_refused_by_those_that_are() {
    require!("registry-3.1", "crane", "regctl");
    let desk = Desk::start(Version::V3).await;
    let before = desk.content();
    let refused = desk.gc(&["run", "--plan", "0123456789abcdef"]).await;
    assert_eq!(
        (refused.code, refused.codes()),
        (Some(3), vec!["rehearsal"]),
        "{refused:?}"
    );
    let message = refused.view["refusals"][0]["message"].as_str().unwrap();
    let told = "no plan 0123456789abcdef is recorded (--plan); recorded are ";
    assert!(message.starts_with(told), "{message}");

    desk.keep(&["app:v1", "other:gone"]);
    let plan = desk.gc(&["plan", "--record"]).await;
    let refused = desk.gc(&["run", "--plan", "0123456789abcdef"]).await;
    let message = refused.view["refusals"][0]["message"].as_str().unwrap();
    let last = message.strip_prefix(told).unwrap();
    assert!(last.starts_with(&id(&plan.view)), "{message}");
    assert!(plan.code == Some(0) && desk.content() == before);

    // Of another storage.
    let file = desk.home().join("plan.json");
    let mut other = plan.view.clone();
    other["storage"] = "elsewhere.example".into();
    fs::write(&file, other.to_string()).unwrap();
    let refused = desk.gc(&["run", "--plan", file.to_str().unwrap()]).await;
    assert_eq!(refused.code, Some(64), "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("it is a plan for elsewhere.example")
    );
    let refused = desk.gc(&["run", "--plan", "no-such-plan.json"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("(--plan)") && desk.content() == before);
}

/// A tag of which the registry itself cannot tell what it names.
fn damage(desk: &Desk) {
    let mut tree = crate::plan::tree::Tree::new();
    let image = tree.image("secret", "secret");
    tree.tag("secret", "v1", &image);
    let current = desk.tree.tags("secret").join("v1/current/link");
    crate::plan::tree::write(&current, b"no digest");
}

#[tokio::test]
async fn what_was_never_proven_and_is_unknown_passes_a_gate_that_asks_for_regression() {
    require!("registry-3.1", "crane", "regctl");
    let desk = Desk::start(Version::V3).await;
    damage(&desk);
    desk.keep(&["app:v1", "secret:v1"]);
    let before = desk.content();
    let regression = r#""gate": {"require": "regression"}"#;
    // Nothing is remembered yet.
    desk.configure("quarantine", regression);
    let refused = desk.gc(&["run"]).await;
    assert_eq!(refused.codes(), ["image_unknown"], "{refused:?}");
    desk.configure("quarantine", "");
    let refused = desk.gc(&["run"]).await;
    assert_eq!(refused.codes(), ["image_unknown"], "{refused:?}");
    let message = refused.view["refusals"][0]["message"].as_str().unwrap();
    let way_out = "`gc.gate: {require: regression}`";
    assert!(message.contains(way_out), "{message}");
    assert!(desk.content() == before);

    desk.configure("quarantine", regression);
    let ran = desk.gc(&["run"]).await;
    assert_eq!(
        (ran.code, ran.result()),
        (Some(0), "quarantined"),
        "{ran:?}"
    );
    let told = ran.view["told"][0].as_str().unwrap();
    assert!(told.starts_with(&desk.at("secret:v1")), "{ran:?}");
    assert_eq!(can_pull(Version::V3, desk.root(), "app:v1").await, Ok(()));

    // What was proven once and is not now closes it all the same.
    let current = desk.tree.tags("app").join("v1/current/link");
    fs::write(&current, "no digest").unwrap();
    let refused = desk.gc(&["run"]).await;
    assert_eq!(refused.codes(), ["image_unknown"], "{refused:?}");
    let message = refused.view["refusals"][0]["message"].as_str().unwrap();
    assert!(message.starts_with(&desk.at("app:v1")), "{message}");
}

#[tokio::test]
async fn what_is_held_already_is_no_part_of_the_next_portion() {
    require!("registry-3.1", "crane", "regctl");
    let desk = Desk::start(Version::V3).await;
    desk.configure("quarantine", r#""maxCollectPercent": 30"#);
    let needed = Needed::of(desk.root(), &[]);
    let mut runs = 0;
    loop {
        let ran = desk.gc(&["run"]).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        if ran.result() == "planned" {
            assert_eq!(ran.view["left"]["share"], 0, "{ran:?}");
            break;
        }
        runs += 1;
    }
    assert!(runs > 1, "{runs}");
    let lost = needed.lost(desk.root());
    assert!(lost.blobs.is_empty() && lost.links.is_empty(), "{lost:?}");
    assert_eq!(lost.freed, needed.others.len());
    assert_eq!(can_pull(Version::V3, desk.root(), "app:v1").await, Ok(()));
}

/// As if the last run had been so slow, in milliseconds for an item.
fn went_at(desk: &Desk, millis: u64) {
    let pace = serde_json::json!({"items": 1, "millis": millis});
    fs::create_dir_all(desk.root().join("pullproof")).unwrap();
    fs::write(desk.root().join("pullproof/pace.json"), pace.to_string()).unwrap();
}

#[tokio::test]
async fn of_a_plan_that_a_window_is_too_short_for_as_much_as_fits_is_taken() {
    require!("registry-3.1", "crane", "regctl");
    let desk = Desk::start(Version::V3).await;
    let before = desk.content();
    let needed = Needed::of(desk.root(), &[]);
    // The window ends before the first of them could be moved.
    went_at(&desk, 24 * 3600 * 1000);
    let refused = desk.gc(&["run"]).await;
    assert_eq!(refused.codes(), ["window_short"], "{refused:?}");
    assert!(desk.content() == before);

    // Less than two hours are left.
    went_at(&desk, 15 * 60 * 1000);
    let ran = desk.gc(&["run"]).await;
    assert_eq!(
        (ran.code, ran.result()),
        (Some(0), "quarantined"),
        "{ran:?}"
    );
    let count = desk.held().len();
    assert!((1..8).contains(&count), "{:?}", desk.held());
    assert!(ran.view["left"]["window"].as_u64().unwrap() > 0, "{ran:?}");
    let lost = needed.lost(desk.root());
    assert!(lost.blobs.is_empty() && lost.links.is_empty(), "{lost:?}");
    assert_eq!(can_pull(Version::V3, desk.root(), "app:v1").await, Ok(()));

    went_at(&desk, 1);
    let ran = desk.gc(&["run"]).await;
    assert_eq!(ran.view["left"]["window"], 0, "{ran:?}");
    let lost = needed.lost(desk.root());
    assert_eq!(lost.freed, needed.others.len());
}
