//! What a network, a proxy or a server does to a listing of versions: it is refused, or it is the truth.

use pullproof::storage::s3::{Fence, History, S3};

use super::between::Fault;
use super::bucket::Bed;
use super::tree::Tree;
use crate::support::parts::require;

const BELOW: &str = "docker/registry/v2/blobs/";

fn is_versions(_method: &str, path: &str) -> bool {
    path.contains("versions=")
}

async fn histories(s3: &S3) -> std::io::Result<Vec<History>> {
    s3.history(BELOW).await
}

/// A server with versions of some pages.
async fn bed() -> (Bed, Vec<History>, Vec<String>) {
    let bed = Bed::with_versions().await;
    Tree::new(&bed.server.bucket(), "").repository("app", 1300);
    let one = bed.push_blob(b"one").await;
    bed.push(&one, b"one").await;
    let version = bed.version(&one).await;
    bed.s3
        .take(&[(&one, &version)], Fence::NONE)
        .await
        .remove(0)
        .unwrap();
    bed.between.heal();
    let truth = histories(&bed.s3).await.unwrap();
    assert_eq!(truth.len(), 1301);
    let of_one = truth.iter().find(|it| it.path == one).unwrap();
    assert!(
        of_one.versions[0].is_marker() && of_one.versions.len() >= 3,
        "{of_one:?}"
    );
    assert_eq!(of_one.newest_content().unwrap().id, version);
    let pages = bed.between.take_seen().into_iter().map(|seen| seen.answer);
    let pages: Vec<String> = pages.collect();
    assert!(pages.len() > 1, "{}", pages.len());
    (bed, truth, pages)
}

async fn refused(bed: &Bed, what: &str, number: usize, fault: Fault, words: &str) {
    bed.between.heal();
    bed.between.when(number..number + 1, fault, is_versions);
    match histories(&bed.s3).await {
        Ok(found) => panic!("{what}, page {number}: {} keys were listed", found.len()),
        Err(problem) => {
            let problem = problem.to_string();
            assert!(problem.contains(words), "{what}, page {number}: {problem}");
            assert!(problem.contains("ListObjectVersions"), "{problem}");
        }
    }
}

/// The first version of a page, and what is around it.
fn split(page: &str) -> (String, String, String) {
    const END: &str = "</Version>";
    let start = page.find("<Version>").expect("a page with versions");
    let end = page.find(END).expect("a page with versions") + END.len();
    (
        page[..start].to_owned(),
        page[start..end].to_owned(),
        page[end..].to_owned(),
    )
}

#[tokio::test]
async fn a_listing_of_versions_of_which_something_is_missing_or_twice_is_refused() {
    require!("versitygw");
    let (bed, truth, pages) = bed().await;
    let last = pages.len() - 1;
    for number in 0..=last {
        let twice = Fault::rewritten(|page| {
            let (before, version, after) = split(&page.replace('\n', ""));
            let (_, second, rest) = split(&after);
            // The first may be there twice: versitygw begins a page so.
            format!("{before}{version}{second}{second}{rest}")
        });
        refused(
            &bed,
            "a version is there twice",
            number,
            twice,
            "no part of",
        )
        .await;
        let swapped = Fault::rewritten(|page| {
            let (before, first, after) = split(page);
            let (between, second, after) = split(&after);
            format!("{before}{second}{between}{first}{after}")
        });
        refused(&bed, "two are swapped", number, swapped, "comes after").await;
        let outside = Fault::rewritten(|page| page.replacen("<Key>docker/", "<Key>docket/", 1));
        refused(&bed, "a key is of elsewhere", number, outside, "no part of").await;
        let hidden = Fault::rewritten(|page| {
            let (before, first, after) = split(page);
            let (between, second, after) = split(&after);
            let second = second.replace("<IsLatest>true", "<IsLatest>false");
            format!("{before}{first}{between}{second}{after}")
        });
        refused(
            &bed,
            "a newer version is left out",
            number,
            hidden,
            "left out",
        )
        .await;
        let other = pages[(number + 1) % pages.len()].clone();
        let other = Fault::rewritten(move |_page| other.clone());
        refused(&bed, "another page", number, other, "of the key marker").await;
        let cut = Fault::rewritten(|page| page[..page.len() / 2].to_owned());
        bed.between.heal();
        bed.between
            .when(number..number + 1, cut.clone(), is_versions);
        // It is asked again.
        assert!(histories(&bed.s3).await.unwrap() == truth);
        bed.between.heal();
        bed.between.when(number..usize::MAX, cut, is_versions);
        let problem = histories(&bed.s3).await.unwrap_err().to_string();
        assert!(problem.contains("is cut"), "{problem}");
    }
    let early = Fault::rewritten(|page| page.replace("<IsTruncated>true", "<IsTruncated>false"));
    refused(&bed, "it ends early", 0, early, "a marker for a next").await;
    let endless = Fault::rewritten(|page| page.replace("<IsTruncated>false", "<IsTruncated>true"));
    refused(&bed, "it does not end", last, endless, "no marker").await;
    let first = pages[0].clone();
    bed.between.heal();
    let stuck = Fault::rewritten(move |_page| first.clone());
    bed.between.when(1..usize::MAX, stuck, is_versions);
    let problem = histories(&bed.s3).await.unwrap_err().to_string();
    assert!(problem.contains("no part of"), "{problem}");
    for (fault, words) in [
        (
            Fault::error(404, "NoSuchBucket"),
            "there is no bucket `registry`",
        ),
        (
            Fault::error(200, "AccessDenied"),
            "allow s3:ListBucketVersions",
        ),
        (
            Fault::error(501, "NotImplemented"),
            "does not know the operation",
        ),
    ] {
        refused(&bed, "an error", 1, fault, words).await;
    }
}
