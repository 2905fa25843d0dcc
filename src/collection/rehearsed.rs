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

/// By a short digest of what it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rehearsed(HashMap<String, Second>);

impl Rehearsed {
    /// With the rows of a plan of now, and without what is not among them.
    #[must_use]
    pub fn with<'a>(&self, rows: impl Iterator<Item = Garbage<'a>>, now: Second) -> Self {
        let since = |row: Garbage<'_>| {
            let key = key(&row);
            // A clock that was set back does not make it older.
            let since = self.0.get(&key).copied().unwrap_or(now).min(now);
            (key, since)
        };
        Self(rows.map(since).collect())
    }

    /// Since when a row was in every plan.
    pub fn since(&self, row: &Garbage<'_>) -> Option<Second> {
        self.0.get(&key(row)).copied()
    }

    /// Whether a row was in every plan for so long.
    pub fn has(&self, row: &Garbage<'_>, long: Duration, now: Timestamp) -> bool {
        let long = i64::try_from(long.as_secs()).unwrap_or(i64::MAX);
        let since = self.0.get(&key(row));
        since.is_some_and(|since| now.as_second().saturating_sub(since.get()) >= long)
    }
}

fn key(row: &Garbage<'_>) -> String {
    let mut hasher = Hasher::default();
    let parts = [
        row.kind.as_str(),
        row.repository.map_or("", |it| it),
        row.tag.map_or("", |it| it),
    ];
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update(b"\n");
    }
    hasher.update(row.digest.to_string().as_bytes());
    let key = hasher.finish().hex();
    key.get(..24).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
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
        let has =
            |of: &Rehearsed, text: &str, now| of.has(&row(text), Duration::from_secs(100), at(now));
        let first = Rehearsed::default().with([row("a"), row("b")].into_iter(), Second::new(1000));
        assert!(!has(&first, "a", 1099) && has(&first, "a", 1100) && !has(&first, "c", 2000));
        // One was needed in between.
        let second = first.with([row("a")].into_iter(), Second::new(1050));
        let third = second.with([row("a"), row("b")].into_iter(), Second::new(1100));
        assert!(has(&third, "a", 1100) && !has(&third, "b", 1100) && has(&third, "b", 1200));
        let text = serde_json::to_vec(&third).unwrap();
        assert_eq!(serde_json::from_slice::<Rehearsed>(&text).unwrap(), third);
    }
}
