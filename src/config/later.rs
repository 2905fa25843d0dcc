//! What the configuration will have, and does not have yet.
//!
//! Such keys are refused like any other unknown one, but by their name: whoever writes a gate or a
//! window and is not stopped believes that it holds.

/// Keys by the path of a map (indices left out) and their name in it.
const KEYS: &[(&str, &[&str])] = &[
    ("", &["gc", "retention", "leaderElection"]),
    (
        "inventory",
        &[
            "peers",
            "customResources",
            "releases",
            "mentions",
            "maximumLoss",
            "keepSeen",
        ],
    ),
    (
        "registries[]",
        &[
            "kind",
            "sparse",
            "mirrors",
            "gc",
            "storage",
            "replicaEndpoints",
            "service",
            "single",
            "aliases",
        ],
    ),
    ("verify", &["readShare", "contentBudget"]),
    ("registries[].verify", &["readShare", "contentBudget"]),
    ("http", &["tls", "token"]),
    ("metrics", &["labels"]),
];

/// Words by the path of their value.
const WORDS: &[(&str, &[&str])] = &[
    ("verify.depth", &["read", "content"]),
    ("registries[].verify.depth", &["read", "content"]),
];

/// Whether a later version has this key in the map at this path.
pub(super) fn has_key(map: &str, key: &str) -> bool {
    contains(KEYS, map, key)
}

/// Whether a later version takes this word as the value at this path.
pub(super) fn has_word(path: &str, word: &str) -> bool {
    contains(WORDS, path, word)
}

fn contains(table: &[(&str, &[&str])], path: &str, name: &str) -> bool {
    let path = without_indices(path);
    table
        .iter()
        .any(|(place, names)| *place == path && names.contains(&name))
}

fn without_indices(path: &str) -> String {
    path.chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[cfg(test)]
pub(super) fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    KEYS.iter()
        .flat_map(|(map, keys)| keys.iter().map(|key| (*map, *key)))
}
