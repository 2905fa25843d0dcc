//! Files of our own in a bucket: whoever writes first is the one who wrote.

use std::io::ErrorKind;

use pullproof::storage::s3::{CopyBounds, Etag, Fence, PutNew, Replaced, VersionId};

use super::between::Fault;
use super::bucket::{Bed, blob, is_delete};
use crate::support::parts::require;

const LOCK: &str = "pullproof/lock.json";

fn is_put(method: &str, _path: &str) -> bool {
    method == "PUT"
}

#[tokio::test]
async fn one_of_many_writes_first_and_only_its_successor_replaces_it() {
    require!("versitygw");
    let bed = Bed::without_versions().await;
    let contents: Vec<String> = (0..8).map(|number| format!("holder {number}")).collect();
    let puts = contents
        .iter()
        .map(|content| bed.s3.put_new(LOCK, content.as_bytes()));
    let puts = futures::future::join_all(puts).await;
    let firsts = puts
        .iter()
        .zip(&contents)
        .filter_map(|(put, content)| match put {
            Ok(PutNew::Written { etag }) => Some((etag.clone(), content)),
            Ok(PutNew::AlreadyThere) => None,
            Err(problem) => panic!("{problem}"),
        });
    let firsts: Vec<(Etag, &String)> = firsts.collect();
    // versitygw looks and then writes: of some at the same moment more than one may be told so.
    assert!(!firsts.is_empty(), "{puts:?}");
    let there = bed.s3.get(LOCK, 1 << 10).await.unwrap().unwrap();
    assert!(
        firsts
            .iter()
            .any(|(_, content)| content.as_bytes() == there.bytes)
    );
    assert_eq!(
        bed.s3.put_new(LOCK, b"late").await.unwrap(),
        PutNew::AlreadyThere
    );

    let etag = there.etag.unwrap();
    let Replaced::Written { etag: second } = bed.s3.replace(LOCK, b"second", &etag).await.unwrap()
    else {
        panic!("nobody else replaces it");
    };
    assert_eq!(
        bed.s3.replace(LOCK, b"third", &etag).await.unwrap(),
        Replaced::Changed
    );
    let there = bed.s3.get(LOCK, 6).await.unwrap().unwrap();
    assert_eq!(
        (there.bytes, there.etag),
        (b"second".to_vec(), Some(second.clone()))
    );
    let problem = bed.s3.get(LOCK, 5).await.unwrap_err().to_string();
    assert!(problem.contains("it has 6 bytes"), "{problem}");
    bed.s3.delete(LOCK).await.unwrap();
    bed.s3.delete(LOCK).await.unwrap();
    assert_eq!(bed.s3.get(LOCK, 6).await.unwrap(), None);
    assert_eq!(
        bed.s3.replace(LOCK, b"fourth", &second).await.unwrap(),
        Replaced::Changed
    );
    assert_eq!(bed.s3.get(LOCK, 6).await.unwrap(), None);
}

#[tokio::test]
async fn an_object_is_listed_by_its_path_and_read_whole() {
    require!("versitygw");
    let bed = Bed::without_versions().await;
    let odd = "pullproof/journal/a b+c&é.jsonl";
    for (path, content) in [
        (odd, &b"{}"[..]),
        ("pullproof/journal/01.jsonl", b""),
        ("pullproof/journalist", b"no journal"),
        (
            "docker/registry/v2/repositories/pullproof/drill/x",
            b"drill",
        ),
    ] {
        let put = bed.s3.put_new(path, content).await.unwrap();
        assert!(matches!(put, PutNew::Written { .. }), "{path}");
        assert_eq!(bed.s3.get(path, 99).await.unwrap().unwrap().bytes, content);
    }
    let files = bed.s3.files("pullproof/journal/").await.unwrap();
    let listed: Vec<(&str, u64)> = files.iter().map(|it| (it.path.as_str(), it.size)).collect();
    assert_eq!(listed, [("pullproof/journal/01.jsonl", 0), (odd, 2)]);
    assert!(files.iter().all(|it| it.modified.is_some()));
    assert_eq!(bed.s3.files("pullproof/none/").await.unwrap(), []);
    let lost = Fault::rewritten(|page| page.replace("<KeyCount>2<", "<KeyCount>3<"));
    bed.between.on(0..99, lost);
    let problem = bed
        .s3
        .files("pullproof/journal/")
        .await
        .unwrap_err()
        .to_string();
    assert!(problem.contains("it counts 3 keys and has 2"), "{problem}");
    // Of more than a page.
    bed.between.heal();
    for number in 0..1001 {
        let path = format!("pullproof/many/{number:04}");
        std::fs::create_dir_all(bed.server.bucket().join("deep/er/pullproof/many")).unwrap();
        std::fs::write(bed.server.bucket().join("deep/er").join(path), "x").unwrap();
    }
    assert_eq!(bed.s3.files("pullproof/many/").await.unwrap().len(), 1001);
}

#[tokio::test]
async fn only_what_is_ours_is_deleted() {
    require!("versitygw");
    let bed = Bed::without_versions().await;
    let path = bed.push_blob(b"one").await;
    bed.between.heal();
    for foreign in [
        &path,
        "pullproof",
        "pullproofs/x",
        "pullproof/../docker/x",
        "pullproof/x/",
    ] {
        let problem = bed.s3.delete(foreign).await.unwrap_err();
        assert_eq!(
            problem.kind(),
            ErrorKind::InvalidInput,
            "{foreign}: {problem}"
        );
    }
    assert_eq!(bed.between.take_seen().len(), 0);
    for foreign in ["backups/x", "x"] {
        let problem = bed.s3.put_new(foreign, b"").await.unwrap_err();
        assert_eq!(
            problem.kind(),
            ErrorKind::InvalidInput,
            "{foreign}: {problem}"
        );
    }
}

/// A second question would be answered by what the first one did.
#[tokio::test]
async fn an_answer_that_was_lost_is_not_asked_for_again() {
    require!("versitygw");
    let bed = Bed::without_versions().await;
    for (number, (what, fault, is_done)) in [
        ("a break", Fault::Broken, true),
        ("500, late", Fault::late_error(500, "InternalError"), true),
        ("500", Fault::error(500, "InternalError"), false),
        (
            "a proxy's 502",
            Fault::Answer(502, &[], String::new()),
            false,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("pullproof/lock-{number}");
        bed.between.heal();
        bed.between.when(0..1, fault.clone(), is_put);
        let problem = bed
            .s3
            .put_new(&path, b"mine")
            .await
            .unwrap_err()
            .to_string();
        for words in ["is not known", "PutObject of", &path, "`registry`"] {
            assert!(problem.contains(words), "{what}: {problem}");
        }
        assert_eq!(bed.asked(is_put), 1, "{what}");
        let again = bed.s3.put_new(&path, b"mine").await.unwrap();
        assert_eq!(again == PutNew::AlreadyThere, is_done, "{what}: {again:?}");
        assert_eq!(bed.s3.get(&path, 9).await.unwrap().unwrap().bytes, b"mine");

        bed.between.heal();
        bed.between.when(0..1, fault, is_delete);
        let problem = bed.s3.delete(&path).await.unwrap_err().to_string();
        assert!(problem.contains("is not known"), "{what}: {problem}");
        assert_eq!(bed.asked(is_delete), 1, "{what}");
        bed.s3.delete(&path).await.unwrap();
        assert_eq!(bed.s3.get(&path, 9).await.unwrap(), None);
    }
    // Refused is not lost.
    for (number, fault) in [
        Fault::error(503, "SlowDown"),
        Fault::error(409, "ConditionalRequestConflict"),
        Fault::error(403, "RequestTimeTooSkewed"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("pullproof/busy-{number}");
        bed.between.heal();
        bed.between.when(0..2, fault, is_put);
        let put = bed.s3.put_new(&path, b"mine").await.unwrap();
        assert!(matches!(put, PutNew::Written { .. }), "{put:?}");
        assert_eq!(bed.asked(is_put), 3);
    }
    // A server that cannot be conditional is none to keep a lock on.
    bed.between.heal();
    bed.between
        .when(0..1, Fault::error(501, "NotImplemented"), is_put);
    let problem = bed.s3.put_new("pullproof/none", b"").await.unwrap_err();
    assert_eq!(problem.kind(), ErrorKind::Unsupported);
    bed.between.heal();
    bed.between
        .when(0..1, Fault::error(403, "AccessDenied"), is_put);
    let problem = bed
        .s3
        .put_new("pullproof/none", b"")
        .await
        .unwrap_err()
        .to_string();
    assert!(problem.contains("allow s3:PutObject on"), "{problem}");
}

/// Whatever is asked of it.
#[tokio::test]
async fn a_bucket_that_is_not_there_is_no_absence_of_an_object() {
    require!("versitygw");
    let mut bed = Bed::without_versions().await;
    bed.reader.settings.bucket = "nowhere".to_owned();
    let nowhere = bed.reader.open();
    let path = blob(b"one");
    let etag = Etag::new("e").unwrap();
    let null = VersionId::new("null").unwrap();
    let bounds = CopyBounds::default();
    let problems = [
        nowhere.versioning().await.map(|_| ()),
        nowhere.current(&path).await.map(|_| ()),
        nowhere.history("").await.map(|_| ()),
        nowhere.purge(&path, &null, Fence::NONE).await.map(|_| ()),
        nowhere.put_back(&path, &null).await.map(|_| ()),
        nowhere.copy(&path, LOCK, bounds).await.map(|_| ()),
        nowhere.remove(&path, &etag, Fence::NONE).await.map(|_| ()),
        nowhere.put_new(LOCK, b"").await.map(|_| ()),
        nowhere.replace(LOCK, b"", &etag).await.map(|_| ()),
        nowhere.get(LOCK, 9).await.map(|_| ()),
        nowhere.files("pullproof/").await.map(|_| ()),
        nowhere.delete(LOCK).await,
    ];
    for (number, problem) in problems.into_iter().enumerate() {
        let problem = problem.expect_err("there is no bucket").to_string();
        let words = "there is no bucket `nowhere`";
        assert!(problem.contains(words), "{number}: {problem}");
    }
}
