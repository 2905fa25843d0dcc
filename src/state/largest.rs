//! What goes, as far as a person looks at it: that of which most goes one by one, and the rest together. Pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Rows that are told one by one.
const ROWS_MAX: usize = 12;

/// So much of it goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Going {
    /// A repository, empty for data that none links; or a kind and a reason.
    pub name: String,
    /// Rows of the plan.
    pub count: usize,
    pub bytes: u64,
}

/// What goes, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Largest {
    /// Those of which most goes, the largest first.
    pub first: Vec<Going>,
    /// All others together; it has no name.
    pub others: Going,
    pub other_names: usize,
}

impl Largest {
    /// Of rows with their names and bytes; what several names have is a row of one of them.
    pub fn of<'a>(rows: impl Iterator<Item = (&'a str, u64)>) -> Self {
        let mut by_name: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
        for (name, more) in rows {
            let (count, bytes) = by_name.entry(name).or_default();
            *count += 1;
            *bytes = bytes.saturating_add(more);
        }
        let going = by_name.into_iter().map(|(name, (count, bytes))| Going {
            name: name.to_owned(),
            count,
            bytes,
        });
        let mut first: Vec<Going> = going.collect();
        first.sort_by_key(|it| Reverse((it.bytes, it.count)));
        let rest = first.split_off(first.len().min(ROWS_MAX));
        Self {
            first,
            others: Going {
                name: String::new(),
                count: rest.iter().map(|it| it.count).sum(),
                bytes: rest.iter().map(|it| it.bytes).sum(),
            },
            other_names: rest.len(),
        }
    }
}
