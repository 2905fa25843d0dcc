//! What a network, a proxy or a server does to a listing: it is refused, or it is the full truth, and
//! never a part.

use std::collections::BTreeSet;

use pullproof::storage::Listed;

use super::between::{Between, Fault};
use super::tree::{Reader, Tree, list, list_disk};
use crate::support::parts::require;
use crate::support::s3::S3;
use crate::support::toxiproxy::Toxiproxy;

/// A server with a tree of some pages, and a man between.
struct Bed {
    s3: S3,
    between: Between,
    reader: Reader,
    truth: BTreeSet<Listed>,
    /// The pages as the server gives them.
    pages: Vec<String>,
}

impl Bed {
    async fn start() -> Self {
        let s3 = S3::start().await;
        let between = Between::start(&s3.host());
        let mut reader = Reader::new(between.port());
        // One after another, so that a page is the same page each time.
        reader.settings.max_concurrency = 1;
        Tree::new(&s3.bucket(), "").repository("app", 1300);
        let truth = list_disk(&s3.bucket());
        assert_eq!(reader.list().await.unwrap(), truth);
        let pages = between.take_seen().into_iter().map(|seen| seen.answer);
        let pages: Vec<String> = pages.collect();
        assert!(pages.len() > 2, "{}", pages.len());
        assert!(pages.iter().all(|page| page.contains("ListBucketResult")));
        Self {
            s3,
            between,
            reader,
            truth,
            pages,
        }
    }

    /// Refused, with these words.
    async fn refused(&self, what: &str, pages: std::ops::Range<usize>, fault: Fault, words: &str) {
        self.between.on(pages, fault);
        match self.reader.list().await {
            Ok(found) => panic!(
                "{what}: {} of {} were listed",
                found.len(),
                self.truth.len()
            ),
            Err(problem) => {
                let problem = problem.to_string();
                assert!(problem.contains(words), "{what}: {problem}");
            }
        }
    }

    /// Got over.
    async fn survived(&self, what: &str, pages: std::ops::Range<usize>, fault: Fault) {
        self.between.on(pages, fault);
        let found = self.reader.list().await;
        let found = found.unwrap_or_else(|problem| panic!("{what}: {problem}"));
        assert!(
            found == self.truth,
            "{what}: {} of {}",
            found.len(),
            self.truth.len()
        );
    }
}

/// Takes the first object of a page out of it.
fn split(page: &str) -> (String, String, String) {
    const END: &str = "</Contents>";
    let start = page.find("<Contents>").expect("a page with objects");
    let end = page.find(END).expect("a page with objects") + END.len();
    (
        page[..start].to_owned(),
        page[start..end].to_owned(),
        page[end..].to_owned(),
    )
}

fn token(page: &str) -> &str {
    let (_, rest) = page
        .split_once("<NextContinuationToken>")
        .expect("not the last page");
    rest.split_once("</NextContinuationToken>").expect("XML").0
}

/// O1: pages that are no listing.
#[tokio::test]
async fn a_listing_of_which_something_is_missing_or_twice_is_refused() {
    require!("versitygw");
    let bed = Bed::start().await;
    let last = bed.pages.len() - 1;
    for number in 0..=last {
        let what = |what: &str| format!("{what}, page {number}");
        let at = number..number + 1;
        let lost = Fault::rewritten(|page| {
            let (before, _, after) = split(page);
            before + &after
        });
        bed.refused(&what("an object is lost"), at.clone(), lost, "it counts")
            .await;
        let twice = Fault::rewritten(|page| {
            let (before, object, after) = split(page);
            let page = format!("{before}{object}{object}{after}");
            page.replace("<KeyCount>1000<", "<KeyCount>1001<")
        });
        bed.refused(
            &what("an object is there twice"),
            at.clone(),
            twice,
            "no part of one",
        )
        .await;
        let swapped = Fault::rewritten(|page| {
            let (before, first, after) = split(page);
            let (_, second, after) = split(&after);
            format!("{before}{second}{first}{after}")
        });
        bed.refused(&what("two are swapped"), at.clone(), swapped, "comes after")
            .await;
        let outside = Fault::rewritten(|page| page.replacen("<Key>docker/", "<Key>docket/", 1));
        bed.refused(
            &what("a key is of elsewhere"),
            at.clone(),
            outside,
            "is not below",
        )
        .await;
        let other = bed.pages[(number + 1) % bed.pages.len()].clone();
        let other = Fault::rewritten(move |_page| other.clone());
        bed.refused(&what("another page"), at.clone(), other, "no part of one")
            .await;
        let open = Fault::rewritten(|page| page.replace("<IsTruncated>false", "<IsTruncated>true"));
        let ended =
            Fault::rewritten(|page| page.replace("<IsTruncated>true", "<IsTruncated>false"));
        let tokenless = Fault::rewritten(|page| {
            if !page.contains("<NextContinuationToken>") {
                return page.replace("<IsTruncated>false", "<IsTruncated>true");
            }
            let token = token(page);
            page.replace(
                &format!("<NextContinuationToken>{token}</NextContinuationToken>"),
                "",
            )
        });
        if bed.pages[number].contains("<NextContinuationToken>") {
            bed.refused(
                &what("it ends early"),
                at.clone(),
                ended,
                "a token for a next",
            )
            .await;
        } else {
            bed.refused(&what("it does not end"), at.clone(), open, "no token")
                .await;
        }
        bed.refused(&what("no token"), at.clone(), tokenless, "no token")
            .await;
        let prefix = Fault::rewritten(|page| page.replacen("v2/</Prefix>", "v2/r</Prefix>", 1));
        bed.refused(&what("another prefix"), at.clone(), prefix, "of the prefix")
            .await;
        let bucket = Fault::rewritten(|page| page.replace("<Name>registry<", "<Name>other<"));
        bed.refused(&what("another bucket"), at, bucket, "of the bucket")
            .await;
    }
    // The same page for ever.
    let first = bed.pages[0].clone();
    let stuck = Fault::rewritten(move |_page| first.clone());
    bed.refused("a page again and again", 1..1000, stuck, "no part of one")
        .await;
}

/// O1: pages without objects are followed as long as they lead on.
#[tokio::test]
async fn an_empty_page_with_a_token_is_followed() {
    require!("versitygw");
    let bed = Bed::start().await;
    let emptied = |next: fn(&str) -> String| {
        Fault::rewritten(move |page| {
            let (mut before, _, mut rest) = split(page);
            while rest.contains("<Contents>") {
                rest = split(&rest).2;
            }
            let own = token(page);
            // The server understands keys as tokens: this one is before all of the page.
            before = before.replace(&format!("<NextContinuationToken>{own}<"), &next(own));
            (before + &rest).replace("<KeyCount>1000<", "<KeyCount>0<")
        })
    };
    let start = |_: &str| "<NextContinuationToken>docker/registry/v2/!<".to_owned();
    bed.survived("an empty page", 0..1, emptied(start)).await;
    let stuck = bed.reader.open();
    bed.between.on(0..usize::MAX, emptied(start));
    let problem = list(&stuck).await.unwrap_err().to_string();
    assert!(problem.contains("was given before"), "{problem}");
}

/// O4, and bodies that end too early.
#[tokio::test]
async fn what_passes_is_waited_for_and_what_stays_is_told() {
    require!("versitygw");
    let bed = Bed::start().await;
    let page = "<ListBucketResult><Name>registry</Name>";
    for (what, fault, words) in [
        (
            "503 SlowDown",
            Fault::error(503, "SlowDown"),
            "503 (SlowDown)",
        ),
        (
            "500",
            Fault::error(500, "InternalError"),
            "500 (InternalError)",
        ),
        (
            "503 of a proxy",
            Fault::Answer(503, &[], "<html></html>".to_owned()),
            "answered 503",
        ),
        (
            "429",
            Fault::Answer(429, &[("retry-after", "0")], String::new()),
            "answered 429",
        ),
        (
            "an error in a success",
            Fault::error(200, "InternalError"),
            "200 (InternalError)",
        ),
        (
            "a clock",
            Fault::error(403, "RequestTimeTooSkewed"),
            "set the clock",
        ),
        ("a break", Fault::Broken, "cannot be asked"),
        ("silence", Fault::Silence, "cannot be asked"),
        (
            "half a page",
            Fault::rewritten(|page| page[..page.len() / 2].to_owned()),
            "is cut",
        ),
        (
            "a beginning",
            Fault::Answer(200, &[], page.to_owned()),
            "is cut",
        ),
        (
            "another page",
            Fault::Answer(200, &[], "<html>Sign in</html>".to_owned()),
            "is none",
        ),
        ("nothing", Fault::Answer(200, &[], String::new()), "is none"),
    ] {
        bed.survived(what, 1..3, fault.clone()).await;
        bed.refused(what, 1..usize::MAX, fault, words).await;
        let asked = bed.between.take_seen().len();
        assert!(asked <= 1 + 6, "{what}: {asked} requests");
    }
}

/// O12, and what does not pass.
#[tokio::test]
async fn a_refusal_says_what_to_do() {
    const ELSEWHERE: &[(&str, &str)] = &[("x-amz-bucket-region", "eu-west-1")];
    require!("versitygw");
    let bed = Bed::start().await;
    for (what, fault, words) in [
        (
            "another region",
            Fault::Answer(301, ELSEWHERE, String::new()),
            "write region: eu-west-1",
        ),
        (
            "denied",
            Fault::error(403, "AccessDenied"),
            "allow s3:ListBucket on the bucket `registry`",
        ),
        (
            "denied late",
            Fault::error(200, "AccessDenied"),
            "allow s3:ListBucket",
        ),
        (
            "gone",
            Fault::error(404, "NoSuchBucket"),
            "there is no bucket `registry`",
        ),
        (
            "a proxy",
            Fault::Answer(404, &[], "<html></html>".to_owned()),
            "check `endpoint`",
        ),
        (
            "too much",
            Fault::Answer(200, &[], "x".repeat(9 << 20)),
            "it has",
        ),
    ] {
        bed.refused(what, 1..2, fault, words).await;
        // Not asked again: it stays so.
        assert_eq!(bed.between.take_seen().len(), 2, "{what}");
    }
}

#[tokio::test]
async fn credentials_that_expire_are_renewed_or_told() {
    require!("versitygw");
    let mut bed = Bed::start().await;
    let expired = || Fault::error(400, "ExpiredToken");
    bed.survived("expired once", 1..2, expired()).await;
    bed.refused(
        "expired for good",
        1..usize::MAX,
        expired(),
        "has not expired",
    )
    .await;
    assert!(bed.between.take_seen().len() <= 1 + 3);
    // They are got anew: from a file that has become another one.
    let opened = bed.reader.open();
    bed.between.on(0..0, expired());
    assert!(list(&opened).await.unwrap() == bed.truth);
    bed.reader
        .write_key("aws_access_key_id = without a secret\n");
    assert!(list(&opened).await.unwrap() == bed.truth);
    bed.between.on(1..2, expired());
    let problem = list(&opened).await.unwrap_err().to_string();
    assert!(problem.contains("expected aws_access_key_id"), "{problem}");

    // By the server itself.
    for (id, secret) in [("pullproof", "wrong"), ("nobody", "not a secret")] {
        bed.reader.write_key(&format!(
            "aws_access_key_id={id}\naws_secret_access_key={secret}\n"
        ));
        let problem = bed.reader.list().await.unwrap_err().to_string();
        assert!(problem.contains("check the access key"), "{problem}");
    }
    bed.reader.settings.region = "eu-west-1".to_owned();
    let problem = bed.reader.list().await.unwrap_err().to_string();
    assert!(problem.contains("cannot be listed"), "{problem}");
}

/// By a real proxy of connections, side by side.
#[tokio::test]
async fn connections_that_break_are_no_end_of_a_listing() {
    require!("versitygw", "toxiproxy-server");
    let mut bed = Bed::start().await;
    let toxiproxy = Toxiproxy::start().await;
    let host = toxiproxy.proxy("s3", &bed.s3.host()).await;
    let port = host.rsplit(':').next().unwrap().parse().unwrap();
    bed.reader.settings.endpoint.as_mut().unwrap().port = port;
    bed.reader.settings.max_concurrency = 8;
    assert!(bed.reader.list().await.unwrap() == bed.truth);
    let bytes = serde_json::json!({"bytes": 100_000});
    toxiproxy.poison("s3", "limit_data", &bytes).await;
    let problem = bed.reader.list().await.unwrap_err().to_string();
    assert!(problem.contains("cannot be asked"), "{problem}");
    toxiproxy.heal("s3", "limit_data").await;
    assert!(bed.reader.list().await.unwrap() == bed.truth);
}
