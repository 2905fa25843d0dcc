//! What makes replicas forget what was taken: their restart. Whether they have is told by their pods.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::Container;

use super::cluster::Failure;
use super::readonly::Wait;
use super::workload::Workloads;
use crate::collection::rollout::{Replica, Rollout, all_began_after, judge};
use crate::config::Workload;
use crate::gc::plan::Garbage;
use crate::oci::digest::Digest;
use crate::second::Second;

/// Beside the journal: what waits for whom, as the last listing saw it.
pub const NOTE: &str = "waits.json";
/// How often it is looked at whether all have started.
const LOOKED: Duration = Duration::from_secs(1);

/// So many objects wait for a replica to start again.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Waits {
    /// Its pod.
    pub replica: String,
    pub objects: usize,
}

/// The replicas as their pods tell of them; none where nobody said whose those are.
#[derive(Debug, Default)]
pub(super) struct Replicas {
    all: Vec<Replica>,
}

impl Replicas {
    pub(super) fn new(all: Vec<Replica>) -> Self {
        Self { all }
    }

    /// Whether every one of them began to run after that.
    pub(super) fn have_started_since(&self, at: Second) -> bool {
        all_began_after(&self.all).is_some_and(|began| at < began)
    }

    /// Those that did not.
    fn before(&self, at: Second) -> impl Iterator<Item = &Replica> {
        let all = self.all.iter();
        all.filter(move |it| it.began_after().is_none_or(|began| began <= at))
    }
}

/// Since when the links to some bytes are gone.
pub(super) struct Unlinked<'a> {
    /// By a run that took them, the last.
    pub(super) taken: HashMap<Digest, Second>,
    /// To which there are links all the same, or which are held themselves.
    pub(super) not: HashSet<Digest>,
    /// When the first plan saw them without.
    pub(super) seen: &'a dyn Fn(&Garbage<'_>) -> Option<Second>,
}

impl Unlinked<'_> {
    /// Of bytes that no repository links any more.
    pub(super) fn since(&self, row: &Garbage<'_>) -> Option<Second> {
        if !row.has_data || self.not.contains(&row.digest) {
            return None;
        }
        let taken = self.taken.get(&row.digest).copied();
        // What a run took is planned for as if it were there.
        taken.or_else(|| row.repository.is_none().then(|| (self.seen)(row))?)
    }

    /// How much waits for which replica.
    pub(super) fn waits<'a>(
        &self,
        rows: impl Iterator<Item = Garbage<'a>>,
        replicas: &Replicas,
    ) -> Vec<Waits> {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for at in rows.filter_map(|row| self.since(&row)) {
            for replica in replicas.before(at) {
                *counts.entry(&replica.name).or_default() += 1;
            }
        }
        let mut waits: Vec<Waits> = counts
            .into_iter()
            .map(|(replica, objects)| Waits {
                replica: replica.to_owned(),
                objects,
            })
            .collect();
        waits.sort_by(|a, b| a.replica.cmp(&b.replica));
        waits
    }
}

/// The pods of a workload.
pub(super) fn replicas(workloads: &Workloads, of: &Workload) -> Result<Replicas, String> {
    let any = |_: &Container| true;
    let seen = workloads.get(of).map_err(|failure| unread(of, &failure))?;
    let all = workloads.replicas(of, &seen, &any);
    Ok(Replicas::new(all.map_err(|failure| unread(of, &failure))?))
}

/// Restarts all of them, and waits until each has started after that.
pub(super) fn restart(
    workloads: &Workloads,
    of: &Workload,
    at: Second,
    wait: &Wait<'_>,
) -> Result<(), String> {
    let begun = workloads.restart(of, at);
    begun.map_err(|failure| {
        format!(
            "the {} {} cannot be restarted: {failure}",
            of.kind.as_str(),
            of.named
        )
    })?;
    let any = |_: &Container| true;
    loop {
        let looked = workloads.get(of).and_then(|seen| {
            let all = workloads.replicas(of, &seen, &any)?;
            Ok((seen, all))
        });
        let told = match looked {
            Ok((seen, all)) => match judge(&seen.progress, &all) {
                Rollout::Done if all.iter().all(|it| it.restarted >= Some(at)) => return Ok(()),
                Rollout::Done => "not all pods are new".to_owned(),
                Rollout::Waits(told) => told,
                Rollout::Failed(problem) => {
                    return Err(format!(
                        "the {} {} does not come up again: {problem}",
                        of.kind.as_str(),
                        of.named
                    ));
                }
            },
            Err(failure) => failure.to_string(),
        };
        wait(LOOKED).map_err(|problem| {
            format!(
                "the {} {} has not been restarted yet ({told}): {problem}",
                of.kind.as_str(),
                of.named
            )
        })?;
    }
}

fn unread(of: &Workload, failure: &Failure) -> String {
    format!(
        "the pods of the {} {} (`gc.settle.workload`) cannot be read: {failure}",
        of.kind.as_str(),
        of.named
    )
}
