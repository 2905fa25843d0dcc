//! Where a reference stands in the files that were given, so that a finding can be shown beside the line
//! that somebody would change. Pure.

use std::collections::{HashMap, HashSet};

/// A line of a file, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub file: String,
    pub line: usize,
}

/// The first place of each text that was looked for.
#[derive(Debug, Default)]
pub(super) struct Places(HashMap<String, Place>);

impl Places {
    /// Looks for these images, as they are written, in files by name and content. One that a template
    /// puts together stands nowhere.
    pub(super) fn find(files: &[(String, String)], images: &HashSet<&str>) -> Self {
        let mut found = HashMap::new();
        for (file, text) in files {
            for (line, content) in (1..).zip(text.lines()) {
                for word in words(content).filter(|word| images.contains(word)) {
                    found.entry(word.to_owned()).or_insert_with(|| Place {
                        file: file.clone(),
                        line,
                    });
                }
            }
        }
        Self(found)
    }

    pub(super) fn get(&self, image: &str) -> Option<&Place> {
        self.0.get(image)
    }
}

/// What stands between blanks, quotes and the brackets of YAML and JSON, but not in a comment.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let comment = line.match_indices('#').find(|(at, _)| {
        line.get(..*at)
            .is_none_or(|before| before.is_empty() || before.ends_with(char::is_whitespace))
    });
    let line = comment.map_or(line, |(at, _)| line.get(..at).unwrap_or_default());
    line.split(|c: char| c.is_whitespace() || "\"'[]{},".contains(c))
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_found_where_it_is_written_first() {
        let yaml = "# image: app:1\ncontainers:\n  - {name: a, image: 'app:1'}\n  - name: b\n    image: \"r.example:5000/b@sha256:0\" # pinned\n    args: [app:1]\n";
        let list = "app:1\nother:2 # why\n";
        let files = [("a.yaml", yaml), ("keep.txt", list)]
            .map(|(name, text)| (name.to_owned(), text.to_owned()));
        let wanted = ["app:1", "r.example:5000/b@sha256:0", "other:2", "nowhere:1"];
        let places = Places::find(&files, &wanted.into());
        let place = |image| {
            places
                .get(image)
                .map(|place| (place.file.as_str(), place.line))
        };
        assert_eq!(place("app:1"), Some(("a.yaml", 3)));
        assert_eq!(place("r.example:5000/b@sha256:0"), Some(("a.yaml", 5)));
        assert_eq!(place("other:2"), Some(("keep.txt", 2)));
        assert_eq!(place("nowhere:1"), None);
    }
}
