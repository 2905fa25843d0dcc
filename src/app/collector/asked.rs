//! What an operator asks back while somebody else has the storage's lock: left beside the journal, and obeyed
//! by whoever has it within one batch.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::journals::Journals;
use super::{Restore, memory};
use crate::collection::item::{ItemId, RunId};
use crate::oci::digest::Digest;
use crate::vault::Vault;

/// Beside the journal.
pub(super) const NOTE: &str = "restore.json";

/// What is to go back, of each run: all of it where nothing more is said.
pub(super) type Wanted = BTreeMap<RunId, Option<Vec<ItemId>>>;

/// What is asked back, by whomever.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Asked {
    all: bool,
    runs: BTreeSet<RunId>,
    digests: BTreeSet<Digest>,
}

impl Asked {
    /// `None` where nobody asks for anything. An error says what cannot be read.
    pub(super) fn read(vault: &Vault) -> Result<Option<Self>, String> {
        memory::read(vault, NOTE)
    }

    /// Asks for this, too.
    pub(super) fn leave(self, vault: &Vault) -> Result<(), String> {
        let mut all = Self::read(vault)?.unwrap_or_default();
        all.all |= self.all;
        all.runs.extend(self.runs);
        all.digests.extend(self.digests);
        memory::write(vault, NOTE, &all)
    }

    /// What that comes to, of what is in quarantine.
    pub(super) fn wanted(&self, journals: &Journals) -> Wanted {
        let mut wanted = Wanted::new();
        for (run, id, item) in journals.held() {
            if self.all || self.runs.contains(&run) {
                wanted.insert(run, None);
            } else if self.digests.contains(&item.digest) {
                let items = wanted.entry(run).or_insert_with(|| Some(Vec::new()));
                items.get_or_insert_default().push(id);
            }
        }
        wanted
    }
}

/// Whether all of it is back, as far as the journals tell: what is on its way is not.
pub(super) fn is_back(restore: &Restore, journals: &Journals) -> bool {
    let is_open = journals
        .iter()
        .any(|(_, it)| it.run.open().next().is_some());
    !is_open && Asked::from(restore).wanted(journals).is_empty()
}

impl From<&Restore> for Asked {
    fn from(restore: &Restore) -> Self {
        let mut asked = Self::default();
        match restore {
            Restore::All | Restore::Worse => asked.all = true,
            Restore::Run(run) => drop(asked.runs.insert(*run)),
            Restore::Digest(digest) => drop(asked.digests.insert(*digest)),
            Restore::Digests(digests) => asked.digests.clone_from(digests),
        }
        asked
    }
}

impl From<BTreeSet<Digest>> for Asked {
    fn from(digests: BTreeSet<Digest>) -> Self {
        Self {
            digests,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::second::Second;

    #[test]
    fn what_several_ask_for_is_asked_for_once_each() {
        let directory = tempfile::tempdir().unwrap();
        let vault = Vault::filesystem(directory.path()).unwrap();
        assert_eq!(Asked::read(&vault).unwrap(), None);
        let run = RunId {
            began: Second::new(1_795_312_800),
            epoch: 7,
        };
        let digest = Digest::of(b"a layer");
        for restore in [
            Restore::Digest(digest),
            Restore::Run(run),
            Restore::Digest(digest),
        ] {
            Asked::from(&restore).leave(&vault).unwrap();
        }
        let asked = Asked::read(&vault).unwrap().unwrap();
        let wanted = Asked {
            all: false,
            runs: BTreeSet::from([run]),
            digests: BTreeSet::from([digest]),
        };
        assert_eq!(asked, wanted);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let vault = Vault::filesystem(directory.path()).unwrap();
        vault.write(NOTE, b"{\"everything\": true}").unwrap();
        let problem = Asked::read(&vault).unwrap_err();
        assert!(problem.contains("pullproof/restore.json"), "{problem}");
    }
}
