//! What a storage holds, and what names what. Pure: it is told of a listing and of manifests.
//!
//! Objects are numbered in order of their digests, so that a link is two numbers and a graph of a million
//! blobs fits in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::BuildHasher as _;
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::oci::digest::Digest;
use crate::oci::manifest::Manifest;
use crate::oci::media_type::{self, Kind};
use crate::second::Second;
use crate::storage::Listed as Found;

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
    /// Of the data in bytes; [`ABSENT`] where there is none.
    size: u64,
    /// When the data was written.
    modified: Option<Second>,
}

const ABSENT: u64 = u64::MAX;
const _: () = assert!(size_of::<Object>() <= 48);

impl Object {
    /// `None` where it is only linked.
    pub fn size(&self) -> Option<u64> {
        (self.size != ABSENT).then_some(self.size)
    }

    pub fn modified(&self) -> Option<Second> {
        self.modified
    }
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
    pub history: Vec<Link>,
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

/// What a manifest names, as far as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    Read {
        /// Manifests, and whatever an index lists besides.
        children: Box<[ObjectId]>,
        /// The config first, where there is one.
        blobs: Box<[ObjectId]>,
        has_config: bool,
        /// One of an unknown media type is kept, with all that looks like a digest in it.
        is_understood: bool,
        subject: Option<ObjectId>,
    },
    /// What it names is not known.
    Unreadable,
}

/// A manifest that was read.
#[derive(Debug)]
pub struct Parsed {
    node: Node,
    /// What it names and is not stored.
    absent: Vec<Digest>,
}

struct Reading<'a> {
    graph: &'a Graph,
    absent: Vec<Digest>,
}

impl Reading<'_> {
    /// The numbers of those that are there.
    fn stored(&mut self, digests: impl Iterator<Item = Digest>) -> Box<[ObjectId]> {
        let mut stored = Vec::new();
        for digest in digests {
            match self.graph.find(&digest) {
                Some(id) => stored.push(id),
                None => self.absent.push(digest),
            }
        }
        stored.into()
    }
}

/// A storage.
#[derive(Debug, Default)]
pub struct Graph {
    objects: Vec<Object>,
    repositories: Vec<Repository>,
    nodes: HashMap<ObjectId, Node>,
    /// Damage that is of no repository.
    damage: Vec<Damage>,
    absent: Vec<Digest>,
    /// As what each object is linked, by anybody.
    linked: Vec<Linked>,
}

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

    pub fn node(&self, id: ObjectId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    pub fn nodes(&self) -> impl Iterator<Item = (ObjectId, &Node)> {
        self.nodes.iter().map(|(id, node)| (*id, node))
    }

    /// Puts damage in order, in whatever order it was found.
    pub fn settle(&mut self) {
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
        let named = self.nodes.values().flat_map(|node| match node {
            Node::Read { children, .. } => &**children,
            Node::Unreadable => &[],
        });
        let kept = kept.iter().filter_map(|digest| self.find(digest));
        // A layer or config stays what it is, whoever calls it a manifest: caches do.
        let maybe = named.copied().chain(kept);
        let maybe = maybe.filter(|id| !self.linked(*id).as_layer || self.linked(*id).as_manifest);
        let mut unread: Vec<ObjectId> = linked
            .chain(maybe)
            .filter(|id| !self.nodes.contains_key(id) && self.object(*id).size().is_some())
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
        let mut reading = Reading {
            graph: self,
            absent: Vec::new(),
        };
        let node = match Manifest::parse(body, None) {
            Ok(Manifest::Index { children, subject }) => {
                // Caches and other artifacts list plain blobs in an index.
                let is_manifest = |media_type: &str| media_type::kind(media_type) != Kind::Other;
                let (children, blobs): (Vec<_>, Vec<_>) = children
                    .iter()
                    .partition(|it| it.media_type.is_empty() || is_manifest(&it.media_type));
                Node::Read {
                    children: reading.stored(children.iter().map(|it| it.digest)),
                    blobs: reading.stored(blobs.iter().map(|it| it.digest)),
                    has_config: false,
                    is_understood: true,
                    subject: subject.as_ref().and_then(|it| self.find(it)),
                }
            }
            Ok(Manifest::Image {
                config,
                layers,
                subject,
            }) => {
                let has_config = self.find(&config.digest).is_some();
                let all = [config.digest].into_iter();
                Node::Read {
                    children: Box::default(),
                    has_config,
                    is_understood: true,
                    blobs: reading.stored(all.chain(layers.iter().map(|it| it.digest))),
                    subject: subject.as_ref().and_then(|it| self.find(it)),
                }
            }
            // Whatever looks like a digest in it may be one, and a manifest if it is linked as one.
            Ok(Manifest::Unsupported { .. }) => {
                let named = digests_in(body).filter_map(|it| self.find(&it));
                let (children, blobs): (Vec<_>, Vec<_>) =
                    named.partition(|it| self.linked(*it).as_manifest);
                Node::Read {
                    children: children.into(),
                    blobs: blobs.into(),
                    has_config: false,
                    is_understood: false,
                    subject: None,
                }
            }
            Err(problem) => return Err(problem.to_string()),
        };
        let absent = reading.absent;
        Ok(Parsed { node, absent })
    }

    /// Takes what a manifest says. What is wrong with it damages every repository that has it, or an index
    /// that names it; what is kept by its digest alone, and is no manifest, is a blob.
    pub fn put(&mut self, id: ObjectId, parsed: Result<Parsed, String>) {
        let node = match parsed {
            Ok(Parsed { node, absent }) => {
                self.absent.extend(absent);
                node
            }
            Err(problem) => {
                if self.unreadable(id, &problem) {
                    Node::Unreadable
                } else {
                    Node::Read {
                        children: Box::default(),
                        blobs: Box::default(),
                        has_config: false,
                        is_understood: true,
                        subject: None,
                    }
                }
            }
        };
        self.nodes.insert(id, node);
    }

    /// What manifests name or repositories link and the listing does not have, in order.
    pub fn absent(&self) -> Vec<Digest> {
        let linked = self.objects.iter().filter(|it| it.size().is_none());
        let linked = linked.map(|object| object.digest);
        let absent: BTreeSet<Digest> = self.absent.iter().copied().chain(linked).collect();
        absent.into_iter().collect()
    }

    /// Whether it should have been a manifest.
    fn unreadable(&mut self, id: ObjectId, problem: &str) -> bool {
        let digest = self.object(id).digest;
        let parents: HashSet<ObjectId> = self
            .nodes
            .iter()
            .filter(
                |(_, node)| matches!(node, Node::Read { children, .. } if children.contains(&id)),
            )
            .map(|(parent, _)| *parent)
            .collect();
        for repository in &mut self.repositories {
            let has = |id: ObjectId| {
                let mut tags = repository.tags.iter();
                position(&repository.revisions, id).is_some()
                    || tags
                        .any(|tag| tag.current == Some(id) || position(&tag.history, id).is_some())
            };
            if has(id) || parents.iter().any(|parent| has(*parent)) {
                repository.damage.push(Damage {
                    path: format!("repositories/{}/_manifests: {digest}", repository.name),
                    problem: problem.to_owned(),
                });
            }
        }
        self.linked(id).as_manifest || !parents.is_empty()
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

/// Every `sha256:<64 hex>` in a text.
fn digests_in(body: &[u8]) -> impl Iterator<Item = Digest> + '_ {
    const NAME: &[u8] = b"sha256:";
    let starts = body.windows(NAME.len()).enumerate();
    let starts = starts
        .filter(|(_, window)| *window == NAME)
        .map(|(at, _)| at);
    starts.filter_map(|at| {
        let text = body.get(at..at + NAME.len() + 64)?;
        std::str::from_utf8(text).ok()?.parse().ok()
    })
}

/// Gathers a listing, in whatever order it comes. Each digest gets a number when it is seen first, so that a
/// link takes eight bytes at once; in the end they are numbered anew, in order.
#[derive(Debug, Default)]
pub struct Builder {
    objects: Vec<Object>,
    numbers: HashTable<u32>,
    hasher: foldhash::fast::RandomState,
    repositories: BTreeMap<Arc<str>, Repository>,
    /// Of each repository its tags, by their names.
    tags: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Tag>>,
    damage: Vec<Damage>,
}

impl Builder {
    pub fn blob(&mut self, digest: Digest, size: u64, modified: Option<Second>) {
        let ObjectId(number) = self.number(digest);
        if let Some(object) = self.objects.get_mut(number as usize) {
            // A file of 2^64 - 1 bytes is none.
            object.size = size.min(ABSENT - 1);
            object.modified = modified;
        }
    }

    pub fn layer(&mut self, repository: &str, digest: Digest, modified: Option<Second>) {
        let object = self.number(digest);
        self.listed(repository)
            .layers
            .push(Link { object, modified });
    }

    pub fn revision(&mut self, repository: &str, digest: Digest, modified: Option<Second>) {
        let object = self.number(digest);
        self.listed(repository)
            .revisions
            .push(Link { object, modified });
    }

    /// What a tag names now; `None` where nobody can say.
    pub fn tag(&mut self, repository: &str, tag: &str, current: Option<Digest>) {
        let current = current.map(|digest| self.number(digest));
        self.listed_tag(repository, tag).current = current;
    }

    /// What a tag named at some time.
    pub fn history(
        &mut self,
        repository: &str,
        tag: &str,
        digest: Digest,
        modified: Option<Second>,
    ) {
        let object = self.number(digest);
        self.listed_tag(repository, tag)
            .history
            .push(Link { object, modified });
    }

    /// A push that has not ended; `None` where it does not say since when. The registry itself never takes
    /// such a one away (`purgeuploads.go`), so it is said.
    pub fn upload(&mut self, repository: &str, since: Option<Second>) {
        let listed = self.listed(repository);
        match since {
            Some(since) => listed.uploads.push(since),
            None => listed.damage.push(Damage {
                path: format!("repositories/{repository}/_uploads"),
                problem: "a push in it does not say when it began, so that it may be going on; if it is not, \
                          take its directory away"
                    .to_owned(),
            }),
        }
    }

    /// What could not be understood, of a repository or of none.
    pub fn damage(&mut self, repository: Option<&str>, damage: Damage) {
        match repository {
            Some(repository) => self.listed(repository).damage.push(damage),
            None => self.damage.push(damage),
        }
    }

    /// Takes what a listing found.
    pub fn add(&mut self, found: Found) {
        match found {
            Found::Blob {
                digest,
                size,
                modified,
            } => self.blob(digest, size, modified),
            Found::Layer {
                repository,
                digest,
                modified,
            } => self.layer(&repository, digest, modified),
            Found::Revision {
                repository,
                digest,
                modified,
            } => self.revision(&repository, digest, modified),
            Found::Tag {
                repository,
                tag,
                current,
            } => self.tag(&repository, &tag, current),
            Found::TagHistory {
                repository,
                tag,
                digest,
                modified,
            } => self.history(&repository, &tag, digest, modified),
            Found::Upload { repository, since } => self.upload(&repository, since),
            Found::Damage {
                repository,
                path,
                problem,
            } => self.damage(repository.as_deref(), Damage { path, problem }),
        }
    }

    /// In the order in which they are seen.
    fn number(&mut self, digest: Digest) -> ObjectId {
        let Self {
            objects,
            numbers,
            hasher,
            ..
        } = self;
        let of = |number: &u32| objects.get(*number as usize).map(|object| object.digest);
        let hash = hasher.hash_one(Some(digest));
        let found = numbers.entry(
            hash,
            |number| of(number) == Some(digest),
            |number| hasher.hash_one(of(number)),
        );
        match found {
            Entry::Occupied(known) => ObjectId(*known.get()),
            Entry::Vacant(new) => {
                let number = u32::try_from(objects.len()).expect("numbers are of 32 bits");
                new.insert(number);
                objects.push(Object {
                    digest,
                    size: ABSENT,
                    modified: None,
                });
                ObjectId(number)
            }
        }
    }

    fn listed(&mut self, name: &str) -> &mut Repository {
        if !self.repositories.contains_key(name) {
            let repository = Repository {
                name: name.into(),
                ..Repository::default()
            };
            self.repositories.insert(name.into(), repository);
        }
        let listed = self.repositories.get_mut(name);
        listed.expect("it was put there")
    }

    fn listed_tag(&mut self, repository: &str, tag: &str) -> &mut Tag {
        self.listed(repository);
        if !self.tags.contains_key(repository) {
            self.tags.insert(repository.into(), BTreeMap::new());
        }
        let tags = self.tags.get_mut(repository).expect("it was put there");
        if !tags.contains_key(tag) {
            let new = Tag {
                name: tag.into(),
                current: None,
                history: Vec::new(),
            };
            tags.insert(tag.into(), new);
        }
        tags.get_mut(tag).expect("it was put there")
    }

    /// The graph, of which no manifest is read yet.
    pub fn finish(self) -> Graph {
        let Self {
            mut objects,
            numbers,
            repositories,
            mut tags,
            damage,
            ..
        } = self;
        drop(numbers);
        let mut order: Vec<u32> = (0..).take(objects.len()).collect();
        let digest = |number: &u32| objects.get(*number as usize).map(|object| object.digest);
        order.sort_unstable_by_key(digest);
        let mut places = vec![0_u32; order.len()];
        for (place, number) in (0..).zip(&order) {
            *places.get_mut(*number as usize).expect("each has a place") = place;
        }
        drop(order);
        objects.sort_unstable_by_key(|object| object.digest);
        let place = |ObjectId(number): ObjectId| {
            ObjectId(*places.get(number as usize).expect("each has a place"))
        };
        let links = |links: &mut Vec<Link>| {
            for link in links.iter_mut() {
                link.object = place(link.object);
            }
            // Where one is listed twice, the younger counts, and what has no time is of now.
            let age = |link: &Link| link.modified.map_or(i64::MIN, |it| -it.get());
            links.sort_unstable_by_key(|link| (link.object, age(link)));
            links.dedup_by_key(|link| link.object);
            links.shrink_to_fit();
        };
        let repositories = repositories.into_values().map(|mut repository| {
            links(&mut repository.layers);
            links(&mut repository.revisions);
            let tags = tags.remove(&*repository.name).unwrap_or_default();
            let tags = tags.into_values().map(|mut tag| {
                tag.current = tag.current.map(place);
                links(&mut tag.history);
                tag
            });
            repository.tags = tags.collect();
            repository
        });
        let repositories: Vec<Repository> = repositories.collect();
        Graph {
            linked: linked(&repositories, objects.len()),
            repositories,
            objects,
            damage,
            ..Graph::default()
        }
    }
}

fn linked(repositories: &[Repository], count: usize) -> Vec<Linked> {
    let mut all = vec![Linked::default(); count];
    let mut note = |id: ObjectId, note: fn(&mut Linked)| {
        if let Some(linked) = all.get_mut(id.index()) {
            note(linked);
        }
    };
    for repository in repositories {
        for link in &repository.layers {
            note(link.object, |it| it.as_layer = true);
        }
        let history = repository.tags.iter().flat_map(|tag| &tag.history);
        let current = repository.tags.iter().filter_map(|tag| tag.current);
        let revisions = repository.revisions.iter().chain(history);
        for id in revisions.map(|link| link.object).chain(current) {
            note(id, |it| it.as_manifest = true);
        }
    }
    all
}
