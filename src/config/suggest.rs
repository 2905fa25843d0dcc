//! The key that a misspelt one was most likely meant to be.

/// The known key that a typo was most likely meant to be.
pub(super) fn nearest<'a>(key: &str, keys: impl Iterator<Item = &'a String>) -> Option<&'a str> {
    let plain = |text: &str| -> Vec<char> {
        text.chars()
            .filter(|c| !matches!(c, '_' | '-'))
            .flat_map(char::to_lowercase)
            .take(64)
            .collect()
    };
    let key = plain(key);
    keys.map(|candidate| (distance(&key, &plain(candidate)), candidate.as_str()))
        .filter(|(distance, candidate)| *distance <= candidate.len().min(key.len()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, a row at a time.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, a) in left.iter().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        let mut last = above + 1;
        next.push(last);
        for (pair, b) in row.windows(2).zip(right) {
            let &[diagonal, up] = pair else { continue };
            last = (diagonal + usize::from(a != b)).min(up + 1).min(last + 1);
            next.push(last);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_is_suggested() {
        let known = ["interval", "blobInterval", "depth", "platforms", "ui"].map(str::to_owned);
        for (key, expected) in [
            ("intervall", Some("interval")),
            ("Interval", Some("interval")),
            ("blob_interval", Some("blobInterval")),
            ("blobinterval", Some("blobInterval")),
            ("dept", Some("depth")),
            ("plattform", Some("platforms")),
            ("ux", None),
            ("password", None),
            ("", None),
        ] {
            assert_eq!(nearest(key, known.iter()), expected, "{key}");
        }
    }
}
