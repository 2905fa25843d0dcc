//! What the gate is told, and what it says.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::warn;

use super::{COPIED, Session};
use crate::app::collector::copied::Copied;
use crate::app::collector::{Reading, conflicts, proof, replicas};
use crate::app::plan::Kept;
use crate::collection::gate::{self, Facts, Permit};
use crate::collection::proven::{self, Found, Memory, Proofs};
use crate::config::{Cache, Executor, Gc, Registry};
use crate::gc::plan::Plan;
use crate::gc::refusal::{Code, Refusal};
use crate::gc::window::{self, Window};
use crate::oci::digest::Digest;
use crate::vault::{Lock, Vault};

/// So many of the next windows are looked at to know how far they are apart.
const WINDOWS: usize = 16;

/// Beside the journal: which declaration a fact speaks against.
pub(super) const UNSETTLED: &str = "unsettled";

/// Beside the journal: what was ever proven.
pub(in crate::app::collector) const PROVEN: &str = "proven.json";

impl Session<'_> {
    /// What can be told before anything is listed.
    pub(super) fn check_gate(&mut self) -> bool {
        self.facts = Facts::default();
        self.standing_facts();
        // Who has no quarantine needs nothing of it.
        if !self.foreign.collects {
            self.check_vault();
        }
        let refusals = self.facts.refusals();
        let is_open = refusals.is_empty();
        self.report.facts = self.facts.clone();
        self.refuse(refusals);
        is_open
    }

    fn check_vault(&mut self) {
        for caution in cautions(&self.work.registry.gc) {
            warn!(storage = self.work.registry.host, "{caution}");
        }
        let quarantine_for = self.work.registry.gc.quarantine_for;
        let between = between(&self.work.registry.gc.windows, self.work.clock.now());
        let unsupported = self.vault.refusals(self.purges, quarantine_for, between);
        let is_supported = unsupported.is_empty();
        for message in unsupported {
            let refusal = Refusal::new(Code::StorageUnsupported, message);
            self.facts.refused(refusal);
        }
        // A right that is missing shows before anything is listed.
        if is_supported && self.vault.is_drilled_first() {
            self.drill();
        }
    }

    pub(super) fn standing_facts(&mut self) {
        let leads = self.leads_still();
        let facts = &mut self.facts;
        // Told before a session begins, and by the lock that it holds.
        for code in [Code::PlanOnly, Code::WindowClosed, Code::StorageUnsupported] {
            facts.met(code);
        }
        facts.check(Code::NotLeader, leads);
        standing(&self.vault, &self.work.registry, &self.work.runtime, facts);
        self.check_redis();
        let facts = &mut self.facts;
        let left = self.work.until.duration_since(self.work.clock.now());
        facts.check(
            Code::WindowShort,
            if left.as_secs() > 0 {
                Ok(())
            } else {
                Err("the window ends now".to_owned())
            },
        );
        // The last: it may be switched for all that has passed so far.
        let takes_none = self.takes_no_pushes();
        self.facts.check(Code::RegistryWritable, takes_none);
    }

    /// The gate, by an inventory that is read after the listing, and by proofs of now.
    pub(super) fn decide(&mut self) -> Option<Permit> {
        let selected = std::mem::take(&mut self.facts);
        for code in [
            Code::ListingIncomplete,
            Code::ShareExceeded,
            Code::Rehearsal,
            Code::DrillStale,
        ] {
            if selected.is_met(code) == Some(true) {
                self.facts.met(code);
            }
        }
        for refusal in selected.refusals() {
            self.facts.refused(refusal);
        }
        self.standing_facts();
        let kept = self.read_kept(Reading::New);
        if let (Some(kept), Some(before)) = (&kept, &self.kept) {
            // What came since must not be among what goes, nor among what is held and may be purged.
            let held = self.journals.held().map(|(_, _, item)| item.digest);
            let selected = self.selection.items.iter().map(|it| it.digest);
            let taken: BTreeSet<Digest> = selected.chain(held).collect();
            let new = kept.needed.digests.iter().find(|digest| {
                before.needed.digests.binary_search(digest).is_err() && taken.contains(digest)
            });
            if let Some(digest) = new {
                let message = format!("{digest} has come into use since the listing; try again");
                self.facts.refused(Refusal::new(Code::ProofStale, message));
            }
        }
        if let Some(kept) = kept {
            let begun = Instant::now();
            let proofs = self.proofs(&kept);
            self.besides.proof = begun.elapsed();
            self.judge(&proofs);
            self.copy(&kept);
            self.kept = Some(kept);
        }
        if !self.vault.is_drilled_first() && !self.foreign.collects {
            self.drill();
        }
        let has_time = self.check_time();
        self.facts.check(Code::WindowShort, has_time);
        let epoch = self.lock.as_ref().map_or(0, Lock::epoch);
        let mut decided = gate::decide(&self.facts, epoch, self.work.until.into());
        if decided.is_ok()
            && let Err(problem) = self.take_opening()
        {
            decided = Err(vec![Refusal::new(Code::WindowClosed, problem)]);
        }
        self.report.facts = self.facts.clone();
        match decided {
            Ok(permit) => {
                self.report.is_permitted = true;
                Some(permit)
            }
            Err(refusals) => {
                self.refuse(refusals);
                None
            }
        }
    }

    pub(super) fn proofs(&self, kept: &Kept) -> Proofs {
        let graph = self.plan.as_ref().map(Plan::graph);
        let graph = graph.or(self.tags.as_deref());
        // A digest that runs may be a config's: whoever asks for that as a manifest is told nothing of it.
        let stored = |digest: &Digest| {
            graph.is_some_and(|graph| {
                let found = graph.find(digest);
                found
                    .is_some_and(|id| graph.object(id).size().is_some() && graph.node(id).is_some())
            })
        };
        let references = proof::references(&kept.set, self.work.entry(), &stored);
        let running = if self.plan.is_none() && self.work.registry.gc.executor.is_foreign() {
            let all = proof::references(&kept.set, self.work.entry(), &|_| true);
            all.difference(&references).cloned().collect()
        } else {
            BTreeSet::new()
        };
        let references = references.union(&running).cloned().collect();
        let (mut proofs, _) = self.work.runtime.block_on(proof::prove(
            &self.work.registries,
            &self.work.registry.host,
            &references,
            &self.work.clock,
        ));
        // Without a listing: what runs may be told by its config, which nobody has as a manifest.
        if !running.is_empty() {
            let memory: Memory = self.remembered(PROVEN).ok().flatten().unwrap_or_default();
            proofs.retain(|reference, found| {
                !running.contains(reference)
                    || !matches!(found, Found::Broken { is_root: true, .. })
                    || memory.proven.contains_key(reference)
            });
        }
        proofs
    }

    /// What the proofs say to the gate, and what is remembered of them.
    pub(super) fn judge(&mut self, proofs: &Proofs) {
        self.memory = match self.remembered(PROVEN) {
            Ok(memory) => memory.unwrap_or_default(),
            Err(problem) => {
                let message = format!("{problem}, and with it goes what was ever proven");
                self.facts.refused(Refusal::new(Code::ProofStale, message));
                return;
            }
        };
        let is_acknowledged = |reference: &str| self.work.is_acknowledged(reference);
        let judged = proven::judge(
            proofs,
            &self.memory,
            self.work.registry.gc.require,
            &is_acknowledged,
        );
        for code in [Code::ImageBroken, Code::ImageUnknown, Code::ProofStale] {
            self.facts.met(code);
        }
        for refusal in judged.refusals {
            self.facts.refused(refusal);
        }
        for told in judged.told {
            warn!(
                storage = self.work.registry.host,
                "it closes nothing: {told}"
            );
            self.report.told.push(told);
        }
        self.memory.take(proofs, self.now());
        if let Err(problem) = self.remember(PROVEN, &self.memory) {
            self.facts.refused(Refusal::new(Code::ProofStale, problem));
        }
    }

    /// A canary goes the way of all that is taken, and comes back.
    pub(super) fn drill(&mut self) {
        let drilled = self.vault.drill(self.now());
        if drilled.is_ok() {
            self.report.drilled_at = Some(self.work.clock.now());
        }
        self.facts.check(
            Code::DrillStale,
            drilled.map_err(|error| {
                format!("a canary was to be moved and put back as what is garbage is, and: {error}")
            }),
        );
    }

    /// What references led to is copied beside the journal before anything goes.
    fn copy(&mut self, kept: &Kept) {
        let keep = self.work.registries.config.inventory.keep_seen;
        let now = self.work.clock.now();
        let next = Copied::next(self.copied.as_ref(), &kept.led_to, keep, now);
        match self.remember(COPIED, &next) {
            Ok(()) => self.copied = Some(next),
            Err(problem) => self
                .facts
                .refused(Refusal::new(Code::LedgerMissing, problem)),
        }
    }

    pub(super) fn read_kept(&mut self, reading: Reading) -> Option<Kept> {
        let copied = self.copied.as_ref().map_or_else(Vec::new, Copied::rows);
        match (self.work.read_kept)(reading, copied) {
            Ok(Ok(kept)) => {
                for code in [
                    Code::InventoryIncomplete,
                    Code::InventoryShrunk,
                    Code::LedgerMissing,
                ] {
                    self.facts.met(code);
                }
                for refusal in &kept.refusals {
                    self.facts.refused(refusal.clone());
                }
                Some(kept)
            }
            Ok(Err(refusals)) => {
                for refusal in &refusals {
                    self.facts.refused(refusal.clone());
                }
                self.refuse(refusals);
                None
            }
            Err(error) => {
                let message = format!("the sources cannot be read: {error:#}");
                let refusal = Refusal::new(Code::InventoryIncomplete, message);
                self.facts.refused(refusal.clone());
                self.refuse(vec![refusal]);
                None
            }
        }
    }
}

/// The longest time from one of the next windows to the one after it.
fn between(windows: &[Window], now: Timestamp) -> Duration {
    let next = window::upcoming(windows, now).take(WINDOWS);
    let starts: Vec<Timestamp> = next.map(|opening| opening.start).collect();
    let pairs = starts.iter().zip(starts.iter().skip(1));
    let apart = pairs.map(|(one, next)| next.duration_since(*one).unsigned_abs());
    apart.max().unwrap_or_default()
}

/// What is told by the configuration, by marks in the storage, and by what runs in the cluster.
pub(in crate::app::collector) fn standing(
    vault: &Vault,
    registry: &Registry,
    runtime: &Handle,
    facts: &mut Facts,
) {
    let gc = &registry.gc;
    for refusal in conflicts::look(runtime, &gc.conflicts) {
        facts.refused(refusal);
    }
    let is_paused = vault.has("pause");
    facts.check(
        Code::Paused,
        match is_paused {
            Ok(false) => Ok(()),
            Ok(true) => Err("an operator paused it; `pullproof gc resume` ends that".to_owned()),
            Err(error) => Err(format!("whether it is paused cannot be told: {error}")),
        },
    );
    let is_asked = !matches!(gc.executor, Executor::Harbor(_));
    facts.check(
        Code::ReplicasUnknown,
        if is_asked {
            replicas::of(registry, runtime).map(drop)
        } else {
            Ok(())
        },
    );
    // A fact against a declaration closes it until the declaration is another.
    let unsettled = vault.read(UNSETTLED);
    let declared = gc.cache.as_str();
    let redis = gc.redis.as_ref().map(ToString::to_string);
    facts.check(
        Code::CacheUnsettled,
        match unsettled {
            Ok(Some(text)) if text == declared.as_bytes() => Err(format!(
                "`gc.settle.cache` says {declared}, and a replica answered for what was taken: write what \
                 is so, or remove pullproof/unsettled"
            )),
            Ok(Some(text)) if redis.as_ref().is_some_and(|it| text == it.as_bytes()) => Err(format!(
                "{} had forgotten, and a replica answered for what was taken: name in `gc.settle.redis` what all \
                 replicas have, or put them right and remove pullproof/unsettled",
                redis.unwrap_or_default()
            )),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("pullproof/unsettled cannot be read: {error}")),
        },
    );
}

/// What is accepted, and is no good idea: there are no hidden floors.
fn cautions(gc: &Gc) -> Vec<&'static str> {
    let day = Duration::from_hours(24);
    let mut cautions = Vec::new();
    let between_looks = gc.longest_request.saturating_add(gc.watch_every);
    if gc.cache != Cache::None && gc.minimum_age <= between_looks {
        cautions.push(
            "`gc.minimumAge` is not longer than `longestRequest` and `watchEvery` together: a layer that was \
             uploaded so long before its manifest is pushed may be taken while a replica believes in it",
        );
    }
    if gc.quarantine_for < day {
        cautions.push(
            "`gc.quarantineFor` is less than a day: who notices a loss later cannot put it back",
        );
    }
    if gc.minimum_age < day {
        cautions.push("`gc.minimumAge` is less than a day: a push that takes longer may lose what it sent first");
    }
    cautions
}
