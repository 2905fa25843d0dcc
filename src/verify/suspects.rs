//! What was found broken by reading, and by what depth: shared by all who ask one registry.
//!
//! A HEAD that lied once lies again. So what was found broken by reading counts as whole only when it
//! was read again, whoever asks next, and also after a restart.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::depth::Depth;
use super::table::{ObjectState, Table};
use crate::oci::digest::Digest;

/// One such object, as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Suspect {
    pub repository: Arc<str>,
    pub digest: Digest,
    pub depth: Depth,
}

/// The suspects of one registry.
#[derive(Debug, Default)]
pub struct Suspects(Mutex<HashMap<(Arc<str>, Digest), Depth>>);

impl Suspects {
    pub fn new(remembered: Vec<Suspect>) -> Self {
        let map = remembered
            .into_iter()
            .map(|suspect| ((suspect.repository, suspect.digest), suspect.depth));
        Self(Mutex::new(map.collect()))
    }

    /// Tells a table before its round.
    pub fn tell(&self, table: &mut Table) {
        let suspects = self.0.lock().expect("never held across a panic");
        table.suspects.clear();
        for ((repository, digest), depth) in suspects.iter() {
            let id = table.repository_id(repository);
            table.suspects.insert((id, *digest), *depth);
        }
    }

    /// Learns from a table after its round.
    pub fn learn(&self, table: &Table) {
        let is_suspect = |state: &ObjectState| state.suspect > Depth::Head;
        let found: HashMap<_, _> = table
            .objects
            .iter()
            .filter(|(_, state)| state.round == table.round && is_suspect(state))
            .map(|(key, state)| ((key.repository, key.digest), state.suspect))
            .collect();
        if found.is_empty() && table.suspects.is_empty() {
            return;
        }
        let names = table.names();
        let mut suspects = self.0.lock().expect("never held across a panic");
        // What this round was told and reached is what it found now.
        for key in table
            .suspects
            .keys()
            .filter(|key| !found.contains_key(*key))
        {
            let was_reached = table.objects.iter().any(|(object, state)| {
                (object.repository, object.digest) == *key && state.round == table.round
            });
            if let Some(name) = names.get(&key.0).filter(|_| was_reached) {
                suspects.remove(&(Arc::clone(name), key.1));
            }
        }
        for ((repository, digest), depth) in found {
            if let Some(name) = names.get(&repository) {
                suspects.insert((Arc::clone(name), digest), depth);
            }
        }
    }

    /// For safekeeping, in order.
    pub fn list(&self) -> Vec<Suspect> {
        let suspects = self.0.lock().expect("never held across a panic");
        let mut list: Vec<Suspect> = suspects
            .iter()
            .map(|((repository, digest), depth)| Suspect {
                repository: Arc::clone(repository),
                digest: *digest,
                depth: *depth,
            })
            .collect();
        list.sort();
        list
    }
}
