//! A registry asks to be left alone: in every way in which that is said, and for how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pullproof::clock::Clock as _;
use pullproof::verify::finding::Code;

use super::rounds::{Desk, Hands, images};
use super::scripted::{Play, Scripted};

const IMAGES: usize = 20;

/// Refuses the first `count` requests.
fn refusing(count: usize, status: u16, retry_after: Option<String>) -> Scripted {
    let left = AtomicUsize::new(count);
    Scripted::start(IMAGES, move |_| {
        let less = |left: usize| left.checked_sub(1);
        let is_refused = left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
            .is_ok();
        let headers: Vec<_> = retry_after
            .iter()
            .map(|value| ("retry-after", value.clone()))
            .collect();
        async move {
            if is_refused {
                Play::status(status, &headers)
            } else {
                Play::well()
            }
        }
    })
}

/// Left alone for this many seconds: nothing before, everything after.
async fn check(status: u16, retry_after: String, seconds: i64, hands: &Arc<Hands>) {
    let registry = refusing(1, status, Some(retry_after.clone()));
    let quick = refusing(0, 200, None);
    let hosts = [registry.host(), quick.host()];
    let desk = Desk::with_entries(hands, &hosts);
    let (mut slow, mut fast) = (desk.prover(&hosts[0]), desk.prover(&hosts[1]));
    let of_slow = images(&registry.references(IMAGES));
    let of_fast = images(&quick.references(IMAGES));

    let (found, other) = tokio::join!(
        desk.round(&mut slow, &of_slow),
        desk.round(&mut fast, &of_fast)
    );
    let asked = registry.take_asked().len();
    let case = format!("{status} {retry_after}: {found:?}");
    // Only what was under way when it was said; the rest of the round is not put at all.
    assert!((1..=8).contains(&asked), "{asked} requests, {case}");
    assert!(found.pullable < IMAGES, "{case}");
    assert!(
        found
            .others
            .iter()
            .any(|(code, _)| *code == Code::RateLimited),
        "{case}"
    );
    // The other registry did not ask for anything.
    assert_eq!(other.pullable, IMAGES);

    // Not in the next round either, nor by another prover of the same host.
    hands.turn(seconds - 30);
    desk.round(&mut slow, &of_slow).await;
    desk.round(&mut desk.prover(&hosts[0]), &of_slow).await;
    assert_eq!(registry.take_asked().len(), 0, "{case}");
    hands.turn(31);
    assert_eq!(desk.round(&mut slow, &of_slow).await.pullable, IMAGES);
}

#[tokio::test]
async fn a_registry_that_wants_to_be_left_alone_is_left_alone_until_then() {
    let hands = Arc::<Hands>::default();
    let date = |seconds: i64| {
        let at = hands.now() + jiff::SignedDuration::from_secs(seconds);
        at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    };
    check(429, "300".to_owned(), 300, &hands).await;
    check(503, "300".to_owned(), 300, &hands).await;
    check(429, date(300), 300, &hands).await;
    check(503, date(300), 300, &hands).await;
    // Ten years: not for longer than a quarter of an hour.
    check(429, "315360000".to_owned(), 900, &hands).await;
    check(429, date(315_360_000), 900, &hands).await;
}

#[tokio::test]
async fn a_short_wait_is_waited_for_in_the_round() {
    let hands = Arc::<Hands>::default();
    let past = "Fri, 01 Jan 2021 00:00:00 GMT".to_owned();
    for (status, retry_after) in [
        (429, Some("1".to_owned())),
        (503, Some("1".to_owned())),
        (429, Some("0".to_owned())),
        (503, Some(past)),
        (429, None),
        (503, None),
    ] {
        let case = format!("{status} {retry_after:?}");
        let registry = refusing(3, status, retry_after);
        let host = registry.host();
        let desk = Desk::with_entries(&hands, std::slice::from_ref(&host));
        let mut prover = desk.prover(&host);
        let found = desk
            .round(&mut prover, &images(&registry.references(IMAGES)))
            .await;
        assert_eq!(found.pullable, IMAGES, "{case}: {found:?}");
    }
}

#[tokio::test]
async fn a_registry_that_refuses_everything_is_not_asked_over_and_over() {
    let hands = Arc::<Hands>::default();
    let registry = refusing(usize::MAX, 429, Some("1".to_owned()));
    let host = registry.host();
    let desk = Desk::with_entries(&hands, std::slice::from_ref(&host));
    let mut prover = desk.prover(&host);
    let found = desk
        .round(&mut prover, &images(&registry.references(IMAGES)))
        .await;
    assert!(found.is_only(Code::RateLimited), "{found:?}");
    // 16 in a row end the round, each was put three times at most, and some were under way.
    let asked = registry.take_asked().len();
    assert!(asked <= 3 * (16 + 32), "{asked}");
}
