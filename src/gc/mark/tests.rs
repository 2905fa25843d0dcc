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
    damaged: BTreeSet<String>,
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
        let old = Some(Second::new(OLD));
        for (name, body) in &self.bodies {
            let modified = if self.young.contains(name) { NOW } else { OLD };
            let size = u64::try_from(body.len()).unwrap();
            builder.blob(self.digest(name), size, Some(Second::new(modified)));
        }
        for (repository, name) in &self.revisions {
            builder.revision(repository, self.digest(name), old);
        }
        for (repository, name) in &self.layers {
            builder.layer(repository, self.digest(name), old);
        }
        for ((repository, tag), name) in &self.tags {
            builder.tag(repository, tag, Some(self.digest(name)));
        }
        for (repository, tag, name) in &self.history {
            builder.history(repository, tag, self.digest(name), old);
        }
        for repository in &self.damaged {
            let damage = crate::gc::graph::Damage {
                path: "somewhere".to_owned(),
                problem: "it is damaged".to_owned(),
            };
            builder.damage(Some(repository), damage);
        }
        let mut graph = builder.finish();
        let bodies: BTreeMap<Digest, &Vec<u8>> = self
            .bodies
            .values()
            .map(|body| (Digest::of(body), body))
            .collect();
        let kept: Vec<Digest> = self.kept.iter().map(|name| self.digest(name)).collect();
        loop {
            let unread = graph.unread(&kept);
            if unread.is_empty() {
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
            .cloned()
            .collect()
    }
}

/// What is known to be a manifest: what is linked as one, what tags name or named, what is kept and is one,
/// and what indexes among those list.
fn manifests(world: &World) -> BTreeSet<String> {
    let revisions = world.revisions.iter().map(|(_, name)| name);
    let tagged = world.tags.values();
    let before = world.history.iter().map(|(_, _, name)| name);
    let kept = world
        .kept
        .iter()
        .filter(|name| world.names.contains_key(*name));
    let mut all: BTreeSet<String> = revisions
        .chain(tagged)
        .chain(before)
        .chain(kept)
        .cloned()
        .collect();
    loop {
        let indexes = all.iter().filter(|name| !world.configs.contains_key(*name));
        let children = indexes.flat_map(|name| world.names.get(name).into_iter().flatten());
        let more: BTreeSet<String> = all.iter().chain(children).cloned().collect();
        if more == all {
            return all;
        }
        all = more;
    }
}

/// What somebody needs, told slowly: (repository or nobody's, name), until nothing is added.
fn needed(world: &World, keeps_untagged: bool, keeps_history: bool) -> BTreeSet<(String, String)> {
    let mut needed: BTreeSet<(String, String)> = BTreeSet::new();
    let read = manifests(world);
    let repositories = world.repositories();
    let links = |repository: &str, name: &str| {
        let key = (repository.to_owned(), name.to_owned());
        world.revisions.contains(&key) || world.layers.contains(&key)
    };
    for ((repository, _), name) in &world.tags {
        needed.insert((repository.clone(), name.clone()));
    }
    for (repository, _, name) in &world.history {
        if keeps_history || world.damaged.contains(repository) {
            needed.insert((repository.clone(), name.clone()));
        }
    }
    for (repository, name) in world.revisions.iter().chain(&world.layers) {
        let is_revision = world
            .revisions
            .contains(&(repository.clone(), name.clone()));
        if (is_revision && keeps_untagged)
            || world.damaged.contains(repository)
            || world.young.contains(name)
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
            if !read.contains(name) {
                continue;
            }
            for named in world.names.get(name).into_iter().flatten() {
                more.insert((repository.clone(), named.clone()));
            }
            for (referrer, subject) in &world.subjects {
                let is_linked = world.revisions.iter().any(|(_, it)| it == referrer);
                if subject == name && is_linked {
                    more.insert((String::new(), referrer.clone()));
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
        pushing_after: Second::new(NOW - 600_000),
        is_in_scope: &|_| true,
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

/// Numbers out of which a world is made.
#[derive(Debug, Clone)]
struct Recipe {
    images: Vec<(u8, Vec<u8>, Option<u8>)>,
    indexes: Vec<(Vec<u8>, Option<u8>)>,
    pushes: Vec<(u8, u8)>,
    tags: Vec<(u8, u8, u8)>,
    lost_links: Vec<u8>,
    kept: Vec<u8>,
    young: Vec<u8>,
    damaged: Option<u8>,
    untagged: bool,
    history: bool,
}

const REPOSITORIES: [&str; 3] = ["a", "a/b", "c"];

fn recipe() -> impl Strategy<Value = Recipe> {
    let some = |most: usize| prop::collection::vec(any::<u8>(), 0..most);
    (
        prop::collection::vec((any::<u8>(), some(4), prop::option::of(any::<u8>())), 1..6),
        prop::collection::vec((some(4), prop::option::of(any::<u8>())), 0..4),
        prop::collection::vec((any::<u8>(), any::<u8>()), 0..8),
        prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>()), 0..6),
        some(4),
        some(3),
        some(2),
        prop::option::weighted(0.1, any::<u8>()),
        (any::<bool>(), any::<bool>()),
    )
        .prop_map(
            |(
                images,
                indexes,
                pushes,
                tags,
                lost_links,
                kept,
                young,
                damaged,
                (untagged, history),
            )| {
                Recipe {
                    images,
                    indexes,
                    pushes,
                    tags,
                    lost_links,
                    kept,
                    young,
                    damaged,
                    untagged,
                    history,
                }
            },
        )
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
    world.damaged = recipe
        .damaged
        .iter()
        .map(|it| pick(&REPOSITORIES, *it).to_owned())
        .collect();
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
