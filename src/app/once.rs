//! One round over everything, for commands that end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;

use super::registries::Registries;
use crate::clock::Clock;
use crate::images::Images;
use crate::prover;
use crate::state::RoundResult;
use crate::verify::depth::Rotation;
use crate::verify::engine::Progress;

/// Proves all images once, every registry at its own pace. `on_progress` gets the sums.
pub async fn prove_all(
    images: &Images,
    registries: &Registries,
    clock: &Arc<dyn Clock>,
    on_progress: &(dyn Fn(Progress) + Sync),
) -> Vec<RoundResult> {
    let hosts: Vec<Arc<str>> = images.hosts().into_iter().map(Into::into).collect();
    let sums: Vec<(AtomicUsize, AtomicUsize)> = hosts.iter().map(|_| Default::default()).collect();
    let rounds = hosts.iter().zip(&sums).map(|(host, (answered, open))| {
        let sums = &sums;
        async move {
            let of_host = images.of_host(host);
            match registries.prover(host, Rotation::default(), Arc::default()) {
                Ok(mut prover) => {
                    let report = |progress: Progress| {
                        answered.store(progress.answered, Ordering::Relaxed);
                        open.store(progress.open, Ordering::Relaxed);
                        let sum = |of: fn(&(AtomicUsize, AtomicUsize)) -> &AtomicUsize| {
                            sums.iter()
                                .map(|pair| of(pair).load(Ordering::Relaxed))
                                .sum()
                        };
                        on_progress(Progress {
                            answered: sum(|pair| &pair.0),
                            open: sum(|pair| &pair.1),
                        });
                    };
                    prover.round(&of_host, true, clock, &report).await
                }
                Err(problem) => {
                    let interval = registries.cadence(host).interval;
                    prover::unaskable(
                        host,
                        &of_host,
                        &format!("{problem:#}"),
                        true,
                        interval,
                        clock,
                    )
                }
            }
        }
    });
    join_all(rounds).await
}
