//! A bucket with versions: what is taken is below a marker, whole, and comes back; whatever happens to the
//! answers in between.

use std::io::ErrorKind;

use pullproof::storage::s3::{Fence, Marked, PutBack, VersionId, Versioning};

use super::between::Fault;
use super::bucket::{Bed, blob, is_bulk, is_delete};
use super::tree::Tree;
use crate::support::parts::require;

pub(super) async fn take_one(
    bed: &Bed,
    path: &str,
    version: &VersionId,
) -> std::io::Result<Marked> {
    let mut all = bed.s3.take(&[(path, version)], Fence::NONE).await;
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// It is taken, and nothing was lost.
pub(super) async fn is_taken(bed: &Bed, path: &str, version: &VersionId) {
    assert_eq!(bed.other.current(path).await.unwrap(), None, "{path}");
    let history = bed.history(path).await.unwrap();
    assert!(history.latest().unwrap().is_marker(), "{history:?}");
    assert_eq!(history.newest_content().unwrap().id, *version);
}

#[tokio::test]
async fn what_is_taken_comes_back_as_it_was() {
    require!("versitygw");
    let bed = Bed::with_versions().await;
    assert_eq!(bed.s3.versioning().await.unwrap(), Versioning::Enabled);
    let contents: Vec<String> = (0..20).map(|number| format!("layer {number}")).collect();
    let mut taken = Vec::new();
    for content in &contents {
        let path = bed.push_blob(content.as_bytes()).await;
        let version = bed.version(&path).await;
        taken.push((path, version));
    }
    let kept = bed.push_blob(b"kept").await;
    let versions: Vec<(&str, &VersionId)> = taken
        .iter()
        .map(|(path, version)| (path.as_str(), version))
        .collect();
    bed.between.heal();
    for marked in bed.s3.take(&versions, Fence::NONE).await {
        assert!(
            matches!(marked, Ok(Marked::Now { marker: Some(_) })),
            "{marked:?}"
        );
    }
    assert_eq!(bed.asked(is_bulk), 1);
    for (path, version) in &taken {
        is_taken(&bed, path, version).await;
    }
    assert_eq!(bed.content(&kept).await.unwrap(), b"kept");
    // Asked again, nothing is deleted again.
    let before = bed.other.history("").await.unwrap();
    for marked in bed.s3.take(&versions, Fence::NONE).await {
        assert!(matches!(marked, Ok(Marked::Before { .. })), "{marked:?}");
    }
    assert_eq!(bed.asked(is_bulk), 0);
    assert_eq!(bed.other.history("").await.unwrap(), before);
    for ((path, version), content) in taken.iter().zip(&contents) {
        let version = version.clone();
        let back = bed.s3.put_back(path, &version).await.unwrap();
        assert_eq!(
            back,
            PutBack::Back {
                version: version.clone()
            }
        );
        assert_eq!(bed.content(path).await.unwrap(), content.as_bytes());
        let history = bed.history(path).await.unwrap();
        assert_eq!(history.versions.len(), 1, "{history:?}");
        let again = bed.s3.put_back(path, &version).await.unwrap();
        assert_eq!(again, PutBack::AlreadyLive { version });
        assert_eq!(bed.history(path).await.unwrap(), history);
    }
}

#[tokio::test]
async fn what_was_pushed_again_is_not_touched() {
    require!("versitygw");
    let bed = Bed::with_versions().await;
    let path = bed.push_blob(b"one").await;
    let first = bed.version(&path).await;
    bed.push(&path, b"one").await;
    let second = bed.version(&path).await;
    assert_ne!(first, second);
    let before = bed.history(&path).await;
    let marked = take_one(&bed, &path, &first).await.unwrap();
    let current = Some(second.clone());
    assert_eq!(marked, Marked::Changed { current });
    assert_eq!(bed.history(&path).await, before);

    // Pushed, and taken: another run's, for the first.
    assert!(matches!(
        take_one(&bed, &path, &second).await.unwrap(),
        Marked::Now { .. }
    ));
    let before = bed.history(&path).await;
    let marked = take_one(&bed, &path, &first).await.unwrap();
    assert_eq!(marked, Marked::Changed { current: None });
    assert_eq!(bed.history(&path).await, before);

    // Pushed after it was taken: nothing is to be put back.
    bed.push(&path, b"one").await;
    let third = bed.version(&path).await;
    let before = bed.history(&path).await;
    let back = bed.s3.put_back(&path, &second).await.unwrap();
    assert_eq!(back, PutBack::AlreadyLive { version: third });
    assert_eq!(bed.history(&path).await, before);
}

/// The race that is left: between the look and the deletion the same key is pushed again.
#[tokio::test]
async fn a_push_between_look_and_deletion_is_not_lost() {
    require!("versitygw");
    let bed = Bed::with_versions().await;
    let path = bed.push_blob(b"one").await;
    let first = bed.version(&path).await;
    let etag = bed.push(&path, b"one").await;
    let second = bed.version(&path).await;
    // What the look found before that push.
    bed.answer_head(&[
        ("x-amz-version-id", first.to_string()),
        ("etag", format!("\"{etag}\"")),
        ("content-length", "3".to_owned()),
    ]);
    let marked = take_one(&bed, &path, &first).await.unwrap();
    assert!(matches!(marked, Marked::Now { .. }), "{marked:?}");
    assert_eq!(bed.contents(&path).await, [second.clone(), first.clone()]);
    let back = bed.s3.put_back(&path, &first).await.unwrap();
    assert_eq!(
        back,
        PutBack::Back {
            version: second.clone()
        }
    );
    assert_eq!(bed.version(&path).await, second);
    assert_eq!(bed.contents(&path).await, [second, first]);
    assert_eq!(bed.content(&path).await.unwrap(), b"one");
}

#[tokio::test]
async fn a_version_that_is_not_there_is_told() {
    require!("versitygw");
    let bed = Bed::with_versions().await;
    let path = bed.push_blob(b"one").await;
    let version = bed.version(&path).await;
    let none = VersionId::new("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap();
    let absent = blob(b"never");
    let problem = take_one(&bed, &absent, &none).await.unwrap_err();
    assert_eq!(problem.kind(), ErrorKind::NotFound, "{problem}");
    let problem = bed.s3.put_back(&absent, &none).await.unwrap_err();
    assert_eq!(problem.kind(), ErrorKind::NotFound, "{problem}");
    take_one(&bed, &path, &version).await.unwrap();
    let before = bed.history(&path).await;
    for result in [
        take_one(&bed, &path, &none).await.map(|_| ()),
        bed.s3.put_back(&path, &none).await.map(|_| ()),
    ] {
        let problem = result.unwrap_err();
        assert_eq!(problem.kind(), ErrorKind::NotFound, "{problem}");
        assert!(problem.to_string().contains(none.as_str()), "{problem}");
    }
    assert_eq!(bed.history(&path).await, before);
    assert!(bed.s3.take(&[], Fence::NONE).await.is_empty());
}

#[tokio::test]
async fn without_versions_nothing_is_taken() {
    require!("versitygw");
    let bed = Bed::with_versions().await;
    let path = bed.push_blob(b"one").await;
    let version = bed.version(&path).await;
    bed.server.set_versioning(false);
    assert_eq!(bed.s3.versioning().await.unwrap(), Versioning::Suspended);
    let problem = take_one(&bed, &path, &version).await.unwrap_err();
    assert_eq!(problem.kind(), ErrorKind::Unsupported);
    assert!(problem.to_string().contains("is suspended"), "{problem}");
    assert_eq!(bed.content(&path).await.unwrap(), b"one");

    let bed = Bed::without_versions().await;
    let path = bed.push_blob(b"one").await;
    assert_eq!(bed.s3.versioning().await.unwrap(), Versioning::Never);
    let null = VersionId::new("null").unwrap();
    let problem = take_one(&bed, &path, &null).await.unwrap_err();
    assert_eq!(problem.kind(), ErrorKind::Unsupported);
    assert!(
        problem.to_string().contains("was never enabled"),
        "{problem}"
    );
    assert_eq!(bed.content(&path).await.unwrap(), b"one");
    // Not known is not enabled.
    bed.between
        .when(0..99, Fault::error(403, "AccessDenied"), |_, path| {
            path.contains("versioning")
        });
    let problem = take_one(&bed, &path, &null).await.unwrap_err();
    assert_eq!(problem.kind(), ErrorKind::PermissionDenied);
    let way_out = "allow s3:GetBucketVersioning on the bucket `registry`";
    assert!(problem.to_string().contains(way_out), "{problem}");
}

#[tokio::test]
async fn what_is_neither_the_registrys_nor_ours_is_not_touched() {
    require!("versitygw");
    let bed = Bed::with_versions().await;
    let version = VersionId::new("null").unwrap();
    for path in [
        "backups/db.dump",
        "docker/registry/v2",
        "docker/registry/v2x/blobs",
        "docker/registry/v2/../../../backups/db.dump",
        "docker/registry/v2/blobs/",
        "docker/registry/v2//blobs",
        "/docker/registry/v2/blobs",
        "pullproof",
        "",
    ] {
        for result in [
            take_one(&bed, path, &version).await.map(|_| ()),
            bed.s3.put_back(path, &version).await.map(|_| ()),
            bed.s3.purge(path, &version, Fence::NONE).await.map(|_| ()),
        ] {
            let problem = result.unwrap_err();
            assert_eq!(problem.kind(), ErrorKind::InvalidInput, "{path}: {problem}");
        }
    }
    assert_eq!(bed.asked(is_bulk), 0);
    let path = bed.push_blob(b"one").await;
    let version = bed.version(&path).await;
    let twice = bed
        .s3
        .take(&[(&path, &version), (&path, &version)], Fence::NONE)
        .await;
    // Of one it cannot be told what it is, and none is taken.
    let problem = twice[0].as_ref().unwrap_err();
    assert!(
        problem.to_string().contains("was not asked for"),
        "{problem}"
    );
    assert_eq!(bed.asked(is_bulk), 0);
    let problem = twice[1].as_ref().unwrap_err();
    assert!(problem.to_string().contains("is named twice"), "{problem}");
}

#[tokio::test]
async fn what_comes_back_is_proven_and_a_break_on_the_way_is_no_end() {
    require!("versitygw");
    let bed = Bed::with_versions().await;
    let path = bed.push_blob(b"one").await;
    let version = bed.version(&path).await;
    let etag = bed.etag(&path).await;
    let head = |version: &str, etag: &str, size: &str| {
        [
            ("x-amz-version-id", version.to_owned()),
            ("etag", etag.to_owned()),
            ("content-length", size.to_owned()),
        ]
    };
    for (lie, words) in [
        (
            head(version.as_str(), etag.as_str(), "4"),
            "a HEAD finds 4 bytes",
        ),
        (
            head(version.as_str(), "other", "3"),
            "a HEAD finds the ETag `other`",
        ),
        (
            head("01ARZ3NDEKTSV4RRFFQ69G5FAV", etag.as_str(), "3"),
            "a HEAD finds the version `01ARZ",
        ),
    ] {
        take_one(&bed, &path, &version).await.unwrap();
        bed.answer_head(&lie);
        let problem = bed
            .s3
            .put_back(&path, &version)
            .await
            .unwrap_err()
            .to_string();
        assert!(problem.contains(words), "{problem}");
        bed.between.heal();
        // It is back, and is now proven to be.
        let back = bed.s3.put_back(&path, &version).await.unwrap();
        assert_eq!(
            back,
            PutBack::AlreadyLive {
                version: version.clone()
            }
        );
    }
    take_one(&bed, &path, &version).await.unwrap();
    // A deletion of one version is the same twice as once.
    bed.between.when(0..1, Fault::Broken, is_delete);
    let back = bed.s3.put_back(&path, &version).await.unwrap();
    assert_eq!(
        back,
        PutBack::Back {
            version: version.clone()
        }
    );
    bed.between.heal();
    take_one(&bed, &path, &version).await.unwrap();
    bed.between
        .when(0..99, Fault::error(403, "AccessDenied"), is_delete);
    let problem = bed.s3.put_back(&path, &version).await.unwrap_err();
    assert_eq!(problem.kind(), ErrorKind::PermissionDenied);
    let problem = problem.to_string();
    assert!(
        problem.contains("allow s3:DeleteObjectVersion"),
        "{problem}"
    );
    assert!(problem.contains(&path), "{problem}");
    assert_eq!(bed.asked(is_delete), 1);
    is_taken(&bed, &path, &version).await;
}

/// What was written before the bucket had versions has one of no name.
#[tokio::test]
async fn what_was_there_before_the_versions_is_taken_too() {
    require!("versitygw");
    let bed = Bed::with_versions().await;
    let path = blob(b"old");
    let below = path.strip_prefix("docker/registry/v2/").unwrap();
    Tree::new(&bed.server.bucket(), "").write(below, "old");
    let null = VersionId::new("null").unwrap();
    assert_eq!(bed.contents(&path).await, std::slice::from_ref(&null));
    let marked = take_one(&bed, &path, &null).await.unwrap();
    assert!(matches!(marked, Marked::Now { .. }), "{marked:?}");
    is_taken(&bed, &path, &null).await;
    let back = bed.s3.put_back(&path, &null).await.unwrap();
    assert_eq!(back, PutBack::Back { version: null });
    assert_eq!(bed.content(&path).await.unwrap(), b"old");
}

/// Of more than S3 takes at once.
#[tokio::test]
async fn many_are_taken_in_batches() {
    require!("versitygw");
    let bed = Bed::with_versions().await;
    Tree::new(&bed.server.bucket(), "").repository("app", 1001);
    let below = "docker/registry/v2/blobs/";
    let all = bed.other.history(below).await.unwrap();
    let versions = all.iter().map(|it| (it.path.as_str(), &it.versions[0].id));
    let versions: Vec<(&str, &VersionId)> = versions.collect();
    assert_eq!(versions.len(), 1001);
    for marked in bed.s3.take(&versions, Fence::NONE).await {
        assert!(
            matches!(marked, Ok(Marked::Now { marker: Some(_) })),
            "{marked:?}"
        );
    }
    assert_eq!(bed.asked(is_bulk), 2);
    assert_eq!(bed.other.files(below).await.unwrap(), []);
    for (path, version) in versions.iter().step_by(100) {
        is_taken(&bed, path, version).await;
    }
    // After a page that ends with a null version versitygw 1.8 leaves out what keys are now: that is the
    // truth, or it is refused.
    match bed.other.history(below).await {
        Ok(taken) => {
            assert_eq!(taken.len(), 1001);
            assert!(taken.iter().all(|it| it.versions[0].is_marker()));
        }
        Err(problem) => {
            let words = "a version of it was left out";
            assert!(problem.to_string().contains(words), "{problem}");
        }
    }
}

/// Whoever may not do it any more sends nothing.
#[tokio::test]
async fn behind_a_fence_nothing_is_taken_away() {
    require!("versitygw");
    let bed = Bed::with_versions().await;
    let path = bed.push_blob(b"one").await;
    let version = bed.version(&path).await;
    let closed = Fence(&|| false);
    bed.between.heal();
    let problem = bed.s3.take(&[(&path, &version)], closed).await.remove(0);
    let problem = problem.unwrap_err().to_string();
    assert!(problem.contains("it was not asked"), "{problem}");
    let etag = bed.etag(&path).await;
    bed.s3.remove(&path, &etag, closed).await.unwrap_err();
    assert_eq!(bed.content(&path).await.unwrap(), b"one");
    take_one(&bed, &path, &version).await.unwrap();
    bed.s3.purge(&path, &version, closed).await.unwrap_err();
    is_taken(&bed, &path, &version).await;
    assert_eq!((bed.asked(is_bulk), bed.asked(is_delete)), (1, 0));
    bed.s3.put_back(&path, &version).await.unwrap();
    assert_eq!(bed.content(&path).await.unwrap(), b"one");
}
