//! How a tag is deleted so that it can be put back. Pure.
//!
//! The distribution-spec lets a registry refuse to delete a tag: distribution 2.8 does. By its digest a manifest
//! goes with every tag that names it, which is how tags were lost that nobody meant. So by digest only where
//! nothing else has it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::plan::Going;
use crate::gc::graph::{Graph, ObjectId, Repository};
use crate::oci::digest::Digest;

/// A tag that was deleted, or was about to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    pub repository: Arc<str>,
    pub tag: Arc<str>,
    pub digest: Digest,
    pub at: Timestamp,
    /// Why it went.
    pub reason: String,
    /// What came of it; `None`: it was about to be, and nobody knows.
    pub outcome: Option<Outcome>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Deleted,
    /// With its manifest, since the registry deletes no tags.
    DeletedByDigest,
    /// It is there as it was, and why.
    Kept(String),
    /// Put back.
    Restored,
}

impl Outcome {
    pub fn is_deleted(&self) -> bool {
        matches!(self, Self::Deleted | Self::DeletedByDigest)
    }
}

/// Tags that were deleted together, with all that is needed to put each back: its manifest, and those below it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Of which run.
    pub run: String,
    pub removed: Vec<Removed>,
    /// Byte for byte.
    pub manifests: BTreeMap<Digest, String>,
}

impl Batch {
    /// A tag that is gone, or may be.
    pub fn find(&self, repository: &str, tag: &str) -> Option<&Removed> {
        let mut removed = self.removed.iter();
        removed.find(|it| {
            let is_gone = it.outcome.as_ref().is_none_or(Outcome::is_deleted);
            &*it.repository == repository && &*it.tag == tag && is_gone
        })
    }

    /// The manifests below one that are remembered, each before those that name it, and that one last.
    pub fn in_order(&self, root: Digest) -> Vec<Digest> {
        let mut order = Vec::new();
        let mut waiting = vec![root];
        while let Some(digest) = waiting.pop() {
            if let Some(body) = self.manifests.get(&digest) {
                order.push(digest);
                waiting.extend(children(body.as_bytes()));
            }
        }
        // One that is named twice goes before the first that names it.
        order.reverse();
        let mut seen = HashSet::new();
        order.retain(|digest| seen.insert(*digest));
        order
    }
}

/// The manifests that one names, where it is an index.
pub fn children(body: &[u8]) -> Vec<Digest> {
    use crate::oci::manifest::Manifest;
    use crate::oci::media_type::{self, Kind};
    match Manifest::parse(body, None) {
        Ok(Manifest::Index { children, .. }) => {
            let manifests = children.into_iter().filter(|child| {
                child.media_type.is_empty() || media_type::kind(&child.media_type) != Kind::Other
            });
            manifests.map(|child| child.digest).collect()
        }
        Ok(Manifest::Image { .. } | Manifest::Unsupported { .. }) | Err(_) => Vec::new(),
    }
}

/// Why a tag's manifest may not be deleted by its digest; `None`: nothing else has it.
///
/// `with` are all tags of the repository that go now.
pub fn refusal_by_digest(
    graph: &Graph,
    going: &Going,
    with: &BTreeSet<&str>,
    needed: &dyn Fn(&Digest) -> bool,
) -> Option<String> {
    let short = going.digest.short();
    let Some(object) = graph.find(&going.digest) else {
        return Some(format!("{short} is not what was listed"));
    };
    let repository = graph.repositories().map(|(_, it)| it);
    let mut repository = repository.filter(|it| it.name == going.repository);
    let Some(repository) = repository.next() else {
        return Some("its repository is not what was listed".to_owned());
    };
    if needed(&going.digest) {
        return Some(format!("{short} is needed by its digest"));
    }
    let others = repository.tags.iter();
    let mut others = others.filter(|tag| tag.current == Some(object) && !with.contains(&*tag.name));
    if let Some(other) = others.next() {
        let name = &other.name;
        return Some(format!("`{name}` names {short} too, and stays"));
    }
    let index = naming(graph, repository, object)?;
    let index = graph.object(index).digest.short();
    Some(format!("the index {index} names {short}"))
}

/// An index of the repository that names a manifest.
fn naming(graph: &Graph, repository: &Repository, object: ObjectId) -> Option<ObjectId> {
    let revisions = repository.revisions.iter().map(|link| link.object);
    let tagged = repository.tags.iter().filter_map(|tag| tag.current);
    let mut all = revisions.chain(tagged);
    all.find(|it| {
        let names = graph.names(*it);
        names.is_some_and(|names| names.children().contains(&object))
    })
}
