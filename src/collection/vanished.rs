//! Blobs that are gone although no run took them. Pure.
//!
//! A registry takes links away and never bytes: not by its API, and not by the purge of its uploads. Bytes that
//! one listing had and the next does not were taken by another collector, by a rule of the bucket or by hand.

use std::collections::{BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use crate::gc::graph::Graph;
use crate::oci::digest::Digest;
use crate::second::Second;

/// How a file of them begins; the time of the listing and the names follow, eight bytes each.
const MAGIC: [u8; 8] = *b"PPSTORE1";
/// So many are remembered by name.
const NAMED_MAX: usize = 1000;

/// The first bytes of a digest. Two that begin alike are taken for one: then one may be missed, and none is
/// made up.
pub type Start = [u8; 8];

/// The beginning of a digest.
pub fn start(digest: &Digest) -> Start {
    *digest.as_bytes().first_chunk().expect("it has 32 bytes")
}

/// The blobs that a listing had, small: there may be millions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub at: Second,
    /// In order, each once.
    names: Vec<Start>,
}

impl Stored {
    /// What a listing has, without what is held: a plan goes by that as if it were there.
    pub fn of(graph: &Graph, held: &HashSet<Digest>, at: Second) -> Self {
        let objects = graph.objects().map(|(_, object)| object);
        let there = objects.filter(|it| it.size().is_some() && !held.contains(&it.digest));
        // Nearly all of them are there.
        let mut names = Vec::with_capacity(graph.objects().len());
        names.extend(there.map(|it| start(&it.digest)));
        Self::new(names, at)
    }

    fn new(mut names: Vec<Start>, at: Second) -> Self {
        names.sort_unstable();
        names.dedup();
        Self { at, names }
    }

    pub fn has(&self, name: &Start) -> bool {
        self.names.binary_search(name).is_ok()
    }

    /// Without what was taken since; whether there was any of it.
    pub fn forget(&mut self, taken: &BTreeSet<Start>) -> bool {
        let before = self.names.len();
        self.names.retain(|name| !taken.contains(name));
        self.names.len() < before
    }

    /// What the later one has no more, and no run took.
    pub fn gone(&self, now: &Self, taken: &BTreeSet<Start>) -> Vec<Start> {
        let names = self.names.iter();
        let gone = names.filter(|name| !now.has(name) && !taken.contains(*name));
        gone.copied().collect()
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MAGIC.len() + 8 + self.names.len() * 8);
        bytes.extend(MAGIC);
        bytes.extend(self.at.get().to_be_bytes());
        bytes.extend(self.names.as_flattened());
        bytes
    }

    /// The error says that it is none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, &'static str> {
        let (words, rest) = bytes.as_chunks::<8>();
        match words {
            [MAGIC, at, names @ ..] if rest.is_empty() && names.is_sorted() => Ok(Self {
                at: Second::new(i64::from_be_bytes(*at)),
                names: names.to_vec(),
            }),
            _ => Err("it is no list of blobs"),
        }
    }
}

/// What vanished, until it is there again or somebody has seen to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vanished {
    /// When the last listing began that had it.
    pub since: Second,
    /// When the listing began that did not.
    pub seen: Second,
    pub count: usize,
    /// How their digests begin; not of all where there are many.
    pub blobs: Vec<String>,
}

impl Vanished {
    /// With what is gone since `since`; `None` where nothing is, or all of it is there again.
    pub fn next(before: Option<Self>, gone: &[Start], since: Second, now: &Stored) -> Option<Self> {
        let names = gone
            .iter()
            .map(|name| Digest::from_bytes(padded(*name)).hex());
        let names = names.map(|hex| hex.get(..16).unwrap_or_default().to_owned());
        let Some(mut all) = before.filter(|before| !before.is_back(now)) else {
            return (!gone.is_empty()).then(|| Self {
                since,
                seen: now.at,
                count: gone.len(),
                blobs: names.take(NAMED_MAX).collect(),
            });
        };
        if !gone.is_empty() {
            all.seen = now.at;
            // The same where the listing before could not be remembered.
            let new: Vec<String> = names.filter(|name| !all.blobs.contains(name)).collect();
            all.count += new.len();
            all.blobs.extend(new);
            all.blobs.truncate(NAMED_MAX);
        }
        Some(all)
    }

    /// Whether all of it is in a listing again: then that one hid it, or somebody put it back.
    fn is_back(&self, now: &Stored) -> bool {
        let is_there = |hex: &String| parsed(hex).is_some_and(|name| now.has(&name));
        self.count == self.blobs.len() && self.blobs.iter().all(is_there)
    }

    /// What speaks against going on, and the way out; `file` is where this is.
    pub fn words(&self, file: &str) -> String {
        let first = self.blobs.first().map_or("", String::as_str);
        format!(
            "{} blobs that were listed at {:.0} were gone at {:.0}, and no run of pullproof took them, the first \
             begins sha256:{first}: another collector takes from this storage, or a rule of the bucket, or somebody \
             by hand. See to it that nothing else does, then remove {file}",
            self.count,
            jiff::Timestamp::from(self.since),
            jiff::Timestamp::from(self.seen),
        )
    }
}

fn padded(name: Start) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (to, from) in bytes.iter_mut().zip(name) {
        *to = from;
    }
    bytes
}

fn parsed(hex: &str) -> Option<Start> {
    let number = u64::from_str_radix(hex, 16).ok()?;
    (hex.len() == 16).then(|| number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u8) -> Start {
        [number, 0, 0, 0, 0, 0, 0, 0xab]
    }

    fn stored(numbers: &[u8], at: i64) -> Stored {
        Stored::new(
            numbers.iter().map(|it| name(*it)).collect(),
            Second::new(at),
        )
    }

    #[test]
    fn what_no_run_took_and_is_gone_has_vanished() {
        let (before, now) = (stored(&[3, 1, 2, 2], 100), stored(&[2, 4], 200));
        let taken = BTreeSet::from([name(1)]);
        assert_eq!(before.gone(&now, &taken), [name(3)]);
        assert_eq!(before.gone(&now, &BTreeSet::new()), [name(1), name(3)]);
        assert_eq!(before.gone(&before, &BTreeSet::new()), [[0; 8]; 0]);
        let mut forgotten = before.clone();
        forgotten.forget(&BTreeSet::from([name(1), name(3)]));
        assert_eq!(forgotten.gone(&now, &BTreeSet::new()), [[0; 8]; 0]);
    }

    #[test]
    fn it_is_read_as_it_was_written_and_nothing_else_is() {
        let all = stored(&[1, 2, 3], 1_790_000_000);
        let bytes = all.to_bytes();
        assert_eq!(bytes.len(), 5 * 8);
        assert_eq!(Stored::from_bytes(&bytes), Ok(all));
        for broken in [&bytes[..39], &bytes[..8], &bytes[8..], b""] {
            assert!(Stored::from_bytes(broken).is_err(), "{broken:?}");
        }
        let mut other = bytes.clone();
        other[16] = 9;
        assert!(Stored::from_bytes(&other).is_err(), "out of order");
    }

    #[test]
    fn it_stays_until_all_of_it_is_back() {
        let since = Second::new(100);
        let next = |before: &Option<Vanished>, gone: &[u8], now: &Stored| {
            let gone: Vec<Start> = gone.iter().map(|it| name(*it)).collect();
            Vanished::next(before.clone(), &gone, since, now)
        };
        assert_eq!(next(&None, &[], &stored(&[1], 200)), None);
        let first = next(&None, &[1, 2], &stored(&[3], 200));
        let found = first.clone().unwrap();
        assert_eq!((found.count, found.blobs.len()), (2, 2));
        let words = found.words("pullproof/vanished.json");
        assert!(words.contains("sha256:01000000000000ab:"), "{words}");
        assert!(words.ends_with("remove pullproof/vanished.json"), "{words}");
        // Nothing more is gone, and it closes all the same; the same again is no more.
        assert_eq!(next(&first, &[], &stored(&[1, 3], 300)), first);
        assert_eq!(next(&first, &[2], &stored(&[3], 300)).unwrap().count, 2);
        let more = next(&first, &[3], &stored(&[], 300));
        assert_eq!(more.as_ref().unwrap().count, 3);
        assert_eq!(next(&more, &[], &stored(&[1, 2, 3], 400)), None);
        // Others are gone while those came back.
        let others = next(&first, &[5], &stored(&[1, 2], 400)).unwrap();
        assert_eq!(others.blobs, ["05000000000000ab"]);

        // Of more than are named nobody can tell that they are back.
        let many: Vec<Start> = (0..1100_u64).map(u64::to_be_bytes).collect();
        let now = Stored::new(many.clone(), Second::new(300));
        let many = Vanished::next(None, &many, since, &stored(&[], 200)).unwrap();
        assert_eq!((many.count, many.blobs.len()), (1100, NAMED_MAX));
        assert_eq!(
            Vanished::next(Some(many.clone()), &[], since, &now),
            Some(many)
        );
    }
}
