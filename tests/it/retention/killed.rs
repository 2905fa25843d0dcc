//! A deletion that is killed: what was gone by then can be put back, and the next one goes on.

use serde_json::json;

use super::shop::{Shop, going};
use crate::support::clients::Clients;
use crate::support::daemon;
use crate::support::parts::require;
use crate::support::registry::Version;
use crate::support::toxiproxy::Toxiproxy;
use crate::support::wait::wait_until;

const BOUND: std::time::Duration = std::time::Duration::from_secs(60);

#[tokio::test]
async fn what_a_deletion_took_that_was_killed_can_be_put_back() {
    require!("registry-3.1", "crane", "toxiproxy-server");
    let shop = Shop::start(Version::V3).await;
    for at in 0..12 {
        let tag = format!("build-{at:02}");
        shop.push("team/app", Some(&tag), &tag).await;
        shop.age("team/app", &tag, 40);
    }
    shop.keep(&["team/app:build-00"]);
    let proxies = Toxiproxy::start().await;
    let slow = proxies.proxy("slow", &shop.registry.host()).await;
    // So that it can be met between two deletions.
    proxies
        .poison("slow", "latency", &json!({"latency": 150, "jitter": 0}))
        .await;
    let policies = json!([{"repositories": ["**"], "keep": [{"youngerThan": "30d"}]}]);
    shop.configure(&policies, |text| {
        text["registries"][0]["endpoint"] = json!(format!("http://{slow}"));
    });
    let mut command = daemon::command(shop.home());
    command.args(["retention", "apply"]);
    let mut child = command.spawn().unwrap();
    wait_until("two tags are gone", BOUND, async || {
        (shop.tags("team/app").await.len() <= 10).then_some(())
    })
    .await;
    child.kill().unwrap();
    let ended = child.wait().unwrap();
    let left = shop.tags("team/app").await;
    assert!(!ended.success(), "it was killed in the middle: {left:?}");
    assert!(left.len() > 1, "{left:?}");
    assert!(left.contains(&"build-00".to_owned()));

    // What nobody knows any more of the rest is known of each: its manifests were written down before.
    shop.configure(&policies, |_| {});
    let clients = Clients::of(&shop.registry).await;
    let all: Vec<String> = (0..12).map(|at| format!("build-{at:02}")).collect();
    let gone: Vec<&String> = all.iter().filter(|tag| !left.contains(tag)).collect();
    let first = format!("team/app:{}", gone[0]);
    let ended = shop.run(&["gc", "restore", "--tag", &first]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    clients
        .crane(&["validate", "--remote", &shop.at(&first)])
        .await;
    // One that was about to go, and did not, is there already.
    let still = left.iter().find(|tag| *tag != "build-00").unwrap();
    let ended = shop
        .run(&["gc", "restore", "--tag", &format!("team/app:{still}")])
        .await;
    assert_eq!(ended.code, 0, "{ended:?}");

    // And the next one goes on with what is left. What was put back counts as pushed just now.
    let (_, plan) = shop.json(&["retention", "plan"]).await;
    assert_eq!(going(&plan).len(), left.len() - 1);
    let (code, applied) = shop.json(&["retention", "apply"]).await;
    assert_eq!(
        (code, &applied["result"]),
        (0, &json!("deleted")),
        "{applied:#}"
    );
    assert_eq!(shop.tags("team/app").await, ["build-00", gone[0]]);
}
