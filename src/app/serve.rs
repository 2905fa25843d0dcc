//! The daemon.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use axum::Router;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::collecting::{Collecting, Seen};
use super::custody::Custody;
use super::events;
use super::keeper::{self, Memory};
use super::kept::Watched;
use super::pipeline::{self, SharedCustody, StateLink};
use super::planner::Planner;
use super::registries::Registries;
use super::reload::{self, Origin};
use super::retaining::Retaining;
use super::sources::{self, Wanted};
use super::{keepset, ledger, windows};
use crate::clock::Clock;
use crate::config::Config;
use crate::config::endpoint::Listen;
use crate::credential_source::Sources;
use crate::events::Counts;
use crate::http::asked::Asked;
use crate::http::keepset::Published;
use crate::http::tls::TlsListener;
use crate::http::{self, Health, Ui};
use crate::metrics::collector::{Caps, SnapshotCollector};
use crate::metrics::compat::{Compat, CompatCollector};
use crate::metrics::exposition::Exposition;
use crate::registry::manifest_cache::{InMemory, ManifestCache};
use crate::registry::stats::Stats;
use crate::state::collections::Collections;
use crate::state::retention::Retentions;
use crate::state::storages::Storages;
use crate::state::windows::Windows;
use crate::state::{Snapshot, State};
use crate::store::Store;

/// How long the parts have to end.
const GRACE: Duration = Duration::from_secs(10);
/// How many events wait for the keeper.
const EVENTS_MAX: usize = 64;

/// What a daemon is made from.
#[derive(Debug)]
pub struct Options {
    pub config: Config,
    pub origin: Origin,
    /// Besides what the configuration names.
    pub more: Vec<Wanted>,
    pub plain_http: BTreeSet<String>,
    /// Whose series are exposed beside our own.
    pub compat: Option<Compat>,
    pub listeners: Listeners,
    pub clock: Arc<dyn Clock>,
}

/// The two sockets: what Prometheus and the kubelet see, and what people see.
#[derive(Debug)]
pub struct Listeners {
    pub metrics: TcpListener,
    pub ui: TcpListener,
}

impl Listeners {
    pub async fn bind(config: &Config) -> anyhow::Result<Self> {
        Ok(Self {
            metrics: bind(&config.http.metrics, "http.metrics").await?,
            ui: bind(&config.http.ui, "http.ui").await?,
        })
    }
}

async fn bind(listen: &Listen, key: &str) -> anyhow::Result<TcpListener> {
    let result = match &listen.host {
        Some(host) => TcpListener::bind((host.as_str(), listen.port)).await,
        None => {
            let everywhere = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, listen.port));
            match TcpListener::bind(everywhere).await {
                // A machine without IPv6.
                Err(error) if error.kind() != std::io::ErrorKind::AddrInUse => {
                    TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, listen.port)).await
                }
                bound => bound,
            }
        }
    };
    result.with_context(|| {
        format!(
            "listening on port {} ({key}); set another there",
            listen.port
        )
    })
}

/// A handle on what a running daemon says.
#[derive(Debug, Clone)]
pub struct Watching {
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    pub collections: watch::Receiver<Arc<Collections>>,
}

/// Runs until `shutdown`, then ends every part. `started` is told when all is running.
pub async fn serve(
    options: Options,
    started: impl FnOnce(Watching),
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let Options {
        config,
        origin,
        more,
        plain_http,
        compat,
        listeners,
        clock,
    } = options;
    let stop = CancellationToken::new();
    let stats = Stats::default();
    let memory = memory(&config)?;
    let store = memory.store.clone();
    let manifests: Arc<dyn ManifestCache> = match &store {
        Some(store) => Arc::clone(store) as Arc<dyn ManifestCache>,
        None => Arc::new(InMemory::default()),
    };
    let (publish, snapshots) = watch::channel(Arc::new(State::default().snapshot(clock.now())));
    let (is_current, current) = watch::channel(true);
    let (new_config, configs) = watch::channel(Arc::new(config));
    let (events, inbox) = mpsc::channel(EVENTS_MAX);

    let first = Arc::clone(&configs.borrow());
    let (custody, published) = custody(&memory, &first);
    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
    let led_to = store.clone().map(keepset::read_led_to);
    if let (Some(directory), Some(read)) = (&memory.directory, &led_to) {
        ledger::serve(&mut tasks, directory, read, &stop);
    }
    let windows = windows::spawn(&mut tasks, &configs, &clock, &stop);
    let collecting = Collecting {
        more: more.clone(),
        stats: stats.clone(),
        clock: Arc::clone(&clock),
        leading: watch::Sender::default(),
        watched: Watched {
            published: published.clone(),
            led_to,
            clock: Arc::clone(&clock),
        },
    };
    let leading = collecting.leading.subscribe();
    let collector = SnapshotCollector::new(snapshots.clone(), current, caps(&first));
    let of_storages = of_storages(
        collecting, &mut tasks, &configs, &windows, &snapshots, &stop,
    );
    let collector = of_storages.told_by(collector);
    let collections = of_storages.collections.clone();
    let collector = collector
        .with_windows(windows.clone())
        .with_leading(leading)
        .with_events(of_events(
            &mut tasks, &configs, &snapshots, &memory, &clock, &stop,
        ));
    let series = caps(&first).series;
    let compat = compat.map(|Compat::K8sIae| CompatCollector::new(snapshots.clone(), series));
    let exposition = Arc::new(Exposition::new(collector, &stats).with_compat(compat));
    let health = Health::new(snapshots.clone(), Arc::clone(&clock));
    say_where(&listeners)?;

    let metrics = http::metrics_router(exposition, health);
    tasks.spawn(http::serve(listeners.metrics, metrics, stop.clone()));
    let keepset = keepset::source(keepset::Parts {
        http: &first.http,
        store: store.clone(),
        published,
        snapshots: snapshots.clone(),
        clock: Arc::clone(&clock),
    })?;
    let ui = http::ui_router(Ui {
        snapshots: snapshots.clone(),
        keepset,
        windows,
        storages: of_storages.storages,
        collections: of_storages.collections,
        retentions: of_storages.retentions,
        asked: asked(&manifests, &stats, clock.now()),
    });
    serve_ui(&mut tasks, listeners.ui, &first, ui, &stop)?;
    let keep = keeper::run(memory, inbox, publish, Arc::clone(&clock), stop.clone());
    spawn(&mut tasks, keep);
    let follow = reload::follow(origin, new_config, is_current, stop.clone());
    spawn(&mut tasks, follow);
    started(Watching {
        snapshots: snapshots.clone(),
        collections,
    });

    let pipelines = Pipelines {
        more,
        plain_http,
        stats,
        manifests,
        store,
        custody,
        state: StateLink { events, snapshots },
        clock,
    };
    let run = pipelines.run(configs, stop.clone());
    until_told(run, tasks, &stop, shutdown).await
}

fn say_where(listeners: &Listeners) -> anyhow::Result<()> {
    info!(
        metrics = %listeners.metrics.local_addr()?,
        ui = %listeners.ui.local_addr()?,
        version = env!("CARGO_PKG_VERSION"),
        "pullproof serves"
    );
    Ok(())
}

/// Runs all parts until told to stop, and waits for their end.
async fn until_told(
    run: impl Future<Output = ()>,
    mut tasks: JoinSet<anyhow::Result<()>>,
    stop: &CancellationToken,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    tokio::pin!(run);
    let mut failure = None;
    let mut is_running = true;
    // Nothing ends before it is told to. A part that does leaves the rest saying what is no longer so.
    tokio::select! {
        () = shutdown => {}
        () = &mut run => {
            is_running = false;
            failure = Some(Ok(Err(anyhow!("the verification ended by itself"))));
        }
        Some(ended) = tasks.join_next() => {
            let ended = ended.map(|result| result.and_then(|()| Err(anyhow!("a part ended by itself"))));
            failure = Some(ended);
        }
    }
    info!("pullproof ends");
    stop.cancel();
    let drain = async {
        if is_running {
            run.await;
        }
        while let Some(ended) = tasks.join_next().await {
            failure.get_or_insert(ended);
        }
    };
    if tokio::time::timeout(GRACE, drain).await.is_err() {
        warn!("not every part ended in {} s", GRACE.as_secs());
    }
    match failure {
        Some(ended) => ended.context("a task died")?,
        None => Ok(()),
    }
}

/// How storages stand, and the tags of registries.
struct OfStorages {
    storages: watch::Receiver<Arc<Storages>>,
    collections: watch::Receiver<Arc<Collections>>,
    retentions: watch::Receiver<Arc<Retentions>>,
}

impl OfStorages {
    /// Samples of all of them.
    fn told_by(&self, collector: SnapshotCollector) -> SnapshotCollector {
        collector
            .with_storages(self.storages.clone())
            .with_collections(self.collections.clone())
            .with_retentions(self.retentions.clone())
    }
}

/// Plans for storages and collects them, decides about tags, and tells how they stand.
fn of_storages(
    collecting: Collecting,
    tasks: &mut JoinSet<anyhow::Result<()>>,
    configs: &watch::Receiver<Arc<Config>>,
    windows: &watch::Receiver<Arc<Windows>>,
    snapshots: &watch::Receiver<Arc<Snapshot>>,
    stop: &CancellationToken,
) -> OfStorages {
    let Collecting {
        watched,
        stats,
        clock,
        ..
    } = &collecting;
    let storages = Planner::of(watched, stats, clock).spawn(tasks, stop);
    let seen = Seen {
        windows: windows.clone(),
        snapshots: snapshots.clone(),
        storages: storages.clone(),
    };
    let retaining = Retaining {
        with: collecting.clone(),
        snapshots: snapshots.clone(),
    };
    let retentions = retaining.spawn(tasks, configs, stop);
    let collections = collecting.spawn(tasks, configs, seen, stop);
    OfStorages {
        storages,
        collections,
        retentions,
    }
}

/// Tells workloads what became of their images.
fn of_events(
    tasks: &mut JoinSet<anyhow::Result<()>>,
    configs: &watch::Receiver<Arc<Config>>,
    snapshots: &watch::Receiver<Arc<Snapshot>>,
    memory: &Memory,
    clock: &Arc<dyn Clock>,
    stop: &CancellationToken,
) -> Arc<Counts> {
    let parts = events::Parts {
        configs: configs.clone(),
        snapshots: snapshots.clone(),
        directory: memory.directory.clone(),
        clock: Arc::clone(clock),
    };
    events::spawn(tasks, parts, stop)
}

/// What the page looks up.
fn asked(manifests: &Arc<dyn ManifestCache>, stats: &Stats, now: Timestamp) -> Asked {
    let (manifests, stats) = (Arc::clone(manifests), stats.clone());
    Asked {
        manifest: Arc::new(move |digest| manifests.get(digest)),
        traffic: Arc::new(move |host, now| stats.traffic(host, now)),
        since: now,
    }
}

/// A part that cannot fail.
fn spawn(tasks: &mut JoinSet<anyhow::Result<()>>, part: impl Future<Output = ()> + Send + 'static) {
    tasks.spawn(async {
        part.await;
        Ok(())
    });
}

fn custody(
    memory: &Memory,
    first: &Arc<Config>,
) -> (SharedCustody, watch::Receiver<Arc<Published>>) {
    let custody = Custody::of(memory);
    let published = custody.inventory(first);
    (Arc::new(tokio::sync::Mutex::new(custody)), published)
}

fn caps(config: &Config) -> Caps {
    Caps {
        series: config.metrics.max_series as usize,
        series_per_namespace: config.metrics.max_series_per_namespace as usize,
    }
}

/// Serves the page, with TLS where that is configured.
fn serve_ui(
    tasks: &mut JoinSet<anyhow::Result<()>>,
    listener: TcpListener,
    config: &Config,
    router: Router,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    match &config.http.tls {
        Some(tls) => {
            let listener = TlsListener::new(listener, &tls.file, &tls.key_file)?;
            tasks.spawn(http::serve(listener, router, stop.clone()));
        }
        None => drop(tasks.spawn(http::serve(listener, router, stop.clone()))),
    }
    Ok(())
}

/// What stays the same from one configuration to the next.
#[derive(Debug)]
struct Pipelines {
    more: Vec<Wanted>,
    plain_http: BTreeSet<String>,
    stats: Stats,
    manifests: Arc<dyn ManifestCache>,
    store: Option<Arc<Store>>,
    custody: SharedCustody,
    state: StateLink,
    clock: Arc<dyn Clock>,
}

impl Pipelines {
    /// Runs a pipeline for the current configuration, and a new one for each new configuration.
    async fn run(self, mut configs: watch::Receiver<Arc<Config>>, stop: CancellationToken) {
        let mut said = Vec::new();
        loop {
            let config = Arc::clone(&configs.borrow_and_update());
            let mut wanted = self.more.clone();
            if wanted.is_empty() || !config.inventory.is_empty() {
                wanted.extend(sources::of_config(&config));
            }
            let registries = self.registries(&config, &wanted).await;
            let end = stop.child_token();
            let (state, clock) = (self.state.clone(), Arc::clone(&self.clock));
            let last = std::mem::take(&mut said);
            let custody = Arc::clone(&self.custody);
            let end_of_it = end.clone();
            let pipeline =
                pipeline::run(wanted, &last, custody, registries, state, clock, end_of_it);
            tokio::pin!(pipeline);
            tokio::select! {
                _ = &mut pipeline => return,
                changed = configs.changed() => {
                    end.cancel();
                    said = pipeline.await;
                    if changed.is_err() {
                        return;
                    }
                }
            }
            let new = configs.borrow();
            if new.http != config.http || new.state != config.state || new.metrics != config.metrics
            {
                warn!("changes under http, metrics and state take effect at the next start");
            }
        }
    }

    async fn registries(&self, config: &Arc<Config>, wanted: &[Wanted]) -> Registries {
        // What an operator wrote into a file is the operator's word for the hosts in it.
        let files: Vec<Wanted> = wanted
            .iter()
            .filter(|wanted| wanted.is_operators())
            .cloned()
            .collect();
        let inventory = sources::read_once(&files, &self.clock).await;
        let mut named = inventory.hosts();
        named.extend(self.plain_http.iter().cloned());
        Registries {
            config: Arc::clone(config),
            named,
            plain_http: self.plain_http.clone(),
            personal: Arc::default(),
            sources: Sources::default(),
            stats: self.stats.clone(),
            manifests: Arc::clone(&self.manifests),
            depth: None,
            memory: self.store.clone(),
            exchanges: None,
            clock: Arc::clone(&self.clock),
        }
    }
}

/// Opens what survives restarts. A directory that was asked for must work; the default may not be
/// there, for instance at a desk.
fn memory(config: &Config) -> anyhow::Result<Memory> {
    let directory: PathBuf = config.state.directory.clone();
    match Store::open(&directory.join("state.redb")) {
        Ok(store) => {
            let survives = survives(&directory);
            Ok(Memory {
                store: Some(Arc::new(store)),
                directory: Some(directory),
                survives,
            })
        }
        Err(problem) if config.state.is_given => {
            Err(problem).context("opening the state directory (state.directory)")
        }
        Err(problem) => {
            warn!("{problem}");
            warn!(
                "nothing is remembered across restarts; set state.directory to a place that can be written"
            );
            Ok(Memory {
                store: None,
                directory: None,
                survives: false,
            })
        }
    }
}

/// Whether a directory is on a disk. What is in memory, or in a container's own layer, is new after
/// every restart, and a baseline made there would forgive everything each time.
fn survives(directory: &Path) -> bool {
    const TMPFS: i64 = 0x0102_1994;
    const RAMFS: i64 = 0x8584_58f6;
    const OVERLAYFS: i64 = 0x794c_7630;
    rustix::fs::statfs(directory)
        .is_ok_and(|stat| ![TMPFS, RAMFS, OVERLAYFS].contains(&stat.f_type))
}
