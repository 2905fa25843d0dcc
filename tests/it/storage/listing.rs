//! What a healthy server says is read as from its disk, and with as few questions as may be.

use pullproof::oci::digest::Digest;
use pullproof::storage::Listed;

use super::between::Between;
use super::tree::{Reader, Tree, list_disk};
use crate::support::clients::Clients;
use crate::support::http::client;
use crate::support::images::push_image;
use crate::support::parts::require;
use crate::support::registry::{Options, Registry, Version};
use crate::support::s3::S3;

async fn a_registrys_bucket_is_listed_in_one_request(version: Version) {
    let s3 = S3::start().await;
    let between = Between::start(&s3.host());
    let reader = Reader::new(between.port());
    let registry = Registry::start(Options::over_s3(version, &s3)).await;
    let clients = Clients::of(&registry).await;
    let host = registry.host();
    let mut digests = Vec::new();
    for (name, content) in [
        ("team/app:0.1.2", "one"),
        ("team/app:0.1.20", "two"),
        ("team/app:0.1.2-rc.1", "three"),
        // A tag that has moved, and a repository within another.
        ("team/app:0.1.2", "four"),
        ("team/app/debug:latest", "one"),
        ("team:latest", "one"),
    ] {
        digests.push(push_image(&clients, &format!("{host}/{name}"), content).await);
    }
    let copy = format!("{host}/copy:1");
    let copied = format!("{host}/team/app:0.1.20");
    clients.regctl(&["image", "copy", &copied, &copy]).await;

    let found = reader.list().await.unwrap();
    assert_eq!(found, list_disk(&s3.bucket()), "{version:?}");
    let seen = between.take_seen();
    // No object is read: all that is asked is in the listing.
    assert_eq!(seen.len(), 1, "{seen:#?}");
    let moved: Digest = digests[3].parse().unwrap();
    assert!(found.contains(&Listed::Tag {
        repository: "team/app".into(),
        tag: "0.1.2".into(),
        current: Some(moved),
    }));

    let opened = reader.open();
    let manifest = opened.read(&moved, 1 << 20).await.unwrap();
    assert_eq!(Digest::of(&manifest), moved);
    let size = manifest.len() as u64;
    assert_eq!(
        opened.blob(&moved).await.unwrap().map(|it| it.size),
        Some(size)
    );
    let too_much = opened.read(&moved, size - 1).await.unwrap_err();
    assert!(
        too_much
            .to_string()
            .contains(&format!("it has {size} bytes"))
    );
    let none = Digest::of(b"none");
    assert_eq!(opened.blob(&none).await.unwrap(), None);
    let absent = opened.read(&none, 1).await.unwrap_err();
    assert_eq!(absent.kind(), std::io::ErrorKind::NotFound);

    // A push that has begun, which is told by an object of its own.
    between.take_seen();
    let url = format!("{}/v2/team/app/blobs/uploads/", registry.url());
    let begun = client().post(url).send().await.unwrap();
    assert_eq!(begun.status().as_u16(), 202);
    let found = reader.list().await.unwrap();
    assert_eq!(found, list_disk(&s3.bucket()), "{version:?}");
    let since = |listed: &Listed| matches!(listed, Listed::Upload { since: Some(_), .. });
    assert_eq!(found.iter().filter(|listed| since(listed)).count(), 1);
    assert_eq!(between.take_seen().len(), 2);
}

#[tokio::test]
async fn a_bucket_of_2_8_2_is_listed_in_one_request() {
    require!("docker-registry", "versitygw", "crane", "regctl");
    a_registrys_bucket_is_listed_in_one_request(Version::V2).await;
}

#[tokio::test]
async fn a_bucket_of_3_1_is_listed_in_one_request() {
    require!("registry-3.1", "versitygw", "crane", "regctl");
    a_registrys_bucket_is_listed_in_one_request(Version::V3).await;
}

#[tokio::test]
async fn markers_beside_the_tree_are_seen() {
    require!("versitygw");
    let s3 = S3::start().await;
    let between = Between::start(&s3.host());
    let mut reader = Reader::new(between.port());
    let tree = Tree::new(&s3.bucket(), "deep/er");
    tree.write("../lockfiles/database-in-use", "");
    tree.write("../../../scheduler-state.json", "{}");
    reader.settings.prefix = "deep/er".to_owned();
    let opened = reader.open();
    for (path, expected) in [
        ("scheduler-state.json", true),
        ("docker/registry/lockfiles/database-in-use", true),
        ("docker/registry/lockfiles/filesystem-in-use", false),
        ("docker/registry/lockfiles", false),
    ] {
        assert_eq!(opened.has(path).await.unwrap(), expected, "{path}");
    }
    // A bucket that is not there has no markers either, and that is no answer.
    reader.settings.bucket = "other".to_owned();
    let problem = reader.open().has("scheduler-state.json").await.unwrap_err();
    assert!(
        problem.to_string().contains("there is no bucket `other`"),
        "{problem}"
    );
}

/// Far more than a page.
#[tokio::test]
async fn a_large_tree_takes_few_pages_and_no_reads() {
    require!("versitygw");
    let s3 = S3::start().await;
    let between = Between::start(&s3.host());
    let mut reader = Reader::new(between.port());
    reader.settings.prefix = "/some/where/".to_owned();
    let tree = Tree::new(&s3.bucket(), "some/where");
    tree.repository("app", 3000);
    for number in 0..20 {
        tree.repository(&format!("team/service-{number}"), 60);
    }
    let truth = list_disk(&s3.bucket().join("some/where"));
    for concurrency in [1, 8, 100] {
        reader.settings.max_concurrency = concurrency;
        let seen = std::sync::atomic::AtomicUsize::new(0);
        let count = |part: Vec<_>| {
            seen.fetch_add(part.len(), std::sync::atomic::Ordering::Relaxed);
        };
        reader.open().list(&count).await.unwrap();
        assert_eq!(reader.list().await.unwrap(), truth);
        let asked = between.take_seen();
        let keys = seen.into_inner();
        assert!(keys > 8000, "{keys}");
        // Of two listings.
        assert!(asked.iter().all(super::between::Seen::is_list));
        let most = 2 * (keys.div_ceil(1000) * 13 / 10 + 20);
        assert!(
            asked.len() <= most,
            "{} requests for {keys} keys",
            asked.len()
        );
    }
}

#[tokio::test]
async fn damage_is_told_as_from_a_disk() {
    require!("versitygw");
    let s3 = S3::start().await;
    let between = Between::start(&s3.host());
    let reader = Reader::new(between.port());
    let tree = Tree::new(&s3.bucket(), "");
    tree.repository("app", 40);
    let (one, two) = (tree.blob("one"), tree.blob("two"));
    let path = |number| {
        let digest = Digest::of(format!("app {number}").as_bytes()).hex();
        format!("repositories/app/_layers/sha256/{digest}/link")
    };
    tree.write(&path(1), "");
    tree.write(&path(2), "sha256:12");
    tree.write(&path(3), &one.to_string());
    tree.write(&path(4), &"x".repeat(71));
    let current = |tag: &str| format!("repositories/app/_manifests/tags/{tag}/current/link");
    tree.write(&current("v0"), "");
    tree.write(&current("v10"), &"y".repeat(71));
    // What its history does not know of.
    tree.write(&current("v20"), &two.to_string());
    tree.write(&current("without"), &two.to_string());
    tree.link("app/_manifests/tags/dying/index", &one);
    tree.write("repositories/app/_manifests/readme", "x");
    tree.write("blobs/sha256/ab/readme", "x");
    tree.write("repositories/app/_uploads/4f/startedat", "then");
    let found = reader.list().await.unwrap();
    assert_eq!(found, list_disk(&s3.bucket()));
    let problems = found
        .iter()
        .filter(|it| matches!(it, Listed::Damage { .. }));
    assert_eq!(problems.count(), 8);
    let reads = between.take_seen();
    let reads = reads.iter().filter(|seen| !seen.is_list()).count();
    // Two links and three tags that no ETag explains, and the upload.
    assert_eq!(reads, 6);
}

#[tokio::test]
async fn where_etags_are_no_hashes_all_is_read() {
    require!("versitygw");
    let s3 = S3::start().await;
    let between = Between::start(&s3.host());
    let reader = Reader::new(between.port());
    let tree = Tree::new(&s3.bucket(), "");
    let (one, two, three) = (tree.blob("one"), tree.blob("two"), tree.blob("three"));
    let link = |directory: &str, of: &Digest, content: &Digest| {
        let path = format!("repositories/a/{directory}/sha256/{}/link", of.hex());
        tree.write_without_etag(&path, &content.to_string());
    };
    link("_layers", &one, &one);
    link("_layers", &two, &three);
    link("_manifests/revisions", &one, &one);
    link("_manifests/tags/v1/index", &one, &one);
    let current = "repositories/a/_manifests/tags/v1/current/link";
    tree.write_without_etag(current, &one.to_string());
    assert_eq!(reader.list().await.unwrap(), list_disk(&s3.bucket()));
    assert_eq!(between.take_seen().len(), 1 + 5);
}

/// Directories that programs make as objects, and names that no registry takes.
#[tokio::test]
async fn odd_keys_are_themselves_and_nothing_else() {
    require!("versitygw");
    let s3 = S3::start().await;
    let between = Between::start(&s3.host());
    let reader = Reader::new(between.port());
    let tree = Tree::new(&s3.bucket(), "");
    tree.repository("app", 10);
    let layer = Digest::of(b"app 1");
    for name in [
        "a b",
        "a+b",
        "a%20b",
        "é",
        "a&b<c>",
        "a\"b'",
        "..a",
        "a:b@c?d#e=f;g,h$i!j*k(l)",
    ] {
        let path = format!("repositories/{name}/_layers/sha256/{}/link", layer.hex());
        // It is asked for, by its name.
        tree.write_without_etag(&path, &layer.to_string());
    }
    tree.write_directory("repositories/app/_uploads");
    tree.write_directory("repositories/empty");
    let truth = list_disk(&s3.bucket());
    assert_eq!(reader.list().await.unwrap(), truth);
    assert_eq!(between.take_seen().len(), 1 + 8);
}

#[tokio::test]
async fn a_bucket_without_a_registry_is_no_empty_registry() {
    require!("versitygw");
    let s3 = S3::start().await;
    let between = Between::start(&s3.host());
    let mut reader = Reader::new(between.port());
    let tree = Tree::new(&s3.bucket(), "here");
    let blob = tree.blob("one");
    let problem = reader.list().await.unwrap_err();
    assert_eq!(problem.path, "repositories");
    assert!(
        problem
            .to_string()
            .contains("check `bucket` and `rootdirectory`"),
        "{problem}"
    );
    reader.settings.prefix = "here".to_owned();
    assert_eq!(reader.list().await.unwrap_err().path, "repositories");
    tree.link("app/_layers", &blob);
    assert_eq!(reader.list().await.unwrap().len(), 2);
    reader.settings.bucket = "nowhere".to_owned();
    let problem = reader.list().await.unwrap_err().to_string();
    assert!(
        problem.contains("there is no bucket `nowhere`"),
        "{problem}"
    );
}
