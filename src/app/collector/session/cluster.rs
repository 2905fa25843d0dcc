//! The Lease, the registry's switch, and its replicas' restarts, as a session needs them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tracing::{info, warn};

use super::Session;
use crate::app::collector::lease::Lease;
use crate::app::collector::readonly::{self, Note};
use crate::app::collector::settle::{self, Caches, Replicas, Unlinked};
use crate::app::collector::workload::Workloads;
use crate::app::collector::{proof, replicas};
use crate::collection::item::{Class, Item, RunId};
use crate::collection::machine::Event;
use crate::collection::run::{Outcome, Why};
use crate::config::{Cache, Mode, Named, ReadOnlyMode, Restart};
use crate::gc::plan::{Kind, Plan};
use crate::gc::refusal::{Code, Refusal};
use crate::oci::digest::Digest;
use crate::second::Second;
use crate::vault::LockError;

/// So often a switch back is tried at the end of a session.
const ATTEMPTS: usize = 5;

impl Session<'_> {
    /// The Lease, where one is configured and something may be taken or purged. What goes back goes by the
    /// storage's own lock alone: a cluster that is down keeps nobody from it.
    pub(super) fn lead(&mut self) -> Result<(), Refusal> {
        let Some(named) = self
            .work
            .registries
            .config
            .lease
            .as_ref()
            .filter(|_| self.leads)
        else {
            return Ok(());
        };
        let is_stopped = || self.work.stop.load(Ordering::Relaxed);
        let work = self.work;
        let lease = Lease::acquire(named, &work.runtime, &work.clock, &work.leads, &is_stopped);
        let lease = lease.map_err(|problem| {
            let message = format!("{problem} (`leaderElection.lease`)");
            Refusal::new(Code::NotLeader, message)
        })?;
        self.lease = Some(lease);
        Ok(())
    }

    /// Whether the Lease is ours for at least one more batch, where there is one.
    pub(super) fn leads_still(&self) -> Result<(), String> {
        match (&self.lease, &self.work.registries.config.lease) {
            (Some(lease), Some(named)) if !lease.may_act() => Err(format!(
                "the Lease {named} is not ours any more, or could not be renewed in time"
            )),
            (_, _) => Ok(()),
        }
    }

    pub(super) fn give_up_lead(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.release();
        }
    }

    /// What a run that died left switched.
    pub(super) fn find_switched(&mut self) {
        match self.remembered::<Note>(readonly::NOTE) {
            Ok(None) => {}
            Ok(Some(note)) => {
                let told = format!(
                    "a run that did not end left the Deployment {} read-only at {:.0}; it is switched back",
                    note.deployment, note.since
                );
                warn!(storage = self.work.registry.host, "{told}");
                self.report.told.push(told);
                self.switched = Some(note);
            }
            Err(problem) => self.fail(format!(
                "{problem}: whether the registry was left read-only is not known; look at it, and remove the file"
            )),
        }
    }

    /// Makes writable what a run that died left read-only; whoever holds the lock does so itself.
    pub(in crate::app::collector) fn recover(&mut self) {
        let holder = format!("process {}", std::process::id());
        match self.vault.lock(&holder, self.now()) {
            Ok(lock) => self.lock = Some(lock),
            Err(LockError::Held(_)) => {
                self.report.is_locked_out = true;
                return;
            }
            Err(error) => {
                self.fail(error.to_string());
                return;
            }
        }
        self.find_switched();
        self.is_left_alone();
        self.switch_back();
        self.release();
    }

    /// Whether the registry takes no pushes, where it may not. Once there is a listing, one that is managed
    /// is switched.
    pub(super) fn takes_no_pushes(&mut self) -> Result<(), String> {
        let read_only = &self.work.registry.gc.read_only;
        match (read_only.mode, &read_only.deployment) {
            (ReadOnlyMode::NotRequired, _) => Ok(()),
            (ReadOnlyMode::Required, _) | (ReadOnlyMode::Managed, None) => self.prove_read_only(),
            (ReadOnlyMode::Managed, Some(deployment)) => self.managed(&deployment.clone()),
        }
    }

    fn managed(&mut self, deployment: &Named) -> Result<(), String> {
        if self.prove_read_only().is_ok() {
            return Ok(());
        }
        let workloads = Workloads::new(&self.work.runtime, "gc.readOnly.deployment")?;
        if self.plan.is_none() && !self.foreign.looked_over {
            return readonly::may_switch(&workloads, deployment);
        }
        let has_work =
            !self.selection.items.is_empty() || self.work.registry.gc.mode == Mode::Purge;
        // Nobody is kept from pushing for nothing; before each batch it is asked for anyway.
        if !has_work || !self.facts.refusals().is_empty() {
            return Ok(());
        }
        if self.switched.is_none() {
            let note = Note {
                deployment: deployment.clone(),
                since: self.work.clock.now(),
            };
            self.remember(readonly::NOTE, &note)?;
            self.switched = Some(note);
        }
        readonly::switch(&workloads, deployment)?;
        info!(storage = self.work.registry.host, %deployment, "switched read-only");
        let wait = |long: Duration| self.pause(long, self.work.until);
        readonly::until_rolled_out(&workloads, deployment, &wait)?;
        loop {
            let Err(problem) = self.prove_read_only() else {
                return Ok(());
            };
            self.pause(Duration::from_secs(1), self.work.until)
                .map_err(|told| format!("{problem}; {told}"))?;
        }
    }

    /// Every replica says that it takes no pushes.
    pub(super) fn prove_read_only(&mut self) -> Result<(), String> {
        let work = self.work;
        for replica in replicas::of(&work.registry, &work.runtime)? {
            let address = replica.to_string();
            let asked = proof::takes_pushes(&work.registries, &work.registry.host, replica);
            match work.runtime.block_on(asked) {
                Ok(false) => {}
                Ok(true) => {
                    return Err(format!(
                        "the replica {address} takes pushes: set `storage.maintenance.readonly.enabled` in its \
                         configuration and restart it, or let pullproof do so, with `gc.readOnly.mode: managed`"
                    ));
                }
                Err(problem) => {
                    return Err(format!(
                        "whether the replica {address} takes pushes cannot be told: {problem}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Makes the registry writable again where this or an earlier run switched it, as long as the storage's
    /// lock is ours. What cannot be switched back now is by the next start.
    pub(super) fn switch_back(&mut self) {
        let Some(note) = self.switched.clone().filter(|_| !self.foreign.goes_on) else {
            return;
        };
        if !self.has_lock() {
            return;
        }
        let mut attempts = 0;
        let problem = loop {
            let back = Workloads::new(&self.work.runtime, "gc.readOnly.deployment")
                .and_then(|workloads| readonly::switch_back(&workloads, &note.deployment));
            match back {
                Ok(()) => match self.vault.remove(readonly::NOTE) {
                    Ok(()) => {
                        info!(
                            storage = self.work.registry.host,
                            deployment = %note.deployment, "switched back, writable"
                        );
                        self.switched = None;
                        return;
                    }
                    Err(error) => break format!("pullproof/{}: {error}", readonly::NOTE),
                },
                Err(problem) => {
                    attempts += 1;
                    let is_over = attempts >= ATTEMPTS;
                    if is_over || self.pause(Duration::from_secs(2), Timestamp::MAX).is_err() {
                        break problem;
                    }
                }
            }
        };
        self.fail(format!(
            "the registry stays read-only: {problem}; the next `pullproof gc run` or start of `serve` switches it \
             back, or take the variable out of the Deployment {} by hand",
            note.deployment
        ));
    }

    /// Waits so long, or says why it is no use.
    pub(super) fn pause(&self, long: Duration, until: Timestamp) -> Result<(), String> {
        if self.work.stop.load(Ordering::Relaxed) {
            return Err("it was told to stop".to_owned());
        }
        // What an image got worse by goes back first.
        if self.work.worse.load(Ordering::Relaxed) {
            return Err("an image got worse".to_owned());
        }
        let now = self.work.clock.now();
        if now >= until {
            return Err("the time for it is over".to_owned());
        }
        self.work.runtime.block_on(tokio::time::sleep(long));
        Ok(())
    }

    /// The replicas' pods, where it is said whose those are.
    pub(super) fn replicas(&mut self) -> Replicas {
        let gc = &self.work.registry.gc;
        let Some(workload) = gc.workload.as_ref().filter(|_| gc.cache != Cache::None) else {
            return Replicas::default();
        };
        let workloads = Workloads::new(&self.work.runtime, "gc.settle.workload");
        match workloads.and_then(|workloads| settle::replicas(&workloads, workload)) {
            Ok(replicas) => replicas,
            // Nobody is known to have started, and so nothing settles by it.
            Err(problem) => {
                warn!(storage = self.work.registry.host, "{problem}");
                self.report.told.push(problem);
                Replicas::default()
            }
        }
    }

    /// Of which digests some run has taken the links, and when the last; and to which there are some all the
    /// same, pushed again or never taken, or whose bytes are held as well.
    pub(super) fn links(&self, plan: &Plan) -> (HashMap<Digest, Second>, HashSet<Digest>) {
        let (mut taken, mut not) = (HashMap::new(), HashSet::new());
        let gc = &self.work.registry.gc;
        if gc.workload.is_none() && gc.redis.is_none() {
            return (taken, not);
        }
        let rows = plan.garbage().filter(|row| row.has_data);
        let goes: HashSet<Digest> = rows.map(|row| row.digest).collect();
        let mut held: Vec<Item> = Vec::new();
        for (_, replayed) in self.journals.iter() {
            let ids = replayed.run.held();
            for item in ids.filter_map(|id| replayed.items.get(&id)) {
                if item.class.is_data() {
                    not.insert(item.digest);
                }
                let is_link = matches!(item.class, Class::Revision | Class::LayerLink);
                if let Some(at) = replayed.run.last_taken().filter(|_| is_link)
                    && goes.contains(&item.digest)
                {
                    let latest = taken.entry(item.digest).or_insert(at);
                    *latest = at.max(*latest);
                    held.push(item.clone());
                }
            }
        }
        let places: HashSet<(&str, Digest)> = held
            .iter()
            .filter_map(|item| Some((item.repository.as_deref()?, item.digest)))
            .collect();
        for row in plan.garbage().filter(|row| row.kind != Kind::TagHistory) {
            if let Some(name) = row.repository
                && !places.contains(&(&**name, row.digest))
            {
                not.insert(row.digest);
            }
        }
        // What was pushed again lies where it was taken from: nobody's run holds it there.
        let nobody = RunId {
            began: Second::new(0),
            epoch: 0,
        };
        let looked = self.vault.look(nobody, &held);
        for (place, item) in held.iter().enumerate() {
            if looked.outcomes.get(place) != Some(&Outcome::Gone) {
                not.insert(item.digest);
            }
        }
        (taken, not)
    }

    /// Tells, and notes for whoever asks later, what waits for which replica.
    pub(super) fn tell_waits(&mut self, plan: &Plan, unlinked: &Unlinked<'_>, caches: &Caches) {
        let waits = if self.work.registry.gc.cache == Cache::None {
            Vec::new()
        } else {
            unlinked.waits(plan.garbage(), caches)
        };
        if let Err(problem) = self.remember(settle::NOTE, &waits) {
            warn!(storage = self.work.registry.host, "{problem}");
        }
        self.report.waits = waits;
    }

    /// Restarts the replicas once something was taken, where that is configured: then they are asked, and what
    /// one of them still believes in goes back with all of its run.
    pub(super) fn restart_replicas(&mut self) -> Vec<Event> {
        let gc = &self.work.registry.gc;
        let Some(workload) = gc.workload.clone().filter(|_| self.restarts()) else {
            return Vec::new();
        };
        let open: Vec<(RunId, Second)> = self
            .journals
            .iter()
            .filter(|(_, it)| !it.run.is_settled() && it.run.returns().is_none())
            .filter(|(_, it)| it.run.held().next().is_some())
            .filter_map(|(run, it)| Some((run, it.run.last_taken()?)))
            .collect();
        let Some(last) = open.iter().map(|(_, at)| *at).max() else {
            return Vec::new();
        };
        let restarted = Workloads::new(&self.work.runtime, "gc.settle.workload").and_then(|it| {
            if settle::replicas(&it, &workload)?.have_started_since(last) {
                return Ok(());
            }
            // Later than what was taken last, also within a second.
            let at = self.now().max(Second::new(last.get().saturating_add(1)));
            let now = self.work.clock.now();
            let until = now
                .saturating_add(gc.settle_within)
                .unwrap_or(now)
                .min(self.work.until);
            let wait = |long: Duration| self.pause(long, until);
            info!(storage = self.work.registry.host, %workload.named, "restarting the replicas");
            settle::restart(&it, &workload, at, &wait)
        });
        if let Err(problem) = restarted {
            self.fail(format!("{problem}; what was taken goes back"));
            let all = open.into_iter();
            return all
                .map(|(run, _)| Event::Wanted(run, Why::CacheUnsettled, None))
                .collect();
        }
        // What they share forgets later, and only then anything can be said of it.
        if gc.redis.is_some() {
            return Vec::new();
        }
        let mut events = Vec::new();
        for (run, _) in open {
            let held: Vec<_> = self
                .journals
                .iter()
                .find(|(id, _)| *id == run)
                .map(|(_, it)| it.run.held().collect())
                .unwrap_or_default();
            if self.believed(run, &held).contains(&true) {
                events.push(Event::Wanted(run, Why::CacheUnsettled, None));
            }
        }
        events
    }

    /// Whether the replicas are restarted before they are asked.
    pub(super) fn restarts(&self) -> bool {
        let gc = &self.work.registry.gc;
        gc.restart == Restart::Rollout && gc.cache != Cache::None && gc.workload.is_some()
    }
}
