//! Who asks and where, in one number.

use std::collections::HashMap;

use super::GONE;
use super::row::Row;
use crate::verify::table::{ObjectKey, RepositoryId};
use crate::verify::target::AuthId;

type Place = (AuthId, RepositoryId);

#[derive(Debug, Default)]
pub(super) struct Places {
    places: Vec<Place>,
    numbers: HashMap<Place, u32>,
}

impl Places {
    pub(super) fn number(&mut self, auth: AuthId, repository: RepositoryId) -> u32 {
        let place = (auth, repository);
        *self.numbers.entry(place).or_insert_with(|| {
            self.places.push(place);
            u32::try_from(self.places.len() - 1).expect("fewer than 2^32 places")
        })
    }

    /// The key of a row that is not bare.
    pub(super) fn key(&self, row: &Row) -> ObjectKey {
        let (auth, repository) = *self.places.get(row.place as usize).expect("it has one");
        ObjectKey {
            auth,
            repository,
            digest: row.digest,
            kind: row.kind(),
        }
    }

    /// For moving rows from these places to others.
    pub(super) fn moving(self) -> Moving {
        Moving {
            new: vec![GONE; self.places.len()],
            old: self.places,
        }
    }
}

/// The way from old places to new ones, of which there are only those that a row has.
pub(super) struct Moving {
    old: Vec<Place>,
    new: Vec<u32>,
}

impl Moving {
    /// The new number of an old place.
    pub(super) fn to(&mut self, places: &mut Places, old: u32) -> u32 {
        let at = old as usize;
        let new = self.new.get_mut(at).expect("it has one");
        if *new == GONE {
            let (auth, repository) = *self.old.get(at).expect("it has one");
            *new = places.number(auth, repository);
        }
        *new
    }
}
