//! What was named recently and is named by nothing now. Pure.
//!
//! A workload that is gone may come back: a rollback, a restore, a site that is switched on again. What
//! was seen within `keepSeen` is therefore a use of its own, of class `remembered`: kept and verified,
//! never paged. Only what is gone is held here; what is named is in the inventory anyway.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{Class, ImageUse, TopOwner, User};
use crate::oci::reference::{Reference, Sharing};
use crate::second::Second;

/// The name of the source that it is.
pub const SOURCE: &str = "ledger";
/// The kind of its user.
const KIND: &str = "Ledger";
/// What was written of all that is named is this old at most.
const WRITTEN_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// How often digests that nothing leads to any more are looked for.
const DIGESTS_EVERY: SignedDuration = SignedDuration::from_hours(24);

/// What changed and is to be written, together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    pub at: Option<Second>,
    /// Named now.
    pub named: Vec<Reference>,
    /// No longer named, and last seen then.
    pub gone: Vec<(Reference, Second)>,
    /// Seen too long ago.
    pub expired: Vec<Reference>,
    pub digests_before: Option<Second>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what changed after it.
    pub fn add(&mut self, later: Self) {
        let Self {
            at,
            named,
            gone,
            expired,
            digests_before,
        } = later;
        self.at = self.at.max(at);
        // Of what came and went only the end counts.
        if !self.gone.is_empty() && !named.is_empty() {
            let named: HashSet<&Reference> = named.iter().collect();
            self.gone
                .retain(|(reference, _)| !named.contains(reference));
        }
        if !self.named.is_empty() && !gone.is_empty() {
            let gone: HashSet<&Reference> = gone.iter().map(|(reference, _)| reference).collect();
            self.named.retain(|reference| !gone.contains(reference));
        }
        self.named.extend(named);
        self.gone.extend(gone);
        self.expired.extend(expired);
        self.digests_before = self.digests_before.max(digests_before);
    }
}

/// The memory of references.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Nothing names these; with the time of their last sighting.
    gone: BTreeMap<Reference, Second>,
    /// Named before a restart; whether they still are is not known until every source was read.
    waiting: HashSet<Reference>,
    /// When what is named last was, as it is written. A clock that is set back does not set it back.
    alive: Option<Second>,
    digests_pruned: Option<Second>,
    uses: Option<Arc<[ImageUse]>>,
}

impl Ledger {
    /// Begins with what was written: each reference with its last sighting, or none if it was named then.
    pub fn of(
        rows: impl Iterator<Item = (Reference, Option<Second>)>,
        alive: Option<Second>,
    ) -> Self {
        let mut ledger = Self {
            alive,
            ..Self::default()
        };
        let mut sharing = Sharing::default();
        for (reference, last) in rows {
            let reference = sharing.share(reference);
            match last {
                Some(last) => drop(ledger.gone.insert(reference, last)),
                None => drop(ledger.waiting.insert(reference)),
            }
        }
        ledger
    }

    /// Takes what is named now, and what was before, in order. `all_known`: every source was read in full once, so
    /// what none of them names is named by nothing.
    pub fn see<'a>(
        &mut self,
        before: impl Iterator<Item = &'a Reference>,
        mut named: HashSet<&'a Reference>,
        all_known: bool,
        now: Timestamp,
    ) -> Changes {
        let now = self.at(now);
        let mut changes = Changes::default();
        let mut last = None;
        for reference in before {
            // Two credentials' entries of one reference stand together.
            if last.replace(reference) != Some(reference) && !named.remove(reference) {
                changes.gone.push((reference.clone(), now));
            }
        }
        // What is left was not named before.
        for reference in named {
            let was_gone = self.gone.remove(reference).is_some();
            if was_gone || !self.waiting.remove(reference) {
                changes.named.push(reference.clone());
            }
        }
        if all_known {
            let last = self.alive.unwrap_or(now);
            let waiting = std::mem::take(&mut self.waiting);
            changes
                .gone
                .extend(waiting.into_iter().map(|it| (it, last)));
        }
        for (reference, last) in &changes.gone {
            self.gone.insert(reference.clone(), *last);
        }
        if !changes.is_empty() {
            changes.at = Some(now);
            self.uses = None;
        }
        changes
    }

    /// What the passing of time changes: what expires, and what is to be written again.
    pub fn pass(&mut self, now: Timestamp, keep: SignedDuration) -> Changes {
        let mut changes = Changes::default();
        let oldest = now.as_second().saturating_sub(keep.as_secs());
        let expired = self.gone.iter().filter(|(_, last)| last.get() < oldest);
        changes.expired = expired.map(|(reference, _)| reference.clone()).collect();
        for reference in &changes.expired {
            self.gone.remove(reference);
        }
        if !changes.expired.is_empty() {
            self.uses = None;
        }
        let now = self.at(now);
        let is_due = |last: Option<Second>, every: SignedDuration| {
            last.is_none_or(|last| now.get() - last.get() >= every.as_secs())
        };
        if is_due(self.digests_pruned, DIGESTS_EVERY) {
            self.digests_pruned = Some(now);
            changes.digests_before = Some(Second::new(oldest));
        }
        if is_due(self.alive, WRITTEN_EVERY) || !changes.is_empty() {
            changes.at = Some(now);
        }
        changes
    }

    /// It is on the disk.
    pub fn written(&mut self, changes: &Changes) {
        self.alive = self.alive.max(changes.at);
    }

    /// What is remembered, as uses.
    pub fn uses(&mut self) -> Arc<[ImageUse]> {
        let gone = &self.gone;
        Arc::clone(self.uses.get_or_insert_with(|| uses(gone)))
    }

    /// Whether it remembers nothing.
    pub fn is_empty(&self) -> bool {
        self.gone.is_empty()
    }

    /// Whether something was named before a restart, and may be still.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// When it was last written.
    pub fn alive(&self) -> Option<Second> {
        self.alive
    }

    /// What nothing names, with the times of the last sighting.
    pub fn gone(&self) -> Vec<(Reference, Second)> {
        let gone = self.gone.iter();
        gone.map(|(reference, last)| (reference.clone(), *last))
            .collect()
    }

    /// Never before what was written: a machine may start with a clock of 1970.
    pub fn at(&self, now: Timestamp) -> Second {
        Second::from(now).max(self.alive.unwrap_or(Second::new(0)))
    }
}

fn uses(gone: &BTreeMap<Reference, Second>) -> Arc<[ImageUse]> {
    let owner = Arc::new(TopOwner {
        kind: KIND.into(),
        name: SOURCE.into(),
        ..TopOwner::default()
    });
    let container: Arc<str> = "".into();
    let pull_secrets: Arc<[Arc<str>]> = [].into();
    let constraint = Arc::default();
    let one = |(reference, last): (&Reference, &Second)| ImageUse {
        user: Arc::new(User {
            owner: Arc::clone(&owner),
            container: Arc::clone(&container),
            image: reference.to_string().into(),
            class: Class::Remembered,
            via: None,
            since: Some(*last),
            idle: None,
        }),
        reference: Ok(reference.clone()),
        pull_secrets: Arc::clone(&pull_secrets),
        constraint: Arc::clone(&constraint),
    };
    gone.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: SignedDuration = SignedDuration::from_hours(90 * 24);

    fn day(day: i64) -> Timestamp {
        Timestamp::from_second(day * 86_400).unwrap()
    }

    fn references(names: &[&str]) -> Vec<Reference> {
        let text = names
            .iter()
            .map(|name| format!("registry.example/{name}:1"));
        text.map(|text| text.parse().unwrap()).collect()
    }

    /// What is named goes from one list to another.
    fn see(ledger: &mut Ledger, before: &[&str], now: &[&str], at: Timestamp) -> Changes {
        let (before, named) = (references(before), references(now));
        let changes = ledger.see(before.iter(), named.iter().collect(), true, at);
        ledger.written(&changes);
        changes
    }

    fn remembered(ledger: &mut Ledger) -> Vec<String> {
        let uses = ledger.uses();
        assert!(uses.iter().all(|one| one.user.class == Class::Remembered));
        let name = |one: &ImageUse| one.reference.as_ref().unwrap().repository().to_owned();
        uses.iter().map(name).collect()
    }

    #[test]
    fn what_goes_is_remembered_until_it_comes_back_or_expires() {
        let mut ledger = Ledger::default();
        let changes = see(&mut ledger, &[], &["a", "b"], day(1));
        assert_eq!((changes.named.len(), changes.gone.len()), (2, 0));
        assert!(see(&mut ledger, &["a", "b"], &["a", "b"], day(2)).is_empty());
        let changes = see(&mut ledger, &["a", "b"], &["b"], day(3));
        assert_eq!(
            changes.gone,
            [(references(&["a"]).remove(0), day(3).into())]
        );
        assert_eq!(remembered(&mut ledger), ["a"]);
        see(&mut ledger, &["b"], &["a"], day(4));
        assert_eq!(remembered(&mut ledger), ["b"]);
        // To the day, and not before.
        assert!(ledger.pass(day(94), KEEP).expired.is_empty());
        assert_eq!(remembered(&mut ledger), ["b"]);
        let late = Timestamp::from_second(94 * 86_400 + 1).unwrap();
        assert_eq!(ledger.pass(late, KEEP).expired, references(&["b"]));
        assert!(ledger.is_empty() && remembered(&mut ledger).is_empty());
    }

    #[test]
    fn a_clock_set_back_expires_nothing_and_ages_nothing() {
        let mut ledger = Ledger::default();
        see(&mut ledger, &[], &["a"], day(1000));
        see(&mut ledger, &["a"], &[], day(0));
        assert!(ledger.pass(day(0), KEEP).expired.is_empty());
        // And what went meanwhile counts from when it was known to be named.
        assert!(ledger.pass(day(1090), KEEP).expired.is_empty());
        assert_eq!(ledger.pass(day(1091), KEEP).expired.len(), 1);
    }

    #[test]
    fn what_was_named_before_a_restart_waits_until_all_is_known() {
        let rows = || {
            references(&["a", "b", "c"])
                .into_iter()
                .zip([None, None, Some(day(5).into())])
        };
        let mut ledger = Ledger::of(rows(), Some(day(9).into()));
        assert_eq!(remembered(&mut ledger), ["c"]);
        let named = references(&["b"]);
        let changes = ledger.see([].iter(), named.iter().collect(), false, day(10));
        assert!(changes.is_empty(), "{changes:?}");
        assert_eq!(remembered(&mut ledger), ["c"]);
        let changes = ledger.see(named.iter(), named.iter().collect(), true, day(10));
        assert_eq!(
            changes.gone,
            [(references(&["a"]).remove(0), day(9).into())]
        );
        assert_eq!(remembered(&mut ledger), ["a", "c"]);
    }

    #[test]
    fn what_stays_is_written_once_an_hour() {
        let mut ledger = Ledger::default();
        see(&mut ledger, &[], &["a"], day(1));
        let first = ledger.pass(day(1), KEEP);
        assert!(first.digests_before.is_some());
        ledger.written(&first);
        let after = |seconds| {
            day(1)
                .checked_add(SignedDuration::from_secs(seconds))
                .unwrap()
        };
        assert!(ledger.pass(after(3599), KEEP).is_empty());
        let changes = ledger.pass(after(3600), KEEP);
        assert_eq!(changes.at, Some(after(3600).into()));
        ledger.written(&changes);
        assert!(ledger.pass(after(3601), KEEP).is_empty());
    }
}
