//! What an image is made of, when it changed, and the three questions.

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::inventory::completeness::Shrunk;
use crate::state::State;
use crate::state::history::Histories;
use crate::verify::change::Change;

const APP: &str = "/image?reference=registry.example/team/app:1";

/// Manifests by digest, as a registry would have given them.
struct Manifests(Vec<(Digest, Bytes)>);

impl Manifests {
    fn put(&mut self, manifest: &Value) -> Digest {
        let body = Bytes::from(manifest.to_string());
        let digest = Digest::of(&body);
        self.0.push((digest, body));
        digest
    }

    fn asked(self) -> Asked {
        Asked {
            manifest: Arc::new(move |digest| {
                let mut all = self.0.iter();
                all.find(|(known, _)| known == digest)
                    .map(|(_, body)| body.clone())
            }),
            ..Asked::nothing(ago(3600))
        }
    }
}

fn blob(name: &str, size: u64) -> Value {
    json!({"mediaType": "application/octet-stream", "digest": digest(name), "size": size})
}

/// `team/app:1` for two platforms; a layer of the second is gone, and one is had elsewhere.
fn app() -> (ImageState, Asked) {
    let mut manifests = Manifests(Vec::new());
    let mut foreign = blob("foreign", 7);
    foreign["urls"] = json!(["https://elsewhere.example/layer"]);
    let whole = json!({"schemaVersion": 2, "config": blob("config", 1024),
        "layers": [blob("base", 30 << 20), blob("app", 3 << 20)]});
    let spoilt = json!({"schemaVersion": 2, "config": blob("config arm", 1024),
        "layers": [blob("base arm", 30 << 20), blob("gone", 2 << 20), foreign]});
    let (whole, spoilt) = (manifests.put(&whole), manifests.put(&spoilt));
    let child = |digest: Digest, architecture: &str| {
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 500,
            "platform": {"os": "linux", "architecture": architecture}})
    };
    let index =
        json!({"schemaVersion": 2, "manifests": [child(whole, "amd64"), child(spoilt, "arm64")]});
    let index = manifests.put(&index);
    let image = image("registry.example/team/app:1", "shop/Deployment/app", BOTH);
    let image = with_report(image, |report| {
        report.digest = Some(index);
        report.platforms[0].digest = Some(whole);
        report.platforms[1].digest = Some(spoilt);
        report.platforms[1].verdict = Verdict::Broken;
        report.findings.push(Finding {
            code: Code::LayerMissing,
            subject: Some(digest("gone")),
            platform: report.platforms[1].platform.clone(),
            needed: true,
            path: vec![index, spoilt],
            message: "it is gone".to_owned(),
        });
    });
    (image, manifests.asked())
}

#[tokio::test]
async fn a_tree_has_every_layer_with_its_size_and_what_is_known_of_it() {
    let (image, asked) = app();
    let beside = Beside {
        asked,
        ..Beside::default()
    };
    let site = Site::with(snapshot(vec![image]), beside).await;
    let html = site.page("tree", APP).await;
    check(&html);
    let tree = &html[position(&html, "<div class=\"tree\">")..position(&html, ">Used by<")];
    follow(
        tree,
        &[
            "index",
            "<details open>",
            "linux/arm64/v8",
            "3 layers, 32.0 MiB",
            "config",
            "1.0 KiB",
            "layer 1",
            "nothing was found against it",
            "30.0 MiB",
            "layer 2",
            "layer_missing",
            "2.0 MiB",
            "layer 3",
            "fetched from elsewhere",
            "<details>",
            "linux/amd64",
            "2 layers, 33.0 MiB",
            "there",
        ],
    );
    // What nobody looked at is not said to be there.
    let broken = &tree[..position(tree, "<details>")];
    assert!(!broken.contains("✓"));
}

#[tokio::test]
async fn behind_a_manifest_that_is_gone_nothing_is_said_to_be_there() {
    let (image, asked) = app();
    let image = with_report(image, |report| {
        let arm = report.platforms[1].digest;
        report.findings = Findings::default();
        report.findings.push(Finding {
            code: Code::ChildMissing,
            subject: arm,
            platform: report.platforms[1].platform.clone(),
            needed: true,
            path: vec![report.digest.unwrap()],
            message: "it is gone".to_owned(),
        });
    });
    let beside = Beside {
        asked,
        ..Beside::default()
    };
    let site = Site::with(snapshot(vec![image]), beside).await;
    let html = site.page("tree-behind", APP).await;
    let tree = &html[position(&html, "<details open>")..];
    let broken = &tree[..position(tree, "<details>")];
    assert_eq!(broken.matches("not looked at").count(), 3, "{broken}");
    assert!(!broken.contains("there</span>"), "{broken}");
    // Nothing is known of what was never read.
    let html = Site::of(snapshot(shop())).await;
    let html = html.page("tree-unread", CHECKOUT).await;
    assert!(html.contains("its manifest was never read"));
}

#[tokio::test]
async fn a_verdict_that_changed_is_told_with_its_times() {
    let (image, _) = app();
    let key = Arc::clone(&image.image().unwrap().key);
    let site = Site::of(snapshot(vec![image.clone()])).await;
    let html = site.page("unchanged", APP).await;
    follow(
        &html,
        &["<h2>History</h2>", "It has been broken since", "16 min ago"],
    );
    let change = |seconds, verdict, code| Change {
        at: ago(seconds).into(),
        verdict,
        code,
    };
    let mut histories = Histories::default();
    let first = change(90_000, Verdict::Pullable, None);
    let second = change(7200, Verdict::Unknown, Some(Code::Unreachable));
    let third = change(960, Verdict::Broken, Some(Code::LayerMissing));
    histories.note(&key, first, second);
    histories.note(&key, second, third);
    let changed = Snapshot {
        histories: Arc::new(histories),
        ..snapshot(vec![image])
    };
    let html = Site::of(changed).await.page("changed", APP).await;
    check(&html);
    follow(
        &html,
        &[
            "<h2>History</h2>",
            "class=\"pullable\" x=\"0\"",
            "class=\"broken\"",
            "now for 16 min",
            "layer_missing",
            "for 104 min",
            "unreachable",
            "for 23 h",
        ],
    );
}

/// The answers as they are shown, each with its list.
fn shown(html: &str) -> Vec<(String, String)> {
    let cards = html.split("<li><a href=\"").skip(1);
    let cards = cards.filter(|card| card.contains("class=\"question\""));
    cards
        .map(|card| {
            let href = card.split('"').next().unwrap().replace("&#38;", "&");
            let answer = card.split("</span> ").nth(2).unwrap();
            (href, answer.split('<').next().unwrap().to_owned())
        })
        .collect()
}

#[tokio::test]
async fn three_questions_are_answered_each_with_its_list() {
    let used = |image: ImageState, class: Class| {
        with_image(image, |image| {
            let mut user = User::clone(&image.users[0]);
            user.class = class;
            image.users = [Arc::new(user)].into();
        })
    };
    let of = |name: &str| {
        image(
            &format!("registry.example/team/{name}:1"),
            "shop/Deployment/app",
            BOTH,
        )
    };
    let standby = used(of("standby"), Class::Failover);
    let standby = only(standby, Code::Unreachable, "connection refused");
    let images = vec![
        without_child(of("web"), 1),
        of("api"),
        standby,
        used(of("old"), Class::Rollback),
    ];
    let html = Site::of(snapshot(images.clone()))
        .await
        .page("questions", "/")
        .await;
    check(&html);
    let card = |href: &str, answer: &str| (href.to_owned(), answer.to_owned());
    assert_eq!(
        shown(&html),
        [
            card("/?verdict=broken&class=runtime", "no"),
            card("/?verdict=unknown&class=failover", "don&#39;t know"),
            card("/?class=rollback", "yes"),
        ]
    );
    follow(
        &html,
        &[
            "1 of 2 running images broken",
            "1 of 1 standby image unknown",
            "1 earlier image proven",
        ],
    );
    // The list is what the answer is made of.
    let site = Site::of(snapshot(images.clone())).await;
    let list = site
        .page("questions-list", "/?verdict=broken&class=runtime")
        .await;
    assert!(list.contains("team/web") && list.contains("1–1 of 1 that fit"));

    // Of an inventory that is not whole nothing is proven for all.
    let doubts = [
        source("prod", Some("cronjobs.batch is forbidden"), 4),
        SourceStatus {
            shrunk: Some(Shrunk {
                from: 10,
                to: 4,
                since: ago(60),
            }),
            ..source("prod", None, 4)
        },
    ];
    for doubt in doubts {
        let doubtful = Snapshot {
            sources: vec![SourceStatus {
                complete_at: None,
                ..doubt
            }],
            ..snapshot(images.clone())
        };
        let html = Site::of(doubtful).await.page("questions-doubt", "/").await;
        assert_eq!(shown(&html)[0].1, "no");
        assert_eq!(shown(&html)[2], card("/#sources", "don&#39;t know"));
    }
    // Nobody is asked of nothing.
    let state = State::default().snapshot(ago(1));
    let html = Site::of(state).await.page("questions-none", "/").await;
    assert_eq!(shown(&html), []);
}
