//! The cases that every collector of a registry's storage has to get right.

use super::case::{Case, image, rows};
use super::served::can_pull;
use super::tree::{OCI_INDEX, Tree, index_body, write};
use crate::support::parts::require;
use crate::support::registry::Version;

#[tokio::test]
async fn children_of_a_tagged_index_stay_though_no_tag_names_them() {
    require!("docker-registry", "registry-3.1", "crane", "regctl");
    let mut tree = Tree::new();
    let (amd64, arm64) = (tree.image("app", "amd64"), tree.image("app", "arm64"));
    let index = tree.index("app", "index", &[&amd64, &arm64]);
    tree.tag("app", "v1", &index);
    tree.image("app", "old");
    let case = Case::of(&tree);

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
    let mut tree = Tree::new();
    let (amd64, arm64) = (tree.image("app", "amd64"), tree.image("app", "arm64"));
    let inner = tree.index("app", "inner", &[&amd64, &arm64]);
    let outer = tree.index("app", "outer", &[&inner]);
    tree.tag("app", "v1", &outer);
    tree.image("app", "old");
    let case = Case::of(&tree);

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
    let mut tree = Tree::new();
    let (amd64, arm64) = (tree.image("whole", "amd64"), tree.image("whole", "arm64"));
    let index = tree.index("whole", "index", &[&amd64, &arm64]);
    tree.tag("whole", "v1", &index);
    // Its first child only.
    for name in ["amd64.config", "amd64.layer-1", "amd64.layer-2"] {
        let object = tree.find(name);
        tree.link_layer("a-part", &object);
    }
    tree.link_revision("a-part", &amd64);
    tree.link_revision("a-part", &index);
    tree.tag("a-part", "v1", &index);
    tree.image("whole", "old");
    let case = Case::of(&tree);

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
    let mut tree = Tree::new();
    let app = tree.image("app", "app");
    tree.tag("app", "v1", &app);
    tree.referrer("app", "signature", &app);
    // Its subject goes, and so does it.
    let old = tree.image("app", "old");
    tree.referrer("app", "old-signature", &old);
    let case = Case::of(&tree);

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
    let mut tree = Tree::new();
    let running = tree.image("app", "running");
    tree.tag("app", "v1", &running);
    let next = tree.image("app", "next");
    tree.tag("app", "v1", &next);
    let case = Case::of(&tree);
    let expected = rows(&[image("app", "running")], &["tag_history app:v1 running"]);
    assert_eq!(case.garbage().await, expected);

    let case = Case::of(&tree).runs("app", &running);
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
    let mut tree = Tree::new();
    let (amd64, arm64) = (tree.image("app", "amd64"), tree.image("app", "arm64"));
    let index = tree.index("app", "index", &[&amd64, &arm64]);
    tree.tag("app", "v1", &index);
    let next = tree.image("app", "next");
    tree.tag("app", "v1", &next);
    let case = Case::of(&tree).runs("app", &index);
    assert_eq!(
        case.deeds().await,
        [
            "lost 9 of 13 blobs, 3 of 13 links; freed 0 of 0",
            "lost 9 of 13 blobs, 9 of 13 links; freed 0 of 0"
        ]
    );
    let ours = case.plan().await;
    assert_eq!(case.told(&ours.planned.rows()), [""; 0]);
    let reference = format!("app@{}", index.digest);
    for version in Version::ALL {
        assert_eq!(can_pull(version, ours.root(), &reference).await, Ok(()));
    }

    // Runtimes tell what runs by the child, too, or by its config. Then only that child is needed.
    for running in [amd64, tree.find("amd64.config")] {
        let case = Case::of(&tree).runs("app", &running);
        let expected = rows(
            &[image("app", "arm64")],
            &["manifest app index", "tag_history app:v1 index"],
        );
        assert_eq!(case.garbage().await, expected, "{running:?}");
    }
}

#[tokio::test]
async fn a_repository_without_tags_is_kept_by_the_digest_that_runs() {
    require!("docker-registry", "registry-3.1");
    let mut tree = Tree::new();
    let running = tree.image("by-digest", "running");
    tree.image("by-digest", "old");
    let case = Case::of(&tree).runs("by-digest", &running);
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
    let mut tree = Tree::new();
    let app = tree.image("app", "app");
    tree.tag("app", "v1", &app);
    // An index of which only the beginning was written: what it lists is not known.
    let child = tree.image("app", "child");
    let torn = index_body("torn", &[&child]).to_string();
    tree.manifest_of("app", "torn", OCI_INDEX, &torn.as_bytes()[..100]);
    tree.image("app", "untagged");
    tree.sound("other");
    let case = Case::of(&tree);

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
        let mut tree = Tree::new();
        let app = tree.image("app", "app");
        tree.tag("app", "v1", &app);
        tree.image("app", "untagged");
        tree.sound("other");
        let link = if is_layer {
            tree.layer_of("app", &tree.find("app.layer-1"))
        } else {
            tree.revision_of("app", &app)
        };
        write(&link, b"");
        let case = Case::of(&tree);
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
