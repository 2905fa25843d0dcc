//! The configuration: one YAML file, every problem of it at once, and nothing that is not meant.
//!
//! Owns the keys, their defaults and their checks; reads no file but in [`Config::check_files`].
//! A text becomes a tree in which every node knows its place (`tree`), the tree is held against the
//! schema (`decode`, over the types of `raw`), and what is written becomes what is meant (`check`).
//! Whatever is not understood is refused: a gate or a limit that was misspelt must not be believed in.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::inventory::extract::{CustomResource, Releases};
use crate::inventory::marks::Chosen;
use crate::mirrors::Rule;
use crate::oci::platform::Platform;
use crate::oci::reference::Aliases;
use crate::verify::depth::Depth;

mod amount;
mod check;
pub mod cidr;
mod collection;
mod collector;
mod credentials;
mod custom;
mod decode;
pub mod duration;
pub mod endpoint;
pub mod executor;
pub mod files;
mod labels;
mod later;
mod mirror;
mod objects;
mod peer;
pub mod problem;
mod raw;
mod redis;
mod registry;
mod retention;
mod sources;
mod suggest;
mod tree;
mod wanted;
mod windows;

use cidr::Cidr;
pub use collection::{Acknowledged, Cache, Gc, Mode, PurgeBy, S3, Storage};
pub use collector::{Collector, CollectorJob};
use endpoint::{Endpoint, Listen};
pub use executor::Executor;
use files::NamedFile;
pub use objects::{Named, ReadOnly, ReadOnlyMode, Restart, Workload, WorkloadKind};
use problem::{Problems, Report};
pub use redis::Redis;
pub use retention::{Retention, RetentionMode};
pub use windows::WindowsOf;

/// Where the state is if nothing is configured.
pub const STATE_DIRECTORY: &str = "/var/lib/pullproof";

/// A configuration without problems. Files in it are resolved against its own directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub inventory: Sources,
    pub registries: Vec<Registry>,
    /// For registries with an entry it is already merged into [`Registry::verify`].
    pub verify: Verify,
    /// For registries with an entry it is already merged into [`Registry::gc`].
    pub gc: Gc,
    /// For registries with an entry it is already merged into [`Registry::retention`].
    pub retention: Retention,
    /// The Lease that only one collector has; `None`: the storage's own lock alone.
    pub lease: Option<Named>,
    pub http: Http,
    pub metrics: Metrics,
    /// Whether Kubernetes Events are written on the workloads whose images break and heal.
    pub writes_events: bool,
    pub network: Network,
    pub log: Log,
    pub state: State,
}

/// Where references come from. Names are unique among all four.
#[derive(Debug, Clone, PartialEq)]
pub struct Sources {
    pub clusters: Vec<Cluster>,
    pub peers: Vec<Peer>,
    pub references: Vec<ReferenceList>,
    pub manifests: Vec<Manifests>,
    /// The part of its references that a source may lose, from 0 to 1.
    pub maximum_loss: f64,
    /// How long what was named is remembered.
    pub keep_seen: Duration,
    /// Read in every cluster.
    pub custom_resources: Vec<Arc<CustomResource>>,
    /// Whether what merely mentions an image of a listed registry keeps it.
    pub mentions: bool,
    /// Whose history is read in every cluster that has it.
    pub releases: Releases,
}

impl Sources {
    /// Nothing is configured: the current kubeconfig context then, or the cluster around us.
    pub fn is_empty(&self) -> bool {
        self.clusters.is_empty()
            && self.peers.is_empty()
            && self.references.is_empty()
            && self.manifests.is_empty()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    pub name: String,
    pub access: ClusterAccess,
    pub role: Role,
    /// One that is not may be offline, and then pages nobody.
    pub required: bool,
    /// How long its last complete state stands in for it; `None`: not at all.
    pub max_age: Option<Duration>,
    /// Needed in addition to the platforms of its nodes.
    pub platforms: Vec<Platform>,
    pub scope: Scope,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterAccess {
    /// With the service account of the Pod that we run in.
    InCluster,
    Kubeconfig {
        /// `None`: the file that kubectl would take.
        file: Option<PathBuf>,
        /// `None`: the file's current context. One of the two is always given.
        context: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Active,
    /// Its workloads are to run when another cluster is gone; kept like the active ones.
    Failover,
}

/// What of a cluster is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    Everything,
    Namespaces {
        /// At least one.
        names: Vec<String>,
        /// Whether the operator vouches that nothing else names images of these registries.
        is_all: bool,
    },
}

/// Another pullproof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub name: String,
    /// Where its page is.
    pub endpoint: Endpoint,
    /// PEM; trusted besides the system's.
    pub ca: Option<PathBuf>,
    /// A file with the token that it knows.
    pub token: PathBuf,
    /// One that is not may be offline, and then pages nobody.
    pub required: bool,
    /// How long its last complete state stands in for it.
    pub max_age: Duration,
}

/// A file with one reference a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceList {
    pub name: String,
    pub file: PathBuf,
}

/// A file or directory of Kubernetes YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifests {
    pub name: String,
    pub path: PathBuf,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Registry {
    /// As [`crate::oci::reference::Reference::host`] gives it; compare by [`Config::registry`].
    pub host: String,
    /// Where it is dialled, whether that is written or follows from the host.
    pub endpoint: Endpoint,
    pub kind: RegistryKind,
    pub tls: Tls,
    /// Besides the registry's own host, credentials may go to these URLs and what is below them.
    pub token_realms: Vec<Endpoint>,
    /// Without a path.
    pub proxy: Option<Endpoint>,
    /// Besides the workloads' own.
    pub credentials: Option<Credentials>,
    /// Requests in flight, 1 to 1024.
    pub max_concurrency: u32,
    /// More than 0; may be a fraction. `None`: only the concurrency limits.
    pub requests_per_second: Option<f64>,
    pub mirrors: Vec<Rule>,
    /// Other names of the same storage, as [`Self::host`] is written.
    pub aliases: Vec<String>,
    /// Where each replica is asked by itself; empty where nobody said.
    pub replica_endpoints: Vec<Endpoint>,
    /// The Service whose endpoints the replicas are.
    pub service: Option<Named>,
    /// There is one replica only.
    pub single: bool,
    /// What holds for this registry, defaults included.
    pub verify: Verify,
    /// Where it keeps its content, where that may be read.
    pub storage: Option<Storage>,
    /// It refuses a manifest that names what it does not have.
    pub validates: bool,
    /// What holds for its storage, defaults included.
    pub gc: Gc,
    /// What holds for its tags, defaults included.
    pub retention: Retention,
}

/// What a registry is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryKind {
    /// As it answers, and as its storage looks.
    Auto,
    Distribution,
    Zot,
    Harbor,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM; trusted besides the system's.
    pub ca: Option<PathBuf>,
    pub client_certificate: Option<ClientCertificate>,
}

/// Both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    pub file: PathBuf,
    pub key_file: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A file as `docker login` writes it.
    DockerConfig(PathBuf),
    Ecr(Ecr),
    /// Google's, with the file of its application default credentials; `None`: what the environment
    /// gives.
    Gar(Option<PathBuf>),
    Acr(Acr),
}

/// Who pullproof is to Microsoft's identity platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acr {
    ServicePrincipal {
        tenant: String,
        client: String,
        /// A file with the client's secret.
        secret: PathBuf,
    },
    /// What the environment gives; the id is a user-assigned managed identity's, or a workload
    /// identity's.
    Environment { client: Option<String> },
}

/// How the password of an Amazon registry is got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ecr {
    pub region: String,
    /// Of the API; as written, else the region's own.
    pub endpoint: Endpoint,
    /// `None`: what the environment gives.
    pub access_key: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Verify {
    /// Tags and manifests; at least a second.
    pub interval: Duration,
    /// Each distinct blob; at least `interval`.
    pub blob_interval: Duration,
    pub depth: Depth,
    /// From 0 to 1.
    pub read_share: f64,
    /// Bytes; more than 0.
    pub content_budget: u64,
    pub platforms: NeededPlatforms,
}

/// Which platforms decide an image's verdict. All are verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NeededPlatforms {
    /// Those of the clusters' nodes.
    Needed,
    All,
    /// At least one.
    Only(Vec<Platform>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// `/metrics`, `/livez`, `/readyz`
    pub metrics: Listen,
    /// The page and `/api/v1`.
    pub ui: Listen,
    /// The certificate with which the page and `/api/v1` are served.
    pub tls: Option<ClientCertificate>,
    /// A file with the token for which the keep-set is served; only beside `tls`.
    pub token: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// At least 1.
    pub max_series: u32,
    /// At least 1.
    pub max_series_per_namespace: u32,
    /// Of namespaces and workloads; their series carry them.
    pub labels: Vec<Chosen>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// No image's host may lead here, unless it is listed.
    pub cluster_cidrs: Vec<Cidr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    pub format: LogFormat,
    pub level: LogLevel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub directory: PathBuf,
    /// Whether it is written. One-shot commands keep their cache in the user's own cache directory
    /// where it is not.
    pub is_given: bool,
}

impl LogLevel {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        parse("", "", Path::new("")).expect("an empty file is a valid configuration")
    }
}

impl Registry {
    /// Whether something may be taken from it: by pullproof where it has a storage, by a Job that has the right
    /// to it, or by somebody else.
    pub fn is_collected(&self) -> bool {
        let gc = &self.gc;
        self.storage.is_some() || gc.collector.job().is_some() || gc.executor.is_foreign()
    }

    /// Its host, and all other names of it.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        [&self.host].into_iter().chain(&self.aliases)
    }
}

impl Config {
    /// The entry of a reference's host, or of another name of it. Host names have no case.
    pub fn registry(&self, host: &str) -> Option<&Registry> {
        self.registries.iter().find(|registry| {
            let mut names = registry.names();
            names.any(|name| name.eq_ignore_ascii_case(host))
        })
    }

    /// Whether a host leads to what a registry has: a name of its entry, or of another one with the same storage.
    pub fn leads_to(&self, host: &str, registry: &Registry) -> bool {
        let shares =
            |other: &&Registry| registry.storage.is_some() && other.storage == registry.storage;
        let entries = self.registries.iter().filter(shares);
        let mut names = entries.chain([registry]).flat_map(Registry::names);
        names.any(|name| name.eq_ignore_ascii_case(host))
    }

    /// Which hosts are other names of which.
    pub fn aliases(&self) -> Aliases {
        let pairs = self.registries.iter().flat_map(|registry| {
            let aliases = registry.aliases.iter();
            aliases.map(|alias| (alias.as_str(), registry.host.as_str()))
        });
        Aliases::of(pairs)
    }

    /// Which hosts mirror which, by their own names.
    pub fn mirrors(&self) -> Vec<Rule> {
        let aliases = self.aliases();
        let rules = self.registries.iter().flat_map(|entry| &entry.mirrors);
        let mut rules: Vec<Rule> = rules.cloned().collect();
        let locations = rules.iter_mut();
        for location in locations.flat_map(|rule| [&mut rule.mirror, &mut rule.of]) {
            if let Some(host) = aliases.host_of(&location.host) {
                location.host = host.to_owned();
            }
        }
        rules
    }

    /// Every file that is named, each with the path of its key; a daemon watches them.
    pub fn files(&self) -> Vec<NamedFile<'_>> {
        files::named(self)
    }

    /// Reads every file that is named. `text` is what this was parsed from, for the places.
    pub fn check_files(&self, text: &str, file_name: &str) -> Result<(), Problems> {
        files::check(self, text, file_name)
    }
}

/// Parses a configuration. `file_name` is for the problems, and `base` is the file's directory.
pub fn parse(text: &str, file_name: &str, base: &Path) -> Result<Config, Problems> {
    let mut report = Report::new(text);
    let config = check_text(text, base, &mut report);
    report.finish(file_name)?;
    Ok(config)
}

/// What comes of a text; it counts only if the report stays empty.
fn check_text(text: &str, base: &Path, report: &mut Report<'_>) -> Config {
    let mut raw = raw::Config::default();
    match tree::read(text) {
        Err(tree::NotYaml { place, message }) => report.add_at(place, "", message),
        Ok(documents) => {
            let mut documents = documents.iter();
            if let Some(root) = documents.next() {
                let json = decode::decode(root, &raw::schema(), report);
                match serde_json::from_value(json) {
                    Ok(good) => raw = good,
                    // The schema comes from these types, so only we can be at fault.
                    Err(error) => report.add("", format!("it does not fit: {error}")),
                }
            }
            for second in documents {
                let message = "a second document begins here; a configuration is one document";
                report.add_at(second.place, "", message);
            }
        }
    }
    check::check(raw, base, report)
}

/// The JSON schema of the file (draft 2020-12), with descriptions and defaults.
pub fn schema() -> serde_json::Value {
    raw::schema()
}

/// A commented example: what is not marked as an example is the default.
pub fn example() -> &'static str {
    include_str!("config/example.yaml")
}

#[cfg(test)]
mod tests;
