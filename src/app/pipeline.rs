//! Sources into images, images into rounds: what runs for one configuration.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span, warn};

use super::keeper::Event;
use super::registries::Registries;
use super::sources::{self, Wanted};
use crate::clock::Clock;
use crate::images::{self, Image, ImageKey, Images};
use crate::inventory::{Inventory, SourceState};
use crate::prover;

/// Changes that come together are taken together.
const DEBOUNCE: Duration = Duration::from_millis(300);

/// Runs sources and provers until told to stop.
pub async fn run(
    wanted: Vec<Wanted>,
    registries: Registries,
    events: mpsc::Sender<Event>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let mut tasks = JoinSet::new();
    let mut states = Vec::new();
    for wanted in wanted {
        let unread = Arc::new(SourceState::unread(wanted.name()));
        let (publish, state) = watch::channel(unread);
        states.push(state);
        let span = info_span!("source", name = wanted.name());
        let follow = sources::follow(wanted, publish, Arc::clone(&clock), stop.clone());
        tasks.spawn(follow.instrument(span));
    }
    let (publish, images) = watch::channel(Arc::new(Images::default()));
    tasks.spawn(collect(
        states,
        registries.clone(),
        publish,
        events.clone(),
        stop.clone(),
    ));
    tasks.spawn(supervise(images, registries, events, clock, stop));
    while let Some(ended) = tasks.join_next().await {
        if let Err(panic) = ended {
            // Fail closed: with a part of us gone, what we say is no longer what is.
            tracing::error!(%panic, "a task died");
            std::process::abort();
        }
    }
}

/// Joins the sources and publishes the images whenever one of them changed.
async fn collect(
    mut states: Vec<watch::Receiver<Arc<SourceState>>>,
    registries: Registries,
    publish: watch::Sender<Arc<Images>>,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
) {
    loop {
        let sources = states
            .iter_mut()
            .map(|state| Arc::clone(&state.borrow_and_update()))
            .collect();
        let inventory = Arc::new(Inventory { sources });
        let images = Arc::new(images::collect(&inventory, &|host| {
            registries.platforms(host)
        }));
        publish.send_replace(Arc::clone(&images));
        if events
            .send(Event::Inventory(inventory, images))
            .await
            .is_err()
        {
            return;
        }
        let changed =
            futures::future::select_all(states.iter_mut().map(|state| Box::pin(state.changed())));
        tokio::select! {
            (result, ..) = changed => if result.is_err() {
                // A source ends only when everything does.
                stop.cancelled().await;
                return;
            },
            () = stop.cancelled() => return,
        }
        tokio::time::sleep(DEBOUNCE).await;
    }
}

/// Keeps one prover for each registry that an image names.
async fn supervise(
    mut images: watch::Receiver<Arc<Images>>,
    registries: Registries,
    events: mpsc::Sender<Event>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let mut provers: BTreeMap<String, CancellationToken> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    loop {
        let hosts = images.borrow_and_update().hosts();
        provers.retain(|host, stop| {
            let stays = hosts.contains(host);
            if !stays {
                stop.cancel();
            }
            stays
        });
        for host in hosts {
            provers.entry(host.clone()).or_insert_with(|| {
                let stop = stop.child_token();
                let span = info_span!("registry", %host);
                let prove = prove(
                    host.as_str().into(),
                    images.clone(),
                    registries.clone(),
                    events.clone(),
                    Arc::clone(&clock),
                    stop.clone(),
                );
                tasks.spawn(prove.instrument(span));
                stop
            });
        }
        tokio::select! {
            changed = images.changed() => if changed.is_err() { break },
            () = stop.cancelled() => break,
            Some(ended) = tasks.join_next() => ended.expect("a prover does not panic"),
        }
    }
    stop.cancel();
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a prover does not panic");
    }
}

/// Rounds over one registry: all images every interval, new ones at once.
async fn prove(
    host: Arc<str>,
    mut images: watch::Receiver<Arc<Images>>,
    registries: Registries,
    events: mpsc::Sender<Event>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let cadence = registries.cadence(&host);
    let interval = Duration::try_from(cadence.interval).unwrap_or(Duration::MAX);
    let mut prover = None;
    let mut seen: HashSet<ImageKey> = HashSet::new();
    let mut needs_seen: BTreeMap<ImageKey, crate::verify::target::Needs> = BTreeMap::new();
    let mut due = Instant::now();
    loop {
        let all = images.borrow_and_update().of_host(&host);
        let is_full = Instant::now() >= due;
        let wanted: Vec<Arc<Image>> = if is_full {
            due = Instant::now() + interval;
            all.clone()
        } else {
            let is_new = |image: &&Arc<Image>| {
                !seen.contains(&image.key) || needs_seen.get(&image.key) != Some(&image.needs)
            };
            all.iter().filter(is_new).cloned().collect()
        };
        seen = all.iter().map(|image| image.key.clone()).collect();
        needs_seen = all
            .iter()
            .map(|image| (image.key.clone(), image.needs.clone()))
            .collect();
        if !wanted.is_empty() {
            let problem = if prover.is_some() {
                None
            } else {
                let made = registries.prover(&host).map(|made| prover = Some(made));
                made.err().map(|problem| format!("{problem:#}"))
            };
            if let Some(problem) = &problem {
                warn!("{problem}");
            }
            let round = async {
                match &mut prover {
                    Some(prover) => prover.round(&wanted, is_full, &clock, &|_| {}).await,
                    None => {
                        let problem = problem.unwrap_or_default();
                        prover::unaskable(&host, &wanted, &problem, cadence.interval, &clock)
                    }
                }
            };
            let result = tokio::select! {
                result = round => result,
                () = stop.cancelled() => return,
            };
            if events.send(Event::Round(Box::new(result))).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            changed = images.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}
