//! Waiting for a condition, with a bound. The only place in the tests that sleeps.

use std::time::Duration;

use tokio::time::Instant;

/// How often a condition is looked at. Short against what a server needs to start, long against
/// what the looking costs.
const POLL_EVERY: Duration = Duration::from_millis(25);

/// Looks until the probe yields something; `Err` after the bound. Work that takes long inside the
/// probe is cut off at the bound too, so that a server which accepts and never answers ends a test.
pub(crate) async fn try_until<T>(
    bound: Duration,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> Result<T, ()> {
    let end = Instant::now() + bound;
    loop {
        match tokio::time::timeout_at(end, probe()).await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => tokio::time::sleep(POLL_EVERY).await,
            Err(_elapsed) => return Err(()),
        }
        if Instant::now() >= end {
            return Err(());
        }
    }
}

/// Looks until the probe yields something, and panics after the bound.
pub(crate) async fn wait_until<T>(
    what: &str,
    bound: Duration,
    probe: impl AsyncFnMut() -> Option<T>,
) -> T {
    match try_until(bound, probe).await {
        Ok(found) => found,
        Err(()) => panic!("waited {bound:?} in vain until {what}"),
    }
}

#[tokio::test]
async fn a_condition_that_comes_true_ends_the_wait() {
    let mut looks = 0;
    let found = wait_until("the third look", Duration::from_secs(5), async || {
        looks += 1;
        (looks == 3).then_some(looks)
    })
    .await;
    assert_eq!(found, 3);
}

#[tokio::test]
#[should_panic(expected = "waited 60ms in vain until pigs fly")]
async fn a_condition_that_never_comes_true_panics_after_the_bound() {
    wait_until("pigs fly", Duration::from_millis(60), async || None::<()>).await;
}

#[tokio::test]
async fn a_probe_that_hangs_is_cut_off_at_the_bound() {
    let outcome = try_until(Duration::from_millis(60), async || {
        std::future::pending::<()>().await;
        Some(())
    })
    .await;
    assert_eq!(outcome, Err(()));
}
