//! What makes replicas forget what was taken: their restart, as their pods tell it, or that of which they share
//! what they remember.

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

/// The redis that they share.
#[derive(Debug)]
pub(super) struct Shared {
    /// When it was made to forget last, as that began.
    pub(super) forgot: Option<Second>,
    /// So long whatever looked into the storage may take to have it remembered.
    pub(super) longest_request: i64,
}

impl Shared {
    fn has_forgotten_by(&self, at: Second, then: Second) -> bool {
        at.get().saturating_add(self.longest_request) < then.get()
    }

    fn has_forgotten(&self, at: Second) -> bool {
        self.forgot
            .is_some_and(|then| self.has_forgotten_by(at, then))
    }
}

/// What the replicas remember, and since when they do not.
#[derive(Debug)]
pub(super) struct Caches {
    /// `None` where it is in the redis that they share, whenever they started.
    pub(super) replicas: Option<Replicas>,
    pub(super) redis: Option<Shared>,
}

impl Caches {
    /// Whether nothing is remembered any more of what was gone by then.
    pub(super) fn have_forgotten(&self, at: Second) -> bool {
        let mut all = [
            (self.replicas.as_ref()).map(|it| it.have_started_since(at)),
            self.redis.as_ref().map(|it| it.has_forgotten(at)),
        ]
        .into_iter()
        .flatten()
        .peekable();
        all.peek().is_some() && all.all(|has_forgotten| has_forgotten)
    }

    /// Whether it would help what was gone by then if the redis were made to forget now.
    pub(super) fn may_forget(&self, at: Second, now: Second) -> bool {
        let redis = self.redis.as_ref();
        redis.is_some_and(|it| !it.has_forgotten(at) && it.has_forgotten_by(at, now))
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
        caches: &Caches,
    ) -> Vec<Waits> {
        let Some(replicas) = &caches.replicas else {
            return Vec::new();
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redis_has_forgotten_what_was_gone_for_as_long_as_a_request_takes() {
        let caches = |forgot: Option<i64>| Caches {
            replicas: None,
            redis: Some(Shared {
                forgot: forgot.map(Second::new),
                longest_request: 10,
            }),
        };
        let at = Second::new(100);
        for (forgot, has_forgotten) in [
            (None, false),
            (Some(100), false),
            (Some(110), false),
            (Some(111), true),
        ] {
            assert_eq!(
                caches(forgot).have_forgotten(at),
                has_forgotten,
                "{forgot:?}"
            );
            // Once more helps only what it did not help before.
            let may = caches(forgot).may_forget(at, Second::new(111));
            assert_eq!(may, !has_forgotten, "{forgot:?}");
        }
        assert!(!caches(None).may_forget(at, Second::new(110)));
    }

    #[test]
    fn where_nobody_says_who_remembers_nothing_is_forgotten() {
        let (nobody, at) = (Second::new(1_000_000), Second::new(100));
        let neither = Caches {
            replicas: None,
            redis: None,
        };
        assert!(!neither.have_forgotten(at) && !neither.may_forget(at, nobody));
        // Both have to.
        let both = Caches {
            replicas: Some(Replicas::default()),
            redis: Some(Shared {
                forgot: Some(nobody),
                longest_request: 10,
            }),
        };
        assert!(!both.have_forgotten(at));
    }
}
