//! What the collections did, by their own journals.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;

use serde_json::Value;

use super::site::Site;
use crate::plan::tree::files;

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

/// The lines of each run, however many files they are in.
fn all(site: &Site) -> Vec<(String, Vec<Value>)> {
    let mut all: BTreeMap<String, BTreeMap<u64, Value>> = BTreeMap::new();
    for directory in ["pullproof/journal", "pullproof/ended"] {
        let directory = site.root().join(directory);
        let found = if directory.exists() {
            files(&directory)
        } else {
            Vec::new()
        };
        for path in found {
            let below = path.strip_prefix(&directory).unwrap();
            let run = below.iter().next().unwrap().to_string_lossy();
            let run = all
                .entry(run.trim_end_matches(".jsonl").to_owned())
                .or_default();
            // Whoever collects may have put it aside just now.
            let text = fs::read_to_string(&path).unwrap_or_default();
            for line in text.lines() {
                if let Ok(line) = serde_json::from_str::<Value>(line) {
                    run.insert(line["seq"].as_u64().unwrap(), line);
                }
            }
        }
    }
    let all = all.into_iter();
    all.map(|(run, lines)| (run, lines.into_values().collect()))
        .collect()
}
