//! What is known of one cluster: the records of each resource, and how healthy its reading is.
//!
//! Pure: it is told of pages, events and failures, with the time, and says what follows. A resource
//! that fails keeps its last complete records; only a whole new list replaces them.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use jiff::Timestamp;

use crate::inventory::extract::{
    Account, Interner, Object, Scope, Workload, image_uses, secret_names,
};
use crate::inventory::{ImageUse, summary};
use crate::oci::platform::Platform;

use super::api::Failure;
use super::kinds::{Content, KINDS, Kind};
use super::uses::Uses;

/// The name that stands in for the secrets of a service account which cannot be read. No secret
/// has a colon in its name.
const ACCOUNT_PREFIX: &str = "serviceaccount:";

#[derive(Debug)]
pub(super) struct World {
    scope: Scope,
    units: Vec<Unit>,
    interner: Interner,
    uses: Uses,
    /// When everything was last known to be complete.
    complete_at: Option<Timestamp>,
}

/// One resource in one namespace or in all.
#[derive(Debug)]
struct Unit {
    kind: &'static Kind,
    namespace: Option<Arc<str>>,
    records: Records,
    health: Health,
    /// When the server last said something of it.
    heard_at: Option<Timestamp>,
}

/// By namespace and name.
pub(super) type Records = BTreeMap<(Arc<str>, Arc<str>), Record>;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record {
    Workload(Workload),
    Account(Arc<[Arc<str>]>),
    Node(Platform),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Health {
    Unread,
    Well,
    /// 403
    Refused(String),
    Failing(String),
}

/// All that is to be published, but for the pull secrets.
#[derive(Debug)]
pub(super) struct View {
    /// The same allocation as in the view before where nothing is different.
    pub uses: Arc<[ImageUse]>,
    pub incomplete: Option<String>,
    pub complete_at: Option<Timestamp>,
    pub platforms: Option<Vec<Platform>>,
    /// Why service accounts cannot be read, by the namespace of a use.
    accounts_refused: Vec<(Option<Arc<str>>, String)>,
}

impl View {
    /// Why the secrets behind such a name are unknown; `None` if it is a secret's.
    pub(super) fn account_problem(&self, namespace: &str, secret: &str) -> Option<String> {
        secret.strip_prefix(ACCOUNT_PREFIX)?;
        let problem = self
            .accounts_refused
            .iter()
            .find(|(scope, _)| scope.as_deref().is_none_or(|scope| scope == namespace))
            .map_or("it was not read yet", |(_, problem)| problem);
        Some(problem.to_owned())
    }
}

impl World {
    /// `namespaces`: none means all.
    pub(super) fn new(scope: Scope, namespaces: &[String]) -> Self {
        let mut units = Vec::new();
        for kind in &KINDS {
            let everywhere = namespaces.is_empty() || kind.content == Content::Node;
            let scopes: Vec<Option<Arc<str>>> = if everywhere {
                vec![None]
            } else {
                namespaces
                    .iter()
                    .map(|namespace| Some(namespace.as_str().into()))
                    .collect()
            };
            units.extend(scopes.into_iter().map(|namespace| Unit {
                kind,
                namespace,
                records: Records::new(),
                health: Health::Unread,
                heard_at: None,
            }));
        }
        Self {
            scope,
            units,
            interner: Interner::default(),
            uses: Uses::default(),
            complete_at: None,
        }
    }

    /// How many resources there are to read.
    pub(super) fn units(&self) -> usize {
        self.units.len()
    }

    pub(super) fn kind(&self, unit: usize) -> &'static Kind {
        self.unit(unit).kind
    }

    pub(super) fn path(&self, unit: usize) -> String {
        let unit = self.unit(unit);
        unit.kind.path(unit.namespace.as_deref())
    }

    /// Reduces a page into records that are not yet anybody's.
    pub(super) fn reduce(&mut self, unit: usize, objects: Vec<Object>, records: &mut Records) {
        let kind = self.kind(unit);
        for object in objects {
            let (key, record) = reduce(kind, object, &mut self.interner);
            if let Some(record) = record {
                records.insert(key, record);
            }
        }
    }

    /// A list has been read to its end. Whether anything that is published changed.
    pub(super) fn replace(&mut self, unit: usize, records: Records, now: Timestamp) -> bool {
        let is_news = self.well(unit, now);
        let before = mem::take(&mut self.unit_mut(unit).records);
        let is_same = before == records;
        if !is_same {
            for namespace in differing(&before, &records) {
                self.uses.touch(namespace);
            }
        }
        self.unit_mut(unit).records = records;
        is_news || !is_same
    }

    pub(super) fn put(&mut self, unit: usize, object: Object, now: Timestamp) -> bool {
        let kind = self.kind(unit);
        let (key, record) = reduce(kind, object, &mut self.interner);
        let namespace = Arc::clone(&key.0);
        let unit = self.unit_mut(unit);
        unit.heard_at = Some(now);
        let is_news = match record {
            Some(record) if unit.records.get(&key) == Some(&record) => false,
            Some(record) => {
                unit.records.insert(key, record);
                true
            }
            None => unit.records.remove(&key).is_some(),
        };
        if is_news {
            self.uses.touch(&namespace);
        }
        is_news
    }

    pub(super) fn remove(&mut self, unit: usize, object: &Object, now: Timestamp) -> bool {
        let key = (
            self.interner.text(&object.metadata.namespace),
            self.interner.text(&object.metadata.name),
        );
        let unit = self.unit_mut(unit);
        unit.heard_at = Some(now);
        let is_news = unit.records.remove(&key).is_some();
        if is_news {
            self.uses.touch(&key.0);
        }
        is_news
    }

    /// The server has said something that changes no record: a bookmark, or yes to a watch.
    pub(super) fn well(&mut self, unit: usize, now: Timestamp) -> bool {
        self.unit_mut(unit).heard_at = Some(now);
        self.set_health(unit, Health::Well)
    }

    fn set_health(&mut self, unit: usize, health: Health) -> bool {
        let unit = self.unit_mut(unit);
        if unit.health == health {
            return false;
        }
        unit.health = health;
        // Whether accounts are known is a part of the uses.
        if unit.kind.content == Content::Account {
            let scope = unit.namespace.clone();
            self.uses.touch_scope(scope.as_ref());
        }
        true
    }

    pub(super) fn fail(&mut self, unit: usize, failure: &Failure) -> bool {
        let of = self.unit(unit);
        let resource = of.kind.resource();
        let text = failure.text();
        // `cronjobs.batch is forbidden: …` says itself what it is about.
        let reason = if text.starts_with(&resource) {
            text.to_owned()
        } else {
            match &of.namespace {
                Some(namespace) => format!("{resource} in {namespace}: {text}"),
                None => format!("{resource}: {text}"),
            }
        };
        let health = match failure {
            Failure::Refused(_) => Health::Refused(reason),
            Failure::Gone
            | Failure::Unauthenticated(_)
            | Failure::Absent
            | Failure::TooLarge
            | Failure::Behind(_)
            | Failure::Other(_) => Health::Failing(reason),
        };
        self.set_health(unit, health)
    }

    pub(super) fn view(&mut self) -> View {
        self.interner.prune();
        let problems: Vec<String> = self.units.iter().filter_map(Unit::problem).collect();
        if problems.is_empty() {
            // Complete as of when the most silent of them was last heard.
            let heard_at = self.units.iter().filter(|unit| unit.is_required());
            self.complete_at = heard_at
                .map(|unit| unit.heard_at)
                .min()
                .flatten()
                .max(self.complete_at);
        }
        let mut uses = mem::take(&mut self.uses);
        let all = uses.refreshed(|namespace| self.uses_of(namespace));
        self.uses = uses;
        View {
            uses: all,
            incomplete: summary(&problems),
            complete_at: self.complete_at,
            platforms: self.platforms(),
            accounts_refused: self
                .units
                .iter()
                .filter(|unit| unit.kind.content == Content::Account)
                .filter_map(|unit| match &unit.health {
                    Health::Refused(reason) | Health::Failing(reason) => {
                        Some((unit.namespace.clone(), reason.clone()))
                    }
                    Health::Unread | Health::Well => None,
                })
                .collect(),
        }
    }

    /// In one namespace, or in all.
    fn uses_of(&self, namespace: Option<&Arc<str>>) -> Vec<ImageUse> {
        let start = (namespace.map_or_else(|| "".into(), Arc::clone), "".into());
        let workloads = self
            .units
            .iter()
            .flat_map(|unit| {
                let is_in = |own: &Arc<str>| namespace.is_none_or(|namespace| own == namespace);
                let records = unit.records.range(&start..);
                records.take_while(move |((own, _), _)| is_in(own))
            })
            .filter_map(|(_, record)| match record {
                Record::Workload(workload) => Some(workload),
                Record::Account(_) | Record::Node(_) => None,
            });
        let account = |namespace: &str, name: &str| self.account(namespace, name);
        image_uses(workloads, &self.scope, account)
    }

    fn account(&self, namespace: &str, name: &str) -> Account {
        let unit = self.units.iter().find(|unit| {
            unit.kind.content == Content::Account
                && unit
                    .namespace
                    .as_deref()
                    .is_none_or(|scope| scope == namespace)
        });
        let key = (namespace.into(), name.into());
        match unit {
            Some(unit) if unit.is_known() => match unit.records.get(&key) {
                Some(Record::Account(secrets)) => Account::Known(Arc::clone(secrets)),
                // One that is not there gives no secrets: those without any are not kept.
                Some(Record::Workload(_) | Record::Node(_)) | None => Account::Known([].into()),
            },
            Some(_) | None => Account::Unknown(format!("{ACCOUNT_PREFIX}{name}").into()),
        }
    }

    fn platforms(&self) -> Option<Vec<Platform>> {
        let nodes = self
            .units
            .iter()
            .find(|unit| unit.kind.content == Content::Node && unit.is_known())?;
        let mut platforms: Vec<Platform> = nodes
            .records
            .values()
            .filter_map(|record| match record {
                Record::Node(platform) => Some(platform.clone()),
                Record::Workload(_) | Record::Account(_) => None,
            })
            .collect();
        platforms.sort_unstable();
        platforms.dedup();
        // Fail closed: a cluster whose nodes are all gone for now needs what it needed, not nothing.
        (!platforms.is_empty()).then_some(platforms)
    }

    fn unit(&self, unit: usize) -> &Unit {
        self.units.get(unit).expect("units are counted by units()")
    }

    fn unit_mut(&mut self, unit: usize) -> &mut Unit {
        self.units
            .get_mut(unit)
            .expect("units are counted by units()")
    }
}

impl Unit {
    /// Why the source is not complete for it.
    fn problem(&self) -> Option<String> {
        match &self.health {
            Health::Well => None,
            Health::Unread => Some(format!("{} was not read yet", self.kind.resource())),
            Health::Refused(reason) => {
                (self.kind.content == Content::Workload).then(|| reason.clone())
            }
            Health::Failing(reason) => Some(reason.clone()),
        }
    }

    /// Whether completeness hangs on it now.
    fn is_required(&self) -> bool {
        self.kind.content == Content::Workload || !matches!(self.health, Health::Refused(_))
    }

    /// Whether its records are what the server said, now or last.
    fn is_known(&self) -> bool {
        match self.health {
            Health::Well => true,
            Health::Failing(_) => self.heard_at.is_some(),
            Health::Unread | Health::Refused(_) => false,
        }
    }
}

/// The namespaces of which the two say different things; some of them more than once.
fn differing<'a>(before: &'a Records, after: &'a Records) -> impl Iterator<Item = &'a Arc<str>> {
    let lost = before.keys().filter(|key| !after.contains_key(*key));
    let changed = after
        .iter()
        .filter(|(key, record)| before.get(*key) != Some(*record));
    lost.chain(changed.map(|(key, _)| key))
        .map(|(namespace, _)| namespace)
}

/// The 10.0.20348 of `10.0.20348.2340`: nodes that differ in the rest take the same images.
fn windows_build(kernel: &str) -> Option<String> {
    let parts: Vec<&str> = kernel.splitn(4, '.').take(3).collect();
    (parts.len() == 3).then(|| parts.join("."))
}

/// `None` for an object that says nothing.
fn reduce(
    kind: &'static Kind,
    object: Object,
    interner: &mut Interner,
) -> ((Arc<str>, Arc<str>), Option<Record>) {
    let key = (
        interner.text(&object.metadata.namespace),
        interner.text(&object.metadata.name),
    );
    let record = match kind.content {
        Content::Workload => Some(Record::Workload(object.into_workload(kind.name, interner))),
        Content::Account => {
            let secrets = secret_names(&object.image_pull_secrets, interner);
            (!secrets.is_empty()).then_some(Record::Account(secrets))
        }
        Content::Node => {
            let info = &object.status.node_info;
            let is_told = !info.operating_system.is_empty() && !info.architecture.is_empty();
            is_told.then(|| {
                // The kernel's version is what containerd compares on Windows.
                let platform = Platform::new(&info.operating_system, &info.architecture, None);
                let version = windows_build(&info.kernel_version);
                Record::Node(platform.with_os_version(version.as_deref()))
            })
        }
    };
    (key, record)
}
