//! A bucket without versions: what goes is what was copied.

use std::io::ErrorKind;

use pullproof::storage::s3::{Etag, Fence, Removed};

use super::between::Fault;
use super::bucket::{Bed, is_delete};
use crate::support::parts::require;

#[tokio::test]
async fn only_what_was_copied_is_removed() {
    require!("versitygw");
    let bed = Bed::without_versions().await;
    let path = bed.push_blob(b"one").await;
    let etag = bed.etag(&path).await;
    let other = Etag::new("other").unwrap();
    bed.between.heal();
    assert_eq!(
        bed.s3.remove(&path, &other, Fence::NONE).await.unwrap(),
        Removed::Changed
    );
    assert_eq!(bed.asked(is_delete), 0);
    // Written anew between the look and the deletion: the server itself knows.
    bed.answer_head(&[
        ("content-length", "3".to_owned()),
        ("etag", "other".to_owned()),
    ]);
    assert_eq!(
        bed.s3.remove(&path, &other, Fence::NONE).await.unwrap(),
        Removed::Changed
    );
    assert_eq!(bed.asked(is_delete), 1);
    assert_eq!(bed.content(&path).await.unwrap(), b"one");
    // Unknown is an error, and not asked again: what is there then may be another push's.
    for (what, fault, after) in [
        ("before", Fault::error(500, "InternalError"), Removed::Now),
        (
            "a proxy's",
            Fault::Answer(504, &[], String::new()),
            Removed::Now,
        ),
        ("after", Fault::Broken, Removed::Absent),
        (
            "late",
            Fault::late_error(500, "InternalError"),
            Removed::Absent,
        ),
    ] {
        bed.between.heal();
        bed.push(&path, b"one").await;
        bed.between.when(0..1, fault, is_delete);
        let problem = bed
            .s3
            .remove(&path, &etag, Fence::NONE)
            .await
            .unwrap_err()
            .to_string();
        for words in ["is not known", "DeleteObject of", &path, "`registry`"] {
            assert!(problem.contains(words), "{what}: {problem}");
        }
        assert_eq!(bed.asked(is_delete), 1, "{what}");
        assert_eq!(
            bed.s3.remove(&path, &etag, Fence::NONE).await.unwrap(),
            after,
            "{what}"
        );
        assert_eq!(bed.content(&path).await, None, "{what}");
    }
    // A server without conditions.
    bed.between.heal();
    bed.push(&path, b"one").await;
    bed.between
        .when(0..1, Fault::error(501, "NotImplemented"), is_delete);
    assert_eq!(
        bed.s3.remove(&path, &etag, Fence::NONE).await.unwrap(),
        Removed::Now
    );
    assert_eq!(bed.asked(is_delete), 2);
    assert_eq!(bed.content(&path).await, None);
    for path in ["backups/db.dump", "docker/registry/v2/a/../../b"] {
        let problem = bed.s3.remove(path, &etag, Fence::NONE).await.unwrap_err();
        assert_eq!(problem.kind(), ErrorKind::InvalidInput);
    }
}
