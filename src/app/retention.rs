//! From a registry and what is needed of it to the plan of its tags: reads, asks, and decides nothing.
//!
//! What there is comes from the storage where that is read, and else from the registry's own lists. Nothing is
//! written.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use jiff::Timestamp;

use super::plan::{self as planning, Kept};
use super::registries::Registries;
use crate::clock::Clock;
use crate::config::{Config, Registry};
use crate::gc::graph::Graph;
use crate::gc::refusal::{Code, Refusal};
use crate::prover::Prover;
use crate::retention::plan::{self, Input, Plan, Since};
use crate::retention::protection::Protection;
use crate::retention::rehearsed::FirstSeen;
use crate::storage::Progress;
use crate::verify::depth::Rotation;
use crate::verify::target::AuthId;

mod asked;
mod listed;
pub mod memory;
pub mod record;
pub mod removing;

/// A plan, and of what it was made.
#[derive(Debug)]
pub struct Planned {
    pub plan: Plan,
    pub graph: Arc<Graph>,
    pub protection: Protection,
    /// Repositories about which something is not known, each with what that is.
    pub doubts: BTreeMap<Box<str>, String>,
    pub since: Since,
    /// When what there is was looked at first.
    pub at: Timestamp,
    /// A digest of what would go.
    pub id: String,
    /// When tags were seen first, where that is what counts.
    pub first_seen: Option<FirstSeen>,
}

impl Planned {
    /// Decides again about what there was, by what is needed now and by more that is not known.
    pub fn again(
        &mut self,
        registry: &Registry,
        protection: Option<Protection>,
        doubts: BTreeMap<Box<str>, String>,
    ) {
        self.protection = protection.unwrap_or_else(|| std::mem::take(&mut self.protection));
        self.doubts.extend(doubts);
        self.plan = plan::plan(&Input {
            graph: &self.graph,
            protection: &self.protection,
            policies: &registry.retention.policies,
            doubts: &self.doubts,
            since: self.since,
            now: self.at,
        });
        self.id = self.plan.id(&registry.host, &registry.retention.policies);
    }
}

/// Of whom it is planned, and by what.
#[derive(Debug, Clone, Copy)]
pub struct Of<'a> {
    pub registries: &'a Registries,
    pub registry: &'a Registry,
    pub clock: &'a Arc<dyn Clock>,
    /// Repositories about which something is not known, each with what that is.
    pub doubts: &'a BTreeMap<Box<str>, String>,
}

/// Whoever asks a registry, as whom its entry says.
pub struct Asker {
    pub prover: Prover,
    pub auth: AuthId,
}

impl std::fmt::Debug for Asker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Asker").finish_non_exhaustive()
    }
}

/// Makes one who asks. The error says why there is none.
pub async fn asker(registries: &Registries, host: &str) -> anyhow::Result<Asker> {
    let mut prover = registries.prover(&host.into(), Rotation::default(), Arc::default())?;
    let some = format!("{host}/pullproof/drill:none").parse();
    let some = some.with_context(|| format!("{host} is no registry's host"))?;
    let auth = prover.own(&some).await.map_err(anyhow::Error::msg)?;
    Ok(Asker { prover, auth })
}

/// What of a registry is needed.
pub fn protection(config: &Config, registry: &Registry, kept: &Kept) -> Protection {
    let is_own = |host: &str| config.leads_to(host, registry);
    Protection::of(&kept.set, &is_own, &|host| config.registry(host).is_some())
}

/// Plans which tags go, by what is kept. `first_seen` is what was remembered of registries whose storage is not
/// read.
///
/// # Errors
///
/// What could not be listed is a refusal, and then there is no plan.
pub async fn plan(of: Of<'_>, kept: &Kept, first_seen: FirstSeen) -> Result<Planned, Refusal> {
    let at = of.clock.now();
    let config = &of.registries.config;
    let protection = protection(config, of.registry, kept);
    let mut doubts = of.doubts.clone();
    let asker = asker(of.registries, &of.registry.host).await;
    let asker = asker.map_err(|error| {
        let message = format!("{} cannot be asked: {error:#}", of.registry.host);
        Refusal::new(Code::ListingIncomplete, message)
    })?;
    let (graph, first_seen) = if of.registry.storage.is_some() {
        (stored(of.registry, kept).await?, None)
    } else {
        let (graph, first_seen, more) =
            asked::graph(&asker, of.registry, &protection, first_seen, at).await?;
        doubts.extend(more);
        (graph, Some(first_seen))
    };
    if first_seen.is_none() {
        doubts.extend(listed::doubts(&asker, of.registry, &graph).await);
    }
    let since = match first_seen {
        None => Since::Pushed,
        Some(_) => Since::FirstSeen,
    };
    let mut planned = Planned {
        id: String::new(),
        plan: Plan::default(),
        graph: Arc::new(graph),
        protection,
        doubts: BTreeMap::new(),
        since,
        at,
        first_seen,
    };
    planned.again(of.registry, None, doubts);
    Ok(planned)
}

/// What the storage has, on a thread of its own.
async fn stored(registry: &Registry, kept: &Kept) -> Result<Graph, Refusal> {
    let registry = registry.clone();
    let needed = kept.needed.clone();
    let work = tokio::task::spawn_blocking(move || {
        let Some(storage) = &registry.storage else {
            let message = "the registry's entry has no storage";
            return Err(Refusal::new(Code::StorageUnsupported, message));
        };
        let storage = planning::open(storage)?;
        planning::graph(&storage, &registry, &needed, &Progress::default())
    });
    work.await.unwrap_or_else(|panic| {
        let message = format!("listing failed: {panic}");
        Err(Refusal::new(Code::ListingIncomplete, message))
    })
}

/// Whether more of a registry's tags would go than is usual.
pub fn too_much(planned: &Planned, registry: &Registry) -> Option<Refusal> {
    let going = planned.plan.going.len();
    let all = going + planned.plan.staying.len();
    #[expect(clippy::cast_precision_loss, reason = "percents are compared")]
    let percent = 100.0 * going as f64 / all.max(1) as f64;
    let limit = registry.gc.alarm_percent;
    (percent > limit).then(|| {
        let message = format!(
            "{going} of {all} tags would go, {percent:.0} %, and `gc.alarmPercent` is {limit}; look at what goes and \
             why, and say `--accept {}` if it is meant",
            planned.id
        );
        Refusal::new(Code::ShareExceeded, message)
    })
}
