//! Where several verify the same, one of them writes Events: whoever has a Lease of their own. The Lease of
//! `leaderElection` is held while something is collected, which may be by another process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::app::collector::Leads;
use crate::app::collector::lease::Lease;
use crate::clock::Clock;
use crate::config::{Config, Named};

/// How soon it is tried again while somebody else has it, or nobody can tell.
const RETRIED: Duration = Duration::from_secs(10);

/// Gets the Lease that the configuration asks for, and keeps it, until told to stop. `leads` says whether it has it,
/// once that is known.
pub(super) async fn follow(
    mut configs: watch::Receiver<Arc<Config>>,
    clock: Arc<dyn Clock>,
    leads: watch::Sender<Option<bool>>,
    stop: CancellationToken,
) {
    let mut told = None;
    while !stop.is_cancelled() {
        let wanted = wanted(&configs.borrow_and_update());
        let Some(wanted) = wanted else {
            tokio::select! {
                changed = configs.changed() => if changed.is_err() { stop.cancelled().await },
                () = stop.cancelled() => {}
            }
            continue;
        };
        let end = stop.child_token();
        let term = term(wanted.clone(), &clock, &leads, &end);
        tokio::pin!(term);
        let ended = loop {
            tokio::select! {
                ended = &mut term => break ended,
                changed = configs.changed() => {
                    if changed.is_err() || self::wanted(&configs.borrow()) != Some(wanted.clone()) {
                        end.cancel();
                        break term.await;
                    }
                }
            }
        };
        // With another configuration nothing is known yet.
        leads.send_replace((!end.is_cancelled()).then_some(false));
        let Err(problem) = ended else {
            told = None;
            continue;
        };
        if told.as_ref() != Some(&problem) && !end.is_cancelled() {
            info!(lease = %wanted, problem, "another process, or none, writes Kubernetes Events");
            told = Some(problem);
        }
        tokio::select! {
            () = tokio::time::sleep(RETRIED) => {}
            () = end.cancelled() => {}
        }
    }
}

/// The Lease, where there has to be one.
fn wanted(config: &Config) -> Option<Named> {
    let lease = config.lease.as_ref().filter(|_| config.writes_events)?;
    Some(Named {
        namespace: lease.namespace.clone(),
        name: format!("{}-events", lease.name),
    })
}

/// Has it until it is lost, or until told to end. An error is why it was not to be had.
async fn term(
    named: Named,
    clock: &Arc<dyn Clock>,
    leads: &watch::Sender<Option<bool>>,
    end: &CancellationToken,
) -> Result<(), String> {
    let is_ours = Arc::new(AtomicBool::new(false));
    let told: Arc<Leads> = {
        let (leads, is_ours) = (leads.clone(), Arc::clone(&is_ours));
        Arc::new(move |leads_now| {
            is_ours.store(leads_now, Ordering::Relaxed);
            leads.send_replace(Some(leads_now));
        })
    };
    let mut leading = leads.subscribe();
    let (runtime, clock, ended) = (Handle::current(), Arc::clone(clock), end.clone());
    let acquire = move || {
        let is_stopped = || ended.is_cancelled();
        Lease::acquire(&named, &runtime, &clock, &told, &is_stopped)
    };
    let acquired = tokio::task::spawn_blocking(acquire).await;
    let lease = acquired.expect("it does not panic")?;
    while is_ours.load(Ordering::Relaxed) {
        tokio::select! {
            changed = leading.changed() => if changed.is_err() { break },
            () = end.cancelled() => break,
        }
    }
    let released = tokio::task::spawn_blocking(move || lease.release()).await;
    released.expect("it does not panic");
    Ok(())
}
