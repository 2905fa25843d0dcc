//! How many requests a registry bears at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::rounds::{Desk, Hands, images};
use super::scripted::{Play, Scripted};

const IMAGES: usize = 60;

/// How many are answered now, and the most there ever were.
#[derive(Debug, Default)]
struct Crowd {
    now: AtomicUsize,
    most: AtomicUsize,
    refused: AtomicUsize,
}

impl Crowd {
    fn enter(&self) -> usize {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        now
    }

    fn leave(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_registry_far_away_is_used_in_full_and_never_beyond() {
    let hands = Arc::<Hands>::default();
    let crowd = Arc::<Crowd>::default();
    let shared = Arc::clone(&crowd);
    let registry = Scripted::start(IMAGES, move |_| {
        let crowd = Arc::clone(&shared);
        async move {
            crowd.enter();
            // Not a wait of the test's: this is how long the registry takes.
            tokio::time::sleep(Duration::from_millis(20)).await;
            crowd.leave();
            Play::well()
        }
    });
    let host = registry.host();
    let desk = Desk::with_entries(&hands, std::slice::from_ref(&host));
    let images = images(&registry.references(IMAGES));
    // Two provers share what the host bears.
    let (mut one, mut two) = (desk.prover(&host), desk.prover(&host));
    let (first, second) =
        tokio::join!(desk.round(&mut one, &images), desk.round(&mut two, &images));
    assert_eq!((first.pullable, second.pullable), (IMAGES, IMAGES));
    assert_eq!(desk.limit(&host), 32);
    assert_eq!(crowd.most.load(Ordering::SeqCst), 32);
}

#[tokio::test]
async fn a_registry_nearby_is_used_in_full_within_its_first_round() {
    let hands = Arc::<Hands>::default();
    let registry = Scripted::start(IMAGES, |_| async { Play::well() });
    let host = registry.host();
    let desk = Desk::with_entries(&hands, std::slice::from_ref(&host));
    let mut prover = desk.prover(&host);
    let images = images(&registry.references(IMAGES));
    assert_eq!(desk.round(&mut prover, &images).await.pullable, IMAGES);
    let asked = registry.take_asked().len();
    assert!(asked < 500, "{asked}");
    assert_eq!(desk.limit(&host), 32);
}

#[tokio::test]
async fn a_registry_that_is_overloaded_is_asked_less_and_then_more_again() {
    const BEARS: usize = 6;
    let hands = Arc::<Hands>::default();
    let crowd = Arc::<Crowd>::default();
    let is_small = Arc::new(AtomicBool::new(true));
    let shared = (Arc::clone(&crowd), Arc::clone(&is_small));
    let registry = Scripted::start(IMAGES, move |_| {
        let (crowd, is_small) = shared.clone();
        async move {
            let now = crowd.enter();
            let is_refused = is_small.load(Ordering::SeqCst) && now > BEARS;
            if is_refused {
                crowd.refused.fetch_add(1, Ordering::SeqCst);
            } else {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            crowd.leave();
            if is_refused {
                Play::status(503, &[])
            } else {
                Play::well()
            }
        }
    });
    let host = registry.host();
    let desk = Desk::with_entries(&hands, std::slice::from_ref(&host));
    let images = images(&registry.references(IMAGES));
    let mut prover = desk.prover(&host);
    let found = desk.round(&mut prover, &images).await;
    let limit = desk.limit(&host);
    assert!((1..=2 * BEARS).contains(&limit), "{limit}, {found:?}");
    // It asks more only as the answers come, so it is refused now and then and not all the time.
    let (asked, refused) = (
        registry.take_asked().len(),
        crowd.refused.load(Ordering::SeqCst),
    );
    assert!(refused * 4 < asked, "{refused} of {asked} were refused");

    is_small.store(false, Ordering::SeqCst);
    let mut limits = vec![limit];
    while limits.len() < 12 && limits.last() != Some(&32) {
        hands.turn(3600);
        assert_eq!(desk.round(&mut prover, &images).await.pullable, IMAGES);
        limits.push(desk.limit(&host));
    }
    assert_eq!(limits.last(), Some(&32), "{limits:?}");
}
