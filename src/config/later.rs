//! What the configuration will have, and does not have yet.
//!
//! Such keys are refused like any other unknown one, but by their name: whoever writes a gate or a
//! limit and is not stopped believes that it holds.

/// Keys by the path of a map (indices left out) and their name in it.
const KEYS: &[(&str, &[&str])] = &[("registries[]", &["sparse"])];

/// Whether a later version has this key in the map at this path.
pub(super) fn has_key(map: &str, key: &str) -> bool {
    let map = without_indices(map);
    KEYS.iter()
        .any(|(place, keys)| *place == map && keys.contains(&key))
}

fn without_indices(path: &str) -> String {
    path.chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[cfg(test)]
pub(super) fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    KEYS.iter()
        .flat_map(|(map, keys)| keys.iter().map(|key| (*map, *key)))
}
