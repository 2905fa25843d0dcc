//! One round over everything, for commands that end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;

use super::registries::Registries;
use super::tags::{Budget, TagWatch};
use crate::clock::Clock;
use crate::drift::tags::HostTags;
use crate::images::{self, Apart, Image, Images};
use crate::oci::digest::Digest;
use crate::prover::{self, Prover};
use crate::state::RoundResult;
use crate::verify::depth::Rotation;
use crate::verify::engine::Progress;

/// One registry after its round.
#[derive(Debug)]
pub struct Proven {
    /// In the order of the round's reports.
    pub images: Vec<Arc<Image>>,
    pub round: RoundResult,
    /// Still with all that it learnt; `None` where the host could not even be asked.
    pub prover: Option<Prover>,
}

/// The layers of a manifest that count as present and were not asked for. A manifest that was not read
/// is not among them.
pub type ForeignLayers = HashMap<Digest, Vec<Digest>>;

impl Proven {
    /// Asks which tags name what; `named` are the images that somebody names. It takes as long as there are
    /// tags.
    pub async fn look_at_tags(&self, named: &Images, clock: &dyn Clock) -> Option<Arc<HostTags>> {
        let find = |image: &Arc<Image>| images::find(&named.images, &image.key).is_some();
        let is_named: Vec<bool> = self.images.iter().map(find).collect();
        let prover = self.prover.as_ref()?;
        let mut tags = TagWatch::default();
        let budget = Budget::unlimited();
        tags.look(prover, &self.images, &is_named, budget, clock)
            .await
    }

    /// Of every manifest that a platform of a report has.
    pub fn foreign_layers(&self) -> ForeignLayers {
        let Some(prover) = &self.prover else {
            return ForeignLayers::new();
        };
        let (table, _) = prover.learnt();
        let reports = self.round.reports.iter().map(|(_, _, report)| report);
        let platforms = reports.flat_map(|report| report.platforms.iter());
        let mut found = ForeignLayers::new();
        for digest in platforms.filter_map(|platform| platform.digest) {
            if !found.contains_key(&digest)
                && let Some(layers) = table.node(&digest).and_then(|node| node.foreign_layers())
            {
                found.insert(digest, layers);
            }
        }
        found
    }
}

/// The images, and those of them that are still to be proven: what runs and was found to be no part of
/// what its tag names.
pub fn with_running<'a>(
    images: &Images,
    rounds: impl Iterator<Item = &'a RoundResult>,
) -> (Images, Images) {
    let compared = rounds.flat_map(|round| &round.compared);
    let apart: Apart = compared
        .map(|compared| (Arc::clone(&compared.key), compared.apart().collect()))
        .collect();
    let all = images::with_running(images.clone(), &apart);
    let is_new = |image: &&Arc<Image>| images.get(&image.key).is_none();
    let new = Images {
        endpoints: all.endpoints.iter().filter(is_new).cloned().collect(),
        ..Images::default()
    };
    (all, new)
}

/// Proves all images once, every registry at its own pace. `on_progress` gets the sums. Of each registry
/// that is kept which `then` makes of it as soon as its round is over.
pub async fn prove_each<T>(
    images: &Images,
    registries: &Registries,
    clock: &Arc<dyn Clock>,
    on_progress: &(dyn Fn(Progress) + Sync),
    then: impl AsyncFn(Proven) -> T,
) -> Vec<T> {
    let hosts: Vec<Arc<str>> = images.hosts().into_iter().map(Into::into).collect();
    let sums: Vec<(AtomicUsize, AtomicUsize)> = hosts.iter().map(|_| Default::default()).collect();
    let rounds = hosts.iter().zip(&sums).map(|(host, (answered, open))| {
        let (sums, then) = (&sums, &then);
        async move {
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
            let images = images.of_host(host).into_owned();
            then(prove(host, images, registries, clock, &report).await).await
        }
    });
    join_all(rounds).await
}

async fn prove(
    host: &Arc<str>,
    images: Vec<Arc<Image>>,
    registries: &Registries,
    clock: &Arc<dyn Clock>,
    on_progress: &(dyn Fn(Progress) + Sync),
) -> Proven {
    match registries.prover(host, Rotation::default(), Arc::default()) {
        Ok(mut prover) => Proven {
            round: prover.round(&images, true, clock, on_progress).await,
            images,
            prover: Some(prover),
        },
        Err(problem) => {
            let interval = registries.cadence(host).interval;
            let problem = format!("{problem:#}");
            Proven {
                round: prover::unaskable(host, &images, &problem, true, interval, clock),
                images,
                prover: None,
            }
        }
    }
}
