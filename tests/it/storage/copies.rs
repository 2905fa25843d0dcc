//! A bucket without versions: a copy is proven before anything goes.

use std::io::ErrorKind;

use pullproof::oci::digest::Digest;
use pullproof::storage::s3::{CopyBounds, Fence, Removed};

use super::between::Fault;
use super::bucket::{Bed, blob, is_delete};
use super::tree::Tree;
use crate::support::parts::require;

const MIB: u64 = 1 << 20;
/// What needs parts, and small ones: S3 takes 5 MiB at least.
const SMALL: CopyBounds = CopyBounds {
    whole_max: 8 * MIB,
    part: 5 * MIB,
};

fn quarantined(path: &str) -> String {
    format!("pullproof/quarantine/01J/{path}")
}

fn is_copy(method: &str, path: &str) -> bool {
    method == "PUT" && path.contains("quarantine")
}

fn is_part(method: &str, path: &str) -> bool {
    method == "PUT" && path.contains("partNumber=")
}

/// 12 MiB, no two parts alike.
fn large() -> Vec<u8> {
    (0..12 * MIB / 8).flat_map(u64::to_le_bytes).collect()
}

/// Uploads that were begun and neither ended nor aborted, as versitygw keeps them.
fn open_uploads(bed: &Bed) -> usize {
    let uploads = bed.server.bucket().join(".sgwtmp/multipart");
    let Ok(objects) = std::fs::read_dir(uploads) else {
        return 0;
    };
    let of_each = objects.map(|object| std::fs::read_dir(object.unwrap().path()).unwrap().count());
    of_each.sum()
}

#[tokio::test]
async fn a_copy_is_the_content_in_one_piece_or_in_parts() {
    require!("versitygw");
    let bed = Bed::without_versions().await;
    let large = large();
    for (content, parts) in [(&b"small"[..], 0), (&large, 3), (b"", 0)] {
        let path = bed.push_blob(content).await;
        let to = quarantined(&path);
        bed.between.heal();
        let copied = bed.s3.copy(&path, &to, SMALL).await.unwrap();
        assert_eq!(copied.from.size, content.len() as u64);
        assert_eq!(copied.to.size, copied.from.size);
        assert_eq!(bed.asked(is_part), parts);
        assert!(bed.content(&to).await.unwrap() == content);
        assert!(bed.content(&path).await.unwrap() == content);
        assert_eq!(open_uploads(&bed), 0);
        // Asked again, it is proven again and not copied.
        let again = bed.s3.copy(&path, &to, SMALL).await.unwrap();
        assert_eq!(again, copied);
        assert_eq!(bed.asked(is_copy), 0);
        // Away, and back.
        let etag = copied.from.etag.clone().unwrap();
        assert_eq!(
            bed.s3.remove(&path, &etag, Fence::NONE).await.unwrap(),
            Removed::Now
        );
        assert_eq!(bed.content(&path).await, None);
        assert_eq!(
            bed.s3.remove(&path, &etag, Fence::NONE).await.unwrap(),
            Removed::Absent
        );
        let problem = bed.s3.copy(&path, &to, SMALL).await.unwrap_err();
        assert_eq!(problem.kind(), ErrorKind::NotFound, "{problem}");
        bed.s3.copy(&to, &path, SMALL).await.unwrap();
        assert!(bed.content(&path).await.unwrap() == content);
    }
    // A link, which has no digest in its content's name.
    let link = "docker/registry/v2/repositories/a/_layers/sha256/ab/link";
    bed.push(link, b"sha256:ab").await;
    bed.between.heal();
    bed.s3.copy(link, &quarantined(link), SMALL).await.unwrap();
    assert_eq!(bed.content(&quarantined(link)).await.unwrap(), b"sha256:ab");
    // Its ETag proves it, and nothing is read.
    assert_eq!(bed.asked(|method, _| method == "GET"), 1);
    for (from, to) in [(link, link), (link, "elsewhere"), ("elsewhere", link)] {
        let problem = bed.s3.copy(from, to, SMALL).await.unwrap_err();
        assert_eq!(problem.kind(), ErrorKind::InvalidInput, "{problem}");
    }
}

/// A digest says what the content must be; where there is none and no ETag, both are read.
#[tokio::test]
async fn a_copy_that_is_none_is_refused() {
    require!("versitygw");
    let bed = Bed::without_versions().await;
    let path = blob(b"one");
    let tree = Tree::new(&bed.server.bucket(), "deep/er");
    tree.write(path.strip_prefix("docker/registry/v2/").unwrap(), "two");
    let problem = bed
        .s3
        .copy(&path, &quarantined(&path), SMALL)
        .await
        .unwrap_err();
    assert_eq!(problem.kind(), ErrorKind::InvalidData, "{problem}");
    let content = format!("its content is {}", Digest::of(b"two"));
    assert!(problem.to_string().contains(&content), "{problem}");

    let link = "docker/registry/v2/repositories/a/_layers/sha256/ab/link";
    tree.write_without_etag("repositories/a/_layers/sha256/ab/link", "sha256:ab");
    bed.push(&quarantined(link), b"sha256:cd").await;
    // It is there already, and is another one: nothing is written over it.
    bed.answer_head(&[
        ("content-length", "9".to_owned()),
        ("etag", "one-2".to_owned()),
    ]);
    let problem = bed
        .s3
        .copy(link, &quarantined(link), SMALL)
        .await
        .unwrap_err();
    assert_eq!(problem.kind(), ErrorKind::AlreadyExists, "{problem}");
    assert!(problem.to_string().contains("its content is"), "{problem}");
    assert_eq!(bed.content(&quarantined(link)).await.unwrap(), b"sha256:cd");
    let longer = quarantined("docker/registry/v2/longer");
    bed.push(&longer, b"sha256:ab and more").await;
    bed.answer_head(&[
        ("content-length", "9".to_owned()),
        ("etag", "one-2".to_owned()),
    ]);
    let problem = bed.s3.copy(link, &longer, SMALL).await.unwrap_err();
    assert_eq!(problem.kind(), ErrorKind::AlreadyExists, "{problem}");
    assert!(problem.to_string().contains("18 bytes, not 9"), "{problem}");
    // Alike by content, whatever the ETags are.
    let alike = quarantined("docker/registry/v2/alike");
    bed.push(&alike, b"sha256:ab").await;
    bed.answer_head(&[
        ("content-length", "9".to_owned()),
        ("etag", "one-2".to_owned()),
    ]);
    bed.s3.copy(link, &alike, SMALL).await.unwrap();
}

/// O6: an answer may be a success and hold an error.
#[tokio::test]
async fn an_error_in_a_success_is_no_copy() {
    require!("versitygw");
    let bed = Bed::without_versions().await;
    let path = bed.push_blob(b"one").await;
    let to = quarantined(&path);
    for (what, fault, words) in [
        (
            "denied",
            Fault::error(200, "AccessDenied"),
            "allow s3:GetObject and s3:PutObject",
        ),
        (
            "broken",
            Fault::error(200, "InternalError"),
            "200 (InternalError)",
        ),
        (
            "nothing",
            Fault::Answer(200, &[], String::new()),
            "is none, or is cut",
        ),
        (
            "changed",
            Fault::error(412, "PreconditionFailed"),
            "written anew while it was copied",
        ),
        (
            "gone",
            Fault::error(404, "NoSuchKey"),
            "there is no such object",
        ),
    ] {
        bed.between.heal();
        bed.between.when(0..99, fault, is_copy);
        let problem = bed
            .s3
            .copy(&path, &to, SMALL)
            .await
            .unwrap_err()
            .to_string();
        assert!(problem.contains(words), "{what}: {problem}");
        assert_eq!(bed.content(&to).await, None, "{what}");
    }
    // A copy is the same twice as once.
    for fault in [
        Fault::error(503, "SlowDown"),
        Fault::error(200, "InternalError"),
        Fault::Broken,
    ] {
        bed.between.heal();
        bed.between.when(0..2, fault, is_copy);
        bed.s3.copy(&path, &to, SMALL).await.unwrap();
        assert_eq!(bed.content(&to).await.unwrap(), b"one");
        assert_eq!(
            bed.other
                .remove(&to, &bed.etag(&to).await, Fence::NONE)
                .await
                .unwrap(),
            Removed::Now
        );
    }
    // What says that it has copied and has not.
    let claim = "<CopyObjectResult><ETag>\"e\"</ETag></CopyObjectResult>";
    bed.between.heal();
    bed.between
        .when(0..1, Fault::Answer(200, &[], claim.to_owned()), is_copy);
    let problem = bed
        .s3
        .copy(&path, &to, SMALL)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        problem.contains("was copied, and is not there"),
        "{problem}"
    );
}

#[tokio::test]
async fn an_object_that_is_written_anew_is_not_copied_for_the_old_one() {
    require!("versitygw");
    let bed = Bed::without_versions().await;
    for content in [&b"one"[..], &large()] {
        let path = bed.push_blob(content).await;
        let size = content.len().to_string();
        let stale = [("content-length", size), ("etag", "\"before\"".to_owned())];
        bed.answer_head(&stale);
        let problem = bed
            .s3
            .copy(&path, &quarantined(&path), SMALL)
            .await
            .unwrap_err();
        assert!(problem.to_string().contains("written anew"), "{problem}");
        assert_eq!(bed.content(&quarantined(&path)).await, None);
        assert_eq!(open_uploads(&bed), 0);
        bed.between.heal();
    }
}

/// O10: parts that nobody sees are paid for.
#[tokio::test]
async fn an_upload_that_fails_is_aborted() {
    require!("versitygw");
    let bed = Bed::without_versions().await;
    let path = bed.push_blob(&large()).await;
    let to = quarantined(&path);
    let is_begun = |method: &str, path: &str| method == "POST" && path.contains("uploads=");
    let is_completed = |method: &str, path: &str| method == "POST" && path.contains("uploadId=");
    for (what, at_part, fault, words) in [
        (
            "a part is denied",
            true,
            Fault::error(403, "AccessDenied"),
            "allow s3:GetObject and",
        ),
        (
            "a part is an error",
            true,
            Fault::error(200, "AccessDenied"),
            "UploadPartCopy",
        ),
        ("a part is lost", true, Fault::Broken, "cannot be asked"),
        (
            "it is not completed",
            false,
            Fault::error(200, "InternalError"),
            "is not known",
        ),
        (
            "it is cut",
            false,
            Fault::Answer(200, &[], " ".to_owned()),
            "is not known",
        ),
    ] {
        bed.between.heal();
        if at_part {
            bed.between.when(1..99, fault, is_part);
        } else {
            bed.between.when(0..99, fault, is_completed);
        }
        let problem = bed
            .s3
            .copy(&path, &to, SMALL)
            .await
            .unwrap_err()
            .to_string();
        assert!(problem.contains(words), "{what}: {problem}");
        assert_eq!(bed.asked(is_delete), 1, "{what}");
        assert_eq!(open_uploads(&bed), 0, "{what}");
        assert_eq!(bed.content(&to).await, None, "{what}");
    }
    // Completed, and nobody was told: asked again, it is there.
    bed.between.heal();
    bed.between.when(0..1, Fault::Broken, is_completed);
    let problem = bed
        .s3
        .copy(&path, &to, SMALL)
        .await
        .unwrap_err()
        .to_string();
    assert!(problem.contains("is not known"), "{problem}");
    bed.between.heal();
    bed.s3.copy(&path, &to, SMALL).await.unwrap();
    assert_eq!(bed.asked(is_begun), 0);
    assert_eq!(open_uploads(&bed), 0);
    // An abort that fails is told, with what to allow.
    let other = quarantined("docker/registry/v2/other");
    bed.between.heal();
    bed.between
        .when(0..99, Fault::error(403, "AccessDenied"), is_part);
    bed.between
        .when(0..99, Fault::error(403, "AccessDenied"), is_delete);
    let problem = bed
        .s3
        .copy(&path, &other, SMALL)
        .await
        .unwrap_err()
        .to_string();
    assert!(problem.contains("could not be aborted"), "{problem}");
    assert!(
        problem.contains("allow s3:AbortMultipartUpload"),
        "{problem}"
    );
    assert_eq!(open_uploads(&bed), 1);
}
