//! The redis that replicas share, as a session makes it forget.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::Session;
use crate::app::collector::redis;
use crate::app::collector::settle::{Caches, Shared, Unlinked};
use crate::collection::item::RunId;
use crate::collection::machine::Event;
use crate::collection::run::Why;
use crate::config::{Redis, Restart};
use crate::gc::plan::Plan;
use crate::gc::refusal::{Code, Refusal};
use crate::second::Second;

/// Beside the journal: when a redis forgot. Written after it had, so that whoever dies in between knows less
/// than is so, and never more.
const FORGOT: &str = "forgot.json";
/// After so long it is tried again.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize, Deserialize)]
struct Forgot {
    /// Which redis, and which database of it.
    redis: String,
    /// When it began to.
    began: Second,
}

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// So many keys it had, when it forgot.
    count: Option<u64>,
    /// Of what was asked for last, whether some replica answered although it is not there, or may have.
    pub(super) is_believed: bool,
}

impl Session<'_> {
    /// Whether it is there, and takes what is written: else nothing that is taken would settle.
    pub(super) fn check_redis(&mut self) {
        let Some(redis) = self.redis() else { return };
        let looked = self.work.runtime.block_on(redis::look(&redis));
        self.facts.check(Code::CacheUnsettled, looked);
    }

    fn redis(&self) -> Option<Redis> {
        let gc = &self.work.registry.gc;
        gc.redis.clone().filter(|_| !self.foreign.collects)
    }

    /// Has it forget what it remembers of blobs, or has all go back for which that was to be.
    pub(super) fn forget(&mut self) -> Event {
        match self.forgets() {
            Ok(()) => Event::Forgotten,
            Err(problem) => {
                self.unsettled(format!("{problem}; what was taken goes back"));
                Event::NotForgotten
            }
        }
    }

    /// Tried again and again for as long as it may take.
    fn forgets(&mut self) -> Result<(), String> {
        let Some(redis) = self.redis() else {
            return Err("there is no redis to forget anything".to_owned());
        };
        let until = self.within();
        let mut first = None;
        loop {
            let Err(problem) = self.forgets_once(&redis, until) else {
                return Ok(());
            };
            warn!(storage = self.work.registry.host, "{problem}");
            // The last time is cut short, and so says less.
            let first = first.get_or_insert(problem);
            self.pause(AGAIN, until)
                .map_err(|why| format!("{first}: {why}"))?;
        }
    }

    /// Nothing is taken by it, and so it may take longer than the window.
    pub(super) fn within(&self) -> Timestamp {
        let now = self.work.clock.now();
        let within = self.work.registry.gc.settle_within;
        now.saturating_add(within).unwrap_or(now)
    }

    fn forgets_once(&mut self, redis: &Redis, until: Timestamp) -> Result<(), String> {
        let began = self.now();
        let left = until.duration_since(self.work.clock.now());
        let left = Duration::try_from(left).unwrap_or_default();
        let forgotten = self
            .work
            .runtime
            .block_on(async { tokio::time::timeout(left, redis::forget(redis)).await });
        let late = |_late| format!("the redis at {redis} takes too long to forget");
        let count = forgotten.map_err(late)??;
        info!(storage = self.work.registry.host, %redis, count, "what it remembered of blobs is removed");
        self.forgetting.count = Some(count);
        // The proofs went through it: one that has nothing is not the one that the replicas have.
        if count == 0 {
            let told = nothing(redis);
            warn!(storage = self.work.registry.host, "{told}");
            if !self.report.told.contains(&told) {
                self.report.told.push(told);
            }
            return Ok(());
        }
        let note = Forgot {
            redis: redis.to_string(),
            began,
        };
        if let Err(problem) = self.remember(FORGOT, &note) {
            warn!(storage = self.work.registry.host, "{problem}");
        }
        Ok(())
    }

    /// What goes by its own word goes back: all of a run, where some replica answers for a part of it although
    /// what they share was emptied.
    pub(super) fn unbelieved(&mut self, run: RunId) -> Option<Event> {
        let redis = self.redis().filter(|_| self.forgetting.is_believed)?;
        let why = match self.forgetting.count {
            Some(0) => nothing(&redis),
            _ => format!("the redis at {redis} has forgotten what it had"),
        };
        self.unsettled(format!(
            "{why}, and a replica answers for what was taken: what remembers it is elsewhere, name that in \
             `gc.settle.redis`, or restart the replicas if it is in their memory; all of {run} goes back"
        ));
        Some(Event::Wanted(run, Why::CacheUnsettled, None))
    }

    fn unsettled(&mut self, problem: String) {
        self.refuse(vec![Refusal::new(Code::CacheUnsettled, problem.clone())]);
        self.fail(problem);
    }

    /// What is known of who remembers what. What waits only for the redis waits no longer.
    pub(super) fn caches(
        &mut self,
        plan: &Plan,
        unlinked: &Unlinked<'_>,
    ) -> Result<Caches, Refusal> {
        let caches = self.known_caches();
        let now = self.now();
        let mut since = plan.garbage().filter_map(|row| unlinked.since(&row));
        if !since.any(|at| caches.may_forget(at, now)) {
            return Ok(caches);
        }
        if let Some(redis) = self.redis() {
            self.forgets_once(&redis, self.within())
                .map_err(|problem| Refusal::new(Code::CacheUnsettled, problem))?;
        }
        Ok(self.known_caches())
    }

    fn known_caches(&mut self) -> Caches {
        let redis = self.redis();
        let is_shared = redis.is_some() && self.work.registry.gc.restart == Restart::None;
        let replicas = (!is_shared).then(|| self.replicas());
        let longest_request = super::super::seconds(self.work.registry.gc.longest_request);
        let redis = redis.map(|redis| Shared {
            forgot: self.forgot(&redis),
            longest_request,
        });
        Caches { replicas, redis }
    }

    fn forgot(&mut self, redis: &Redis) -> Option<Second> {
        match self.remembered::<Forgot>(FORGOT) {
            Ok(note) => note
                .filter(|note| note.redis == redis.to_string())
                .map(|note| note.began),
            // It is made to forget once more.
            Err(problem) => {
                warn!(storage = self.work.registry.host, "{problem}");
                None
            }
        }
    }
}

fn nothing(redis: &Redis) -> String {
    format!(
        "the redis at {redis} had none of the registry's keys: it is another one, or another database of it, than \
         the replicas have (`gc.settle.redis`)"
    )
}
