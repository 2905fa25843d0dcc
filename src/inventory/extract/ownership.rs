//! Whose image it is: from reduced objects to the uses that people look for.
//!
//! A use is named by its top owner, since that is what its people edit. One (user, container, image)
//! is one use, whatever number of objects repeat it, of the strongest class that any of them gives.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Owner, Workload};
use crate::inventory::{Class, ImageUse, TopOwner, User, Via};

/// What is the same for all workloads of one source.
#[derive(Debug, Clone)]
pub struct Scope {
    pub cluster: Option<Arc<str>>,
    /// What a workload's own template counts as: `Runtime`, or `Failover` in a standby cluster.
    pub class: Class,
}

/// The pull secrets that a service account gives to pods without any of their own.
#[derive(Debug, Clone)]
pub enum Account {
    Known(Arc<[Arc<str>]>),
    /// It cannot be read. The name stands in for the secrets that it may have.
    Unknown(Arc<str>),
}

/// Chains are as long as Pod, Job and `CronJob`; more is a loop.
const OWNERS_MAX: usize = 8;

/// The uses of all these workloads, sorted by user.
pub fn image_uses<'a>(
    workloads: impl Iterator<Item = &'a Workload> + Clone,
    scope: &Scope,
    account: impl Fn(&str, &str) -> Account,
) -> Vec<ImageUse> {
    let owners = Owners::of(workloads.clone());
    let mut tops: HashSet<Arc<TopOwner>> = HashSet::new();
    let mut seen_pods = HashSet::new();
    let mut uses: HashMap<_, Candidate> = HashMap::new();
    for workload in workloads {
        // Pods of one owner and one template say the same. They are many, so they are told apart by
        // address, which equals identity within one interner.
        if &*workload.kind == "Pod"
            && let Some(owner) = &workload.owner
            && !seen_pods.insert((
                Arc::as_ptr(&workload.namespace).addr(),
                Arc::as_ptr(&owner.kind).addr(),
                Arc::as_ptr(&owner.name).addr(),
                Arc::as_ptr(&workload.images).addr(),
            ))
        {
            continue;
        }
        let named = naming(workload, &owners, scope.class);
        let top = TopOwner {
            cluster: scope.cluster.clone(),
            namespace: Arc::clone(&workload.namespace),
            kind: Arc::clone(named.kind),
            name: Arc::clone(named.name),
        };
        let top = match tops.get(&top) {
            Some(known) => Arc::clone(known),
            None => {
                let new = Arc::new(top);
                tops.insert(Arc::clone(&new));
                new
            }
        };
        let (pull_secrets, secrets_are_known) = pull_secrets(workload, &account);
        for container in &workload.images.containers {
            let candidate = Candidate {
                secrets_are_known,
                image_use: ImageUse {
                    user: Arc::new(User {
                        owner: Arc::clone(&top),
                        container: Arc::clone(&container.container),
                        image: Arc::clone(&container.image),
                        class: named.class,
                        via: named.via.clone(),
                    }),
                    reference: container.reference.clone(),
                    pull_secrets: Arc::clone(&pull_secrets),
                    constraint: Arc::clone(&workload.images.constraint),
                },
            };
            let by = &candidate.image_use.user;
            let key = (
                Arc::clone(&by.owner),
                Arc::clone(&by.container),
                Arc::clone(&by.image),
            );
            match uses.entry(key) {
                std::collections::hash_map::Entry::Vacant(vacant) => {
                    vacant.insert(candidate);
                }
                std::collections::hash_map::Entry::Occupied(mut occupied) => {
                    occupied.get_mut().meet(candidate);
                }
            }
        }
    }
    let mut uses: Vec<ImageUse> = uses
        .into_values()
        .map(|candidate| candidate.image_use)
        .collect();
    uses.sort_unstable_by(|a, b| a.user.cmp(&b.user));
    uses
}

struct Candidate {
    image_use: ImageUse,
    secrets_are_known: bool,
}

impl Candidate {
    /// Keeps the stronger of two that say the same, independent of their order.
    fn meet(&mut self, mut other: Self) {
        fn strength(user: &User) -> (Reverse<Class>, Reverse<Option<&Via>>) {
            // `None` is the least, so that what the workload says itself goes before what another
            // object says for it.
            (Reverse(user.class), Reverse(user.via.as_ref()))
        }
        if strength(&other.image_use.user) > strength(&self.image_use.user) {
            std::mem::swap(self, &mut other);
        }
        // A pod has been through admission: it knows what a template leaves to its account.
        if !self.secrets_are_known && other.secrets_are_known {
            self.image_use.pull_secrets = other.image_use.pull_secrets;
            self.secrets_are_known = true;
        }
    }
}

/// The owners of what stands between a Pod and its top owner.
pub(in crate::inventory) struct Owners<'a>(HashMap<(&'a str, &'a str, &'a str), &'a Owner>);

impl<'a> Owners<'a> {
    pub(in crate::inventory) fn of(workloads: impl Iterator<Item = &'a Workload>) -> Self {
        let between = workloads.filter(|workload| {
            matches!(
                &*workload.kind,
                "ReplicaSet" | "ReplicationController" | "Job"
            )
        });
        let owned = between.filter_map(|workload| Some((key(workload), workload.owner.as_ref()?)));
        Self(owned.collect())
    }

    /// The kind and the name of the workload that this one belongs to, or is.
    pub(in crate::inventory) fn top(&self, workload: &'a Workload) -> (&'a str, &'a str) {
        // Whose it is does not depend on what it counts as.
        let named = naming(workload, self, Class::Runtime);
        (named.kind, named.name)
    }
}

fn key(workload: &Workload) -> (&str, &str, &str) {
    (&workload.kind, &workload.namespace, &workload.name)
}

struct Naming<'a> {
    kind: &'a Arc<str>,
    name: &'a Arc<str>,
    class: Class,
    via: Option<Via>,
}

fn naming<'a>(workload: &'a Workload, owners: &Owners<'a>, class: Class) -> Naming<'a> {
    let Workload {
        kind,
        namespace,
        name,
        owner,
        images: _,
        status: _,
    } = workload;
    // A Deployment belongs to some operator at times, but its people look for the Deployment.
    let climbs = matches!(
        &**kind,
        "Pod" | "ReplicaSet" | "ReplicationController" | "Job" | "ControllerRevision"
    );
    let Some(mut top) = owner.as_ref().filter(|_| climbs) else {
        return Naming {
            kind,
            name,
            class,
            via: None,
        };
    };
    for _ in 0..OWNERS_MAX {
        let above = owners.0.get(&(&*top.kind, &**namespace, &*top.name));
        match above.filter(|_| top.is_native) {
            Some(owner) => top = owner,
            None => break,
        }
    }
    // What the owner's own template says is read there. Where it is not (an owner of an unknown
    // kind), history cannot be told from the present, and the stronger class is the safe one.
    let is_history = top.is_native
        && matches!(
            (&**kind, &*top.kind),
            ("ReplicaSet", "Deployment") | ("ControllerRevision", "StatefulSet" | "DaemonSet")
        );
    Naming {
        kind: &top.kind,
        name: &top.name,
        class: if is_history { Class::Rollback } else { class },
        via: Some(Via::Object(format!("{kind}/{name}").into())),
    }
}

/// The secrets that the node would use, and whether they are known.
fn pull_secrets(
    workload: &Workload,
    account: impl Fn(&str, &str) -> Account,
) -> (Arc<[Arc<str>]>, bool) {
    let own = &workload.images.pull_secrets;
    // Admission gives a pod its account's secrets only if it has none of its own (the API server's
    // ServiceAccount plugin), and the kubelet asks the pod alone. So a Pod that exists is final.
    if !own.is_empty() || &*workload.kind == "Pod" {
        return (Arc::clone(own), true);
    }
    match account(&workload.namespace, &workload.images.service_account) {
        Account::Known(names) => (names, true),
        Account::Unknown(name) => ([name].into(), false),
    }
}
