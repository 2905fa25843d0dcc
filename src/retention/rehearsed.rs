//! Since when each tag was in every plan, and since when it is known at all. Pure.
//!
//! A tag goes only after it was to go for a while, by the same policy and with the same content, in every plan:
//! so somebody can say that it must not. What once was not in a plan begins anew.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::plan::Plan;
use super::policy::Policy;
use crate::oci::digest::Digest;
use crate::second::Second;

/// From one plan to the next no more than this counts, in seconds: a day, and an hour for a plan that is late. So
/// a clock that jumps makes nothing due, nor do weeks in which nothing was planned.
const GAP_MAX: i64 = 25 * 3600;

/// What is remembered of the tags that would go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rehearsed {
    /// By repository and tag.
    rows: BTreeMap<String, BTreeMap<String, Row>>,
    /// When the last plan was made.
    pub at: Option<Second>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    digest: Digest,
    /// The digest of what the policy says.
    policy: String,
    /// When it was planned first.
    since: Second,
    /// For how long it was in every plan by the last one, in seconds.
    #[serde(default)]
    lasted: i64,
}

impl Rehearsed {
    /// With what would go now, and without what is not among it.
    #[must_use]
    pub fn with(&self, plan: &Plan, policies: &[Policy], now: Timestamp) -> Self {
        let now = Second::from(now);
        let passed = self.passed(now);
        let hashes: Vec<String> = policies.iter().map(Policy::hash).collect();
        let mut rows: BTreeMap<String, BTreeMap<String, Row>> = BTreeMap::new();
        for it in &plan.going {
            let Some(policy) = hashes.get(it.policy) else {
                continue;
            };
            let before = self.rows.get(&*it.repository);
            let before = before.and_then(|tags| tags.get(&*it.tag));
            let same = before.filter(|row| row.digest == it.digest && row.policy == *policy);
            let row = Row {
                digest: it.digest,
                policy: policy.clone(),
                since: same.map_or(now, |row| row.since),
                lasted: same.map_or(0, |row| row.lasted.saturating_add(passed)),
            };
            let tags = rows.entry(it.repository.to_string()).or_default();
            tags.insert(it.tag.to_string(), row);
        }
        Self {
            rows,
            at: Some(now),
        }
    }

    /// What counts of the time since the last plan, in seconds. Of a clock that was set back, nothing.
    fn passed(&self, now: Second) -> i64 {
        let passed = self.at.map_or(0, |at| now.get().saturating_sub(at.get()));
        passed.clamp(0, GAP_MAX)
    }

    /// Without a tag that was deleted, or put back.
    pub fn forget(&mut self, repository: &str, tag: &str) {
        if let Some(tags) = self.rows.get_mut(repository) {
            tags.remove(tag);
        }
    }

    /// Since when a tag is in every plan.
    pub fn since(&self, repository: &str, tag: &str) -> Option<Second> {
        Some(self.rows.get(repository)?.get(tag)?.since)
    }

    /// Whether a tag is in every plan for so long.
    pub fn is_due(&self, repository: &str, tag: &str, long: Duration, now: Timestamp) -> bool {
        let long = i64::try_from(long.as_secs()).unwrap_or(i64::MAX);
        let row = self.rows.get(repository).and_then(|tags| tags.get(tag));
        let passed = self.passed(now.into());
        row.is_some_and(|row| row.lasted.saturating_add(passed) >= long)
    }

    /// Since when the tag that is in the plans for the longest is.
    pub fn oldest(&self) -> Option<Second> {
        let rows = self.rows.values().flat_map(BTreeMap::values);
        rows.map(|row| row.since).min()
    }
}

/// When each tag was seen first with what it names. For registries whose storage is not read: what they say of
/// an image's age is what whoever built it says, and reproducible builds say 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstSeen {
    /// By repository and tag.
    tags: BTreeMap<String, BTreeMap<String, (Digest, Second)>>,
    /// The latest time at which anything was seen.
    #[serde(default)]
    at: Option<Second>,
}

impl FirstSeen {
    /// With what a repository's tags name now, and without the tags that it does not have.
    pub fn see<'a>(
        &mut self,
        repository: &str,
        tags: impl Iterator<Item = (&'a str, Digest)>,
        now: Timestamp,
    ) {
        // While a clock is set back nothing is older than what was seen before it was.
        let now = Second::from(now).max(self.at.unwrap_or(Second::from(now)));
        self.at = Some(now);
        let before = self.tags.remove(repository).unwrap_or_default();
        let seen = tags.map(|(tag, digest)| {
            let before = before.get(tag).filter(|(known, _)| *known == digest);
            let since = before.map_or(now, |(_, since)| *since);
            (tag.to_owned(), (digest, since))
        });
        let seen = seen.collect();
        self.tags.insert(repository.to_owned(), seen);
    }

    /// What is not among these is forgotten.
    pub fn retain(&mut self, is_there: &dyn Fn(&str) -> bool) {
        self.tags.retain(|repository, _| is_there(repository));
    }

    /// Since when a tag names what it names.
    pub fn since(&self, repository: &str, tag: &str) -> Option<Second> {
        Some(self.tags.get(repository)?.get(tag)?.1)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::retention::plan::Going;
    use crate::retention::policy::Rule;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn policy(newest: u32) -> Policy {
        Policy {
            repositories: vec![crate::pattern::Pattern::all()],
            keep: vec![Rule {
                newest: Some(newest),
                ..Rule::default()
            }],
            keeps_latest: true,
            releases: Vec::new(),
            immutable: Vec::new(),
            untagged: None,
        }
    }

    fn plan(tags: &[(&str, &str)]) -> Plan {
        let going = tags.iter().map(|(tag, content)| Going {
            repository: Arc::from("team/app"),
            tag: Arc::from(*tag),
            digest: Digest::of(content.as_bytes()),
            age: 0,
            bytes: 0,
            policy: 0,
            reason: String::new(),
        });
        Plan {
            going: going.collect(),
            ..Plan::default()
        }
    }

    #[test]
    fn a_tag_is_due_once_it_was_in_every_plan_for_so_long() {
        let (day, one) = (Duration::from_hours(24), [policy(1)]);
        let is_due = |rehearsed: &Rehearsed, tag: &str, now: i64| {
            rehearsed.is_due("team/app", tag, day, at(now))
        };
        let first = Rehearsed::default().with(&plan(&[("a", "1"), ("b", "1")]), &one, at(0));
        assert!(!is_due(&first, "a", 86_399));
        assert!(is_due(&first, "a", 86_400));
        // Another plan that has it too restarts nothing; one that lacks it does.
        let second = first.with(&plan(&[("a", "1"), ("c", "1")]), &one, at(3600));
        assert!(is_due(&second, "a", 86_400));
        assert!(!is_due(&second, "b", 1_000_000));
        assert!(!is_due(&second, "c", 86_400));
        let third = second.with(&plan(&[("b", "1")]), &one, at(7200));
        let fourth = third.with(&plan(&[("a", "1"), ("b", "1")]), &one, at(10_800));
        assert!(!is_due(&fourth, "a", 86_400));
        // Nor is it the same tag with another content.
        let moved = second.with(&plan(&[("a", "2")]), &one, at(7200));
        assert!(!is_due(&moved, "a", 86_400));
        assert_eq!(first.oldest(), Some(Second::new(0)));
    }

    #[test]
    fn a_policy_that_says_something_else_restarts_its_tags() {
        let day = Duration::from_hours(24);
        let first = Rehearsed::default().with(&plan(&[("a", "1")]), &[policy(1)], at(0));
        let same = first.with(&plan(&[("a", "1")]), &[policy(1)], at(3600));
        assert!(same.is_due("team/app", "a", day, at(86_400)));
        let other = first.with(&plan(&[("a", "1")]), &[policy(2)], at(3600));
        assert!(!other.is_due("team/app", "a", day, at(86_400)));
    }

    #[test]
    fn a_clock_that_jumps_makes_nothing_due() {
        let (week, hour) = (Duration::from_hours(7 * 24), 3600);
        let (plan, policies) = (plan(&[("a", "1")]), [policy(1)]);
        let is_due = |rehearsed: &Rehearsed, now| rehearsed.is_due("team/app", "a", week, at(now));
        let began = 1_000_000;
        let first = Rehearsed::default().with(&plan, &policies, at(began));
        // Set back for one plan, and right again for the next.
        let back = first.with(&plan, &policies, at(0));
        assert!(!is_due(&back, 0));
        let right = back.with(&plan, &policies, at(began + hour));
        assert!(!is_due(&right, began + 2 * hour));
        assert_eq!(right.since("team/app", "a"), Some(Second::new(began)));
        // Or set forward by a year.
        let ahead = first.with(&plan, &policies, at(began + 8760 * hour));
        assert!(!is_due(&ahead, began + 8760 * hour));
        assert!(!is_due(&ahead, began + 8784 * hour));
    }

    #[test]
    fn weeks_without_a_plan_are_a_day() {
        let (week, day) = (Duration::from_hours(7 * 24), 86_400);
        let (plan, policies) = (plan(&[("a", "1")]), [policy(1)]);
        let is_due = |rehearsed: &Rehearsed, now| rehearsed.is_due("team/app", "a", week, at(now));
        let first = Rehearsed::default().with(&plan, &policies, at(0));
        let mut last = first.with(&plan, &policies, at(30 * day));
        assert!(!is_due(&last, 30 * day));
        for more in 1..=6 {
            last = last.with(&plan, &policies, at((30 + more) * day));
            assert_eq!(is_due(&last, (30 + more) * day), more == 6, "{more}");
        }
        last.forget("team/app", "a");
        assert!(!is_due(&last, 36 * day));
    }

    #[test]
    fn a_tag_is_as_old_as_it_was_first_seen_with_what_it_names() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let mut seen = FirstSeen::default();
        seen.see("a", [("v1", one), ("v2", one)].into_iter(), at(10));
        seen.see("a", [("v1", one), ("v2", two)].into_iter(), at(20));
        assert_eq!(seen.since("a", "v1"), Some(Second::new(10)));
        assert_eq!(seen.since("a", "v2"), Some(Second::new(20)));
        seen.see("a", [("v2", two)].into_iter(), at(30));
        assert_eq!(seen.since("a", "v1"), None);
        // A clock that is set back makes nothing older, nor what is seen by it.
        let both = [("v2", two), ("v3", one)];
        seen.see("a", both.into_iter(), at(1));
        assert_eq!(seen.since("a", "v2"), Some(Second::new(20)));
        assert_eq!(seen.since("a", "v3"), Some(Second::new(30)));
        seen.retain(&|repository| repository == "b");
        assert_eq!(seen.since("a", "v2"), None);
    }
}
