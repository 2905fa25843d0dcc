//! From a listing to a graph. Pure.

use std::collections::BTreeMap;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::{Damage, Graph, Link, Linked, Object, ObjectId, Repository, Tag, UNREAD};
use crate::oci::digest::Digest;
use crate::second::Second;
use crate::storage::Listed as Found;

/// Gathers a listing, in whatever order it comes. Each digest gets a number when it is seen first, so that a
/// link takes eight bytes at once; in the end they are numbered anew, in order.
#[derive(Debug, Default)]
pub struct Builder {
    objects: Vec<Object>,
    numbers: HashTable<u32>,
    hasher: foldhash::fast::RandomState,
    repositories: BTreeMap<Arc<str>, Listed>,
    damage: Vec<Damage>,
}

/// What was found of a repository so far. A storage may have a tag for each image: they are put together
/// in the end.
#[derive(Debug, Default)]
struct Listed {
    layers: Vec<Link>,
    revisions: Vec<Link>,
    /// With what each names now.
    tags: Vec<(Arc<str>, Option<ObjectId>)>,
    /// With what each named.
    history: Vec<(Arc<str>, Link)>,
    uploads: Vec<Second>,
    damage: Vec<Damage>,
}

impl Builder {
    pub fn blob(&mut self, digest: Digest, size: u64, modified: Option<Second>) {
        let ObjectId(number) = self.number(digest);
        if let Some(object) = self.objects.get_mut(number as usize) {
            object.set_size(size);
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
    pub fn tag(&mut self, repository: &str, tag: impl Into<Arc<str>>, current: Option<Digest>) {
        let current = current.map(|digest| self.number(digest));
        self.listed(repository).tags.push((tag.into(), current));
    }

    /// What a tag named at some time.
    pub fn history(
        &mut self,
        repository: &str,
        tag: impl Into<Arc<str>>,
        digest: Digest,
        modified: Option<Second>,
    ) {
        let object = self.number(digest);
        let link = Link { object, modified };
        self.listed(repository).history.push((tag.into(), link));
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
            } => self.tag(&repository, tag, current),
            Found::TagHistory {
                repository,
                tag,
                digest,
                modified,
            } => self.history(&repository, tag, digest, modified),
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
                objects.push(Object::linked(digest));
                ObjectId(number)
            }
        }
    }

    fn listed(&mut self, name: &str) -> &mut Listed {
        if !self.repositories.contains_key(name) {
            self.repositories.insert(name.into(), Listed::default());
        }
        let listed = self.repositories.get_mut(name);
        listed.expect("it was put there")
    }

    /// The graph, of which no manifest is read yet.
    pub fn finish(self) -> Graph {
        let Self {
            mut objects,
            numbers,
            repositories,
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
        let repositories = repositories.into_iter();
        let repositories: Vec<Repository> = repositories
            .map(|(name, listed)| listed.finish(name, &place))
            .collect();
        Graph {
            linked: linked(&repositories, objects.len()),
            places: vec![UNREAD; objects.len()],
            repositories,
            objects,
            damage,
            ..Graph::default()
        }
    }
}

impl Listed {
    /// `place` tells the number that an object has in the end.
    fn finish(self, name: Arc<str>, place: &dyn Fn(ObjectId) -> ObjectId) -> Repository {
        let Self {
            layers,
            revisions,
            tags,
            history,
            uploads,
            damage,
        } = self;
        Repository {
            name,
            layers: links(layers, place),
            revisions: links(revisions, place),
            tags: put_together(tags, history, place),
            uploads,
            damage,
        }
    }
}

/// In order of the objects.
fn links(mut links: Vec<Link>, place: &dyn Fn(ObjectId) -> ObjectId) -> Vec<Link> {
    for link in &mut links {
        link.object = place(link.object);
    }
    // Where one is listed twice, the younger counts, and what has no time is of now.
    let age = |link: &Link| link.modified.map_or(i64::MIN, |it| -it.get());
    links.sort_unstable_by_key(|link| (link.object, age(link)));
    links.dedup_by_key(|link| link.object);
    links.shrink_to_fit();
    links
}

/// Tags with their history, in order of the names. One that has only a history names nothing now.
fn put_together(
    mut tags: Vec<(Arc<str>, Option<ObjectId>)>,
    mut history: Vec<(Arc<str>, Link)>,
    place: &dyn Fn(ObjectId) -> ObjectId,
) -> Vec<Tag> {
    history.sort_by(|(one, _), (other, _)| one.cmp(other));
    tags.sort_by(|(one, current), (other, its)| {
        (one, current.is_none()).cmp(&(other, its.is_none()))
    });
    tags.dedup_by(|(one, _), (other, _)| one == other);
    let known = tags.len();
    for names in history.chunk_by(|(one, _), (other, _)| one == other) {
        let Some((name, _)) = names.first() else {
            continue;
        };
        let first = tags.get(..known).unwrap_or_default();
        if first.binary_search_by(|(it, _)| it.cmp(name)).is_err() {
            tags.push((Arc::clone(name), None));
        }
    }
    tags.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut history = history.into_iter().peekable();
    let tags = tags.into_iter().map(|(name, current)| {
        let own = std::iter::from_fn(|| history.next_if(|(of, _)| *of == name));
        let own: Vec<Link> = own.map(|(_, link)| link).collect();
        Tag {
            current: current.map(place),
            history: links(own, place).into(),
            name,
        }
    });
    tags.collect()
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
