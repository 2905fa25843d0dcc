//! Plans which tags of registries go, again and again, and deletes inside windows what was planned for long
//! enough.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::collecting::Collecting;
use super::collector::{self, Report, Task};
use super::plan::Kept;
use super::retention::{self, Of, Planned, memory, record};
use crate::collection::machine::Ending;
use crate::collection::occasion::MARGIN;
use crate::config::{Config, Registry, RetentionMode};
use crate::gc::refusal::{Code, Refusal};
use crate::gc::window;
use crate::oci::reference::Reference;
use crate::retention::removal::Outcome;
use crate::state::Snapshot;
use crate::state::retention::{Last, Planned as Told, RetentionStatus, Retentions};
use crate::verify::finding::Verdict;

/// It is looked this often whether something is due.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often it is planned, and how soon again where that was refused: a source may only have been away.
const PLAN_EVERY: Duration = Duration::from_hours(1);
const PLAN_EVERY_REFUSED: Duration = Duration::from_mins(1);
/// How soon a run that was refused is tried again: a collection may only have been under way.
const AGAIN_AFTER: Duration = Duration::from_mins(10);
/// So long the first reading of all sources is waited for.
const READING_MAX: Duration = Duration::from_mins(5);

/// With what it decides.
#[derive(Clone)]
pub struct Retaining {
    pub with: Collecting,
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
}

impl fmt::Debug for Retaining {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Retaining").finish_non_exhaustive()
    }
}

impl Retaining {
    /// Starts it; what it tells is the result.
    pub fn spawn(
        self,
        tasks: &mut JoinSet<anyhow::Result<()>>,
        configs: &watch::Receiver<Arc<Config>>,
        stop: &CancellationToken,
    ) -> watch::Receiver<Arc<Retentions>> {
        let (publish, retentions) = watch::channel(Arc::default());
        let run = self.run(configs.clone(), publish, stop.clone());
        tasks.spawn(async {
            run.await;
            Ok(())
        });
        retentions
    }

    /// Until told to stop. With a new configuration all begins anew, once what is under way has stopped.
    async fn run(
        self,
        mut configs: watch::Receiver<Arc<Config>>,
        publish: watch::Sender<Arc<Retentions>>,
        stop: CancellationToken,
    ) {
        let publish = Arc::new(publish);
        loop {
            let config = Arc::clone(&configs.borrow_and_update());
            let end = stop.child_token();
            let mut registries = JoinSet::new();
            publish.send_modify(|all| {
                let is_there = |host: &String| config.retained().any(|it| it.host == *host);
                let all = Arc::make_mut(all);
                all.retain(|host, _| is_there(host));
                for registry in config.retained() {
                    let status = all.entry(registry.host.clone()).or_default();
                    status.terms = Some((&registry.retention).into());
                }
            });
            for registry in config.retained() {
                let one = One {
                    with: self.clone(),
                    config: Arc::clone(&config),
                    registry: registry.clone(),
                    publish: Arc::clone(&publish),
                    ran_in: None,
                    again_at: None,
                };
                registries.spawn(one.run(end.clone()));
            }
            let changed = tokio::select! {
                changed = configs.changed() => changed,
                () = stop.cancelled() => Ok(()),
            };
            end.cancel();
            while let Some(ended) = registries.join_next().await {
                if let Err(panic) = ended {
                    error!(%panic, "what decides about tags died; it begins anew with the next configuration");
                }
            }
            if changed.is_err() {
                stop.cancelled().await;
            }
            if stop.is_cancelled() {
                return;
            }
        }
    }
}

/// One registry.
struct One {
    with: Retaining,
    config: Arc<Config>,
    registry: Registry,
    publish: Arc<watch::Sender<Arc<Retentions>>>,
    /// When the opening began in which the last run ended.
    ran_in: Option<Timestamp>,
    /// Not before then it is tried again.
    again_at: Option<Instant>,
}

impl One {
    async fn run(mut self, stop: CancellationToken) {
        let begun = Instant::now();
        let mut due = Instant::now();
        while !stop.is_cancelled() {
            let is_read = self.is_read() || begun.elapsed() >= READING_MAX;
            if is_read && Instant::now() >= due {
                let is_refused = self.plan().await.is_err();
                due = Instant::now()
                    + if is_refused {
                        PLAN_EVERY_REFUSED
                    } else {
                        PLAN_EVERY
                    };
            }
            if is_read && self.delete(&stop).await {
                // What went is in no plan any more.
                due = Instant::now();
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Whether each source was read once: what stands between a start and that is no refusal.
    fn is_read(&self) -> bool {
        let published = self.with.with.watched.published.borrow();
        let sources = &published.inventory.sources;
        !sources.is_empty() && !sources.iter().any(|source| source.is_awaited)
    }

    /// Plans, and remembers that it did.
    async fn plan(&self) -> Result<(), ()> {
        let planned = match self.with.with.watched.known(&self.registry, Vec::new()) {
            Ok(kept) => self.planned(&kept).await,
            Err(refusals) => Err(refusals),
        };
        match planned {
            Ok(told) => {
                info!(
                    registry = self.registry.host,
                    tags = told.going,
                    due = told.due,
                    "planned which tags go"
                );
                self.change(|status| {
                    status.planned = Some(told);
                    status.refused = Vec::new();
                });
                Ok(())
            }
            Err(refusals) => {
                self.change(|status| {
                    if status.refused != refusals {
                        for refusal in &refusals {
                            warn!(
                                registry = self.registry.host,
                                "no plan of its tags: {refusal}"
                            );
                        }
                    }
                    status.refused = refusals;
                });
                Err(())
            }
        }
    }

    async fn planned(&self, kept: &Kept) -> Result<Told, Vec<Refusal>> {
        // What is not known of a list keeps all.
        if !kept.refusals.is_empty() {
            return Err(kept.refusals.clone());
        }
        let one = |refusal: Refusal| vec![refusal];
        let remembered = self
            .beside(|config, registry| {
                let vault = memory::find(config, registry)?;
                record::read(vault.as_ref())
            })
            .await
            .map_err(one)?;
        let work = self
            .with
            .with
            .work(&self.config, &self.registry, Timestamp::MAX, None);
        let doubts = self.doubts();
        let of = Of {
            registries: &work.registries,
            registry: &self.registry,
            clock: &self.with.with.clock,
            doubts: &doubts,
        };
        let planned = retention::plan(of, kept, remembered.first_seen.clone()).await;
        let planned: Planned = planned.map_err(one)?;
        let after = record::with(&remembered, &planned, &self.registry);
        let due = record::due(&after, &planned, &self.registry, self.with.with.clock.now());
        let told = Told::of(&planned.id, &planned.plan, due, planned.at);
        self.beside(move |config, registry| {
            let vault = memory::open(config, registry)?;
            record::write(&vault, &after)
        })
        .await
        .map_err(one)?;
        Ok(told)
    }

    /// On a thread of its own: it reads or writes what is remembered.
    async fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Config, &Registry) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (config, registry) = (Arc::clone(&self.config), self.registry.clone());
        let work = tokio::task::spawn_blocking(move || work(&config, &registry));
        work.await.unwrap_or_else(|panic| {
            let message = format!("what is remembered of its tags could not be had: {panic}");
            Err(Refusal::new(Code::Rehearsal, message))
        })
    }

    /// Repositories with an image of which nobody can tell whether it can be pulled.
    fn doubts(&self) -> BTreeMap<Box<str>, String> {
        let snapshot = Arc::clone(&self.with.snapshots.borrow());
        let is_own = |host: &str| self.config.leads_to(host, &self.registry);
        let own = snapshot.images.iter();
        let own = own.filter(|image| is_own(image.registry()));
        let unknown = own.filter(|image| image.verdict() == Verdict::Unknown);
        let doubts = unknown.filter_map(|image| {
            let reference: Reference = image.reference().parse().ok()?;
            let doubt = format!("whether `{reference}` can be pulled is not known");
            Some((Box::from(reference.repository()), doubt))
        });
        doubts.collect()
    }

    /// Deletes what is due, once in an opening. Whether something went.
    async fn delete(&mut self, stop: &CancellationToken) -> bool {
        if self.registry.retention.mode == RetentionMode::Plan {
            return false;
        }
        let now = self.with.with.clock.now();
        let Some(opening) = window::open_at(&self.registry.gc.windows, now) else {
            return false;
        };
        let is_done = self.ran_in.is_some_and(|ran| ran >= opening.start);
        if is_done || self.again_at.is_some_and(|at| Instant::now() < at) {
            return false;
        }
        let until = window::opening::stop_by(&opening, MARGIN);
        if until <= now {
            return false;
        }
        let work = self
            .with
            .with
            .work(&self.config, &self.registry, until, None);
        let stopping = Arc::clone(&work.stop);
        self.change(|status| status.is_running = true);
        let session = tokio::task::spawn_blocking(move || collector::run(&work, &Task::Retain));
        tokio::pin!(session);
        let report = loop {
            tokio::select! {
                report = &mut session => break report,
                () = stop.cancelled(), if !stopping.load(Ordering::Relaxed) => {
                    stopping.store(true, Ordering::Relaxed);
                }
            }
        };
        self.change(|status| status.is_running = false);
        match report {
            Ok(report) => {
                if report.ending == Some(Ending::Refused) {
                    self.again_at = Some(Instant::now() + AGAIN_AFTER);
                } else {
                    self.ran_in = Some(opening.start);
                }
                self.take(report)
            }
            Err(panic) => {
                error!(registry = self.registry.host, %panic, "the deletion of tags died");
                self.ran_in = Some(opening.start);
                true
            }
        }
    }

    /// Whether something went.
    fn take(&self, report: Report) -> bool {
        let at = self.with.with.clock.now();
        let removed = || report.removed.iter();
        let gone: BTreeSet<_> = removed()
            .filter(|it| it.outcome.as_ref().is_some_and(Outcome::is_deleted))
            .map(|it| (Arc::clone(&it.repository), Arc::clone(&it.tag)))
            .collect();
        let deleted = gone.len();
        let restored = removed().filter(|it| it.outcome == Some(Outcome::Restored));
        let restored = restored.count();
        if let Some(problem) = &report.failed {
            error!(registry = self.registry.host, "deleting tags: {problem}");
        }
        self.change(|status| {
            if let Some(planned) = &report.retention {
                let due = planned.due.saturating_sub(deleted);
                let told = Told::without(&planned.id, &planned.plan, due, at, &gone);
                status.planned = Some(told);
            }
            status.take(Last {
                at,
                deleted,
                restored,
                refusals: report.refusals,
                failed: report.failed,
            });
        });
        deleted > 0
    }

    fn change(&self, change: impl FnOnce(&mut RetentionStatus)) {
        self.publish.send_modify(|all| {
            let status = Arc::make_mut(all).entry(self.registry.host.clone());
            change(status.or_default());
        });
    }
}
