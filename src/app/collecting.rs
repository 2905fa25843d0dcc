//! Collects storages inside their windows: begins what is due, watches what is in quarantine, and tells how
//! it stands.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::collector::{self, Reading, Report, Restore, Standing, Sum, Task, Work};
use super::kept::Watched;
use super::registries::Registries;
use super::sources::{self, Wanted};
use crate::clock::Clock;
use crate::collection::gate::Facts;
use crate::collection::machine::Ending;
use crate::collection::occasion::{self, Occasion};
use crate::collection::proven::Require;
use crate::config::{Collector, Config, Mode, Registry};
use crate::credential_source::Sources;
use crate::gc::refusal::{Code, Refusal};
use crate::gc::window::opening::{Opening, OpeningId};
use crate::inventory::keepset::LedTo;
use crate::registry::manifest_cache::InMemory;
use crate::registry::stats::Stats;
use crate::second::Second;
use crate::state::Snapshot;
use crate::state::collections::{
    Amount, CollectionStatus, Collections, Did, Last, Leading, Remembered,
};
use crate::state::storages::{Storages, Terms};
use crate::state::windows::Windows;
use crate::verify::finding::Verdict;

mod job;
mod memory;

/// It is looked this often whether something is due, or got worse.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// What the gate would say is told this often.
const GATE_EVERY: Duration = Duration::from_mins(1);

/// So long the first reading of all sources is waited for. What was not read by then is a refusal.
const READING_MAX: Duration = Duration::from_mins(5);

/// With what it collects.
#[derive(Clone)]
pub struct Collecting {
    /// Sources that the command line names.
    pub more: Vec<Wanted>,
    pub stats: Stats,
    pub clock: Arc<dyn Clock>,
    pub watched: Watched,
    /// Told whenever the Lease is got or lost.
    pub leading: watch::Sender<Leading>,
}

impl fmt::Debug for Collecting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Collecting").finish_non_exhaustive()
    }
}

/// What it goes by.
#[derive(Debug, Clone)]
pub struct Seen {
    pub windows: watch::Receiver<Arc<Windows>>,
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    pub storages: watch::Receiver<Arc<Storages>>,
}

impl Collecting {
    /// Starts it; what it tells is the result.
    pub fn spawn(
        self,
        tasks: &mut JoinSet<anyhow::Result<()>>,
        configs: &watch::Receiver<Arc<Config>>,
        seen: Seen,
        stop: &CancellationToken,
    ) -> watch::Receiver<Arc<Collections>> {
        let (publish, collections) = watch::channel(Arc::default());
        let run = self.run(configs.clone(), seen, publish, stop.clone());
        tasks.spawn(async {
            run.await;
            Ok(())
        });
        collections
    }

    /// What a session of a registry works with.
    pub(super) fn work(
        &self,
        config: &Arc<Config>,
        registry: &Registry,
        until: Timestamp,
        opening: Option<OpeningId>,
    ) -> Work {
        let runtime = Handle::current();
        let mut wanted = self.more.clone();
        if wanted.is_empty() || !config.inventory.is_empty() {
            wanted.extend(sources::of_config(config));
        }
        let read_kept = {
            let (runtime, watched) = (runtime.clone(), self.watched.clone());
            let (config, registry) = (Arc::clone(config), registry.clone());
            move |reading: Reading, copied: Vec<LedTo>| {
                Ok(match reading {
                    Reading::Known => watched.known(&registry, copied),
                    Reading::New => {
                        runtime.block_on(watched.read(&wanted, &config, &registry, copied))
                    }
                })
            }
        };
        let leads = {
            let (leading, storage) = (self.leading.clone(), registry.host.clone());
            move |leads| leading.send_modify(|it| it.set(&storage, leads))
        };
        Work {
            leads: Arc::new(leads),
            registries: Registries {
                config: Arc::clone(config),
                named: std::collections::BTreeSet::new(),
                plain_http: std::collections::BTreeSet::new(),
                personal: Arc::default(),
                sources: Sources::default(),
                stats: self.stats.clone(),
                manifests: Arc::new(InMemory::default()),
                depth: None,
                memory: None,
                exchanges: None,
                clock: Arc::clone(&self.clock),
            },
            registry: registry.clone(),
            read_kept: Box::new(read_kept),
            clock: Arc::clone(&self.clock),
            runtime,
            until,
            stop: Arc::default(),
            worse: Arc::default(),
            opening,
            accepted: None,
            only: None,
        }
    }

    /// Until told to stop. With a new configuration all begins anew, once what is under way has stopped.
    async fn run(
        self,
        mut configs: watch::Receiver<Arc<Config>>,
        seen: Seen,
        publish: watch::Sender<Arc<Collections>>,
        stop: CancellationToken,
    ) {
        let publish = Arc::new(publish);
        loop {
            let config = Arc::clone(&configs.borrow_and_update());
            self.leading
                .send_modify(|leading| leading.is_elected = config.lease.is_some());
            let end = stop.child_token();
            let mut storages = JoinSet::new();
            let collected =
                |registry: &&Registry| registry.is_collected() && registry.gc.mode != Mode::Plan;
            let collected: Vec<&Registry> = config.registries.iter().filter(collected).collect();
            publish.send_modify(|all| {
                let is_there = |host: &String| collected.iter().any(|it| it.host == *host);
                Arc::make_mut(all).retain(|host, _| is_there(host));
            });
            for registry in collected {
                let one = One {
                    with: self.clone(),
                    config: Arc::clone(&config),
                    registry: registry.clone(),
                    seen: seen.clone(),
                    publish: Arc::clone(&publish),
                    standing: Standing::default(),
                    last: None,
                    facts: Facts::default(),
                    tried_at: None,
                    tended_at: None,
                    returned_at: None,
                    problem: None,
                    paused: None,
                    obeyed_recall: None,
                    remembered: Remembered::default(),
                };
                match one.registry.gc.collector.clone() {
                    Collector::InProcess => storages.spawn(one.run(end.clone())),
                    Collector::Job(by) => storages.spawn(one.run_jobs(by, end.clone())),
                };
            }
            let changed = tokio::select! {
                changed = configs.changed() => changed,
                () = stop.cancelled() => Ok(()),
            };
            end.cancel();
            while let Some(ended) = storages.join_next().await {
                if let Err(panic) = ended {
                    error!(%panic, "a collection died; its storage is looked at again");
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

/// One storage.
struct One {
    with: Collecting,
    config: Arc<Config>,
    registry: Registry,
    seen: Seen,
    publish: Arc<watch::Sender<Arc<Collections>>>,
    standing: Standing,
    last: Option<OpeningId>,
    /// Of the last session that asked the gate.
    facts: Facts,
    tried_at: Option<Timestamp>,
    tended_at: Option<Timestamp>,
    returned_at: Option<Timestamp>,
    /// What keeps a Job from being started or followed.
    problem: Option<String>,
    /// That an operator paused the Jobs.
    paused: Option<Refusal>,
    /// The plan that had asked something back when the last session began.
    obeyed_recall: Option<Timestamp>,
    /// As it was written last.
    remembered: Remembered,
}

impl One {
    async fn run(mut self, stop: CancellationToken) {
        self.recall().await;
        let begun = tokio::time::Instant::now();
        let mut told_at: Option<tokio::time::Instant> = None;
        while !stop.is_cancelled() {
            let now = self.with.clock.now();
            let open = self.opening();
            let worse = self.worse(self.standing.held_since);
            if let Some((image, _)) = &worse {
                warn!(
                    storage = self.registry.host,
                    image, "it got worse while something is in quarantine: everything goes back"
                );
            }
            let occasion = occasion::next(
                &occasion::Standing {
                    collects: self.is_read() || begun.elapsed() >= READING_MAX,
                    open: open.as_ref(),
                    last: self.last.as_ref(),
                    tried_at: self.tried_at,
                    is_worse: worse.is_some(),
                    returned_at: self.returned_at,
                    is_open: self.standing.is_open,
                    recalled_at: self
                        .recalled_at()
                        .filter(|at| Some(*at) != self.obeyed_recall),
                    returns_at: self.standing.returns_at.map(Timestamp::from),
                    tended_at: self.tended_at,
                },
                now,
            );
            if let Some(occasion) = occasion {
                self.session(occasion, &stop).await;
                told_at = None;
                continue;
            }
            if told_at.is_none_or(|at| at.elapsed() >= GATE_EVERY) {
                self.tell_gate(open.as_ref()).await;
                told_at = Some(tokio::time::Instant::now());
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Whether each source was read once: what stands between a start and that is no refusal.
    fn is_read(&self) -> bool {
        let published = self.with.watched.published.borrow();
        let sources = &published.inventory.sources;
        !sources.is_empty() && !sources.iter().any(|source| source.is_awaited)
    }

    fn opening(&self) -> Option<Opening> {
        let windows = self.seen.windows.borrow();
        let mut groups = windows.groups.iter();
        let own = groups.find(|group| group.storages.contains(&self.registry.host));
        own.and_then(|group| group.open.clone())
    }

    /// An image of this registry that could be pulled once, and cannot be since something was taken; the first
    /// that got so, and when.
    fn worse(&self, since: Option<Second>) -> Option<(String, Second)> {
        let since = since?;
        let snapshot = Arc::clone(&self.seen.snapshots.borrow());
        let images = snapshot.images.iter().chain(&snapshot.endpoints);
        let worse = images.filter(|image| {
            image.verdict() == Verdict::Broken
                && image.proven_at.is_some()
                && image.since >= since
                && self.is_own(image.registry())
        });
        let first = worse.min_by_key(|image| image.since);
        first.map(|image| (image.reference().to_owned(), image.since))
    }

    /// When the last plan was made, if it asked something back.
    fn recalled_at(&self) -> Option<Timestamp> {
        let storages = self.seen.storages.borrow();
        let planned = storages.get(&self.registry.host)?.planned.as_ref();
        planned.filter(|it| it.recalled > 0).map(|it| it.at)
    }

    fn is_own(&self, host: &str) -> bool {
        self.config.leads_to(host, &self.registry)
    }

    /// A session, from its beginning to its end.
    async fn session(&mut self, occasion: Occasion, stop: &CancellationToken) {
        let begun = self.with.clock.now();
        self.obeyed_recall = self.recalled_at();
        let (task, until, opening) = match occasion {
            Occasion::Return => (Task::Restore(Restore::Worse), Timestamp::MAX, None),
            Occasion::Tend => (Task::Tend, Timestamp::MAX, None),
            Occasion::Run(opening, until) => (Task::Run, until, Some(opening)),
        };
        if let Some(opening) = &opening {
            info!(storage = self.registry.host, %opening, "a collection begins");
            self.tried_at = Some(begun);
        }
        if task == Task::Restore(Restore::Worse) {
            self.returned_at = Some(begun);
        }
        let work = self.with.work(&self.config, &self.registry, until, opening);
        let (stopping, worse) = (Arc::clone(&work.stop), Arc::clone(&work.worse));
        self.change(|status| status.is_running = true);
        let is_run = task == Task::Run;
        let session = tokio::task::spawn_blocking(move || collector::run(&work, &task));
        tokio::pin!(session);
        let since = self.standing.held_since.unwrap_or_else(|| begun.into());
        let mut is_told = false;
        let report = loop {
            tokio::select! {
                report = &mut session => break report,
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled(), if !stopping.load(Ordering::Relaxed) => {
                    stopping.store(true, Ordering::Relaxed);
                }
            }
            if !is_told && let Some((image, _)) = self.worse(Some(since)) {
                error!(
                    storage = self.registry.host,
                    image, "it got worse during a collection: everything goes back"
                );
                worse.store(true, Ordering::Relaxed);
                is_told = true;
            }
        };
        self.tended_at = Some(self.with.clock.now());
        match report {
            Ok(report) => {
                self.take(report, is_run);
                self.remember().await;
            }
            Err(panic) => {
                error!(storage = self.registry.host, %panic, "a collection died");
                self.standing.is_open = true;
                self.change(|status| status.is_running = false);
            }
        }
    }

    fn take(&mut self, report: Report, is_run: bool) {
        let (result, unsettled) = (report.result(), report.unsettled());
        if report.is_permitted {
            self.last.clone_from(&report.standing.opening);
        }
        let Report {
            ending,
            refusals,
            told,
            taken,
            restored,
            purged,
            failed,
            facts,
            drilled_at,
            standing,
            took,
            ..
        } = report;
        let at = self.with.clock.now();
        // What was merely tended is no run.
        let counts = is_run || matches!(ending, Some(Ending::Restored | Ending::Failed));
        // Of a session that was refused before it looked nothing is known.
        if is_run && facts != Facts::default() {
            self.facts = facts;
        }
        if ending != Some(Ending::Refused) || standing != Standing::default() {
            if standing.opening.is_some() {
                self.last.clone_from(&standing.opening);
            }
            self.standing = standing;
        }
        let held = amount(self.standing.held);
        let Standing {
            held_since,
            returns_at,
            ..
        } = self.standing;
        let took: BTreeMap<&'static str, Duration> = took
            .into_iter()
            .map(|(phase, took)| (phase.as_str(), took))
            .collect();
        let did = Did {
            taken: Some(amount(taken)),
            restored: amount(restored),
            purged: amount(purged),
            took: took.iter().map(|(phase, took)| (*phase, *took)).collect(),
        };
        self.change(|status| {
            status.is_running = false;
            status.held = held;
            status.held_since = held_since.map(Timestamp::from);
            status.returns_at = returns_at.map(Timestamp::from);
            status.drilled_at = drilled_at.or(status.drilled_at);
            status.purged.add(did.purged);
            status.restored.add(did.restored);
            status.took.extend(took);
            if let Some(unsettled) = unsettled.filter(|_| is_run) {
                status.unsettled = unsettled;
            }
            if counts {
                status.take(Last {
                    at,
                    result,
                    refusals,
                    failed,
                    told,
                    did,
                });
            }
        });
    }

    /// Takes what is remembered of the runs before this start.
    async fn recall(&mut self) {
        let (config, registry) = (Arc::clone(&self.config), self.registry.clone());
        let recalled = tokio::task::spawn_blocking(move || memory::recall(&config, &registry));
        self.remembered = recalled.await.unwrap_or_default();
        let before = self.remembered.clone();
        self.change(|status| {
            // With a new configuration all of it is known.
            if status.to_remember() == Remembered::default() {
                status.recall(before);
            }
        });
    }

    /// Remembers the runs, if there is anything new.
    async fn remember(&mut self) {
        let now = {
            let all = self.publish.borrow();
            let status = all.get(&self.registry.host);
            status
                .map(CollectionStatus::to_remember)
                .unwrap_or_default()
        };
        if now == self.remembered {
            return;
        }
        self.remembered = now.clone();
        let (config, registry) = (Arc::clone(&self.config), self.registry.clone());
        let writing = move || memory::remember(&config, &registry, &now);
        if let Err(panic) = tokio::task::spawn_blocking(writing).await {
            error!(storage = self.registry.host, %panic, "a run is not remembered");
        }
    }

    /// Tells what the gate would say.
    async fn tell_gate(&self, open: Option<&Opening>) {
        let mut facts = match self.registry.gc.collector {
            Collector::InProcess => {
                let (config, registry) = (Arc::clone(&self.config), self.registry.clone());
                let looked =
                    tokio::task::spawn_blocking(move || collector::look(&config, &registry)).await;
                let looked = looked.unwrap_or_default();
                self.change(|status| status.read_only_since = looked.read_only_since);
                looked.facts
            }
            // The storage is not this process's to look at, and how the registry was left Jobs tell.
            Collector::Job(_) => {
                let mut facts = Facts::default();
                if let Some(paused) = &self.paused {
                    facts.refused(paused.clone());
                }
                facts
            }
        };
        facts.met(Code::PlanOnly);
        if let Some(problem) = &self.problem {
            facts.refused(Refusal::new(Code::StorageUnsupported, problem.clone()));
        }
        facts.check(
            Code::WindowClosed,
            match open {
                Some(_) => Ok(()),
                None => Err("no window is open".to_owned()),
            },
        );
        match self.with.watched.known(&self.registry, Vec::new()) {
            Ok(kept) => {
                for refusal in kept.refusals {
                    facts.refused(refusal);
                }
                for code in [
                    Code::InventoryIncomplete,
                    Code::InventoryShrunk,
                    Code::LedgerMissing,
                ] {
                    facts.met(code);
                }
            }
            Err(refusals) => {
                for refusal in refusals {
                    facts.refused(refusal);
                }
            }
        }
        let storages = Arc::clone(&self.seen.storages.borrow());
        if let Some(status) = storages.get(&self.registry.host) {
            for refusal in &status.refused {
                facts.refused(refusal.clone());
            }
            if status.planned.is_some() {
                facts.met(Code::ListingIncomplete);
            }
        }
        self.images(&mut facts);
        // What only a run can tell, as the last one told it.
        let carried = facts.carry(&self.facts);
        self.change(|status| {
            status.gate = facts;
            status.carried = carried;
        });
    }

    /// What the last verification says of this registry's images.
    fn images(&self, facts: &mut Facts) {
        let snapshot = Arc::clone(&self.seen.snapshots.borrow());
        if !snapshot.is_ready {
            return;
        }
        let is_regression = self.registry.gc.require == Require::Regression;
        let own = snapshot.images.iter();
        let own = own.filter(|image| self.is_own(image.registry()));
        for image in own {
            let code = match image.verdict() {
                Verdict::Pullable => continue,
                Verdict::Broken if image.proven_at.is_none() => continue,
                Verdict::Broken => Code::ImageBroken,
                Verdict::Unknown if image.proven_at.is_none() && is_regression => continue,
                Verdict::Unknown => Code::ImageUnknown,
            };
            if facts.is_met(code) != Some(false) {
                let reference = image.reference();
                let message = match code {
                    Code::ImageBroken => format!(
                        "{reference} could be pulled and cannot be any more: push it again, or name it under \
                         `gc.acknowledged` if it is known to be lost; `pullproof explain {reference}` shows what is \
                         missing"
                    ),
                    _ => format!(
                        "whether {reference} can be pulled is not known: `pullproof explain {reference}` shows why"
                    ),
                };
                facts.refused(Refusal::new(code, message));
            }
        }
        facts.met(Code::ImageBroken);
        facts.met(Code::ImageUnknown);
    }

    fn change(&self, change: impl FnOnce(&mut CollectionStatus)) {
        self.publish.send_modify(|all| {
            let status = Arc::make_mut(all).entry(self.registry.host.clone());
            let status = status.or_default();
            status.terms = Some(Terms::from(&self.registry.gc));
            change(status);
        });
    }
}

fn amount(sum: Sum) -> Amount {
    Amount {
        blobs: sum.blobs as u64,
        bytes: sum.bytes,
    }
}
