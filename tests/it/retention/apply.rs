//! Tags are planned, deleted through the gate, and put back.

use serde_json::{Value, json};

use super::shop::{Pushed, Shop, codes, going, outcomes, staying};
use crate::support::clients::Clients;
use crate::support::parts::require;
use crate::support::registry::{Options, Registry, Version};

const POLICY: &str = "team/**";

fn younger(days: u32) -> Value {
    json!([{"repositories": [POLICY], "keep": [{"youngerThan": format!("{days}d")}]}])
}

/// A repository in which everything that is easily lost is.
pub(crate) struct Scene {
    pub(crate) shop: Shop,
    index: Pushed,
    shared: Pushed,
}

pub(crate) async fn scene(version: Version) -> Scene {
    let shop = Shop::start(version).await;
    let app = "team/app";
    let old = shop.push(app, Some("old"), "old").await;
    // One manifest with two names, of which one is in use.
    let shared = shop.push(app, Some("in-use"), "shared").await;
    shop.tag(app, "shares-it", &shared).await;
    // Two that go together.
    let twice = shop.push(app, Some("twice"), "twice").await;
    shop.tag(app, "twice-too", &twice).await;
    // A multi-arch image, each child with a tag of its own.
    let amd = shop.push(app, Some("multi-amd64"), "amd64").await;
    let arm = shop.push(app, Some("multi-arm64"), "arm64").await;
    let index = shop.index(app, "multi", &[&amd, &arm]).await;
    // A child with two tags: one is enough.
    shop.tag(app, "multi-amd64-again", &amd).await;
    // Signatures of what stays and of what goes.
    let of = |pushed: &Pushed| pushed.digest.replace(':', "-") + ".sig";
    shop.push(app, Some(&of(&shared)), "signature of shared")
        .await;
    shop.push(app, Some(&of(&old)), "signature of old").await;
    shop.push(app, Some("1.2.3"), "release").await;
    shop.push(app, Some("latest"), "latest").await;
    shop.push(app, Some("new"), "new").await;
    shop.push("other", Some("old"), "other").await;
    for tag in shop.tags(app).await {
        shop.age(app, &tag, if tag == "new" { 1 } else { 40 });
    }
    shop.age(app, "multi-amd64", 50);
    shop.age("other", "old", 40);
    shop.keep(&["team/app:in-use", "team/app:multi"]);
    shop.configure(&younger(30), |_| {});
    Scene {
        shop,
        index,
        shared,
    }
}

#[tokio::test]
async fn what_nobody_needs_goes_and_nothing_else_on_both_registries() {
    require!("docker-registry", "registry-3.1", "crane");
    for version in Version::ALL {
        let Scene { shop, index, .. } = scene(version).await;
        let before = shop.tags("team/app").await;
        let (code, plan) = shop.json(&["retention", "plan"]).await;
        assert_eq!(code, 0, "{plan:#}");
        let old = shop.push("elsewhere", None, "old").await;
        let signature = old.digest.replace(':', "-") + ".sig";
        let mut expected = vec![
            "team/app:multi-amd64".to_owned(),
            "team/app:old".to_owned(),
            format!("team/app:{signature}"),
            "team/app:shares-it".to_owned(),
            "team/app:twice".to_owned(),
            "team/app:twice-too".to_owned(),
        ];
        expected.sort();
        let mut planned = going(&plan);
        planned.sort();
        assert_eq!(planned, expected, "{version:?} {plan:#}");
        for (tag, class) in [
            ("in-use", "listed"),
            ("multi", "listed"),
            ("multi-amd64-again", "guards-child"),
            ("multi-arm64", "guards-child"),
            ("1.2.3", "release"),
            ("latest", "release"),
            ("new", "retained"),
        ] {
            let (classes, _) = staying(&plan, "team/app", tag);
            assert_eq!(classes, [class], "{tag}");
        }
        // Nothing was changed by looking.
        assert_eq!(shop.tags("team/app").await, before);
        assert!(!shop.registry.root().join("pullproof").exists());

        let (code, applied) = shop.json(&["retention", "apply"]).await;
        assert_eq!(
            (code, &applied["result"]),
            (0, &json!("deleted")),
            "{applied:#}"
        );
        let by_digest = version == Version::V2;
        // With a digest go all tags that name it: how what was in use was lost, time and again.
        let shared_with = |tag: &str| match tag {
            "team/app:multi-amd64" if by_digest => Some("multi-amd64-again"),
            "team/app:shares-it" if by_digest => Some("in-use"),
            _ => None,
        };
        let told = outcomes(&applied);
        for name in &expected {
            let found = told.iter().find(|it| it.split(' ').next() == Some(name));
            let found = found.unwrap_or_else(|| panic!("{name}: {told:?}"));
            match shared_with(name) {
                None => assert!(found.contains(" deleted"), "{version:?} {found}"),
                Some(other) => {
                    let problem = format!("by its digest it may not go: `{other}` names");
                    assert!(found.contains(&problem), "{found}");
                }
            }
        }
        let after = shop.tags("team/app").await;
        let gone: Vec<&String> = before.iter().filter(|tag| !after.contains(tag)).collect();
        assert_eq!(gone.len(), if by_digest { 4 } else { 6 }, "{gone:?}");
        let clients = Clients::of(&shop.registry).await;
        for tag in &after {
            let reference = shop.at(&format!("team/app:{tag}"));
            clients.crane(&["validate", "--remote", &reference]).await;
        }
        let reference = shop.at(&format!("team/app@{}", index.digest));
        clients.crane(&["validate", "--remote", &reference]).await;
        assert_eq!(shop.tags("other").await, ["old"]);

        // Once more there is nothing to do, but for what the registry cannot do.
        let (code, again) = shop.json(&["retention", "apply"]).await;
        assert_eq!(code, 0, "{again:#}");
        assert_eq!(again["deleted"], 0, "{again:#}");
    }
}

#[tokio::test]
async fn what_was_deleted_is_put_back_also_after_its_content_was_taken() {
    require!("docker-registry", "registry-3.1", "crane");
    for version in Version::ALL {
        let Scene { shop, .. } = scene(version).await;
        let (code, applied) = shop.json(&["retention", "apply"]).await;
        assert_eq!(code, 0, "{applied:#}");
        assert!(!shop.tags("team/app").await.contains(&"old".to_owned()));

        // What it named is garbage now, and goes to the quarantine.
        let (code, ran) = shop.json(&["gc", "run"]).await;
        assert_eq!(
            (code, &ran["result"]),
            (0, &json!("quarantined")),
            "{ran:#}"
        );
        let ended = shop.run(&["gc", "restore", "--tag", "team/app:old"]).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(
            ended.stdout.starts_with("put back team/app:old"),
            "{ended:?}"
        );
        let clients = Clients::of(&shop.registry).await;
        let reference = shop.at("team/app:old");
        clients.crane(&["validate", "--remote", &reference]).await;
        // And what was not asked for is still gone.
        assert!(!shop.tags("team/app").await.contains(&"twice".to_owned()));

        // It is known to be back.
        let ended = shop.run(&["gc", "restore", "--tag", "team/app:old"]).await;
        assert_eq!(ended.code, 64, "{ended:?}");
        assert!(
            ended.stderr.contains("no deletion of team/app:old"),
            "{ended:?}"
        );
        let ended = shop
            .run(&["gc", "restore", "--tag", "team/app:never"])
            .await;
        assert_eq!(ended.code, 64, "{ended:?}");
        let ended = shop.run(&["gc", "restore", "--tag", "nonsense"]).await;
        assert!(ended.stderr.contains("write REPOSITORY:TAG"), "{ended:?}");
    }
}

#[tokio::test]
async fn a_tag_that_names_something_else_by_now_is_not_overwritten() {
    require!("registry-3.1", "crane");
    let Scene { shop, .. } = scene(Version::V3).await;
    let (code, applied) = shop.json(&["retention", "apply"]).await;
    assert_eq!(code, 0, "{applied:#}");
    let new = shop.push("team/app", Some("old"), "pushed again").await;
    let ended = shop.run(&["gc", "restore", "--tag", "team/app:old"]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("is not overwritten"), "{ended:?}");
    let clients = Clients::of(&shop.registry).await;
    let digest = clients.crane(&["digest", &shop.at("team/app:old")]).await;
    assert_eq!(digest.trim(), new.digest);
}

#[tokio::test]
async fn without_its_storage_a_registry_is_asked_and_a_tag_is_as_old_as_it_was_first_seen() {
    require!("docker-registry", "registry-3.1", "crane");
    for version in Version::ALL {
        let Scene { shop, shared, .. } = scene(version).await;
        let without = |policies: Value| {
            shop.configure(&policies, |text| {
                let registry = text["registries"][0].as_object_mut().unwrap();
                registry.remove("storage");
            });
        };
        // Everything was pushed forty days ago, as its storage says; nobody knows that here.
        without(younger(30));
        let (code, plan) = shop.json(&["retention", "plan"]).await;
        assert_eq!(code, 0, "{plan:#}");
        assert_eq!(going(&plan), Vec::<String>::new(), "{plan:#}");
        let newest = json!([{"repositories": [POLICY], "keep": [{"tags": ["none"]}]}]);
        without(newest);
        let (code, plan) = shop.json(&["retention", "plan"]).await;
        assert_eq!(code, 0, "{plan:#}");
        let planned = going(&plan);
        for tag in ["old", "new", "twice", "twice-too", "multi-amd64"] {
            assert!(planned.contains(&format!("team/app:{tag}")), "{planned:?}");
        }
        let (classes, reason) = staying(&plan, "team/app", "in-use");
        assert_eq!(classes, ["listed"]);
        assert!(reason.contains("team/app:in-use` is needed"), "{reason}");
        assert!(
            plan["delete"][0]["reason"]
                .as_str()
                .unwrap()
                .starts_with("first seen ")
        );

        // An operator's mark is obeyed, wherever it lies.
        let ended = shop.run(&["gc", "pause"]).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        let (code, paused) = shop.json(&["retention", "apply"]).await;
        assert_eq!((code, codes(&paused)), (3, vec!["paused".to_owned()]));
        let ended = shop.run(&["gc", "resume"]).await;
        assert_eq!(ended.code, 0, "{ended:?}");

        let (code, applied) = shop.json(&["retention", "apply"]).await;
        assert_eq!(
            (code, &applied["result"]),
            (0, &json!("deleted")),
            "{applied:#}"
        );
        assert!(!shop.registry.root().join("pullproof").exists());
        assert!(shop.state().join("retention").exists());
        let clients = Clients::of(&shop.registry).await;
        for tag in ["in-use", "multi", "multi-arm64", "1.2.3", "latest"] {
            let reference = shop.at(&format!("team/app:{tag}"));
            clients.crane(&["validate", "--remote", &reference]).await;
        }
        let digest = clients
            .crane(&["digest", &shop.at("team/app:in-use")])
            .await;
        assert_eq!(digest.trim(), shared.digest);
        let ended = shop
            .run(&["gc", "restore", "--tag", &shop.at("team/app:new")])
            .await;
        assert_eq!(ended.code, 0, "{ended:?}");
        let reference = shop.at("team/app:new");
        clients.crane(&["validate", "--remote", &reference]).await;
    }
}

#[tokio::test]
async fn outside_it_says_all_that_is_missing_and_deletes_nothing() {
    require!("registry-3.1");
    let Scene { shop, .. } = scene(Version::V3).await;
    let before = shop.tags("team/app").await;
    shop.configure(&younger(30), |text| {
        text["retention"]["mode"] = json!("plan");
        text["retention"]["rehearsal"] = json!("7d");
        text["gc"]["windows"] = json!([]);
        text["gc"]["alarmPercent"] = json!(10);
    });
    let (code, applied) = shop.json(&["retention", "apply"]).await;
    assert_eq!(code, 3, "{applied:#}");
    assert_eq!(
        codes(&applied),
        ["plan_only", "window_closed", "share_exceeded", "rehearsal"]
    );
    // In a window only what is planned for long enough.
    shop.configure(&younger(30), |text| {
        text["retention"]["rehearsal"] = json!("7d");
    });
    let (code, applied) = shop.json(&["retention", "apply"]).await;
    assert_eq!((code, codes(&applied)), (3, vec!["rehearsal".to_owned()]));
    // A share that is unusual has to be accepted, by the very plan.
    shop.configure(&younger(30), |text| text["gc"]["alarmPercent"] = json!(10));
    let (code, applied) = shop.json(&["retention", "apply"]).await;
    assert_eq!(
        (code, codes(&applied)),
        (3, vec!["share_exceeded".to_owned()])
    );
    let (_, other) = shop
        .json(&["retention", "apply", "--accept", "0123456789abcdef"])
        .await;
    assert_eq!(codes(&other), ["share_exceeded"]);
    // What is kept has to be provable.
    shop.configure(&younger(30), |_| {});
    shop.keep(&[
        "team/app:in-use",
        "team/app@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    ]);
    let (_, plan) = shop.json(&["retention", "plan"]).await;
    shop.keep(&["team/app:in-use", "team/app:multi"]);
    let id = plan["plan"].as_str().unwrap().to_owned();
    assert_eq!(shop.tags("team/app").await, before);
    shop.configure(&younger(30), |text| text["gc"]["alarmPercent"] = json!(10));
    let (_, plan) = shop.json(&["retention", "plan"]).await;
    assert_ne!(plan["plan"].as_str().unwrap(), id, "a tag more is needed");
    let id = plan["plan"].as_str().unwrap();
    let (code, applied) = shop.json(&["retention", "apply", "--accept", id]).await;
    assert_eq!(
        (code, &applied["result"]),
        (0, &json!("deleted")),
        "{applied:#}"
    );
}

#[tokio::test]
async fn what_is_needed_and_cannot_be_proven_closes_the_gate() {
    require!("registry-3.1");
    let Scene { shop, index, .. } = scene(Version::V3).await;
    let before = shop.tags("team/app").await;
    // It was proven once, and its data is lost.
    let (code, _) = shop.json(&["retention", "apply"]).await;
    assert_eq!(code, 0);
    shop.push("team/app", Some("goes"), "goes").await;
    shop.age("team/app", "goes", 40);
    let hex = index.digest.strip_prefix("sha256:").unwrap();
    let blobs = shop.registry.root().join("docker/registry/v2/blobs/sha256");
    let data = blobs.join(&hex[..2]).join(hex).join("data");
    let aside = shop.home().join("aside");
    std::fs::rename(&data, &aside).unwrap();
    let (code, applied) = shop.json(&["retention", "apply"]).await;
    assert_eq!(code, 3, "{applied:#}");
    assert!(
        codes(&applied).contains(&"image_broken".to_owned()),
        "{applied:#}"
    );
    assert!(shop.tags("team/app").await.contains(&"goes".to_owned()));
    // The repository of which a tag cannot be read is left alone besides.
    let (_, plan) = shop.json(&["retention", "plan"]).await;
    assert_eq!(plan["left_alone"][0]["repository"], "team/app", "{plan:#}");
    std::fs::rename(&aside, &data).unwrap();
    let (code, applied) = shop.json(&["retention", "apply"]).await;
    assert_eq!(
        (code, &applied["result"]),
        (0, &json!("deleted")),
        "{applied:#}"
    );
    assert!(before.len() > shop.tags("team/app").await.len());
}

#[tokio::test]
async fn a_registry_that_deletes_nothing_says_what_to_configure() {
    require!("docker-registry", "registry-3.1");
    for version in Version::ALL {
        let Scene { mut shop, .. } = scene(version).await;
        let root = shop.registry.root().to_owned();
        shop.registry.stop();
        shop.registry = Registry::start(Options::new(version, &root)).await;
        shop.keep(&["team/app:in-use", "team/app:multi"]);
        shop.configure(&younger(30), |_| {});
        let before = shop.tags("team/app").await;
        let (code, applied) = shop.json(&["retention", "apply"]).await;
        assert_eq!(code, 0, "{applied:#}");
        assert_eq!(applied["deleted"], 0, "{applied:#}");
        let told = outcomes(&applied);
        let old = told
            .iter()
            .find(|it| it.starts_with("team/app:old "))
            .unwrap();
        assert!(old.contains("delete: {enabled: true}"), "{version:?} {old}");
        assert_eq!(shop.tags("team/app").await, before);
    }
}
