//! What the collections did, by their own journals.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;

use serde_json::Value;

use super::site::Site;

/// In files.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) taken: usize,
    /// By reason.
    back: BTreeMap<String, usize>,
    pub(super) purged: usize,
}

impl Counts {
    pub(super) fn read(site: &Site) -> Self {
        let mut counts = Self::default();
        for (_, lines) in all(site) {
            let mut intent = String::new();
            for line in lines {
                let record = line["record"].as_str().unwrap_or_default();
                let count = |key: &str| line[key].as_array().map_or(0, Vec::len);
                match (record, &*intent) {
                    ("found", "intent") => counts.taken += count("held"),
                    ("found", "purge_intent") => counts.purged += count("gone"),
                    ("return_intent", _) => {
                        let why = line["why"].as_str().unwrap_or_default();
                        *counts.back.entry(why.to_owned()).or_default() += count("items");
                    }
                    (_, _) => {}
                }
                record.clone_into(&mut intent);
            }
        }
        counts
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let back = self
            .back
            .iter()
            .map(|(why, count)| format!("{count} {why}"));
        let back = back.collect::<Vec<_>>().join(", ");
        let Self { taken, purged, .. } = self;
        write!(
            formatter,
            "{taken} taken, put back ({back}), {purged} purged"
        )
    }
}

/// The lines that tell of the digests in a text, for whoever looks for why something is lost.
pub(super) fn of(site: &Site, text: &str) -> String {
    let starts = text.match_indices("sha256:").map(|(at, _)| at);
    let digests: Vec<&str> = starts.filter_map(|at| text.get(at..at + 71)).collect();
    let mut told = String::new();
    for (run, lines) in all(site) {
        for line in lines {
            let items = line["items"].as_array().into_iter().flatten();
            for item in items.filter(|it| it.is_object()) {
                let path = item["path"].as_str().unwrap_or_default();
                if digests
                    .iter()
                    .any(|it| path.contains(&it["sha256:".len()..]))
                {
                    told.push_str(&format!(
                        "  {run} {} takes {} {path}\n",
                        line["at"], item["id"]
                    ));
                }
            }
        }
    }
    told
}

/// The lines of each run.
fn all(site: &Site) -> Vec<(String, Vec<Value>)> {
    let directories = ["pullproof/journal", "pullproof/ended"];
    let files = directories.map(|it| fs::read_dir(site.root().join(it)));
    let mut all: Vec<_> = files
        .into_iter()
        .filter_map(Result::ok)
        .flatten()
        .map(|file| {
            let path = file.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let lines = text
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok());
            (
                path.file_stem().unwrap().to_string_lossy().into_owned(),
                lines.collect(),
            )
        })
        .collect();
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    all
}
