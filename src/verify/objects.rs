//! The rows of the table: 64 bytes an object, so that a million of them fit beside everything else.
//!
//! What is read of a row is unpacked into an [`ObjectState`], and what is changed is packed again.
//! Times are kept to the second, rounded down: a proof never looks younger than it is.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;
use jiff::Timestamp;

use super::depth::Depth;
use super::finding::Code;
use super::table::{Fact, ObjectKey, ObjectKind, ObjectState};

/// Rows come in pieces of this many, so that a table that grows is never copied.
const PIECE: usize = 1 << 12;
const NO_SIZE: u64 = u64::MAX;
const NEVER: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Row {
    key: ObjectKey,
    /// Of what is present, or how much of it could be read.
    size: u64,
    proven_at: u32,
    read_at: u32,
    round: u32,
    depth: u8,
    suspect: Depth,
    fact: Tag,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    Unasked,
    Present,
    Missing,
    WrongDigest,
    Short,
    Unknown,
}

/// What is known of each object.
#[derive(Debug, Default)]
pub struct Objects {
    pieces: Vec<Vec<Row>>,
    /// The numbers of the rows, by the hash of their keys.
    index: HashTable<u32>,
    hasher: RandomState,
    /// Why a row is unknown.
    doubts: HashMap<u32, (Code, Arc<str>)>,
}

impl Objects {
    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    pub fn get(&self, key: &ObjectKey) -> Option<ObjectState> {
        let number = self.number(key)?;
        Some(self.unpack(number, self.row(number)))
    }

    /// What is known of an object, which is `new` if nothing was.
    pub fn get_or_insert(&mut self, key: ObjectKey, new: ObjectState) -> ObjectState {
        if let Some(state) = self.get(&key) {
            return state;
        }
        self.insert(key, new.clone());
        new
    }

    /// Changes what is known of an object; false if nothing is.
    pub fn update(&mut self, key: &ObjectKey, change: impl FnOnce(&mut ObjectState)) -> bool {
        let Some(number) = self.number(key) else {
            return false;
        };
        let mut state = self.unpack(number, self.row(number));
        change(&mut state);
        let row = self.pack(number, *key, state);
        *self.row_mut(number) = row;
        true
    }

    pub fn iter(&self) -> impl Iterator<Item = (ObjectKey, ObjectState)> + '_ {
        self.pieces
            .iter()
            .flatten()
            .zip(0_u32..)
            .map(|(row, number)| (row.key, self.unpack(number, row)))
    }

    /// Forgets all rows that the last visit to which was in another round.
    pub fn keep_round(&mut self, round: u32) {
        if self.pieces.iter().flatten().all(|row| row.round == round) {
            return;
        }
        let old = std::mem::take(self);
        self.hasher = old.hasher.clone();
        for (row, number) in old.pieces.iter().flatten().zip(0_u32..) {
            if row.round == round {
                self.insert(row.key, old.unpack(number, row));
            }
        }
    }

    fn insert(&mut self, key: ObjectKey, state: ObjectState) {
        let number = u32::try_from(self.index.len()).expect("fewer than 2^32 objects");
        let row = self.pack(number, key, state);
        match self.pieces.last_mut() {
            Some(piece) if piece.len() < PIECE => piece.push(row),
            Some(_) | None => {
                let mut piece = Vec::with_capacity(PIECE);
                piece.push(row);
                self.pieces.push(piece);
            }
        }
        let (pieces, hasher) = (&self.pieces, &self.hasher);
        let hash = hasher.hash_one(key);
        self.index.insert_unique(hash, number, |number| {
            hasher.hash_one(row_of(pieces, *number).key)
        });
    }

    fn number(&self, key: &ObjectKey) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        let found = self
            .index
            .find(hash, |number| self.row(*number).key == *key)?;
        Some(*found)
    }

    fn row(&self, number: u32) -> &Row {
        row_of(&self.pieces, number)
    }

    fn row_mut(&mut self, number: u32) -> &mut Row {
        let number = number as usize;
        let piece = self.pieces.get_mut(number / PIECE);
        let row = piece.and_then(|piece| piece.get_mut(number % PIECE));
        row.expect("the index holds rows that are there")
    }

    fn unpack(&self, number: u32, row: &Row) -> ObjectState {
        let fact = match row.fact {
            Tag::Unasked => Fact::Unasked,
            Tag::Present => Fact::Present {
                size: (row.size != NO_SIZE).then_some(row.size),
            },
            Tag::Missing => Fact::Missing,
            Tag::WrongDigest => Fact::WrongDigest,
            Tag::Short => Fact::Short { read: row.size },
            Tag::Unknown => {
                let (code, message) = self.doubts.get(&number).expect("it was put there");
                Fact::Unknown {
                    code: *code,
                    message: Arc::clone(message),
                }
            }
        };
        ObjectState {
            fact,
            proven_at: time(row.proven_at),
            read_at: time(row.read_at),
            suspect: row.suspect,
            round: row.round,
            depth: row.depth,
        }
    }

    fn pack(&mut self, number: u32, key: ObjectKey, state: ObjectState) -> Row {
        let ObjectState {
            fact,
            proven_at,
            read_at,
            suspect,
            round,
            depth,
        } = state;
        let (fact, size) = match fact {
            Fact::Unasked => (Tag::Unasked, NO_SIZE),
            Fact::Present { size } => (Tag::Present, size.unwrap_or(NO_SIZE)),
            Fact::Missing => (Tag::Missing, NO_SIZE),
            Fact::WrongDigest => (Tag::WrongDigest, NO_SIZE),
            Fact::Short { read } => (Tag::Short, read),
            Fact::Unknown { code, message } => {
                self.doubts.insert(number, (code, message));
                (Tag::Unknown, NO_SIZE)
            }
        };
        if fact != Tag::Unknown && !self.doubts.is_empty() {
            self.doubts.remove(&number);
        }
        Row {
            key,
            size,
            proven_at: second(proven_at),
            read_at: second(read_at),
            round,
            depth,
            suspect,
            fact,
        }
    }
}

fn row_of(pieces: &[Vec<Row>], number: u32) -> &Row {
    let number = number as usize;
    let piece = pieces.get(number / PIECE);
    let row = piece.and_then(|piece| piece.get(number % PIECE));
    row.expect("the index holds rows that are there")
}

/// Clocks before 1970 and after 2106 are wrong; a proof by such a clock is none.
fn second(at: Option<Timestamp>) -> u32 {
    at.and_then(|at| u32::try_from(at.as_second()).ok())
        .unwrap_or(NEVER)
}

fn time(second: u32) -> Option<Timestamp> {
    (second != NEVER)
        .then(|| Timestamp::from_second(i64::from(second)).ok())
        .flatten()
}

const _: () = assert!(
    size_of::<Row>() <= 72,
    "a million rows are most of the memory"
);

/// Which kinds there are must not cost a row more than a byte.
const _: () = assert!(size_of::<ObjectKind>() == 1, "a kind is a byte");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::oci::digest::Digest;
    use crate::verify::table::Table;
    use crate::verify::target::AuthId;

    fn state(fact: Fact, round: u32) -> ObjectState {
        ObjectState {
            fact,
            proven_at: None,
            read_at: None,
            suspect: Depth::Head,
            round,
            depth: 0,
        }
    }

    fn fact() -> impl Strategy<Value = Fact> {
        prop_oneof![
            Just(Fact::Unasked),
            Just(Fact::Missing),
            Just(Fact::WrongDigest),
            Just(Fact::Present { size: None }),
            (0..u64::MAX).prop_map(|size| Fact::Present { size: Some(size) }),
            any::<u64>().prop_map(|read| Fact::Short { read }),
            "[a-z]{0,4}".prop_map(|message| Fact::Unknown {
                code: Code::Timeout,
                message: message.into()
            }),
        ]
    }

    proptest! {
        /// It is a map: whatever is put in, in whatever order, comes out again.
        #[test]
        fn it_holds_what_a_map_holds(
            steps in prop::collection::vec((0_u8..40, fact(), 0_u32..3), 0..400),
            kept in 0_u32..3,
        ) {
            let mut objects = Objects::default();
            let mut map: HashMap<ObjectKey, ObjectState> = HashMap::new();
            let mut table = Table::default();
            let repository = table.repository_id(&"a".into());
            for (n, fact, round) in steps {
                let key = ObjectKey {
                    auth: AuthId(u32::from(n % 3)),
                    repository,
                    digest: Digest::of(&[n]),
                    kind: if n % 2 == 0 { ObjectKind::Blob } else { ObjectKind::Manifest },
                };
                let new = state(fact, round);
                objects.get_or_insert(key, new.clone());
                map.entry(key).or_insert_with(|| new.clone());
                if n % 5 == 0 {
                    objects.update(&key, |state| *state = new.clone());
                    map.insert(key, new);
                }
            }
            objects.keep_round(kept);
            map.retain(|_, state| state.round == kept);
            prop_assert_eq!(objects.len(), map.len());
            prop_assert_eq!(objects.iter().collect::<HashMap<_, _>>(), map.clone());
            for (key, state) in &map {
                prop_assert_eq!(objects.get(key), Some(state.clone()));
            }
        }
    }

    #[test]
    fn times_are_rounded_down_and_impossible_ones_are_none() {
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        assert_eq!(
            time(second(at("2026-11-21T10:00:00.9Z"))),
            at("2026-11-21T10:00:00Z")
        );
        assert_eq!(time(second(at("1960-01-01T00:00:00Z"))), None);
        assert_eq!(time(second(None)), None);
    }
}
