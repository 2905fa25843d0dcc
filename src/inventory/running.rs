//! What nodes say that they run, and what they say that they could not pull. Pure.
//!
//! Pods are many and say the same: what one says is kept once however many say it, and is told for
//! each use of an image, not for each Pod.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::extract::{Interner, Origin, Owners, PodImages, Workload, nullable};
use super::{ImageUse, User};

pub use self::image_id::{ImageId, Place};
pub use self::refusal::{Blame, Reason, Refusal};

mod image_id;
mod refusal;

/// What the containers of one Pod say. Equal ones are shared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct PodStatus {
    containers: Box<[Said]>,
}

/// What one container says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Said {
    container: Arc<str>,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum What {
    Runs(ImageId),
    Waits(Refusal),
}

/// What nodes say of one use of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningUse {
    /// The same as that of the use.
    pub user: Arc<User>,
    /// In order; each is there once.
    pub running: Box<[Running]>,
    /// Why a node could not pull it, where one says so now.
    pub refusal: Option<Box<Refusal>>,
}

/// What some Pods of a workload run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Running {
    #[serde(flatten)]
    pub id: ImageId,
    /// Who runs it: `ReplicaSet/web-6f7c`, or `Pod/web` where nobody controls it. Not each Pod by its
    /// name: those come and go, and nothing else changes.
    pub by: Arc<str>,
}

/// An entry of a Pod's `containerStatuses`, as far as it is about images.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ContainerStatus {
    #[serde(deserialize_with = "nullable")]
    name: String,
    #[serde(rename = "imageID", deserialize_with = "nullable")]
    image_id: String,
    #[serde(deserialize_with = "nullable")]
    state: ContainerState,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ContainerState {
    running: Option<Anything>,
    waiting: Option<Waiting>,
}

/// That it is there is all that counts.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Anything {}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Waiting {
    #[serde(deserialize_with = "nullable")]
    reason: String,
    #[serde(deserialize_with = "nullable")]
    message: String,
}

/// Reduces what the containers of a Pod say; `None` where that is nothing.
pub(in crate::inventory) fn reduce<'a>(
    statuses: impl Iterator<Item = &'a ContainerStatus>,
    images: &PodImages,
    interner: &mut Interner,
) -> Option<Arc<PodStatus>> {
    let said = statuses.filter_map(|status| {
        let mut containers = images.containers.iter();
        let of_spec = containers.find(|container| *container.container == *status.name)?;
        let what = if status.state.running.is_some() {
            What::Runs(ImageId::of(
                &status.image_id,
                of_spec.reference.as_ref().ok(),
            )?)
        } else {
            let waiting = status.state.waiting.as_ref()?;
            let reason = Reason::of(&waiting.reason)?;
            let message = refusal::told(&waiting.message);
            What::Waits(Refusal {
                reason,
                message: interner.text(&message),
            })
        };
        Some(Said {
            container: Arc::clone(&of_spec.container),
            what,
        })
    });
    let containers: Box<[Said]> = said.collect();
    (!containers.is_empty()).then(|| interner.status(PodStatus { containers }))
}

/// What nodes say of each of these uses, in the order of the uses. Nothing is told of one of which they
/// say nothing.
pub(in crate::inventory) fn running_uses<'a>(
    workloads: impl Iterator<Item = (Origin<'a>, &'a Workload)> + Clone,
    uses: &[ImageUse],
) -> Vec<Arc<RunningUse>> {
    let pods = workloads.clone();
    let pods = pods.filter_map(|(origin, pod)| Some((origin, pod, pod.status.as_deref()?)));
    let mut pods = pods.peekable();
    if pods.peek().is_none() {
        return Vec::new();
    }
    let owners = Owners::of(workloads);
    let mut seen = HashSet::new();
    let mut told: BTreeMap<usize, Told<'_>> = BTreeMap::new();
    for (origin, pod, status) in pods {
        // They are many, so they are told apart by address, which equals identity within one interner.
        if let Some(owner) = &pod.owner
            && !seen.insert((
                Arc::as_ptr(&pod.namespace).addr(),
                Arc::as_ptr(&owner.kind).addr(),
                Arc::as_ptr(&owner.name).addr(),
                Arc::as_ptr(&pod.images).addr(),
                std::ptr::from_ref(status).addr(),
            ))
        {
            continue;
        }
        let (kind, name) = owners.top(origin, pod);
        for said in &status.containers {
            let mut containers = pod.images.containers.iter();
            let Some(image) = containers.find(|one| one.container == said.container) else {
                continue;
            };
            let key = [&*pod.namespace, kind, name, &*said.container, &*image.image];
            let Ok(at) = uses.binary_search_by(|known| key_of(&known.user).cmp(&key)) else {
                continue;
            };
            told.entry(at).or_default().take(pod, &said.what);
        }
    }
    let told = told.into_iter().filter_map(|(at, told)| {
        let Told { running, refusal } = told;
        Some(Arc::new(RunningUse {
            user: Arc::clone(&uses.get(at)?.user),
            running: running.into_iter().collect(),
            refusal: refusal.cloned().map(Box::new),
        }))
    });
    told.collect()
}

/// In the order in which uses stand, of which all are of one cluster.
fn key_of(user: &User) -> [&str; 5] {
    [
        &user.namespace,
        &user.kind,
        &user.name,
        &user.container,
        &user.image,
    ]
}

/// What was told of one use so far.
#[derive(Default)]
struct Told<'a> {
    running: BTreeSet<Running>,
    refusal: Option<&'a Refusal>,
}

impl<'a> Told<'a> {
    fn take(&mut self, pod: &Workload, what: &'a What) {
        match what {
            What::Runs(id) => {
                let by = match &pod.owner {
                    Some(owner) => format!("{}/{}", owner.kind, owner.name),
                    None => format!("Pod/{}", pod.name),
                };
                self.running.insert(Running {
                    id: *id,
                    by: by.into(),
                });
            }
            What::Waits(refusal) => {
                // Of several the one that says most, whichever Pod comes first.
                let weight = |refusal: &&Refusal| {
                    let blame = refusal.blame();
                    (
                        blame,
                        Reverse(refusal.reason),
                        Reverse(Arc::clone(&refusal.message)),
                    )
                };
                self.refusal = self.refusal.into_iter().chain([refusal]).max_by_key(weight);
            }
        }
    }
}

#[cfg(test)]
mod tests;
