//! The Lease: got, renewed, lost, given back. What to do is decided in [`crate::collection::lease`].
//!
//! It comes besides the storage's own lock, whose epoch is the fence.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease as Object, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Api;
use kube::api::PostParams;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tracing::warn;

use super::Leads;
use super::cluster::{ANSWER, Failure, answer, client};
use crate::clock::Clock;
use crate::collection::lease::{Moment, Observed, Record, Step, Tenure, step};
use crate::config::Named;

/// What client-go has, and so everybody.
const LASTS: Duration = Duration::from_secs(15);
/// How often it is renewed.
const RENEWED: Duration = Duration::from_secs(5);
/// How often it is looked at, and how soon a renewal that failed is tried again.
const RETRIED: Duration = Duration::from_secs(2);
/// What is begun has to be over within this, while the Lease is still ours.
const MARGIN: Duration = Duration::from_secs(5);

/// Held until it is given back, or until it ran out.
#[derive(Debug)]
pub(in crate::app) struct Lease {
    election: Arc<Election>,
    renewing: JoinHandle<()>,
    runtime: Handle,
}

struct Election {
    api: Api<Object>,
    named: Named,
    me: String,
    clock: Arc<dyn Clock>,
    leads: Arc<Leads>,
    tenure: Mutex<Option<Tenure>>,
}

impl fmt::Debug for Election {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Election");
        shown.field("named", &self.named).finish_non_exhaustive()
    }
}

impl Lease {
    /// Waits at most until what another process wrote has run out. An error is who has it, or why that cannot
    /// be told.
    pub(in crate::app) fn acquire(
        named: &Named,
        runtime: &Handle,
        clock: &Arc<dyn Clock>,
        leads: &Arc<Leads>,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<Self, String> {
        let client = client(runtime, "leaderElection.lease")?;
        let election = Arc::new(Election {
            api: Api::namespaced(client, &named.namespace),
            named: named.clone(),
            me: identity(),
            clock: Arc::clone(clock),
            leads: Arc::clone(leads),
            tenure: Mutex::new(None),
        });
        runtime.block_on(election.acquire(is_stopped))?;
        (election.leads)(true);
        let renewing = runtime.spawn(Arc::clone(&election).renew());
        Ok(Self {
            election,
            renewing,
            runtime: runtime.clone(),
        })
    }

    /// Whether a batch that is begun now ends before anybody else may begin one.
    pub(super) fn may_act(&self) -> bool {
        self.election.covers(MARGIN)
    }

    /// Whoever comes next need not wait. One that cannot be given back runs out.
    pub(in crate::app) fn release(self) {
        self.renewing.abort();
        if let Err(failure) = self.runtime.block_on(self.election.release()) {
            let named = &self.election.named;
            warn!(lease = %named, "it was not given back: {failure}; whoever comes next waits for it");
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
        (self.election.leads)(false);
    }
}

impl Election {
    async fn acquire(&self, is_stopped: &dyn Fn() -> bool) -> Result<(), String> {
        let mut seen: Option<Observed> = None;
        // As it was seen before.
        let mut last: Option<Record> = None;
        let gives_up = now().after(LASTS);
        loop {
            if is_stopped() {
                return Err("it was told to stop".to_owned());
            }
            let object = match answer(self.api.get_opt(&self.named.name)).await {
                Ok(object) => object,
                Err(failure) if now() < gives_up => {
                    warn!(lease = %self.named, "it cannot be read: {failure}; trying again");
                    tokio::time::sleep(RETRIED).await;
                    continue;
                }
                Err(failure) => {
                    return Err(format!(
                        "the Lease {} cannot be read: {failure}",
                        self.named
                    ));
                }
            };
            let at = now();
            seen = object
                .as_ref()
                .map(|object| Observed::next(seen.take(), record(object), at));
            if let Some(seen) = &seen {
                let before = last.take().filter(|it| it.holder == seen.record.holder);
                let holder = &*seen.record.holder;
                let is_others = !holder.is_empty() && holder != self.me;
                if is_others && before.as_ref().is_some_and(|it| *it != seen.record) {
                    return Err(format!(
                        "{} has the Lease {}, and renews it",
                        seen.record.holder, self.named
                    ));
                }
                last = Some(seen.record.clone());
            }
            match step(&self.me, seen.as_ref(), at) {
                Step::Wait(until) => {
                    tokio::time::sleep(at.until(until).min(RETRIED)).await;
                }
                Step::Create | Step::Take | Step::Renew => match self.take(object).await {
                    Ok(()) => return Ok(()),
                    Err(Failure::Conflict(_) | Failure::Absent) => {}
                    Err(Failure::Other(problem)) if now() < gives_up => {
                        warn!(lease = %self.named, "it cannot be written: {problem}; trying again");
                        tokio::time::sleep(RETRIED).await;
                    }
                    Err(Failure::Other(problem)) => {
                        return Err(format!(
                            "the Lease {} cannot be written: {problem}",
                            self.named
                        ));
                    }
                },
            }
        }
    }

    /// Writes it as ours, unless somebody else has written since it was read.
    async fn take(&self, object: Option<Object>) -> Result<(), Failure> {
        let sent = now();
        let is_new = object.is_none();
        let mut object = object.unwrap_or_else(|| Object {
            metadata: ObjectMeta {
                name: Some(self.named.name.clone()),
                namespace: Some(self.named.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: None,
        });
        let spec = object.spec.get_or_insert_with(LeaseSpec::default);
        let time = MicroTime(self.clock.now());
        if spec.holder_identity.as_deref() != Some(&*self.me) {
            let before = spec.lease_transitions.unwrap_or_default();
            spec.lease_transitions = Some(if is_new { 0 } else { before.saturating_add(1) });
            spec.holder_identity = Some(self.me.clone());
            spec.acquire_time = Some(time.clone());
        }
        spec.lease_duration_seconds = Some(i32::try_from(LASTS.as_secs()).unwrap_or(i32::MAX));
        spec.renew_time = Some(time);
        let parameters = PostParams::default();
        if is_new {
            answer(self.api.create(&parameters, &object)).await?;
        } else {
            answer(self.api.replace(&self.named.name, &parameters, &object)).await?;
        }
        *self.tenure.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Tenure::new(sent, LASTS));
        Ok(())
    }

    /// Until it is somebody else's, or ran out: from then on it is not ours any more, whatever is read.
    async fn renew(self: Arc<Self>) {
        self.renew_while_ours().await;
        (self.leads)(false);
    }

    async fn renew_while_ours(&self) {
        let mut pause = RENEWED;
        while self.covers(Duration::ZERO) {
            tokio::time::sleep(pause).await;
            pause = match self.renewed().await {
                Ok(true) => RENEWED,
                Ok(false) => {
                    *self.tenure.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    warn!(lease = %self.named, "somebody else has it");
                    return;
                }
                Err(failure) => {
                    warn!(lease = %self.named, "it cannot be renewed: {failure}; trying again");
                    RETRIED
                }
            };
        }
    }

    /// Whether it is still ours, and written again.
    async fn renewed(&self) -> Result<bool, Failure> {
        let object = answer(self.api.get_opt(&self.named.name)).await?;
        let Some(object) = object.filter(|object| record(object).holder == self.me) else {
            return Ok(false);
        };
        // It ran out meanwhile, and somebody may be about to take it.
        if !self.covers(Duration::ZERO) {
            return Ok(false);
        }
        match self.take(Some(object)).await {
            Ok(()) => Ok(true),
            Err(Failure::Absent) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    async fn release(&self) -> Result<(), Failure> {
        let object = answer(self.api.get_opt(&self.named.name)).await?;
        let Some(mut object) = object.filter(|object| record(object).holder == self.me) else {
            return Ok(());
        };
        if let Some(spec) = &mut object.spec {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(self.clock.now()));
        }
        let parameters = PostParams::default();
        answer(self.api.replace(&self.named.name, &parameters, &object)).await?;
        Ok(())
    }

    fn covers(&self, long: Duration) -> bool {
        let tenure = *self.tenure.lock().unwrap_or_else(PoisonError::into_inner);
        tenure.is_some_and(|tenure| tenure.covers(now(), long))
    }
}

fn record(object: &Object) -> Record {
    let spec = object.spec.as_ref();
    let lasts = spec.and_then(|spec| spec.lease_duration_seconds);
    Record {
        holder: spec
            .and_then(|spec| spec.holder_identity.clone())
            .unwrap_or_default(),
        // What says nothing of it lasts as long as ours.
        lasts: lasts.map_or(LASTS, |seconds| {
            Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
                .max(Duration::from_secs(1))
        }),
        version: object.metadata.resource_version.clone().unwrap_or_default(),
    }
}

/// The machine and the process, and since when: nobody had that before.
fn identity() -> String {
    let system = rustix::system::uname();
    let node = system.nodename().to_string_lossy();
    format!("{node}_{}_{}", std::process::id(), now().0.as_nanos())
}

/// While the machine sleeps, others go on: so does this clock.
fn now() -> Moment {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Moment(Duration::new(seconds, nanos))
}

const _: () =
    assert!(MARGIN.as_secs() >= ANSWER.as_secs() && LASTS.as_secs() > 2 * MARGIN.as_secs());
