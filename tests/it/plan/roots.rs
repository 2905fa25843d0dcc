//! Roots that are not a registry's whole storage, or another's.

use std::fs;

use super::case::Case;
use super::tree::{sound, write};
use crate::support::parts::require;

/// A volume that was not mounted, or another's: what is not there was not all deleted.
#[tokio::test]
async fn a_root_without_repositories_or_blobs_is_refused() {
    require!("docker-registry", "registry-3.1");
    for gone in ["v2/repositories", "v2/blobs", "v2"] {
        let tree = sound();
        fs::remove_dir_all(tree.root().join("docker/registry").join(gone)).unwrap();
        let case = Case::of(&tree);
        let code = if gone == "v2" {
            "storage_unsupported"
        } else {
            "listing_incomplete"
        };
        assert_eq!(case.refused().await, [code], "{gone}");
        let expected = match gone {
            "v2/repositories" => [
                "aborted (/docker/registry/v2/repositories), lost 0 of 0 blobs, 0 of 0 links; freed 0 of 16",
                "aborted (/docker/registry/v2/repositories), lost 0 of 0 blobs, 0 of 0 links; freed 0 of 16",
            ],
            "v2/blobs" => [
                "aborted (/docker/registry/v2/blobs), lost 0 of 0 blobs, 0 of 2 links; freed 0 of 0",
                "aborted (/docker/registry/v2/blobs), lost 0 of 0 blobs, 0 of 2 links; freed 0 of 0",
            ],
            _ => [
                "aborted (/docker/registry/v2/repositories), lost 0 of 0 blobs, 0 of 0 links; freed 0 of 0",
                "aborted (/docker/registry/v2/repositories), lost 0 of 0 blobs, 0 of 0 links; freed 0 of 0",
            ],
        };
        assert_eq!(case.deeds().await, expected, "{gone}");
    }
}

/// Another program's truth is in a database.
#[tokio::test]
async fn a_storage_that_a_database_owns_is_refused() {
    require!("docker-registry", "registry-3.1");
    let tree = sound();
    write(
        &tree
            .root()
            .join("docker/registry/lockfiles/database-in-use"),
        b"",
    );
    let case = Case::of(&tree);
    assert_eq!(case.refused().await, ["storage_unsupported"]);
    assert_eq!(
        case.deeds().await,
        [
            "lost 0 of 8 blobs, 0 of 8 links; freed 8 of 8",
            "lost 0 of 8 blobs, 0 of 8 links; freed 8 of 8"
        ]
    );
}
