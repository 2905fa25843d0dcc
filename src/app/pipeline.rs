//! Sources into images, images into rounds: what runs for one configuration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span, warn};

use super::apart::Parted;
use super::custody::Custody;
use super::keeper::Event;
use super::quiet::{self, Quiet};
use super::registries::Registries;
use super::sources::{self, Wanted};
use super::tags::{Budget, TagWatch};
use crate::clock::Clock;
use crate::images::{self, Image, Images};
use crate::inventory::cluster::IsBroken;
use crate::inventory::{Inventory, SourceState};
use crate::oci::reference::Reference;
use crate::pace::Pace;
use crate::prover::{self, Prover};
use crate::remembered::RegistryMemory;
use crate::state::{RoundPart, Snapshot};
use crate::verify::depth::Rotation;
use crate::verify::suspects::Suspects;

/// Changes that come together are taken together. With a cluster's own pace a new image is known within
/// 36 s, however large the cluster is and however much changes in it.
const PACE: Pace = Pace {
    least: Duration::from_millis(300),
    most: Duration::from_secs(24),
};

/// What is remembered is looked at this often: time passes, and an operator accepts something.
const TICK: Duration = Duration::from_secs(5);

/// Custody is one pipeline's at a time.
pub type SharedCustody = Arc<tokio::sync::Mutex<Custody>>;

/// To whom a pipeline tells what it finds, and what is known by that.
#[derive(Debug, Clone)]
pub struct StateLink {
    pub events: mpsc::Sender<Event>,
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
}

/// Runs sources and provers until told to stop. `last` is what the sources of the configuration before
/// said; what these said in the end is the result.
pub async fn run(
    wanted: Vec<Wanted>,
    last: &[(Wanted, Arc<SourceState>)],
    custody: SharedCustody,
    registries: Registries,
    state: StateLink,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> Vec<(Wanted, Arc<SourceState>)> {
    let StateLink { events, snapshots } = state;
    let is_broken = is_broken(snapshots, &registries);
    let mut tasks = JoinSet::new();
    let mut states = Vec::new();
    let mut said = Vec::new();
    let started = start(wanted.clone(), last.to_vec(), Arc::clone(&custody)).await;
    for (wanted, started) in wanted.iter().cloned().zip(started) {
        let (publish, state) = watch::channel(Arc::new(started));
        said.push((wanted.clone(), state.clone()));
        states.push(state);
        let span = info_span!("source", name = wanted.name());
        let (is_broken, clock) = (is_broken.clone(), Arc::clone(&clock));
        let follow = sources::follow(wanted, publish, is_broken, clock, stop.clone());
        tasks.spawn(follow.instrument(span));
    }
    let (publish, images) = watch::channel(Arc::new(Images::default()));
    let parted = Arc::new(Parted::default());
    let collector = Collector {
        wanted,
        custody,
        parted: Arc::clone(&parted),
        registries: registries.clone(),
        clock: Arc::clone(&clock),
        publish,
        events: events.clone(),
    };
    tasks.spawn(collector.collect(states, stop.clone()));
    tasks.spawn(supervise(images, registries, parted, events, clock, stop));
    while let Some(ended) = tasks.join_next().await {
        if let Err(panic) = ended {
            // Fail closed: with a part of us gone, what we say is no longer what is.
            tracing::error!(%panic, "a task died");
            std::process::abort();
        }
    }
    let said = said.into_iter();
    said.map(|(wanted, state)| (wanted, Arc::clone(&state.borrow())))
        .collect()
}

/// By the last snapshot: of what is written, whatever its registry is called.
fn is_broken(snapshots: watch::Receiver<Arc<Snapshot>>, registries: &Registries) -> IsBroken {
    let aliases = registries.config.aliases();
    IsBroken::new(move |written| {
        let Ok(written) = written.parse::<Reference>() else {
            return false;
        };
        let reference = aliases.canonical(&written).unwrap_or(written);
        snapshots.borrow().is_broken(&reference)
    })
}

/// With what each source begins.
async fn start(
    wanted: Vec<Wanted>,
    last: Vec<(Wanted, Arc<SourceState>)>,
    custody: SharedCustody,
) -> Vec<SourceState> {
    let mut custody = custody.lock_owned().await;
    let read = move || {
        custody.keep_only(&wanted);
        let start = |wanted| sources::start(wanted, &last, || custody.stored(wanted));
        wanted.iter().map(start).collect()
    };
    let started = tokio::task::spawn_blocking(read).await;
    started.expect("reading what was stored does not panic")
}

/// Joins the sources, and publishes the images whenever one of them changed.
struct Collector {
    wanted: Vec<Wanted>,
    custody: SharedCustody,
    parted: Arc<Parted>,
    registries: Registries,
    clock: Arc<dyn Clock>,
    publish: watch::Sender<Arc<Images>>,
    events: mpsc::Sender<Event>,
}

impl Collector {
    async fn collect(
        self,
        mut states: Vec<watch::Receiver<Arc<SourceState>>>,
        stop: CancellationToken,
    ) {
        let mut custody = self.custody.lock().await;
        let mut before: Option<(Arc<Inventory>, Arc<Images>)> = None;
        let mut is_parted_anew = false;
        let mut rest = PACE.start();
        loop {
            let said = states
                .iter_mut()
                .map(|state| Arc::clone(&state.borrow_and_update()))
                .collect();
            let begun = Instant::now();
            let now = self.clock.now();
            let sources = custody.take(&self.wanted, said, &self.registries.config, now);
            let inventory = Inventory { sources };
            let is_news = before
                .as_ref()
                .is_none_or(|(before, _)| !is_identical(before, &inventory));
            if is_news || is_parted_anew {
                let known = before.take().filter(|_| !is_parted_anew);
                let Some(published) = self.publish(known, inventory).await else {
                    return;
                };
                is_parted_anew = false;
                let config = &self.registries.config;
                custody.published(config, &published.0, &published.1);
                before = Some(published);
                rest = PACE.after(begun);
            }
            custody.save(&self.wanted, now, false).await;
            let changed = states.iter_mut().map(|state| Box::pin(state.changed()));
            let changed = futures::future::select_all(changed);
            tokio::select! {
                (result, ..) = changed => if result.is_err() {
                    // A source ends only when everything does.
                    stop.cancelled().await;
                    break;
                },
                () = self.parted.changed() => is_parted_anew = true,
                () = tokio::time::sleep(TICK) => continue,
                () = stop.cancelled() => break,
            }
            tokio::select! {
                () = rest.over() => {}
                () = stop.cancelled() => break,
            }
        }
        custody.save(&self.wanted, self.clock.now(), true).await;
    }

    /// `None` when nobody listens any more.
    async fn publish(
        &self,
        before: Option<(Arc<Inventory>, Arc<Images>)>,
        inventory: Inventory,
    ) -> Option<(Arc<Inventory>, Arc<Images>)> {
        let inventory = Arc::new(inventory);
        let images = match before {
            // Read again, and nothing new: a second copy of all images would say the same.
            Some((known, images)) if is_same(&known, &inventory) => images,
            Some(_) | None => Arc::new(self.parted.add(self.registries.images(&inventory))),
        };
        self.publish.send_replace(Arc::clone(&images));
        let event = Event::Inventory(Arc::clone(&inventory), Arc::clone(&images));
        self.events.send(event).await.ok()?;
        Some((inventory, images))
    }
}

/// Whether both are made of the same sources' words.
fn is_identical(one: &Inventory, other: &Inventory) -> bool {
    one.sources.len() == other.sources.len()
        && (one.sources.iter().zip(&other.sources)).all(|(one, other)| Arc::ptr_eq(one, other))
}

/// Whether both say the same about images, whenever and however completely they were read.
fn is_same(one: &Inventory, other: &Inventory) -> bool {
    one.sources.len() == other.sources.len()
        && one.sources.iter().zip(&other.sources).all(|(one, other)| {
            Arc::ptr_eq(one, other)
                || (Arc::ptr_eq(&one.uses, &other.uses) || one.uses == other.uses)
                    && (Arc::ptr_eq(&one.running, &other.running) || one.running == other.running)
                    && one.pull_secrets == other.pull_secrets
                    && one.platforms == other.platforms
        })
}

/// Keeps one prover for each registry that an image names.
async fn supervise(
    mut images: watch::Receiver<Arc<Images>>,
    registries: Registries,
    parted: Arc<Parted>,
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
                    Arc::clone(&parted),
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

/// Rounds over one registry: all images every interval, and new ones at once, also while a long round
/// is under way. Two provers, so that a new image need not wait for a round's end; what the host bears
/// is shared.
async fn prove(
    host: Arc<str>,
    images: watch::Receiver<Arc<Images>>,
    registries: Registries,
    parted: Arc<Parted>,
    events: mpsc::Sender<Event>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let RegistryMemory {
        rotation, suspects, ..
    } = registries.remembered(&host);
    // Both look with the same eyes: what one found broken by reading, the other does not take for whole.
    let suspects = Arc::new(Suspects::new(suspects));
    let (watcher, quiet) = quiet::of(registries.config.registry(&host));
    let prover = || RegistryLoop {
        quiet: quiet.clone(),
        host: Arc::clone(&host),
        rotation,
        suspects: Arc::clone(&suspects),
        images: images.clone(),
        registries: registries.clone(),
        parted: Arc::clone(&parted),
        events: events.clone(),
        clock: Arc::clone(&clock),
        stop: stop.clone(),
        prover: None,
    };
    let covered = Covered::default();
    tokio::join!(
        prover().all_images(&covered),
        prover().new_images(&covered),
        watcher.run(stop.clone())
    );
}

/// The images that a round has begun to prove, with the platforms that counted then; in order of their
/// keys. Those of one registry only: held through a long round, they would keep a whole inventory that
/// is gone.
#[derive(Debug, Default)]
struct Covered(std::sync::Mutex<Arc<[Arc<Image>]>>);

impl Covered {
    /// Takes all of these as covered, and forgets all others.
    fn replace(&self, images: Arc<[Arc<Image>]>) {
        *self.0.lock().expect("never held across a panic") = images;
    }

    /// Those that are not covered as they are now; they are from now on, and no others.
    fn take_new(&self, images: Arc<[Arc<Image>]>) -> Vec<Arc<Image>> {
        let mut covered = self.0.lock().expect("never held across a panic");
        let is_new = |image: &&Arc<Image>| {
            images::find(&covered, &image.key).is_none_or(|before| {
                before.needs != image.needs || before.running_ids() != image.running_ids()
            })
        };
        let new = images.iter().filter(is_new).cloned().collect();
        *covered = images;
        new
    }
}

/// Rounds of one kind over one registry.
struct RegistryLoop {
    quiet: Quiet,
    host: Arc<str>,
    rotation: Rotation,
    suspects: Arc<Suspects>,
    images: watch::Receiver<Arc<Images>>,
    registries: Registries,
    parted: Arc<Parted>,
    events: mpsc::Sender<Event>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    prover: Option<Prover>,
}

impl RegistryLoop {
    async fn all_images(mut self, covered: &Covered) {
        let interval = self.registries.cadence(&self.host).interval;
        let interval = Duration::try_from(interval).unwrap_or(Duration::MAX);
        let mut tags = TagWatch::default();
        loop {
            if !self.quiet.over(&self.stop).await {
                return;
            }
            let due = Instant::now() + interval;
            let all = self.images();
            covered.replace(Arc::clone(&all));
            if !self.round(&all, true).await {
                return;
            }
            if !self.look_at_tags(&all, &mut tags, due).await {
                return;
            }
            drop(all);
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    async fn new_images(mut self, covered: &Covered) {
        loop {
            tokio::select! {
                changed = self.images.changed() => if changed.is_err() { return },
                () = self.stop.cancelled() => return,
            }
            let new = covered.take_new(self.images());
            if !self.round(&new, false).await {
                return;
            }
        }
    }

    /// Looks at tags until the next round is due; false when it is time to end.
    async fn look_at_tags(
        &mut self,
        images: &[Arc<Image>],
        tags: &mut TagWatch,
        due: Instant,
    ) -> bool {
        let prover = self.prover.as_ref();
        let Some(prover) = prover.filter(|_| self.registries.lists_tags(&self.host)) else {
            return true;
        };
        let is_named: Vec<bool> = {
            let named = self.images.borrow();
            let find = |image: &Arc<Image>| images::find(&named.images, &image.key).is_some();
            images.iter().map(find).collect()
        };
        let budget = Budget::until(due);
        let look = tags.look(prover, images, &is_named, budget, self.clock.as_ref());
        let known = tokio::select! {
            known = look => known,
            // They are looked at again after the next round.
            () = self.quiet.begins() => return true,
            () = self.stop.cancelled() => return false,
        };
        match known {
            Some(known) => {
                let event = Event::Tags(Arc::clone(&self.host), known);
                self.events.send(event).await.is_ok()
            }
            None => true,
        }
    }

    /// What there is to prove now.
    fn images(&mut self) -> Arc<[Arc<Image>]> {
        self.images.borrow_and_update().of_host(&self.host).into()
    }

    /// One round; false when it is time to end. One during which the registry may not be asked any more says
    /// nothing of what it did not reach, and begins again after that.
    async fn round(&mut self, images: &[Arc<Image>], is_full: bool) -> bool {
        if images.is_empty() {
            return true;
        }
        while self.quiet.over(&self.stop).await {
            if let Some(is_to_go_on) = self.round_at_once(images, is_full).await {
                return is_to_go_on;
            }
            // It was cut off anywhere.
            self.prover = None;
        }
        false
    }

    /// `None` where it was cut off.
    async fn round_at_once(&mut self, images: &[Arc<Image>], is_full: bool) -> Option<bool> {
        let mut quiet = self.quiet.clone();
        let problem = match &self.prover {
            Some(_) => None,
            None => {
                let made = self
                    .registries
                    .prover(&self.host, self.rotation, Arc::clone(&self.suspects))
                    .map(|made| self.prover = Some(made));
                made.err().map(|problem| format!("{problem:#}"))
            }
        };
        if let Some(problem) = &problem {
            warn!("{problem}");
        }
        let round = async {
            if let Some(prover) = &mut self.prover {
                let tell = |part: RoundPart| -> BoxFuture<'_, ()> {
                    self.parted.take(&part.compared);
                    // Nobody listens any more when the daemon ends.
                    Box::pin(self.events.send(Event::Part(part)).map(drop))
                };
                return prover
                    .round_in_parts(images, is_full, &self.clock, &|_| {}, Some(&tell))
                    .await;
            }
            let interval = self.registries.cadence(&self.host).interval;
            let problem = problem.unwrap_or_default();
            prover::unaskable(&self.host, images, &problem, is_full, interval, &self.clock)
        };
        let result = tokio::select! {
            result = round => result,
            () = quiet.begins() => return None,
            () = self.stop.cancelled() => return Some(false),
        };
        self.parted.take(&result.compared);
        let sent = self.events.send(Event::Round(Box::new(result))).await;
        Some(sent.is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::PlatformChoice;
    use crate::inventory::references;
    use crate::mirrors::{self, Location, Rule};

    fn inventory(text: &str) -> Inventory {
        let source = references::read_text("keep", text, jiff::Timestamp::UNIX_EPOCH);
        Inventory {
            sources: vec![Arc::new(source)],
        }
    }

    fn images(text: &str, choice: &PlatformChoice) -> Arc<[Arc<Image>]> {
        let images = images::collect(&inventory(text), &|_| choice.clone());
        images.of_host("r.example").into()
    }

    fn names(images: &[Arc<Image>]) -> Vec<&str> {
        images.iter().map(|image| &*image.name).collect()
    }

    #[test]
    fn what_was_only_read_again_is_the_same() {
        let text = "r.example/a:1\nr.example/b:1";
        assert!(is_same(&inventory(text), &inventory(text)));
        assert!(!is_same(&inventory(text), &inventory("r.example/a:1")));
        assert!(!is_same(&inventory(text), &Inventory::default()));
        let mut source = (*inventory(text).sources[0]).clone();
        source.platforms = Some(["linux/amd64".parse().unwrap()].into());
        let sources = vec![Arc::new(source)];
        assert!(!is_same(&inventory(text), &Inventory { sources }));
    }

    #[test]
    fn new_is_what_no_round_covers_as_it_is_now() {
        let all = PlatformChoice::All;
        let covered = Covered::default();
        let take_new = |images: &Arc<[Arc<Image>]>| covered.take_new(Arc::clone(images));
        covered.replace(images("r.example/a:1\nr.example/c:1", &all));
        let now = images(
            "r.example/a:1\nr.example/b:1\nr.example/c:1\ns.example/a:1",
            &all,
        );
        assert_eq!(names(&take_new(&now)), ["r.example/b:1"]);
        assert!(take_new(&now).is_empty());
        // What went is forgotten, so it is new when it comes back.
        assert!(take_new(&images("r.example/b:1", &all)).is_empty());
        assert_eq!(names(&take_new(&now)), ["r.example/a:1", "r.example/c:1"]);
        // Other platforms count: what was proven does not say enough.
        let one = PlatformChoice::These(["linux/amd64".parse().unwrap()].into());
        let now = images("r.example/b:1", &one);
        assert_eq!(names(&take_new(&now)), ["r.example/b:1"]);
    }

    #[test]
    fn what_is_covered_stays_so_where_images_and_endpoints_share_a_host() {
        let location = |host: &str| Location {
            host: host.to_owned(),
            prefix: String::new(),
        };
        let rules = [Rule {
            mirror: location("r.example"),
            of: location("o.example"),
        }];
        let text = "r.example/b:1\nr.example/c:1\no.example/a:1\no.example/d:1";
        let images = images::collect(&inventory(text), &|_| PlatformChoice::All);
        let images = mirrors::with_endpoints(images, &rules);
        let all: Arc<[Arc<Image>]> = images.of_host("r.example").into();
        let in_order = ["a", "b", "c", "d"].map(|name| format!("r.example/{name}:1"));
        assert_eq!(names(&all), in_order);
        let covered = Covered::default();
        assert_eq!(covered.take_new(Arc::clone(&all)).len(), 4);
        assert!(covered.take_new(all).is_empty());
    }
}
