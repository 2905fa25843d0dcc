//! Pushes that have not ended, and repositories of which a part is missing.

use std::fs;
use std::path::PathBuf;

use super::case::{Case, image, rows};
use super::scenes::partial::{self as scenes, tree};
use super::tree::{Object, THIS_WEEK, TODAY, Tree, write};
use crate::support::parts::require;

/// An upload that began then.
fn upload(tree: &Tree, repository: &str, begun: &str) -> PathBuf {
    let upload = tree
        .repository(repository)
        .join("_uploads/01234567-89ab-7def-8123-456789abcdef");
    write(&upload.join("startedat"), begun.as_bytes());
    write(&upload.join("data"), b"the first bytes");
    write(&upload.join("hashstates/sha256/0"), b"state");
    upload
}

fn young_layer(tree: &mut Tree, repository: &str, name: &str) -> Object {
    let layer = tree.layer(repository, name);
    tree.written(tree.data_of(&layer), TODAY);
    tree.written(tree.layer_of(repository, &layer), TODAY);
    layer
}

/// Its layers are there, and the manifest comes last.
#[tokio::test]
async fn a_push_that_began_today_keeps_its_layers() {
    require!("docker-registry", "registry-3.1");
    let mut tree = tree();
    let layer = young_layer(&mut tree, "app", "pushed");
    // The registry stored the bytes, and their link comes next.
    let data = tree.data("stored", "", b"stored just now");
    tree.written(tree.data_of(&data), TODAY);
    let case = Case::of(&tree)
        .pushed(tree.layer_of("app", &layer), &layer)
        .pushed(tree.layer_of("app", &data), &data);
    assert_eq!(
        case.deeds().await,
        [
            "lost 2 of 6 blobs, 0 of 5 links; freed 4 of 4",
            "lost 2 of 6 blobs, 1 of 5 links; freed 4 of 4"
        ]
    );
    assert_eq!(case.garbage().await, image("app", "old"));
}

/// A client that finds a layer there does not upload it: the link is young and the data as old as it was.
#[tokio::test]
async fn a_push_that_reuses_old_data_keeps_it() {
    require!("docker-registry", "registry-3.1");
    let mut tree = tree();
    let reused = tree.find("old.layer-1");
    tree.link_layer("new", &reused);
    tree.written(tree.layer_of("new", &reused), TODAY);
    let case = Case::of(&tree).pushed(tree.layer_of("new", &reused), &reused);
    assert_eq!(
        case.deeds().await,
        [
            "lost 1 of 5 blobs, 0 of 5 links; freed 3 of 3",
            "lost 1 of 5 blobs, 0 of 5 links; freed 3 of 3"
        ]
    );
    let mut expected = image("app", "old");
    expected.retain(|row| row != "layer app old.layer-1");
    expected.push("layer_link app old.layer-1".to_owned());
    assert_eq!(case.garbage().await, rows(&[expected], &[]));
}

/// A manifest without a tag that was pushed today: its tag, or its index, may come.
#[tokio::test]
async fn a_manifest_of_today_keeps_all_that_it_names() {
    require!("docker-registry", "registry-3.1");
    let mut tree = tree();
    let child = tree.image("app", "child");
    tree.written(tree.revision_of("app", &child), TODAY);
    let mut case = Case::of(&tree).pushed(tree.revision_of("app", &child), &child);
    for name in ["child.config", "child.layer-1", "child.layer-2"] {
        let object = tree.find(name);
        case = case.pushed(tree.layer_of("app", &object), &object);
    }
    assert_eq!(
        case.deeds().await,
        [
            "lost 4 of 8 blobs, 1 of 8 links; freed 4 of 4",
            "lost 4 of 8 blobs, 4 of 8 links; freed 4 of 4"
        ]
    );
    assert_eq!(case.garbage().await, image("app", "old"));
}

/// A push over a slow line may take days; what was linked since it began may be its own, and so may be
/// what no manifest names. The registry takes a push away after a week, and then nothing waits for it.
#[tokio::test]
async fn a_push_that_takes_days_keeps_what_may_be_its_own() {
    require!("docker-registry", "registry-3.1");
    for (begun, is_kept) in [
        ("2026-01-05T00:00:00Z", true),
        // A child may have been there before, and wait for the index.
        ("2026-01-07T00:00:00Z", true),
        ("2026-01-02T00:00:00Z", false),
        // Nobody knows since when.
        ("", true),
        ("long ago", true),
    ] {
        let mut tree = tree();
        let tagged = tree.image("pushed", "tagged");
        tree.tag("pushed", "v1", &tagged);
        let lone = tree.layer("pushed", "lone");
        let untagged = tree.image("pushed", "untagged");
        tree.written(tree.layer_of("pushed", &lone), THIS_WEEK);
        tree.written(tree.revision_of("pushed", &untagged), THIS_WEEK);
        for name in ["untagged.config", "untagged.layer-1", "untagged.layer-2"] {
            tree.written(tree.layer_of("pushed", &tree.find(name)), THIS_WEEK);
        }
        upload(&tree, "pushed", begun);
        let case = Case::of(&tree).pushed(tree.layer_of("pushed", &lone), &lone);
        assert_eq!(
            case.deeds().await,
            [
                "lost 1 of 9 blobs, 0 of 9 links; freed 8 of 8",
                "lost 1 of 9 blobs, 1 of 9 links; freed 8 of 8"
            ],
            "{begun:?}"
        );
        let mut garbage = vec![image("app", "old")];
        if !is_kept {
            garbage.extend([
                image("pushed", "untagged"),
                vec!["layer pushed lone".to_owned()],
            ]);
        }
        let case = Case::of(&tree);
        assert_eq!(case.garbage().await, rows(&garbage, &[]), "{begun:?}");
    }
}

#[tokio::test]
async fn an_upload_without_a_start_and_its_bytes_stay() {
    require!("docker-registry", "registry-3.1");
    let mut tree = tree();
    let upload = upload(&tree, "uploading", "2025-12-31T00:00:00Z");
    fs::remove_file(upload.join("startedat")).unwrap();
    let layer = tree.layer("uploading", "pushed");
    let case = Case::of(&tree).pushed(tree.layer_of("uploading", &layer), &layer);
    assert_eq!(
        case.deeds().await,
        [
            "lost 1 of 5 blobs, 0 of 5 links; freed 4 of 4",
            "lost 1 of 5 blobs, 0 of 5 links; freed 4 of 4"
        ]
    );
    let ours = case.plan().await;
    assert_eq!(case.told(&ours.planned.rows()), image("app", "old"));
    let below = upload.strip_prefix(tree.root()).unwrap();
    assert!(ours.root().join(below).join("data").exists());
}

/// A first push that died, or is under way: distribution's collectors do not look into such a repository,
/// and leave its links to data that is gone.
#[tokio::test]
async fn a_repository_of_layers_alone_goes_when_it_is_old() {
    require!("docker-registry", "registry-3.1");
    let mut tree = tree();
    let died = tree.layer("dead", "died");
    let layer = young_layer(&mut tree, "new", "pushed");
    let case = Case::of(&tree).pushed(tree.layer_of("new", &layer), &layer);
    let [old, new] = case.peers().await;
    assert_eq!(
        [&*old.deed, &*new.deed],
        [
            "lost 1 of 5 blobs, 0 of 5 links; freed 5 of 5",
            "lost 1 of 5 blobs, 0 of 5 links; freed 5 of 5"
        ]
    );
    let link = tree.layer_of("dead", &died);
    let link = link.strip_prefix(tree.root()).unwrap();
    assert!(old.collected.root().join(link).exists());
    assert!(new.collected.root().join(link).exists());
    let expected = rows(&[image("app", "old")], &["layer dead died"]);
    assert_eq!(case.garbage().await, expected);
}

#[tokio::test]
async fn a_repository_without_layers_is_no_reason_to_stop() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::repository_without_layers();
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "lost 1 of 5 blobs, 0 of 5 links; freed 4 of 4",
            "aborted (/docker/registry/v2/repositories/lone/_layers), lost 0 of 5 blobs, 0 of 5 links; freed 0 of 4"
        ]
    );
    assert_eq!(case.garbage().await, image("app", "old"));
}

/// Nobody can pull its tag, and its links are all that lacks.
#[tokio::test]
async fn a_repository_without_revisions_keeps_what_its_tags_name() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::repository_without_revisions();
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "lost 0 of 4 blobs, 0 of 4 links; freed 8 of 8",
            "lost 0 of 4 blobs, 0 of 4 links; freed 8 of 8"
        ]
    );
    assert_eq!(case.garbage().await, image("app", "old"));
}

#[tokio::test]
async fn a_repository_may_lie_within_another() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::repositories_within_others();
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "lost 0 of 16 blobs, 0 of 16 links; freed 16 of 16",
            "lost 0 of 16 blobs, 0 of 16 links; freed 16 of 16"
        ]
    );
    let expected = [
        image("a", "old-a"),
        image("a/b", "old-a-in-b"),
        image("a/b/c", "old-a-in-b-in-c"),
        image("a-b", "old-a-b"),
    ];
    assert_eq!(case.garbage().await, rows(&expected, &[]));
}
