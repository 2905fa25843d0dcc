//! From the configuration to the sources of the inventory, watched or read once.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::SignedDuration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::config::{self, ClusterAccess, Config, Role, Scope};
use crate::inventory::cluster::{self, Access, Beyond, ClusterOptions, IsBroken};
use crate::inventory::completeness::Rules;
use crate::inventory::manifests::Reading;
use crate::inventory::marks::Chosen;
use crate::inventory::peer::{self, PeerOptions};
use crate::inventory::standin::{of_class, with_last};
use crate::inventory::stored::ReadFrom;
use crate::inventory::{
    ARGUMENT, Class, ImageUse, Inventory, SourceState, TopOwner, User, manifests, references,
};
use crate::oci::digest::Digest;
use crate::oci::platform::Platform;
use crate::oci::reference::Reference;

/// Files are read again this often.
const FILES_INTERVAL: Duration = Duration::from_secs(30);
/// A cluster that cannot be connected to is tried again this often.
const CONNECT_INTERVAL: Duration = Duration::from_secs(15);
/// Peers are asked this often, so that what is new there is verified here within half a minute.
const PEER_INTERVAL: Duration = Duration::from_secs(10);
/// One that takes long is asked less often: the rest is this many times what an answer took, up to this.
const PEER_REST: u32 = 10;
const PEER_REST_MAX: Duration = Duration::from_secs(60);

/// One source, as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    Cluster {
        options: ClusterOptions,
        platforms: Vec<Platform>,
    },
    /// Another pullproof.
    Peer(PeerOptions),
    /// A list of references in a file.
    References { name: String, file: PathBuf },
    /// Kubernetes YAML.
    Manifests {
        name: String,
        paths: Vec<PathBuf>,
        reading: Reading,
    },
    /// Given as text: standard input.
    ReferencesText { name: String, text: String },
    ManifestsText {
        name: String,
        text: String,
        reading: Reading,
    },
    /// Typed on the command line.
    Arguments(Vec<Reference>),
}

impl Wanted {
    /// Whether it says what images are for, and not only which.
    pub fn names_workloads(&self) -> bool {
        match self {
            Self::Cluster { .. }
            | Self::Peer(_)
            | Self::Manifests { .. }
            | Self::ManifestsText { .. } => true,
            Self::References { .. } | Self::ReferencesText { .. } | Self::Arguments(_) => false,
        }
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Cluster { options, .. } => &options.source_name,
            Self::Peer(options) => &options.name,
            Self::References { name, .. }
            | Self::Manifests { name, .. }
            | Self::ReferencesText { name, .. }
            | Self::ManifestsText { name, .. } => name,
            Self::Arguments(_) => "arguments",
        }
    }

    /// What it is read from, for as long as that is the same: whatever is kept of a source is of this.
    pub fn identity(&self) -> String {
        let shown = |paths: &[PathBuf]| {
            let paths = paths.iter().map(|path| path.display().to_string());
            paths.collect::<Vec<_>>().join(" ")
        };
        match self {
            Self::Cluster { options, .. } => {
                let access = match &options.access {
                    Access::Infer => "inferred".to_owned(),
                    Access::InCluster => "in-cluster".to_owned(),
                    Access::Kubeconfig { file, context } => {
                        let file = file.as_ref().map(|file| file.display().to_string());
                        let file = file.unwrap_or_default();
                        let context = context.as_deref().unwrap_or_default();
                        format!("kubeconfig {file} context {context}")
                    }
                };
                let namespaces = options.namespaces.join(" ");
                format!("cluster {access} namespaces {namespaces}")
            }
            Self::Peer(options) => format!("peer {}", options.url),
            Self::References { file, .. } => format!("references {}", file.display()),
            Self::Manifests { paths, .. } => format!("manifests {}", shown(paths)),
            Self::ReferencesText { .. } | Self::ManifestsText { .. } => "text".to_owned(),
            Self::Arguments(_) => "arguments".to_owned(),
        }
    }

    /// What is kept of it is of.
    pub fn read_from(&self) -> ReadFrom {
        let beyond = match self {
            Self::Cluster { options, .. } => Some(&options.beyond),
            _ => None,
        };
        let beyond = beyond.filter(|beyond| **beyond != Beyond::default());
        ReadFrom {
            identity: self.identity(),
            // A version that knows more of it reads more, and so has another digest.
            beyond: beyond.map(|beyond| Digest::of(format!("{beyond:?}").as_bytes())),
        }
    }

    /// What a cluster's workloads are.
    pub fn class(&self) -> Option<Class> {
        match self {
            Self::Cluster { options, .. } => Some(options.class),
            _ => None,
        }
    }

    /// The texts that an operator wrote, by name. What cannot be read is told by the inventory.
    pub fn texts(&self) -> Vec<(String, String)> {
        match self {
            Self::Cluster { .. } | Self::Peer(_) | Self::Arguments(_) => Vec::new(),
            Self::References { file, .. } => {
                let text = references::read_file(file, references::LIST_BYTES_MAX);
                let text = text.ok().map(|text| (file.display().to_string(), text));
                text.into_iter().collect()
            }
            Self::Manifests { paths, .. } => manifests::texts(paths),
            Self::ReferencesText { name, text } | Self::ManifestsText { name, text, .. } => {
                vec![(name.clone(), text.clone())]
            }
        }
    }

    /// Whether an operator wrote it, so that its hosts may be at any address.
    pub fn is_operators(&self) -> bool {
        !matches!(self, Self::Cluster { .. } | Self::Peer(_))
    }

    /// Before it was read.
    fn unread(&self) -> SourceState {
        match self {
            Self::Peer(options) => peer::unread(&options.name),
            _ => SourceState::unread(self.name()),
        }
    }
}

/// The sources that a configuration names; the current cluster if it names none.
pub fn of_config(config: &Config) -> Vec<Wanted> {
    let mut wanted = named(config);
    with_beyond(&mut wanted, config);
    wanted
}

/// Lets every cluster and manifest be read beyond Kubernetes' own kinds, and with the labels that ride along,
/// as the configuration says.
pub fn with_beyond(wanted: &mut [Wanted], config: &Config) {
    let hosts = config.registries.iter();
    let hosts = hosts.flat_map(|entry| entry.names().cloned());
    let beyond = Beyond {
        custom_resources: config.inventory.custom_resources.clone(),
        mentions: config.inventory.mentions.then(|| hosts.collect()),
        releases: config.inventory.releases,
    };
    let labels: Arc<[Chosen]> = config.metrics.labels.as_slice().into();
    for wanted in wanted {
        match wanted {
            Wanted::Cluster { options, .. } => {
                options.beyond = beyond.clone();
                options.labels = Arc::clone(&labels);
            }
            Wanted::Manifests { reading, .. } | Wanted::ManifestsText { reading, .. } => {
                reading
                    .custom_resources
                    .clone_from(&beyond.custom_resources);
                reading.labels = Arc::clone(&labels);
            }
            Wanted::Peer(_)
            | Wanted::References { .. }
            | Wanted::ReferencesText { .. }
            | Wanted::Arguments(_) => {}
        }
    }
}

fn named(config: &Config) -> Vec<Wanted> {
    if config.inventory.is_empty() {
        return vec![current_cluster()];
    }
    let clusters = config.inventory.clusters.iter().map(of_cluster);
    let references = config
        .inventory
        .references
        .iter()
        .map(|list| Wanted::References {
            name: list.name.clone(),
            file: list.file.clone(),
        });
    let manifests = config
        .inventory
        .manifests
        .iter()
        .map(|tree| Wanted::Manifests {
            name: tree.name.clone(),
            paths: vec![tree.path.clone()],
            reading: Reading::default(),
        });
    let peers = config.inventory.peers.iter().map(of_peer);
    let files = references.chain(manifests);
    clusters.chain(peers).chain(files).collect()
}

fn of_peer(peer: &config::Peer) -> Wanted {
    Wanted::Peer(PeerOptions {
        name: peer.name.clone(),
        url: peer.endpoint.to_string(),
        is_local: peer.endpoint.is_loopback(),
        ca: peer.ca.clone(),
        token: peer.token.clone(),
        max_age: signed(peer.max_age),
    })
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

fn current_cluster() -> Wanted {
    Wanted::Cluster {
        options: current(),
        platforms: Vec::new(),
    }
}

fn current() -> ClusterOptions {
    ClusterOptions {
        name: None,
        source_name: "kubernetes".to_owned(),
        access: Access::Infer,
        class: Class::Runtime,
        namespaces: Vec::new(),
        beyond: Beyond::default(),
        labels: [].into(),
    }
}

/// A cluster as named on the command line, with kubectl's words.
#[derive(Debug, Clone, Default)]
pub struct Typed {
    /// `None`: the kubeconfig's current one.
    pub context: Option<String>,
    /// `None`: what `KUBECONFIG` says, or `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// Empty means all.
    pub namespaces: Vec<String>,
}

/// The cluster that is meant. One whose context was named is called after it.
pub fn typed(typed: Typed) -> Wanted {
    let Typed {
        context,
        kubeconfig,
        namespaces,
    } = typed;
    let options = current();
    let is_current = context.is_none() && kubeconfig.is_none();
    let options = ClusterOptions {
        name: context.clone(),
        source_name: context.clone().unwrap_or(options.source_name),
        access: if is_current {
            options.access
        } else {
            Access::Kubeconfig {
                file: kubeconfig,
                context,
            }
        },
        namespaces,
        ..options
    };
    Wanted::Cluster {
        options,
        platforms: Vec::new(),
    }
}

fn of_cluster(cluster: &config::Cluster) -> Wanted {
    let options = ClusterOptions {
        name: Some(cluster.name.clone()),
        source_name: cluster.name.clone(),
        access: match &cluster.access {
            ClusterAccess::InCluster => Access::InCluster,
            ClusterAccess::Kubeconfig { file, context } => Access::Kubeconfig {
                file: file.clone(),
                context: context.clone(),
            },
        },
        class: match cluster.role {
            Role::Active => Class::Runtime,
            Role::Failover => Class::Failover,
        },
        namespaces: match &cluster.scope {
            Scope::Everything => Vec::new(),
            Scope::Namespaces { names, .. } => names.clone(),
        },
        beyond: Beyond::default(),
        labels: [].into(),
    };
    Wanted::Cluster {
        options,
        platforms: cluster.platforms.clone(),
    }
}

/// What the configuration says of a source, by its name.
pub fn rules(config: &Config, name: &str) -> Rules {
    let peer = config.inventory.peers.iter().find(|it| it.name == name);
    if let Some(peer) = peer {
        return Rules {
            is_required: peer.required,
            max_age: Some(signed(peer.max_age)),
            is_whole: true,
        };
    }
    let cluster = config.inventory.clusters.iter().find(|it| it.name == name);
    cluster.map_or_else(Rules::default, |cluster| Rules {
        is_required: cluster.required,
        max_age: cluster.max_age.map(signed),
        is_whole: match &cluster.scope {
            Scope::Everything => true,
            Scope::Namespaces { is_all, .. } => *is_all,
        },
    })
}

/// Reads every source once.
pub async fn read_once(wanted: &[Wanted], clock: &Arc<dyn Clock>) -> Inventory {
    let states = wanted.iter().map(|wanted| async {
        match wanted {
            Wanted::Cluster { options, platforms } => {
                let state = match cluster::connect(options).await {
                    Ok(source) => source.read_once(clock.now()).await,
                    Err(error) => unread(&options.source_name, &error.to_string()),
                };
                with_platforms(state, platforms)
            }
            Wanted::Peer(options) => {
                let mut reader = peer::Reader::new(options.clone());
                reader.read(&wanted.unread(), clock).await
            }
            _ => read_files(wanted, clock),
        }
    });
    Inventory {
        sources: join_all(states).await.into_iter().map(Arc::new).collect(),
    }
}

fn unread(name: &str, problem: &str) -> SourceState {
    SourceState {
        incomplete: Some(problem.to_owned()),
        is_awaited: false,
        ..SourceState::unread(name)
    }
}

fn read_files(wanted: &Wanted, clock: &Arc<dyn Clock>) -> SourceState {
    let now = clock.now();
    match wanted {
        Wanted::References { name, file } => references::read(name, file, now),
        Wanted::Manifests {
            name,
            paths,
            reading,
        } => manifests::read(name, paths, reading, now),
        Wanted::ReferencesText { name, text } => references::read_text(name, text, now),
        Wanted::ManifestsText {
            name,
            text,
            reading,
        } => manifests::read_text(name, text, reading, now),
        Wanted::Arguments(arguments) => SourceState {
            incomplete: None,
            is_awaited: false,
            complete_at: Some(now),
            uses: arguments.iter().map(argument).collect(),
            ..SourceState::unread(wanted.name())
        },
        Wanted::Cluster { .. } | Wanted::Peer(_) => wanted.unread(),
    }
}

fn argument(reference: &Reference) -> ImageUse {
    ImageUse {
        user: Arc::new(User {
            owner: Arc::new(TopOwner {
                kind: ARGUMENT.into(),
                ..TopOwner::default()
            }),
            container: "".into(),
            image: reference.to_string().into(),
            class: Class::Listed,
            via: None,
            since: None,
            idle: None,
        }),
        reference: Ok(reference.clone()),
        pull_secrets: [].into(),
        constraint: Arc::default(),
    }
}

/// What the operator says about a cluster's nodes is added to what the nodes say; where they cannot
/// be read it is the only word there is.
fn with_platforms(mut state: SourceState, configured: &[Platform]) -> SourceState {
    if !configured.is_empty() {
        let nodes = state.platforms.iter().flat_map(|nodes| nodes.iter());
        let all: BTreeSet<&Platform> = nodes.chain(configured).collect();
        state.platforms = Some(all.into_iter().cloned().collect());
    }
    state
}

/// With what a source begins to be followed. Under a new configuration one that is read from the same place
/// keeps what it said until it is read again: were it forgotten, what is broken would seem to be mended.
/// Where more or other kinds are to be read of it, that is what is known so far, and stands in for nothing.
/// `stored` is what was complete before a restart.
pub fn start(
    wanted: &Wanted,
    last: &[(Wanted, Arc<SourceState>)],
    stored: impl FnOnce() -> Option<SourceState>,
) -> SourceState {
    let unread = wanted.unread();
    let is_it =
        |before: &Wanted| before.name() == wanted.name() && before.identity() == wanted.identity();
    let Some((was, before)) = last.iter().find(|(before, _)| is_it(before)) else {
        return stored().unwrap_or(unread);
    };
    let mut state = with_last(unread, before);
    if was.read_from() != wanted.read_from() {
        state.complete_at = None;
    }
    match wanted {
        Wanted::Cluster { options, platforms } => {
            with_platforms(of_class(state, options.class), platforms)
        }
        _ => state,
    }
}

/// Follows one source until it is told to stop. A source that fails stays, incomplete.
pub async fn follow(
    wanted: Wanted,
    publish: watch::Sender<Arc<SourceState>>,
    is_broken: IsBroken,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    match wanted {
        Wanted::Cluster { options, platforms } => {
            follow_cluster(options, &platforms, publish, is_broken, clock, stop).await;
        }
        Wanted::Peer(options) => follow_peer(options, publish, clock, stop).await,
        files => {
            let mut reader = references::Reader::default();
            let mut last = Arc::clone(&publish.borrow());
            loop {
                let read = {
                    let (files, clock) = (files.clone(), Arc::clone(&clock));
                    let mut reader = std::mem::take(&mut reader);
                    tokio::task::spawn_blocking(move || {
                        let state = read_again(&files, &mut reader, &clock);
                        (state, reader)
                    })
                    .await
                };
                let state = match read {
                    Ok((state, known)) => {
                        reader = known;
                        state
                    }
                    Err(panic) => unread(files.name(), &format!("reading it failed: {panic}")),
                };
                let is_complete = state.incomplete.is_none();
                let state = Arc::new(with_last(state, &last));
                if is_complete {
                    last = Arc::clone(&state);
                }
                publish.send_replace(state);
                tokio::select! {
                    () = tokio::time::sleep(FILES_INTERVAL) => {}
                    () = stop.cancelled() => return,
                }
            }
        }
    }
}

fn read_again(
    wanted: &Wanted,
    reader: &mut references::Reader,
    clock: &Arc<dyn Clock>,
) -> SourceState {
    match wanted {
        Wanted::References { name, file } => reader.read(name, file, clock.now()),
        _ => read_files(wanted, clock),
    }
}

async fn follow_cluster(
    options: ClusterOptions,
    platforms: &[Platform],
    publish: watch::Sender<Arc<SourceState>>,
    is_broken: IsBroken,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let first = Arc::clone(&publish.borrow());
    let source = loop {
        match cluster::connect(&options).await {
            Ok(source) => break source.heeding(is_broken),
            Err(error) => {
                warn!(source = options.source_name, "{error}");
                let state = unread(&options.source_name, &error.to_string());
                publish.send_replace(Arc::new(with_last(state, &first)));
            }
        }
        tokio::select! {
            () = tokio::time::sleep(CONNECT_INTERVAL) => {}
            () = stop.cancelled() => return,
        }
    };
    let (inner, mut states) = watch::channel(Arc::new(SourceState::unread(&options.source_name)));
    let pass_on = async {
        let mut first = Some(first);
        while states.changed().await.is_ok() {
            let state = states.borrow_and_update().as_ref().clone();
            let state = with_platforms(state, platforms);
            // Once it was complete it keeps itself what it cannot read any more.
            let state = match &first {
                Some(first) if state.complete_at.is_none() => with_last(state, first),
                Some(_) | None => {
                    first = None;
                    state
                }
            };
            publish.send_replace(Arc::new(state));
        }
    };
    tokio::join!(source.run(inner, clock, stop.cancelled()), pass_on);
}

/// Asks a peer again and again: mostly nothing changed, and it says so in a few words.
async fn follow_peer(
    options: PeerOptions,
    publish: watch::Sender<Arc<SourceState>>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    if options.url.starts_with("http://") && !options.is_local {
        let url = &options.url;
        warn!(
            "{url} is asked without TLS: whoever is on the way can read the token and change what is kept"
        );
    }
    let mut reader = peer::Reader::new(options);
    let mut complaint = None;
    loop {
        let began = Instant::now();
        let before = Arc::clone(&publish.borrow());
        let state = tokio::select! {
            state = reader.read(&before, &clock) => state,
            () = stop.cancelled() => return,
        };
        if complaint != state.incomplete {
            match &state.incomplete {
                Some(problem) => warn!("{problem}"),
                None => info!("it is read again"),
            }
            complaint.clone_from(&state.incomplete);
        }
        publish.send_replace(Arc::new(state));
        let rest = (began.elapsed() * PEER_REST).clamp(PEER_INTERVAL, PEER_REST_MAX);
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = stop.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn wanted(context: &str) -> Wanted {
        let mut wanted = typed(Typed {
            context: Some(context.to_owned()),
            ..Typed::default()
        });
        if let Wanted::Cluster { options, .. } = &mut wanted {
            options.access = Access::Kubeconfig {
                file: Some("/nowhere".into()),
                context: None,
            };
        }
        wanted
    }

    #[tokio::test]
    async fn a_source_that_stays_as_it_was_keeps_what_it_said_until_it_is_read_again() {
        let said = references::read_text("prod", "a\nb\n", jiff::Timestamp::UNIX_EPOCH);
        let last = [(wanted("prod"), Arc::new(said))];
        let none = || None;
        assert!(start(&wanted("other"), &last, none).uses.is_empty());
        let begun = start(&wanted("prod"), &last, none);
        assert_eq!((begun.uses.len(), begun.incomplete.is_some()), (2, true));
        assert!(begun.complete_at.is_some());
        // Also where it has another role, or other nodes; not where other kinds are to be read.
        let changed = |change: &dyn Fn(&mut ClusterOptions, &mut Vec<Platform>)| {
            let mut changed = wanted("prod");
            if let Wanted::Cluster { options, platforms } = &mut changed {
                change(options, platforms);
            }
            let begun = start(&changed, &last, none);
            (begun.uses.len(), begun.complete_at.is_some())
        };
        assert_eq!(changed(&|it, _| it.class = Class::Failover), (2, true));
        let arm: Platform = "linux/arm64".parse().unwrap();
        assert_eq!(
            changed(&|_, platforms| platforms.push(arm.clone())),
            (2, true)
        );
        let mentions = |it: &mut ClusterOptions, _: &mut Vec<Platform>| {
            it.beyond.mentions = Some(["r.example".to_owned()].into());
        };
        assert_eq!(changed(&mentions), (2, false));
        let elsewhere =
            |it: &mut ClusterOptions, _: &mut Vec<Platform>| it.access = Access::InCluster;
        assert_eq!(changed(&elsewhere), (0, false));

        // Also while the cluster cannot be connected to.
        let (publish, mut states) = watch::channel(Arc::new(begun));
        let stop = CancellationToken::new();
        let follow = follow(
            wanted("prod"),
            publish,
            IsBroken::default(),
            Arc::new(SystemClock),
            stop.clone(),
        );
        let look = async {
            states.changed().await.unwrap();
            stop.cancel();
            Arc::clone(&states.borrow())
        };
        let ((), state) = tokio::join!(follow, look);
        assert_eq!(state.uses.len(), 2);
        assert!(state.incomplete.as_ref().unwrap().contains("/nowhere"));
    }
}
