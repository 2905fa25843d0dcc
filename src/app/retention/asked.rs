//! What a registry has, by its own lists: where its storage is not read.
//!
//! Only repositories that a policy is for are asked for. What cannot be told of one leaves it alone.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use jiff::Timestamp;

use super::Asker;
use crate::config::Registry;
use crate::gc::graph::{Builder, Graph};
use crate::gc::refusal::{Code, Refusal};
use crate::oci::digest::Digest;
use crate::oci::manifest::Manifest;
use crate::oci::referrer::DigestTag;
use crate::pattern::Pattern;
use crate::retention::listing;
use crate::retention::protection::Protection;
use crate::retention::rehearsed::FirstSeen;
use crate::retention::removal::children;

/// What a repository has.
#[derive(Default)]
struct Found {
    /// With what each names.
    tags: BTreeMap<Arc<str>, Digest>,
    /// Those that the tags lead to, as far as the registry has them.
    manifests: HashMap<Digest, Bytes>,
    /// What is not known about it.
    doubt: Option<String>,
}

type Told = (Graph, FirstSeen, BTreeMap<Box<str>, String>);

/// What there is, with the times at which tags were seen first, and with what is not known.
pub(super) async fn graph(
    asker: &Asker,
    registry: &Registry,
    protection: &Protection,
    mut first_seen: FirstSeen,
    now: Timestamp,
) -> Result<Told, Refusal> {
    let names = repositories(asker, registry).await?;
    let found = stream::iter(names.clone()).map(async |name: Arc<str>| {
        let found = found(asker, &name, protection).await;
        (name, found)
    });
    let found: BTreeMap<Arc<str>, Found> = found.buffer_unordered(4).collect().await;
    let mut builder = Builder::default();
    let (mut doubts, mut bodies) = (BTreeMap::new(), HashMap::new());
    for (name, found) in found {
        if let Some(doubt) = found.doubt {
            doubts.insert(Box::from(&*name), doubt);
        } else {
            let tags = found.tags.iter().map(|(tag, digest)| (&**tag, *digest));
            first_seen.see(&name, tags, now);
        }
        for (tag, digest) in found.tags {
            let since = first_seen.since(&name, &tag);
            builder.history(&name, Arc::clone(&tag), digest, since);
            builder.tag(&name, tag, Some(digest));
        }
        for (digest, body) in found.manifests {
            builder.revision(&name, digest, None);
            add(&mut builder, &name, digest, &body);
            bodies.insert(digest, body);
        }
    }
    first_seen.retain(&|repository| names.contains(repository));
    let mut graph = builder.finish();
    for (digest, body) in bodies {
        if let Some(id) = graph.find(&digest) {
            let parsed = graph.parse(id, &body);
            graph.put(id, parsed);
        }
    }
    graph.settle();
    Ok((graph, first_seen, doubts))
}

/// Those that a policy is for. One that is written out is asked for whether the registry lists it or not.
async fn repositories(asker: &Asker, registry: &Registry) -> Result<BTreeSet<Arc<str>>, Refusal> {
    let policies = &registry.retention.policies;
    let patterns = policies.iter().flat_map(|policy| &policy.repositories);
    let is_literal = |pattern: &&Pattern| !pattern.as_str().contains(['*', '?', '[', '{']);
    let written = patterns.clone().filter(is_literal);
    let mut names: BTreeSet<Arc<str>> = written.map(|it| Arc::from(it.as_str())).collect();
    if patterns.clone().all(|it| is_literal(&it)) {
        return Ok(names);
    }
    let listed = asker.prover.client().catalog(asker.auth).await;
    let listed = listed.map_err(|untold| {
        let message = format!(
            "{} does not list its repositories: {}: {}; name those that are meant without `*`, or let its storage \
             be read",
            registry.host, untold.code, untold.message
        );
        Refusal::new(Code::ListingIncomplete, message)
    })?;
    let decided = |name: &Arc<str>| policies.iter().any(|policy| policy.has(name));
    names.extend(listed.into_iter().filter(decided));
    Ok(names)
}

async fn found(asker: &Asker, name: &Arc<str>, protection: &Protection) -> Found {
    let mut found = Found::default();
    if let Err(doubt) = fill(asker, name, protection, &mut found).await {
        found.doubt = Some(doubt);
    }
    found
}

async fn fill(
    asker: &Asker,
    name: &Arc<str>,
    protection: &Protection,
    found: &mut Found,
) -> Result<(), String> {
    let client = asker.prover.client();
    let listed = client.tags(asker.auth, name).await;
    let listed = listed.map_err(|untold| {
        format!(
            "the registry does not tell its tags: {}: {}",
            untold.code, untold.message
        )
    })?;
    // What somebody needs may be there although it is not listed.
    let needed = protection.tags();
    let needed = needed.filter(|(repository, _)| *repository == &**name);
    let needed: BTreeSet<Arc<str>> = needed.map(|(_, tag)| Arc::from(tag)).collect();
    let all: BTreeSet<Arc<str>> = listed.union(&needed).cloned().collect();
    let asked = stream::iter(all).map(async |tag| {
        let tagged = client.tagged_manifest(asker.auth, name, &tag, None).await;
        (tag, tagged)
    });
    let asked = asked.buffer_unordered(client.concurrency().max(1));
    let asked: Vec<_> = asked.collect().await;
    for (tag, tagged) in asked {
        let is_listed = listed.contains(&tag);
        match tagged {
            Ok(Some(tagged)) => drop(found.tags.insert(tag, tagged.digest)),
            Ok(None) if is_listed => {
                return Err(format!("what the tag `{tag}` names is not there"));
            }
            Ok(None) => {}
            Err(untold) => {
                return Err(format!(
                    "what the tag `{tag}` names is not known: {}: {}",
                    untold.code, untold.message
                ));
            }
        }
    }
    let there = found.tags.keys().map(|tag| &**tag);
    if let Some(doubt) = listing::doubt(&listed, there) {
        return Err(doubt);
    }
    // What runs may have no tag any more, and what is signed neither: then it belongs to none of the tags, and
    // what refers to it does not go.
    let signed = found.tags.keys().filter_map(|tag| DigestTag::parse(tag));
    let signed = signed.map(|tag| tag.subject);
    let untagged: HashSet<Digest> = signed.chain(protection.of_repository(name)).collect();
    manifests(asker, name, found, untagged).await
}

/// Everything that the tags lead to, and these digests, as far as they are there.
async fn manifests(
    asker: &Asker,
    name: &Arc<str>,
    found: &mut Found,
    untagged: HashSet<Digest>,
) -> Result<(), String> {
    let client = asker.prover.client();
    let tagged: HashSet<Digest> = found.tags.values().copied().collect();
    let mut seen: HashSet<Digest> = tagged.union(&untagged).copied().collect();
    let mut level: Vec<Digest> = seen.iter().copied().collect();
    while !level.is_empty() {
        let asked = stream::iter(std::mem::take(&mut level)).map(async |digest| {
            let body = client.stored_manifest(asker.auth, name, &digest).await;
            (digest, body)
        });
        let asked = asked.buffer_unordered(client.concurrency().max(1));
        let asked: Vec<_> = asked.collect().await;
        for (digest, body) in asked {
            match body {
                Ok(Some(body)) => {
                    let below = children(&body).into_iter();
                    level.extend(below.filter(|child| seen.insert(*child)));
                    found.manifests.insert(digest, body);
                }
                // A child may be left out of a copy; what runs may be told by its config.
                Ok(None) if !tagged.contains(&digest) => {}
                Ok(None) => return Err(format!("{digest}, which a tag names, is not there")),
                Err(untold) => {
                    return Err(format!(
                        "{digest} cannot be read: {}: {}",
                        untold.code, untold.message
                    ));
                }
            }
        }
    }
    Ok(())
}

/// A manifest, and what it says of the sizes below it.
fn add(builder: &mut Builder, name: &Arc<str>, digest: Digest, body: &[u8]) {
    builder.blob(digest, body.len() as u64, None);
    if let Ok(Manifest::Image { config, layers, .. }) = Manifest::parse(body, None) {
        for it in [config].into_iter().chain(layers) {
            builder.blob(it.digest, it.size, None);
            builder.layer(name, it.digest, None);
        }
    }
}
