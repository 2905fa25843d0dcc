//! The rows of the table: 64 bytes an object, so that a million of them fit beside everything else.
//!
//! What is read of a row is unpacked into an [`ObjectState`], and what is changed is packed again.
//! Times are kept to the second, rounded down: a proof never looks younger than it is.
//!
//! The first row of a digest is its head. Its number stands for the digest wherever digests are named
//! often ([`super::nodes`]), so that their bytes are kept once. A head may be bare: the digest is
//! named, and nothing is known of it.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;
use jiff::Timestamp;

use super::depth::Depth;
use super::finding::Code;
use super::table::{Fact, ObjectKey, ObjectKind, ObjectState, RepositoryId};
use super::target::AuthId;
use crate::oci::digest::Digest;

/// Rows come in pieces of this many, so that a table that grows is never copied.
const PIECE: usize = 1 << 12;
const NO_SIZE: u64 = u64::MAX;
const NEVER: u32 = u32::MAX;
/// The number of no row.
pub(super) const GONE: u32 = u32::MAX;

/// Why something is unknown.
type Doubt = (Code, Arc<str>);

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
    /// No object: the digest alone.
    Bare,
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
    /// The first row of each digest, by the hash of the digest.
    heads: HashTable<u32>,
    /// All rows that are no heads, by the hash of their keys: the same content in more repositories,
    /// or for more identities.
    others: HashTable<u32>,
    /// How many heads are bare.
    bare: usize,
    hasher: RandomState,
    /// Why a row is unknown.
    doubts: HashMap<u32, Doubt>,
}

impl Objects {
    pub fn len(&self) -> usize {
        self.numbers() - self.bare
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All numbers are less than this.
    pub(super) fn numbers(&self) -> usize {
        self.heads.len() + self.others.len()
    }

    /// The number of a digest that is named.
    pub(super) fn known_id(&self, digest: &Digest) -> Option<u32> {
        let hash = self.hasher.hash_one(digest);
        let is_it = |number: &u32| self.row(*number).key.digest == *digest;
        self.heads.find(hash, is_it).copied()
    }

    /// The number of a digest, which is named from now on. It holds until [`Self::forget`].
    pub(super) fn id(&mut self, digest: Digest) -> u32 {
        match self.known_id(&digest) {
            Some(id) => id,
            None => self.place(Row::bare(digest)),
        }
    }

    /// The digest of this number.
    pub(super) fn digest(&self, id: u32) -> Digest {
        self.row(id).key.digest
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
        let mut doubt = None;
        *self.row_mut(number) = pack(*key, state, &mut doubt);
        if let Some(doubt) = doubt {
            self.doubts.insert(number, doubt);
        } else if !self.doubts.is_empty() {
            self.doubts.remove(&number);
        }
        true
    }

    pub fn iter(&self) -> impl Iterator<Item = (ObjectKey, ObjectState)> + '_ {
        self.rows()
            .filter(|(_, row)| row.fact != Tag::Bare)
            .map(|(number, row)| (row.key, self.unpack(number, row)))
    }

    fn rows(&self) -> impl Iterator<Item = (u32, &Row)> {
        (0_u32..).zip(self.pieces.iter().flatten())
    }

    /// Whether no row was last visited in another round.
    pub(super) fn are_of_round(&self, round: u32) -> bool {
        self.rows().all(|(_, row)| row.is_bare_or_of(round))
    }

    /// Forgets all rows that were last visited in another round, and all digests that `is_named` does
    /// not say are named. Gives the new number of each old one; [`GONE`] where there is none.
    pub(super) fn forget(&mut self, round: u32, is_named: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut renumbered = Vec::with_capacity(self.numbers());
        let old = std::mem::take(self);
        self.hasher = old.hasher;
        let mut doubts = old.doubts;
        // Each piece goes as soon as it was copied, so that there are never two tables.
        for (mut row, number) in old.pieces.into_iter().flatten().zip(0_u32..) {
            let doubt = doubts.remove(&number);
            let stays = row.fact != Tag::Bare && row.round == round;
            if !stays && !is_named(number) {
                renumbered.push(GONE);
                continue;
            }
            if !stays {
                row = Row::bare(row.key.digest);
            }
            let new = self.place(row);
            renumbered.push(new);
            if let Some(doubt) = doubt.filter(|_| stays) {
                self.doubts.insert(new, doubt);
            }
        }
        renumbered
    }

    fn insert(&mut self, key: ObjectKey, state: ObjectState) {
        let mut doubt = None;
        let row = pack(key, state, &mut doubt);
        let number = self.place(row);
        if let Some(doubt) = doubt {
            self.doubts.insert(number, doubt);
        }
    }

    /// Gives a row of which there is none its place, and tells its number. A bare one's is that of its
    /// digest.
    fn place(&mut self, row: Row) -> u32 {
        let head = self.known_id(&row.key.digest);
        if let Some(head) = head {
            if row.fact == Tag::Bare {
                return head;
            }
            if self.row(head).fact == Tag::Bare {
                *self.row_mut(head) = row;
                self.bare -= 1;
                return head;
            }
        }
        let number = u32::try_from(self.numbers()).ok();
        let number = number
            .filter(|number| *number != GONE)
            .expect("fewer than 2^32 - 1 objects");
        match self.pieces.last_mut() {
            Some(piece) if piece.len() < PIECE => piece.push(row),
            Some(_) | None => {
                let mut piece = Vec::with_capacity(PIECE);
                piece.push(row);
                self.pieces.push(piece);
            }
        }
        let (pieces, hasher) = (&self.pieces, &self.hasher);
        if head.is_none() {
            self.bare += usize::from(row.fact == Tag::Bare);
            let hash = |number: &u32| hasher.hash_one(row_of(pieces, *number).key.digest);
            self.heads
                .insert_unique(hasher.hash_one(row.key.digest), number, hash);
        } else {
            let hash = |number: &u32| hasher.hash_one(row_of(pieces, *number).key);
            self.others
                .insert_unique(hasher.hash_one(row.key), number, hash);
        }
        number
    }

    fn number(&self, key: &ObjectKey) -> Option<u32> {
        let head = self.known_id(&key.digest)?;
        let row = self.row(head);
        if row.fact == Tag::Bare {
            return None;
        }
        if row.key == *key {
            return Some(head);
        }
        let hash = self.hasher.hash_one(key);
        let found = self
            .others
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
            Tag::Bare | Tag::Unasked => Fact::Unasked,
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
}

impl Row {
    fn bare(digest: Digest) -> Self {
        let key = ObjectKey {
            auth: AuthId::OWN,
            repository: RepositoryId::default(),
            digest,
            kind: ObjectKind::Blob,
        };
        Self {
            key,
            size: NO_SIZE,
            proven_at: NEVER,
            read_at: NEVER,
            round: 0,
            depth: 0,
            suspect: Depth::Head,
            fact: Tag::Bare,
        }
    }

    fn is_bare_or_of(&self, round: u32) -> bool {
        self.fact == Tag::Bare || self.round == round
    }
}

/// A row. Why it is unknown is told to `doubt`.
fn pack(key: ObjectKey, state: ObjectState, doubt: &mut Option<Doubt>) -> Row {
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
            *doubt = Some((code, message));
            (Tag::Unknown, NO_SIZE)
        }
    };
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
    use crate::verify::table::Table;

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
        /// It is a map: whatever is put in, in whatever order, comes out again. And it names digests:
        /// a number is one digest's for as long as somebody names it.
        #[test]
        fn it_holds_what_a_map_holds(
            steps in prop::collection::vec((0_u8..40, 0_u8..4, fact(), 0_u32..3), 0..400),
            kept in 0_u32..3,
            again in prop::collection::vec((0_u8..40, 0_u8..4, fact()), 0..40),
        ) {
            let mut objects = Objects::default();
            let mut map: HashMap<ObjectKey, ObjectState> = HashMap::new();
            let mut named: HashMap<Digest, u32> = HashMap::new();
            let mut table = Table::default();
            let repositories = ["a", "b"].map(|name| table.repository_id(&name.into()));
            let key = |n: u8, place: u8| ObjectKey {
                auth: AuthId(u32::from(n % 3)),
                repository: repositories[usize::from(place % 2)],
                digest: Digest::of(&[n]),
                kind: if place < 2 { ObjectKind::Blob } else { ObjectKind::Manifest },
            };
            for (n, place, fact, round) in steps {
                let key = key(n, place);
                if n % 7 == 0 {
                    named.insert(key.digest, objects.id(key.digest));
                }
                let new = state(fact, round);
                if n % 4 != 3 {
                    objects.get_or_insert(key, new.clone());
                    map.entry(key).or_insert_with(|| new.clone());
                }
                if n % 5 == 0 {
                    let is_known = objects.update(&key, |state| *state = new.clone());
                    prop_assert_eq!(is_known, map.contains_key(&key));
                    if is_known {
                        map.insert(key, new);
                    }
                }
            }
            prop_assert_eq!(objects.are_of_round(kept), map.values().all(|state| state.round == kept));
            for (digest, id) in &named {
                prop_assert_eq!(objects.digest(*id), *digest);
                prop_assert_eq!(objects.known_id(digest), Some(*id));
            }
            let renumbered = objects.forget(kept, |id| named.values().any(|named| *named == id));
            map.retain(|_, state| state.round == kept);
            for (digest, id) in named {
                prop_assert_eq!(objects.digest(renumbered[id as usize]), digest);
                prop_assert_eq!(objects.known_id(&digest), Some(renumbered[id as usize]));
            }
            for (n, place, fact) in again {
                let new = state(fact, 9);
                objects.get_or_insert(key(n, place), new.clone());
                map.entry(key(n, place)).or_insert(new);
            }
            prop_assert_eq!(objects.len(), map.len());
            prop_assert_eq!(objects.is_empty(), map.is_empty());
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
