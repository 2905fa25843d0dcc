//! Since when each thing was in every plan. Pure.
//!
//! What would go is told for a while before it does, so that somebody can say that it must not. What once was
//! not in a plan begins anew.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

use crate::gc::plan::Garbage;
use crate::oci::digest::Hasher;
use crate::second::Second;

/// So many plans are known by their ID. With one an hour, and each another, that is three weeks.
const PLANS_MAX: usize = 500;

/// What a row of a plan takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Link,
    /// Its bytes have a time of their own: whichever link of them is planned, and also once all of those are
    /// in quarantine.
    Data,
}

/// What is remembered of the plans that were recorded. Small, since there may be millions of rows: a plan
/// is not kept, and which of the rows of now it had is told by the number at which each came in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rehearsed {
    /// Those of the last plan, by a short digest of what each is.
    rows: HashMap<String, Known>,
    /// Their bytes, likewise.
    data: HashMap<String, Known>,
    /// The last one last, each once.
    plans: Vec<Recorded>,
}

/// A plan that was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    pub plan: String,
    number: u64,
    /// When it was first recorded, since another was.
    pub at: Second,
}

/// Since when it was in every plan, and since which number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Known(Second, u64);

impl Rehearsed {
    /// With the rows of a plan of now, and without what is not among them.
    #[must_use]
    pub fn with<'a>(
        &self,
        plan: &str,
        rows: impl Iterator<Item = Garbage<'a>>,
        now: Second,
    ) -> Self {
        let last = self.plans.last();
        let is_same = last.is_some_and(|last| last.plan == plan);
        let number = last.map_or(0, |last| last.number) + u64::from(!is_same);
        let known = |before: &HashMap<String, Known>, key: String| {
            let before = before.get(&key).copied();
            // A clock that was set back does not make it older.
            let since = before.map_or(now, |Known(since, _)| since.min(now));
            let first = before.map_or(number, |Known(_, first)| first);
            (key, Known(since, first))
        };
        let (rows, data): (Vec<_>, Vec<_>) = rows.map(|row| (key(&row), data_key(&row))).unzip();
        let rows = rows.into_iter().map(|key| known(&self.rows, key)).collect();
        let data = data.into_iter().flatten();
        let data = data.map(|key| known(&self.data, key)).collect();
        let mut plans = self.plans.clone();
        if !is_same {
            plans.retain(|it| it.plan != plan);
            plans.push(Recorded {
                plan: plan.to_owned(),
                number,
                at: now,
            });
            plans.drain(..plans.len().saturating_sub(PLANS_MAX));
        }
        Self { rows, data, plans }
    }

    /// The plans that are known by their ID, the last one last.
    pub fn plans(&self) -> &[Recorded] {
        &self.plans
    }

    /// Since when the row that is in the plans for the longest is.
    pub fn oldest(&self) -> Option<Second> {
        self.rows.values().map(|Known(since, _)| *since).min()
    }

    /// How many rows are in every plan for so long.
    pub fn count(&self, long: Duration, now: Timestamp) -> usize {
        let rows = self.rows.values();
        rows.filter(|known| known.lasts(long, now)).count()
    }

    /// Since when a row was in every plan, as the link that it is, or as bytes without any.
    pub fn since(&self, row: &Garbage<'_>) -> Option<Second> {
        let known = self.rows.get(&key(row))?;
        Some(known.0)
    }

    /// Whether what a row takes was in every plan for so long.
    pub fn has(&self, row: &Garbage<'_>, part: Part, long: Duration, now: Timestamp) -> bool {
        let known = self.known(row, part);
        known.is_some_and(|known| known.lasts(long, now))
    }

    /// Whether what a row takes was in this plan. What was not in every plan since is taken for what was not
    /// in it.
    pub fn was_in(&self, plan: &Recorded, row: &Garbage<'_>, part: Part) -> bool {
        let known = self.known(row, part);
        known.is_some_and(|Known(_, first)| first <= plan.number)
    }

    fn known(&self, row: &Garbage<'_>, part: Part) -> Option<Known> {
        let known = match part {
            Part::Link => self.rows.get(&key(row)),
            Part::Data => self.data.get(&data_key(row)?),
        };
        known.copied()
    }
}

impl Known {
    fn lasts(self, long: Duration, now: Timestamp) -> bool {
        let long = i64::try_from(long.as_secs()).unwrap_or(i64::MAX);
        now.as_second().saturating_sub(self.0.get()) >= long
    }
}

fn key(row: &Garbage<'_>) -> String {
    let (repository, tag) = (row.repository, row.tag);
    short(&[
        row.kind.as_str(),
        repository.map_or("", |it| it),
        tag.map_or("", |it| it),
        &row.digest.to_string(),
    ])
}

fn data_key(row: &Garbage<'_>) -> Option<String> {
    let digest = row.digest.to_string();
    row.has_data.then(|| short(&[&digest]))
}

fn short(parts: &[&str]) -> String {
    let mut hasher = Hasher::default();
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update(b"\n");
    }
    let key = hasher.finish().hex();
    key.get(..24).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::gc::plan::{Kind, Reason};
    use crate::oci::digest::Digest;

    #[test]
    fn what_was_in_every_plan_for_long_enough_may_go() {
        let row = |text: &str| Garbage {
            kind: Kind::Layer,
            digest: Digest::of(text.as_bytes()),
            repository: None,
            tag: None,
            bytes: 1,
            has_data: true,
            reason: Reason::Unlinked,
        };
        let at = |second| Timestamp::from_second(second).unwrap();
        let has = |of: &Rehearsed, text: &str, now| {
            of.has(&row(text), Part::Data, Duration::from_secs(100), at(now))
        };
        let first =
            Rehearsed::default().with("1", [row("a"), row("b")].into_iter(), Second::new(1000));
        assert!(!has(&first, "a", 1099) && has(&first, "a", 1100) && !has(&first, "c", 2000));
        // One was needed in between.
        let second = first.with("2", [row("a")].into_iter(), Second::new(1050));
        let third = second.with("3", [row("a"), row("b")].into_iter(), Second::new(1100));
        assert!(has(&third, "a", 1100) && !has(&third, "b", 1100) && has(&third, "b", 1200));
        assert_eq!(third.count(Duration::from_secs(100), at(1100)), 1);
        assert_eq!(third.oldest(), Some(Second::new(1000)));
        let text = serde_json::to_vec(&third).unwrap();
        assert_eq!(serde_json::from_slice::<Rehearsed>(&text).unwrap(), third);
    }

    #[test]
    fn bytes_go_on_where_their_link_is_in_quarantine_and_not_the_other_way_round() {
        let (repository, digest) = (Arc::from("app"), Digest::of(b"a"));
        let linked = Garbage {
            kind: Kind::Manifest,
            digest,
            repository: Some(&repository),
            tag: None,
            bytes: 1,
            has_data: true,
            reason: Reason::Untagged,
        };
        let unlinked = Garbage {
            repository: None,
            ..linked
        };
        let now = Timestamp::from_second(200).unwrap();
        let has = |of: &Rehearsed, row, part| of.has(row, part, Duration::from_secs(100), now);
        // A run plans for the link as if it were there; a daemon between two runs does not see it.
        let first = Rehearsed::default().with("1", [linked].into_iter(), Second::new(100));
        let second = first.with("2", [unlinked].into_iter(), Second::new(150));
        let third = second.with("3", [linked].into_iter(), Second::new(200));
        assert!(has(&third, &linked, Part::Data) && !has(&third, &linked, Part::Link));
        // Since when nothing links them is no older than that.
        assert_eq!(second.since(&unlinked), Some(Second::new(150)));
    }

    #[test]
    fn a_plan_by_its_id_had_what_is_in_every_plan_since() {
        let row = |text: &str, has_data| Garbage {
            kind: Kind::Manifest,
            digest: Digest::of(text.as_bytes()),
            repository: None,
            tag: None,
            bytes: 1,
            has_data,
            reason: Reason::Untagged,
        };
        let (a, b, c) = (row("a", true), row("b", true), row("c", true));
        let with = |of: &Rehearsed, plan: &str, rows: &[Garbage<'static>], at| {
            of.with(plan, rows.iter().copied(), Second::new(at))
        };
        let had = |of: &Rehearsed, plan: &str, row: &Garbage<'_>| {
            let plans = of.plans().iter();
            let plan = plans.clone().find(|it| it.plan == plan).unwrap();
            let parts = [Part::Link, Part::Data].into_iter();
            let mut parts = parts.filter(|part| *part == Part::Link || row.has_data);
            parts.all(|part| of.was_in(plan, row, part))
        };
        let first = with(&Rehearsed::default(), "1", &[a, b], 100);
        // By numbers, not by times: it is the same second, or one of a clock that was set back.
        let second = with(&first, "2", &[a, b, c], 100);
        let third = with(&second, "3", &[a, c], 50);
        let fourth = with(&third, "4", &[a, b, c], 200);
        assert!(had(&fourth, "1", &a) && !had(&fourth, "1", &c));
        assert!(had(&fourth, "2", &c) && had(&fourth, "3", &c));
        // It was in the first, and somebody needed it since.
        assert!(!had(&fourth, "1", &b) && had(&fourth, "4", &b));
        // The same plan again is the same plan, and one that comes again is as it is now.
        let again = with(&fourth, "4", &[a, b, c], 300);
        assert_eq!(again.plans(), fourth.plans());
        let back = with(&again, "1", &[a, b], 400);
        assert_eq!(back.plans().len(), 4);
        assert!(had(&back, "1", &b));

        // Its link was in it, and its bytes were another's then.
        let link = with(&Rehearsed::default(), "1", &[row("a", false)], 100);
        let bytes = with(&link, "2", &[a], 200);
        assert!(had(&bytes, "1", &row("a", false)) && !had(&bytes, "1", &a));
        assert!(had(&bytes, "2", &a));
    }

    #[test]
    fn the_last_plans_are_known_by_their_id() {
        let mut all = Rehearsed::default();
        for number in 0..PLANS_MAX + 10 {
            all = all.with(&number.to_string(), std::iter::empty(), Second::new(1));
        }
        assert_eq!(all.plans().len(), PLANS_MAX);
        assert_eq!(all.plans()[0].plan, "10");
    }
}
