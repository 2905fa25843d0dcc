//! One resource of a cluster: what is known of its objects, and how healthy its reading is.

use std::mem;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::discovery::DISCOVERY_INTERVAL;
use super::kinds::{Content, Kind};
use super::record::{Record, Records};

/// One resource in one namespace or in all.
#[derive(Debug)]
pub(super) struct Unit {
    pub kind: Arc<Kind>,
    pub namespace: Option<Arc<str>>,
    pub records: Records,
    pub health: Health,
    /// When the server last said something of it.
    pub heard_at: Option<Timestamp>,
    /// Whether discovery has had it, and since when it has not.
    pub was_installed: bool,
    pub gone_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Health {
    Unread,
    Well,
    /// Proven not to be there.
    NotInstalled,
    /// 403
    Refused(String),
    Failing(String),
}

impl Unit {
    pub(super) fn new(kind: Arc<Kind>, namespace: Option<Arc<str>>) -> Self {
        Self {
            kind,
            namespace,
            records: Records::new(),
            health: Health::Unread,
            heard_at: None,
            was_installed: false,
            gone_at: None,
        }
    }

    /// Those that may tell of a namespace; all of them if none is given.
    pub(super) fn records_in(
        &self,
        namespace: Option<&Arc<str>>,
    ) -> impl Iterator<Item = &Record> + Clone + use<'_> {
        // What tells of others (a release, an application) does so from a namespace of its own.
        let own = match self.kind.content {
            Content::Custom(_) | Content::Teller(_) | Content::Helm(_) => None,
            Content::Workload
            | Content::Account
            | Content::Node
            | Content::Namespace
            | Content::Mentions
            | Content::Event => namespace.cloned(),
        };
        let start = (own.clone().unwrap_or_default(), Arc::<str>::default());
        let records = self.records.range(start..);
        let is_in = move |key: &Arc<str>| own.as_ref().is_none_or(|own| own == key);
        let records = records.take_while(move |((namespace, _), _)| is_in(namespace));
        records.map(|(_, record)| record)
    }

    /// Whether the source is not complete for it since it was never read.
    pub(super) fn is_awaited(&self) -> bool {
        !self.is_a_side() && matches!(self.health, Health::Unread)
    }

    /// Why the source is not complete for it.
    pub(super) fn problem(&self) -> Option<String> {
        if self.is_a_side() {
            return None;
        }
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
        if matches!(self.kind.content, Content::Workload | Content::Event) {
            return None;
        }
        let mut malformed = self.records.values().filter_map(|record| match record {
            Record::Extracted(extracted) => extracted.problem.as_deref(),
            Record::Workload(_)
            | Record::Account(_)
            | Record::Node(_)
            | Record::Namespace(_)
            | Record::Word(_) => None,
        });
        let first = malformed.next()?;
        Some(match malformed.count() {
            0 => first.to_owned(),
            more => format!("{first} (and {more} more of them)"),
        })
    }

    /// What it lacks without being incomplete for it.
    pub(super) fn absent(&self) -> Option<String> {
        match &self.health {
            Health::NotInstalled => {
                let Kind { group, version, .. } = &*self.kind;
                let resource = self.kind.resource();
                Some(format!("{resource}: {group}/{version} has no such kind"))
            }
            Health::Refused(reason) if self.may_be_refused() => Some(reason.clone()),
            Health::Failing(reason) if self.kind.content == Content::Namespace => {
                Some(reason.clone())
            }
            Health::Well => self.unread(),
            Health::Refused(_) | Health::Unread | Health::Failing(_) => None,
        }
    }

    /// What of its objects nobody asked to be read: the first, and how many there are.
    fn unread(&self) -> Option<String> {
        if !matches!(self.kind.content, Content::Helm(_)) {
            return None;
        }
        let mut unread = self.records.values().filter_map(|record| match record {
            Record::Extracted(extracted) => extracted.unread.as_deref(),
            Record::Workload(_)
            | Record::Account(_)
            | Record::Node(_)
            | Record::Namespace(_)
            | Record::Word(_) => None,
        });
        let first = unread.next()?;
        Some(match unread.count() {
            0 => first.to_owned(),
            more => format!("{first} (and in {more} more releases)"),
        })
    }

    /// Whether it says nothing of what is used, only of what is told about it: the source is as complete
    /// without it.
    fn is_a_side(&self) -> bool {
        matches!(self.kind.content, Content::Event | Content::Namespace)
    }

    /// Whether the images are known without it.
    fn may_be_refused(&self) -> bool {
        match self.kind.content {
            Content::Account
            | Content::Node
            | Content::Namespace
            | Content::Mentions
            | Content::Event => true,
            Content::Workload | Content::Custom(_) | Content::Teller(_) | Content::Helm(_) => false,
        }
    }

    /// Whether completeness hangs on it now.
    pub(super) fn is_required(&self) -> bool {
        !self.is_a_side() && (!self.may_be_refused() || !matches!(self.health, Health::Refused(_)))
    }

    /// Discovery answered, and does not have it. What was there before is believed to be gone when it
    /// says so again after its interval: a server that has just started may not know all it has.
    pub(super) fn not_installed(&mut self, now: Timestamp) -> bool {
        let since = *self.gone_at.get_or_insert(now);
        let interval = SignedDuration::try_from(DISCOVERY_INTERVAL).unwrap_or_default();
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
    pub(super) fn is_known(&self) -> bool {
        match self.health {
            Health::Well => true,
            Health::Failing(_) => self.heard_at.is_some(),
            Health::Unread | Health::Refused(_) | Health::NotInstalled => false,
        }
    }
}
