//! What the tags that go lead to alone. Pure.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Plan, set};
use crate::gc::graph::{Graph, Names, ObjectId};

/// Counts for each tag that goes what only it leads to. Data that several of them share is counted once, for the
/// first; what anything else leads to, whether by a tag, by a digest or as a manifest without a tag, is not
/// counted.
pub(super) fn count(graph: &Graph, needed: &[ObjectId], plan: &mut Plan) {
    let going: HashSet<(&Arc<str>, &Arc<str>)> = {
        let going = plan.going.iter();
        going.map(|it| (&it.repository, &it.tag)).collect()
    };
    // Manifests that lose their tags are no reason to keep what they name.
    let mut losing = vec![false; graph.objects().len()];
    for it in &plan.going {
        let mut waiting: Vec<ObjectId> = graph.find(&it.digest).into_iter().collect();
        while let Some(object) = waiting.pop() {
            if set(&mut losing, object) {
                waiting.extend(graph.names(object).into_iter().flat_map(Names::children));
            }
        }
    }
    let mut counted = vec![false; graph.objects().len()];
    let mut kept: Vec<ObjectId> = needed.to_vec();
    for (_, repository) in graph.repositories() {
        let tags = repository.tags.iter();
        let staying = tags.filter(|tag| !going.contains(&(&repository.name, &tag.name)));
        kept.extend(staying.filter_map(|tag| tag.current));
        let revisions = repository.revisions.iter().map(|link| link.object);
        kept.extend(revisions.filter(|it| losing.get(it.index()) == Some(&false)));
    }
    for object in kept {
        reach(graph, object, &mut counted);
    }
    drop(going);
    for it in &mut plan.going {
        let found = graph.find(&it.digest);
        it.bytes = found.map_or(0, |object| reach(graph, object, &mut counted));
    }
}

/// The bytes below an object that were not counted yet.
fn reach(graph: &Graph, root: ObjectId, counted: &mut [bool]) -> u64 {
    let mut bytes: u64 = 0;
    let mut waiting = vec![root];
    while let Some(object) = waiting.pop() {
        if set(counted, object) {
            bytes = bytes.saturating_add(graph.object(object).size().unwrap_or(0));
            waiting.extend(graph.names(object).into_iter().flat_map(Names::all));
        }
    }
    bytes
}
