use proptest::prelude::*;

use super::*;
use crate::oci::digest::Digest;

const ROOT: &str = "r/docker/registry/v2/";

/// How a listing went.
#[derive(Debug)]
struct Listing {
    keys: Vec<String>,
    pages: usize,
    /// Requests one after another, where each takes as long as any other.
    rounds: usize,
}

/// Lists keys (in order) as a server would give them.
fn list(keys: &[String], most: usize, page: usize) -> Listing {
    let mut ranges = Ranges::new(ROOT, most);
    let mut read: Vec<Option<String>> = Vec::new();
    let mut found: Vec<(RangeId, Vec<String>)> = Vec::new();
    let (mut pages, mut rounds) = (0, 0);
    loop {
        let asked: Vec<Ask> = std::iter::from_fn(|| ranges.next()).collect();
        if asked.is_empty() {
            break;
        }
        assert!(asked.len() <= most);
        rounds += 1;
        for ask in asked {
            pages += 1;
            match ask {
                Ask::Page(id) => {
                    read.resize(read.len().max(id + 1), None);
                    let after = read[id].clone();
                    let after = after.or_else(|| ranges.after(id).map(ToOwned::to_owned));
                    let rest = after.map_or(0, |after| keys.partition_point(|it| *it <= after));
                    let given = &keys[rest..keys.len().min(rest + page)];
                    let text: Vec<&str> = given.iter().map(String::as_str).collect();
                    let own = ranges.take_page(id, &text, rest + page < keys.len());
                    read[id] = given.last().cloned().or_else(|| read[id].take());
                    found.push((id, given[..own].to_vec()));
                }
                Ask::Names(names) => {
                    let mut all: Vec<String> = Vec::new();
                    for key in keys.iter().filter(|key| **key > names.after) {
                        let rest = key.strip_prefix(&names.directory);
                        if let Some((name, _)) = rest.and_then(|rest| rest.split_once('/')) {
                            all.push(format!("{}{name}/", names.directory));
                        }
                    }
                    all.dedup();
                    all.truncate(1000);
                    ranges.take_names(&names, &all);
                }
            }
        }
    }
    let order = ranges.in_order();
    let keys = order.iter().flat_map(|id| {
        let own = found.iter().filter(move |(other, _)| other == id);
        own.flat_map(|(_, keys)| keys.clone())
    });
    Listing {
        keys: keys.collect(),
        pages,
        rounds,
    }
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    repositories: usize,
    manifests: usize,
    layers: usize,
    tags: usize,
}

/// What a registry writes.
fn tree(shape: Shape, name: impl Fn(usize) -> String) -> Vec<String> {
    let mut keys = Vec::new();
    let hex = |of: String| Digest::of(of.as_bytes()).hex();
    for number in 0..shape.repositories {
        let repository = format!("{ROOT}repositories/{}", name(number));
        let mut blob =
            |hex: &str| keys.push(format!("{ROOT}blobs/sha256/{}/{hex}/data", &hex[..2]));
        let layers: Vec<String> = (0..shape.layers)
            .map(|it| hex(format!("{number} {it}")))
            .collect();
        let manifests: Vec<String> = (0..shape.manifests)
            .map(|it| hex(format!("{number} m {it}")))
            .collect();
        layers.iter().chain(&manifests).for_each(|hex| blob(hex));
        for hex in &layers {
            keys.push(format!("{repository}/_layers/sha256/{hex}/link"));
        }
        for hex in &manifests {
            keys.push(format!(
                "{repository}/_manifests/revisions/sha256/{hex}/link"
            ));
        }
        for tag in 0..shape.tags {
            let hex = &manifests[tag % manifests.len()];
            let tag = format!("{repository}/_manifests/tags/v1.{tag}");
            keys.push(format!("{tag}/current/link"));
            keys.push(format!("{tag}/index/sha256/{hex}/link"));
        }
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn shape(repositories: usize, manifests: usize, layers: usize, tags: usize) -> Shape {
    Shape {
        repositories,
        manifests,
        layers,
        tags,
    }
}

#[test]
fn a_tree_of_a_page_is_one_request() {
    let keys = tree(shape(2, 20, 50, 40), |it| format!("app{it}"));
    let listing = list(&keys, 32, 1000);
    assert_eq!((listing.pages, listing.keys), (1, keys));
    assert_eq!(list(&[], 32, 1000).pages, 1);
}

/// What the head of the file promises.
#[test]
fn pages_are_few_and_side_by_side() {
    let flat = |it: usize| format!("app-{it:04}");
    let nested = |it: usize| format!("company/{}/service-{it:03}", ["a", "b", "team"][it % 3]);
    for (keys, rounds) in [
        (tree(shape(1, 100, 300, 200), flat), 2),
        (tree(shape(1, 1000, 4000, 2000), flat), 7),
        (tree(shape(1, 2000, 30_000, 500), flat), 6),
        (tree(shape(500, 20, 60, 20), flat), 8),
        (tree(shape(300, 30, 60, 30), nested), 31),
        (tree(shape(3000, 3, 5, 3), flat), 12),
        (tree(shape(4000, 1, 1, 1), flat), 17),
        (tree(shape(3, 1000, 9000, 20), flat), 8),
        (tree(shape(20, 1500, 1500, 1), nested), 21),
    ] {
        let listing = list(&keys, 32, 1000);
        let least = keys.len().div_ceil(1000);
        let summary = format!("{} pages for {least}, in {}", listing.pages, listing.rounds);
        assert_eq!(listing.keys.len(), keys.len(), "{summary}");
        assert!(listing.keys == keys, "{summary}");
        assert!(listing.pages * 10 <= least * 13 + 200, "{summary}");
        assert!(listing.rounds <= rounds, "{summary}");
    }
}

/// Anything may lie in a bucket.
fn odd_keys() -> impl Strategy<Value = Vec<String>> {
    let part = prop_oneof![
        Just("blobs/sha256".to_owned()),
        Just("repositories".to_owned()),
        Just("_layers/sha256".to_owned()),
        Just("_manifests/tags".to_owned()),
        Just("é0".to_owned()),
        "[0-9a-f]{2}",
        "[0-9a-f]{16,20}",
        "[a-c/0.]{0,3}",
    ];
    let key = proptest::collection::vec(part, 1..6)
        .prop_map(|parts| format!("{ROOT}{}", parts.join("/")));
    proptest::collection::btree_set(key, 0..400).prop_map(|keys| keys.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn each_key_is_in_one_range_whatever_keys_there_are(
        keys in odd_keys(),
        most in 1..6_usize,
        page in 1..100_usize,
    ) {
        prop_assert_eq!(list(&keys, most, page).keys, keys);
    }

    /// Hashes and names that lie as they like, with pages that are small enough for cuts.
    #[test]
    fn each_key_is_in_one_range_of_a_tree(
        repositories in 1..6_usize,
        layers in 0..300_usize,
        tags in 0..40_usize,
        most in 1..12_usize,
        page in 70..200_usize,
    ) {
        let keys = tree(shape(repositories, 30, layers, tags), |it| format!("a{}/b{it}", it % 3));
        prop_assert_eq!(list(&keys, most, page).keys, keys);
    }

    #[test]
    fn any_ends_are_taken_while_pages_are_under_way(
        keys in odd_keys(),
        ends in proptest::collection::vec(proptest::collection::btree_set("[a-c/0.r]{0,9}", 0..9), 0..9),
    ) {
        let mut ranges = Ranges::new(ROOT, 4);
        let mut ends = ends.into_iter();
        let mut read: Vec<Option<String>> = vec![None; 100];
        let mut found = Vec::new();
        while let Some(ask) = ranges.next() {
            let id = match ask {
                Ask::Page(id) => id,
                Ask::Names(names) => {
                    ranges.take_names(&names, &[]);
                    continue;
                }
            };
            let after = read[id].clone().or_else(|| ranges.after(id).map(ToOwned::to_owned));
            let rest = after.map_or(0, |after| keys.partition_point(|it| *it <= after));
            // Between question and answer the range becomes shorter.
            if let Some(ends) = ends.next() {
                let ends: Vec<String> =
                    ends.into_iter().map(|end| format!("{ROOT}{end}")).collect();
                ranges.divide(id, &ends, None);
            }
            let given: Vec<&str> = keys[rest..].iter().take(5).map(String::as_str).collect();
            let own = ranges.take_page(id, &given, rest + 5 < keys.len());
            read[id] = given.last().map(ToString::to_string).or_else(|| read[id].take());
            found.extend(given[..own].iter().map(ToString::to_string));
        }
        found.sort_unstable();
        prop_assert_eq!(found, keys);
    }
}
