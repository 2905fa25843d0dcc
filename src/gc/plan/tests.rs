use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::gc::graph::Builder;
use crate::retention::policy::Untagged;

const OLD: i64 = 1_000;
const NOW: i64 = 1_000_000;
const YOUNG_AFTER: i64 = NOW - 86_400;

/// A storage that is written by hand.
#[derive(Default)]
struct Scene {
    builder: Builder,
    bodies: BTreeMap<Digest, Vec<u8>>,
}

impl Scene {
    fn blob_at(&mut self, text: &str, second: i64) -> Digest {
        let body = text.as_bytes().to_vec();
        let digest = Digest::of(&body);
        let size = body.len() as u64;
        self.builder.blob(digest, size, Some(Second::new(second)));
        self.bodies.insert(digest, body);
        digest
    }

    fn blob(&mut self, text: &str) -> Digest {
        self.blob_at(text, OLD)
    }

    /// An image and its links in a repository.
    fn image(&mut self, repository: &str, name: &str, layers: &[Digest]) -> Digest {
        let config = self.blob(&format!("config of {name}"));
        let describe = |digest: &Digest| json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": 1});
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 1},
            "layers": layers.iter().map(describe).collect::<Vec<_>>()});
        let digest = self.blob(&manifest.to_string());
        self.link(repository, config);
        for layer in layers {
            self.link(repository, *layer);
        }
        self.revision(repository, digest);
        digest
    }

    fn link(&mut self, repository: &str, digest: Digest) {
        self.builder
            .layer(repository, digest, Some(Second::new(OLD)));
    }

    fn revision(&mut self, repository: &str, digest: Digest) {
        self.builder
            .revision(repository, digest, Some(Second::new(OLD)));
    }

    fn history(&mut self, repository: &str, tag: &str, digest: Digest) {
        let old = Some(Second::new(OLD));
        self.builder.history(repository, tag, digest, old);
    }

    fn tag(&mut self, repository: &str, tag: &str, digest: Digest) {
        self.builder.tag(repository, tag, Some(digest));
        self.history(repository, tag, digest);
    }

    fn planned(self, patterns: &[&str], needed: &Needed) -> Plan {
        self.planned_by(patterns, needed, &[])
    }

    fn planned_by(self, patterns: &[&str], needed: &Needed, retention: &[Retention]) -> Plan {
        let mut graph = self.builder.finish();
        loop {
            let unread = graph.unread(&needed.digests);
            if unread.is_empty() {
                break;
            }
            for id in unread {
                let parsed = graph.parse(id, &self.bodies[&graph.object(id).digest]);
                graph.put(id, parsed);
            }
        }
        let repositories: Vec<Pattern> = patterns.iter().map(|it| it.parse().unwrap()).collect();
        let policy = Policy {
            repositories: &repositories,
            keeps_untagged: false,
            keeps_tag_history: false,
            young_after: Second::new(YOUNG_AFTER),
            pushing_after: Second::new(NOW - 604_800),
            retention,
            now: Second::new(NOW),
        };
        plan(graph, needed, &policy)
    }
}

type Told = (String, &'static str, Digest, &'static str, u64);

fn told(plan: &Plan) -> Vec<Told> {
    let row = |it: Garbage<'_>| {
        let repository = it.repository.map_or("-", |name| name);
        let tag = it.tag.map_or_else(String::new, |tag| format!(":{tag}"));
        let place = format!("{repository}{tag}");
        (
            place,
            it.kind.as_str(),
            it.digest,
            it.reason.as_str(),
            it.bytes,
        )
    };
    plan.garbage().map(row).collect()
}

fn sorted(mut rows: Vec<Told>) -> Vec<Told> {
    rows.sort();
    rows
}

#[test]
fn what_a_policy_keeps_of_the_untagged_stays_with_all_that_it_names() {
    let made = || {
        let mut scene = Scene::default();
        for (name, pushed) in [("old", OLD), ("newer", OLD + 1000), ("newest", OLD + 2000)] {
            let layer = scene.blob(&format!("layer of {name}"));
            let image = scene.image("team/app", name, &[layer]);
            let other = scene.image("other", name, &[layer]);
            for (repository, digest) in [("team/app", image), ("other", other)] {
                let at = Some(Second::new(pushed));
                scene.builder.revision(repository, digest, at);
            }
        }
        let layer = scene.blob("layer of tagged");
        let tagged = scene.image("team/app", "tagged", &[layer]);
        scene.tag("team/app", "v1", tagged);
        scene
    };
    let going = |untagged: Option<Untagged>| -> Vec<String> {
        let policy = Retention {
            repositories: vec!["team/*".parse().unwrap()],
            keep: Vec::new(),
            keeps_latest: true,
            releases: Vec::new(),
            immutable: Vec::new(),
            untagged,
        };
        let plan = made().planned_by(&["**"], &Needed::default(), &[policy]);
        let rows = plan.garbage().filter(|row| row.kind == Kind::Manifest);
        rows.map(|row| row.repository.map_or("-", |name| name).to_owned())
            .collect()
    };
    let six = |app: usize| -> Vec<String> {
        let (other, own) = (vec!["other"; 3], vec!["team/app"; app]);
        other
            .into_iter()
            .chain(own)
            .map(ToOwned::to_owned)
            .collect()
    };
    // Where the policy says nothing of them, it is `gc.untagged` alone.
    assert_eq!(going(None), six(3));
    let newest = Untagged {
        newest: Some(1),
        younger_than: None,
    };
    assert_eq!(going(Some(newest)), six(2));
    let long = u64::try_from(NOW - OLD - 500).unwrap();
    let younger = Untagged {
        newest: None,
        younger_than: Some(std::time::Duration::from_secs(long)),
    };
    assert_eq!(going(Some(younger)), six(1));
    // Either of the two keeps one.
    let both = Untagged {
        newest: Some(3),
        ..younger
    };
    assert_eq!(going(Some(both)), six(0));
}

#[test]
fn each_thing_that_goes_has_its_reason_and_its_bytes_once() {
    let mut scene = Scene::default();
    let shared = scene.blob("a shared layer");
    let own = scene.blob("a layer of what goes");
    let both = scene.blob("a layer of two that go");
    let stays = scene.image("a", "stays", &[shared]);
    scene.tag("a", "v2", stays);
    let goes = scene.image("a", "goes", &[shared, own, both]);
    scene.history("a", "v2", goes);
    let other = scene.image("b", "other", &[shared, both]);
    let died = scene.blob("a layer whose push died");
    scene.link("b", died);
    let nobodys = scene.blob("nobody links it");
    let config = |name: &str| Digest::of(format!("config of {name}").as_bytes());
    let manifests = [goes, other].map(|digest| scene.bodies[&digest].len() as u64);
    let plan = scene.planned(&["**"], &Needed::default());
    let row =
        |place: &str, kind, digest, reason, bytes| (place.to_owned(), kind, digest, reason, bytes);
    let expected = vec![
        row("a", "manifest", goes, "untagged", manifests[0]),
        row("a", "config", config("goes"), "named_by_garbage", 14),
        row("a", "layer", own, "named_by_garbage", 20),
        row("a", "layer", both, "named_by_garbage", 22),
        row("a:v2", "tag_history", goes, "superseded", 0),
        row("b", "manifest", other, "untagged", manifests[1]),
        row("b", "config", config("other"), "named_by_garbage", 15),
        // Its data is counted in a.
        row("b", "layer", both, "named_by_garbage", 0),
        row("b", "layer", died, "unnamed", 23),
        row("b", "layer_link", shared, "unused_here", 0),
        row("-", "layer", nobodys, "unlinked", 15),
    ];
    let all = told(&plan);
    // By repository, kind and digest.
    let places: Vec<&str> = all.iter().map(|(place, ..)| place.as_str()).collect();
    assert_eq!(
        places,
        ["a", "a", "a", "a", "a:v2", "b", "b", "b", "b", "b", "-"]
    );
    assert_eq!(sorted(all), sorted(expected));
    let bytes: u64 = told(&plan).iter().map(|row| row.4).sum();
    let counts = plan.counts();
    assert_eq!((counts.garbage_blobs, counts.garbage_bytes), (8, bytes));
    assert_eq!((counts.blobs, counts.kept_blobs), (11, 3));
    assert_eq!(
        (counts.repositories, counts.tags, counts.manifests),
        (2, 1, 3)
    );
    let of_b = &plan.repositories()[1];
    assert_eq!((of_b.garbage, of_b.garbage_shared_bytes), (5, 22));
    assert_eq!(of_b.garbage_own_bytes, manifests[1] + 15 + 23);
}

#[test]
fn what_is_in_use_by_another_name_or_out_of_scope_stays_and_so_does_what_only_they_link() {
    let scene = || {
        let mut scene = Scene::default();
        let layer = scene.blob("layer");
        scene.image("sandbox/a", "one", &[layer]);
        scene.image("team/a", "two", &[layer]);
        scene.blob("nobody links it");
        scene
    };
    let places = |patterns: &[&str], needed: &Needed| {
        let plan = scene().planned(patterns, needed);
        let mut places: Vec<String> = told(&plan).into_iter().map(|row| row.0).collect();
        places.dedup();
        places
    };
    let none = Needed::default();
    assert_eq!(places(&["**"], &none), ["sandbox/a", "team/a", "-"]);
    // What nobody links is nobody's: only who collects everything takes it.
    assert_eq!(
        places(&["sandbox/**", "team/*"], &none),
        ["sandbox/a", "team/a"]
    );
    assert_eq!(places(&["sandbox/**"], &none), ["sandbox/a"]);
    let foreign = Needed {
        foreign: [("team/a".into(), "old.example/team/a:1".to_owned())].into(),
        ..Needed::default()
    };
    assert_eq!(places(&["**"], &foreign), ["sandbox/a", "-"]);
    let plan = scene().planned(&["sandbox/**"], &none);
    // The layer that another repository has stays.
    let layer = Digest::of(b"layer");
    let row = told(&plan).into_iter().find(|row| row.2 == layer).unwrap();
    assert_eq!((row.1, row.4), ("layer_link", 0));
}

#[test]
fn what_is_young_is_counted_apart_and_a_push_under_way_keeps_what_no_manifest_names() {
    let young = || {
        let mut scene = Scene::default();
        let layer = scene.blob_at("young", NOW);
        scene.link("a", layer);
        scene.blob("old");
        scene
    };
    let plan = young().planned(&["**"], &Needed::default());
    let counts = plan.counts();
    assert_eq!((counts.young, counts.young_bytes), (1, 5));
    assert_eq!((counts.garbage_blobs, counts.kept_blobs), (1, 1));

    let push = |begun: Option<i64>| {
        let mut scene = Scene::default();
        let waiting = scene.blob("pushed long before, and named by nothing yet");
        scene.link("a", waiting);
        let goes = scene.image("a", "goes", &[]);
        scene.tag("a", "v1", goes);
        scene.builder.upload("a", begun.map(Second::new));
        scene
    };
    let kinds = |begun| {
        let plan = push(begun).planned(&["**"], &Needed::default());
        (
            told(&plan).len(),
            plan.damaged().count(),
            plan.counts().uploads,
        )
    };
    assert_eq!(kinds(Some(NOW - 60)), (0, 0, 1));
    // The registry takes it away itself, soon.
    assert_eq!(kinds(Some(OLD)), (1, 0, 1));
    // It may have begun at any time.
    assert_eq!(kinds(None), (0, 1, 0));
}

#[test]
fn what_is_not_understood_is_kept_with_all_that_it_may_name() {
    let mut scene = Scene::default();
    let named = scene.blob("named in a place that nobody knows");
    scene.link("a", named);
    let body = json!({"schemaVersion": 7, "mediaType": "application/x.future", "where": {"it is": [named.to_string()]}});
    let unknown = scene.blob(&body.to_string());
    scene.revision("a", unknown);
    let layer = scene.blob("layer");
    scene.image("a", "goes", &[layer]);
    let plan = scene.planned(&["**"], &Needed::default());
    let digests: Vec<Digest> = told(&plan).into_iter().map(|row| row.2).collect();
    assert_eq!(digests.len(), 3, "{:?}", told(&plan));
    assert!(!digests.contains(&named) && !digests.contains(&unknown));
}

#[test]
fn a_tag_without_what_it_names_keeps_what_it_named_before() {
    let mut scene = Scene::default();
    let one = scene.image("a", "one", &[]);
    let two = scene.image("a", "two", &[]);
    scene.history("a", "broken", one);
    scene.tag("a", "fine", one);
    scene.history("a", "fine", two);
    let plan = scene.planned(&["**"], &Needed::default());
    let digests: Vec<Digest> = told(&plan).into_iter().map(|row| row.2).collect();
    assert!(!digests.contains(&one) && digests.contains(&two));
    assert_eq!(plan.counts().tags, 2);
}

#[test]
fn links_to_what_is_not_stored_are_counted_and_never_taken() {
    let mut scene = Scene::default();
    scene.link("a", Digest::of(b"gone layer"));
    scene.revision("a", Digest::of(b"gone manifest"));
    let plan = scene.planned(&["**"], &Needed::default());
    assert_eq!(told(&plan), []);
    assert_eq!(plan.counts().dangling_links, 2);
    let absent = plan.graph().absent();
    assert_eq!(absent.len(), 2);
}

#[test]
fn the_same_tree_is_the_same_plan_whatever_order_it_is_listed_in() {
    let scene = |is_reversed: bool| {
        let mut scene = Scene::default();
        let mut names: Vec<u32> = (0..40).collect();
        if is_reversed {
            names.reverse();
        }
        for number in names {
            let layer = scene.blob(&format!("layer {}", number / 3));
            let repository = format!("r{}", number % 4);
            scene.image(&repository, &format!("image {number}"), &[layer]);
            let damage = Damage {
                path: format!("path {number}"),
                problem: "odd".to_owned(),
            };
            scene.builder.damage(None, damage);
        }
        scene.planned(&["**"], &Needed::default())
    };
    let (one, other) = (scene(false), scene(true));
    assert_eq!(told(&one), told(&other));
    assert!(one.damaged().eq(other.damaged()));
    assert_eq!(one.id("r.example"), other.id("r.example"));
    assert_ne!(one.id("r.example"), one.id("other.example"));
    let mut less = Scene::default();
    less.blob("one");
    assert_ne!(
        less.planned(&["**"], &Needed::default()).id("r.example"),
        one.id("r.example")
    );
}
