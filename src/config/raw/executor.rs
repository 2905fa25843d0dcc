//! The keys of whoever takes what is garbage.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{DurationText, File};

/// Who takes what is garbage: a map with one key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub(in crate::config) struct Executor {
    /// pullproof itself, with a quarantine.
    pub(in crate::config) builtin: Option<Builtin>,
    /// The registry's own collector as a program of this machine. It has no quarantine.
    pub(in crate::config) command: Option<Command>,
    /// The registry's own collector as a Job of Kubernetes. It has no quarantine.
    pub(in crate::config) kubernetes_job: Option<KubernetesJob>,
    /// Harbor's own collection, by its API. It has no quarantine, and no undo.
    pub(in crate::config) harbor: Option<Harbor>,
}

/// It has no keys.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("properties" = serde_json::json!({})))]
pub(in crate::config) struct Builtin {}

/// A program, started without a shell, in a process group of its own.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["argv", "undo"]))]
pub(in crate::config) struct Command {
    /// The program and its arguments, one by one.
    #[schemars(extend("examples" = [["registry", "garbage-collect", "/etc/distribution/config.yml"]]))]
    pub(in crate::config) argv: Option<Vec<String>>,
    /// How long it may take; by default until the window ends. Then it is ended, with all that it started.
    #[schemars(with = "Option<DurationText>")]
    pub(in crate::config) deadline: Option<String>,
    /// What would bring back what it takes.
    pub(in crate::config) undo: Option<Undo>,
    /// Where it deletes manifests that no tag names: whether it spares those that a tagged index names, as
    /// distribution does since 3.0. 2.8 does not.
    #[schemars(extend("default" = false))]
    pub(in crate::config) keeps_children: Option<bool>,
}

/// A Job of the cluster that pullproof runs in, or of the current context.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["template", "undo"]))]
pub(in crate::config) struct KubernetesJob {
    /// A file with the Job's manifest. Its name, its retries and its deadline are pullproof's.
    #[schemars(extend("examples" = ["gc-job.yaml"]))]
    pub(in crate::config) template: Option<String>,
    /// How long it may take; by default until the window ends.
    #[schemars(with = "Option<DurationText>")]
    pub(in crate::config) deadline: Option<String>,
    /// What would bring back what it takes.
    pub(in crate::config) undo: Option<Undo>,
    /// As of a command.
    #[schemars(extend("default" = false))]
    pub(in crate::config) keeps_children: Option<bool>,
}

/// Harbor's API at the registry's endpoint. Manifests without a tag are deleted where `gc.untagged` is `delete`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("required" = ["credentials"]))]
pub(in crate::config) struct Harbor {
    /// A file with `USER:PASSWORD` of somebody who may run collections: a system administrator, or a robot
    /// account with the rights to create, list, read and stop `garbage-collection`.
    pub(in crate::config) credentials: Option<File>,
    /// How long it may take; by default until the window ends.
    #[schemars(with = "Option<DurationText>")]
    pub(in crate::config) deadline: Option<String>,
}

/// What would bring back what a collector without quarantine takes. pullproof does not do it.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::config) enum Undo {
    /// A snapshot of the storage.
    Snapshot,
    /// The versions of the bucket.
    Versioning,
    /// Nothing does.
    None,
}
