//! Follows one resource: a list, then watches from where it ended, for ever.
//!
//! The order is that of the API's own contract: a list gives the state at a version, a watch every
//! change since. A version that the server has forgotten (410) means a new list; any other failure
//! means that what we hold may be old, and says so until the server has answered again. Time goes
//! forward only: what is older than what was seen is a failure, whoever answers.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;

use super::api::{self, Failure, Watch};
use super::discovery::{self, DISCOVERY_INTERVAL};
use super::item::{Event, Page};
use super::kinds::Shape;
use super::record::Records;
use super::version::is_older;
use super::{Shared, Times};

/// How often a list is begun anew because its continue token expired before it counts as failed.
const LIST_RESTARTS_MAX: usize = 3;
/// A watch that lived this long was a healthy one.
const WATCH_STABLE: Duration = Duration::from_secs(10);
/// After so many failed watches in a row the version itself is in doubt (an etcd that was restored
/// from a backup does not know it yet). So are watches that end at once without a word: whatever stands
/// between may answer every watch with nothing.
const WATCH_FAILURES_MAX: usize = 3;

/// So long nothing may be heard of a kind while others go on. A change that no watch tells is known after
/// it at the latest.
const SILENCE_MAX: Duration = Duration::from_secs(60 * 60);

const BACKOFF_MIN: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Never returns.
pub(super) async fn follow(shared: &Shared, unit: usize) {
    let mut backoff = Backoff::default();
    // Where the next watch begins; `None` means a list.
    let mut version: Option<String> = None;
    // The newest that was seen. Nothing older is believed.
    let mut newest = String::new();
    // Since when nothing was heard, while the server has a present that no watch got to.
    let mut silent_since: Option<Instant> = None;
    let mut watches_failed = 0;
    loop {
        let from = match version.take() {
            Some(version) => version,
            None => match list(shared, unit, &newest).await {
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
        let watched = watch(shared, unit, from).await;
        newest.clone_from(&watched.version);
        if watched.was_stable {
            backoff = Backoff::default();
        }
        let has_failed = matches!(&watched.end, Err(failure) if *failure != Failure::Gone);
        match watched.end {
            Ok(()) if watched.heard == Heard::News => {
                watches_failed = 0;
                silent_since = None;
                version = Some(watched.version);
            }
            // A watch that is stuck, or held by whatever stands between, is as quiet as one with nothing
            // to tell, and a quiet kind's bookmarks are of its last change: only a list tells them apart.
            Ok(()) if silent_since.is_some_and(|since| since.elapsed() >= SILENCE_MAX) => {
                debug!(
                    source = %shared.name,
                    resource = shared.kind(unit).resource(),
                    "its watches were silent for long: listing anew"
                );
                silent_since = None;
            }
            // Nothing to tell, or nothing known: a server whose cache is older than our version takes
            // the watch and is silent until it gets there (`process` in apiserver's
            // `cache_watcher.go`). So it is asked for one object of the present.
            Ok(()) if watched.has_lasted => match probe(shared, unit, &watched.version).await {
                Ok(present) => {
                    watches_failed = 0;
                    if is_older(&watched.version, &present) {
                        silent_since.get_or_insert_with(Instant::now);
                    }
                    version = Some(watched.version);
                }
                Err(failure) => {
                    fail(shared, unit, &failure);
                    sleep(backoff.next()).await;
                }
            },
            Ok(()) => {
                let failed = watches_failed + 1;
                watches_failed = match watched.heard {
                    Heard::Nothing => failed,
                    Heard::NothingNew | Heard::News => 0,
                };
                version = Some(watched.version);
            }
            Err(Failure::Gone) => {
                debug!(
                    source = %shared.name,
                    resource = shared.kind(unit).resource(),
                    "the watch is too old: listing anew"
                );
            }
            Err(failure) => {
                fail(shared, unit, &failure);
                watches_failed += 1;
                // What was there is gone: only discovery can tell whether it will stay so. And who tells
                // of the past is asked for all.
                if !matches!(failure, Failure::Behind(_) | Failure::Absent) {
                    version = Some(watched.version);
                }
            }
        }
        if watches_failed >= WATCH_FAILURES_MAX {
            watches_failed = 0;
            version = None;
        }
        if has_failed || !watched.was_stable {
            sleep(backoff.next()).await;
        }
    }
}

fn fail(shared: &Shared, unit: usize, failure: &Failure) {
    shared.tell(|world, now| world.fail(unit, failure, now));
    if matches!(failure, Failure::Unauthenticated(_)) {
        shared.renew.notify_one();
    }
}

/// Reads the whole list and puts it in place of what was known, unless it is older than `newest`. Its
/// version.
pub(super) async fn list(shared: &Shared, unit: usize, newest: &str) -> Result<String, Failure> {
    discovery::find(shared, unit).await?;
    if shared.resource(unit).shape == Shape::Event {
        // What was said before is over, or is said again: a failing pull repeats itself.
        let version = probe(shared, unit, newest).await?;
        shared.tell(|world, now| world.replace(unit, Records::new(), now));
        return Ok(version);
    }
    for _ in 0..LIST_RESTARTS_MAX {
        match try_list(shared, unit, newest).await {
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

/// Asks the server whether it knows the present, and for its version. It reads one object from etcd's
/// quorum.
async fn probe(shared: &Shared, unit: usize, newest: &str) -> Result<String, Failure> {
    let resource = shared.resource(unit);
    let page = api::page(&shared.client(), &resource, 1, None).await?;
    checked(&page, newest)?;
    shared.tell(|world, now| world.well(unit, now));
    Ok(page.metadata.resource_version)
}

/// Whether a page is one, and not older than what was seen.
fn checked(page: &Page, newest: &str) -> Result<(), Failure> {
    let version = &page.metadata.resource_version;
    if version.is_empty() {
        // Any JSON object would pass for an empty list, an error's too.
        let problem = "the answer is not a list: it has no resource version";
        return Err(Failure::Other(problem.to_owned()));
    }
    if is_older(version, newest) {
        return Err(Failure::Behind(format!(
            "its list is of version {version}, and {newest} was seen before: the API server answers \
             from an old state (if etcd was restored from a backup, restart pullproof)"
        )));
    }
    Ok(())
}

async fn try_list(
    shared: &Shared,
    unit: usize,
    newest: &str,
) -> Result<(Records, String), Failure> {
    let resource = shared.resource(unit);
    let mut records = Records::new();
    let mut first = None;
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
        checked(&page, newest)?;
        let version = page.metadata.resource_version;
        // All pages of a list are of one version; of another one they are another state's.
        let first = first.get_or_insert_with(|| version.clone());
        if *first != version {
            return Err(Failure::Gone);
        }
        shared.world().reduce(unit, page.items, &mut records);
        if page.metadata.continue_token.is_empty() {
            return Ok((records, version));
        }
        continue_token = Some(page.metadata.continue_token);
    }
}

/// What a watch has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Heard {
    Nothing,
    /// Bookmarks of where it began.
    NothingNew,
    News,
}

struct Watched {
    /// The last version that was seen: where the next watch begins.
    version: String,
    heard: Heard,
    /// Whether it lived as long as it was asked to.
    has_lasted: bool,
    /// Whether it lived as long as a healthy one does.
    was_stable: bool,
    end: Result<(), Failure>,
}

async fn watch(shared: &Shared, unit: usize, version: String) -> Watched {
    let Times {
        watch_seconds,
        stall_margin,
    } = &shared.times;
    let (least, most) = (*watch_seconds.start(), *watch_seconds.end());
    let seconds = least + random() % (most.saturating_sub(least) + 1);
    let asked = Duration::from_secs(seconds.into());
    let begun = Instant::now();
    let mut watched = Watched {
        version,
        heard: Heard::Nothing,
        has_lasted: false,
        was_stable: false,
        end: Ok(()),
    };
    watched.end = try_watch(shared, unit, &mut watched, seconds, *stall_margin).await;
    watched.has_lasted = begun.elapsed() >= asked;
    watched.was_stable = begun.elapsed() >= WATCH_STABLE.min(asked);
    watched
}

async fn try_watch(
    shared: &Shared,
    unit: usize,
    watched: &mut Watched,
    seconds: u32,
    stall_margin: Duration,
) -> Result<(), Failure> {
    let resource = shared.resource(unit);
    let mut watch = Watch::open(&shared.client(), &resource, &watched.version, seconds).await?;
    shared.tell(|world, now| world.well(unit, now));
    let closes = Instant::now() + Duration::from_secs(seconds.into());
    let mut heard = Instant::now();
    loop {
        let Ok(event) = timeout_at(closes + stall_margin, watch.next()).await else {
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
        let is_news = !matches!(event, Event::Bookmark(_)) || seen != watched.version;
        watched.heard = watched.heard.max(if is_news {
            Heard::News
        } else {
            Heard::NothingNew
        });
        if is_older(&seen, &watched.version) {
            return Err(Failure::Behind(format!(
                "its watch is at version {seen}, and {} was seen before: the API server answers from \
                 an old state",
                watched.version
            )));
        }
        shared.tell(|world, now| match event {
            Event::Put(item) => world.put(unit, item, now),
            Event::Deleted(item) => world.remove(unit, &item, now),
            Event::Bookmark(_) => world.well(unit, now),
        });
        if !seen.is_empty() {
            watched.version = seen;
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
