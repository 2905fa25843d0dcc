//! Writes Kubernetes Events on the workloads whose images break and heal. What is to be told is decided in
//! [`crate::events`]; that it cannot be told never disturbs a verification.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::writing::Writer;
use super::sources::{self, Wanted};
use crate::clock::Clock;
use crate::config::Config;
use crate::events::{Counts, Decision, Limits, Memory, Outcome, Target, Targets, decide};
use crate::inventory::cluster::ClusterOptions;
use crate::state::Snapshot;

mod kept;
mod leading;
mod writing;

/// How often it is said that there were too many.
const DROPPED_TOLD_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// What it needs.
#[derive(Debug)]
pub struct Parts {
    pub configs: watch::Receiver<Arc<Config>>,
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Where it is remembered what was told; `None` where nothing survives a restart.
    pub directory: Option<PathBuf>,
    pub clock: Arc<dyn Clock>,
}

/// Starts it. The result counts what came of the Events.
pub fn spawn(
    tasks: &mut JoinSet<Result<()>>,
    parts: Parts,
    stop: &CancellationToken,
) -> Arc<Counts> {
    let counts = Arc::new(Counts::default());
    let (leads, leading) = watch::channel(None);
    let Parts {
        configs,
        snapshots,
        directory,
        clock,
    } = parts;
    let lead = leading::follow(configs.clone(), Arc::clone(&clock), leads, stop.clone());
    tasks.spawn(async {
        lead.await;
        Ok(())
    });
    let events = Events {
        configs,
        snapshots,
        leading,
        clock,
        kept: kept::Kept::new(directory),
        limits: Limits::default(),
        writer: Writer::new(),
        counts: Arc::clone(&counts),
        dropped: Dropped::default(),
    };
    let run = events.run(stop.clone());
    tasks.spawn(async {
        run.await;
        Ok(())
    });
    counts
}

struct Events {
    configs: watch::Receiver<Arc<Config>>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Whether this process may write where only one may; `None` while that is not known.
    leading: watch::Receiver<Option<bool>>,
    clock: Arc<dyn Clock>,
    kept: kept::Kept,
    limits: Limits,
    writer: Writer,
    counts: Arc<Counts>,
    dropped: Dropped,
}

impl Events {
    /// Until told to stop.
    async fn run(mut self, stop: CancellationToken) {
        let mut memory: Option<Memory> = None;
        loop {
            // Cancel-safe: a change that is not seen now is seen by the next look.
            tokio::select! {
                changed = self.snapshots.changed() => if changed.is_err() { break },
                changed = self.configs.changed() => if changed.is_err() { break },
                changed = self.leading.changed() => if changed.is_err() { break },
                () = stop.cancelled() => break,
            }
            let config = Arc::clone(&self.configs.borrow_and_update());
            self.counts.set_on(config.writes_events);
            if !config.writes_events {
                // What breaks meanwhile is not seen: when Events are wanted again, all that is broken then was so
                // before.
                memory = None;
                self.kept.forget().await;
                continue;
            }
            let leads = *self.leading.borrow_and_update();
            // Until it is known who tells, nothing counts as told.
            let Some(may_write) = (if config.lease.is_some() {
                leads
            } else {
                Some(true)
            }) else {
                continue;
            };
            let before = match memory.take() {
                Some(memory) => memory,
                None => self.kept.load().await,
            };
            memory = Some(self.tell(before, &config, may_write, &stop).await);
        }
        stop.cancelled().await;
    }

    /// Tells what has changed. The result is what is known of it then.
    async fn tell(
        &mut self,
        before: Memory,
        config: &Config,
        may_write: bool,
        stop: &CancellationToken,
    ) -> Memory {
        let clusters = clusters(config);
        let targets = targets(config, &clusters);
        let mut memory = before.clone();
        let Decision { write, dropped } = {
            let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
            decide(
                &mut memory,
                &mut self.limits,
                &snapshot,
                &targets,
                may_write,
            )
        };
        // Before anything is written: what is killed in between tells too little, and never twice.
        if memory != before {
            self.kept.save(&memory).await;
        }
        self.counts.add(Outcome::Dropped, dropped);
        if !write.is_empty() {
            let now = self.clock.now();
            let done = self
                .writer
                .write(write, &clusters, &targets, now, stop)
                .await;
            for outcome in Outcome::ALL {
                self.counts.add(outcome, done.count(outcome));
            }
            if !done.left.is_empty() {
                for unwritten in &done.left {
                    memory.take_back(unwritten);
                }
                self.kept.save(&memory).await;
            }
        }
        self.dropped.tell(dropped, self.clock.now());
        memory
    }
}

/// The clusters that are read, and how.
fn clusters(config: &Config) -> Vec<ClusterOptions> {
    let wanted = sources::of_config(config).into_iter();
    let clusters = wanted.filter_map(|wanted| match wanted {
        Wanted::Cluster { options, .. } => Some(options),
        Wanted::Peer(_)
        | Wanted::References { .. }
        | Wanted::Manifests { .. }
        | Wanted::ReferencesText { .. }
        | Wanted::ManifestsText { .. }
        | Wanted::Arguments(_) => None,
    });
    clusters.collect()
}

fn targets(config: &Config, clusters: &[ClusterOptions]) -> Targets {
    let target = |options: &ClusterOptions| Target {
        cluster: options.name.as_deref().map(Into::into),
        source: options.source_name.as_str().into(),
    };
    Targets {
        clusters: clusters.iter().map(target).collect(),
        customs: config.inventory.custom_resources.clone(),
    }
}

/// Says in one line how many there were too many.
#[derive(Debug, Default)]
struct Dropped {
    untold: usize,
    told_at: Option<Timestamp>,
}

impl Dropped {
    fn tell(&mut self, more: usize, now: Timestamp) {
        self.untold += more;
        let is_early = |at: Timestamp| now.duration_since(at) < DROPPED_TOLD_EVERY;
        if self.untold == 0 || self.told_at.is_some_and(is_early) {
            return;
        }
        warn!(
            dropped = self.untold,
            "more images changed than Kubernetes Events are written for; metrics, alerts and the page have all of them"
        );
        self.untold = 0;
        self.told_at = Some(now);
    }
}
