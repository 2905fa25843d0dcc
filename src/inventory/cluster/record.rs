//! An object of a cluster, reduced to what is kept of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::inventory::extract::{Extracted, Interner, Object, Workload, secret_names};
use crate::inventory::marks::Mark;
use crate::inventory::running::{EventObject, Word};
use crate::oci::platform::Platform;

use super::item::{Body, Item};
use super::kinds::{Content, Kind};

/// By namespace and name.
pub(super) type Records = BTreeMap<Key, Record>;

/// Namespace and name.
pub(super) type Key = (Arc<str>, Arc<str>);

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record {
    Workload(Workload),
    Account(Arc<[Arc<str>]>),
    Node(Platform),
    Namespace(Arc<Mark>),
    Extracted(Box<Extracted>),
    Word(Box<Word>),
}

/// The 10.0.20348 of `10.0.20348.2340`: nodes that differ in the rest take the same images.
fn windows_build(kernel: &str) -> Option<String> {
    let parts: Vec<&str> = kernel.splitn(4, '.').take(3).collect();
    (parts.len() == 3).then(|| parts.join("."))
}

impl Record {
    /// Where an object cannot be read in full, what it said before is kept beside what it says now.
    pub(super) fn keep(&mut self, before: &Self) {
        if let (Self::Extracted(new), Self::Extracted(before)) = (self, before)
            && new.problem.is_some()
        {
            let lost = before.workloads.iter();
            let lost = lost.filter(|workload| !new.workloads.contains(workload));
            new.workloads = new.workloads.iter().chain(lost).cloned().collect();
            let lost = before.history.iter();
            let lost = lost.filter(|it| !new.history.contains(it));
            new.history = new.history.iter().chain(lost).cloned().collect();
        }
    }
}

/// `None` for an object that says nothing.
pub(super) fn reduce(
    kind: &Kind,
    item: Item,
    interner: &mut Interner,
) -> ((Arc<str>, Arc<str>), Option<Record>) {
    let key = (interner.text(item.namespace()), interner.text(item.name()));
    let Item { body, mentions } = item;
    let of_mentions = |interner: &mut Interner| {
        let (namespace, name) = &key;
        Workload::of_mentions(&kind.name, namespace, name, &mentions, interner)
    };
    let record = match (&kind.content, body) {
        (Content::Custom(resource), Body::Free(object)) => {
            let mut extracted = resource.extract(&object, interner);
            if !mentions.is_empty() {
                let mentioned = of_mentions(interner);
                extracted.workloads = extracted.workloads.into_iter().chain([mentioned]).collect();
            }
            // That it says nothing is counted, unless that is as it should be.
            let is_kept = !resource.may_be_empty || extracted != Extracted::default();
            is_kept.then(|| Record::Extracted(Box::new(extracted)))
        }
        (Content::Teller(teller), Body::Free(object)) => {
            let extracted = teller.extract(&object, interner);
            let says_nothing = extracted == Extracted::default();
            (!says_nothing).then(|| Record::Extracted(Box::new(extracted)))
        }
        (Content::Helm(customs), Body::Release(secret)) => {
            let extracted = match secret.release {
                Ok(release) => release.extract(&key.1, customs, interner),
                Err(problem) => Extracted {
                    problem: Some(format!("Secret {}/{}: {problem}", key.0, key.1).into()),
                    ..Extracted::default()
                },
            };
            Some(Record::Extracted(Box::new(extracted)))
        }
        (Content::Workload, Body::Typed(object)) => {
            let workload = object.into_workload(&kind.name, interner);
            Some(Record::Workload(
                workload.with_mentions(&mentions, interner),
            ))
        }
        (Content::Account, Body::Typed(object)) => {
            let secrets = secret_names(&object.image_pull_secrets, interner);
            (!secrets.is_empty()).then_some(Record::Account(secrets))
        }
        (Content::Node, Body::Typed(object)) => node(&object).map(Record::Node),
        (Content::Namespace, Body::Names(object)) => {
            interner.mark(&object.metadata).map(Record::Namespace)
        }
        (Content::Mentions, Body::Names(_)) => {
            (!mentions.is_empty()).then(|| Record::Workload(of_mentions(interner)))
        }
        // Events are taken one by one, with their time.
        (Content::Event, Body::Event(_)) => None,
        (
            _,
            Body::Free(_) | Body::Typed(_) | Body::Names(_) | Body::Release(_) | Body::Event(_),
        ) => {
            unreachable!("a resource's shape follows from its content")
        }
    };
    (key, record)
}

/// The last word on a container stands under its Pod's name and its own.
pub(super) fn word(
    event: &EventObject,
    now: Timestamp,
    interner: &mut Interner,
) -> Option<(Key, Word)> {
    let word = event.word(now, interner)?;
    let place = format!("{}/{}", word.pod, word.container);
    let namespace = interner.text(&event.metadata.namespace);
    Some(((namespace, place.into()), word))
}

fn node(object: &Object) -> Option<Platform> {
    let info = &object.status.node_info;
    let is_told = !info.operating_system.is_empty() && !info.architecture.is_empty();
    is_told.then(|| {
        // The kernel's version is what containerd compares on Windows.
        let platform = Platform::new(&info.operating_system, &info.architecture, None);
        let version = windows_build(&info.kernel_version);
        platform.with_os_version(version.as_deref())
    })
}

/// The records that only one of the two has, with their namespaces.
pub(super) fn differing<'a>(
    before: &'a Records,
    after: &'a Records,
) -> impl Iterator<Item = (&'a Arc<str>, &'a Record)> {
    let missing = |all: &'a Records, other: &'a Records| {
        let all = all.iter();
        all.filter(move |(key, record)| other.get(*key) != Some(*record))
    };
    let both = missing(before, after).chain(missing(after, before));
    both.map(|((namespace, _), record)| (namespace, record))
}
