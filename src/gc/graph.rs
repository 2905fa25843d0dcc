//! What a storage holds, and what names what. Pure: it is told of a listing and of manifests.
//!
//! Objects are numbered in order of their digests, so that a link is two numbers and a graph of a million
//! blobs fits in memory.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::oci::digest::Digest;
use crate::second::Second;

mod builder;
mod node;

pub use builder::Builder;
pub use node::{Names, Node, Parsed};

/// The number of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(u32);

/// The number of a repository, in order of the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryId(u32);

/// A digest that is stored, or linked.
#[derive(Debug, Clone, Copy)]
pub struct Object {
    pub digest: Digest,
    /// Of the data in bytes; [`ABSENT`] where there is none. In two parts, since there may be millions and
    /// a number of 64 bits would be followed by four bytes of nothing.
    size: [u32; 2],
    /// When the data was written.
    modified: Option<Second>,
}

const ABSENT: u64 = u64::MAX;
const _: () = assert!(size_of::<Object>() == 44);

impl Object {
    /// Of which only the digest is known.
    fn linked(digest: Digest) -> Self {
        Self {
            digest,
            size: parts(ABSENT),
            modified: None,
        }
    }

    fn set_size(&mut self, size: u64) {
        // A file of 2^64 - 1 bytes is none.
        self.size = parts(size.min(ABSENT - 1));
    }

    /// `None` where it is only linked.
    pub fn size(&self) -> Option<u64> {
        let [high, low] = self.size;
        let size = u64::from(high) << 32 | u64::from(low);
        (size != ABSENT).then_some(size)
    }

    pub fn modified(&self) -> Option<Second> {
        self.modified
    }
}

#[expect(clippy::cast_possible_truncation, reason = "each is a half of it")]
fn parts(size: u64) -> [u32; 2] {
    [(size >> 32) as u32, size as u32]
}

/// A file that says that a repository has an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub object: ObjectId,
    /// When it was written last; `None` where that could not be told, which is as if it were now.
    pub modified: Option<Second>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    pub name: Arc<str>,
    /// `None` for a tag without `current`: its push has not ended, or died.
    pub current: Option<ObjectId>,
    /// What it named before, and names now, in order of the digests.
    pub history: Box<[Link]>,
}

#[derive(Debug, Default)]
pub struct Repository {
    pub name: Arc<str>,
    /// In order of the objects.
    pub layers: Vec<Link>,
    /// In order of the objects.
    pub revisions: Vec<Link>,
    /// In order of the names.
    pub tags: Vec<Tag>,
    /// When the pushes began that have not ended.
    pub uploads: Vec<Second>,
    pub damage: Vec<Damage>,
}

/// What could not be understood. Whose it is keeps everything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damage {
    /// Below the root.
    pub path: String,
    pub problem: String,
}

/// A storage.
#[derive(Debug, Default)]
pub struct Graph {
    objects: Vec<Object>,
    repositories: Vec<Repository>,
    nodes: Vec<(ObjectId, Node)>,
    /// Where the node of each object is, or [`UNREAD`].
    places: Vec<u32>,
    /// What could not be read, until it is settled whose damage that is.
    unreadable: Vec<(ObjectId, String)>,
    /// Damage that is of no repository.
    damage: Vec<Damage>,
    absent: Vec<Digest>,
    /// As what each object is linked, by anybody.
    linked: Vec<Linked>,
}

/// Of no object: so many are not counted.
const UNREAD: u32 = u32::MAX;

/// As what an object is linked.
#[derive(Debug, Clone, Copy, Default)]
struct Linked {
    /// A revision, or what a tag names or named.
    as_manifest: bool,
    as_layer: bool,
}

impl Graph {
    pub fn objects(&self) -> impl ExactSizeIterator<Item = (ObjectId, &Object)> {
        let number = |at: usize| ObjectId(u32::try_from(at).expect("numbers are of 32 bits"));
        self.objects
            .iter()
            .enumerate()
            .map(move |(at, object)| (number(at), object))
    }

    pub fn object(&self, id: ObjectId) -> &Object {
        self.objects
            .get(id.index())
            .expect("numbers are of this graph")
    }

    pub fn find(&self, digest: &Digest) -> Option<ObjectId> {
        let at = self
            .objects
            .binary_search_by(|object| object.digest.cmp(digest))
            .ok()?;
        Some(ObjectId(u32::try_from(at).expect("numbers are of 32 bits")))
    }

    pub fn repositories(&self) -> impl ExactSizeIterator<Item = (RepositoryId, &Repository)> {
        let number = |at: usize| RepositoryId(u32::try_from(at).expect("numbers are of 32 bits"));
        let all = self.repositories.iter().enumerate();
        all.map(move |(at, repository)| (number(at), repository))
    }

    pub fn repository(&self, id: RepositoryId) -> &Repository {
        self.repositories
            .get(id.index())
            .expect("numbers are of this graph")
    }

    /// `None` where it was not read: no manifest, or none that is stored.
    pub fn node(&self, id: ObjectId) -> Option<&Node> {
        let place = self.places.get(id.index()).copied();
        let place = place.filter(|place| *place != UNREAD)?;
        self.nodes.get(place as usize).map(|(_, node)| node)
    }

    /// What a manifest names; `None` also where that is not known.
    pub fn names(&self, id: ObjectId) -> Option<&Names> {
        self.node(id).and_then(Node::names)
    }

    /// Manifests that were looked at, whether they could be read or not.
    pub fn manifests(&self) -> usize {
        self.nodes.len()
    }

    /// The manifests that were read, with what they name.
    pub fn read(&self) -> impl Iterator<Item = (ObjectId, &Names)> {
        let nodes = self.nodes.iter();
        nodes.filter_map(|(id, node)| Some((*id, node.names()?)))
    }

    /// When all is read: what could not be read is damage of whoever has it, and damage is put in order, in
    /// whatever order it was found.
    pub fn settle(&mut self) {
        let unreadable = std::mem::take(&mut self.unreadable);
        if !unreadable.is_empty() {
            let parents = self.parents();
            for (id, problem) in unreadable {
                self.take_unreadable(id, &problem, &parents);
            }
        }
        let of_one = self.repositories.iter_mut().map(|it| &mut it.damage);
        for damage in of_one.chain([&mut self.damage]) {
            damage.sort_unstable();
            damage.dedup();
        }
    }

    /// Damage that is of no repository.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// The manifests to be read next, in order: those that are linked as such or that a tag names, those
    /// that an index names, and what is `kept` by its digest and may be one. Empty when all is read.
    ///
    /// A tag, or somebody who runs it, may need a manifest that no revision links any more: it is not served,
    /// and what it names is needed all the same.
    pub fn unread(&self, kept: &[Digest]) -> Vec<ObjectId> {
        let linked = self.objects().map(|(id, _)| id);
        let linked = linked.filter(|id| self.linked(*id).as_manifest);
        let named = self.read().flat_map(|(_, names)| names.children());
        let kept = kept.iter().filter_map(|digest| self.find(digest));
        // A layer or config stays what it is, whoever calls it a manifest: caches do.
        let maybe = named.copied().chain(kept);
        let maybe = maybe.filter(|id| !self.linked(*id).as_layer || self.linked(*id).as_manifest);
        let mut unread: Vec<ObjectId> = linked
            .chain(maybe)
            .filter(|id| self.node(*id).is_none() && self.object(*id).size().is_some())
            .collect();
        unread.sort_unstable();
        unread.dedup();
        unread
    }

    fn linked(&self, id: ObjectId) -> Linked {
        self.linked.get(id.index()).copied().unwrap_or_default()
    }

    /// What a manifest says, or what is wrong with it.
    pub fn parse(&self, id: ObjectId, body: &[u8]) -> Result<Parsed, String> {
        if Digest::of(body) != self.object(id).digest {
            return Err("its content is not that of its digest".to_owned());
        }
        Parsed::of(self, body)
    }

    /// Takes what a manifest says, or what is wrong with it, once.
    pub fn put(&mut self, id: ObjectId, parsed: Result<Parsed, String>) {
        let node = match parsed {
            Ok(Parsed { names, absent }) => {
                self.absent.extend(absent);
                Node::Read(names)
            }
            Err(problem) => {
                self.unreadable.push((id, problem));
                Node::Unreadable
            }
        };
        let number = u32::try_from(self.nodes.len()).expect("numbers are of 32 bits");
        let place = self.places.get_mut(id.index());
        *place.expect("numbers are of this graph") = number;
        self.nodes.push((id, node));
    }

    /// What manifests name or repositories link and the listing does not have, in order.
    pub fn absent(&self) -> Vec<Digest> {
        let linked = self.objects.iter().filter(|it| it.size().is_none());
        let linked = linked.map(|object| object.digest);
        let absent: BTreeSet<Digest> = self.absent.iter().copied().chain(linked).collect();
        absent.into_iter().collect()
    }

    /// By what each manifest is listed.
    fn parents(&self) -> HashMap<ObjectId, Vec<ObjectId>> {
        let mut parents: HashMap<ObjectId, Vec<ObjectId>> = HashMap::new();
        for (parent, names) in self.read() {
            for child in names.children() {
                parents.entry(*child).or_default().push(parent);
            }
        }
        parents
    }

    /// What cannot be read damages every repository that has it, or an index that leads to it: what it names
    /// is among the links there. What is kept by its digest alone, and is no manifest, is a blob.
    fn take_unreadable(
        &mut self,
        id: ObjectId,
        problem: &str,
        parents: &HashMap<ObjectId, Vec<ObjectId>>,
    ) {
        let mut above = HashSet::from([id]);
        let mut waiting = vec![id];
        while let Some(at) = waiting.pop() {
            let more = parents.get(&at).into_iter().flatten();
            waiting.extend(more.filter(|parent| above.insert(**parent)));
        }
        if !self.linked(id).as_manifest && above.len() == 1 {
            let place = self.places.get(id.index()).copied().unwrap_or(UNREAD);
            if let Some((_, node)) = self.nodes.get_mut(place as usize) {
                *node = Node::Read(Names::default());
            }
            return;
        }
        let digest = self.object(id).digest;
        for repository in &mut self.repositories {
            let has = |id: &ObjectId| {
                let mut tags = repository.tags.iter();
                position(&repository.revisions, *id).is_some()
                    || tags.any(|tag| {
                        tag.current == Some(*id) || position(&tag.history, *id).is_some()
                    })
            };
            if above.iter().any(has) {
                repository.damage.push(Damage {
                    path: format!("repositories/{}/_manifests: {digest}", repository.name),
                    problem: problem.to_owned(),
                });
            }
        }
    }
}

impl ObjectId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl RepositoryId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where among links, which stand in order of their objects, an object is.
pub fn position(links: &[Link], object: ObjectId) -> Option<usize> {
    links.binary_search_by_key(&object, |link| link.object).ok()
}
