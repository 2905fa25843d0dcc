//! Whoever collects, over and over.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use super::Scale;
use super::journals;
use super::prober::Outage;
use super::site::{Cache, Site};
use super::world::World;

/// More collections than this have to be enough.
const MOST: usize = 20;

#[derive(Debug)]
struct Session {
    began: Instant,
    ended: Instant,
    mode: &'static str,
    result: String,
    /// What closed the gate.
    refused: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Driver {
    site: Arc<Site>,
    world: Arc<World>,
    sessions: Vec<Session>,
    /// How often each condition closed the gate, with the first words of the last time.
    refusals: BTreeMap<String, (usize, String)>,
    /// Sessions that told of something that went wrong.
    failed: Vec<String>,
}

impl Driver {
    pub(super) fn new(site: &Arc<Site>, world: &Arc<World>) -> Self {
        Self {
            site: Arc::clone(site),
            world: Arc::clone(world),
            sessions: Vec::new(),
            refusals: BTreeMap::new(),
            failed: Vec::new(),
        }
    }

    pub(super) async fn collect_until(&mut self, scale: Scale) {
        for number in 0.. {
            let ran = self.sessions.iter().filter(|it| it.ran()).count();
            let purged = journals::Counts::read(&self.site).purged;
            let is_enough = ran >= scale.collections && purged > 0;
            if is_enough && self.world.pushes() >= scale.pushes {
                return;
            }
            assert!(is_enough || number < scale.collections * MOST, "{self}");
            // What replicas remember of what they were asked for goes only with them; and what is purged must
            // not be remembered though none of them was started again since it was taken.
            if number % 4 == 1 && self.site.setup.cache != Cache::Off {
                self.site.restart().await;
            }
            let mode = ["quarantine", "purge"][number % 2];
            self.collect(mode).await;
        }
    }

    /// When nobody changes anything any more, it comes to rest.
    pub(super) async fn collect_the_rest(&mut self) {
        for mode in ["quarantine", "purge", "purge"] {
            self.collect(mode).await;
            let last = self.sessions.last().unwrap();
            // What came last waits until it was planned for long enough.
            let waits = last.refused == ["rehearsal"];
            assert!(last.ran() || waits, "{last:?} {self}");
        }
    }

    async fn collect(&mut self, mode: &'static str) {
        let world = Arc::clone(&self.world);
        let _held = match mode {
            "purge" => Some(world.purging.write().await),
            _ => None,
        };
        let began = Instant::now();
        let ran = self.site.collect(mode).await;
        let ended = Instant::now();
        let view = &ran.view;
        let result = view["result"].as_str();
        let result = result.unwrap_or_else(|| panic!("{ran:?}")).to_owned();
        let mut refused = Vec::new();
        for refusal in view["refusals"].as_array().into_iter().flatten() {
            let code = refusal["code"].as_str().unwrap_or_default().to_owned();
            let message = refusal["message"].as_str().unwrap_or_default();
            refused.push(code.clone());
            let told = self.refusals.entry(code).or_default();
            told.0 += 1;
            told.1 = message.chars().take(200).collect();
        }
        if let Some(failed) = view["failed"].as_str() {
            self.failed.push(format!("{failed}\n{}", ran.stderr));
        }
        self.sessions.push(Session {
            began,
            ended,
            mode,
            result,
            refused,
        });
    }

    /// Whether a whole session went by while something was away: it should have come back by that.
    pub(super) fn outlived(&self, outage: &Outage) -> bool {
        let mut all = self.sessions.iter().filter(|it| it.ran());
        all.any(|it| outage.since <= it.began && it.ended <= outage.until)
    }

    /// In which session, or after which, that was.
    pub(super) fn when(&self, at: Instant) -> String {
        let before = self.sessions.iter().rposition(|it| it.began <= at);
        let Some(number) = before else {
            return "the beginning".to_owned();
        };
        let session = &self.sessions[number];
        let place = if at <= session.ended { "in" } else { "after" };
        let after = at.saturating_duration_since(session.began);
        format!(
            "{place} session {number} ({} {}), {after:?} after it began",
            session.mode, session.result
        )
    }
}

impl Session {
    /// Whether it listed and did what was to be done.
    fn ran(&self) -> bool {
        !matches!(&*self.result, "refused" | "failed")
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut results: BTreeMap<&str, usize> = BTreeMap::new();
        for session in &self.sessions {
            *results.entry(&session.result).or_default() += 1;
        }
        write!(formatter, "{} collections", self.sessions.len())?;
        for (result, count) in results {
            write!(formatter, ", {count} {result}")?;
        }
        for (code, (count, message)) in &self.refusals {
            write!(formatter, "\n    {count} times {code}, such as: {message}")?;
        }
        for failed in &self.failed {
            write!(formatter, "\n    went wrong: {failed}")?;
        }
        Ok(())
    }
}
