//! Two listings of one storage, one after the other. Pure.

use std::collections::HashMap;

use crate::gc::graph::{Graph, Link, Repository, Tag, position};
use crate::second::Second;

/// What the second has, older than the first, and the first did not have: a listing that hides something
/// makes others of it seem unused. What came since is no lie of the first.
///
/// A tag says nothing of its own time; whoever moves it writes the link in its history first.
pub fn hidden(first: &Graph, second: &Graph, began: Second) -> Option<String> {
    let pair = Pair {
        first,
        second,
        began,
    };
    let known: HashMap<&str, &Repository> = first
        .repositories()
        .map(|(_, repository)| (&*repository.name, repository))
        .collect();
    let none = Repository::default();
    for (_, repository) in second.repositories() {
        let before = known.get(&*repository.name).copied().unwrap_or(&none);
        let found = pair
            .link(&before.layers, &repository.layers)
            .or_else(|| pair.link(&before.revisions, &repository.revisions))
            .or_else(|| pair.tag(&before.tags, &repository.tags));
        if let Some(found) = found {
            return Some(format!("{found} in {}", repository.name));
        }
    }
    let mut objects = second.objects();
    let (_, object) = objects.find(|(_, object)| {
        object.size().is_some()
            && pair.is_old(object.modified())
            && (first.find(&object.digest)).is_none_or(|id| first.object(id).size().is_none())
    })?;
    Some(format!("the content of {}", object.digest))
}

struct Pair<'a> {
    first: &'a Graph,
    second: &'a Graph,
    began: Second,
}

impl Pair<'_> {
    /// What has no time may be as old as everything.
    fn is_old(&self, modified: Option<Second>) -> bool {
        modified.is_none_or(|modified| modified < self.began)
    }

    fn link(&self, before: &[Link], after: &[Link]) -> Option<String> {
        let mut old = after.iter().filter(|link| self.is_old(link.modified));
        let digest = old.find_map(|link| {
            let digest = self.second.object(link.object).digest;
            let known = self.first.find(&digest);
            let is_known = known.is_some_and(|id| position(before, id).is_some());
            (!is_known).then_some(digest)
        })?;
        Some(format!("the link to {digest}"))
    }

    fn tag(&self, before: &[Tag], after: &[Tag]) -> Option<String> {
        after.iter().find_map(|tag| {
            let at = before.binary_search_by(|it| it.name.cmp(&tag.name)).ok();
            let known = at.and_then(|at| before.get(at));
            let history = known.map_or(&[][..], |known| &known.history);
            let hidden = self.link(history, &tag.history).or_else(|| {
                let current = tag.current?;
                let digest = self.second.object(current).digest;
                let named = known.and_then(|known| known.current);
                let is_same = named.is_some_and(|id| self.first.object(id).digest == digest);
                let moved = position(&tag.history, current).and_then(|at| tag.history.get(at));
                let is_old = moved.is_none_or(|link| self.is_old(link.modified));
                (!is_same && is_old).then(|| format!("that it names {digest}"))
            })?;
            Some(format!("{hidden} of the tag {}", tag.name))
        })
    }
}

#[cfg(test)]
mod tests;
