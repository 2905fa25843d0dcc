//! Follows one resource: a list, then watches from where it ended, for ever.
//!
//! The order is that of the API's own contract: a list gives the state at a version, a watch every
//! change since. A version that the server has forgotten (410) means a new list; any other failure
//! means that what we hold may be old, and says so until the server has answered again.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;

use super::Shared;
use super::api::{self, Failure, Watch};
use super::discovery::{self, DISCOVERY_INTERVAL};
use super::item::Event;
use super::record::Records;

/// How often a list is begun anew because its continue token expired before it counts as failed.
const LIST_RESTARTS_MAX: usize = 3;
/// How long the server is asked to hold a watch, in seconds: at random between these, so that twelve
/// watches do not come back at once.
const WATCH_SECONDS: std::ops::RangeInclusive<u32> = 240..=290;
/// How much later than asked the server may close a watch. A connection that was dropped without a
/// word looks like a quiet watch until then.
const STALL_MARGIN: Duration = Duration::from_secs(15);
/// A watch that lived this long was a healthy one.
const WATCH_STABLE: Duration = Duration::from_secs(10);
/// After so many failed watches in a row the version itself is in doubt (an etcd that was restored
/// from a backup does not know it yet).
const WATCH_FAILURES_MAX: usize = 3;

const BACKOFF_MIN: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Never returns.
pub(super) async fn follow(shared: &Shared, unit: usize) {
    let mut backoff = Backoff::default();
    let mut version: Option<String> = None;
    let mut watches_failed = 0;
    loop {
        let from = match version.take() {
            Some(version) => version,
            None => match list(shared, unit).await {
                Ok(version) => version,
                Err(failure) => {
                    fail(shared, unit, &failure);
                    match failure {
                        Failure::NotInstalled => sleep(DISCOVERY_INTERVAL).await,
                        _ => sleep(backoff.next()).await,
                    }
                    continue;
                }
            },
        };
        let begun = Instant::now();
        let watched = watch(shared, unit, from).await;
        let was_stable = begun.elapsed() >= WATCH_STABLE;
        if was_stable {
            backoff = Backoff::default();
        }
        match watched.end {
            Ok(()) => {
                watches_failed = 0;
                version = Some(watched.version);
                if !was_stable {
                    sleep(backoff.next()).await;
                }
            }
            Err(Failure::Gone) => {
                debug!(
                    source = %shared.name,
                    resource = shared.kind(unit).resource(),
                    "the watch is too old: listing anew"
                );
                if !was_stable {
                    sleep(backoff.next()).await;
                }
            }
            Err(failure) => {
                fail(shared, unit, &failure);
                watches_failed += 1;
                // What was there is gone: only discovery can tell whether it will stay so.
                if watches_failed < WATCH_FAILURES_MAX && failure != Failure::Absent {
                    version = Some(watched.version);
                } else {
                    watches_failed = 0;
                }
                sleep(backoff.next()).await;
            }
        }
    }
}

fn fail(shared: &Shared, unit: usize, failure: &Failure) {
    shared.tell(|world, now| world.fail(unit, failure, now));
    if matches!(failure, Failure::Unauthenticated(_)) {
        shared.renew.notify_one();
    }
}

/// Reads the whole list and puts it in place of what was known. Its version.
pub(super) async fn list(shared: &Shared, unit: usize) -> Result<String, Failure> {
    discovery::find(shared, unit).await?;
    for _ in 0..LIST_RESTARTS_MAX {
        match try_list(shared, unit).await {
            Ok((records, version)) => {
                shared.tell(|world, now| world.replace(unit, records, now));
                return Ok(version);
            }
            // Fail closed: the server offers to go on with a newer state (an inconsistent
            // continuation), and a union of two states may lack what moved between them.
            Err(Failure::Gone) => sleep(BACKOFF_MIN).await,
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::Other(format!(
        "its list expired before its last page, {LIST_RESTARTS_MAX} times"
    )))
}

async fn try_list(shared: &Shared, unit: usize) -> Result<(Records, String), Failure> {
    let resource = shared.resource(unit);
    let mut records = Records::new();
    let mut version = None;
    let mut continue_token = None;
    let mut limit = resource.shape.page_objects();
    loop {
        // Pages are the largest thing in memory: only so many at a time.
        let _permit = shared.pages.acquire().await;
        let page = api::page(
            &shared.client(),
            &resource,
            limit,
            continue_token.as_deref(),
        )
        .await;
        let page = match page {
            Err(Failure::TooLarge) if limit > 1 => {
                limit = (limit / 8).max(1);
                continue;
            }
            page => page?,
        };
        shared.world().reduce(unit, page.items, &mut records);
        // The first page's: a watch from it repeats at most what a later page already had.
        let version = version.get_or_insert(page.metadata.resource_version);
        if page.metadata.continue_token.is_empty() {
            return Ok((records, std::mem::take(version)));
        }
        continue_token = Some(page.metadata.continue_token);
    }
}

struct Watched {
    /// The last version that was seen: where the next watch begins.
    version: String,
    end: Result<(), Failure>,
}

async fn watch(shared: &Shared, unit: usize, version: String) -> Watched {
    let mut version = version;
    let end = try_watch(shared, unit, &mut version).await;
    Watched { version, end }
}

async fn try_watch(shared: &Shared, unit: usize, version: &mut String) -> Result<(), Failure> {
    let seconds = WATCH_SECONDS.start() + random() % (WATCH_SECONDS.end() - WATCH_SECONDS.start());
    let resource = shared.resource(unit);
    let mut watch = Watch::open(&shared.client(), &resource, version, seconds).await?;
    shared.tell(|world, now| world.well(unit, now));
    let closes = Instant::now() + Duration::from_secs(seconds.into());
    let mut heard = Instant::now();
    loop {
        let Ok(event) = timeout_at(closes + STALL_MARGIN, watch.next()).await else {
            // The server was to close it long ago. If it still talks, it merely does not keep time.
            if heard > closes {
                return Ok(());
            }
            let silent = heard.elapsed().as_secs();
            return Err(Failure::Other(format!(
                "its watch stalled: nothing came for {silent} s, and its end neither"
            )));
        };
        heard = Instant::now();
        let Some(event) = event? else {
            return Ok(());
        };
        let (Event::Put(item) | Event::Deleted(item) | Event::Bookmark(item)) = &event;
        let seen = item.resource_version().to_owned();
        shared.tell(|world, now| match event {
            Event::Put(item) => world.put(unit, item, now),
            Event::Deleted(item) => world.remove(unit, &item, now),
            Event::Bookmark(_) => world.well(unit, now),
        });
        if !seen.is_empty() {
            *version = seen;
        }
    }
}

/// Doubles up to [`BACKOFF_MAX`], each time between half and all of it.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempt: u32,
}

impl Backoff {
    pub(super) fn next(&mut self) -> Duration {
        let whole = BACKOFF_MIN
            .saturating_mul(1 << self.attempt.min(10))
            .min(BACKOFF_MAX);
        self.attempt = self.attempt.saturating_add(1);
        whole.mul_f64(0.5 + f64::from(random() % 1024) / 2048.0)
    }
}

/// Enough chance to keep clients apart; std has no other source of it.
fn random() -> u32 {
    let bits = RandomState::new().build_hasher().finish();
    (bits >> 32) as u32
}
