//! The daemon plans by itself, remembers, and deletes in its windows.

use serde_json::{Value, json};

use super::shop::{Shop, outcomes};
use crate::support::certificates::Authority;
use crate::support::daemon::Daemon;
use crate::support::http::{client, get_json};
use crate::support::parts::require;
use crate::support::registry::{Options, Registry, Version};
use crate::support::tokens::TokenServer;

fn younger(days: u32) -> Value {
    json!([{"repositories": ["**"], "keep": [{"youngerThan": format!("{days}d")}]}])
}

async fn shop() -> Shop {
    let shop = Shop::start(Version::V3).await;
    for (tag, days) in [("v1", 1), ("old", 40), ("older", 50), ("in-use", 60)] {
        shop.push("team/app", Some(tag), tag).await;
        shop.age("team/app", tag, days);
    }
    shop.keep(&["team/app:in-use"]);
    shop
}

/// As if every tag had been planned so long ago.
fn planned_earlier(shop: &Shop, seconds: i64) {
    let file = shop.registry.root().join("pullproof/tags.json");
    let mut text: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let repositories = text["rehearsed"]["rows"].as_object_mut().unwrap();
    let tags = repositories.values_mut();
    for row in tags.flat_map(|tags| tags.as_object_mut().unwrap().values_mut()) {
        let since: jiff::Timestamp = row["since"].as_str().unwrap().parse().unwrap();
        row["since"] = json!((since - jiff::SignedDuration::from_secs(seconds)).to_string());
        row["lasted"] = json!(seconds);
    }
    std::fs::write(file, text.to_string()).unwrap();
}

#[tokio::test]
async fn the_daemon_plans_and_deletes_what_stood_long_enough_once_a_window() {
    require!("registry-3.1");
    let shop = shop().await;
    shop.configure(&younger(30), |text| {
        text["retention"]["rehearsal"] = json!("1h");
    });
    let daemon = Daemon::start(&shop.as_daemon());
    let planned = ["registry=", "} 2"];
    daemon
        .wait_for_series("retention_planned_tags", &planned)
        .await;
    let listed = ["class=\"listed\"", "} 1"];
    daemon
        .wait_for_series("retention_protected_tags", &listed)
        .await;
    daemon
        .wait_for_series("retention_deleted_tags_total", &["} 0"])
        .await;
    assert_eq!(shop.tags("team/app").await.len(), 4);
    daemon.terminate().await;

    // What was planned is remembered across a restart.
    planned_earlier(&shop, 3600);
    let daemon = Daemon::start(&shop.as_daemon());
    daemon
        .wait_for_series("retention_deleted_tags_total", &["} 2"])
        .await;
    assert_eq!(shop.tags("team/app").await, ["in-use", "v1"]);
    let planned = ["registry=", "} 0"];
    daemon
        .wait_for_series("retention_planned_tags", &planned)
        .await;
    let told = get_json(&client(), &daemon.ui("/api/v1/retention")).await;
    let told = told.unwrap();
    let of = &told["registries"][0];
    assert_eq!((&of["mode"], &of["deleted"]), (&json!("delete"), &json!(2)));
    assert_eq!(of["plan"]["delete"], 0, "{of:#}");
    assert_eq!(of["plan"]["keep"], json!({"listed": 1, "retained": 1}));
    assert_eq!(of["last_run"]["deleted"], 2);
    assert_eq!(of["last_run"]["result"], "deleted");
    assert_eq!(of["last_run"]["failed"], Value::Null);
    daemon.terminate().await;
}

#[tokio::test]
async fn a_registry_that_asks_for_tokens_is_asked_for_the_right_to_delete() {
    require!("registry-3.1", "openssl");
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new(directory.path()).await;
    let tokens = TokenServer::start(
        &authority,
        &[("ops", "word")],
        std::time::Duration::from_mins(5),
    )
    .await;
    let mut pushed = shop().await;
    let root = pushed.registry.root().to_owned();
    pushed.registry.stop();
    let options = Options::new(Version::V3, &root)
        .with_deletes()
        .with_tokens(&tokens);
    let shop = Shop::over(Registry::start(options).await, None);
    shop.keep(&["team/app:in-use"]);
    let host = shop.registry.host();
    let auth = json!({"auths": {host: {"username": "ops", "password": "word"}}});
    std::fs::write(shop.home().join("auth.json"), auth.to_string()).unwrap();
    shop.configure(&younger(30), |text| {
        let registry = &mut text["registries"][0];
        registry["credentials"] = json!({"dockerConfig": {"file": "auth.json"}});
        registry["tokenRealms"] = json!([tokens.realm()]);
    });
    let (code, applied) = shop.json(&["retention", "apply"]).await;
    assert_eq!(code, 0, "{applied:#}");
    assert_eq!(
        outcomes(&applied),
        ["team/app:old deleted", "team/app:older deleted"]
    );
    let scopes: Vec<String> = tokens
        .issued()
        .into_iter()
        .flat_map(|it| it.scopes)
        .collect();
    assert!(
        scopes.contains(&"repository:team/app:pull".to_owned()),
        "{scopes:?}"
    );
    let right = "repository:team/app:delete,pull,push".to_owned();
    assert!(scopes.contains(&right), "{scopes:?}");

    let ended = shop.run(&["gc", "restore", "--tag", "team/app:old"]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    // By the catalogue, where its storage is not read.
    let newest = json!([{"repositories": ["**"], "keep": [{"tags": ["none"]}]}]);
    shop.configure(&newest, |text| {
        let registry = text["registries"][0].as_object_mut().unwrap();
        registry.remove("storage");
        registry.insert(
            "credentials".into(),
            json!({"dockerConfig": {"file": "auth.json"}}),
        );
        registry.insert("tokenRealms".into(), json!([tokens.realm()]));
    });
    let (code, plan) = shop.json(&["retention", "plan"]).await;
    assert_eq!(code, 0, "{plan:#}");
    assert_eq!(super::shop::going(&plan), ["team/app:old", "team/app:v1"]);
    let scopes: Vec<String> = tokens
        .issued()
        .into_iter()
        .flat_map(|it| it.scopes)
        .collect();
    assert!(
        scopes.contains(&"registry:catalog:*".to_owned()),
        "{scopes:?}"
    );
}

#[tokio::test]
async fn what_is_needed_is_written_for_others_or_nothing_is() {
    require!("registry-3.1");
    let shop = shop().await;
    let ended = shop.run(&["retention", "export"]).await;
    assert_eq!(
        (ended.code, ended.stdout),
        (0, shop.at("team/app:in-use") + "\n")
    );
    let ended = shop.run(&["retention", "export", "--for", "azure"]).await;
    assert!(
        ended
            .stdout
            .contains("--image team/app:in-use --delete-enabled false")
    );
    shop.keep(&["team/app:in-use"]);
    std::fs::write(shop.home().join("keep.txt"), "not a reference\n").unwrap();
    let ended = shop.run(&["retention", "export"]).await;
    assert_eq!((ended.code, &*ended.stdout), (3, ""), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("inventory_incomplete"),
        "{}",
        ended.stderr
    );
}
