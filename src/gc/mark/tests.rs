//! The marking against a small oracle that shares nothing with it.
//!
//! The oracle knows a storage as sets of texts, and asks of each thing on its own whether somebody needs
//! it, by following names one after the other.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;

use super::*;
use crate::gc::graph::Builder;

const NOW: i64 = 1_000_000;
const YOUNG_AFTER: i64 = NOW - 1000;
const OLD: i64 = NOW - 5000;
/// When pushes began that go on, and what came by them.
const PUSHING: i64 = NOW - 4000;
const PUSHED: i64 = NOW - 3000;
/// Pushes that began before this are dead.
const PUSHING_AFTER: i64 = NOW - 600_000;

/// A storage as a test describes it. Bodies by a name; who links what by the same names.
#[derive(Debug, Clone, Default)]
struct World {
    bodies: BTreeMap<String, Vec<u8>>,
    young: BTreeSet<String>,
    /// (repository, name)
    revisions: BTreeSet<(String, String)>,
    layers: BTreeSet<(String, String)>,
    /// (repository, tag) to name.
    tags: BTreeMap<(String, String), String>,
    /// (repository, tag, name)
    history: BTreeSet<(String, String, String)>,
    kept: BTreeSet<String>,
    /// Bodies that are manifests, with what they name.
    names: BTreeMap<String, Vec<String>>,
    subjects: BTreeMap<String, String>,
    configs: BTreeMap<String, String>,
    /// Manifests of a media type that nobody knows.
    unknown: BTreeSet<String>,
    /// What is stored of these is not what their digests say.
    spoilt: BTreeSet<String>,
    damaged: BTreeSet<String>,
    /// (repository, when it began)
    uploads: BTreeSet<(String, i64)>,
    /// Links that came by a push: (repository, name)
    pushed: BTreeSet<(String, String)>,
}

impl World {
    fn digest(&self, name: &str) -> Digest {
        Digest::of(&self.bodies[name])
    }

    fn blob(&mut self, name: &str) {
        self.bodies
            .insert(name.to_owned(), format!("blob {name}").into_bytes());
    }

    fn descriptor(&self, name: &str, media_type: &str) -> serde_json::Value {
        json!({"mediaType": media_type, "digest": self.digest(name), "size": self.bodies[name].len()})
    }

    fn image(&mut self, name: &str, config: &str, layers: &[&str], subject: Option<&str>) {
        let layer = "application/vnd.oci.image.layer.v1.tar+gzip";
        let body = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": self.descriptor(config, "application/vnd.oci.image.config.v1+json"),
            "layers": layers.iter().map(|it| self.descriptor(it, layer)).collect::<Vec<_>>(),
            "subject": subject.map(|it| self.descriptor(it, "application/vnd.oci.image.manifest.v1+json")),
            "annotations": {"name": name}});
        self.put(name, &body);
        let all = [config].into_iter().chain(layers.iter().copied());
        self.names
            .insert(name.to_owned(), all.map(ToOwned::to_owned).collect());
        self.configs.insert(name.to_owned(), config.to_owned());
        if let Some(subject) = subject {
            self.subjects.insert(name.to_owned(), subject.to_owned());
        }
    }

    fn index(&mut self, name: &str, children: &[&str], subject: Option<&str>) {
        let manifest = "application/vnd.oci.image.manifest.v1+json";
        let body = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": children.iter().map(|it| self.descriptor(it, manifest)).collect::<Vec<_>>(),
            "subject": subject.map(|it| self.descriptor(it, manifest)),
            "annotations": {"name": name}});
        self.put(name, &body);
        let children = children.iter().map(|it| (*it).to_owned());
        self.names.insert(name.to_owned(), children.collect());
        if let Some(subject) = subject {
            self.subjects.insert(name.to_owned(), subject.to_owned());
        }
    }

    /// A manifest of the future, which names things in a way of its own.
    fn future(&mut self, name: &str, named: &[&str]) {
        let body = json!({
            "schemaVersion": 7, "mediaType": "application/x.future",
            "what": named.iter().map(|it| json!({"where": self.digest(it)})).collect::<Vec<_>>(),
            "name": name});
        self.put(name, &body);
        let named = named.iter().map(|it| (*it).to_owned());
        self.names.insert(name.to_owned(), named.collect());
        self.unknown.insert(name.to_owned());
    }

    fn put(&mut self, name: &str, body: &serde_json::Value) {
        self.bodies
            .insert(name.to_owned(), body.to_string().into_bytes());
    }

    /// Links it and all that it names, as a push does.
    fn push(&mut self, repository: &str, name: &str) {
        let of = |name: &str| (repository.to_owned(), name.to_owned());
        self.revisions.insert(of(name));
        for named in self.names[name].clone() {
            if self.names.contains_key(&named) {
                self.push(repository, &named);
            } else {
                self.layers.insert(of(&named));
            }
        }
    }

    fn tag(&mut self, repository: &str, tag: &str, name: &str) {
        let key = (repository.to_owned(), tag.to_owned());
        self.history
            .insert((key.0.clone(), key.1.clone(), name.to_owned()));
        self.tags.insert(key, name.to_owned());
    }

    fn graph(&self) -> Graph {
        let mut builder = Builder::default();
        let at = |second| Some(Second::new(second));
        let written = |repository: &String, name: &String| {
            let link = (repository.clone(), name.clone());
            at(if self.pushed.contains(&link) {
                PUSHED
            } else {
                OLD
            })
        };
        for (name, body) in &self.bodies {
            let modified = if self.young.contains(name) { NOW } else { OLD };
            let size = u64::try_from(body.len()).unwrap();
            builder.blob(self.digest(name), size, at(modified));
        }
        for (repository, name) in &self.revisions {
            builder.revision(repository, self.digest(name), written(repository, name));
        }
        for (repository, name) in &self.layers {
            builder.layer(repository, self.digest(name), written(repository, name));
        }
        for ((repository, tag), name) in &self.tags {
            builder.tag(repository, &**tag, Some(self.digest(name)));
        }
        for (repository, tag, name) in &self.history {
            builder.history(repository, &**tag, self.digest(name), at(OLD));
        }
        for (repository, since) in &self.uploads {
            builder.upload(repository, at(*since));
        }
        for repository in &self.damaged {
            let damage = crate::gc::graph::Damage {
                path: "somewhere".to_owned(),
                problem: "it is damaged".to_owned(),
            };
            builder.damage(Some(repository), damage);
        }
        let mut graph = builder.finish();
        let mut bodies: BTreeMap<Digest, &[u8]> = BTreeMap::new();
        for (name, body) in &self.bodies {
            let is_spoilt = self.spoilt.contains(name);
            bodies.insert(self.digest(name), if is_spoilt { b"{}" } else { body });
        }
        let kept: Vec<Digest> = self.kept.iter().map(|name| self.digest(name)).collect();
        loop {
            let unread = graph.unread(&kept);
            if unread.is_empty() {
                graph.settle();
                return graph;
            }
            for id in unread {
                let body = bodies[&graph.object(id).digest];
                let parsed = graph.parse(id, body);
                graph.put(id, parsed);
            }
        }
    }

    fn repositories(&self) -> BTreeSet<String> {
        let links = self.revisions.iter().chain(&self.layers);
        let tags = self.tags.keys().map(|(repository, _)| repository);
        links
            .map(|(repository, _)| repository)
            .chain(tags)
            .chain(&self.damaged)
            .chain(self.uploads.iter().map(|(repository, _)| repository))
            .cloned()
            .collect()
    }
}

/// What is linked as a manifest, or named by a tag now or before.
fn is_manifest(world: &World, name: &str) -> bool {
    let revisions = world.revisions.iter().map(|(_, it)| it);
    let before = world.history.iter().map(|(_, _, it)| it);
    let mut all = revisions.chain(world.tags.values()).chain(before);
    all.any(|it| it == name)
}

/// What a manifest lists as manifests, if it can be read.
fn children<'a>(world: &'a World, name: &str) -> Vec<&'a String> {
    let is_image = world.configs.contains_key(name);
    let listed = world.names.get(name).into_iter().flatten();
    if is_image || world.spoilt.contains(name) {
        Vec::new()
    } else if world.unknown.contains(name) {
        listed.filter(|it| is_manifest(world, it)).collect()
    } else {
        listed.collect()
    }
}

/// What is looked at as a manifest: what is linked as one, what tags name or named, what is kept, and what
/// indexes among those list. Not a layer or config that nobody has as a manifest.
fn manifests(world: &World) -> BTreeSet<String> {
    let is_layer = |name: &String| world.layers.iter().any(|(_, it)| it == name);
    let may_be = |name: &&String| is_manifest(world, name) || !is_layer(name);
    let linked = world.bodies.keys().filter(|it| is_manifest(world, it));
    let kept = world.kept.iter().filter(may_be);
    let mut all: BTreeSet<String> = linked.chain(kept).cloned().collect();
    loop {
        let listed = all.iter().flat_map(|name| children(world, name));
        let more: BTreeSet<String> = all.iter().chain(listed.filter(may_be)).cloned().collect();
        if more == all {
            return all;
        }
        all = more;
    }
}

/// Of those, what tells what it names.
fn readable(world: &World) -> BTreeSet<String> {
    let mut all = manifests(world);
    all.retain(|name| world.names.contains_key(name) && !world.spoilt.contains(name));
    all
}

/// Repositories that keep everything: also those that have what cannot be read, or what leads to it by
/// whatever number of indexes. What is only kept, and is no manifest, is no damage.
fn damaged(world: &World) -> BTreeSet<String> {
    let mut damaged = world.damaged.clone();
    let readable = readable(world);
    for lost in manifests(world).difference(&readable) {
        let mut above = BTreeSet::from([lost.clone()]);
        loop {
            let parents = readable.iter().filter(|it| {
                let mut listed = children(world, it).into_iter();
                listed.any(|child| above.contains(child))
            });
            let more: BTreeSet<String> = above.iter().chain(parents).cloned().collect();
            if more == above {
                break;
            }
            above = more;
        }
        if above.len() == 1 && !is_manifest(world, lost) {
            continue;
        }
        let revisions = world.revisions.iter();
        let revisions = revisions.map(|(repository, name)| (repository, name));
        let tags = world.tags.iter();
        let tags = tags.map(|((repository, _), name)| (repository, name));
        let before = world.history.iter();
        let before = before.map(|(repository, _, name)| (repository, name));
        for (repository, name) in revisions.chain(tags).chain(before) {
            if above.contains(name) {
                damaged.insert(repository.clone());
            }
        }
    }
    damaged
}

/// What somebody needs, told slowly: (repository or nobody's, name), until nothing is added.
fn needed(world: &World, keeps_untagged: bool, keeps_history: bool) -> BTreeSet<(String, String)> {
    let mut needed: BTreeSet<(String, String)> = BTreeSet::new();
    let read = readable(world);
    let damaged = damaged(world);
    let repositories = world.repositories();
    let links = |repository: &str, name: &str| {
        let key = (repository.to_owned(), name.to_owned());
        world.revisions.contains(&key) || world.layers.contains(&key)
    };
    let is_named = |name: &String| {
        let mut read = read.iter();
        read.any(|it| world.names[it].contains(name))
    };
    // A push may be about to name what is there without a name, and has brought what came since it began.
    let is_pushed = |repository: &String, name: &String| {
        let mut uploads = world.uploads.iter();
        let is_pushing = uploads.any(|(it, since)| it == repository && *since > PUSHING_AFTER);
        let is_new = world.pushed.contains(&(repository.clone(), name.clone()));
        is_pushing && (is_new || !is_named(name))
    };
    for ((repository, _), name) in &world.tags {
        needed.insert((repository.clone(), name.clone()));
    }
    for (repository, _, name) in &world.history {
        if keeps_history || damaged.contains(repository) {
            needed.insert((repository.clone(), name.clone()));
        }
    }
    for (repository, name) in world.revisions.iter().chain(&world.layers) {
        let is_revision = world
            .revisions
            .contains(&(repository.clone(), name.clone()));
        let is_unknown = world.unknown.contains(name) && read.contains(name);
        if (is_revision && (keeps_untagged || is_unknown))
            || damaged.contains(repository)
            || world.young.contains(name)
            || is_pushed(repository, name)
        {
            needed.insert((repository.clone(), name.clone()));
        }
    }
    for name in world.young.iter().chain(&world.kept) {
        needed.insert((String::new(), name.clone()));
    }
    for name in &world.kept {
        for (manifest, config) in &world.configs {
            if config == name && read.contains(manifest) {
                needed.insert((String::new(), manifest.clone()));
            }
        }
    }
    loop {
        let mut more = needed.clone();
        for (repository, name) in &needed {
            // Whoever has no link of its own needs those of all others.
            if repository.is_empty() || !links(repository, name) {
                for other in &repositories {
                    if links(other, name) {
                        more.insert((other.clone(), name.clone()));
                    }
                }
            }
            // Whoever has it as a layer needs its bytes, whatever they say.
            let key = (repository.clone(), name.clone());
            if world.layers.contains(&key) && !world.revisions.contains(&key) {
                continue;
            }
            let subjects = world.subjects.iter().filter(|(_, it)| *it == name);
            for (referrer, _) in subjects.filter(|(referrer, _)| read.contains(*referrer)) {
                if world.revisions.iter().any(|(_, it)| it == referrer) {
                    more.insert((String::new(), referrer.clone()));
                }
            }
            if read.contains(name) {
                for named in &world.names[name] {
                    more.insert((repository.clone(), named.clone()));
                }
            }
        }
        if more == needed {
            return needed;
        }
        needed = more;
    }
}

fn check(world: &World, keeps_untagged: bool, keeps_history: bool) {
    let graph = world.graph();
    let kept: Vec<Digest> = world.kept.iter().map(|name| world.digest(name)).collect();
    let rules = Rules {
        keeps_untagged,
        keeps_history,
        young_after: Second::new(YOUNG_AFTER),
        pushing_after: Second::new(PUSHING_AFTER),
        is_in_scope: &|_| true,
        untagged: &|_| Vec::new(),
    };
    let marked = mark(&graph, &kept, &rules);
    let needed = needed(world, keeps_untagged, keeps_history);
    for name in world.bodies.keys() {
        let id = graph.find(&world.digest(name)).unwrap();
        let is_needed = needed.iter().any(|(_, it)| it == name);
        assert_eq!(marked.object(id), is_needed, "the data of {name}");
    }
    for (id, repository) in graph.repositories() {
        let has = |name: &str| needed.contains(&(repository.name.to_string(), name.to_owned()));
        for name in world.bodies.keys() {
            let object = graph.find(&world.digest(name)).unwrap();
            if let Some(at) = position(&repository.layers, object) {
                assert_eq!(
                    marked.layer(id, at),
                    has(name),
                    "{name} in {}",
                    repository.name
                );
            }
            if let Some(at) = position(&repository.revisions, object) {
                assert_eq!(
                    marked.revision(id, at),
                    has(name),
                    "{name} of {}",
                    repository.name
                );
            }
        }
    }
}

const REPOSITORIES: [&str; 3] = ["a", "a/b", "c"];

/// Numbers out of which a world is made.
#[derive(Debug, Clone)]
struct Recipe {
    /// Config, layers, subject.
    images: Vec<(u8, Vec<u8>, Option<u8>)>,
    indexes: Vec<(Vec<u8>, Option<u8>)>,
    futures: Vec<Vec<u8>>,
    pushes: Vec<(u8, u8)>,
    tags: Vec<(u8, u8, u8)>,
    lost_links: Vec<u8>,
    kept: Vec<u8>,
    young: Vec<u8>,
    odd: Odd,
    untagged: bool,
    history: bool,
}

/// What a storage is rarely without when it is old.
#[derive(Debug, Clone)]
struct Odd {
    damaged: Option<u8>,
    spoilt: Vec<u8>,
    /// Links in which something else stands than in their paths.
    crossed: Vec<(u8, u8)>,
    /// Whether it goes on.
    uploads: Vec<(u8, bool)>,
    pushed: Vec<u8>,
}

fn some(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..most)
}

prop_compose! {
    fn odd()(
        damaged in prop::option::weighted(0.1, any::<u8>()),
        // Most damage keeps all that there is, and then nothing else is tested.
        is_spoilt in prop::bool::weighted(0.2),
        is_crossed in prop::bool::weighted(0.1),
        spoilt in some(3),
        crossed in prop::collection::vec((any::<u8>(), any::<u8>()), 0..3),
        uploads in prop::collection::vec((any::<u8>(), any::<bool>()), 0..3),
        pushed in some(4),
    ) -> Odd {
        let spoilt = if is_spoilt { spoilt } else { Vec::new() };
        let crossed = if is_crossed { crossed } else { Vec::new() };
        Odd { damaged, spoilt, crossed, uploads, pushed }
    }
}

prop_compose! {
    fn recipe()(
        images in prop::collection::vec((any::<u8>(), some(4), prop::option::of(any::<u8>())), 1..6),
        indexes in prop::collection::vec((some(4), prop::option::of(any::<u8>())), 0..4),
        futures in prop::collection::vec(some(4), 0..3),
        pushes in prop::collection::vec((any::<u8>(), any::<u8>()), 0..8),
        tags in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>()), 0..6),
        lost_links in some(4),
        kept in some(3),
        young in some(2),
        odd in odd(),
        (untagged, history) in any::<(bool, bool)>(),
    ) -> Recipe {
        Recipe { images, indexes, futures, pushes, tags, lost_links, kept, young, odd, untagged, history }
    }
}

fn pick<T: Clone>(all: &[T], number: u8) -> T {
    all[usize::from(number) % all.len()].clone()
}

fn made(recipe: &Recipe) -> World {
    let mut world = World::default();
    let blobs: Vec<String> = (0..8).map(|number| format!("blob-{number}")).collect();
    for blob in &blobs {
        world.blob(blob);
    }
    let mut manifests: Vec<String> = Vec::new();
    for (number, (config, layers, subject)) in recipe.images.iter().enumerate() {
        let name = format!("image-{number}");
        let layers: Vec<String> = layers.iter().map(|it| pick(&blobs, *it)).collect();
        let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
        let subject = subject
            .filter(|_| !manifests.is_empty())
            .map(|it| pick(&manifests, it));
        world.image(&name, &pick(&blobs, *config), &layers, subject.as_deref());
        manifests.push(name);
    }
    for (number, (children, subject)) in recipe.indexes.iter().enumerate() {
        let name = format!("index-{number}");
        let children: BTreeSet<String> = children.iter().map(|it| pick(&manifests, *it)).collect();
        let children: Vec<&str> = children.iter().map(String::as_str).collect();
        let subject = subject.map(|it| pick(&manifests, it));
        world.index(&name, &children, subject.as_deref());
        manifests.push(name);
    }
    for (number, named) in recipe.futures.iter().enumerate() {
        let name = format!("future-{number}");
        let all: Vec<String> = manifests.iter().chain(&blobs).cloned().collect();
        let named: BTreeSet<String> = named.iter().map(|it| pick(&all, *it)).collect();
        let named: Vec<&str> = named.iter().map(String::as_str).collect();
        world.future(&name, &named);
        manifests.push(name);
    }
    for (repository, manifest) in &recipe.pushes {
        world.push(
            pick(&REPOSITORIES, *repository),
            &pick(&manifests, *manifest),
        );
    }
    // As sparse copies and half deleted images have lost them.
    for lost in &recipe.lost_links {
        let revisions: Vec<_> = world.revisions.iter().cloned().collect();
        if !revisions.is_empty() {
            world.revisions.remove(&pick(&revisions, *lost));
        }
    }
    for (repository, tag, manifest) in &recipe.tags {
        let tag = format!("v{}", tag % 3);
        world.tag(
            pick(&REPOSITORIES, *repository),
            &tag,
            &pick(&manifests, *manifest),
        );
    }
    let bodies: Vec<String> = world.bodies.keys().cloned().collect();
    world.kept = recipe.kept.iter().map(|it| pick(&bodies, *it)).collect();
    world.young = recipe.young.iter().map(|it| pick(&bodies, *it)).collect();
    let repository = |number: u8| pick(&REPOSITORIES, number).to_owned();
    let Odd {
        damaged,
        spoilt,
        crossed,
        uploads,
        pushed,
    } = &recipe.odd;
    world.damaged = damaged.iter().map(|it| repository(*it)).collect();
    world.spoilt = spoilt.iter().map(|it| pick(&manifests, *it)).collect();
    for (link, other) in crossed {
        let other = pick(&bodies, *other);
        let revisions: Vec<_> = world.revisions.iter().cloned().collect();
        let layers: Vec<_> = world.layers.iter().cloned().collect();
        // What both may mean is kept, and that they differ is damage.
        let crossed = if link % 2 == 0 && !revisions.is_empty() {
            let (repository, _) = pick(&revisions, link / 2);
            world.revisions.insert((repository.clone(), other));
            Some(repository)
        } else if !layers.is_empty() {
            let (repository, _) = pick(&layers, link / 2);
            world.layers.insert((repository.clone(), other));
            Some(repository)
        } else {
            None
        };
        world.damaged.extend(crossed);
    }
    let uploads = uploads.iter().map(|(number, goes_on)| {
        let since = if *goes_on { PUSHING } else { PUSHING_AFTER };
        (repository(*number), since)
    });
    world.uploads = uploads.collect();
    let links: Vec<_> = world
        .revisions
        .iter()
        .chain(&world.layers)
        .cloned()
        .collect();
    if !links.is_empty() {
        world.pushed = pushed.iter().map(|it| pick(&links, *it)).collect();
    }
    world
}

fn cases(cases: u32) {
    let mut runner = TestRunner::new(ProptestConfig {
        cases,
        ..ProptestConfig::default()
    });
    let result = runner.run(&recipe(), |recipe| {
        check(&made(&recipe), recipe.untagged, recipe.history);
        Ok(())
    });
    result.unwrap();
}

#[test]
fn nothing_needed_may_go_and_all_else_may() {
    cases(500);
}

#[test]
#[ignore = "takes a while: make long"]
fn nothing_needed_may_go_and_all_else_may_of_twenty_thousand_storages() {
    cases(20_000);
}
