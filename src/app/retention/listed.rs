//! Whether the registry lists the tags that its storage has.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt as _, stream};

use super::Asker;
use crate::config::Registry;
use crate::gc::graph::{Graph, Repository};
use crate::retention::listing;

/// Repositories whose list of tags is not what the storage has, or cannot be had.
pub(super) async fn doubts(
    asker: &Asker,
    registry: &Registry,
    graph: &Graph,
) -> BTreeMap<Box<str>, String> {
    let policies = &registry.retention.policies;
    let mut decided: Vec<Named> = Vec::new();
    for (_, repository) in graph.repositories() {
        let is_decided = policies.iter().any(|policy| policy.has(&repository.name));
        if is_decided && !repository.tags.is_empty() {
            decided.push(named(repository));
        }
    }
    let client = asker.prover.client();
    let asked = stream::iter(decided).map(async |(name, tags): Named| {
        let doubt = doubt(asker, &name, &tags).await;
        doubt.map(|doubt| (Box::from(&*name), doubt))
    });
    let asked = asked.buffer_unordered(client.concurrency().max(1));
    asked.filter_map(async |doubt| doubt).collect().await
}

/// A repository, and those of its tags that name something.
type Named = (Arc<str>, Vec<Arc<str>>);

fn named(repository: &Repository) -> Named {
    let named = repository.tags.iter().filter(|tag| tag.current.is_some());
    let tags = named.map(|tag| Arc::clone(&tag.name));
    (Arc::clone(&repository.name), tags.collect())
}

async fn doubt(asker: &Asker, name: &Arc<str>, tags: &[Arc<str>]) -> Option<String> {
    let client = asker.prover.client();
    match client.tags(asker.auth, name).await {
        Ok(listed) => listing::doubt(&listed, tags.iter().map(|tag| &**tag)),
        Err(untold) => Some(format!(
            "the registry does not tell its tags: {}: {}",
            untold.code, untold.message
        )),
    }
}
