//! Manifests of every kind, and what ties one to another.

use super::case::{image, rows};
use super::scenes::manifests as scenes;
use crate::support::parts::require;

#[tokio::test]
async fn a_chain_of_referrers_stays_with_its_subject() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::chain_of_referrers();
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "lost 12 of 18 blobs, 4 of 18 links; freed 10 of 10",
            "lost 9 of 18 blobs, 9 of 18 links; freed 10 of 10"
        ]
    );
    let referrer = |name: &str| {
        ["config", "layer", "manifest"].map(|kind| match kind {
            "manifest" => format!("manifest app {name}"),
            _ => format!("{kind} app {name}.{kind}"),
        })
    };
    let expected = [
        image("app", "old"),
        referrer("old-bom").to_vec(),
        referrer("old-bom-signature").to_vec(),
    ];
    assert_eq!(case.garbage().await, rows(&expected, &[]));
}

/// Clients keep referrers in an index by this tag where the registry has no list of them.
#[tokio::test]
async fn a_fallback_tag_keeps_what_it_lists() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::fallback_tag();
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "lost 2 of 8 blobs, 1 of 8 links; freed 5 of 5",
            "lost 0 of 8 blobs, 0 of 8 links; freed 5 of 5"
        ]
    );
    let expected = rows(&[image("app", "old")], &["manifest app before"]);
    assert_eq!(case.garbage().await, expected);
}

/// They are tags as all others. One that was signed again leaves the signature before without a tag.
#[tokio::test]
async fn signatures_by_tag_stay_and_what_they_replaced_goes() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::signatures_by_tag();
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "lost 0 of 12 blobs, 0 of 12 links; freed 4 of 4",
            "lost 0 of 12 blobs, 0 of 12 links; freed 4 of 4"
        ]
    );
    let app = scene.tree.find("app");
    let history = format!("tag_history app:sha256-{}.sig first-signature", app.hex());
    let expected = rows(&[image("app", "first-signature")], &[&history]);
    assert_eq!(case.garbage().await, expected);
}

/// As BuildKit's cache does.
#[tokio::test]
async fn plain_blobs_that_an_index_lists_stay() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::plain_blobs_as_children();
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "lost 0 of 3 blobs, 0 of 3 links; freed 4 of 4",
            "lost 0 of 3 blobs, 0 of 3 links; freed 4 of 4"
        ]
    );
    assert_eq!(case.garbage().await, image("cache", "old"));
}

/// What a repository has as a layer and nobody has as a manifest is a blob, whatever an index calls it.
#[tokio::test]
async fn a_plain_blob_that_is_called_a_manifest_stays_what_it_is() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::plain_blob_called_a_manifest();
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "lost 0 of 6 blobs, 0 of 6 links; freed 8 of 8",
            "lost 0 of 6 blobs, 0 of 6 links; freed 8 of 8"
        ]
    );
    let ours = case.plan().await;
    let expected = rows(
        &[image("cache", "untagged"), image("other", "other-old")],
        &[],
    );
    assert_eq!(case.told(&ours.planned.rows()), expected);
    assert_eq!(case.damaged(&ours), [""; 0]);
}

/// A child that is called a layer, or nothing, is a manifest all the same.
#[tokio::test]
async fn a_child_is_a_manifest_whatever_its_index_calls_it() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::children_called_otherwise();
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "lost 6 of 9 blobs, 2 of 9 links; freed 4 of 4",
            "lost 0 of 9 blobs, 0 of 9 links; freed 4 of 4"
        ]
    );
    assert_eq!(case.garbage().await, image("app", "old"));
}

#[tokio::test]
async fn a_child_that_only_another_repository_has_keeps_it_there() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::child_of_another_repository();
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "lost 3 of 13 blobs, 1 of 13 links; freed 8 of 8",
            "lost 3 of 13 blobs, 3 of 13 links; freed 8 of 8"
        ]
    );
    let all = [image("origin", "origin-old"), image("sparse", "sparse-old")];
    assert_eq!(case.garbage().await, rows(&all, &[]));
}

#[tokio::test]
async fn whatever_a_manifest_of_an_unknown_kind_names_stays() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::unknown_media_type();
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "aborted (unrecognized manifest content type application/example.model.v7+json), lost 0 of 7 blobs, 0 of 7 links; freed 0 of 8",
            "aborted (unrecognized manifest content type application/example.model.v7+json), lost 0 of 7 blobs, 0 of 7 links; freed 0 of 8"
        ]
    );
    let expected = rows(&[image("models", "old"), image("app", "app-old")], &[]);
    assert_eq!(case.garbage().await, expected);
}

/// What registries stored ten years ago; 3.1 has forgotten how to read it.
#[tokio::test]
async fn whatever_a_manifest_of_schema_1_names_stays() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::schema_1();
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "lost 0 of 2 blobs, 0 of 2 links; freed 4 of 4",
            "aborted (unrecognized manifest schema version 1), lost 0 of 2 blobs, 0 of 2 links; freed 0 of 4"
        ]
    );
    assert_eq!(case.garbage().await, image("ancient", "old"));
}
