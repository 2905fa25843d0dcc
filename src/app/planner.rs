//! Plans for each storage again and again, and tells numbers of it. Nothing is written.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::kept::Watched;
use super::{collector, kind, plan};
use crate::clock::Clock;
use crate::config::{Config, Mode, Registry};
use crate::gc::needed::Needed;
use crate::gc::plan::Plan;
use crate::gc::refusal::{Code, Refusal};
use crate::http::keepset::Published;
use crate::registry::stats::Stats;
use crate::state::storages::{Outline, Planned, Storages, Terms};
use crate::storage::{Progress, Storage};

/// How often. Listing a storage of millions of objects costs thousands of requests.
const EVERY: Duration = Duration::from_hours(1);
/// How soon again where it was refused: a source may only have been away.
const EVERY_REFUSED: Duration = Duration::from_mins(1);

/// So long the first reading of all sources is waited for: what stands between a start and it is no
/// refusal. What was not read by then is one.
const READING_MAX: Duration = Duration::from_mins(5);

/// What it plans with.
pub struct Planner {
    watched: Watched,
    stats: Stats,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Planner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Planner").finish_non_exhaustive()
    }
}

impl Planner {
    pub fn of(watched: &Watched, stats: &Stats, clock: &Arc<dyn Clock>) -> Self {
        Self {
            watched: watched.clone(),
            stats: stats.clone(),
            clock: Arc::clone(clock),
        }
    }

    /// Starts it; what it tells is the result.
    pub fn spawn(
        self,
        tasks: &mut JoinSet<anyhow::Result<()>>,
        stop: &CancellationToken,
    ) -> watch::Receiver<Arc<Storages>> {
        let (publish, storages) = watch::channel(Arc::default());
        let published = self.watched.published.clone();
        let run = self.run(published, publish, stop.clone());
        tasks.spawn(async {
            run.await;
            Ok(())
        });
        storages
    }

    /// Until told to stop.
    async fn run(
        self,
        mut published: watch::Receiver<Arc<Published>>,
        publish: watch::Sender<Arc<Storages>>,
        stop: CancellationToken,
    ) {
        let mut config: Option<Arc<Config>> = None;
        let mut due = Instant::now();
        let mut is_first = true;
        loop {
            let now = Arc::clone(&published.borrow_and_update());
            let is_same = |config: &Arc<Config>| Arc::ptr_eq(config, &now.config);
            if !config.as_ref().is_some_and(is_same) {
                config = Some(Arc::clone(&now.config));
                due = Instant::now() + READING_MAX;
                is_first = true;
            }
            let has_storage = now.config.registries.iter().any(is_planned);
            let sources = &now.inventory.sources;
            let is_read = !sources.iter().any(|source| source.is_awaited);
            let is_due = Instant::now() >= due || (is_first && is_read);
            let can_plan = has_storage && !sources.is_empty();
            if can_plan && is_due {
                let mut storages = Storages::clone(&publish.borrow());
                let is_refused = self.all(&mut storages, &now).await;
                publish.send_replace(Arc::new(storages));
                is_first = false;
                due = Instant::now() + if is_refused { EVERY_REFUSED } else { EVERY };
            }
            let wakes = async {
                // Whoever has a storage waits for the next time, whoever has none for another configuration.
                tokio::select! {
                    () = tokio::time::sleep_until(due), if can_plan => Ok(()),
                    changed = published.changed() => changed,
                }
            };
            tokio::select! {
                changed = wakes => if changed.is_err() {
                    stop.cancelled().await;
                    return;
                },
                () = stop.cancelled() => return,
            }
        }
    }

    /// Plans for all of them, one after the other; whether any was refused.
    async fn all(&self, storages: &mut Storages, published: &Published) -> bool {
        let registries = &published.config.registries;
        storages.retain(|host, _| {
            let mut registries = registries.iter();
            registries.any(|registry| registry.host == *host && is_planned(registry))
        });
        let mut is_refused = false;
        for registry in registries.iter().filter(|it| is_planned(it)) {
            let status = storages.entry(registry.host.clone()).or_default();
            status.terms = Some(Terms::from(&registry.gc));
            let (planned, free) = match self.watched.known(registry, Vec::new()) {
                Ok(kept) => self.one(&published.config, registry, kept.needed).await,
                Err(refusals) => (Err(refusals), None),
            };
            match &planned {
                Ok(planned) => info!(
                    storage = registry.host,
                    garbage_blobs = planned.counts.garbage_blobs,
                    garbage_bytes = planned.counts.garbage_bytes,
                    seconds = planned.took.as_secs_f64(),
                    "planned"
                ),
                Err(refusals) if *refusals != status.refused => {
                    for refusal in refusals {
                        warn!(storage = registry.host, "no plan: {refusal}");
                    }
                }
                Err(_) => {}
            }
            is_refused |= planned.is_err();
            status.take(planned);
            status.take_free(free, self.clock.now());
        }
        is_refused
    }

    /// On a thread of its own: it reads a whole storage.
    async fn one(
        &self,
        config: &Config,
        registry: &Registry,
        needed: Needed,
    ) -> (Result<Planned, Vec<Refusal>>, Option<u64>) {
        let known = kind::of(config, registry, &self.stats, &self.clock).await;
        if let Some(refusal) = known.refusal(registry) {
            return (Err(vec![refusal]), None);
        }
        if let Some(warning) = known.warning(registry) {
            warn!("{warning}");
        }
        let now = self.clock.now();
        let begun = Instant::now();
        let registry = registry.clone();
        let work = tokio::task::spawn_blocking(move || {
            let Some(storage) = &registry.storage else {
                return (Err(Vec::new()), None);
            };
            let opened = plan::open(storage).map_err(|refusal| vec![refusal]);
            let free = opened.as_ref().ok().and_then(Storage::free_bytes);
            let planned = opened.and_then(|storage| {
                let progress = Progress::default();
                let plan = plan::plan(&storage, &registry, &needed, now, &progress);
                let plan = plan.map_err(|refusal| vec![refusal])?;
                let recalled = record(&registry, &needed, &plan, now);
                Ok((*plan.counts(), recalled, Outline::of(&registry.host, &plan)))
            });
            (planned, free)
        });
        match work.await {
            Ok((planned, free)) => {
                let planned = planned.map(|(counts, recalled, outline)| Planned {
                    at: now,
                    took: SignedDuration::try_from(begun.elapsed()).unwrap_or_default(),
                    counts,
                    recalled,
                    outline: Arc::new(outline),
                });
                (planned, free)
            }
            Err(panic) => {
                let message = format!("planning failed: {panic}");
                (
                    Err(vec![Refusal::new(Code::ListingIncomplete, message)]),
                    None,
                )
            }
        }
    }
}

/// Records a plan, where anything may be written. So much of what is in quarantine is asked back by it.
fn record(registry: &Registry, needed: &Needed, plan: &Plan, now: Timestamp) -> usize {
    // Under `plan` nothing is written below the root.
    if registry.gc.mode == Mode::Plan {
        return 0;
    }
    match collector::record(registry, needed, plan, now) {
        Ok(recorded) => {
            if recorded.recalled > 0 {
                warn!(
                    storage = registry.host,
                    count = recorded.recalled,
                    "something in quarantine is named by what was pushed since: it goes back"
                );
            }
            recorded.recalled
        }
        Err(refusal) => {
            warn!(
                storage = registry.host,
                "the plan is not recorded: {refusal}"
            );
            0
        }
    }
}

/// Whether its storage is read from here. Where a Job collects it, that has the right to, and plans too.
fn is_planned(registry: &Registry) -> bool {
    registry.storage.is_some() && registry.gc.collector.job().is_none()
}

#[cfg(test)]
mod tests;
