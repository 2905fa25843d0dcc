//! Wakes when a window opens or closes, and publishes which are open.
//!
//! tokio-cron-scheduler only wakes, by one job for the next change: which windows are open is asked of the clock
//! each time. It knows no end of a window, its zones are not ours, and its cron wants both days to fit where ours
//! wants one. It compares the clock's time and not elapsed time, so that a job is due when the clock says so.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_cron_scheduler::job::JobId;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::config::Config;
use crate::state::windows::Windows;

/// How soon it is noticed that the clock was set, or that the machine slept.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// How many of the next openings are published.
const NEXT: usize = 5;

/// Starts it; what it tells is the result.
pub fn spawn(
    tasks: &mut JoinSet<anyhow::Result<()>>,
    configs: &watch::Receiver<Arc<Config>>,
    clock: &Arc<dyn Clock>,
    stop: &CancellationToken,
) -> watch::Receiver<Arc<Windows>> {
    let first = Windows::of(&configs.borrow(), clock.now(), NEXT);
    let (publish, windows) = watch::channel(Arc::new(first));
    let (configs, clock, stop) = (configs.clone(), Arc::clone(clock), stop.clone());
    tasks.spawn(async move {
        run(configs, publish, clock, LOOK_EVERY, stop).await;
        Ok(())
    });
    windows
}

/// Until told to stop.
async fn run(
    mut configs: watch::Receiver<Arc<Config>>,
    publish: watch::Sender<Arc<Windows>>,
    clock: Arc<dyn Clock>,
    look_every: Duration,
    stop: CancellationToken,
) {
    let mut alarm = None;
    let mut told = Arc::default();
    loop {
        let config = Arc::clone(&configs.borrow_and_update());
        let now = clock.now();
        let windows = Arc::new(Windows::of(&config, now, NEXT));
        tell(&told, &windows);
        told = Arc::clone(&windows);
        let change = windows.changes_at();
        publish.send_replace(windows);
        if change.is_some() && alarm.is_none() {
            alarm = Some(Alarm::start().await);
        }
        if let Some(alarm) = &mut alarm {
            alarm.set(change, now).await;
        }
        let rings = async {
            match &alarm {
                Some(alarm) => alarm.rung.notified().await,
                None => std::future::pending().await,
            }
        };
        let (has_rung, changed) = tokio::select! {
            () = rings => (true, Ok(())),
            () = tokio::time::sleep(look_every), if change.is_some() => (false, Ok(())),
            changed = configs.changed() => (false, changed),
            () = stop.cancelled() => break,
        };
        if changed.is_err() {
            stop.cancelled().await;
            break;
        }
        if has_rung && let Some(alarm) = &mut alarm {
            // Its job is gone by itself. One that rang too early is set again.
            alarm.set = None;
        }
    }
    if let Some(alarm) = alarm {
        alarm.end().await;
    }
}

fn tell(before: &Windows, now: &Windows) {
    for status in now.all() {
        let was = before.all().find(|it| it.label == status.label);
        let was = was.and_then(|it| it.open.as_ref());
        let window = &status.label;
        match (&status.open, was) {
            (Some(open), was) if was.is_none_or(|was| was.start != open.start) => {
                info!(window, until = %open.end, "the window is open");
            }
            (None, Some(_)) => info!(window, "the window is closed"),
            (Some(_) | None, _) => {}
        }
    }
}

/// Rings once at a time of the clock; rather too early than too late.
struct Alarm {
    /// `None` where it could not be started: then there is a look every now and then.
    scheduler: Option<JobScheduler>,
    rung: Arc<Notify>,
    set: Option<(Timestamp, JobId)>,
}

impl Alarm {
    /// The scheduler's own tasks end with the runtime, the one that looks at the clock also when it is told to.
    async fn start() -> Self {
        let scheduler = match started().await {
            Ok(scheduler) => Some(scheduler),
            Err(error) => {
                warn!(%error, "the scheduler does not start; windows are looked at every minute");
                None
            }
        };
        Self {
            scheduler,
            rung: Arc::default(),
            set: None,
        }
    }

    async fn set(&mut self, at: Option<Timestamp>, now: Timestamp) {
        let Some(scheduler) = &self.scheduler else {
            return;
        };
        if self.set.map(|(set, _)| set) == at {
            return;
        }
        if let Some((_, job)) = self.set.take() {
            // Where that fails it rings once in vain.
            drop(scheduler.remove(&job).await);
        }
        let Some(at) = at else { return };
        let left = at.duration_since(now).max(SignedDuration::ZERO);
        let rung = Arc::clone(&self.rung);
        let ring = Job::new_one_shot(left.unsigned_abs(), move |_, _| rung.notify_one());
        let added = match ring {
            Ok(job) => scheduler.add(job).await,
            Err(error) => Err(error),
        };
        match added {
            Ok(job) => self.set = Some((at, job)),
            Err(error) => warn!(%error, "the next change of a window cannot be scheduled"),
        }
    }

    async fn end(self) {
        if let Some(mut scheduler) = self.scheduler
            && let Err(error) = scheduler.shutdown().await
        {
            warn!(%error, "the scheduler does not end");
        }
    }
}

async fn started() -> Result<JobScheduler, JobSchedulerError> {
    let scheduler = JobScheduler::new().await?;
    scheduler.start().await?;
    Ok(scheduler)
}

#[cfg(test)]
mod tests;
