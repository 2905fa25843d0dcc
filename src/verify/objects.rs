//! The rows of the table: 52 bytes an object, so that a million of them fit beside everything else.
//!
//! What is read of a row is unpacked into an [`ObjectState`], and what is changed is packed again.
//! Times are kept to the second, rounded down: a proof never looks younger than it is.
//!
//! The first row of a digest is its head. Its number stands for the digest wherever digests are named
//! often ([`super::nodes`]), so that their bytes are kept once. A head may be bare: the digest is
//! named, and nothing is known of it.

use std::hash::{BuildHasher as _, RandomState};

use super::index::Index;
use super::table::{ObjectKey, ObjectState};
use crate::oci::digest::Digest;

mod details;
mod places;
mod row;

use details::Details;
use places::Places;
use row::Row;

/// Rows come in pieces of this many, so that a table that grows is never copied.
const PIECE: usize = 1 << 12;
/// The number of no row.
pub(super) const GONE: u32 = u32::MAX;

/// What is known of each object.
#[derive(Debug, Default)]
pub struct Objects {
    pieces: Vec<Vec<Row>>,
    /// The first row of each digest, by the hash of the digest.
    heads: Index,
    /// All rows that are no heads, by the hash of their keys: the same content in more repositories,
    /// or for more identities.
    others: Index,
    /// How many heads are bare.
    bare: usize,
    hasher: RandomState,
    places: Places,
    details: Details,
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
        let last = self.pieces.last();
        last.map_or(0, |last| (self.pieces.len() - 1) * PIECE + last.len())
    }

    /// The number of a digest that is named.
    pub(super) fn known_id(&self, digest: &Digest) -> Option<u32> {
        let hash = self.hasher.hash_one(digest);
        self.heads
            .find(hash, |number| self.row(number).digest == *digest)
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
        self.row(id).digest
    }

    pub fn get(&self, key: &ObjectKey) -> Option<ObjectState> {
        Some(self.row(self.number(key)?).unpack(&self.details))
    }

    /// What is known of an object, which is `new` if nothing was.
    pub fn get_or_insert(&mut self, key: ObjectKey, new: ObjectState) -> ObjectState {
        if let Some(state) = self.get(&key) {
            return state;
        }
        let place = self.places.number(key.auth, key.repository);
        let row = Row::new(key.digest, key.kind, place, new.clone(), &mut self.details);
        self.place(row);
        new
    }

    /// Changes what is known of an object; false if nothing is.
    pub fn update(&mut self, key: &ObjectKey, change: impl FnOnce(&mut ObjectState)) -> bool {
        let Some(number) = self.number(key) else {
            return false;
        };
        let old = *self.row(number);
        let mut state = old.unpack(&self.details);
        change(&mut state);
        let new = Row::new(key.digest, key.kind, old.place, state, &mut self.details);
        old.release(&mut self.details);
        *self.row_mut(number) = new;
        true
    }

    pub fn iter(&self) -> impl Iterator<Item = (ObjectKey, ObjectState)> + '_ {
        self.rows()
            .filter(|row| !row.is_bare())
            .map(|row| (self.places.key(row), row.unpack(&self.details)))
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.pieces.iter().flatten()
    }

    /// Whether no row was last visited in another round.
    pub(super) fn are_of_round(&self, round: u16) -> bool {
        self.rows().all(|row| row.is_bare() || row.round == round)
    }

    /// Forgets all rows that were last visited in another round, and all digests that `is_named` does
    /// not say are named. Gives the new number of each old one; [`GONE`] where there is none.
    pub(super) fn forget(&mut self, round: u16, is_named: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut renumbered = Vec::with_capacity(self.numbers());
        // What is not named here, the indexes above all, goes at once.
        let Self {
            pieces,
            hasher,
            places,
            mut details,
            ..
        } = std::mem::take(self);
        self.hasher = hasher;
        let mut moved = places.moving();
        // Each piece goes as soon as it was copied, so that there are never two tables.
        for (mut row, number) in pieces.into_iter().flatten().zip(0_u32..) {
            if !row.is_bare() && row.round == round {
                row.place = moved.to(&mut self.places, row.place);
            } else {
                row.release(&mut details);
                if !is_named(number) {
                    renumbered.push(GONE);
                    continue;
                }
                row = Row::bare(row.digest);
            }
            renumbered.push(self.place(row));
        }
        self.details = details;
        renumbered
    }

    /// Gives a row of which there is none its place, and tells its number. A bare one's is that of its
    /// digest.
    fn place(&mut self, row: Row) -> u32 {
        let head = self.known_id(&row.digest);
        if let Some(head) = head {
            if row.is_bare() {
                return head;
            }
            if self.row(head).is_bare() {
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
        let (pieces, places, hasher) = (&self.pieces, &self.places, &self.hasher);
        if head.is_none() {
            self.bare += usize::from(row.is_bare());
            let hash = |number: u32| hasher.hash_one(row_of(pieces, number).digest);
            self.heads.insert(hasher.hash_one(row.digest), number, hash);
        } else {
            let hash = |number: u32| hasher.hash_one(places.key(row_of(pieces, number)));
            self.others
                .insert(hasher.hash_one(places.key(&row)), number, hash);
        }
        number
    }

    fn number(&self, key: &ObjectKey) -> Option<u32> {
        let head = self.known_id(&key.digest)?;
        let row = self.row(head);
        if row.is_bare() {
            return None;
        }
        let is_it = |row: &Row| row.digest == key.digest && self.places.key(row) == *key;
        if is_it(row) {
            return Some(head);
        }
        let hash = self.hasher.hash_one(key);
        self.others.find(hash, |number| is_it(self.row(number)))
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

    /// Bytes of the rows and of what finds them.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let rows = self.pieces.iter().map(Vec::capacity).sum::<usize>();
        rows * size_of::<Row>() + self.heads.bytes() + self.others.bytes()
    }
}

fn row_of(pieces: &[Vec<Row>], number: u32) -> &Row {
    let number = number as usize;
    let piece = pieces.get(number / PIECE);
    let row = piece.and_then(|piece| piece.get(number % PIECE));
    row.expect("the index holds rows that are there")
}

#[cfg(test)]
mod tests;
