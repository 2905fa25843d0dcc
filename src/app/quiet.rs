//! Whether a registry may be asked now: Harbor is not while its own collection runs, whoever started that.

use std::path::PathBuf;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::executor::harbor::{Api, State};
use crate::config::{Executor, Registry};

/// It is asked this often whether it collects.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// What was known stands until so many answers in a row were none: then the registry is asked as any other, and
/// what is wrong with it is found out.
const FAILURES_MAX: u32 = 3;

/// What is known of a registry's own collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Nobody has asked yet.
    Nothing,
    Idle,
    Collects,
}

/// Whether a registry may be asked.
#[derive(Debug, Clone)]
pub(super) struct Quiet(watch::Receiver<Known>);

/// Who finds that out.
#[derive(Debug)]
pub(super) struct Watcher {
    /// `None` where it need not be asked.
    harbor: Option<(Registry, PathBuf)>,
    publish: watch::Sender<Known>,
}

/// Of a registry, by how it is collected; one without an entry has no collection that could be asked for.
pub(super) fn of(registry: Option<&Registry>) -> (Watcher, Quiet) {
    let harbor = registry.and_then(|registry| match &registry.gc.executor {
        Executor::Harbor(harbor) => Some((registry.clone(), harbor.credentials.clone())),
        Executor::Builtin | Executor::Command(_) | Executor::KubernetesJob(_) => None,
    });
    let first = if harbor.is_some() {
        Known::Nothing
    } else {
        Known::Idle
    };
    let (publish, known) = watch::channel(first);
    (Watcher { harbor, publish }, Quiet(known))
}

impl Quiet {
    /// Waits until it may be asked; false when it is time to end.
    pub(super) async fn over(&mut self, stop: &CancellationToken) -> bool {
        tokio::select! {
            is_over = self.0.wait_for(|known| *known == Known::Idle) => is_over.is_ok(),
            () = stop.cancelled() => false,
        }
    }

    /// Waits until it may not be asked any more.
    pub(super) async fn begins(&mut self) {
        if self
            .0
            .wait_for(|known| *known == Known::Collects)
            .await
            .is_err()
        {
            // Nobody tells any more: it is time to end.
            std::future::pending::<()>().await;
        }
    }
}

impl Watcher {
    /// Until told to stop.
    pub(super) async fn run(self, stop: CancellationToken) {
        let Some((registry, credentials)) = self.harbor else {
            stop.cancelled().await;
            return;
        };
        let mut failures = 0;
        loop {
            let (registry, credentials) = (registry.clone(), credentials.clone());
            let runtime = Handle::current();
            let asked = tokio::task::spawn_blocking(move || {
                Api::new(&registry, &credentials, &runtime)?.last()
            });
            let asked = tokio::select! {
                asked = asked => asked.unwrap_or_else(|panic| Err(panic.to_string())),
                () = stop.cancelled() => return,
            };
            let before = *self.publish.borrow();
            let now = match asked {
                Ok(last) => {
                    failures = 0;
                    let is_under_way = last.is_some_and(|it| it.state() == State::UnderWay);
                    if is_under_way {
                        Known::Collects
                    } else {
                        Known::Idle
                    }
                }
                Err(problem) => {
                    if failures == 0 {
                        warn!("whether Harbor's collection is under way cannot be told: {problem}");
                    }
                    failures += 1;
                    match before {
                        Known::Collects if failures < FAILURES_MAX => Known::Collects,
                        _ => Known::Idle,
                    }
                }
            };
            if now != before {
                match (before, now) {
                    (_, Known::Collects) => {
                        info!("Harbor collects: nothing is verified until it has ended");
                    }
                    (Known::Collects, _) => info!("Harbor does not collect any more"),
                    (_, _) => {}
                }
                self.publish.send_replace(now);
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_that_is_not_asked_is_never_waited_for() {
        let (watcher, mut quiet) = of(None);
        let stop = CancellationToken::new();
        assert!(quiet.over(&stop).await);
        assert_eq!(quiet.begins().now_or_never(), None);
        stop.cancel();
        watcher.run(stop).await;
        assert_eq!(quiet.begins().now_or_never(), None);
    }

    #[tokio::test]
    async fn one_that_collects_is_waited_for_until_it_does_not() {
        let (publish, known) = watch::channel(Known::Nothing);
        let mut quiet = Quiet(known);
        let stop = CancellationToken::new();
        assert_eq!(quiet.over(&stop).now_or_never(), None);
        publish.send_replace(Known::Collects);
        assert_eq!(quiet.over(&stop).now_or_never(), None);
        assert_eq!(quiet.begins().now_or_never(), Some(()));
        publish.send_replace(Known::Idle);
        assert_eq!(quiet.over(&stop).now_or_never(), Some(true));
        publish.send_replace(Known::Collects);
        stop.cancel();
        assert!(!quiet.over(&stop).await);
    }
}
