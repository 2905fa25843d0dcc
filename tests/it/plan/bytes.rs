//! Data with other bytes than those of its digest.

use super::case::{Case, image, rows};
use super::tree::{OCI_MANIFEST, Tree, write};
use crate::support::parts::require;

#[tokio::test]
async fn a_tagged_manifest_that_is_no_json_stops_nobody_else() {
    require!("docker-registry", "registry-3.1");
    let mut tree = Tree::new();
    let app = tree.image("app", "app");
    tree.tag("app", "v1", &app);
    let junk = tree.manifest_of("app", "junk", OCI_MANIFEST, b"<html>502 Bad Gateway</html>");
    tree.tag("app", "v2", &junk);
    tree.image("app", "untagged");
    tree.sound("other");
    let case = Case::of(&tree);
    assert_eq!(
        case.deeds().await,
        [
            "aborted (invalid character '<' looking for beginning of value), lost 0 of 13 blobs, 0 of 13 links; freed 0 of 4",
            "aborted (invalid character '<' looking for beginning of value), lost 0 of 13 blobs, 0 of 13 links; freed 0 of 4"
        ]
    );
    case.keeps_all_of_app(&["app: repositories/app/_manifests: junk"])
        .await;
}

/// A crash or a bad disk: the bytes are not those of the digest. Nobody serves it, and what it named may
/// be all that is left to repair it from.
#[tokio::test]
async fn a_manifest_with_other_bytes_keeps_its_repository() {
    require!("docker-registry", "registry-3.1");
    for rest in [0, 200] {
        let mut tree = Tree::new();
        let app = tree.image("app", "app");
        tree.tag("app", "v1", &app);
        let hurt = tree.image("app", "hurt");
        tree.tag("app", "v2", &hurt);
        let whole = std::fs::read(tree.data_of(&hurt)).unwrap();
        write(&tree.data_of(&hurt), &whole[..rest]);
        tree.sound("other");
        let case = Case::of(&tree);
        assert_eq!(
            case.deeds().await,
            [
                "aborted (unexpected end of JSON input), lost 0 of 12 blobs, 0 of 12 links; freed 0 of 4",
                "aborted (unexpected end of JSON input), lost 0 of 12 blobs, 0 of 12 links; freed 0 of 4"
            ]
        );
        let ours = case.plan().await;
        assert_eq!(case.told(&ours.planned.rows()), image("other", "other-old"));
        assert_eq!(
            case.damaged(&ours),
            ["app: repositories/app/_manifests: hurt"]
        );
    }
}

/// Valid JSON that names other layers: who believes the bytes frees what the digest stands for.
#[tokio::test]
async fn a_manifest_that_was_overwritten_is_not_believed() {
    require!("docker-registry", "registry-3.1");
    let mut tree = Tree::new();
    let hurt = tree.image("app", "hurt");
    tree.tag("app", "v1", &hurt);
    let other = tree.image("app", "other");
    std::fs::copy(tree.data_of(&other), tree.data_of(&hurt)).unwrap();
    let case = Case::of(&tree);
    assert_eq!(
        case.deeds().await,
        [
            "lost 4 of 8 blobs, 1 of 8 links; freed 0 of 0",
            "lost 4 of 8 blobs, 4 of 8 links; freed 0 of 0"
        ]
    );
    let ours = case.plan().await;
    assert_eq!(case.told(&ours.planned.rows()), [""; 0]);
    assert_eq!(
        case.damaged(&ours),
        ["app: repositories/app/_manifests: hurt"]
    );
}

/// It is broken, and the verification says so; taking the rest of it would make it worse.
#[tokio::test]
async fn a_layer_with_other_bytes_stays() {
    require!("docker-registry", "registry-3.1");
    let mut tree = Tree::new();
    let app = tree.image("app", "app");
    tree.tag("app", "v1", &app);
    write(&tree.data_of(&tree.find("app.layer-1")), b"");
    write(&tree.data_of(&tree.find("app.layer-2")), b"other");
    tree.image("app", "old");
    write(&tree.data_of(&tree.find("old.layer-1")), b"");
    let case = Case::of(&tree);
    assert_eq!(
        case.deeds().await,
        [
            "lost 0 of 4 blobs, 0 of 4 links; freed 4 of 4",
            "lost 0 of 4 blobs, 0 of 4 links; freed 4 of 4"
        ]
    );
    let ours = case.plan().await;
    // One of them has no bytes to free, and goes with its data all the same.
    assert!(
        !ours
            .root()
            .join(
                tree.data_of(&tree.find("old.layer-1"))
                    .strip_prefix(tree.root())
                    .unwrap()
            )
            .exists()
    );
    let expected = rows(&[image("app", "old")], &[]);
    let told = case.told(&ours.planned.rows());
    let told: Vec<String> = told.iter().map(|row| row.replace(" (link)", "")).collect();
    assert_eq!(told, expected);
}
