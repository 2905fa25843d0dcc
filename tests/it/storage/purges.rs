//! A bucket with versions: exactly one version goes for good, and only a listing says that it went.

use std::io::ErrorKind;

use pullproof::storage::s3::{Fence, Marked, Purged, PutBack, Version, VersionId};

use super::between::Fault;
use super::bucket::{Bed, is_delete};
use crate::support::parts::require;

async fn taken(bed: &Bed, content: &[u8]) -> (String, VersionId) {
    let path = bed.push_blob(content).await;
    let version = bed.version(&path).await;
    let marked = bed
        .s3
        .take(&[(&path, &version)], Fence::NONE)
        .await
        .remove(0)
        .unwrap();
    assert!(matches!(marked, Marked::Now { .. }), "{marked:?}");
    (path, version)
}

#[tokio::test]
async fn a_version_goes_with_its_markers_and_nothing_else_does() {
    require!("versitygw");
    let bed = Bed::with_versions().await;
    let (path, version) = taken(&bed, b"one").await;
    let (other, other_version) = taken(&bed, b"two").await;
    bed.between.heal();
    assert_eq!(
        bed.s3.purge(&path, &version, Fence::NONE).await.unwrap(),
        Purged::Gone
    );
    // Each deletion names what it deletes.
    let seen = bed.between.take_seen();
    let deletions = seen
        .iter()
        .filter(|seen| is_delete(&seen.method, &seen.path));
    let deletions: Vec<&str> = deletions.map(|seen| seen.path.as_str()).collect();
    assert!(deletions.len() >= 2, "{deletions:?}");
    assert!(
        deletions.iter().all(|path| path.contains("versionId=")),
        "{deletions:?}"
    );
    assert!(seen.iter().all(|seen| seen.method != "POST"), "{seen:?}");
    assert_eq!(bed.history(&path).await, None);
    assert_eq!(
        bed.contents(&other).await,
        std::slice::from_ref(&other_version)
    );
    // Asked again, it is gone.
    assert_eq!(
        bed.s3.purge(&path, &version, Fence::NONE).await.unwrap(),
        Purged::Gone
    );
    let problem = bed.s3.put_back(&path, &version).await.unwrap_err();
    assert_eq!(problem.kind(), ErrorKind::NotFound);
    bed.s3.put_back(&other, &other_version).await.unwrap();
    assert_eq!(bed.content(&other).await.unwrap(), b"two");
}

#[tokio::test]
async fn what_was_put_back_is_not_deleted() {
    require!("versitygw");
    let bed = Bed::with_versions().await;
    let (path, version) = taken(&bed, b"one").await;
    bed.s3.put_back(&path, &version).await.unwrap();
    bed.between.heal();
    assert_eq!(
        bed.s3.purge(&path, &version, Fence::NONE).await.unwrap(),
        Purged::Live
    );
    assert_eq!(bed.asked(is_delete), 0);
    assert_eq!(bed.content(&path).await.unwrap(), b"one");
}

#[tokio::test]
async fn another_version_of_the_same_key_stays_as_it_is() {
    require!("versitygw");
    let bed = Bed::with_versions().await;
    // Pushed since, and what its key is now.
    let (path, first) = taken(&bed, b"one").await;
    bed.push(&path, b"one").await;
    let second = bed.version(&path).await;
    assert_eq!(
        bed.s3.purge(&path, &first, Fence::NONE).await.unwrap(),
        Purged::Gone
    );
    assert_eq!(bed.contents(&path).await, std::slice::from_ref(&second));
    assert_eq!(bed.version(&path).await, second);
    assert_eq!(bed.content(&path).await.unwrap(), b"one");

    // Pushed and taken since: it stays taken, and comes back.
    let (path, first) = taken(&bed, b"two").await;
    bed.push(&path, b"two").await;
    let second = bed.version(&path).await;
    bed.s3
        .take(&[(&path, &second)], Fence::NONE)
        .await
        .remove(0)
        .unwrap();
    assert_eq!(
        bed.s3.purge(&path, &first, Fence::NONE).await.unwrap(),
        Purged::Gone
    );
    assert_eq!(bed.contents(&path).await, std::slice::from_ref(&second));
    assert_eq!(bed.other.current(&path).await.unwrap(), None);
    let back = bed.s3.put_back(&path, &second).await.unwrap();
    assert_eq!(back, PutBack::Back { version: second });
    assert_eq!(bed.content(&path).await.unwrap(), b"two");
}

/// The answer to a deletion is no proof, whatever it is.
#[tokio::test]
async fn only_a_listing_says_that_a_version_is_gone() {
    require!("versitygw");
    let bed = Bed::with_versions().await;
    let (path, version) = taken(&bed, b"one").await;
    for (what, fault) in [
        ("a success", Fault::Answer(204, &[], String::new())),
        ("no such version", Fault::error(404, "NoSuchVersion")),
        ("no such key", Fault::error(404, "NoSuchKey")),
        ("versitygw's", Fault::error(400, "InvalidArgument")),
    ] {
        bed.between.heal();
        bed.between.when(0..99, fault, is_delete);
        let problem = bed
            .s3
            .purge(&path, &version, Fence::NONE)
            .await
            .unwrap_err()
            .to_string();
        assert!(problem.contains("is still there"), "{what}: {problem}");
        assert!(problem.contains(&path), "{what}: {problem}");
    }
    // O8: a lock is no reason to ask again and again.
    bed.between.heal();
    bed.between
        .when(0..99, Fault::error(403, "AccessDenied"), is_delete);
    let problem = bed
        .s3
        .purge(&path, &version, Fence::NONE)
        .await
        .unwrap_err();
    assert_eq!(problem.kind(), ErrorKind::PermissionDenied);
    assert!(problem.to_string().contains("an object lock"), "{problem}");
    assert_eq!(bed.asked(is_delete), 1);
    // Unknown, all the time: an error. Asked again it is right.
    bed.between.heal();
    bed.between.when(0..99, Fault::Broken, is_delete);
    let problem = bed
        .s3
        .purge(&path, &version, Fence::NONE)
        .await
        .unwrap_err()
        .to_string();
    assert!(problem.contains("cannot be asked"), "{problem}");
    bed.between.heal();
    assert_eq!(
        bed.s3.purge(&path, &version, Fence::NONE).await.unwrap(),
        Purged::Gone
    );
    assert_eq!(bed.history(&path).await, None);

    // Without a listing nothing is known, and nothing is deleted.
    let (path, version) = taken(&bed, b"two").await;
    bed.between.heal();
    bed.between
        .when(0..99, Fault::error(403, "AccessDenied"), |_, path| {
            path.contains("versions=")
        });
    let problem = bed
        .s3
        .purge(&path, &version, Fence::NONE)
        .await
        .unwrap_err()
        .to_string();
    let way_out = "allow s3:ListBucketVersions on the bucket `registry`";
    assert!(problem.contains(way_out), "{problem}");
    assert_eq!(bed.asked(is_delete), 0);
}

/// A crash between the version and its markers.
#[tokio::test]
async fn what_an_error_left_undone_is_done_when_it_is_asked_again() {
    require!("versitygw");
    let bed = Bed::with_versions().await;
    let (path, version) = taken(&bed, b"one").await;
    bed.between.heal();
    bed.between
        .when(1..99, Fault::error(403, "AccessDenied"), is_delete);
    bed.s3
        .purge(&path, &version, Fence::NONE)
        .await
        .unwrap_err();
    assert_eq!(bed.contents(&path).await, []);
    let left = bed.history(&path).await.unwrap();
    assert!(left.versions.iter().all(Version::is_marker), "{left:?}");
    bed.between.heal();
    assert_eq!(
        bed.s3.purge(&path, &version, Fence::NONE).await.unwrap(),
        Purged::Gone
    );
    assert_eq!(bed.history(&path).await, None);
}
