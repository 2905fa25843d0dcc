use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

fn some_digest() -> impl Strategy<Value = Digest> {
    any::<u8>().prop_map(|n| Digest::of(&[n]))
}

fn size() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0_u64..300, Just(u64::MAX), Just(0)]
}

fn some_blob() -> impl Strategy<Value = BlobEdge> {
    (some_digest(), size(), any::<bool>()).prop_map(|(digest, size, is_distributable)| BlobEdge {
        digest,
        size,
        is_distributable,
    })
}

fn some_child() -> impl Strategy<Value = ChildEdge> {
    let platform = proptest::option::of("[a-c]/[a-c]");
    (some_digest(), size(), platform, any::<bool>()).prop_map(
        |(digest, size, platform, is_blob)| ChildEdge {
            digest,
            size,
            platform: platform.map(|platform| platform.parse().unwrap()),
            is_blob,
        },
    )
}

fn some_node() -> impl Strategy<Value = Node> {
    let blobs = prop::collection::vec(some_blob(), 0..20);
    let children = prop::collection::vec(some_child(), 0..20);
    let shape = prop_oneof![
        (some_blob(), blobs).prop_map(|(config, layers)| Shape::Image {
            config,
            layers: layers.into()
        }),
        children.prop_map(|children| Shape::Index(children.into())),
        ".{0,300}".prop_map(|text| Shape::Unsupported(text.into())),
        ".{0,300}".prop_map(|text| Shape::Invalid(text.into())),
    ];
    (size(), shape).prop_map(|(size, shape)| Node { size, shape })
}

proptest! {
    #[test]
    fn what_is_packed_comes_out_whole(
        nodes in prop::collection::vec((some_digest(), some_node()), 0..60),
    ) {
        let (mut objects, mut packed) = (Objects::default(), Nodes::default());
        let mut map: HashMap<Digest, Node> = HashMap::new();
        for (digest, node) in nodes {
            packed.insert(digest, &node, &mut objects);
            map.entry(digest).or_insert(node);
        }
        prop_assert_eq!(packed.len(), map.len());
        for (digest, node) in map {
            let id = objects.known_id(&digest).unwrap();
            prop_assert_eq!(packed.size(id), Some(node.size));
            prop_assert_eq!(packed.is_index(id), matches!(node.shape, Shape::Index(_)));
            prop_assert_eq!(packed.get(id, &objects), Some(node));
        }
    }

    #[test]
    fn what_is_kept_names_the_same_under_its_new_numbers(
        nodes in prop::collection::vec((some_digest(), some_node()), 0..60),
        border in any::<u8>(),
    ) {
        let (mut objects, mut packed) = (Objects::default(), Nodes::default());
        let mut map: HashMap<Digest, Node> = HashMap::new();
        for (digest, node) in nodes {
            packed.insert(digest, &node, &mut objects);
            map.entry(digest).or_insert(node);
        }
        let is_kept = |digest: &Digest| digest.as_bytes()[0] >= border;
        let kept: HashSet<u32> =
            map.keys().filter(|digest| is_kept(digest)).map(|digest| objects.known_id(digest).unwrap()).collect();
        let mut named = HashSet::new();
        packed.name(|id| kept.contains(&id), |id| {
            named.insert(id);
        });
        let renumbered = objects.forget(0, |id| named.contains(&id));
        packed.keep_only(|id| kept.contains(&id), &renumbered);
        let (kept, gone): (Vec<_>, Vec<_>) = map.into_iter().partition(|(digest, _)| is_kept(digest));
        prop_assert_eq!(packed.len(), kept.len());
        for (digest, _) in gone {
            let id = objects.known_id(&digest);
            prop_assert!(id.is_none_or(|id| !packed.contains(id)));
        }
        let mut configs = HashSet::new();
        packed.configs(|id| {
            configs.insert(objects.digest(id));
        });
        let mut named: HashSet<Digest> = HashSet::new();
        let mut configs_of_kept = HashSet::new();
        for (digest, node) in kept {
            let id = objects.known_id(&digest).unwrap();
            named.insert(digest);
            match &node.shape {
                Shape::Index(children) => named.extend(children.iter().map(|child| child.digest)),
                Shape::Image { config, layers } => {
                    configs_of_kept.insert(config.digest);
                    named.extend(layers.iter().chain([config]).map(|blob| blob.digest));
                }
                Shape::Unsupported(_) | Shape::Invalid(_) => {}
            }
            prop_assert_eq!(packed.get(id, &objects), Some(node));
        }
        prop_assert_eq!(configs, configs_of_kept);
        prop_assert_eq!(objects.numbers(), named.len());
    }
}

#[test]
fn a_manifest_may_be_longer_than_a_piece() {
    let (mut objects, mut packed) = (Objects::default(), Nodes::default());
    let long: String = "x".repeat(3 * PIECE);
    for text in ["short", &long, "after"] {
        let node = Node {
            size: 1,
            shape: Shape::Invalid(text.into()),
        };
        packed.insert(Digest::of(text.as_bytes()), &node, &mut objects);
    }
    for text in ["short", &long, "after"] {
        let id = objects.known_id(&Digest::of(text.as_bytes())).unwrap();
        let node = packed.get(id, &objects).unwrap();
        assert_eq!(node.shape, Shape::Invalid(text.into()));
    }
}
