//! What nodes say that they run, and what they say that they could not pull. Pure.
//!
//! Pods are many and say the same: what one says is kept once however many say it, and is told for
//! each use of an image, not for each Pod.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use super::extract::{Interner, Origin, Owners, PodImages, Workload, nullable};
use super::{ImageUse, User};
use crate::second::Second;

pub use self::event::{EventObject, Pull, Word, Words};
pub use self::image_id::{ImageId, Place};
pub use self::refusal::{Blame, Reason, Refusal};

mod event;
mod image_id;
mod refusal;

/// What the containers of one Pod say. Equal ones are shared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct PodStatus {
    containers: Box<[Said]>,
}

/// Of a Pod of which only events tell.
static SILENT: LazyLock<PodStatus> = LazyLock::new(PodStatus::default);

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
    /// When a node last pulled it, where that is at odds with what we say.
    pub pulled: Option<Second>,
}

// There may be one for each image.
const _: () = assert!(size_of::<RunningUse>() <= 40);

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
    terminated: Option<Anything>,
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

/// Whether a container that has ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::inventory) enum Restarts {
    Yes,
    No,
}

/// Reduces what the containers of a Pod say; `None` where that is nothing.
pub(in crate::inventory) fn reduce<'a>(
    statuses: impl Iterator<Item = (Restarts, &'a ContainerStatus)>,
    images: &PodImages,
    interner: &mut Interner,
) -> Option<Arc<PodStatus>> {
    let said = statuses.filter_map(|(restarts, status)| {
        let mut containers = images.containers.iter();
        let of_spec = containers.find(|container| *container.container == *status.name)?;
        let ContainerState {
            running,
            waiting,
            terminated,
        } = &status.state;
        let refused = waiting.as_ref().and_then(|waiting| {
            let reason = Reason::of(&waiting.reason)?;
            Some((reason, &waiting.message))
        });
        // One that crashes over and over waits or has ended whenever one looks.
        let restarts = restarts == Restarts::Yes && (waiting.is_some() || terminated.is_some());
        let what = match refused {
            Some((reason, message)) => What::Waits(Refusal {
                reason,
                message: interner.text(&refusal::told(message)),
            }),
            None if running.is_some() || restarts => {
                let named = of_spec.reference.as_ref().ok();
                What::Runs(ImageId::of(&status.image_id, named)?)
            }
            None => return None,
        };
        Some(Said {
            container: Arc::clone(&of_spec.container),
            what,
        })
    });
    let containers: Box<[Said]> = said.collect();
    (!containers.is_empty()).then(|| interner.status(PodStatus { containers }))
}

/// What nodes say of each of these uses, in the order of the uses: by the status of Pods, and by events.
/// Nothing is told of one of which they say nothing.
pub(in crate::inventory) fn running_uses<'a>(
    workloads: impl Iterator<Item = (Origin<'a>, &'a Workload)> + Clone,
    uses: &[ImageUse],
    words: &Words<'a>,
) -> Vec<Arc<RunningUse>> {
    let silent: &'static PodStatus = &SILENT;
    let pods = workloads.clone();
    let pods = pods.filter_map(|(origin, pod)| {
        let words = match &*pod.kind {
            "Pod" => words.of(&pod.namespace, &pod.name),
            _ => &[],
        };
        let status = pod.status.as_deref();
        let says_something = status.is_some() || !words.is_empty();
        says_something.then(|| (origin, pod, status.unwrap_or(silent), words))
    });
    let mut pods = pods.peekable();
    if pods.peek().is_none() {
        return Vec::new();
    }
    let owners = Owners::of(workloads);
    let mut seen = HashSet::new();
    let mut told: BTreeMap<usize, Told<'_>> = BTreeMap::new();
    for (origin, pod, status, words) in pods {
        // They are many, so they are told apart by address, which equals identity within one interner.
        if let Some(owner) = &pod.owner
            && words.is_empty()
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
        let place = |container: &str| {
            let mut containers = pod.images.containers.iter();
            let image = containers.find(|one| *one.container == *container)?;
            let key = [&*pod.namespace, kind, name, container, &*image.image];
            let found = uses.binary_search_by(|known| key_of(&known.user).cmp(&key));
            found.ok()
        };
        for said in &status.containers {
            if let Some(at) = place(&said.container) {
                told.entry(at).or_default().take(pod, &said.what);
            }
        }
        for word in words {
            // A Pod's own status is newer than any event.
            let mut said = status.containers.iter();
            let is_told = said.any(|said| said.container == word.container);
            if let Some(at) = place(&word.container) {
                told.entry(at).or_default().hear(word, is_told);
            }
        }
    }
    let told = told.into_iter().filter_map(|(at, told)| {
        let Told {
            running,
            refusal,
            pulled,
        } = told;
        let is_silent = running.is_empty() && refusal.is_none() && pulled.is_none();
        let user = &uses.get(at)?.user;
        (!is_silent).then(|| {
            Arc::new(RunningUse {
                user: Arc::clone(user),
                running: running.into_iter().collect(),
                refusal: refusal.cloned().map(Box::new),
                pulled,
            })
        })
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
    pulled: Option<Second>,
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
            What::Waits(refusal) => self.wait(refusal),
        }
    }

    /// Takes what an event says.
    fn hear(&mut self, word: &'a Word, is_told: bool) {
        match &word.what {
            Pull::Done(_) => self.pulled = self.pulled.max(Some(word.at)),
            Pull::Failed(refusal) if !is_told => self.wait(refusal),
            Pull::Failed(_) => {}
        }
    }

    fn wait(&mut self, refusal: &'a Refusal) {
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

#[cfg(test)]
mod tests;
