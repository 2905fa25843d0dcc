//! The keys of storages and of what is collected in them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Collector, DurationText, File};

/// Where a registry keeps its content: `filesystem` or `s3`. It is read, and never written by a plan.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub(in crate::config) struct Storage {
    /// A directory of the machine that pullproof runs on.
    pub(in crate::config) filesystem: Option<Filesystem>,
    /// A bucket.
    pub(in crate::config) s3: Option<S3>,
    /// Whether the registry refuses a manifest that names what it does not have, as its own `validation` says.
    /// `off` needs a `gc.quarantineFor` of 168h.
    #[schemars(extend("default" = "on"))]
    pub(in crate::config) validation: Option<Validation>,
}

/// Whether a registry looks at what a manifest names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Validation {
    On,
    Off,
}

/// A directory.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["root"]))]
pub(in crate::config) struct Filesystem {
    /// The registry's `rootdirectory`: `docker/registry/v2` is below it.
    #[schemars(extend("examples" = ["/var/lib/registry"]))]
    pub(in crate::config) root: Option<String>,
}

/// A bucket of S3, or of what speaks like it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["region", "bucket"]))]
pub(in crate::config) struct S3 {
    /// Where it is dialled; by default the region's own.
    #[schemars(extend("examples" = ["https://s3.example:9000"]))]
    pub(in crate::config) endpoint: Option<String>,
    /// The region; many servers of one's own take any.
    #[schemars(extend("examples" = ["eu-west-1"]))]
    pub(in crate::config) region: Option<String>,
    /// The bucket.
    #[schemars(extend("examples" = ["registry"]))]
    pub(in crate::config) bucket: Option<String>,
    /// The registry's `rootdirectory` within the bucket; by default the bucket's root.
    #[schemars(extend("examples" = ["/registry"]))]
    pub(in crate::config) prefix: Option<String>,
    /// Without an access key: that of the environment, else the role of the pod, of the container or of
    /// the instance.
    pub(in crate::config) credentials: Option<S3Credentials>,
    /// Authorities to trust besides the system's.
    pub(in crate::config) ca: Option<File>,
    /// Requests in flight at a time.
    #[schemars(extend("default" = 64), range(min = 1, max = 1024))]
    pub(in crate::config) max_concurrency: Option<u32>,
}

/// Who pullproof is to the bucket.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["accessKey"]))]
pub(in crate::config) struct S3Credentials {
    /// A file as AWS's own clients have it, with an access key under `[default]`.
    pub(in crate::config) access_key: Option<File>,
}

/// What is garbage, and what is done about it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct Gc {
    /// What must be proven before something is taken.
    pub(in crate::config) gate: Option<Gate>,
    /// What a collection may do.
    #[schemars(extend("default" = "plan"))]
    pub(in crate::config) mode: Option<GcMode>,
    /// The repositories that are collected, by name; `*` stands for a part of a name without `/`, `**` for
    /// any.
    #[schemars(extend("default" = ["**"]), extend("examples" = [["sandbox/**"]]))]
    pub(in crate::config) repositories: Option<Vec<String>>,
    /// What becomes of manifests that no tag leads to and nothing needs.
    #[schemars(extend("default" = "keep"))]
    pub(in crate::config) untagged: Option<Fate>,
    /// What becomes of what a tag named before.
    #[schemars(extend("default" = "keep"))]
    pub(in crate::config) tag_history: Option<Fate>,
    /// What was written or linked since is not garbage yet.
    #[schemars(with = "Option<DurationText>", extend("default" = "24h"))]
    pub(in crate::config) minimum_age: Option<String>,
    /// When a collection may run. Without any, never by itself.
    #[schemars(extend("default" = []))]
    pub(in crate::config) windows: Option<Vec<Window>>,
    /// Images that are known to be lost: that they are closes no gate until then.
    pub(in crate::config) acknowledged: Option<Vec<Acknowledged>>,
    /// How long things are in quarantine before they are purged.
    #[schemars(with = "Option<DurationText>", extend("default" = "6d"))]
    pub(in crate::config) quarantine_for: Option<String>,
    /// Only what a recorded plan at least this old had already is taken.
    #[schemars(with = "Option<DurationText>", extend("default" = "7d"))]
    pub(in crate::config) rehearsal: Option<String>,
    /// A run takes at most so much of a storage's blobs and bytes, the oldest first.
    #[schemars(extend("default" = 30), range(min = 0, max = 100))]
    pub(in crate::config) max_collect_percent: Option<f64>,
    /// A run takes at most so many bytes.
    pub(in crate::config) max_collect_bytes: Option<u64>,
    /// What is known of the registry's caches, and how they are made to forget.
    pub(in crate::config) settle: Option<Settle>,
    /// Whether the registry takes no pushes while something is taken.
    pub(in crate::config) read_only: Option<ReadOnly>,
    /// How long a push may take.
    #[schemars(with = "Option<DurationText>", extend("default" = "15m"))]
    pub(in crate::config) longest_request: Option<String>,
    /// How often new links are looked at while something settles.
    #[schemars(with = "Option<DurationText>", extend("default" = "60s"))]
    pub(in crate::config) watch_every: Option<String>,
    /// Who purges what was in quarantine for long enough.
    pub(in crate::config) purge: Option<Purge>,
    /// What is done although it cannot be undone.
    #[schemars(extend("default" = []))]
    pub(in crate::config) r#unsafe: Option<Vec<Unsafe>>,
    /// Who carries it out.
    #[schemars(extend("default" = serde_json::json!({"inProcess": {}})))]
    pub(in crate::config) collector: Option<Collector>,
    /// A plan that would take more of a storage's blobs or bytes is refused until it is accepted.
    #[schemars(extend("default" = 50), range(min = 0, max = 100))]
    pub(in crate::config) alarm_percent: Option<f64>,
    /// Whoever else may collect the same storage: while it may be at work, nothing is taken.
    #[schemars(extend("default" = serde_json::json!({})))]
    pub(in crate::config) conflicts: Option<Conflicts>,
    /// Who takes what is garbage: a map with one key. All but pullproof itself have no quarantine.
    #[schemars(extend("default" = serde_json::json!({"builtin": {}})))]
    pub(in crate::config) executor: Option<super::executor::Executor>,
}

/// Other collectors of the same storage.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct Conflicts {
    /// Jobs and CronJobs of the cluster that pullproof runs in, or of the current context.
    #[schemars(extend("default" = []))]
    pub(in crate::config) workloads: Option<Vec<Conflict>>,
}

/// Jobs and CronJobs of a namespace, by their names, by their labels or by both.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["namespace"]))]
pub(in crate::config) struct Conflict {
    /// Their namespace.
    #[schemars(extend("examples" = ["registry"]))]
    pub(in crate::config) namespace: Option<String>,
    /// Their names; `*` stands for anything. What a CronJob starts has that one's name, and more, for its own:
    /// it counts too.
    #[schemars(extend("examples" = ["registry-gc*"]))]
    pub(in crate::config) name: Option<String>,
    /// Their labels, as `kubectl -l` takes them.
    #[schemars(extend("examples" = ["app=registry-gc"]))]
    pub(in crate::config) selector: Option<String>,
}

/// What the gate asks of the images that are kept.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct Gate {
    /// How much of them has to be proven.
    #[schemars(extend("default" = "clean"))]
    pub(in crate::config) require: Option<Require>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Require {
    /// All of them, but for one that has nothing to lose.
    Clean,
    /// Those that were proven once: what never was, and of which nobody can tell, closes nothing.
    Regression,
}

/// A time in which a collection may run, again and again.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["name", "schedule", "duration"]))]
pub(in crate::config) struct Window {
    /// The value of the label `window`; unique in this list.
    #[schemars(extend("examples" = ["sunday"]))]
    pub(in crate::config) name: Option<String>,
    /// When it opens, as cron has it: minute, hour, day of month, month, day of week. Where both days are
    /// restricted, one that fits is enough. A time that the clock skips is made up for after it, one that the
    /// clock shows twice counts once.
    #[schemars(extend("examples" = ["0 2 * * 0"]))]
    pub(in crate::config) schedule: Option<String>,
    /// Whose clock the schedule is held against: a name of the IANA time zone database.
    #[schemars(extend("default" = "UTC"), extend("examples" = ["Europe/Berlin"]))]
    pub(in crate::config) time_zone: Option<String>,
    /// How long it is open, in elapsed time. What runs stops before its end. Openings that overlap or touch are
    /// one, of at most 7d.
    #[schemars(with = "Option<DurationText>")]
    pub(in crate::config) duration: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum GcMode {
    /// Nothing is touched.
    Plan,
    /// What is garbage goes to a quarantine, and can be put back.
    Quarantine,
    /// What was in quarantine for long enough is purged besides.
    Purge,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
pub(in crate::config) enum WorkloadKind {
    Deployment,
    StatefulSet,
}

/// What is known of the caches of a registry's replicas.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct Settle {
    /// `none`: they have none. `safePut`: a manifest that is pushed is written, whatever they believe
    /// (distribution 3.1.2 and later).
    #[schemars(extend("default" = "unknown"))]
    pub(in crate::config) cache: Option<SettleCache>,
    /// Whether every replica is restarted once something was taken, for their caches to forget it.
    #[schemars(extend("default" = "none"))]
    pub(in crate::config) restart: Option<SettleRestart>,
    /// The redis in which every replica remembers what it has: once something was taken, what is remembered of
    /// blobs is removed from it, and nothing else.
    pub(in crate::config) redis: Option<Redis>,
    /// How long a restart, or the redis, may take; what was taken goes back after it.
    #[schemars(with = "Option<DurationText>", extend("default" = "15m"))]
    pub(in crate::config) within: Option<String>,
    /// Whose pods are the registry's replicas. Any restart of them counts; by default the Deployment of
    /// `gc.readOnly`.
    pub(in crate::config) workload: Option<Workload>,
}

/// A redis that replicas share; no cluster.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["url"]))]
pub(in crate::config) struct Redis {
    /// `redis://host:port/database`, or `rediss://` over TLS; without a user and a password.
    #[schemars(extend("examples" = ["redis://redis.example:6379/0"]))]
    pub(in crate::config) url: Option<String>,
    /// By default redis' own default user.
    #[schemars(extend("examples" = ["pullproof"]))]
    pub(in crate::config) username: Option<String>,
    /// A file with the password alone.
    pub(in crate::config) password: Option<File>,
    /// Authorities to trust besides the system's.
    pub(in crate::config) ca: Option<File>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum SettleRestart {
    /// Restarts that happen anyway count.
    None,
    /// pullproof restarts them in the window, one after the other.
    Rollout,
}

/// What runs the replicas of a registry.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["namespace", "name"]))]
pub(in crate::config) struct Workload {
    /// Which kind it is of.
    #[schemars(extend("default" = "Deployment"))]
    pub(in crate::config) kind: Option<WorkloadKind>,
    /// Its namespace.
    #[schemars(extend("examples" = ["registry"]))]
    pub(in crate::config) namespace: Option<String>,
    /// Its name there.
    #[schemars(extend("examples" = ["registry"]))]
    pub(in crate::config) name: Option<String>,
}

/// Whether a registry takes pushes while something is taken.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct ReadOnly {
    /// Whether the registry has to be read-only.
    #[schemars(extend("default" = "notRequired"))]
    pub(in crate::config) mode: Option<ReadOnlyMode>,
    /// What runs the registry: pullproof switches it by the environment of its container.
    pub(in crate::config) deployment: Option<Named>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::config) enum ReadOnlyMode {
    /// Pushes may come at any time.
    NotRequired,
    /// Every replica has to say that it takes no pushes; an operator sees to that.
    Required,
    /// pullproof makes it so in the window, and back again.
    Managed,
}

/// Who collects where there are several.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct LeaderElection {
    /// A Lease of the cluster that pullproof runs in, or of the current context: only whoever has it
    /// takes or purges anything. The storage's own lock is taken besides.
    pub(in crate::config) lease: Option<Named>,
}

/// An object of a namespace.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["namespace", "name"]))]
pub(in crate::config) struct Named {
    /// Its namespace.
    #[schemars(extend("examples" = ["registry"]))]
    pub(in crate::config) namespace: Option<String>,
    /// Its name there.
    #[schemars(extend("examples" = ["registry"]))]
    pub(in crate::config) name: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::config) enum SettleCache {
    Unknown,
    None,
    SafePut,
}

/// Who purges.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct Purge {
    /// `lifecycle`: a versioned bucket's own rule for versions that are not current; pullproof then never
    /// deletes a version, and needs no right to.
    #[schemars(extend("default" = "pullproof"))]
    pub(in crate::config) by: Option<PurgeBy>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::config) enum PurgeBy {
    Pullproof,
    Lifecycle,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::config) enum Unsafe {
    /// Where a bucket has no versions, what was copied to the quarantine is purged all the same.
    PurgeWithoutVersions,
}

/// An image that is known to be lost.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["reference", "until", "reason"]))]
pub(in crate::config) struct Acknowledged {
    /// As workloads write it.
    #[schemars(extend("examples" = ["registry.example:5000/team/app:v1"]))]
    pub(in crate::config) reference: Option<String>,
    /// Until this time.
    #[schemars(extend("examples" = ["2027-01-01T00:00:00Z"]))]
    pub(in crate::config) until: Option<String>,
    /// Why, for whoever reads it later.
    pub(in crate::config) reason: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Fate {
    Keep,
    Delete,
}
