//! The cases that every collector of a registry's storage has to get right.

use super::case::{Case, image, rows};
use super::scenes::rows as scenes;
use super::served::can_pull;
use crate::support::parts::require;
use crate::support::registry::Version;

#[tokio::test]
async fn children_of_a_tagged_index_stay_though_no_tag_names_them() {
    require!("docker-registry", "registry-3.1", "crane", "regctl");
    let scene = scenes::index_with_untagged_children();
    let case = scene.case();

    let [old, new] = case.peers().await;
    assert_eq!(old.deed, "lost 6 of 9 blobs, 2 of 9 links; freed 4 of 4");
    assert_eq!(new.deed, "lost 0 of 9 blobs, 0 of 9 links; freed 4 of 4");
    let ours = case.plan().await;
    assert_eq!(case.told(&ours.planned.rows()), image("app", "old"));

    // As clients see it, too.
    for version in Version::ALL {
        assert_eq!(can_pull(version, ours.root(), "app:v1").await, Ok(()));
    }
    let destroyed = can_pull(Version::V2, old.collected.root(), "app:v1").await;
    let said = destroyed.unwrap_err();
    assert!(said.contains("MANIFEST_UNKNOWN"), "{said}");
}

#[tokio::test]
async fn an_index_of_indexes_keeps_what_they_list() {
    require!("docker-registry", "registry-3.1", "crane", "regctl");
    let scene = scenes::index_of_an_index();
    let case = scene.case();

    assert_eq!(
        case.deeds().await,
        [
            "lost 8 of 10 blobs, 3 of 10 links; freed 4 of 4",
            "lost 0 of 10 blobs, 0 of 10 links; freed 4 of 4"
        ]
    );
    let ours = case.plan().await;
    assert_eq!(case.told(&ours.planned.rows()), image("app", "old"));
    for version in Version::ALL {
        assert_eq!(can_pull(version, ours.root(), "app:v1").await, Ok(()));
    }
}

/// distribution's collector knows a digest that it has seen by its digest alone, and does not look again
/// in the repository that has what it names.
#[tokio::test]
async fn an_index_that_is_sparse_in_one_repository_is_whole_in_another() {
    require!("docker-registry", "registry-3.1", "crane", "regctl");
    let scene = scenes::sparse_here_and_whole_there();
    let case = scene.case();

    assert_eq!(
        case.deeds().await,
        [
            "lost 6 of 9 blobs, 3 of 14 links; freed 4 of 4",
            "lost 3 of 9 blobs, 3 of 14 links; freed 4 of 4"
        ]
    );
    let ours = case.plan().await;
    assert_eq!(case.told(&ours.planned.rows()), image("whole", "old"));
    for version in Version::ALL {
        assert_eq!(can_pull(version, ours.root(), "whole:v1").await, Ok(()));
    }
}

#[tokio::test]
async fn what_refers_to_a_tagged_image_stays() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::untagged_referrers();
    let case = scene.case();

    assert_eq!(
        case.deeds().await,
        [
            "lost 3 of 7 blobs, 1 of 7 links; freed 7 of 7",
            "lost 3 of 7 blobs, 3 of 7 links; freed 7 of 7"
        ]
    );
    let expected = rows(
        &[image("app", "old")],
        &[
            "config app old-signature.config",
            "layer app old-signature.layer",
            "manifest app old-signature",
        ],
    );
    assert_eq!(case.garbage().await, expected);
}

#[tokio::test]
async fn a_running_digest_stays_when_its_tag_has_moved() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::running_image_whose_tag_moved();
    let case = Case::of(&scene.tree);
    let expected = rows(&[image("app", "running")], &["tag_history app:v1 running"]);
    assert_eq!(case.garbage().await, expected);

    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "lost 4 of 8 blobs, 1 of 8 links; freed 0 of 0",
            "lost 4 of 8 blobs, 4 of 8 links; freed 0 of 0"
        ]
    );
    assert_eq!(case.garbage().await, [""; 0]);
}

#[tokio::test]
async fn a_running_index_stays_when_its_tag_has_moved() {
    require!("docker-registry", "registry-3.1", "crane", "regctl");
    let scene = scenes::running_index_whose_tag_moved();
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "lost 9 of 13 blobs, 3 of 13 links; freed 0 of 0",
            "lost 9 of 13 blobs, 9 of 13 links; freed 0 of 0"
        ]
    );
    let ours = case.plan().await;
    assert_eq!(case.told(&ours.planned.rows()), [""; 0]);
    let reference = format!("app@{}", scene.tree.find("index").digest);
    for version in Version::ALL {
        assert_eq!(can_pull(version, ours.root(), &reference).await, Ok(()));
    }

    // Runtimes tell what runs by the child, too, or by its config. Then only that child is needed.
    for scene in [
        scenes::running_child_whose_tag_moved(),
        scenes::running_config_whose_tag_moved(),
    ] {
        let expected = rows(
            &[image("app", "arm64")],
            &["manifest app index", "tag_history app:v1 index"],
        );
        let garbage = scene.case().garbage().await;
        assert_eq!(garbage, expected, "{:?}", scene.running);
    }
}

#[tokio::test]
async fn a_repository_without_tags_is_kept_by_the_digest_that_runs() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::no_tags_and_one_runs();
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "aborted (failed to retrieve tags unknown repository name=by-digest), lost 0 of 4 blobs, 0 of 4 links; freed 0 of 4",
            "lost 4 of 4 blobs, 3 of 4 links; freed 4 of 4"
        ]
    );
    assert_eq!(case.garbage().await, image("by-digest", "old"));
}

#[tokio::test]
async fn an_unreadable_manifest_keeps_its_repository_and_no_other() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::torn_manifest();
    let case = scene.case();

    assert_eq!(
        case.deeds().await,
        [
            "lost 9 of 17 blobs, 3 of 17 links; freed 4 of 4",
            "lost 9 of 17 blobs, 9 of 17 links; freed 4 of 4"
        ]
    );
    case.keeps_all_of_app(&["app: repositories/app/_manifests: torn"])
        .await;
}

#[tokio::test]
async fn an_empty_link_stops_nobody_else() {
    require!("docker-registry", "registry-3.1");
    for is_layer in [false, true] {
        let scene = if is_layer {
            scenes::empty_layer_link()
        } else {
            scenes::empty_revision_link()
        };
        let case = scene.case();
        let [old, new] = case.peers().await;
        let expected = if is_layer {
            [
                "lost 4 of 12 blobs, 1 of 12 links; freed 4 of 4",
                "aborted (invalid checksum digest format), lost 0 of 12 blobs, 0 of 12 links; freed 0 of 4",
            ]
        } else {
            [
                "aborted (invalid checksum digest format), lost 0 of 12 blobs, 0 of 12 links; freed 0 of 4",
                "aborted (invalid checksum digest format), lost 0 of 12 blobs, 0 of 12 links; freed 0 of 4",
            ]
        };
        assert_eq!([&*old.deed, &*new.deed], expected);
        let ours = case.plan().await;
        assert_eq!(case.told(&ours.planned.rows()), image("other", "other-old"));
        let path = if is_layer {
            "_layers/sha256/app.layer-1"
        } else {
            "_manifests/revisions/sha256/app"
        };
        assert_eq!(
            case.damaged(&ours),
            [format!("app: repositories/app/{path}/link")]
        );
    }
}
