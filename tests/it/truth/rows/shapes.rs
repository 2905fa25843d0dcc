//! R15, R17, R18, R19 and R20: layers from elsewhere, platforms, tags that move, subjects, names.

use pullproof::verify::finding::{Code, Verdict};
use serde_json::json;

use super::super::case::{Case, Outcome};
use super::super::client::{Way, needs};
use super::super::world::{BASE, Shop, at, of, shop, v1};
use crate::support::scripted::fault::{Fault, Route, Which, on};
use crate::support::scripted::store::MANIFEST;

/// An index of these platforms and an attestation, of which everything is there.
fn platforms(of: &[&str]) -> Shop {
    let mut shop = shop();
    let repository = shop.repository();
    let mut children = Vec::new();
    for platform in of {
        let image = repository.image(platform, &[BASE, platform]);
        children.push(image.child(platform));
    }
    children.push(
        repository
            .image("unknown/unknown", &["in-toto"])
            .child("unknown/unknown"),
    );
    let index = repository.index(&children);
    repository.tag("v1", &index);
    shop
}

fn layer_of(platform: &str) -> pullproof::oci::digest::Digest {
    of(platform)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = foreign();
    cases.extend(needed());
    cases.extend(moving());
    cases.extend(names());
    cases
}

fn foreign() -> Vec<Case> {
    let with_layer_at = |urls: &[&str]| {
        let mut shop = shop();
        let repository = shop.repository();
        let config = repository
            .blob("c", r#"{"os":"windows","architecture":"amd64"}"#)
            .descriptor();
        let layer = json!({
            "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "digest": of("a layer of Windows").to_string(), "size": 18, "urls": urls,
        });
        let image = repository.image_of(&config, &[layer]);
        repository.tag("v1", &image);
        shop
    };
    let elsewhere = with_layer_at(&["http://10.96.0.1/layer", "http://mcr.example/layer"]);
    let nowhere = with_layer_at(&[]);
    let mut with_subject = shop();
    let repository = with_subject.repository();
    let config = repository.blob("c", "{}").descriptor();
    let subject =
        json!({"mediaType": MANIFEST, "digest": of("pushed later").to_string(), "size": 12});
    let body = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [],
        "artifactType": "application/example", "subject": subject});
    let signature = repository.manifest(MANIFEST, body.to_string());
    repository.tag("v1", &signature);
    vec![
        Case::new(
            "r15_a_layer_that_is_elsewhere_is_not_asked_for",
            elsewhere.script,
            &v1(),
        )
        .pullable()
        .and("nobody was asked for it", |outcome| {
            let digest = of("a layer of Windows").to_string();
            outcome
                .seen
                .iter()
                .all(|it| it.host == "registry.example" && !it.path.contains(&digest))
        }),
        Case::new(
            "r15_a_layer_of_a_foreign_kind_that_is_nowhere_else",
            nowhere.script,
            &v1(),
        )
        .broken(Code::LayerMissing),
        Case::new(
            "r19_a_subject_that_is_not_there_yet",
            with_subject.script,
            &v1(),
        )
        .pullable()
        .and("it was not asked for", |outcome| {
            let digest = of("pushed later").to_string();
            outcome.seen.iter().all(|it| !it.path.contains(&digest))
        }),
    ]
}

fn needed() -> Vec<Case> {
    let both = ["linux/amd64", "linux/arm64"];
    let arms = ["linux/arm/v6", "linux/arm/v7"];
    let lost = |platform: &str| {
        let shop = platforms(&both).without(layer_of(platform));
        shop.script
    };
    vec![
        Case::new(
            "r17_a_platform_that_nobody_needs_is_gone",
            lost("linux/arm64"),
            &v1(),
        )
        .needs(needs(&["linux/amd64"]))
        .pullable()
        .and("it is listed", lists_a_layer_that_nobody_needs),
        Case::new(
            "r17_a_platform_that_is_needed_is_gone",
            lost("linux/arm64"),
            &v1(),
        )
        .needs(needs(&["linux/amd64", "linux/arm64"]))
        .broken(Code::LayerMissing),
        Case::new(
            "r17_a_platform_that_was_never_there",
            platforms(&both).script,
            &v1(),
        )
        .needs(needs(&["linux/s390x"]))
        .broken(Code::PlatformMissing),
        Case::new(
            "r17_an_attestation_that_is_gone",
            platforms(&both).without(of("in-toto")).script,
            &v1(),
        )
        .pullable()
        .and("it is listed", lists_a_layer_that_nobody_needs),
        Case::new(
            "r17_a_variant_that_is_gone",
            platforms(&arms).without(layer_of("linux/arm/v7")).script,
            &v1(),
        )
        .needs(needs(&["linux/arm/v7"]))
        .broken(Code::LayerMissing),
        Case::new(
            "r17_another_variant_that_is_gone",
            platforms(&arms).without(layer_of("linux/arm/v6")).script,
            &v1(),
        )
        .needs(needs(&["linux/arm/v7"]))
        .pullable(),
    ]
}

fn moving() -> Vec<Case> {
    // The tag names another image at each look: one is whole, the others lack a layer.
    let mut moving = shop();
    let repository = moving.repository();
    let lone = repository.image("linux/amd64", &["gone"]);
    let other = repository.image("linux/amd64", &["gone too"]);
    repository.lose(of("gone"));
    repository.lose(of("gone too"));
    let to = |placed: &crate::support::scripted::store::Placed| {
        on(Route::Tags).give(Fault::Set(
            "docker-content-digest",
            placed.digest.to_string(),
        ))
    };
    let whole = moving.index.digest;
    vec![
        Case::new(
            "r18_a_tag_that_moves_to_a_whole_image",
            moving.script.clone(),
            &v1(),
        )
        .rule(to(&lone).only(Which::First(1)))
        .pullable()
        .and("the verdict is the whole one's", move |it| {
            it.report.digest == Some(whole)
        }),
        Case::new("r18_a_tag_that_moves_at_each_look", moving.script, &v1())
            .rule(to(&lone))
            .rule(to(&other).only(Which::EverySecond))
            .broken(Code::LayerMissing)
            .and("a verdict belongs to one root", |outcome| {
                let root = outcome.report.digest;
                outcome
                    .report
                    .findings
                    .iter()
                    .all(|it| it.path.first().copied() == root)
            })
            .and("it ends", |outcome| {
                outcome.count("HEAD", "/manifests/v1") <= 5
            }),
        Case::new("r18_a_tag_that_moved_between_rounds", shop().script, &v1())
            .pullable()
            .before(|script| {
                let repository = script.store.repository("team/app");
                let lone = repository.image("linux/amd64", &["another"]);
                repository.tag("v1", &lone);
            })
            .pullable()
            .and_since("it is another image", |now, before| {
                now.report.digest.is_some() && now.report.digest != before[0].report.digest
            }),
        Case::new(
            "r18_a_digest_does_not_move",
            shop().script,
            &at(shop().index.digest),
        )
        .pullable()
        .and("no tag was asked for", |it| {
            it.count("HEAD", "/manifests/v1") == 0
        })
        .before(|script| script.store.repository("team/app").tags.clear())
        .pullable(),
    ]
}

fn names() -> Vec<Case> {
    let mut library = shop();
    let whole = library.script.store.repositories["team/app"].clone();
    library
        .script
        .store
        .repositories
        .insert("library/nginx".to_owned(), whole);
    let library = library.script;
    let path = "/v2/library/nginx/manifests/v1";
    let mut cases = Vec::new();
    for (name, reference) in [
        ("r20_a_short_name", "nginx:v1"),
        ("r20_docker_io", "docker.io/nginx:v1"),
        ("r20_docker_io_in_full", "docker.io/library/nginx:v1"),
        ("r20_index_docker_io", "index.docker.io/nginx:v1"),
    ] {
        cases.push(
            Case::new(name, library.clone(), reference)
                .pullable()
                .and("the path is the canonical one", move |it| {
                    it.count("HEAD", path) == 1
                }),
        );
    }
    cases.push(
        Case::new(
            "r20_a_host_with_a_port",
            shop().script,
            "registry.example:5000/team/app:v1",
        )
        .pullable(),
    );
    cases.push(
        Case::new(
            "r20_a_digest_beside_a_tag",
            shop().script,
            &format!("{}@{}", v1(), shop().index.digest),
        )
        .pullable()
        .and("the tag was not asked for", |it| {
            it.count("HEAD", "/manifests/v1") == 0
        }),
    );
    cases.push(
        Case::new(
            "r20_an_ipv6_literal",
            shop().script,
            "[::1]:5000/team/app:v1",
        )
        .listen("[::1]:0")
        .setup(|setup| {
            setup.way = Way::Dialled {
                scheme: "http",
                name: "",
            }
        })
        .gives(Verdict::Pullable, &[]),
    );
    cases
}

fn lists_a_layer_that_nobody_needs(outcome: &Outcome) -> bool {
    let mut findings = outcome.report.findings.iter();
    findings.any(|it| it.code == Code::LayerMissing && !it.needed)
}
