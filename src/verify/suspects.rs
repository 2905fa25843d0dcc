//! What was found broken by reading, and by what depth: shared by all who ask one registry.
//!
//! A HEAD that lied once lies again. So what was found broken by reading counts as whole only when it
//! was read again, whoever asks next, and also after a restart.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::depth::Depth;
use super::table::Table;
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
        // What this round was told of and reached is what it found now: a suspect, or well again. The
        // same object by several identities is as bad as the worst of them found it.
        let mut found: HashMap<_, Depth> = HashMap::new();
        for (key, state) in table.objects.iter() {
            let key = (key.repository, key.digest);
            let is_known = || state.suspect > Depth::Head || table.suspects.contains_key(&key);
            if state.round == table.round && is_known() {
                let depth = found.entry(key).or_default();
                *depth = state.suspect.max(*depth);
            }
        }
        if found.is_empty() {
            return;
        }
        let names = table.names();
        let mut suspects = self.0.lock().expect("never held across a panic");
        for ((repository, digest), depth) in found {
            let Some(name) = names.get(&repository) else {
                continue;
            };
            let key = (Arc::clone(name), digest);
            if depth > Depth::Head {
                suspects.insert(key, depth);
            } else {
                suspects.remove(&key);
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
