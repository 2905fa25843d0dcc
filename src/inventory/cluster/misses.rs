//! Paths of custom resources that lead to nothing, told for a kind as a whole: in one of several namespaces
//! it may well be that nobody names an image there.

use std::collections::BTreeMap;

use crate::inventory::extract::Tally;

use super::kinds::Content;
use super::record::Record;
use super::unit::Unit;

/// Why what is known of custom resources may not be all of it, for each kind.
pub(super) fn misses(units: &[Unit]) -> Vec<String> {
    let mut kinds = BTreeMap::new();
    for unit in units {
        let Content::Custom(resource) = &unit.kind.content else {
            continue;
        };
        let name = (&resource.group, &resource.kind);
        let (_, tally) = kinds.entry(name).or_insert((&unit.kind, Tally::default()));
        for record in unit.records.values() {
            if let Record::Extracted(extracted) = record {
                tally.add(extracted.hits);
            }
        }
    }
    let kinds = kinds.into_values();
    let problems = kinds.filter_map(|(kind, tally)| match &kind.content {
        Content::Custom(resource) => tally.problem(resource, &kind.resource()),
        _other => None,
    });
    problems.collect()
}
