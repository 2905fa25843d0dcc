//! Links that name something else, or nothing, and tags with a past.

use super::case::{Case, image, rows};
use super::scenes::links as scenes;
use crate::support::parts::require;

#[tokio::test]
async fn a_revision_link_that_names_another_digest_keeps_both() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::revision_link_of_another();
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "aborted (/docker/registry/v2/repositories/app/_manifests/revisions/sha256/untagged), lost 0 of 16 blobs, 1 of 16 links; freed 0 of 4",
            "aborted (/docker/registry/v2/repositories/app/_manifests/revisions/sha256/untagged), lost 0 of 16 blobs, 1 of 16 links; freed 0 of 4"
        ]
    );
    case.keeps_all_of_app(&["app: repositories/app/_manifests/revisions/sha256/one/link"])
        .await;
}

#[tokio::test]
async fn a_layer_link_that_names_another_digest_keeps_both() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::layer_link_of_another();
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "lost 5 of 17 blobs, 1 of 16 links; freed 3 of 3",
            "lost 5 of 17 blobs, 4 of 16 links; freed 3 of 3"
        ]
    );
    let ours = case.plan().await;
    let mut expected = image("other", "other-old");
    expected.retain(|row| row != "layer other other-old.layer-1");
    expected.push("layer_link other other-old.layer-1".to_owned());
    assert_eq!(case.told(&ours.planned.rows()), rows(&[expected], &[]));
    assert_eq!(
        case.damaged(&ours),
        ["app: repositories/app/_layers/sha256/one.layer-1/link"]
    );
}

#[tokio::test]
async fn a_link_that_holds_no_digest_keeps_its_repository() {
    require!("docker-registry", "registry-3.1");
    for (content, why) in [
        ("sha256:", "invalid checksum digest format"),
        ("sha512:0000", "invalid checksum digest length"),
        ("\0\0\0\0\0\0\0\0", "invalid checksum digest format"),
    ] {
        let scene = scenes::tag_with(content);
        let case = scene.case();
        let deed = format!("aborted ({why}), lost 0 of 16 blobs, 0 of 16 links; freed 0 of 4");
        assert_eq!(case.deeds().await, [deed.clone(), deed], "{content:?}");
        let ours = case.plan().await;
        assert_eq!(case.told(&ours.planned.rows()), image("other", "other-old"));
        assert_eq!(
            case.damaged(&ours),
            ["app: repositories/app/_manifests/tags/one/current/link"]
        );
    }
}

/// Some editors end a file so.
#[tokio::test]
async fn a_link_with_a_newline_keeps_its_repository() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::link_with_a_newline();
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "aborted (invalid checksum digest length), lost 0 of 16 blobs, 0 of 16 links; freed 0 of 4",
            "aborted (invalid checksum digest length), lost 0 of 16 blobs, 0 of 16 links; freed 0 of 4"
        ]
    );
    case.keeps_all_of_app(&["app: repositories/app/_manifests/revisions/sha256/one/link"])
        .await;
}

/// A registry that died between the history and the tag itself: what the tag is to name stays.
#[tokio::test]
async fn a_tag_without_a_current_link_keeps_what_it_was_to_name() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::tag_without_a_current_link();
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "lost 0 of 12 blobs, 0 of 12 links; freed 8 of 8",
            "lost 0 of 12 blobs, 0 of 12 links; freed 8 of 8"
        ]
    );
    assert_eq!(case.garbage().await, image("other", "other-old"));
}

/// Nobody can pull it, and its link is all that lacks: a push of the same manifest mends it.
#[tokio::test]
async fn a_tagged_manifest_without_its_link_keeps_what_it_names() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::tagged_without_a_revision();
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "lost 0 of 8 blobs, 0 of 8 links; freed 12 of 12",
            "lost 0 of 8 blobs, 0 of 8 links; freed 12 of 12"
        ]
    );
    let all = [image("app", "untagged"), image("other", "other-old")];
    assert_eq!(case.garbage().await, rows(&all, &[]));
}

/// Somebody deleted by its digest what runs. All that it needs is there still, but for a link.
#[tokio::test]
async fn a_running_manifest_without_its_link_keeps_what_it_names() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::running_without_a_revision();
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "lost 3 of 15 blobs, 0 of 15 links; freed 5 of 5",
            "lost 3 of 15 blobs, 3 of 15 links; freed 5 of 5"
        ]
    );
    assert_eq!(case.garbage().await, image("other", "other-old"));
}

/// A collector that died: the data is gone, the links are not. A registry with a cache believes them.
#[tokio::test]
async fn dangling_layer_links_are_told_and_left() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::dangling_layers();
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "lost 0 of 12 blobs, 0 of 12 links; freed 4 of 4",
            "lost 0 of 12 blobs, 0 of 12 links; freed 4 of 4"
        ]
    );
    let ours = case.plan().await;
    assert_eq!(case.told(&ours.planned.rows()), image("other", "other-old"));
    assert_eq!(ours.planned.count("dangling_links"), 4);
}

/// What a tag named before stays by the configuration only, or as long as it runs.
#[tokio::test]
async fn the_history_of_a_tag_keeps_nothing_unless_it_is_to() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::tag_with_a_past();
    let tree = &scene.tree;
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "lost 0 of 12 blobs, 0 of 12 links; freed 12 of 12",
            "lost 0 of 12 blobs, 0 of 12 links; freed 12 of 12"
        ]
    );
    let all = [image("app", "untagged"), image("other", "other-old")];
    let with_past = [all.concat(), image("app", "before")];
    let expected = rows(&with_past, &["tag_history app:one before"]);
    assert_eq!(case.garbage().await, expected);
    let case = Case::of(tree).configured("untagged: delete");
    assert_eq!(case.garbage().await, rows(&all, &[]));
    let case = Case::of(tree).configured("untagged: keep, tagHistory: delete");
    assert_eq!(case.garbage().await, [""; 0]);
    let case = Case::of(tree).configured("untagged: keep");
    assert_eq!(case.garbage().await, [""; 0]);
}

/// Data that no repository links, by a name or by another.
#[tokio::test]
async fn data_without_a_link_goes() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::lone_data();
    let tree = &scene.tree;
    let case = Case::of(tree).configured("untagged: keep, tagHistory: keep");
    assert_eq!(case.garbage().await, ["layer - lone"]);
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "lost 0 of 12 blobs, 0 of 12 links; freed 9 of 9",
            "lost 0 of 12 blobs, 0 of 12 links; freed 9 of 9"
        ]
    );
    let all = [image("app", "untagged"), image("other", "other-old")];
    assert_eq!(case.garbage().await, rows(&all, &["layer - lone"]));
    // In use by its digest alone.
    let case = Case::of(tree).runs("nowhere", &tree.find("lone"));
    assert_eq!(case.garbage().await, rows(&all, &[]));
}
