//! What is known of one cluster: the records of each resource, and how healthy its reading is.
//!
//! Pure: it is told of pages, events and failures, with the time, and says what follows. A resource
//! that fails keeps its last complete records; only a whole new list replaces them.

use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;

use jiff::Timestamp;

use crate::inventory::extract::{
    Account, Interner, Origin, Scope, Workload, image_uses_of, marked,
};
use crate::inventory::marks::{Chosen, Marked, MarkedNamespace, Marks};
use crate::inventory::running::{EventObject, Pull, RunningUse, Words, running_uses};
use crate::inventory::{ImageUse, summary};
use crate::oci::platform::Platform;

use super::api::Failure;
use super::item::{Body, Item};
use super::kinds::{Content, KINDS, Kind, Resource};
use super::misses::misses;
use super::record::{Record, Records, differing, reduce, word};
use super::unit::{Health, Unit};
use super::uses::Uses;
use super::{Beyond, IsBroken};

/// The name that stands in for the secrets of a service account which cannot be read. No secret
/// has a colon in its name.
const ACCOUNT_PREFIX: &str = "serviceaccount:";

/// Most words of kubelets that are kept; where there are more, statuses have to do.
const WORDS_MAX: usize = 10_000;

#[derive(Debug)]
pub(super) struct World {
    scope: Scope,
    units: Vec<Unit>,
    interner: Interner,
    uses: Uses,
    is_broken: IsBroken,
    /// When everything was last known to be complete.
    complete_at: Option<Timestamp>,
}

/// All that is to be published, but for the pull secrets.
#[derive(Debug)]
pub(super) struct View {
    /// The same allocation as in the view before where nothing is different.
    pub uses: Arc<[ImageUse]>,
    pub running: Arc<[Arc<RunningUse>]>,
    pub incomplete: Option<String>,
    /// Something of it was neither read nor refused so far.
    pub is_awaited: bool,
    /// What is not granted or not there, and need not be.
    pub absent: Vec<String>,
    pub complete_at: Option<Timestamp>,
    pub platforms: Option<Vec<Platform>>,
    pub marks: Marks,
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
    pub(super) fn new(
        scope: Scope,
        namespaces: &[String],
        beyond: &Beyond,
        labels: &Arc<[Chosen]>,
    ) -> Self {
        let mut units = Vec::new();
        let custom = beyond.custom_resources.iter().map(Kind::custom);
        let mentions = beyond.mentions.as_ref().map(|_| Kind::config_map());
        let releases = Kind::releases(beyond.releases, &beyond.custom_resources);
        let all = KINDS.iter().cloned().chain(custom).chain(mentions);
        let all = all.chain([Kind::events()]);
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
            let units_of_kind = scopes.into_iter();
            units.extend(units_of_kind.map(|it| Unit::new(Arc::clone(&kind), it)));
        }
        Self {
            scope,
            units,
            interner: Interner::choosing(labels),
            uses: Uses::default(),
            is_broken: IsBroken::default(),
            complete_at: None,
        }
    }

    /// Lets it know what is said to be broken.
    pub(super) fn heed(&mut self, is_broken: IsBroken) {
        self.is_broken = is_broken;
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
        if let Body::Event(event) = &item.body {
            return self.hear(unit, event, now);
        }
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

    /// Takes what an event says. Of what only says again what was said nothing is made.
    fn hear(&mut self, unit: usize, event: &EventObject, now: Timestamp) -> bool {
        self.unit_mut(unit).heard_at = Some(now);
        let Some((key, word)) = word(event, now, &mut self.interner) else {
            return false;
        };
        let is_odd = match &word.what {
            Pull::Done(image) => self.is_broken.of(image),
            Pull::Failed(_) => true,
        };
        let records = &mut self.unit_mut(unit).records;
        let is_full = records.len() >= WORDS_MAX;
        match records.get_mut(&key) {
            Some(Record::Word(before)) if before.at > word.at => return false,
            Some(Record::Word(before))
                if matches!(word.what, Pull::Failed(_)) && before.what == word.what =>
            {
                (before.at, before.event) = (word.at, word.event);
                return false;
            }
            // A success that is as we say takes back that there was a failure.
            _ if !is_odd => return self.take(unit, &key, now),
            None if is_full => return false,
            _ => {}
        }
        let record = Record::Word(Box::new(word));
        self.uses.touch_record(&key.0, &record);
        self.unit_mut(unit).records.insert(key, record);
        true
    }

    pub(super) fn remove(&mut self, unit: usize, item: &Item, now: Timestamp) -> bool {
        if let Body::Event(event) = &item.body {
            let Some((key, word)) = word(event, now, &mut self.interner) else {
                return false;
            };
            let known = self.unit(unit).records.get(&key);
            // Another event may have said something since.
            let is_last = matches!(known, Some(Record::Word(last)) if last.event == word.event);
            return is_last && self.take(unit, &key, now);
        }
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
        let problems = self.units.iter().filter_map(Unit::problem);
        let problems: Vec<String> = problems.chain(misses(&self.units)).collect();
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
        uses.refresh(
            |namespace| self.uses_of(namespace),
            |namespace, uses| running_uses(self.workloads(namespace), uses, &self.words(namespace)),
            |namespace| self.marked(namespace),
        );
        let marks = Marks::new(uses.marked(), self.marked_namespaces());
        let view = View {
            uses: uses.all(),
            running: uses.running(),
            incomplete: summary(&problems),
            is_awaited: self.units.iter().any(Unit::is_awaited),
            absent: self.absent(marks.problem()),
            complete_at: self.complete_at,
            platforms: self.platforms(),
            marks,
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
        };
        self.uses = uses;
        view
    }

    /// In one namespace, or in all.
    fn uses_of(&self, namespace: Option<&Arc<str>>) -> Vec<ImageUse> {
        let account = |namespace: &str, name: &str| self.account(namespace, name);
        let mut uses = image_uses_of(self.workloads(namespace), &self.scope, account);
        if let Some(namespace) = namespace {
            uses.retain(|it| it.user.namespace == *namespace);
        }
        uses
    }

    /// As [`World::uses_of`].
    fn marked(&self, namespace: Option<&Arc<str>>) -> Vec<Marked> {
        let mut marked = marked(self.workloads(namespace), &self.scope);
        if let Some(namespace) = namespace {
            marked.retain(|it| it.owner.namespace == *namespace);
        }
        marked
    }

    fn marked_namespaces(&self) -> Vec<MarkedNamespace> {
        let units = self.units.iter();
        let units = units.filter(|unit| unit.kind.content == Content::Namespace && unit.is_known());
        let records = units.flat_map(|unit| &unit.records);
        let marked = records.filter_map(|((_, name), record)| match record {
            Record::Namespace(mark) => Some(MarkedNamespace {
                cluster: self.scope.cluster.clone(),
                name: Arc::clone(name),
                mark: Arc::clone(mark),
            }),
            Record::Workload(_)
            | Record::Account(_)
            | Record::Node(_)
            | Record::Extracted(_)
            | Record::Word(_) => None,
        });
        marked.collect()
    }

    /// All that names images in one namespace, or in all.
    fn workloads<'a>(
        &'a self,
        namespace: Option<&'a Arc<str>>,
    ) -> impl Iterator<Item = (Origin<'a>, &'a Workload)> + Clone {
        let units = self.units.iter();
        let records = units.flat_map(move |unit| unit.records_in(namespace));
        let workloads = records.clone().flat_map(|record| {
            let (origin, workloads): (_, &[Workload]) = match record {
                Record::Workload(workload) => (Origin::Kubernetes, std::slice::from_ref(workload)),
                Record::Extracted(extracted) => (Origin::Custom, &extracted.workloads),
                Record::Account(_) | Record::Node(_) | Record::Namespace(_) | Record::Word(_) => {
                    (Origin::Kubernetes, &[])
                }
            };
            workloads.iter().map(move |workload| (origin, workload))
        });
        let history = records.flat_map(|record| {
            let history: &[_] = match record {
                Record::Extracted(extracted) => &extracted.history,
                Record::Workload(_)
                | Record::Account(_)
                | Record::Node(_)
                | Record::Namespace(_)
                | Record::Word(_) => &[],
            };
            let history = history.iter();
            history.map(|(via, workload)| (Origin::History(via.as_ref()), workload))
        });
        let all = workloads.chain(history);
        all.filter(move |(origin, workload)| {
            // A custom resource of the whole cluster may own what is in a namespace.
            let may_own = *origin == Origin::Custom && workload.namespace.is_empty();
            may_own || namespace.is_none_or(|it| *it == workload.namespace)
        })
    }

    /// What events say of Pods, in one namespace or in all.
    fn words<'a>(&'a self, namespace: Option<&'a Arc<str>>) -> Words<'a> {
        let mut words = Words::default();
        let units = self.units.iter();
        for unit in units.filter(|unit| unit.kind.content == Content::Event) {
            for ((place, _), record) in &unit.records {
                if let Record::Word(word) = record
                    && namespace.is_none_or(|namespace| namespace == place)
                {
                    words.add(place, word);
                }
            }
        }
        words
    }

    /// With what is wrong with what people say.
    fn absent(&self, problem: Option<String>) -> Vec<String> {
        let absent = self.units.iter().filter_map(Unit::absent);
        let mut absent: Vec<String> = absent.chain(problem).collect();
        // To the API server a namespace that is not there is an empty one.
        let namespaces = self.units.iter().filter_map(|unit| unit.namespace.as_ref());
        let is_empty = |namespace: &&Arc<str>| {
            let mut of = self.units.iter();
            of.all(|unit| {
                unit.namespace.as_ref() != Some(namespace)
                    || (unit.health == Health::Well && unit.records.is_empty())
            })
        };
        let empty: BTreeSet<&Arc<str>> = namespaces.filter(is_empty).collect();
        absent.extend(empty.into_iter().map(|namespace| {
            format!(
                "anything in namespace {namespace}: nothing was found there; is its name right?"
            )
        }));
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
                Some(
                    Record::Workload(_)
                    | Record::Node(_)
                    | Record::Namespace(_)
                    | Record::Extracted(_)
                    | Record::Word(_),
                )
                | None => Account::Known([].into()),
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
                Record::Workload(_)
                | Record::Account(_)
                | Record::Namespace(_)
                | Record::Extracted(_)
                | Record::Word(_) => None,
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
