//! What a server, a proxy or a network makes of the answer to a deletion: each key is known to be taken, or
//! it is an error, and asked again it is right.

use std::io::ErrorKind;

use pullproof::storage::s3::{Fence, Marked, PutBack, VersionId};

use super::between::Fault;
use super::bucket::{Bed, is_bulk, is_delete};
use super::takes::{is_taken, take_one};
use crate::support::parts::require;

/// O5: the answer is read key by key, and what it leaves out is not known.
#[tokio::test]
async fn a_bulk_deletion_is_what_its_answer_says_of_each_key() {
    require!("versitygw");
    let bed = Bed::with_versions().await;
    let (one, two) = (bed.push_blob(b"one").await, bed.push_blob(b"two").await);
    let (first, second) = (bed.version(&one).await, bed.version(&two).await);
    let both = [(one.as_str(), &first), (two.as_str(), &second)];

    let forgotten = one.clone();
    let forgets = Fault::rewritten(move |answer| {
        let at = answer.find(&forgotten).expect("it was deleted");
        let start = answer[..at].rfind("<Deleted>").unwrap();
        let end = at + answer[at..].find("</Deleted>").unwrap() + "</Deleted>".len();
        format!("{}{}", &answer[..start], &answer[end..])
    });
    bed.between.when(0..1, forgets, is_bulk);
    let results = bed.s3.take(&both, Fence::NONE).await;
    let problem = results[0].as_ref().unwrap_err().to_string();
    assert!(
        problem.contains("leaves out") && problem.contains(&one),
        "{problem}"
    );
    assert!(matches!(results[1], Ok(Marked::Now { .. })), "{results:?}");
    bed.between.heal();
    for result in bed.s3.take(&both, Fence::NONE).await {
        assert!(matches!(result, Ok(Marked::Before { .. })), "{result:?}");
    }
    for (path, version) in both {
        bed.s3.put_back(path, version).await.unwrap();
    }

    // One is refused, by the server's own word for it.
    let refused = two.clone();
    let denies = Fault::rewritten(move |answer| {
        let deleted = format!("<Error><Key>{refused}</Key><Code>AccessDenied</Code></Error>");
        answer.replace("</DeleteResult>", &format!("{deleted}</DeleteResult>"))
    });
    bed.between.when(0..1, denies, is_bulk);
    let results = bed.s3.take(&both, Fence::NONE).await;
    assert!(matches!(results[0], Ok(Marked::Now { .. })), "{results:?}");
    let problem = results[1].as_ref().unwrap_err();
    assert_eq!(problem.kind(), ErrorKind::PermissionDenied);
    let problem = problem.to_string();
    for words in [
        "allow s3:DeleteObject on",
        &two,
        "DeleteObjects",
        "`registry`",
    ] {
        assert!(problem.contains(words), "{words}: {problem}");
    }
}

/// What is not known to be done is an error of each key, is not asked for again by itself, and is right
/// when it is.
#[tokio::test]
async fn an_answer_that_was_lost_is_no_success_and_no_second_deletion() {
    require!("versitygw");
    let bed = Bed::with_versions().await;
    for (number, (what, fault, is_done)) in [
        ("a break after it was done", Fault::Broken, true),
        (
            "500 after it was done",
            Fault::late_error(500, "InternalError"),
            true,
        ),
        ("500 before", Fault::error(500, "InternalError"), false),
        (
            "an error in a success",
            Fault::error(200, "InternalError"),
            false,
        ),
        (
            "a proxy's 503",
            Fault::Answer(503, &[], String::new()),
            false,
        ),
        (
            "a page of a proxy",
            Fault::Answer(200, &[], "<html/>".to_owned()),
            false,
        ),
        (
            "half an answer",
            Fault::rewritten(|all| all[..all.len() / 2].to_owned()),
            true,
        ),
        ("nothing", Fault::Instead(200, String::new()), true),
    ]
    .into_iter()
    .enumerate()
    {
        let content = format!("layer {number}");
        let path = bed.push_blob(content.as_bytes()).await;
        let version = bed.version(&path).await;
        bed.between.heal();
        bed.between.when(0..1, fault, is_bulk);
        let problem = take_one(&bed, &path, &version)
            .await
            .unwrap_err()
            .to_string();
        assert!(problem.contains("is not known"), "{what}: {problem}");
        assert_eq!(bed.asked(is_bulk), 1, "{what}");
        bed.between.heal();
        let marked = take_one(&bed, &path, &version).await.unwrap();
        match (is_done, &marked) {
            (true, Marked::Before { .. }) | (false, Marked::Now { .. }) => {}
            _ => panic!("{what}: {marked:?}"),
        }
        is_taken(&bed, &path, &version).await;
        let back = bed.s3.put_back(&path, &version).await.unwrap();
        assert_eq!(back, PutBack::Back { version });
        assert_eq!(bed.content(&path).await.unwrap(), content.as_bytes());
    }
}

/// O4: what was certainly not done is asked for again.
#[tokio::test]
async fn a_busy_server_is_asked_again_and_one_without_bulk_one_by_one() {
    require!("versitygw");
    let bed = Bed::with_versions().await;
    for (number, (what, fault, times, singly)) in [
        ("slow down", Fault::error(503, "SlowDown"), 3, 0),
        (
            "429",
            Fault::Answer(429, &[("retry-after", "0")], String::new()),
            2,
            0,
        ),
        ("an old key", Fault::error(400, "ExpiredToken"), 1, 0),
        ("no bulk", Fault::error(501, "NotImplemented"), 99, 2),
        (
            "no such method",
            Fault::Answer(405, &[], String::new()),
            99,
            2,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let mut taken = Vec::new();
        for half in ["a", "b"] {
            let path = bed
                .push_blob(format!("layer {number}{half}").as_bytes())
                .await;
            let version = bed.version(&path).await;
            taken.push((path, version));
        }
        let versions: Vec<(&str, &VersionId)> = taken
            .iter()
            .map(|(path, version)| (path.as_str(), version))
            .collect();
        bed.between.heal();
        bed.between.when(0..times, fault, is_bulk);
        for marked in bed.s3.take(&versions, Fence::NONE).await {
            assert!(
                matches!(marked, Ok(Marked::Now { marker: Some(_) })),
                "{what}: {marked:?}"
            );
        }
        assert_eq!(bed.asked(is_delete), singly, "{what}");
        for (path, version) in &taken {
            is_taken(&bed, path, version).await;
        }
    }
}

/// A server that tells no marker is not believed, and one that deletes nothing neither.
#[tokio::test]
async fn a_deletion_of_which_no_marker_is_told_is_looked_at() {
    require!("versitygw");
    let bed = Bed::with_versions().await;
    let path = bed.push_blob(b"one").await;
    let version = bed.version(&path).await;
    let told = format!("<DeleteResult><Deleted><Key>{path}</Key></Deleted></DeleteResult>");
    let nothing = Fault::Answer(200, &[], told.clone());
    bed.between.when(0..1, nothing, is_bulk);
    let problem = take_one(&bed, &path, &version)
        .await
        .unwrap_err()
        .to_string();
    assert!(problem.contains("is still there"), "{problem}");
    bed.between.heal();
    bed.between.when(0..1, Fault::Instead(200, told), is_bulk);
    let marked = take_one(&bed, &path, &version).await.unwrap();
    assert!(
        matches!(marked, Marked::Now { marker: Some(_) }),
        "{marked:?}"
    );
}
