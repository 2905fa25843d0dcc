//! A registry that pullproof makes read-only for as long as it collects, and writable again.
//!
//! It is a variable in the environment of a Deployment's container, which is ours by server-side apply: what
//! somebody else has set is neither changed nor taken out. That it is on is noted in the storage before it is
//! switched, so that whoever comes next switches it back if nobody else can.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container;
use kube::api::PatchParams;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::cluster::{Failure, MANAGER};
use super::workload::{Seen, Workloads, container, is_owned};
use crate::collection::rollout::{Replica, Rollout, judge};
use crate::config::{Named, Workload, WorkloadKind};

/// Beside the journal: what was switched.
pub const NOTE: &str = "read-only.json";
/// What distribution reads at its start (its `storage.maintenance.readonly`).
const VARIABLE: &str = "REGISTRY_STORAGE_MAINTENANCE_READONLY";
const VALUE: &str = r#"{"enabled":true}"#;
/// How often it is looked at whether it is so.
const LOOKED: Duration = Duration::from_secs(1);

/// What was switched, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub deployment: Named,
    pub since: Timestamp,
}

/// Waits a little, or says why it is no use to wait longer.
pub(super) type Wait<'a> = dyn Fn(Duration) -> Result<(), String> + 'a;

fn workload(deployment: &Named) -> Workload {
    Workload {
        kind: WorkloadKind::Deployment,
        named: deployment.clone(),
    }
}

/// Whether nothing speaks against switching it, as far as can be told without doing so.
pub(super) fn may_switch(workloads: &Workloads, deployment: &Named) -> Result<(), String> {
    let parameters = PatchParams::apply(MANAGER).dry_run();
    switch_by(workloads, deployment, &parameters)
}

/// Switches it. That it is switched has been noted.
pub(super) fn switch(workloads: &Workloads, deployment: &Named) -> Result<(), String> {
    switch_by(workloads, deployment, &PatchParams::apply(MANAGER))
}

fn switch_by(
    workloads: &Workloads,
    deployment: &Named,
    parameters: &PatchParams,
) -> Result<(), String> {
    let of = workload(deployment);
    let seen = workloads.get(&of).map_err(|it| unread(deployment, &it))?;
    let named = |problem| format!("the Deployment {deployment}: {problem}");
    let own = container(&seen.pod).map_err(named)?;
    free(deployment, &seen, own)?;
    let applied = workloads.apply(&of, Some(switched(&own.name)), parameters);
    applied.map_err(|failure| unchanged(deployment, &failure))
}

/// Until every replica runs with it, and no other is left.
pub(super) fn until_rolled_out(
    workloads: &Workloads,
    deployment: &Named,
    wait: &Wait<'_>,
) -> Result<(), String> {
    let of = workload(deployment);
    loop {
        let told = match seen_with_replicas(workloads, &of) {
            Ok((seen, replicas)) => {
                let own = container(&seen.pod)?;
                if !is_on(own) {
                    return Err(format!(
                        "{VARIABLE} was set in the Deployment {deployment}, and somebody took it out again: a \
                         controller that owns it reverts what others change; let that leave the variable alone, or \
                         let it switch the registry, with `gc.readOnly.mode: required`"
                    ));
                }
                match judge(&seen.progress, &replicas) {
                    Rollout::Done => return Ok(()),
                    Rollout::Waits(told) => told,
                    Rollout::Failed(problem) => {
                        return Err(format!(
                            "the Deployment {deployment} does not come up read-only: {problem}"
                        ));
                    }
                }
            }
            Err(failure) => failure.to_string(),
        };
        wait(LOOKED).map_err(|problem| {
            format!("the Deployment {deployment} is not read-only yet ({told}): {problem}")
        })?;
    }
}

/// Takes out what is ours. What is gone, or somebody else's by now, is left as it is.
pub(super) fn switch_back(workloads: &Workloads, deployment: &Named) -> Result<(), String> {
    let of = workload(deployment);
    let seen = match workloads.get(&of) {
        Ok(seen) => seen,
        Err(Failure::Absent) => return Ok(()),
        Err(failure) => return Err(unread(deployment, &failure)),
    };
    // Also where the variable is gone: that the container is there is ours too by then.
    if !is_owned(&seen.metadata, MANAGER, "") {
        return Ok(());
    }
    let applied = workloads.apply(&of, None, &PatchParams::apply(MANAGER));
    applied.map_err(|failure| unchanged(deployment, &failure))?;
    let seen = workloads.get(&of).map_err(|it| unread(deployment, &it))?;
    if is_ours(&seen) {
        return Err(format!(
            "{VARIABLE} is still in the Deployment {deployment}, although it was taken out"
        ));
    }
    Ok(())
}

fn seen_with_replicas(
    workloads: &Workloads,
    of: &Workload,
) -> Result<(Seen, Vec<Replica>), Failure> {
    let seen = workloads.get(of)?;
    let replicas = workloads.replicas(of, &seen, &is_on)?;
    Ok((seen, replicas))
}

/// Nobody but us has set it.
fn free(deployment: &Named, seen: &Seen, own: &Container) -> Result<(), String> {
    let mut entries = own.env.iter().flatten();
    let Some(entry) = entries.find(|it| it.name == VARIABLE) else {
        return Ok(());
    };
    if is_ours(seen) {
        return Ok(());
    }
    Err(format!(
        "the Deployment {deployment} sets {VARIABLE} itself, to {}, and what somebody else has set is not changed: \
         take it out, or switch it yourself, with `gc.readOnly.mode: required`",
        entry
            .value
            .as_deref()
            .unwrap_or("something that it refers to")
    ))
}

fn is_ours(seen: &Seen) -> bool {
    is_owned(&seen.metadata, MANAGER, VARIABLE)
}

fn is_on(container: &Container) -> bool {
    let mut entries = container.env.iter().flatten();
    entries.any(|it| it.name == VARIABLE && it.value.as_deref() == Some(VALUE))
}

fn switched(container: &str) -> serde_json::Value {
    let environment = json!([{"name": VARIABLE, "value": VALUE}]);
    json!({"template": {"spec": {"containers": [{"name": container, "env": environment}]}}})
}

fn unread(deployment: &Named, failure: &Failure) -> String {
    format!("the Deployment {deployment} (`gc.readOnly.deployment`) cannot be read: {failure}")
}

fn unchanged(deployment: &Named, failure: &Failure) -> String {
    format!("the Deployment {deployment} cannot be switched: {failure}")
}
