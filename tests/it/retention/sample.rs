//! Random repositories under random policies, on real registries: what goes by them goes, the registry's own collector
//! sweeps what no tag names, and every tag that is left can be pulled.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::shop::{Pushed, Shop, going};
use crate::support::clients::Clients;
use crate::support::parts::require;
use crate::support::registry::Version;

/// So many of each kind; every one is pushed, aged and pulled for real.
const REPOSITORIES: usize = 6;

#[derive(Debug, Clone)]
struct Scene {
    /// Each with the tags of its images, and when those were pushed.
    images: Vec<(Vec<usize>, u32)>,
    /// Two images that an index is of, and its tags.
    indexes: Vec<(usize, usize, Vec<usize>, u32)>,
    /// Images with a signature.
    signed: Vec<usize>,
    needed: Vec<usize>,
    policy: usize,
}

const NAMES: [&str; 10] = [
    "latest", "v1", "v2", "1.2.3", "main-1", "main-2", "8f3a", "pr-7", "dev", "stable",
];

fn policies() -> [Value; 5] {
    [
        json!([{"newest": 2}]),
        json!([{"youngerThan": "30d"}]),
        json!([{"tags": ["main-*"], "newest": 1}, {"youngerThan": "10d"}]),
        json!([{"except": ["/pr-[0-9]+|dev/"]}]),
        json!([{"tags": ["none"]}]),
    ]
}

fn scene() -> impl Strategy<Value = Scene> {
    let tags = || prop::collection::vec(0..NAMES.len(), 0..3);
    let image = (tags(), 0..60_u32);
    let index = (0..6_usize, 0..6_usize, tags(), 0..60_u32);
    (
        prop::collection::vec(image, 2..6),
        prop::collection::vec(index, 0..3),
        prop::collection::vec(0..6_usize, 0..2),
        prop::collection::vec(0..NAMES.len(), 0..2),
        0..policies().len(),
    )
        .prop_map(|(images, indexes, signed, needed, policy)| Scene {
            images,
            indexes,
            signed,
            needed,
            policy,
        })
}

/// Pushes a scene. Each image has a tag of its own besides, as 2.8.2's collector asks for.
async fn push(shop: &Shop, repository: &str, scene: &Scene) {
    let mut ages: Vec<(String, u32)> = Vec::new();
    let mut images: Vec<Pushed> = Vec::new();
    let mut tag = async |pushed: &Pushed, names: &[usize], days: u32| {
        for name in names {
            shop.tag(repository, NAMES[*name], pushed).await;
            ages.push((NAMES[*name].to_owned(), days));
        }
    };
    for (at, (names, days)) in scene.images.iter().enumerate() {
        let own = format!("build-{at}");
        let content = format!("{repository} image {at}");
        let pushed = shop.push(repository, Some(&own), &content).await;
        tag(&pushed, names, *days).await;
        images.push(pushed);
    }
    for (at, (one, other, names, days)) in scene.indexes.iter().enumerate() {
        let children = [one, other].map(|it| &images[it % images.len()]);
        let own = format!("index-{at}");
        let pushed = shop.index(repository, &own, &children).await;
        tag(&pushed, names, *days).await;
    }
    for at in &scene.signed {
        let subject = &images[at % images.len()];
        let name = subject.digest.replace(':', "-") + ".sig";
        let content = format!("{repository} signature of {at}");
        shop.push(repository, Some(&name), &content).await;
    }
    for (at, (_, days)) in scene.images.iter().enumerate() {
        shop.age(repository, &format!("build-{at}"), *days);
    }
    for (name, days) in ages {
        shop.age(repository, &name, days);
    }
}

#[tokio::test]
async fn after_what_was_planned_is_gone_every_tag_that_is_left_can_be_pulled() {
    require!("docker-registry", "registry-3.1", "crane");
    // Always the same ones: a failure is to be looked at again.
    let mut runner = TestRunner::deterministic();
    for version in Version::ALL {
        let shop = Shop::start(version).await;
        let mut needed: Vec<String> = Vec::new();
        let mut written: Vec<Value> = Vec::new();
        for at in 0..REPOSITORIES {
            let repository = format!("sample/app-{at}");
            let scene = scene().new_tree(&mut runner).unwrap().current();
            push(&shop, &repository, &scene).await;
            let tags = shop.tags(&repository).await;
            let names = scene.needed.iter().map(|name| NAMES[*name].to_owned());
            let there = names.filter(|name| tags.contains(name));
            needed.extend(there.map(|name| format!("{repository}:{name}")));
            let keep = policies()[scene.policy].clone();
            written.push(json!({"repositories": [repository], "keep": keep}));
        }
        let references: Vec<&str> = needed.iter().map(String::as_str).collect();
        shop.keep(&references);
        shop.configure(&json!(written), |_| {});
        let (code, plan) = shop.json(&["retention", "plan"]).await;
        assert_eq!((code, &plan["left_alone"]), (0, &json!([])), "{plan:#}");
        let planned = going(&plan);
        assert!(planned.len() > 5, "{planned:?}");
        let (code, applied) = shop.json(&["retention", "apply"]).await;
        assert_eq!(
            (code, &applied["result"]),
            (0, &json!("deleted")),
            "{applied:#}"
        );

        // The collector that is known to lose what has no tag.
        shop.registry.garbage_collect(&[]).await;
        let clients = Clients::of(&shop.registry).await;
        let mut left = 0;
        for at in 0..REPOSITORIES {
            let repository = format!("sample/app-{at}");
            for tag in shop.tags(&repository).await {
                let reference = shop.at(&format!("{repository}:{tag}"));
                clients.crane(&["validate", "--remote", &reference]).await;
                left += 1;
            }
        }
        for reference in &needed {
            let reference = shop.at(reference);
            clients.crane(&["validate", "--remote", &reference]).await;
        }
        let all = plan["counts"]["tags"].as_u64().unwrap();
        let deleted = applied["deleted"].as_u64().unwrap();
        assert_eq!(left, all - deleted, "{version:?} {applied:#}");
        if version == Version::V3 {
            assert_eq!(
                usize::try_from(deleted).unwrap(),
                planned.len(),
                "{applied:#}"
            );
        }
    }
}
