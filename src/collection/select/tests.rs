use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::gc::graph::Builder;
use crate::gc::needed::Needed;
use crate::gc::plan::{Policy, plan};
use crate::pattern::Pattern;

/// Images that nobody needs, each as old as it was made.
#[derive(Default)]
struct Scene {
    builder: Builder,
    bodies: BTreeMap<Digest, Vec<u8>>,
}

impl Scene {
    fn blob(&mut self, text: &str, at: i64) -> Digest {
        let digest = Digest::of(text.as_bytes());
        let size = text.len() as u64;
        self.builder.blob(digest, size, Some(Second::new(at)));
        self.bodies.insert(digest, text.as_bytes().to_vec());
        digest
    }

    fn image(&mut self, repository: &str, name: &str, layers: &[Digest], at: i64) -> Digest {
        let config = self.blob(&format!("config of {name}"), at);
        let layer = |digest: &Digest| json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": 1});
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 1},
            "layers": layers.iter().map(layer).collect::<Vec<_>>()});
        let manifest = self.blob(&manifest.to_string(), at);
        let when = Some(Second::new(at));
        for digest in layers.iter().chain([&config]) {
            self.builder.layer(repository, *digest, when);
        }
        self.builder.revision(repository, manifest, when);
        manifest
    }

    fn plan(self) -> Plan {
        let mut graph = self.builder.finish();
        loop {
            let unread = graph.unread(&[]);
            if unread.is_empty() {
                break;
            }
            for id in unread {
                let parsed = graph.parse(id, &self.bodies[&graph.object(id).digest]);
                graph.put(id, parsed);
            }
        }
        let policy = Policy {
            repositories: &[Pattern::all()],
            keeps_untagged: false,
            keeps_tag_history: false,
            young_after: Second::new(100_000),
            pushing_after: Second::new(0),
            retention: &[],
            now: Second::new(0),
        };
        plan(graph, &Needed::default(), &policy)
    }
}

fn all() -> Limits<'static> {
    Limits {
        is_settled: &|_| false,
        ..Limits::NONE
    }
}

/// Two images in one repository that share a layer, and a blob that nobody links.
fn shared() -> Plan {
    let mut scene = Scene::default();
    let layer = scene.blob("a layer", 10);
    scene.image("team/app", "old", &[layer], 10);
    scene.image("team/app", "new", &[layer], 20);
    scene.blob("nobody links it", 5);
    scene.plan()
}

fn words(selection: &Selection) -> Vec<String> {
    let mut count: BTreeMap<Class, usize> = BTreeMap::new();
    for item in &selection.items {
        *count.entry(item.class).or_default() += 1;
    }
    count
        .iter()
        .map(|(class, count)| format!("{count} {class:?}"))
        .collect()
}

#[test]
fn all_of_a_plan_is_taken_what_refers_before_what_is_referred_to() {
    let selection = select(&shared(), &all());
    assert_eq!(
        words(&selection),
        ["2 Revision", "2 Manifest", "3 LayerLink", "4 Blob"]
    );
    assert_eq!(selection.left, Left::default());
    let classes: Vec<Class> = selection.items.iter().map(|item| item.class).collect();
    assert!(classes.is_sorted());
    for (place, needs) in selection.needs.iter().enumerate() {
        // Nothing needs what was taken before it.
        assert!(needs.iter().all(|item| item.index() > place));
        let count = match selection.items[place].class {
            Class::Revision => 3,
            Class::LayerLink => 1,
            _ => 0,
        };
        assert_eq!(needs.len(), count);
    }
}

#[test]
fn a_part_takes_the_oldest_and_leaves_what_others_still_name() {
    // A manifest and its config, and what nobody links: the layer is named by the other one.
    let selection = select(&shared(), &Limits { blobs: 3, ..all() });
    assert_eq!(
        words(&selection),
        ["1 Revision", "1 Manifest", "1 LayerLink", "2 Blob"]
            .map(str::to_owned)
            .to_vec(),
        "{selection:?}"
    );
    assert!(selection.left.share > 0);
}

/// No later run would take it either, so somebody has to be told.
#[test]
fn what_no_portion_has_room_for_is_told_apart() {
    let selection = select(&shared(), &Limits { bytes: 1, ..all() });
    assert_eq!(selection.left.share, 0);
    assert!(selection.left.too_large > 0, "{selection:?}");
    let largest = |selection: &Selection| selection.items.iter().map(|it| it.bytes).max().unwrap();
    let enough = largest(&select(&shared(), &all()));
    let left = |bytes| {
        let limits = Limits { bytes, ..all() };
        select(&shared(), &limits).left.too_large
    };
    assert_eq!(left(2 * enough), 0);
    assert!(left(enough - 1) > 0);
}

#[test]
fn what_was_not_rehearsed_stays_with_all_that_only_it_names() {
    let plan = shared();
    let newer = plan
        .garbage()
        .filter(|row| row.kind == Kind::Manifest)
        .map(|row| row.digest)
        .collect::<Vec<_>>();
    for kept in newer {
        let is_rehearsed = |row: &Garbage<'_>, _: Part| row.digest != kept;
        let limits = Limits {
            is_rehearsed: &is_rehearsed,
            ..all()
        };
        let selection = select(&plan, &limits);
        // The other image without the layer that both name, and what nobody links.
        assert_eq!(
            words(&selection),
            ["1 Revision", "1 Manifest", "1 LayerLink", "2 Blob"]
        );
        assert_eq!(selection.left.rehearsal, 1);
        assert!(selection.items.iter().all(|item| item.digest != kept));
    }
}

#[test]
fn what_cannot_be_asked_for_stays() {
    let limits = Limits {
        takes_manifests: false,
        takes_unlinked: false,
        is_settled: &|_| false,
        ..all()
    };
    let selection = select(&shared(), &limits);
    assert_eq!(words(&selection), ["2 Revision", "3 LayerLink", "3 Blob"]);
    assert_eq!(selection.left.unsettled, 3);
}

#[test]
fn what_is_held_already_is_no_part_of_the_portion_and_hinders_nothing() {
    let plan = shared();
    let portion = |held: &[Item]| {
        let limits = Limits {
            blobs: 3,
            is_held: &|item| held.contains(item),
            ..all()
        };
        select(&plan, &limits)
    };
    let mut held: Vec<Item> = Vec::new();
    let mut rounds = 0;
    loop {
        let selection = portion(&held);
        let blobs = selection.items.iter();
        let blobs = blobs.filter(|it| it.class.is_data()).count();
        assert!(blobs <= 3, "{selection:?}");
        assert!(selection.items.iter().all(|it| !held.contains(it)));
        assert_eq!(selection.items.len(), selection.needs.len());
        if selection.items.is_empty() {
            assert_eq!(selection.left, Left::default());
            break;
        }
        held.extend(selection.items);
        rounds += 1;
    }
    assert_eq!(rounds, 2);
    assert_eq!(held.len(), select(&plan, &all()).items.len());

    // Its link was rehearsed when it was taken; what it led to has its own row.
    let links: Vec<Item> = select(&plan, &all()).items;
    let links: Vec<Item> = links.into_iter().filter(|it| !it.class.is_data()).collect();
    let limits = Limits {
        is_held: &|item| links.contains(item),
        is_rehearsed: &|row, _| row.kind != Kind::Manifest,
        ..all()
    };
    let selection = select(&plan, &limits);
    assert_eq!(words(&selection), ["4 Blob"]);
    assert_eq!(selection.left.rehearsal, 2);
}

#[test]
fn no_more_is_taken_than_fits_and_no_link_without_its_bytes() {
    let plan = shared();
    let whole = select(&plan, &all());
    for items in 0..=whole.items.len() {
        let limits = Limits { items, ..all() };
        let part = select(&plan, &limits);
        assert!(part.items.len() <= items, "{items}: {part:?}");
        assert_eq!(part.left.window == 0, part.items.len() == whole.items.len());
        // The last link to some bytes goes with them.
        let goes = |item: &Item| part.items.contains(item);
        let stays = whole.items.iter().filter(|it| !goes(it));
        for item in stays.filter(|it| it.class.is_data()) {
            let links = whole.items.iter();
            let mut links = links.filter(|it| it.digest == item.digest && !it.class.is_data());
            assert!(
                links.clone().next().is_none() || links.any(|link| !goes(link)),
                "{items}: {item:?}"
            );
        }
    }
    let limits = Limits { items: 3, ..all() };
    assert_eq!(
        words(&select(&plan, &limits)),
        ["1 Revision", "1 Manifest", "1 Blob"]
    );
}
