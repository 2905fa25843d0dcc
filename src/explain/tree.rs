//! The tree of one image, from what a round learnt of its objects and what the judge found in them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;

pub use self::object::{Kind, Object};
use super::described::{Described, Named};
use crate::oci::digest::Digest;
use crate::oci::platform::Platform;
use crate::verify::finding::{Code, Finding, Report, Verdict};
use crate::verify::node::{BlobEdge, ChildEdge, Shape};
use crate::verify::round::{DEPTH_MAX, NODES_MAX};
use crate::verify::table::{Fact, ObjectKey, ObjectKind, RepositoryId, Table};
use crate::verify::target::Target;

mod object;

/// What the tree is made of.
pub struct Look<'a> {
    pub table: &'a Table,
    pub target: &'a Target,
    pub report: &'a Report,
    /// The bytes of manifests that were read.
    pub bodies: &'a dyn Fn(&Digest) -> Option<Bytes>,
}

impl std::fmt::Debug for Look<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Look")
            .field("target", self.target)
            .finish_non_exhaustive()
    }
}

/// The tree below the root of an image; `None` where it is not known what the root is.
pub fn tree(look: &Look<'_>) -> Option<Object> {
    let root = look.report.digest?;
    let repository = look.table.known_repository(&look.target.repository)?;
    let mut findings: HashMap<Place, Vec<&Finding>> = HashMap::new();
    for finding in look.report.findings.iter().filter(|one| !is_lacking(one)) {
        if let Some(subject) = finding.subject {
            let place = (subject, finding.path.clone());
            findings.entry(place).or_default().push(finding);
        }
    }
    let mut walk = Walk {
        look,
        repository,
        findings,
        budget: NODES_MAX,
    };
    let edge = Edge {
        digest: root,
        size: None,
        platform: None,
        needed: true,
        named: Named::default(),
    };
    let mut tree = walk.manifest(edge, &[]);
    let lacking = look.report.findings.iter().filter(|one| is_lacking(one));
    tree.children.extend(lacking.map(Object::lacking));
    settle(&mut tree);
    name_attested(&mut tree);
    share(&mut tree);
    Some(tree)
}

/// An object and the way to it: where the judge leaves its findings.
type Place = (Digest, Vec<Digest>);

/// A needed platform without an image is no object of the index: it gets a row of its own.
fn is_lacking(finding: &Finding) -> bool {
    finding.code == Code::PlatformMissing && finding.platform.is_some()
}

struct Walk<'a> {
    look: &'a Look<'a>,
    repository: RepositoryId,
    findings: HashMap<Place, Vec<&'a Finding>>,
    /// Objects that may still be drawn: an index may name one child many times.
    budget: u32,
}

/// How an object is named from above.
struct Edge {
    digest: Digest,
    size: Option<u64>,
    platform: Option<Platform>,
    needed: bool,
    named: Named,
}

impl Walk<'_> {
    fn manifest(&mut self, edge: Edge, path: &[Digest]) -> Object {
        let Edge {
            digest,
            size,
            platform,
            needed,
            named,
        } = edge;
        let look = self.look;
        let node = look.table.node(&digest);
        let node = node.as_ref();
        let body = (look.bodies)(&digest);
        let described = body.map(|body| Described::read(&body)).unwrap_or_default();
        let is_index = node.is_some_and(|node| matches!(node.shape, Shape::Index(_)));
        let is_attestation =
            named.is_attestation || platform.as_ref().is_some_and(Platform::is_unknown);
        let is_present = self.is_present(digest, ObjectKind::Manifest);
        let platform = platform.or_else(|| match node.map(|node| &node.shape) {
            Some(Shape::Image { config, .. }) => {
                look.table.configs.get(&config.digest).cloned().flatten()
            }
            Some(Shape::Index(_) | Shape::Unsupported(_) | Shape::Invalid(_)) | None => None,
        });
        let below = [path, &[digest]].concat();
        let mut children = Vec::new();
        if let Some(node) = node.filter(|_| is_present && path.len() < usize::from(DEPTH_MAX)) {
            match &node.shape {
                Shape::Index(edges) => {
                    let inherited = |edge: &ChildEdge| {
                        let own = edge.platform.clone();
                        own.or_else(|| platform.clone())
                    };
                    let offered: Vec<Option<Platform>> = edges.iter().map(inherited).collect();
                    let seen: Vec<_> = offered.iter().map(Option::as_ref).collect();
                    let taken = look.target.needs.of(&seen);
                    for ((edge, platform), taken) in edges.iter().zip(offered).zip(taken) {
                        let needed = needed && taken;
                        children.extend(self.child(edge, platform, needed, &described, &below));
                    }
                }
                Shape::Image { config, layers } => {
                    let named = [(Kind::Config, config)].into_iter();
                    let named = named.chain(layers.iter().map(|layer| (Kind::Layer, layer)));
                    for (kind, edge) in named {
                        let named = described.named(&edge.digest);
                        children.extend(self.blob(kind, edge, None, needed, named, &below));
                    }
                }
                Shape::Unsupported(_) | Shape::Invalid(_) => {}
            }
        }
        let kind = match (is_index, is_attestation) {
            (true, _) => Kind::Index,
            (false, true) => Kind::Attestation,
            (false, false) => Kind::Manifest,
        };
        Object {
            kind,
            size: size.or(node.map(|node| node.size)),
            media_type: described.media_type.or(named.media_type),
            artifact_type: described.artifact_type.or(named.artifact_type),
            subject: described.subject,
            attests: named.attests.map(|digest| (digest, None)),
            platform,
            needed,
            children,
            ..self.object(digest, ObjectKind::Manifest, path)
        }
    }

    fn child(
        &mut self,
        edge: &ChildEdge,
        platform: Option<Platform>,
        needed: bool,
        parent: &Described,
        path: &[Digest],
    ) -> Option<Object> {
        let named = parent.named(&edge.digest);
        if edge.is_blob {
            let blob = BlobEdge {
                digest: edge.digest,
                size: edge.size,
                is_distributable: true,
            };
            return self.blob(Kind::Blob, &blob, platform, needed, named, path);
        }
        self.budget = self.budget.checked_sub(1)?;
        let edge = Edge {
            digest: edge.digest,
            size: Some(edge.size),
            platform,
            needed,
            named,
        };
        Some(self.manifest(edge, path))
    }

    fn blob(
        &mut self,
        kind: Kind,
        edge: &BlobEdge,
        platform: Option<Platform>,
        needed: bool,
        named: Named,
        path: &[Digest],
    ) -> Option<Object> {
        self.budget = self.budget.checked_sub(1)?;
        let object = Object {
            kind,
            size: Some(edge.size),
            platform,
            media_type: named.media_type,
            artifact_type: named.artifact_type,
            needed,
            ..self.object(edge.digest, ObjectKind::Blob, path)
        };
        if edge.is_distributable {
            return Some(object);
        }
        // As the judge does: it counts as present, and nobody asked.
        Some(Object {
            is_foreign: true,
            state: Verdict::Pullable,
            code: None,
            message: None,
            ..object
        })
    }

    /// The object's own state.
    fn object(&self, digest: Digest, kind: ObjectKind, path: &[Digest]) -> Object {
        let found = self.findings.get(&(digest, path.to_vec()));
        let worst = found.and_then(|found| found.iter().max_by_key(|one| one.code.verdict()));
        let (state, code, message) = match worst {
            Some(one) => (
                one.code.verdict(),
                Some(one.code),
                Some(one.message.clone()),
            ),
            None if self.is_present(digest, kind) => (Verdict::Pullable, None, None),
            None => (Verdict::Unknown, Some(Code::NeverChecked), None),
        };
        Object {
            digest: Some(digest),
            state,
            code,
            message,
            ..Object::empty(Kind::Blob)
        }
    }

    fn is_present(&self, digest: Digest, kind: ObjectKind) -> bool {
        let key = ObjectKey {
            auth: self.look.target.content,
            repository: self.repository,
            digest,
            kind,
        };
        let state = self.look.table.objects.get(&key);
        state.is_some_and(|state| matches!(state.fact, Fact::Present { .. }))
    }
}

/// Makes the state of each object the worst of it and of what is needed below it, and sums up sizes.
/// Yields the sizes of the distinct objects; `None` where one is not known.
fn settle(object: &mut Object) -> BTreeMap<Digest, Option<u64>> {
    let mut sizes = BTreeMap::new();
    // What a manifest names that was not followed is not in any sum.
    let is_followed = !object.kind.is_manifest()
        || !object.children.is_empty()
        || object.state == Verdict::Pullable;
    if let Some(digest) = object.digest {
        sizes.insert(digest, object.size.filter(|_| is_followed));
    }
    for child in &mut object.children {
        sizes.extend(settle(child));
        if child.needed || !object.needed {
            object.state = object.state.max(child.state);
        }
    }
    if object.kind.is_manifest() && !object.children.is_empty() {
        object.total = sizes.values().copied().sum();
    }
    sizes
}

fn name_attested(index: &mut Object) {
    let platforms: HashMap<Digest, Platform> = index
        .children
        .iter()
        .filter_map(|child| Some((child.digest?, child.platform.clone()?)))
        .collect();
    for child in &mut index.children {
        if let Some((digest, platform)) = &mut child.attests {
            *platform = platforms.get(digest).cloned();
        }
        name_attested(child);
    }
}

/// Tells each blob which other manifests name it.
fn share(tree: &mut Object) {
    let mut owners: HashMap<Digest, BTreeSet<String>> = HashMap::new();
    tree.visit(&mut Vec::new(), &mut |above, object| {
        if let (Some(parent), Some(digest)) = (above.last(), object.digest)
            && !object.kind.is_manifest()
        {
            owners.entry(digest).or_default().insert(parent.name());
        }
    });
    tell(tree, &owners);
}

fn tell(object: &mut Object, owners: &HashMap<Digest, BTreeSet<String>>) {
    let name = object.name();
    for child in &mut object.children {
        let others = child
            .digest
            .filter(|_| !child.kind.is_manifest())
            .and_then(|digest| owners.get(&digest));
        let others = others.into_iter().flatten().filter(|other| **other != name);
        child.shared_by = others.cloned().collect();
        tell(child, owners);
    }
}

#[cfg(test)]
mod tests;
