//! Symbolic links, which registries follow and a plan does not.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::case::{Case, image};
use super::tree::sound;
use crate::support::parts::require;

/// Nothing leads out of the tree, and what a symbolic link hides is not known.
#[tokio::test]
async fn a_symbolic_link_keeps_its_repository() {
    require!("docker-registry", "registry-3.1");
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("link"), "sha256:").unwrap();
    let cases = [
        // To nowhere.
        (
            "_manifests/revisions/sha256/REVISION/link",
            "nowhere".into(),
        ),
        ("_manifests/revisions/sha256/REVISION", "nowhere".into()),
        // To itself.
        ("_manifests/tags/v1", "v1".into()),
        ("_layers/sha256/LAYER/link", elsewhere.path().join("link")),
    ];
    for (number, (path, target)) in cases.into_iter().enumerate() {
        let tree = sound();
        let path = path
            .replace("REVISION", tree.find("app").hex())
            .replace("LAYER", tree.find("app.layer-1").hex());
        let path = tree.repository("app").join(path);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        symlink(target, &path).unwrap();
        let case = Case::of(&tree);
        let expected = [
            [
                "lost 8 of 12 blobs, 1 of 12 links; freed 4 of 4",
                "lost 8 of 12 blobs, 7 of 12 links; freed 4 of 4",
            ],
            [
                "lost 8 of 12 blobs, 1 of 11 links; freed 4 of 4",
                "lost 8 of 12 blobs, 7 of 11 links; freed 4 of 4",
            ],
            [
                "aborted (too many levels of symbolic links), lost 0 of 12 blobs, 0 of 12 links; freed 0 of 4",
                "aborted (too many levels of symbolic links), lost 0 of 12 blobs, 0 of 12 links; freed 0 of 4",
            ],
            [
                "lost 4 of 12 blobs, 1 of 12 links; freed 4 of 4",
                "aborted (invalid checksum digest format), lost 0 of 12 blobs, 0 of 12 links; freed 0 of 4",
            ],
        ][number];
        assert_eq!(case.deeds().await, expected, "{}", path.display());
        let ours = case.plan().await;
        assert_eq!(
            case.told(&ours.planned.rows()),
            image("other", "other-old"),
            "{}",
            path.display()
        );
        assert_eq!(case.damaged(&ours).len(), 1);
    }
}

/// A part of the tree that an operator moved to a larger disk: a registry serves it and its collectors see
/// it, and whoever does not look there must not take what it needs.
#[tokio::test]
async fn what_lies_behind_a_symbolic_link_is_not_garbage() {
    require!("docker-registry", "registry-3.1");
    let told = behind(&[
        "repositories",
        "repositories/app/_layers",
        "repositories/app/_layers/sha256",
        "repositories/app/_manifests/revisions/sha256/CHILD",
        "repositories/app/_manifests/tags",
        "repositories/app/_manifests/tags/v1",
        "repositories/app/_manifests/tags/v1/current",
        "blobs",
        "blobs/sha256",
    ]);
    assert_eq!(told.await, [""; 0]);
}

#[tokio::test]
async fn what_lies_behind_a_symbolic_link_to_manifests_is_not_garbage() {
    require!("docker-registry", "registry-3.1");
    let told = behind(&[
        "repositories/app",
        "repositories/app/_manifests",
        "repositories/app/_manifests/revisions",
        "repositories/app/_manifests/revisions/sha256",
    ]);
    assert_eq!(told.await, [""; 0]);
}

/// Moves each place away, and tells of those of which a plan takes something.
async fn behind(places: &[&str]) -> Vec<String> {
    let mut taken = Vec::new();
    for place in places {
        let mut tree = sound();
        let (amd64, arm64) = (tree.image("app", "amd64"), tree.image("app", "arm64"));
        let index = tree.index("app", "index", &[&amd64, &arm64]);
        tree.tag("app", "multi", &index);
        let case = Case::of(&tree).needing_what_it_has();
        let place = place.replace("CHILD", amd64.hex());
        let place = tree.v2().join(place);
        // Below the root, so that a copy has a copy of it.
        fs::rename(&place, tree.root().join("away")).unwrap();
        let up = place
            .strip_prefix(tree.root())
            .unwrap()
            .components()
            .count()
            - 1;
        symlink(Path::new(&"../".repeat(up)).join("away"), &place).unwrap();
        assert_eq!(
            case.deeds().await,
            [
                "lost 6 of 17 blobs, 2 of 17 links; freed 8 of 8",
                "lost 0 of 17 blobs, 0 of 17 links; freed 8 of 8"
            ],
            "{}",
            place.display()
        );
        let outcome = case.outcome().await;
        let is_refused = outcome
            .as_ref()
            .err()
            .is_some_and(|it| it == &["listing_incomplete"]);
        if !is_refused && outcome != Ok(image("other", "other-old")) {
            taken.push(format!("{}: {outcome:?}", place.display()));
        }
    }
    taken
}
