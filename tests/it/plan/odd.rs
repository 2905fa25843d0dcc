//! What no registry writes, or left lying about when it died.

use std::os::unix::ffi::OsStringExt as _;

use super::case::{Case, image};
use super::scenes::odd as scenes;
use super::tree::{sound, write};
use crate::support::parts::require;

/// distribution 3 writes a file beside it and renames that.
#[tokio::test]
async fn files_that_were_to_be_renamed_mean_nothing() {
    require!("docker-registry", "registry-3.1");
    let scene = scenes::files_to_be_renamed();
    let case = scene.case();
    assert_eq!(
        case.deeds().await,
        [
            "lost 0 of 8 blobs, 0 of 8 links; freed 8 of 8",
            "lost 0 of 8 blobs, 0 of 8 links; freed 8 of 8"
        ]
    );
    let ours = case.plan().await;
    let all = super::case::rows(
        &[image("app", "untagged"), image("other", "other-old")],
        &[],
    );
    assert_eq!(case.told(&ours.planned.rows()), all);
    assert_eq!(case.damaged(&ours), [""; 0]);
}

#[tokio::test]
async fn a_foreign_file_keeps_its_repository() {
    require!("docker-registry", "registry-3.1");
    let zeros = "0".repeat(64);
    let within = format!("_manifests/revisions/sha256/{zeros}/README");
    for (path, damaged) in [
        ("README", None),
        ("_layers/README", None),
        ("_manifests/revisions/sha256/README", None),
        ("_manifests/tags/README", None),
        ("_manifests/tags/v1/README", None),
        ("_other/x", Some("_other")),
        (
            "_manifests/revisions/sha512/README",
            Some("_manifests/revisions/sha512"),
        ),
    ] {
        let tree = sound();
        write(&tree.repository("app").join(path), b"hello");
        let case = Case::of(&tree);
        let deed = if path == "_manifests/tags/README" {
            "aborted (not a directory), lost 0 of 8 blobs, 0 of 8 links; freed 0 of 8"
        } else {
            "lost 0 of 8 blobs, 0 of 8 links; freed 8 of 8"
        };
        assert_eq!(case.deeds().await, [deed, deed], "{path}");
        let ours = case.plan().await;
        let taken = case.told(&ours.planned.rows());
        assert_eq!(taken, image("other", "other-old"), "{path}");
        let damaged = format!("app: repositories/app/{}", damaged.unwrap_or(path));
        assert_eq!(case.damaged(&ours), [damaged], "{path}");
    }
    // A directory of a link may hold what it likes.
    let tree = sound();
    write(&tree.repository("app").join(within), b"hello");
    let case = Case::of(&tree);
    assert_eq!(
        case.deeds().await,
        [
            "lost 0 of 8 blobs, 0 of 8 links; freed 8 of 8",
            "lost 0 of 8 blobs, 0 of 8 links; freed 8 of 8"
        ]
    );
    let all = super::case::rows(
        &[image("app", "untagged"), image("other", "other-old")],
        &[],
    );
    assert_eq!(case.garbage().await, all);
}

/// Backups and other programs write there; they are nobody's links.
#[tokio::test]
async fn a_foreign_file_of_no_repository_stops_nothing() {
    require!("docker-registry", "registry-3.1");
    for path in [
        "blobs/README",
        "blobs/sha256/ab/README",
        "repositories/README",
        "README",
    ] {
        let tree = sound();
        write(&tree.v2().join(path), b"hello");
        let case = Case::of(&tree);
        assert_eq!(
            case.deeds().await,
            [
                "lost 0 of 8 blobs, 0 of 8 links; freed 8 of 8",
                "lost 0 of 8 blobs, 0 of 8 links; freed 8 of 8"
            ],
            "{path}"
        );
        let all = super::case::rows(
            &[image("app", "untagged"), image("other", "other-old")],
            &[],
        );
        assert_eq!(case.garbage().await, all, "{path}");
    }
}

#[tokio::test]
async fn pipes_and_odd_names_keep_their_repository() {
    require!("docker-registry", "registry-3.1");
    let name = std::ffi::OsString::from_vec(b"\xff\xfe".to_vec());
    let long = "x".repeat(255);
    for odd in 0..3 {
        let tree = sound();
        let revisions = tree.repository("app").join("_manifests/revisions/sha256");
        match odd {
            0 => {
                let pipe = revisions.join("pipe");
                let mut command = std::process::Command::new("mkfifo");
                command.arg(&pipe);
                crate::support::process::run_well(command).await;
            }
            1 => write(&revisions.join(&name).join("link"), b"sha256:"),
            _ => write(&revisions.join(&long).join("link"), b"sha256:"),
        }
        let case = Case::of(&tree);
        let expected = [
            [
                "lost 0 of 8 blobs, 0 of 8 links; freed 8 of 8",
                "lost 0 of 8 blobs, 0 of 8 links; freed 8 of 8",
            ],
            [
                "aborted (/docker/registry/v2/repositories/app/_manifests/revisions/sha256/\u{fffd}\u{fffd}/link), lost 0 of 12 blobs, 0 of 12 links; freed 0 of 4",
                "aborted (/docker/registry/v2/repositories/app/_manifests/revisions/sha256/\u{fffd}\u{fffd}/link), lost 0 of 12 blobs, 0 of 12 links; freed 0 of 4",
            ],
            [
                "aborted (invalid checksum digest format), lost 0 of 12 blobs, 0 of 12 links; freed 0 of 4",
                "aborted (invalid checksum digest format), lost 0 of 12 blobs, 0 of 12 links; freed 0 of 4",
            ],
        ][odd];
        assert_eq!(case.deeds().await, expected, "{odd}");
        let ours = case.plan().await;
        assert_eq!(
            case.told(&ours.planned.rows()),
            image("other", "other-old"),
            "{odd}"
        );
        assert_eq!(case.damaged(&ours).len(), 1, "{odd}");
    }
}

#[tokio::test]
async fn a_directory_in_the_place_of_a_file_is_refused() {
    require!("docker-registry", "registry-3.1");
    for is_data in [false, true] {
        let scene = if is_data {
            scenes::directory_as_data()
        } else {
            scenes::directory_as_revision()
        };
        let case = scene.case();
        let expected = if is_data {
            [
                "lost 0 of 7 blobs, 0 of 8 links; freed 8 of 9",
                "lost 0 of 7 blobs, 0 of 8 links; freed 8 of 9",
            ]
        } else {
            [
                "lost 8 of 12 blobs, 1 of 12 links; freed 4 of 4",
                "lost 8 of 12 blobs, 7 of 12 links; freed 4 of 4",
            ]
        };
        assert_eq!(case.deeds().await, expected);
        assert_eq!(case.refused().await, ["listing_incomplete"]);
    }
}
