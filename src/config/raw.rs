//! The configuration as it is written: keys, types, and what the schema says about them.
//!
//! Everything is optional here, so that what one key lacks hides no problem of another; `check`
//! makes values of it. The comments are the schema's descriptions, and the defaults that the schema
//! shows are compared with the real ones by a test.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

pub(super) use self::collection::{
    Acknowledged, Conflict, Conflicts, Fate, Filesystem, Gc, GcMode, LeaderElection, Named,
    PurgeBy, ReadOnly, ReadOnlyMode, Redis, Require, S3, Settle, SettleCache, SettleRestart,
    Storage, Unsafe, Validation, Window, WorkloadKind,
};
pub(super) use self::collector::{Collector, InProcess};
pub(super) use self::executor::{Executor, Undo};
pub(super) use self::retention::{Latest, Policy, Retention, RetentionMode, Rule, UntaggedRule};

mod collection;
mod collector;
mod executor;
mod retention;

/// The configuration of pullproof.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "pullproof.yaml")]
pub(super) struct Config {
    /// Where references to images come from. Nothing here: the current kubeconfig context, or
    /// the cluster that pullproof runs in.
    pub(super) inventory: Option<Inventory>,
    /// Registries that need more than their name. Others are dialled by their name, gently.
    pub(super) registries: Option<Vec<Registry>>,
    /// How images are verified, unless a registry says otherwise.
    #[schemars(extend("default" = serde_json::json!({
        "interval": "10m", "blobInterval": "1h", "depth": "head", "readShare": "5%",
        "contentBudget": "50MiB", "platforms": ["needed"]
    })))]
    pub(super) verify: Option<Verify>,
    /// What is garbage in the storages of registries, unless a registry says otherwise.
    pub(super) gc: Option<Gc>,
    /// Which tags of registries may go, unless a registry says otherwise.
    pub(super) retention: Option<Retention>,
    /// Who collects where there are several. Without it the storage's own lock alone says it.
    pub(super) leader_election: Option<LeaderElection>,
    /// What pullproof listens on. Nothing on it changes anything.
    pub(super) http: Option<Http>,
    /// What is exported of workloads.
    pub(super) metrics: Option<Metrics>,
    /// Kubernetes Events on workloads, where `kubectl describe` shows them.
    pub(super) kubernetes_events: Option<KubernetesEvents>,
    /// What pullproof has to know of the network.
    pub(super) network: Option<Network>,
    /// What is logged to stderr.
    pub(super) log: Option<Log>,
    /// What survives a restart.
    pub(super) state: Option<State>,
}

/// Where references to images come from.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Inventory {
    /// Kubernetes clusters.
    pub(super) clusters: Option<Vec<Cluster>>,
    /// Other pullproofs, whose own sources are read from them.
    pub(super) peers: Option<Vec<Peer>>,
    /// Lists of references.
    pub(super) references: Option<Vec<ReferenceList>>,
    /// Kubernetes YAML on disk.
    pub(super) manifests: Option<Vec<Manifests>>,
    /// The part of its references that a source may lose within a day. One that lost more closes the
    /// gates until `pullproof inventory accept SOURCE`, or until the loss has stood for `keepSeen`.
    #[schemars(with = "Option<PercentText>", extend("default" = "50%"))]
    pub(super) maximum_loss: Option<String>,
    /// How long a reference that nothing names any more is kept and verified.
    #[schemars(with = "Option<DurationText>", extend("default" = "90d"))]
    pub(super) keep_seen: Option<String>,
    /// Kinds that Kubernetes does not know and whose objects name images, in every cluster that has
    /// them.
    pub(super) custom_resources: Option<Vec<CustomResource>>,
    /// Whether text that starts like an image of one of `registries` keeps that image: in ConfigMaps
    /// where listing them is granted, in the environment and the arguments of containers, in custom
    /// resources. It never pages.
    #[schemars(extend("default" = false))]
    pub(super) mentions: Option<bool>,
    /// Whose history is read, for what a rollback would pull. Once true, one that cannot be read makes the
    /// cluster incomplete.
    pub(super) releases: Option<Releases>,
}

/// Whose history is read.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Releases {
    /// Applications of Argo CD: the images in their status, and the overrides of images in their history.
    #[schemars(extend("default" = false))]
    pub(super) argocd: Option<bool>,
    /// ImagePolicies and Kustomizations of Flux: the images that they chose. What its HelmReleases deployed
    /// is Helm's.
    #[schemars(extend("default" = false))]
    pub(super) flux: Option<bool>,
    /// Every revision that Helm keeps in a Secret; in ConfigMaps or SQL (`HELM_DRIVER`) they are not read. It
    /// needs the right to list Secrets.
    #[schemars(extend("default" = false))]
    pub(super) helm: Option<bool>,
}

/// A kind that Kubernetes does not know, and where its objects name images. A path is made of
/// `.field`, `["quoted key"]` and `[*]` (every item); a field that is followed by another must be
/// there, unless a `?` stands behind it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["apiVersion", "kind"]))]
pub(super) struct CustomResource {
    /// Group and version.
    #[schemars(extend("examples" = ["argoproj.io/v1alpha1"]))]
    pub(super) api_version: Option<String>,
    /// As objects write it.
    #[schemars(extend("examples" = ["Rollout"]))]
    pub(super) kind: Option<String>,
    /// The path of pod templates, or of the specs of pods.
    #[schemars(with = "Option<PathText>")]
    pub(super) pod_template: Option<String>,
    /// Paths of images that stand outside pod templates.
    #[schemars(with = "Option<Vec<PathText>>")]
    pub(super) images: Option<Vec<String>>,
    /// Paths of the names of the pull secrets for `images`.
    #[schemars(with = "Option<Vec<PathText>>")]
    pub(super) pull_secrets: Option<Vec<String>>,
    /// Whether a path may lead to nothing in all of the objects. Otherwise, where there are objects and a
    /// path of `podTemplate` or `images` finds nothing in any of them, the source is incomplete.
    #[schemars(extend("default" = false))]
    pub(super) may_be_empty: Option<bool>,
}

/// A Kubernetes cluster, reached by one of `context`, `kubeconfig` (or both) and `inCluster`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["name"]))]
#[expect(
    clippy::struct_field_names,
    reason = "a field is named as its key, and `inCluster` is Kubernetes' own word"
)]
pub(super) struct Cluster {
    /// The value of the label `cluster`; unique among all sources.
    pub(super) name: Option<String>,
    /// A context of the kubeconfig; by default its current one.
    pub(super) context: Option<String>,
    /// A kubeconfig file; by default the one that kubectl would take.
    pub(super) kubeconfig: Option<String>,
    /// Whether this is the cluster that pullproof runs in, reached with its own service account.
    #[schemars(extend("default" = false))]
    pub(super) in_cluster: Option<bool>,
    /// What its workloads are to the images that they name.
    #[schemars(extend("default" = "active"))]
    pub(super) role: Option<Role>,
    /// Whether it has to be reachable; one that may be offline pages nobody.
    #[schemars(extend("default" = true))]
    pub(super) required: Option<bool>,
    /// How long its last complete state stands in for it. Without it, none does.
    #[schemars(with = "Option<DurationText>")]
    pub(super) max_age: Option<String>,
    /// Platforms needed in addition to those of its nodes, as `linux/arm64`.
    #[schemars(with = "Option<Vec<PlatformText>>")]
    pub(super) platforms: Option<Vec<String>>,
    /// Only these namespaces; by default all.
    pub(super) namespaces: Option<Vec<String>>,
    /// Whether `namespaces` are all that name images of these registries.
    #[schemars(extend("default" = false))]
    pub(super) scope_is_all: Option<bool>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    /// Its workloads run.
    Active,
    /// Its workloads are to run when another cluster is gone.
    Failover,
}

/// Another pullproof, instead of a kubeconfig: what it reads at first hand is kept and verified here too.
/// It serves that to whoever knows its `http.token`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["name", "url", "token"]))]
pub(super) struct Peer {
    /// Unique among all sources; the value of the label `cluster` for what has none there.
    pub(super) name: Option<String>,
    /// Where its page is: its `http.ui`, by https.
    #[schemars(extend("examples" = ["https://pullproof.dr:8081"]))]
    pub(super) url: Option<String>,
    /// Authorities to trust besides the system's.
    pub(super) ca: Option<File>,
    /// The token that it knows as its `http.token`.
    pub(super) token: Option<File>,
    /// Whether an http:// URL that leads off this machine is meant: everybody on the way can read the
    /// token then, and change what is kept.
    #[schemars(extend("default" = false))]
    pub(super) plain_http: Option<bool>,
    /// Whether it has to be reachable; one that may be offline pages nobody.
    #[schemars(extend("default" = true))]
    pub(super) required: Option<bool>,
    /// How old what it said may be, by its own clock, and still stand in for it.
    #[schemars(with = "Option<DurationText>", extend("default" = "1h"))]
    pub(super) max_age: Option<String>,
}

/// A list of references, one a line; what follows a `#` is a comment.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["name", "file"]))]
pub(super) struct ReferenceList {
    /// Unique among all sources.
    pub(super) name: Option<String>,
    /// The file, relative to the configuration's directory.
    pub(super) file: Option<String>,
}

/// Kubernetes YAML on disk.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["name", "path"]))]
pub(super) struct Manifests {
    /// Unique among all sources.
    pub(super) name: Option<String>,
    /// A file or a directory, relative to the configuration's directory.
    pub(super) path: Option<String>,
}

/// A registry that needs more than its name.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["host"]))]
pub(super) struct Registry {
    /// The host as workloads write it, with the port if they write one.
    #[schemars(extend("examples" = ["registry.example:5000"]))]
    pub(super) host: Option<String>,
    /// Where pullproof dials it; by default the host, by https.
    #[schemars(extend("examples" = ["https://10.0.0.7:5000"]))]
    pub(super) endpoint: Option<String>,
    /// Whether it is dialled without TLS.
    #[schemars(extend("default" = false))]
    pub(super) plain_http: Option<bool>,
    /// What the registry is. Some decide themselves what is garbage; no collection is planned for those.
    #[schemars(extend("default" = "auto"))]
    pub(super) kind: Option<RegistryKind>,
    /// Certificates.
    pub(super) tls: Option<Tls>,
    /// URLs of token services, besides the registry's own host, that may be sent its credentials.
    #[schemars(extend("examples" = [["https://auth.example/token"]]))]
    pub(super) token_realms: Option<Vec<String>>,
    /// A proxy for this registry.
    #[schemars(extend("examples" = ["http://proxy.example:3128"]))]
    pub(super) proxy: Option<String>,
    /// Credentials besides the workloads' own pull secrets.
    pub(super) credentials: Option<Credentials>,
    /// Requests in flight at a time.
    #[schemars(extend("default" = 32), range(min = 1, max = 1024))]
    pub(super) max_concurrency: Option<u32>,
    /// Requests a second; without it only the concurrency limits them.
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 100_000))]
    pub(super) requests_per_second: Option<f64>,
    /// Mirrors and pull-through caches that nodes try first. Each is verified too, and shown as what it is.
    pub(super) mirrors: Option<Vec<Mirror>>,
    /// Other hosts under which workloads name what is in the same storage: verified once, by this entry's
    /// host, and kept there.
    #[schemars(extend("examples" = [["registry.internal"]]))]
    pub(super) aliases: Option<Vec<String>>,
    /// Where each of its replicas is asked by itself, for whoever collects its garbage.
    #[schemars(extend("examples" = [["http://10.0.0.7:5000", "http://10.0.0.8:5000"]]))]
    pub(super) replica_endpoints: Option<Vec<String>>,
    /// The Service of Kubernetes before its replicas, which names each of them, for whoever collects its garbage.
    pub(super) service: Option<Named>,
    /// Whether it has one replica only. A registry on this machine is taken to have one.
    #[schemars(extend("default" = false))]
    pub(super) single: Option<bool>,
    /// What differs from the top-level `verify` for this registry.
    pub(super) verify: Option<Verify>,
    /// Where the registry keeps its content, for whoever plans a collection of its garbage.
    pub(super) storage: Option<Storage>,
    /// What differs from the top-level `gc` for this registry.
    pub(super) gc: Option<Gc>,
    /// What differs from the top-level `retention` for this registry.
    pub(super) retention: Option<Retention>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RegistryKind {
    /// What its answers and its storage say.
    Auto,
    /// distribution, or what leaves its storage to whoever collects it, as distribution does.
    Distribution,
    /// zot, which collects by itself.
    Zot,
    /// Harbor, whose database says what is garbage.
    Harbor,
}

/// That one host serves what another has.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["host"]))]
pub(super) struct Mirror {
    /// The mirror, with the path under which it keeps the other's repositories if it has one.
    #[schemars(extend("examples" = ["mirror.example", "harbor.example/hub"]))]
    pub(super) host: Option<String>,
    /// What it mirrors; by default this entry's host.
    #[schemars(extend("examples" = ["docker.io"]))]
    pub(super) of: Option<String>,
}

/// Certificates of a registry.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Tls {
    /// Authorities to trust besides the system's.
    pub(super) ca: Option<File>,
    /// Who pullproof is to the registry.
    pub(super) client_certificate: Option<ClientCertificate>,
}

/// A file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["file"]))]
pub(super) struct File {
    /// The file, relative to the configuration's directory.
    pub(super) file: Option<String>,
}

/// A certificate and its key, in PEM.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["file", "keyFile"]))]
pub(super) struct ClientCertificate {
    /// The certificate's file.
    pub(super) file: Option<String>,
    /// The private key's file.
    pub(super) key_file: Option<String>,
}

/// Where credentials come from: a map with one key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub(super) struct Credentials {
    /// A file as `docker login` writes it, or the content of a pull secret. Its credential helpers are
    /// run.
    pub(super) docker_config: Option<File>,
    /// Amazon's registry: as what AWS takes pullproof for.
    pub(super) ecr: Option<Ecr>,
    /// Google's registries: as what Google takes pullproof for.
    pub(super) gar: Option<Gar>,
    /// Azure's registry: as what Azure takes pullproof for.
    pub(super) acr: Option<Acr>,
}

/// Amazon's registry. Without an access key: that of the environment, else the role of the pod, of the
/// container or of the instance.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Ecr {
    /// The region; by default the host's.
    #[schemars(extend("examples" = ["eu-west-1"]))]
    pub(super) region: Option<String>,
    /// A file as AWS's own clients have it, with an access key under `[default]`.
    pub(super) access_key: Option<File>,
    /// Where the API is dialled, for instance at a VPC endpoint; by default the region's own.
    #[schemars(extend("examples" = ["https://vpce-1.api.ecr.eu-west-1.vpce.amazonaws.com"]))]
    pub(super) endpoint: Option<String>,
}

/// Google's registries. Without a file: that of GOOGLE_APPLICATION_CREDENTIALS, else the account of the
/// pod or of the instance.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Gar {
    /// A service account's key, or an external account for workload identity federation, in JSON.
    pub(super) application_credentials: Option<File>,
}

/// Azure's registry. With a client secret: as that service principal. Without: the workload identity of
/// the pod, else the managed identity of the machine.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Acr {
    /// The tenant of the service principal.
    #[schemars(extend("examples" = ["11111111-1111-1111-1111-111111111111"]))]
    pub(super) tenant_id: Option<String>,
    /// The application's id, or that of a user-assigned managed identity.
    #[schemars(extend("examples" = ["22222222-2222-2222-2222-222222222222"]))]
    pub(super) client_id: Option<String>,
    /// A file with the service principal's secret.
    pub(super) client_secret: Option<File>,
}

/// How images are verified.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Verify {
    /// How often tags and manifests are verified.
    #[schemars(with = "Option<DurationText>")]
    pub(super) interval: Option<String>,
    /// How often each blob is verified; not more often than `interval`.
    #[schemars(with = "Option<DurationText>")]
    pub(super) blob_interval: Option<String>,
    /// How far each object is read.
    pub(super) depth: Option<Depth>,
    /// At depth `head`: the part of all blobs that is read in each round, a different one each time,
    /// since a HEAD can lie. Of 5% each blob is read once in 20 rounds; 0% reads none.
    #[schemars(with = "Option<PercentText>")]
    pub(super) read_share: Option<String>,
    /// At depth `content`: how many bytes are read and hashed in each round, a different part each
    /// time.
    #[schemars(with = "Option<BytesText>")]
    pub(super) content_budget: Option<String>,
    /// All platforms are verified; these decide the verdict: `[needed]` (what the nodes have),
    /// `[all]`, or a list as `[linux/amd64, linux/arm64]`.
    #[schemars(with = "Option<Vec<PlatformText>>")]
    pub(super) platforms: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Depth {
    /// Everything is asked for, and sizes are compared; only the `readShare` is read.
    Head,
    /// A byte of each blob is read, and each manifest is read and hashed.
    Read,
    /// As `read`, and blobs are hashed, as many as `contentBudget` allows in a round.
    Content,
}

/// What pullproof listens on: `:PORT` on every interface, or `HOST:PORT`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Http {
    /// `/metrics`, `/livez` and `/readyz`.
    #[schemars(with = "Option<ListenText>", extend("default" = ":8080"))]
    pub(super) metrics: Option<String>,
    /// The page and `/api/v1`.
    #[schemars(with = "Option<ListenText>", extend("default" = ":8081"))]
    pub(super) ui: Option<String>,
    /// The certificate with which the page and `/api/v1` are served; without one, without TLS.
    pub(super) tls: Option<ServerCertificate>,
    /// Whoever knows this token is served `/api/v1/keepset`; needs `tls`.
    pub(super) token: Option<File>,
}

/// A certificate chain and its key, in PEM.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["file", "keyFile"]))]
pub(super) struct ServerCertificate {
    /// The chain's file, the server's own certificate first.
    pub(super) file: Option<String>,
    /// The private key's file.
    pub(super) key_file: Option<String>,
}

/// What is exported of workloads, and how much; what does not fit is counted.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Metrics {
    /// Time series of images altogether.
    #[schemars(extend("default" = 200_000), range(min = 1))]
    pub(super) max_series: Option<u32>,
    /// Time series of images of one namespace.
    #[schemars(extend("default" = 20_000), range(min = 1))]
    pub(super) max_series_per_namespace: Option<u32>,
    /// Labels of workloads and of their namespaces that their series carry, so that alerts do: at most ten. A
    /// workload's own goes before its namespace's. In Prometheus every character but letters and digits is
    /// an underscore.
    #[schemars(
        extend("default" = []),
        extend("examples" = [["team", "app.kubernetes.io/part-of"]])
    )]
    pub(super) labels: Option<Vec<String>>,
}

/// Kubernetes Events on workloads. Metrics and alerts tell the same, and more reliably.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct KubernetesEvents {
    /// Whether an Event is written on a workload of a cluster when one of its images breaks, and when it can be
    /// pulled again. It needs the right to create Events. With `leaderElection`, whoever has the Lease of that
    /// name with `-events` behind it writes.
    #[schemars(extend("default" = false))]
    pub(super) write: Option<bool>,
}

/// What pullproof has to know of the network.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Network {
    /// Ranges of the cluster's pods and services, which no image's host may lead to.
    #[serde(rename = "clusterCIDRs")]
    #[schemars(extend("default" = []), extend("examples" = [["10.0.0.0/16"]]))]
    pub(super) cluster_cidrs: Option<Vec<String>>,
}

/// What is logged to stderr.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Log {
    /// How it is written.
    #[schemars(extend("default" = "auto"))]
    pub(super) format: Option<LogFormat>,
    /// What is written.
    #[schemars(extend("default" = "info"))]
    pub(super) level: Option<LogLevel>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    /// For people.
    Text,
    /// For machines: an object a line.
    Json,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// What survives a restart.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct State {
    /// A directory of pullproof's own.
    #[schemars(extend("default" = "/var/lib/pullproof"))]
    pub(super) directory: Option<String>,
}

/// Text of a certain shape, for the schema only.
macro_rules! text_schema {
    ($name:ident, $pattern:literal, $examples:tt) => {
        struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "pattern": $pattern, "examples": $examples})
            }
        }
    };
}

text_schema!(
    DurationText,
    "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$",
    ["10m", "90s", "2h", "7d", "1h30m"]
);
text_schema!(
    PlatformText,
    "^(needed|all|[A-Za-z0-9._-]+(\\([A-Za-z0-9._-]+\\))?/[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)?)$",
    ["linux/amd64", "linux/arm64/v8", "windows(10.0.20348)/amd64"]
);
text_schema!(
    PathText,
    "^[.\\[].*$",
    [".spec.template", ".spec.tasks[*].taskSpec?.steps[*].image"]
);
text_schema!(PercentText, "^[0-9]+(\\.[0-9]+)?%$", ["5%", "0.5%"]);
text_schema!(BytesText, "^[0-9]+(B|KiB|MiB|GiB|TiB)$", ["50MiB", "1GiB"]);
text_schema!(ListenText, "^.*:[0-9]+$", [":8080", "127.0.0.1:8080"]);

/// The JSON schema of the file, draft 2020-12.
pub(super) fn schema() -> serde_json::Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12();
    settings
        .into_generator()
        .into_root_schema_for::<Config>()
        .to_value()
}
