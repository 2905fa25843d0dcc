//! What happens while tags are deleted: somebody deploys one that was to go; an answer is lost on the way.

use std::process::Stdio;

use serde_json::{Value, json};

use super::gateway::Gateway;
use super::shop::{Shop, going, staying};
use crate::support::clients::Clients;
use crate::support::daemon;
use crate::support::parts::require;
use crate::support::registry::Version;
use crate::support::toxiproxy::Toxiproxy;
use crate::support::wait::wait_until;

const BOUND: std::time::Duration = std::time::Duration::from_secs(120);
/// More than are written down at once.
const TAGS: usize = 60;

fn name(at: usize) -> String {
    format!("build-{at:02}")
}

#[tokio::test]
async fn what_is_deployed_while_tags_are_deleted_stays_or_comes_back() {
    require!("registry-3.1", "crane", "toxiproxy-server");
    let shop = Shop::start(Version::V3).await;
    for at in 0..TAGS {
        shop.push("team/app", Some(&name(at)), &name(at)).await;
        shop.age("team/app", &name(at), 40);
    }
    let proxies = Toxiproxy::start().await;
    let slow = proxies.proxy("slow", &shop.registry.host()).await;
    proxies
        .poison("slow", "latency", &json!({"latency": 30, "jitter": 0}))
        .await;
    let policies = json!([{"repositories": ["**"], "keep": [{"youngerThan": "30d"}]}]);
    shop.configure(&policies, |text| {
        text["registries"][0]["endpoint"] = json!(format!("http://{slow}"));
    });
    let mut command = daemon::command(shop.home());
    command.args(["retention", "apply", "-o", "json"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let left = wait_until("some tags are gone", BOUND, async || {
        let left = shop.tags("team/app").await;
        (left.len() < TAGS - 2).then_some(left)
    })
    .await;
    // One that is gone is rolled back to, and whatever is left is deployed: those of the first batch may go
    // before anybody looks again.
    let gone = (0..TAGS).map(name).find(|tag| !left.contains(tag)).unwrap();
    let wanted: Vec<String> = left
        .iter()
        .chain([&gone])
        .map(|tag| format!("team/app:{tag}"))
        .collect();
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    shop.keep(&wanted);
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let ended = ended.await.unwrap();
    let view: Value = serde_json::from_slice(&ended.stdout).unwrap_or_default();
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{stderr}");
    assert_eq!(view["result"], "deleted", "{view:#}");

    let after = shop.tags("team/app").await;
    let clients = Clients::of(&shop.registry).await;
    for tag in left.iter().chain([&gone]) {
        assert!(after.contains(tag), "{tag} of {after:?}: {view:#}");
    }
    let reference = shop.at(&format!("team/app:{gone}"));
    clients.crane(&["validate", "--remote", &reference]).await;
    assert!(after.len() < TAGS, "{after:?}");
}

#[tokio::test]
async fn after_an_answer_that_is_lost_nothing_more_goes_and_what_went_can_be_put_back() {
    require!("registry-3.1", "crane", "toxiproxy-server");
    let shop = Shop::start(Version::V3).await;
    for at in 0..3 {
        shop.push("team/app", Some(&name(at)), &name(at)).await;
        shop.age("team/app", &name(at), 40);
    }
    let policies = json!([{"repositories": ["**"], "keep": [{"youngerThan": "30d"}]}]);
    // A gateway that gives up before the registry does.
    let gateway = Gateway::holding(&shop.registry.host());
    shop.configure(&policies, |text| {
        text["registries"][0]["endpoint"] = json!(gateway.address());
    });
    let (code, applied) = shop.json(&["retention", "apply"]).await;
    assert_eq!(code, 1, "{applied:#}");
    assert_eq!(applied["result"], "failed", "{applied:#}");
    let deletions = gateway.held().await;
    assert_eq!(deletions.len(), 1, "{deletions:?}");
    assert_eq!(shop.tags("team/app").await.len(), 3);

    // The registry carries it out in the end.
    gateway.let_go().await;
    let gone = wait_until("it is gone", BOUND, async || {
        let left = shop.tags("team/app").await;
        (0..3).map(name).find(|tag| !left.contains(tag))
    })
    .await;
    shop.configure(&policies, |_| {});
    let tag = format!("team/app:{gone}");
    let ended = shop.run(&["gc", "restore", "--tag", &tag]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let clients = Clients::of(&shop.registry).await;
    clients
        .crane(&["validate", "--remote", &shop.at(&tag)])
        .await;
}

/// A registry that deletes no tags takes every tag of a manifest along, also one that was moved to it in the very
/// moment; whatever is deleted after it.
#[tokio::test]
async fn a_tag_that_is_moved_to_what_is_just_deleted_is_not_lost_unnoticed() {
    require!("docker-registry", "crane");
    let shop = Shop::start(Version::V2).await;
    let mut pushed = Vec::new();
    for at in 0..3 {
        pushed.push(shop.push("team/app", Some(&name(at)), &name(at)).await);
        shop.age("team/app", &name(at), 40);
    }
    shop.push("team/app", Some("live"), "live").await;
    let gateway = Gateway::moving(&shop.registry.host(), "live");
    let policies = json!([{"repositories": ["**"], "keep": [{"youngerThan": "30d"}]}]);
    shop.configure(&policies, |text| {
        text["registries"][0]["endpoint"] = json!(gateway.address());
    });
    let (code, applied) = shop.json(&["retention", "apply"]).await;
    assert_eq!(code, 1, "{applied:#}");
    assert_eq!(applied["result"], "failed", "{applied:#}");
    let failed = applied["failed"].as_str().unwrap();
    assert!(failed.contains("`live`, which named "), "{failed}");
    assert!(failed.contains("they are put back"), "{failed}");
    let clients = Clients::of(&shop.registry).await;
    for pushed in &pushed {
        let reference = shop.at(&format!("team/app@{}", pushed.digest));
        clients.crane(&["validate", "--remote", &reference]).await;
    }
}

/// Where nobody reads its storage, only tags tell what a registry has: not what runs and lost its tag.
#[tokio::test]
async fn what_belongs_to_an_image_that_runs_without_a_tag_stays() {
    require!("docker-registry", "registry-3.1", "crane");
    for version in Version::ALL {
        let shop = Shop::start(version).await;
        let (amd, arm) = (
            shop.push("team/app", Some("main-amd64"), "amd64").await,
            shop.push("team/app", None, "arm64").await,
        );
        let runs = shop.index("team/app", "main", &[&amd, &arm]).await;
        let of = |digest: &str, suffix: &str| digest.replace(':', "-") + suffix;
        let (sig, referrers) = (of(&runs.digest, ".sig"), of(&runs.digest, ""));
        for tag in [&sig, &referrers] {
            shop.push("team/app", Some(tag), tag).await;
        }
        let orphan = of(&format!("sha256:{}", "0".repeat(64)), ".sig");
        shop.push("team/app", Some(&orphan), "of nothing").await;
        // The tag moves on; pods run what it named before.
        shop.push("team/app", Some("main"), "next").await;
        shop.keep(&[&format!("team/app@{}", runs.digest), "team/app:main"]);
        let policies = json!([{"repositories": ["**"], "keep": [{"tags": ["none"]}]}]);
        shop.configure(&policies, |text| {
            text["registries"][0]
                .as_object_mut()
                .unwrap()
                .remove("storage");
        });
        let (code, plan) = shop.json(&["retention", "plan"]).await;
        assert_eq!(code, 0, "{plan:#}");
        assert_eq!(going(&plan), [format!("team/app:{orphan}")], "{plan:#}");
        for (tag, class) in [
            (sig.as_str(), "signature"),
            (&referrers, "signature"),
            ("main-amd64", "guards-child"),
        ] {
            let (classes, reason) = staying(&plan, "team/app", tag);
            assert_eq!(classes, [class], "{tag}: {reason}");
        }
    }
}

/// Where what is remembered lies follows `gc.mode`; what was written down before is found all the same.
#[tokio::test]
async fn what_was_deleted_can_be_put_back_after_the_configuration_moved() {
    require!("registry-3.1", "crane");
    for (before, after) in [("plan", "quarantine"), ("quarantine", "plan")] {
        let shop = Shop::start(Version::V3).await;
        shop.push("team/app", Some("old"), "old").await;
        shop.push("team/app", Some("other"), "other").await;
        shop.keep(&["team/app:other"]);
        let policies = json!([{"repositories": ["**"], "keep": [{"tags": ["none"]}]}]);
        shop.configure(&policies, |text| text["gc"]["mode"] = json!(before));
        let (code, applied) = shop.json(&["retention", "apply"]).await;
        assert_eq!(code, 0, "{before}: {applied:#}");
        assert_eq!(shop.tags("team/app").await, ["other"]);
        shop.configure(&policies, |text| text["gc"]["mode"] = json!(after));
        let ended = shop.run(&["gc", "restore", "--tag", "team/app:old"]).await;
        assert_eq!(ended.code, 0, "{before}: {ended:?}");
        assert_eq!(shop.tags("team/app").await, ["old", "other"]);
    }
}
