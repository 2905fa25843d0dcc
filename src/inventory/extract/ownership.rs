//! Whose image it is: from reduced objects to the uses that people look for.
//!
//! A use is named by its top owner, since that is what its people edit. One (user, container, image)
//! is one use, whatever number of objects repeat it, of the strongest class that any of them gives.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{ContainerImage, Owner, Workload, belongs};
use crate::inventory::marks::{self, Marked};
use crate::inventory::{Class, ImageUse, TopOwner, User, Via};
use crate::second::Second;

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

/// Chains are as long as Pod, `ReplicaSet`, Deployment, and Knative's Revision, Configuration and
/// Service; more is a loop.
const OWNERS_MAX: usize = 8;

/// Where a workload was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin<'a> {
    /// A kind of Kubernetes itself.
    Kubernetes,
    /// A configured custom resource.
    Custom,
    /// What keeps a history, and where in it.
    History(Option<&'a Via>),
}

/// The uses of these workloads of Kubernetes' own kinds, sorted by user.
pub fn image_uses<'a>(
    workloads: impl Iterator<Item = &'a Workload> + Clone,
    scope: &Scope,
    account: impl Fn(&str, &str) -> Account,
) -> Vec<ImageUse> {
    let workloads = workloads.map(|workload| (Origin::Kubernetes, workload));
    image_uses_of(workloads, scope, account)
}

/// The uses of all these workloads, sorted by user.
pub fn image_uses_of<'a>(
    workloads: impl Iterator<Item = (Origin<'a>, &'a Workload)> + Clone,
    scope: &Scope,
    account: impl Fn(&str, &str) -> Account,
) -> Vec<ImageUse> {
    let owners = Owners::of(workloads.clone());
    let mut tops: HashSet<Arc<TopOwner>> = HashSet::new();
    let mut seen_pods = HashSet::new();
    let mut uses: HashMap<_, Candidate> = HashMap::new();
    let mut mentions = Vec::new();
    for (origin, workload) in workloads {
        // Pods of one owner and one template say the same. They are many, so they are told apart by
        // address, which equals identity within one interner.
        if origin == Origin::Kubernetes
            && &*workload.kind == "Pod"
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
        let named = naming(origin, workload, &owners, scope.class);
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
        let (pull_secrets, secrets_are_known) = pull_secrets(origin, workload, &account);
        if workload.images.mentioned.is_some() {
            mentions.push(Mentioning {
                top: Arc::clone(&top),
                pull_secrets: Arc::clone(&pull_secrets),
                workload,
            });
        }
        for container in &workload.images.containers {
            let candidate = Candidate {
                secrets_are_known,
                told_since: told_since(workload),
                image_use: ImageUse {
                    user: Arc::new(User {
                        owner: Arc::clone(&top),
                        container: Arc::clone(&container.container),
                        image: Arc::clone(&container.image),
                        class: named.class,
                        via: named.via.clone(),
                        since: workload.created,
                        idle: workload.idle.filter(|_| named.via.is_none()),
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
    let mut uses: Vec<ImageUse> = uses.into_values().map(Candidate::settled).collect();
    add_mentions(&mut uses, mentions);
    uses.sort_unstable_by(|a, b| a.user.cmp(&b.user));
    uses
}

/// A workload that mentions images.
struct Mentioning<'a> {
    top: Arc<TopOwner>,
    pull_secrets: Arc<[Arc<str>]>,
    workload: &'a Workload,
}

/// A mention counts once for each (user, image), and only where the user does not name the image.
fn add_mentions(uses: &mut Vec<ImageUse>, mentions: Vec<Mentioning<'_>>) {
    if mentions.is_empty() {
        return;
    }
    let key = |image_use: &ImageUse| {
        let by = &image_use.user;
        (Arc::clone(&by.owner), Arc::clone(&by.image))
    };
    let mut known: HashSet<_> = uses.iter().map(key).collect();
    for Mentioning {
        top: owner,
        pull_secrets,
        workload:
            Workload {
                images,
                created,
                idle,
                ..
            },
    } in mentions
    {
        let mentioned = images.mentioned.iter().flat_map(|it| &it.0);
        for ContainerImage {
            container,
            image,
            reference,
        } in mentioned
        {
            if known.insert((Arc::clone(&owner), Arc::clone(image))) {
                uses.push(ImageUse {
                    user: Arc::new(User {
                        owner: Arc::clone(&owner),
                        container: Arc::clone(container),
                        image: Arc::clone(image),
                        class: Class::Mentioned,
                        via: None,
                        since: *created,
                        idle: *idle,
                    }),
                    reference: reference.clone(),
                    pull_secrets: Arc::clone(&pull_secrets),
                    constraint: Arc::clone(&images.constraint),
                });
            }
        }
    }
}

/// The marks of those workloads that are their own top owners, as [`marks::sorted`] gives them. What keeps a
/// history says what was so once.
pub fn marked<'a>(
    workloads: impl Iterator<Item = (Origin<'a>, &'a Workload)> + Clone,
    scope: &Scope,
) -> Vec<Marked> {
    // Mostly nobody says anything.
    if workloads
        .clone()
        .all(|(_, workload)| workload.mark.is_none())
    {
        return Vec::new();
    }
    let owners = Owners::of(workloads.clone());
    let marked = workloads.filter_map(|(origin, workload)| {
        let mark = workload.mark.as_ref()?;
        let is_past = matches!(origin, Origin::History(_));
        if is_past || owners.above(origin, workload).is_some() {
            return None;
        }
        let owner = TopOwner {
            cluster: scope.cluster.clone(),
            namespace: Arc::clone(&workload.namespace),
            kind: Arc::clone(&workload.kind),
            name: Arc::clone(&workload.name),
        };
        Some(Marked {
            owner: Arc::new(owner),
            mark: Arc::clone(mark),
        })
    });
    marks::sorted(marked.collect())
}

struct Candidate {
    image_use: ImageUse,
    secrets_are_known: bool,
    /// Since when there is something of this workload that keeps the image for ever.
    told_since: Option<Second>,
}

/// What is made anew for each template tells since when it is there. Of Jobs and Pods only the last are
/// kept, and the workload itself may be older than its template.
fn told_since(workload: &Workload) -> Option<Second> {
    let is_of_a_template = matches!(&*workload.kind, "ReplicaSet" | "ControllerRevision");
    workload.created.filter(|_| is_of_a_template)
}

impl Candidate {
    fn settled(self) -> ImageUse {
        let mut settled = self.image_use;
        if self.told_since.is_some() && settled.user.since != self.told_since {
            settled.user = Arc::new(User {
                since: self.told_since,
                ..User::clone(&settled.user)
            });
        }
        settled
    }

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
        let told = [self.told_since, other.told_since].into_iter().flatten();
        self.told_since = told.min();
        // A pod has been through admission: it knows what a template leaves to its account.
        if !self.secrets_are_known && other.secrets_are_known {
            self.image_use.pull_secrets = other.image_use.pull_secrets;
            self.secrets_are_known = true;
        }
    }
}

/// Whose an object is, by what it is: Kubernetes' own or not, kind, namespace and name.
pub(in crate::inventory) struct Owners<'a> {
    owners: HashMap<Key<'a>, &'a Owner>,
    /// The custom resources that name images themselves.
    custom: HashSet<Key<'a>>,
}

type Key<'a> = (bool, &'a str, &'a str, &'a str);

impl<'a> Owners<'a> {
    pub(in crate::inventory) fn of(
        workloads: impl Iterator<Item = (Origin<'a>, &'a Workload)> + Clone,
    ) -> Self {
        let custom: HashSet<Key<'a>> = workloads
            .clone()
            .filter(|(origin, _)| *origin == Origin::Custom)
            .map(|(_, workload)| {
                (
                    false,
                    &*workload.kind,
                    &*workload.namespace,
                    &*workload.name,
                )
            })
            .collect();
        let mut all = Self {
            owners: HashMap::new(),
            custom,
        };
        for (origin, workload) in workloads {
            let is_native = origin == Origin::Kubernetes;
            // Nothing belongs to a Pod, or to what is no more.
            let is_pod = is_native && &*workload.kind == "Pod";
            if is_pod || matches!(origin, Origin::History(_)) {
                continue;
            }
            if let Some(owner) = all.above(origin, workload) {
                let (namespace, name) = (&*workload.namespace, &*workload.name);
                all.owners
                    .insert((is_native, &*workload.kind, namespace, name), owner);
            }
        }
        all
    }

    /// The kind and the name of the workload that this one belongs to, or is.
    pub(in crate::inventory) fn top(
        &self,
        origin: Origin<'_>,
        workload: &'a Workload,
    ) -> (&'a str, &'a str) {
        // Whose it is does not depend on what it counts as.
        let named = naming(origin, workload, self, Class::Runtime);
        (named.kind, named.name)
    }

    /// The owner whose people look for the workload's images. A Deployment belongs to some operator at
    /// times, but its people look for the Deployment, unless that operator's resource is configured.
    fn above(&self, origin: Origin<'_>, workload: &'a Workload) -> Option<&'a Owner> {
        let owner = workload.owner.as_ref()?;
        let climbs = origin == Origin::Kubernetes && belongs(&workload.kind);
        (climbs || self.is_custom(owner, &workload.namespace)).then_some(owner)
    }

    /// Whether it is a configured custom resource that is there and names images. One of the whole
    /// cluster may own what is in a namespace.
    fn is_custom(&self, owner: &Owner, namespace: &str) -> bool {
        let is_there = |namespace| {
            let key = (false, &*owner.kind, namespace, &*owner.name);
            self.custom.contains(&key)
        };
        !owner.is_native && (is_there(namespace) || is_there(""))
    }

    /// The owner of an owner.
    fn over(&self, owner: &'a Owner, namespace: &'a str) -> Option<&'a Owner> {
        let key = (owner.is_native, &*owner.kind, namespace, &*owner.name);
        self.owners.get(&key).copied()
    }
}

struct Naming<'a> {
    kind: &'a Arc<str>,
    name: &'a Arc<str>,
    class: Class,
    via: Option<Via>,
}

fn naming<'a>(
    origin: Origin<'_>,
    workload: &'a Workload,
    owners: &Owners<'a>,
    class: Class,
) -> Naming<'a> {
    let Workload {
        kind,
        namespace,
        name,
        owner: _,
        images: _,
        created: _,
        idle: _,
        status: _,
        mark: _,
    } = workload;
    if let Origin::History(via) = origin {
        return Naming {
            kind,
            name,
            class: Class::Rollback,
            via: via.cloned(),
        };
    }
    let Some(owner) = owners.above(origin, workload) else {
        return Naming {
            kind,
            name,
            class,
            via: None,
        };
    };
    let mut top = owner;
    for _ in 0..OWNERS_MAX {
        match owners.over(top, namespace) {
            Some(owner) => top = owner,
            None => break,
        }
    }
    // What the owner's own template says is read there. Where it is not (an owner of an unknown
    // kind), history cannot be told from the present, and the stronger class is the safe one.
    let is_history = origin == Origin::Kubernetes
        && match (&**kind, &*owner.kind) {
            ("ReplicaSet", "Deployment") | ("ControllerRevision", "StatefulSet" | "DaemonSet")
                if owner.is_native =>
            {
                true
            }
            ("ReplicaSet" | "ControllerRevision", _) => owners.is_custom(owner, namespace),
            _ => false,
        };
    Naming {
        kind: &top.kind,
        name: &top.name,
        class: if is_history { Class::Rollback } else { class },
        via: Some(Via::Object(format!("{kind}/{name}").into())),
    }
}

/// The secrets that the node would use, and whether they are known.
fn pull_secrets(
    origin: Origin<'_>,
    workload: &Workload,
    account: impl Fn(&str, &str) -> Account,
) -> (Arc<[Arc<str>]>, bool) {
    let own = &workload.images.pull_secrets;
    // Admission gives a pod its account's secrets only if it has none of its own (the API server's
    // ServiceAccount plugin), and the kubelet asks the pod alone. So a Pod that exists is final.
    let is_pod = origin == Origin::Kubernetes && &*workload.kind == "Pod";
    if !own.is_empty() || is_pod {
        return (Arc::clone(own), true);
    }
    match account(&workload.namespace, &workload.images.service_account) {
        Account::Known(names) => (names, true),
        Account::Unknown(name) => ([name].into(), false),
    }
}
