//! Who collects, as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

/// Who carries out a collection: a map with one key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub(in crate::config) struct Collector {
    /// Whoever runs: the daemon, or `pullproof gc`. It has the right to the storage.
    pub(in crate::config) in_process: Option<InProcess>,
    /// A Job that the daemon starts, in the cluster that it runs in, or of the current context. The daemon
    /// then needs no right to the storage, and no `storage` in its configuration.
    pub(in crate::config) job: Option<CollectorJob>,
}

/// Nothing is to be said of it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("properties" = {}))]
pub(in crate::config) struct InProcess {}

/// The Job that collects.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["namespace", "template"]))]
pub(in crate::config) struct CollectorJob {
    /// Where it runs: the registry's namespace.
    #[schemars(extend("examples" = ["registry"]))]
    pub(in crate::config) namespace: Option<String>,
    /// A file with its manifest, a Job whose container runs `pullproof gc run`. Its name, its deadline and how
    /// often it is tried are pullproof's.
    #[schemars(extend("examples" = ["collector.yaml"]))]
    pub(in crate::config) template: Option<String>,
}
