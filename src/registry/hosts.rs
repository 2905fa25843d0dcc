//! What is known of each registry host, for as long as the process lives: whether it wants to be left
//! alone, what is left of its quotas, how much it bears at once. All clients of a host share it, those of a
//! new configuration too: who asks does not change what the host said.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;

use super::limiter::Outcome;
use super::pause::Pause;
use super::quota::{Announced, Kind};
use super::quotas::{Quotas, Ticket};
use super::slots::{Slot, Slots};
use super::stats::Remaining;
use crate::clock::Clock;

/// Any tenant can name any host: of more than these, those of which nothing would be lost are forgotten.
const HOSTS_MAX: usize = 256;

/// So many answers in which nobody was told of a quota, and requests are not counted until somebody is.
const SILENT_AFTER: u32 = 3;

/// All hosts.
#[derive(Debug, Clone, Default)]
pub struct Hosts(Arc<Mutex<HashMap<Arc<str>, Arc<Host>>>>);

impl Hosts {
    /// The host of this name, asked by at most `max` requests at once.
    pub(super) fn host(&self, name: &Arc<str>, max: usize, now: Timestamp) -> Arc<Host> {
        let mut hosts = lock(&self.0);
        if hosts.len() >= HOSTS_MAX {
            hosts.retain(|_, host| Arc::strong_count(host) > 1 || !host.is_idle(now));
        }
        let new = || Arc::new(Host::new(max));
        let host = hosts.entry(Arc::clone(name)).or_insert_with(new);
        host.slots.set_max(max);
        Arc::clone(host)
    }

    /// How many requests this host is asked at once now; `None` while nobody asks it.
    pub fn concurrency_limit(&self, name: &str) -> Option<usize> {
        let hosts = lock(&self.0);
        let host = hosts.get(name)?;
        (Arc::strong_count(host) > 1).then(|| host.slots.limit())
    }
}

impl Hosts {
    /// Until when a host asked to be left alone; `None` where it does not.
    pub fn paused_until(&self, name: &str, now: Timestamp) -> Option<Timestamp> {
        let hosts = lock(&self.0);
        let pause = *lock(&hosts.get(name)?.pause);
        pause
            .filter(|pause| pause.left(now).is_some())
            .map(|pause| pause.until)
    }
}

/// One host.
#[derive(Debug)]
pub(super) struct Host {
    slots: Slots,
    pause: Mutex<Option<Pause>>,
    /// Pauses since it last answered with something else than a refusal.
    refused_in_a_row: AtomicU32,
    quotas: Mutex<Quotas>,
    /// A quota was announced once.
    has_quota: AtomicBool,
    /// Answers before the first announcement.
    silent: AtomicU32,
    /// Held by a request while it is not known what one costs.
    one_at_a_time: tokio::sync::Mutex<()>,
    pace: Mutex<Option<Pace>>,
    /// What was announced last.
    pub(super) remaining: Remaining,
}

#[derive(Debug)]
struct Pace {
    per_second: f64,
    limiter: Arc<governor::DefaultDirectRateLimiter>,
}

/// What is to be asked, as far as manners are concerned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visit<'v> {
    /// The credential's id; empty for nobody.
    pub(super) credential: &'v str,
    pub(super) kind: Kind,
    /// One in how many of the quota are ours, where the registry is somebody else's.
    pub(super) share: Option<u64>,
    pub(super) requests_per_second: Option<f64>,
    /// A question waits this long in all for pauses to end. What takes longer is not waited for: the
    /// question is answered `rate_limited` at once, and put again in the next round.
    pub(super) wait_max: Duration,
}

/// The right to send one request. Dropped before [`Turn::end`] the request counts as sent.
#[derive(Debug)]
pub(super) struct Turn<'h> {
    host: &'h Host,
    clock: &'h dyn Clock,
    visit: Visit<'h>,
    slot: Option<Slot<'h>>,
    ticket: Option<Ticket>,
    _alone: Option<tokio::sync::MutexGuard<'h, ()>>,
}

impl Host {
    fn new(max: usize) -> Self {
        Self {
            slots: Slots::new(max),
            pause: Mutex::default(),
            refused_in_a_row: AtomicU32::new(0),
            quotas: Mutex::default(),
            has_quota: AtomicBool::new(false),
            silent: AtomicU32::new(0),
            one_at_a_time: tokio::sync::Mutex::default(),
            pace: Mutex::default(),
            remaining: Remaining::default(),
        }
    }

    fn is_idle(&self, now: Timestamp) -> bool {
        let pause = *lock(&self.pause);
        pause.and_then(|pause| pause.left(now)).is_none() && lock(&self.quotas).are_idle(now)
    }

    /// The registry wants to be left alone; for `unsaid` where it does not say how long.
    pub(super) fn pause(&self, retry_after: Option<Duration>, unsaid: Duration, now: Timestamp) {
        let mut pause = lock(&self.pause);
        // What was under way when it began says nothing of how it ended.
        let is_new = pause.is_none_or(|pause| pause.left(now).is_none());
        let in_a_row = if is_new {
            self.refused_in_a_row.fetch_add(1, Ordering::Relaxed)
        } else {
            0
        };
        *pause = Some(Pause::begin(retry_after, unsaid, in_a_row, now).or_longer(*pause));
    }

    /// Waits until a request may be sent. An error is why it may not be in this round.
    pub(super) async fn turn<'h>(
        &'h self,
        visit: Visit<'h>,
        clock: &'h dyn Clock,
    ) -> Result<Turn<'h>, String> {
        let mut waited = Duration::ZERO;
        loop {
            self.wait_for_pause(&mut waited, visit.wait_max, clock)
                .await?;
            let is_counted = self.has_quota.load(Ordering::Relaxed)
                || visit.share.is_some() && self.silent.load(Ordering::Relaxed) < SILENT_AFTER;
            let is_doubtful = is_counted
                && visit.share.is_some()
                && lock(&self.quotas).is_in_doubt(visit.credential);
            let alone = if is_doubtful {
                Some(self.one_at_a_time.lock().await)
            } else {
                None
            };
            let slot = self.slots.acquire().await;
            if let Some(pace) = self.pace(visit.requests_per_second) {
                pace.until_ready().await;
            }
            let now = clock.now();
            // It may have begun while this request waited for its slot.
            if lock(&self.pause).is_some_and(|pause| pause.left(now).is_some()) {
                continue;
            }
            let ticket = if is_counted {
                let Visit {
                    credential,
                    kind,
                    share,
                    ..
                } = visit;
                let reserved = lock(&self.quotas).reserve(credential, kind, share, now);
                Some(reserved.map_err(|refusal| refusal.to_string())?)
            } else {
                None
            };
            return Ok(Turn {
                host: self,
                clock,
                visit,
                slot: Some(slot),
                ticket,
                _alone: alone,
            });
        }
    }

    /// Waits for a short pause to end. Nobody else's slot is held meanwhile.
    async fn wait_for_pause(
        &self,
        waited: &mut Duration,
        wait_max: Duration,
        clock: &dyn Clock,
    ) -> Result<(), String> {
        loop {
            let pause = *lock(&self.pause);
            let Some(pause) = pause else {
                return Ok(());
            };
            let Some(left) = pause.left(clock.now()) else {
                return Ok(());
            };
            if *waited + left > wait_max {
                return Err(format!(
                    "it asked to be left alone, and is asked again after {:.0}",
                    pause.until
                ));
            }
            tokio::time::sleep(left).await;
            *waited += left;
            // Over by the clock that this waited by, whatever the other says.
            let mut current = lock(&self.pause);
            if *current == Some(pause) {
                *current = None;
            }
        }
    }

    fn pace(&self, per_second: Option<f64>) -> Option<Arc<governor::DefaultDirectRateLimiter>> {
        let per_second = per_second?;
        let mut pace = lock(&self.pace);
        if let Some(pace) = &*pace
            && pace.per_second.total_cmp(&per_second).is_eq()
        {
            return Some(Arc::clone(&pace.limiter));
        }
        let limiter = Arc::new(governor::RateLimiter::direct(quota(per_second)?));
        *pace = Some(Pace {
            per_second,
            limiter: Arc::clone(&limiter),
        });
        Some(limiter)
    }
}

impl Turn<'_> {
    /// The request is over: its headers are there, or there was no answer.
    pub(super) fn end(
        mut self,
        headers: Option<&HeaderMap>,
        kind: usize,
        latency: Duration,
        outcome: Outcome,
    ) {
        let header = |name: &str| headers?.get(name)?.to_str().ok();
        // Two look-ups for the many that announce nothing, and no more.
        let has_any = ["ratelimit-remaining", "x-ratelimit-remaining"]
            .iter()
            .any(|name| header(name).is_some());
        let announced = if has_any {
            Announced::read(header, self.clock.now())
        } else {
            None
        };
        if let Some(announced) = announced {
            let remaining = i64::try_from(announced.remaining).unwrap_or(i64::MAX);
            self.host.remaining.set(remaining);
            self.host.has_quota.store(true, Ordering::Relaxed);
            if self.ticket.is_none() {
                // The first that we hear of it.
                let Visit {
                    credential,
                    kind,
                    share,
                    ..
                } = self.visit;
                let mut quotas = lock(&self.host.quotas);
                let reserved = quotas.reserve(credential, kind, share, self.clock.now());
                self.ticket = reserved.ok();
            }
        } else if headers.is_some() {
            self.host.silent.fetch_add(1, Ordering::Relaxed);
        }
        self.settle(announced, header("docker-ratelimit-source"));
        // Written only when it changes: a line of memory that all share.
        if outcome == Outcome::Answered && self.host.refused_in_a_row.load(Ordering::Relaxed) > 0 {
            self.host.refused_in_a_row.store(0, Ordering::Relaxed);
        }
        if let Some(slot) = self.slot.take() {
            slot.end(kind, latency, outcome);
        }
    }

    fn settle(&mut self, announced: Option<Announced>, source: Option<&str>) {
        if let Some(ticket) = self.ticket.take() {
            lock(&self.host.quotas).settle(ticket, announced, source, self.clock.now());
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.settle(None, None);
    }
}

/// A second's worth may come at once.
fn quota(per_second: f64) -> Option<governor::Quota> {
    let period = Duration::try_from_secs_f64(per_second.recip()).ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it saturates"
    )]
    let burst = std::num::NonZeroU32::new(per_second.ceil() as u32)?;
    Some(governor::Quota::with_period(period)?.allow_burst(burst))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("never held across a panic")
}
