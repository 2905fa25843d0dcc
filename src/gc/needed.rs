//! What of a storage the keep-set needs. Pure.
//!
//! By digest it is needed wherever it is stored, whatever host names it. A tag is kept as all tags are.

use std::collections::{BTreeMap, BTreeSet};

use crate::inventory::keepset::KeepSet;
use crate::oci::digest::Digest;

/// What must stay besides what tags lead to.
#[derive(Debug, Clone, Default)]
pub struct Needed {
    /// Of all references, of whatever host, in order.
    pub digests: Vec<Digest>,
    /// Those of references to this storage's own registry: they ought to be there.
    pub own: BTreeSet<Digest>,
    /// Paths of references whose host no entry has: where a repository of this storage has such a path, it
    /// may be what is meant. Each with one of the references.
    pub foreign: BTreeMap<Box<str>, String>,
}

impl Needed {
    /// `is_own` tells the hosts of the storage's registry, `is_listed` those that some entry has.
    pub fn of(
        kept: &KeepSet,
        is_own: &dyn Fn(&str) -> bool,
        is_listed: &dyn Fn(&str) -> bool,
    ) -> Self {
        let mut needed = Self::default();
        let mut digests = BTreeSet::new();
        for (reference, kept) in kept.references() {
            digests.extend(&kept.digests);
            if is_own(reference.host()) {
                needed.own.extend(&kept.digests);
            } else if !is_listed(reference.host()) {
                let path = reference.repository();
                if !needed.foreign.contains_key(path) {
                    needed.foreign.insert(path.into(), reference.to_string());
                }
            }
        }
        needed.digests = digests.into_iter().collect();
        needed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::inventory::completeness::complete;
    use crate::inventory::{Inventory, references};
    use crate::oci::reference::Aliases;

    #[test]
    fn a_digest_is_needed_whoever_names_it_and_a_path_by_a_host_that_nobody_knows() {
        let now = Timestamp::from_second(1000).unwrap();
        let (ours, theirs) = (Digest::of(b"ours"), Digest::of(b"theirs"));
        let text = format!(
            "r.example/a@{ours}\nmirror.example/b@{theirs}\nold.example/team/c:1\nold.example/team/c:2\nr.example/d:1"
        );
        let source = references::read_text("keep", &text, now);
        let inventory = Arc::new(Inventory {
            sources: vec![Arc::new(source)],
        });
        let kept = KeepSet::of(
            &complete(&inventory, now).unwrap(),
            &Aliases::default(),
            std::iter::empty(),
            SignedDuration::from_secs(1),
        );
        let is_listed = |host: &str| matches!(host, "r.example" | "mirror.example");
        let needed = Needed::of(&kept, &|host| host == "r.example", &is_listed);
        let mut all = vec![ours, theirs];
        all.sort_unstable();
        assert_eq!(needed.digests, all);
        assert_eq!(needed.own, [ours].into());
        let foreign: Vec<_> = needed.foreign.into_iter().collect();
        assert_eq!(
            foreign,
            [("team/c".into(), "old.example/team/c:1".to_owned())]
        );
    }
}
