//! What is known of one cluster: the records of each resource, and how healthy its reading is.
//!
//! Pure: it is told of pages, events and failures, with the time, and says what follows. A resource
//! that fails keeps its last complete records; only a whole new list replaces them.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use jiff::Timestamp;

use crate::inventory::extract::{
    Account, Extracted, Interner, Object, Origin, Scope, Workload, image_uses_of, secret_names,
};
use crate::inventory::{ImageUse, summary};
use crate::oci::platform::Platform;

use super::Beyond;
use super::api::{Body, Failure, Item};
use super::discovery::DISCOVERY_INTERVAL;
use super::kinds::{Content, KINDS, Kind, Resource};
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
    kind: Arc<Kind>,
    namespace: Option<Arc<str>>,
    records: Records,
    health: Health,
    /// When the server last said something of it.
    heard_at: Option<Timestamp>,
    /// Whether discovery has had it, and since when it has not.
    was_installed: bool,
    gone_at: Option<Timestamp>,
}

/// By namespace and name.
pub(super) type Records = BTreeMap<(Arc<str>, Arc<str>), Record>;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record {
    Workload(Workload),
    Account(Arc<[Arc<str>]>),
    Node(Platform),
    Extracted(Box<Extracted>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Health {
    Unread,
    Well,
    /// Proven not to be there.
    NotInstalled,
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
    /// What is not granted or not there, and need not be.
    pub absent: Vec<String>,
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
    pub(super) fn new(scope: Scope, namespaces: &[String], beyond: &Beyond) -> Self {
        let mut units = Vec::new();
        let custom = beyond.custom_resources.iter().map(Kind::custom);
        let mentions = beyond.mentions.as_ref().map(|_| Kind::config_map());
        let releases = Kind::releases(beyond.releases);
        let all = KINDS.iter().cloned().chain(custom).chain(mentions);
        for kind in all.chain(releases) {
            let kind = Arc::new(match &beyond.mentions {
                Some(hosts) => kind.searched(hosts),
                None => kind,
            });
            let everywhere = namespaces.is_empty() || !kind.is_namespaced();
            let scopes: Vec<Option<Arc<str>>> = if everywhere {
                vec![None]
            } else {
                namespaces
                    .iter()
                    .map(|namespace| Some(namespace.as_str().into()))
                    .collect()
            };
            units.extend(scopes.into_iter().map(|namespace| Unit {
                kind: Arc::clone(&kind),
                namespace,
                records: Records::new(),
                health: Health::Unread,
                heard_at: None,
                was_installed: false,
                gone_at: None,
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

    pub(super) fn kind(&self, unit: usize) -> Arc<Kind> {
        Arc::clone(&self.unit(unit).kind)
    }

    pub(super) fn resource(&self, unit: usize) -> Resource {
        let unit = self.unit(unit);
        unit.kind.address(unit.namespace.as_deref())
    }

    /// Discovery has it.
    pub(super) fn found(&mut self, unit: usize, kind: Kind) -> bool {
        let unit = self.unit_mut(unit);
        unit.was_installed = true;
        unit.gone_at = None;
        if *unit.kind != kind {
            unit.kind = Arc::new(kind);
        }
        false
    }

    /// Reduces a page into records that are not yet anybody's.
    pub(super) fn reduce(&mut self, unit: usize, items: Vec<Item>, records: &mut Records) {
        let kind = self.kind(unit);
        for item in items {
            let (key, record) = reduce(&kind, item, &mut self.interner);
            if let Some(mut record) = record {
                if let Some(before) = self.unit(unit).records.get(&key) {
                    record.keep(before);
                }
                records.insert(key, record);
            }
        }
    }

    /// A list has been read to its end. Whether anything that is published changed.
    pub(super) fn replace(&mut self, unit: usize, records: Records, now: Timestamp) -> bool {
        let is_news = self.well(unit, now);
        let before = mem::take(&mut self.unit_mut(unit).records);
        let is_same = before == records;
        for (namespace, record) in differing(&before, &records) {
            self.uses.touch_record(namespace, record);
        }
        self.unit_mut(unit).records = records;
        is_news || !is_same
    }

    pub(super) fn put(&mut self, unit: usize, item: Item, now: Timestamp) -> bool {
        let kind = self.kind(unit);
        let (key, record) = reduce(&kind, item, &mut self.interner);
        let Some(mut record) = record else {
            return self.take(unit, &key, now);
        };
        let namespace = Arc::clone(&key.0);
        let unit = self
            .units
            .get_mut(unit)
            .expect("units are counted by units()");
        unit.heard_at = Some(now);
        if let Some(before) = unit.records.get(&key) {
            if *before == record {
                return false;
            }
            record.keep(before);
            self.uses.touch_record(&namespace, before);
        }
        self.uses.touch_record(&namespace, &record);
        unit.records.insert(key, record);
        true
    }

    pub(super) fn remove(&mut self, unit: usize, item: &Item, now: Timestamp) -> bool {
        let key = (
            self.interner.text(item.namespace()),
            self.interner.text(item.name()),
        );
        self.take(unit, &key, now)
    }

    fn take(&mut self, unit: usize, key: &(Arc<str>, Arc<str>), now: Timestamp) -> bool {
        let unit = self.unit_mut(unit);
        unit.heard_at = Some(now);
        let Some(record) = unit.records.remove(key) else {
            return false;
        };
        self.uses.touch_record(&key.0, &record);
        true
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

    pub(super) fn fail(&mut self, unit: usize, failure: &Failure, now: Timestamp) -> bool {
        if *failure == Failure::NotInstalled {
            let is_news = self.unit_mut(unit).not_installed(now);
            if is_news {
                self.uses.touch_scope(None);
            }
            return is_news;
        }
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
            | Failure::NotInstalled
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
            absent: self.absent(),
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
                    Health::Unread | Health::Well | Health::NotInstalled => None,
                })
                .collect(),
        }
    }

    /// In one namespace, or in all.
    fn uses_of(&self, namespace: Option<&Arc<str>>) -> Vec<ImageUse> {
        let is_in = |workload: &Workload| namespace.is_none_or(|it| *it == workload.namespace);
        let records = self
            .units
            .iter()
            .flat_map(|unit| unit.records_in(namespace));
        let workloads = records.clone().flat_map(|record| {
            let (origin, workloads): (_, &[Workload]) = match record {
                Record::Workload(workload) => (Origin::Kubernetes, std::slice::from_ref(workload)),
                Record::Extracted(extracted) => (Origin::Custom, &extracted.workloads),
                Record::Account(_) | Record::Node(_) => (Origin::Kubernetes, &[]),
            };
            workloads.iter().map(move |workload| (origin, workload))
        });
        let history = records.flat_map(|record| {
            let history: &[_] = match record {
                Record::Extracted(extracted) => &extracted.history,
                Record::Workload(_) | Record::Account(_) | Record::Node(_) => &[],
            };
            let history = history.iter();
            history.map(|(via, workload)| (Origin::History(via.as_ref()), workload))
        });
        let all = workloads.chain(history);
        let all = all.filter(|(_, workload)| is_in(workload));
        let account = |namespace: &str, name: &str| self.account(namespace, name);
        image_uses_of(all, &self.scope, account)
    }

    fn absent(&self) -> Vec<String> {
        let mut absent: Vec<String> = self.units.iter().filter_map(Unit::absent).collect();
        absent.sort_unstable();
        absent.dedup();
        absent
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
                Some(Record::Workload(_) | Record::Node(_) | Record::Extracted(_)) | None => {
                    Account::Known([].into())
                }
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
                Record::Workload(_) | Record::Account(_) | Record::Extracted(_) => None,
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
    /// Those that may tell of a namespace; all of them if none is given.
    fn records_in(&self, namespace: Option<&Arc<str>>) -> impl Iterator<Item = &Record> + Clone {
        // What tells of others (a release, an application) does so from a namespace of its own.
        let own = match self.kind.content {
            Content::Custom(_) | Content::Teller(_) | Content::Helm => None,
            Content::Workload | Content::Account | Content::Node | Content::Mentions => {
                namespace.cloned()
            }
        };
        let start = (own.clone().unwrap_or_default(), Arc::<str>::default());
        let records = self.records.range(start..);
        let is_in = move |key: &Arc<str>| own.as_ref().is_none_or(|own| own == key);
        let records = records.take_while(move |((namespace, _), _)| is_in(namespace));
        records.map(|(_, record)| record)
    }

    /// Why the source is not complete for it.
    fn problem(&self) -> Option<String> {
        match &self.health {
            Health::Well => self.malformed(),
            Health::NotInstalled => None,
            Health::Unread => Some(format!("{} was not read yet", self.kind.resource())),
            Health::Refused(reason) => (!self.may_be_refused()).then(|| reason.clone()),
            Health::Failing(reason) => Some(reason.clone()),
        }
    }

    /// What of its objects cannot be read: the first of them, and how many there are.
    fn malformed(&self) -> Option<String> {
        if self.kind.content == Content::Workload {
            return None;
        }
        let mut malformed = self.records.values().filter_map(|record| match record {
            Record::Extracted(extracted) => extracted.problem.as_deref(),
            Record::Workload(_) | Record::Account(_) | Record::Node(_) => None,
        });
        let first = malformed.next()?;
        Some(match malformed.count() {
            0 => first.to_owned(),
            more => format!("{first} (and {more} more of them)"),
        })
    }

    /// What it lacks without being incomplete for it.
    fn absent(&self) -> Option<String> {
        match &self.health {
            Health::NotInstalled => {
                let Kind { group, version, .. } = &*self.kind;
                let resource = self.kind.resource();
                Some(format!("{resource}: {group}/{version} has no such kind"))
            }
            Health::Refused(reason) if self.may_be_refused() => Some(reason.clone()),
            Health::Refused(_) | Health::Unread | Health::Well | Health::Failing(_) => None,
        }
    }

    /// Whether the images are known without it.
    fn may_be_refused(&self) -> bool {
        match self.kind.content {
            Content::Account | Content::Node | Content::Mentions => true,
            Content::Workload | Content::Custom(_) | Content::Teller(_) | Content::Helm => false,
        }
    }

    /// Whether completeness hangs on it now.
    fn is_required(&self) -> bool {
        !self.may_be_refused() || !matches!(self.health, Health::Refused(_))
    }

    /// Discovery answered, and does not have it. What was there before is believed to be gone when it
    /// says so again after its interval: a server that has just started may not know all it has.
    fn not_installed(&mut self, now: Timestamp) -> bool {
        let since = *self.gone_at.get_or_insert(now);
        let interval = jiff::SignedDuration::try_from(DISCOVERY_INTERVAL).unwrap_or_default();
        let is_gone = !self.was_installed || now.duration_since(since) >= interval;
        let health = if is_gone {
            self.was_installed = false;
            self.heard_at = Some(now);
            Health::NotInstalled
        } else {
            Health::Failing(format!(
                "{}: it was installed and is gone; asking again",
                self.kind.resource()
            ))
        };
        let had_records = is_gone && !mem::take(&mut self.records).is_empty();
        let is_news = mem::replace(&mut self.health, health.clone()) != health;
        is_news || had_records
    }

    /// Whether its records are what the server said, now or last.
    fn is_known(&self) -> bool {
        match self.health {
            Health::Well => true,
            Health::Failing(_) => self.heard_at.is_some(),
            Health::Unread | Health::Refused(_) | Health::NotInstalled => false,
        }
    }
}

/// The records that only one of the two has, with their namespaces.
fn differing<'a>(
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

/// The 10.0.20348 of `10.0.20348.2340`: nodes that differ in the rest take the same images.
fn windows_build(kernel: &str) -> Option<String> {
    let parts: Vec<&str> = kernel.splitn(4, '.').take(3).collect();
    (parts.len() == 3).then(|| parts.join("."))
}

impl Record {
    /// Where an object cannot be read in full, what it said before is kept beside what it says now.
    fn keep(&mut self, before: &Self) {
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
fn reduce(
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
            let says_nothing = extracted == Extracted::default();
            (!says_nothing).then(|| Record::Extracted(Box::new(extracted)))
        }
        (Content::Teller(teller), Body::Free(object)) => {
            let extracted = teller.extract(&object, interner);
            let says_nothing = extracted == Extracted::default();
            (!says_nothing).then(|| Record::Extracted(Box::new(extracted)))
        }
        (Content::Helm, Body::Release(secret)) => {
            let extracted = match secret.release {
                Ok(release) => release.extract(&key.1, interner),
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
        (Content::Mentions, Body::Names(_)) => {
            (!mentions.is_empty()).then(|| Record::Workload(of_mentions(interner)))
        }
        (_, Body::Free(_) | Body::Typed(_) | Body::Names(_) | Body::Release(_)) => {
            unreachable!("a resource's shape follows from its content")
        }
    };
    (key, record)
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
