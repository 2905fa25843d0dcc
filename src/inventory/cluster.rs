//! One cluster as a source: watched, so that a change is known at once, and honest about what it
//! could not read.
//!
//! Written on kube's client without its runtime: a reflector there stays "ready" with old data while
//! its watch is refused over and over, and completeness is what this source is for.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use futures::future::join_all;
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use kube::Client;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::pace::Pace;

use super::extract::{CustomResource, Releases, Scope};
use super::marks::Chosen;
use super::{Class, SourceState};

use self::api::Failure;
use self::follow::{Backoff, follow, list};
use self::kinds::{Kind, Resource, TURNS};
use self::secrets::{SECRETS_INTERVAL, Secrets};
use self::world::{View, World};

pub use self::access::{ConnectError, reach};

mod access;
mod api;
mod discovery;
mod follow;
mod item;
mod kinds;
mod misses;
mod record;
mod secrets;
mod unit;
mod uses;
mod version;
mod world;

/// Changes that come together are published together.
const PACE: Pace = Pace {
    least: Duration::from_millis(200),
    most: Duration::from_secs(12),
};
/// How often a quiet, complete source says that it still is.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// How long a publication waits for secrets that are newly named.
const SECRETS_WAIT: Duration = Duration::from_secs(5);
/// The same when everything is read once.
const SECRETS_WAIT_ONCE: Duration = Duration::from_mins(1);
/// How many pages are held at a time.
const PAGES_AT_ONCE: usize = 3;
/// How many resources are listed at a time when everything is read once.
const LISTS_AT_ONCE: usize = 8;
/// How often a list is tried when everything is read once.
const ATTEMPTS_ONCE: usize = 3;
/// A new client is made at most this often, and this long before the old one's certificate ends.
const RENEW_MARGIN: Duration = Duration::from_mins(1);

/// Which cluster, and what of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterOptions {
    /// The label `cluster`; `None` where clusters are not named.
    pub name: Option<String>,
    /// The name of the source itself.
    pub source_name: String,
    pub access: Access,
    /// `Runtime`, or `Failover` for a standby.
    pub class: Class,
    /// Empty means all.
    pub namespaces: Vec<String>,
    pub beyond: Beyond,
    /// The labels of its workloads and namespaces that ride along in metrics.
    pub labels: Arc<[Chosen]>,
}

/// What is read besides Kubernetes' own kinds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beyond {
    pub custom_resources: Vec<Arc<CustomResource>>,
    /// The hosts of registries whose images count where they are merely mentioned; `None`: that is not
    /// looked for.
    pub mentions: Option<Arc<[String]>>,
    pub releases: Releases,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// The current kubeconfig, else the pod's service account: as kubectl does it.
    Infer,
    InCluster,
    Kubeconfig {
        /// `None`: what `KUBECONFIG` says, or `~/.kube/config`.
        file: Option<PathBuf>,
        /// `None`: the current one.
        context: Option<String>,
    },
}

/// Whether an image, as it is written in a Pod, is said to be broken: whoever has pulled it all the same has
/// something to say.
#[derive(Clone)]
pub struct IsBroken(Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl IsBroken {
    pub fn new(is_broken: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_broken))
    }

    fn of(&self, image: &str) -> bool {
        (self.0)(image)
    }
}

impl Default for IsBroken {
    fn default() -> Self {
        Self::new(|_| false)
    }
}

impl fmt::Debug for IsBroken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("IsBroken").finish_non_exhaustive()
    }
}

/// How long a watch is held, and how long its end is waited for.
#[derive(Debug, Clone)]
pub struct Times {
    /// What the server is asked for: at random between these, so that twelve watches do not come back at
    /// once.
    pub watch_seconds: RangeInclusive<u32>,
    /// How much later than asked the server may close a watch. A connection that was dropped without a
    /// word looks like a quiet watch until then.
    pub stall_margin: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            watch_seconds: 240..=290,
            stall_margin: Duration::from_secs(15),
        }
    }
}

/// A cluster that can be read.
pub struct ClusterSource {
    options: ClusterOptions,
    client: Client,
    times: Times,
    is_broken: IsBroken,
    /// Whether `options` lead to the client again when its credentials end.
    is_renewable: bool,
}

impl fmt::Debug for ClusterSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ClusterSource")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Makes a source. The cluster itself is not asked yet: one that is away is incomplete, not an error.
pub async fn connect(options: &ClusterOptions) -> Result<ClusterSource, ConnectError> {
    Ok(ClusterSource {
        client: access::client(options).await?,
        options: options.clone(),
        times: Times::default(),
        is_broken: IsBroken::default(),
        is_renewable: true,
    })
}

impl ClusterSource {
    /// A source on a client that is made elsewhere; `options.access` is not looked at.
    pub fn with_client(options: ClusterOptions, client: Client) -> Self {
        Self {
            options,
            client,
            times: Times::default(),
            is_broken: IsBroken::default(),
            is_renewable: false,
        }
    }

    /// The same with other times.
    #[must_use]
    pub fn with_times(self, times: Times) -> Self {
        Self { times, ..self }
    }

    /// The same, knowing what is said to be broken.
    #[must_use]
    pub fn heeding(self, is_broken: IsBroken) -> Self {
        Self { is_broken, ..self }
    }

    /// Lists everything once. What failed is in `incomplete`.
    pub async fn read_once(&self, now: Timestamp) -> SourceState {
        let shared = Shared::new(self, Arc::new(Stopped(now)));
        for turn in 0..TURNS {
            let units = (0..shared.units).filter(|unit| shared.kind(*unit).turn == turn);
            let lists = units.map(|unit| list_once(&shared, unit));
            stream::iter(lists)
                .buffer_unordered(LISTS_AT_ONCE)
                .collect::<()>()
                .await;
        }
        let view = shared.world().view();
        let mut secrets = Secrets::default();
        let named = secrets.keep(&view);
        let deadline = Instant::now() + SECRETS_WAIT_ONCE;
        secrets.read(&self.client, named, deadline).await;
        state(&shared.name, view, &secrets, None)
    }

    /// Publishes a new state at every change, until `shutdown`.
    pub async fn run(
        self,
        publish: watch::Sender<Arc<SourceState>>,
        clock: Arc<dyn Clock>,
        shutdown: impl Future,
    ) {
        let shared = Shared::new(&self, clock);
        let followers = join_all((0..shared.units).map(|unit| follow(&shared, unit)));
        // All are cancel-safe: whatever is dropped is read again by the next start.
        tokio::select! {
            _ = followers => {}
            () = publisher(&shared, &publish) => {}
            () = renewer(&shared, &self) => {}
            _ = shutdown => {}
        }
    }
}

/// What the futures of one source share. They run in one task, so its locks are never waited for.
struct Shared {
    name: Arc<str>,
    client: RwLock<Client>,
    world: Mutex<World>,
    times: Times,
    units: usize,
    clock: Arc<dyn Clock>,
    /// Something that is published has changed.
    news: Notify,
    /// The server does not know our credentials any more.
    renew: Notify,
    pages: Semaphore,
}

impl Shared {
    fn new(source: &ClusterSource, clock: Arc<dyn Clock>) -> Self {
        let options = &source.options;
        let scope = Scope {
            cluster: options.name.as_deref().map(Into::into),
            class: options.class,
        };
        let mut world = World::new(scope, &options.namespaces, &options.beyond, &options.labels);
        world.heed(source.is_broken.clone());
        Self {
            name: options.source_name.as_str().into(),
            client: RwLock::new(source.client.clone()),
            units: world.units(),
            world: Mutex::new(world),
            times: source.times.clone(),
            clock,
            news: Notify::new(),
            renew: Notify::new(),
            pages: Semaphore::new(PAGES_AT_ONCE),
        }
    }

    fn client(&self) -> Client {
        let client = self.client.read().unwrap_or_else(PoisonError::into_inner);
        client.clone()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kind(&self, unit: usize) -> Arc<Kind> {
        self.world().kind(unit)
    }

    fn resource(&self, unit: usize) -> Resource {
        self.world().resource(unit)
    }

    /// Tells the world something. Whether it was news.
    fn tell(&self, something: impl FnOnce(&mut World, Timestamp) -> bool) -> bool {
        let is_news = something(&mut self.world(), self.clock.now());
        if is_news {
            self.news.notify_one();
        }
        is_news
    }
}

/// The time of a command that runs once.
#[derive(Debug)]
struct Stopped(Timestamp);

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        self.0
    }
}

async fn list_once(shared: &Shared, unit: usize) {
    let mut backoff = Backoff::default();
    for attempt in 1..=ATTEMPTS_ONCE {
        let Err(failure) = list(shared, unit, "").await else {
            return;
        };
        shared.tell(|world, now| world.fail(unit, &failure, now));
        let is_an_answer = matches!(
            failure,
            Failure::Refused(_) | Failure::Absent | Failure::NotInstalled
        );
        if attempt == ATTEMPTS_ONCE || is_an_answer {
            return;
        }
        sleep(backoff.next()).await;
    }
}

/// Never returns.
async fn publisher(shared: &Shared, publish: &watch::Sender<Arc<SourceState>>) {
    let mut secrets = Secrets::default();
    let mut secrets_due = Instant::now() + SECRETS_INTERVAL;
    let mut heartbeat_due = Instant::now() + HEARTBEAT;
    let mut rest = PACE.start();
    let mut last: Option<Arc<SourceState>> = None;
    let mut told = None;
    loop {
        tokio::select! {
            () = shared.news.notified() => rest.over().await,
            () = sleep_until(secrets_due.min(heartbeat_due)) => {}
        }
        let begun = Instant::now();
        let view = shared.world().view();
        let mut wanted = secrets.keep(&view);
        rest = PACE.after(begun);
        wanted.extend(secrets.left_out());
        if Instant::now() >= secrets_due {
            wanted = secrets.keys().into_iter().chain(wanted).collect();
            secrets_due = Instant::now() + SECRETS_INTERVAL;
        }
        let deadline = Instant::now() + SECRETS_WAIT;
        if !secrets.read(&shared.client(), wanted, deadline).await {
            shared.news.notify_one();
        }
        let new = Arc::new(state(&shared.name, view, &secrets, last.as_deref()));
        let is_due = Instant::now() >= heartbeat_due;
        log_completeness(&mut told, &new, is_due);
        if last.as_ref().is_none_or(|last| differs(last, &new, is_due)) {
            heartbeat_due = Instant::now() + HEARTBEAT;
            publish.send_replace(Arc::clone(&new));
            last = Some(new);
        } else if is_due {
            heartbeat_due = Instant::now() + HEARTBEAT;
        }
    }
}

/// Logs what the source lacks once: at once when it stops being complete, and otherwise when the
/// reason has had a heartbeat's time to settle, since at the start everything is unread.
fn log_completeness(told: &mut Option<String>, new: &SourceState, is_settled: bool) {
    match &new.incomplete {
        None => {
            if told.take().is_some() {
                info!(source = %new.name, uses = new.uses.len(), "the source is complete");
            }
        }
        Some(reason) => {
            let is_news = new.complete_at.is_some() && told.is_none();
            if is_news || (is_settled && told.as_ref() != Some(reason)) {
                warn!(source = %new.name, reason, "the source is not complete");
                *told = Some(reason.clone());
            }
        }
    }
}

/// Shares with `last` what is the same, so that those who read on can tell by the address.
fn state(
    name: &Arc<str>,
    view: View,
    secrets: &Secrets,
    last: Option<&SourceState>,
) -> SourceState {
    let pull_secrets = match last {
        Some(last) if *last.pull_secrets == *secrets.known() => Arc::clone(&last.pull_secrets),
        Some(_) | None => Arc::new(secrets.known().clone()),
    };
    let platforms = match last {
        Some(last) if last.platforms.as_deref() == view.platforms.as_deref() => {
            last.platforms.clone()
        }
        Some(_) | None => view.platforms.map(Into::into),
    };
    SourceState {
        name: Arc::clone(name),
        incomplete: view.incomplete,
        is_awaited: view.is_awaited,
        absent: view.absent.into_iter().chain(secrets.absent()).collect(),
        complete_at: view.complete_at,
        uses: view.uses,
        running: view.running,
        pull_secrets,
        platforms,
        marks: view.marks,
        ..SourceState::unread("")
    }
}

/// Whether it is worth a publication. The time alone is only when one is due.
fn differs(last: &SourceState, new: &SourceState, is_due: bool) -> bool {
    !Arc::ptr_eq(&last.uses, &new.uses)
        || !Arc::ptr_eq(&last.running, &new.running)
        || !Arc::ptr_eq(&last.pull_secrets, &new.pull_secrets)
        || last.platforms != new.platforms
        || last.marks != new.marks
        || last.incomplete != new.incomplete
        || last.absent != new.absent
        || (is_due && last.complete_at != new.complete_at)
}

/// Makes a new client when the server refuses the old one's credentials, or before they end. Tokens
/// are renewed by kube itself; a plugin's certificates and a rewritten kubeconfig are not.
/// Never returns.
async fn renewer(shared: &Shared, source: &ClusterSource) {
    if !source.is_renewable {
        return std::future::pending().await;
    }
    loop {
        let ends = *shared.client().valid_until();
        let left = ends.map(|ends| {
            let left = ends.duration_since(shared.clock.now());
            Duration::try_from(left).unwrap_or_default()
        });
        tokio::select! {
            () = shared.renew.notified() => {}
            () = sleep(left.unwrap_or(Duration::MAX).saturating_sub(RENEW_MARGIN)) => {}
        }
        match access::client(&source.options).await {
            Ok(client) => {
                *shared
                    .client
                    .write()
                    .unwrap_or_else(PoisonError::into_inner) = client;
                info!(source = %shared.name, "made a new client for the cluster");
            }
            Err(error) => warn!(%error, "cannot make a new client for the cluster"),
        }
        sleep(RENEW_MARGIN).await;
    }
}

#[cfg(test)]
mod tests;
