//! Where an operator's marks lie: in the storage, or, where a Job collects one that is not to be seen from here,
//! in the notes of the daemon that starts the Job.

use super::{notes, vault};
use crate::collection::jobs::{self, manifest};
use crate::config::{CollectorJob, Config, Registry};
use crate::gc::refusal::{Code, Refusal};
use crate::vault::Vault;

/// Keeps anything from being taken for as long as it is there.
pub const PAUSE: &str = "pause";
/// Stops whoever collects after its batch.
pub const STOP: &str = "stop";

/// Of all that concerns collections and is not in a storage.
pub(super) const KIND: &str = "collections";

/// Wherever whoever collects, or has a Job do so, looks for a pause. Each error says why one cannot be left there.
pub fn paused_at(config: &Config, registry: &Registry) -> Vec<Result<Vault, Refusal>> {
    let mut all = Vec::new();
    if registry.gc.collector.job().is_some() {
        all.push(notes(config, registry, KIND));
    }
    // A Job that is made of the same configuration finds it in the storage.
    if registry.gc.collector.job().is_none() || registry.storage.is_some() {
        all.push(vault(config, registry));
    }
    all
}

/// Whether an operator paused the Jobs of a storage, as the daemon that starts them knows. It blocks.
pub fn paused(config: &Config, registry: &Registry) -> Option<Refusal> {
    let message = match notes(config, registry, KIND).map(|notes| notes.has(PAUSE)) {
        Ok(Ok(false)) => return None,
        Ok(Ok(true)) => "an operator paused it; `pullproof gc resume` ends that".to_owned(),
        Ok(Err(error)) => format!("whether it is paused cannot be told: {error}"),
        Err(refusal) => format!("whether it is paused cannot be told: {}", refusal.message),
    };
    Some(Refusal::new(Code::Paused, message))
}

/// Why nothing can be done with the storage of a registry in whose entry is none.
pub(super) fn no_storage(registry: &Registry) -> Refusal {
    let message = match registry.gc.collector.job() {
        None => "the registry's entry has no storage".to_owned(),
        Some(job) => format!(
            "a Job collects this storage (`gc.collector.job`), and from here it is not to be seen: {}; while none \
             runs, make one of {} with these arguments in place of `gc run`",
            beside(job, &registry.host),
            job.template.display()
        ),
    };
    Refusal::new(Code::StorageUnsupported, message)
}

/// How a command is run where the Job sees the storage.
pub fn beside(job: &CollectorJob, host: &str) -> String {
    let CollectorJob { namespace, .. } = job;
    let selector = manifest::selector(&jobs::of_storage(host));
    format!(
        "run it in the Job's pod, `kubectl -n {namespace} exec POD -- pullproof gc … --config FILE`, by the name that \
         `kubectl -n {namespace} get pods -l {selector}` tells and with the file that its template names"
    )
}
