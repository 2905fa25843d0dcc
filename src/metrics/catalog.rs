//! Every metric once: name, type, help and labels. The README's table, the alerts and the collector
//! are held against this list by tests.

/// What Prometheus is told about a metric. Names are without prefix and, for counters, without
/// `_total`, which the encoder adds.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
    pub labels: &'static [&'static str],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Gauge,
    Counter,
    Histogram,
    Info,
}

pub const PREFIX: &str = "pullproof";

/// The labels of one workload's use of one image. `cluster` is there only where clusters are named.
pub const WORKLOAD: [&str; 8] = [
    "cluster",
    "namespace",
    "workload_type",
    "workload",
    "container",
    "image",
    "registry",
    "class",
];

/// The label of what people silenced: `true`, or not there.
pub const IGNORED: &str = "ignored";

/// Labels that no chosen one may be called: those of the series of workloads, of their alerts, and those
/// of a scrape's target, which alerts leave out so that a restart is no new alert.
pub const RESERVED: [&str; 32] = [
    "cluster",
    "namespace",
    "workload_type",
    "workload",
    "container",
    "image",
    "registry",
    "class",
    "platform",
    "reason",
    "known",
    "drift",
    IGNORED,
    "alertname",
    "alertstate",
    "severity",
    "le",
    "quantile",
    "job",
    "instance",
    "pod",
    "service",
    "endpoint",
    "node",
    "prometheus",
    "prometheus_replica",
    "pod_template_hash",
    "controller_revision_hash",
    "kubernetes_namespace",
    "kubernetes_pod_name",
    "kubernetes_name",
    "kubernetes_node",
];

macro_rules! workload_and {
    ($($more:literal),*) => {
        &["cluster", "namespace", "workload_type", "workload", "container", "image", "registry", "class", $($more),*]
    };
}

macro_rules! catalog {
    ($($constant:ident = $name:literal, $kind:ident, $labels:expr, $help:literal;)*) => {
        $(pub const $constant: Metric =
            Metric { name: $name, kind: Kind::$kind, help: $help, labels: $labels };)*
        /// All of them, in the order in which they are exposed.
        pub const ALL: &[Metric] = &[$($constant),*];
    };
}

catalog! {
    WORKLOAD_IMAGE_PULLABLE = "workload_image_pullable", Gauge, workload_and!(),
        "Whether the image can be pulled for every needed platform (1) or not (0); absent while unknown";
    WORKLOAD_IMAGE_FAILURE = "workload_image_failure", Gauge, workload_and!("platform", "reason", "known"),
        "1 while the image is broken on a needed platform; known is true if it was broken before pullproof came";
    WORKLOAD_IMAGE_UNKNOWN = "workload_image_unknown", Gauge, workload_and!("reason"),
        "1 while it is not known whether the image can be pulled";
    WORKLOAD_IMAGE_DRIFT = "workload_image_drift", Gauge, workload_and!("drift"),
        "1 while what runs, or what a registry serves, is not what the reference names";
    WORKLOAD_IMAGE_KUBELET_DISAGREEMENT = "workload_image_kubelet_disagreement", Gauge, workload_and!(),
        "1 while a kubelet cannot pull what was proven to be pullable, or has pulled what is broken; not for the node's own reasons";
    IMAGE_UNKNOWN = "image_unknown", Gauge, &["registry", "image", "reason"],
        "1 while it is not known whether the image can be pulled";
    IMAGE_LAST_PROOF = "image_last_proof_timestamp_seconds", Gauge, &["registry", "image"],
        "Time of the oldest object of the last proof that the whole image is there";
    IMAGE_PLATFORMS = "image_platforms", Gauge, &["registry", "image", "verdict"],
        "Platforms of the image by verdict; only for images that are not wholly pullable";
    IMAGES = "images", Gauge, &["verdict"], "Images by verdict";
    INVENTORY_COMPLETE = "inventory_complete", Gauge, &["source"],
        "Whether the source was read in full (1) or its last complete state stands in (0)";
    INVENTORY_REFERENCES = "inventory_references", Gauge, &["source"], "Uses of images that the source names";
    INVENTORY_LAST_COMPLETE = "inventory_last_complete_timestamp_seconds", Gauge, &["source"],
        "Time at which the source was last read in full";
    INVENTORY_REQUIRED = "inventory_required", Gauge, &["source"],
        "Whether the source has to be there (1) or may be away (0)";
    INVENTORY_SHRUNK = "inventory_shrunk", Gauge, &["source"],
        "1 while the source names much less than it did, until that is accepted";
    VERIFICATION_LAST_COMPLETED = "verification_last_completed_timestamp_seconds", Gauge, &["registry"],
        "End of the last round over all images of the registry";
    VERIFICATION_LAST_CLEAN = "verification_last_clean_timestamp_seconds", Gauge, &["registry"],
        "End of the last round in which every image of the registry was pullable";
    VERIFICATION_DURATION = "verification_duration_seconds", Gauge, &["registry"],
        "How long the last round over all images took";
    VERIFICATION_INTERVAL = "verification_interval_seconds", Gauge, &["registry"],
        "How often tags and manifests of the registry are checked";
    VERIFICATION_COVERAGE = "verification_coverage_ratio", Gauge, &["registry"],
        "Share of the registry's images about which something is known, pullable or broken";
    KEEPSET_BLOBS = "keepset_blobs", Gauge, &["registry", "verdict"],
        "Distinct objects (manifests, configs, layers) that images need, by verdict";
    KEEPSET_BLOB_BYTES = "keepset_blob_bytes", Gauge, &["registry", "verdict"],
        "Bytes of the distinct objects that images need, where their size is known";
    ESTIMATED_REQUESTS_PER_DAY = "estimated_requests_per_day", Gauge, &["registry"],
        "Requests a day that the configured intervals cost the registry";
    REGISTRY_UP = "registry_up", Gauge, &["registry"], "Whether the registry answered in the last round";
    REGISTRY_RATELIMIT_REMAINING = "registry_ratelimit_remaining", Gauge, &["registry"],
        "Requests that the registry said are left of its quota";
    REGISTRY_CONCURRENCY_LIMIT = "registry_concurrency_limit", Gauge, &["registry"],
        "Requests that the registry is asked at once, learnt from how fast it answers";
    REGISTRY_REQUESTS = "registry_requests", Counter, &["registry", "operation", "code"],
        "Requests to registries by operation and HTTP status (error: there was no answer)";
    REGISTRY_REQUEST_DURATION = "registry_request_duration_seconds", Histogram, &["registry", "operation", "code"],
        "How long registries took to answer";
    GC_WINDOW_OPEN = "gc_window_open", Gauge, &["window"], "Whether the window is open (1) or not (0)";
    GC_WINDOW_NEXT_OPEN = "gc_window_next_open_timestamp_seconds", Gauge, &["window"],
        "Time at which the window opens next";
    GC_GARBAGE_BLOBS = "gc_garbage_blobs", Gauge, &["storage"],
        "Stored objects that the last plan would take";
    GC_GARBAGE_BYTES = "gc_garbage_bytes", Gauge, &["storage"], "Bytes that the last plan would free";
    GC_LAST_PLAN = "gc_last_plan_timestamp_seconds", Gauge, &["storage"],
        "Time of the last plan of what is garbage";
    GC_PHASE_DURATION = "gc_phase_duration_seconds", Gauge, &["storage", "phase"],
        "How long a phase of a collection took when there last was one: plan, acquire, gate, list, prove, quarantine, settle, purge, restore";
    GC_REFUSALS = "gc_refusals", Counter, &["storage", "reason"],
        "Times that nothing was planned or taken, by reason";
    GC_GATE_OPEN = "gc_gate_open", Gauge, &["storage"],
        "Whether everything is known to be met (1) that a collection asks for, or not (0)";
    GC_GATE_CONDITION_MET = "gc_gate_condition_met", Gauge, &["storage", "condition"],
        "Whether a condition of the gate is met (1) or not (0); absent while that is not known";
    GC_RUNNING = "gc_running", Gauge, &["storage"], "Whether a collection is under way (1) or not (0)";
    GC_RUNS = "gc_runs", Counter, &["storage", "result"], "Collections that ended, by result";
    GC_LAST_SUCCESS = "gc_last_success_timestamp_seconds", Gauge, &["storage"],
        "Time at which a collection last did all that it was to do";
    GC_DRILL_LAST_SUCCESS = "gc_drill_last_success_timestamp_seconds", Gauge, &["storage"],
        "Time at which a canary was last taken and put back";
    GC_QUARANTINED_BLOBS = "gc_quarantined_blobs", Gauge, &["storage"],
        "Stored objects that are in quarantine";
    GC_QUARANTINED_BYTES = "gc_quarantined_bytes", Gauge, &["storage"],
        "Bytes of the objects in quarantine";
    GC_UNSETTLED_OBJECTS = "gc_unsettled_objects", Gauge, &["storage", "replica"],
        "Objects that a replica still answered for after they were taken, or that wait for it to start again";
    GC_READ_ONLY_SINCE = "gc_read_only_since_timestamp_seconds", Gauge, &["storage"],
        "Time since which pullproof holds the registry read-only";
    GC_PURGED_BLOBS = "gc_purged_blobs", Counter, &["storage"], "Stored objects that were purged";
    GC_PURGED_BYTES = "gc_purged_bytes", Counter, &["storage"], "Bytes of the objects that were purged";
    GC_RESTORED_BLOBS = "gc_restored_blobs", Counter, &["storage"],
        "Stored objects that came back from the quarantine";
    RETENTION_PLANNED_TAGS = "retention_planned_tags", Gauge, &["registry"],
        "Tags that would go by the last plan";
    RETENTION_PROTECTED_TAGS = "retention_protected_tags", Gauge, &["registry", "class"],
        "Tags that stay by the last plan, each by its strongest class";
    RETENTION_DELETED_TAGS = "retention_deleted_tags", Counter, &["registry"], "Tags that were deleted";
    RETENTION_RUNS = "retention_runs", Counter, &["registry", "result"], "Deletions of tags that ended, by result";
    STORAGE_BLOBS = "storage_blobs", Gauge, &["storage"], "Objects (manifests, configs, layers) in the storage";
    STORAGE_BYTES = "storage_bytes", Gauge, &["storage"], "Bytes of the objects in the storage";
    STORAGE_FREE_BYTES = "storage_free_bytes", Gauge, &["storage"],
        "Bytes that are free where the storage is, where that can be known";
    STORAGE_FULL = "storage_full_timestamp_seconds", Gauge, &["storage"],
        "Time at which nothing is free if the storage goes on growing as it did within a week";
    LEADER = "leader", Gauge, &[],
        "Whether this process has the Lease of `leaderElection` (1) or not (0)";
    KUBERNETES_EVENTS = "kubernetes_events", Counter, &["result"],
        "Events on workloads whose images broke or healed, by what came of them: written, dropped (too many, or the workload is gone), failed";
    CONFIG_LAST_RELOAD_SUCCESSFUL = "config_last_reload_successful", Gauge, &[],
        "Whether the configuration on disk is the one in use";
    SERIES_DROPPED = "series_dropped", Counter, &[],
        "Series of workloads that were left out of scrapes since they were too many";
    BUILD_INFO = "build", Info, &["version"], "What is running";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_help_is_safe_to_expose() {
        let names: HashSet<&str> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            // The encoder does not escape help texts, and ends them with a full stop of its own.
            assert!(
                metric.help.is_ascii() && !metric.help.contains(['\\', '\n', '"']),
                "{}",
                metric.name
            );
            assert!(!metric.help.ends_with('.'), "{}", metric.name);
        }
        assert_eq!(WORKLOAD_IMAGE_PULLABLE.labels, WORKLOAD);
    }

    #[test]
    fn no_chosen_label_is_called_as_one_of_our_own() {
        let of_workloads = ALL
            .iter()
            .filter(|it| it.labels.starts_with(&WORKLOAD))
            .flat_map(|it| it.labels);
        for label in of_workloads.chain([&IGNORED]) {
            assert!(RESERVED.contains(label), "{label}");
        }
    }
}
