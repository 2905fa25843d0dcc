//! What is remembered of a run: a JSON object a line, each with a checksum, for whoever goes on after a
//! crash and for whoever has nothing but `jq` and `mv`. Pure.
//!
//! An item is told in full where it is first mentioned, with its path; later lines have its number. A last
//! line that was torn never happened: what it was to announce was not begun. Any other line that does not
//! fit is damage, and then nothing is purged: what is in quarantine goes back by its path.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::item::{Item, ItemId, RunId};
use super::run::{Entry, Outcome, Proof, Run, Why};
use crate::second::Second;

/// One line, without its checksum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Line {
    seq: u64,
    at: Second,
    epoch: u32,
    run: RunId,
    #[serde(flatten)]
    record: Record,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
enum Record {
    /// With what the run went by: configuration, keep-set, window, plan.
    Began {
        about: Value,
    },
    Intent {
        items: Vec<Told>,
    },
    Found {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        live: Vec<ItemId>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        held: Vec<ItemId>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        gone: Vec<ItemId>,
    },
    Return {
        why: Why,
    },
    ReturnIntent {
        why: Why,
        items: Vec<ItemId>,
    },
    Proof {
        result: Proof,
    },
    Settled,
    PurgeIntent {
        items: Vec<ItemId>,
    },
    Ended,
}

/// An item where it is first mentioned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    id: ItemId,
    /// Where it was, below the registry's `rootdirectory`.
    path: String,
    #[serde(flatten)]
    item: Item,
}

/// Why a journal cannot be gone by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct Damaged {
    /// From 1.
    pub line: usize,
    pub problem: String,
}

/// What a journal tells.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Replayed {
    pub run: Run,
    /// The items that it mentions, by their numbers.
    pub items: BTreeMap<ItemId, Item>,
    /// What the run went by.
    pub about: Value,
    /// Lines that count.
    pub lines: u64,
    /// So many bytes count; what stands behind them is torn.
    pub bytes: usize,
}

/// Writes the lines of a run.
#[derive(Debug, Clone)]
pub struct Writer {
    run: RunId,
    /// The next line's.
    seq: u64,
}

impl Writer {
    /// Goes on after so many lines.
    pub fn new(run: RunId, lines: u64) -> Self {
        Self { run, seq: lines }
    }

    /// The line for an entry, with its line break. `item` tells what an item is, `about` what the run goes
    /// by. It counts once it was written: see [`written`](Self::written).
    pub fn line<'a>(
        &self,
        entry: &Entry,
        at: Second,
        epoch: u32,
        item: impl Fn(ItemId) -> Option<&'a Item>,
        about: &Value,
    ) -> String {
        let record = match entry {
            Entry::Began => Record::Began {
                about: about.clone(),
            },
            Entry::Intent(items) => Record::Intent {
                items: items
                    .iter()
                    .filter_map(|id| {
                        let item = item(*id)?.clone();
                        let path = item.path();
                        Some(Told {
                            id: *id,
                            path,
                            item,
                        })
                    })
                    .collect(),
            },
            Entry::Found(found) => {
                let all = |outcome| {
                    let those = found.iter().filter(|(_, it)| *it == outcome);
                    those.map(|(item, _)| *item).collect()
                };
                Record::Found {
                    live: all(Outcome::Live),
                    held: all(Outcome::Held),
                    gone: all(Outcome::Gone),
                }
            }
            Entry::Return(why) => Record::Return { why: *why },
            Entry::ReturnIntent(why, items) => Record::ReturnIntent {
                why: *why,
                items: items.clone(),
            },
            Entry::Proven(result) => Record::Proof { result: *result },
            Entry::Settled => Record::Settled,
            Entry::PurgeIntent(items) => Record::PurgeIntent {
                items: items.clone(),
            },
            Entry::Ended => Record::Ended,
        };
        let line = Line {
            seq: self.seq,
            at,
            epoch,
            run: self.run,
            record,
        };
        let text = serde_json::to_string(&line).expect("it is text and numbers");
        sealed(&text)
    }

    /// The last line was written.
    pub fn written(&mut self) {
        self.seq += 1;
    }
}

/// With its checksum, as its last key.
fn sealed(object: &str) -> String {
    let body = object.strip_suffix('}').unwrap_or(object);
    let sum = crc32c::crc32c(body.as_bytes());
    format!("{body},\"crc32c\":\"{sum:08x}\"}}\n")
}

/// The object without its checksum; `None` if that does not fit.
fn unsealed(line: &str) -> Option<String> {
    let (body, rest) = line.rsplit_once(",\"crc32c\":\"")?;
    let sum = crc32c::crc32c(body.as_bytes());
    (rest == format!("{sum:08x}\"}}")).then(|| format!("{body}}}"))
}

/// Reads the journal of a run.
pub fn replay(run: RunId, text: &[u8]) -> Result<Replayed, Damaged> {
    let mut replayed = Replayed::default();
    let mut rest = text;
    while !rest.is_empty() {
        let number = usize::try_from(replayed.lines)
            .unwrap_or(usize::MAX)
            .saturating_add(1);
        let damaged = |problem: &str| Damaged {
            line: number,
            problem: problem.to_owned(),
        };
        let end = rest.iter().position(|byte| *byte == b'\n');
        let (line, after) = match end {
            Some(end) => {
                let (line, after) = rest.split_at(end);
                (line, after.get(1..).unwrap_or_default())
            }
            // Whoever wrote it died before it was whole, so what it announces was not begun.
            None => break,
        };
        let object = std::str::from_utf8(line).ok().and_then(unsealed);
        let Some(object) = object else {
            // Space that was taken beforehand, or a tear: nothing that counts comes after it.
            if after.iter().all(|byte| matches!(byte, 0 | b'\n')) {
                break;
            }
            return Err(damaged("its checksum does not fit, and it is not the last"));
        };
        let line: Line = serde_json::from_str(&object)
            .map_err(|error| damaged(&format!("it is not what pullproof writes: {error}")))?;
        if line.run != run {
            return Err(damaged(&format!("it is of the run {}", line.run)));
        }
        if line.seq != replayed.lines {
            return Err(damaged(&format!(
                "it is the line {} of its run, and {} was to come",
                line.seq, replayed.lines
            )));
        }
        take(&mut replayed, line).map_err(|problem| damaged(&problem))?;
        replayed.lines += 1;
        rest = after;
        replayed.bytes = text.len() - rest.len();
    }
    Ok(replayed)
}

fn take(replayed: &mut Replayed, line: Line) -> Result<(), String> {
    let entry = match line.record {
        Record::Began { about } => {
            replayed.about = about;
            Entry::Began
        }
        Record::Intent { items } => {
            let mut ids = Vec::with_capacity(items.len());
            for Told { id, path, item } in items {
                // By its path it would be put back.
                if item.path() != path {
                    return Err(format!("{path} is not the path of what it names"));
                }
                ids.push(id);
                replayed.items.insert(id, item);
            }
            Entry::Intent(ids)
        }
        Record::Found { live, held, gone } => {
            let all = [
                (live, Outcome::Live),
                (held, Outcome::Held),
                (gone, Outcome::Gone),
            ];
            let all = all
                .into_iter()
                .flat_map(|(items, outcome)| items.into_iter().map(move |item| (item, outcome)));
            Entry::Found(all.collect())
        }
        Record::Return { why } => Entry::Return(why),
        Record::ReturnIntent { why, items } => Entry::ReturnIntent(why, items),
        Record::Proof { result } => Entry::Proven(result),
        Record::Settled => Entry::Settled,
        Record::PurgeIntent { items } => Entry::PurgeIntent(items),
        Record::Ended => Entry::Ended,
    };
    let mentioned: &[ItemId] = match &entry {
        Entry::ReturnIntent(_, items) | Entry::PurgeIntent(items) => items,
        _ => &[],
    };
    if let Some(item) = mentioned
        .iter()
        .find(|item| !replayed.items.contains_key(item))
    {
        return Err(format!("the item {} was never told", item.0));
    }
    replayed.run.apply(&entry, line.at);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::collection::item::Class;
    use crate::collection::run::Place;
    use crate::oci::digest::Digest;

    fn run() -> RunId {
        RunId {
            began: Second::new(1_795_312_800),
            epoch: 3,
        }
    }

    fn item(number: u32) -> Item {
        Item {
            class: Class::LayerLink,
            digest: Digest::of(&number.to_be_bytes()),
            repository: Some("team/app".into()),
            tag: None,
            bytes: 71,
            modified: Some(Second::new(5)),
            version: None,
            reason: "untagged".to_owned(),
        }
    }

    fn all() -> Vec<Entry> {
        let ids = |range: std::ops::Range<u32>| range.map(ItemId).collect::<Vec<_>>();
        let found = |range: std::ops::Range<u32>, outcome| {
            let items = ids(range).into_iter();
            Entry::Found(items.map(|item| (item, outcome)).collect())
        };
        vec![
            Entry::Began,
            Entry::Intent(ids(0..3)),
            found(0..3, Outcome::Held),
            Entry::ReturnIntent(Why::CacheUnsettled, ids(2..3)),
            found(2..3, Outcome::Live),
            Entry::Proven(Proof::Clean),
            Entry::Settled,
            Entry::PurgeIntent(ids(0..2)),
            found(0..1, Outcome::Gone),
            Entry::Return(Why::Asked),
            Entry::Ended,
        ]
    }

    fn written() -> String {
        let mut writer = Writer::new(run(), 0);
        let items: Vec<Item> = (0..3).map(item).collect();
        let mut text = String::new();
        for entry in all() {
            let about = serde_json::json!({"plan": "abc"});
            let item = |id: ItemId| items.get(id.index());
            text += &writer.line(&entry, Second::new(10), 3, item, &about);
            writer.written();
        }
        text
    }

    #[test]
    fn what_was_written_is_read() {
        let text = written();
        let replayed = replay(run(), text.as_bytes()).unwrap();
        let mut expected = Run::default();
        for entry in all() {
            expected.apply(&entry, Second::new(10));
        }
        assert_eq!(replayed.run, expected);
        assert_eq!(replayed.run.place(ItemId(0)), Place::Gone);
        assert_eq!(replayed.run.place(ItemId(1)), Place::Going);
        assert_eq!(replayed.run.place(ItemId(2)), Place::Live);
        assert_eq!(replayed.items.len(), 3);
        assert_eq!(replayed.about, serde_json::json!({"plan": "abc"}));
        assert_eq!((replayed.lines, replayed.bytes), (11, text.len()));
        insta::assert_snapshot!(text.lines().take(3).collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn wherever_it_is_torn_what_is_whole_counts() {
        let text = written();
        let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        for length in 0..=text.len() {
            let (whole, _) = text.as_bytes().split_at(length);
            let lines = ends.iter().filter(|end| **end <= length).count();
            let replayed = replay(run(), whole).unwrap();
            assert_eq!(replayed.lines, lines as u64, "{length}");
            // And with what was there before, in space that was taken beforehand.
            let mut padded = whole.to_vec();
            padded.extend([0; 40]);
            assert_eq!(replay(run(), &padded).unwrap().lines, lines as u64);
        }
    }

    #[test]
    fn a_line_of_another_run_or_out_of_turn_is_damage() {
        let text = written();
        let other = RunId { epoch: 4, ..run() };
        assert_eq!(replay(other, text.as_bytes()).unwrap_err().line, 1);
        let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
        lines.remove(3);
        assert_eq!(
            replay(run(), lines.concat().as_bytes()).unwrap_err().line,
            4
        );
    }

    proptest! {
        /// A byte that is another is damage, or in the last line a tear; it is never read as something else.
        #[test]
        fn no_flipped_bit_is_believed(at in 0_usize..4000, bit in 0_u8..8) {
            let text = written();
            let at = at % text.len();
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let whole = replay(run(), text.as_bytes()).unwrap();
            if let Ok(replayed) = replay(run(), &bytes) {
                let last = text.trim_end().rfind('\n').unwrap();
                // Without the break between them the last two lines are one that does not fit.
                prop_assert!(at >= last, "{at}");
                let lost = if at == last { 2 } else { 1 };
                let is_shorter = replayed.lines == whole.lines - lost;
                prop_assert!(is_shorter || replayed == whole);
            }
        }
    }
}
