//! What one pullproof tells another: its keep-set of what it reads itself, with who uses what. Pure.
//!
//! The keys are those of `/api/v1/keepset` and `/api/v1/inventory`. Each use is told as it is shown there,
//! and besides it what a verification elsewhere has to know of it.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Serialize, Serializer};

use crate::inventory::completeness::{Refusal, RefusalCode};
use crate::inventory::keepset::KeepSet;
use crate::inventory::running::{Running, RunningUse};
use crate::inventory::{Class, ImageUse, Inventory, SourceState, User, ledger};
use crate::oci::digest::{Digest, Hasher};
use crate::oci::platform::Platform;
use crate::oci::reference::{Aliases, Reference};

/// One use of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldUse {
    #[serde(flatten)]
    pub user: User,
    /// Of its namespace, by name. What is in them is told nobody.
    #[serde(default)]
    pub pull_secrets: Arc<[Arc<str>]>,
    /// Those of the nodes that may run it; null where every platform is needed.
    #[serde(default)]
    pub platforms: Option<Arc<[Platform]>>,
    /// What nodes say that they run of it.
    #[serde(default)]
    pub running: Box<[Running]>,
    /// Why its alerts are silenced there.
    #[serde(default)]
    pub ignored: Option<Arc<str>>,
}

impl ToldUse {
    fn of(of: &Use<'_>) -> Self {
        let Use {
            source,
            of: image_use,
            running,
        } = of;
        let admitted = source.platforms.as_ref().map(|nodes| {
            let nodes = nodes.iter();
            let admitted = nodes.filter(|node| image_use.constraint.admits(node));
            admitted.cloned().collect::<Arc<[Platform]>>()
        });
        Self {
            user: User::clone(&image_use.user),
            pull_secrets: Arc::clone(&image_use.pull_secrets),
            platforms: admitted.filter(|admitted| !admitted.is_empty()),
            running: running.map_or_else(Box::default, |of_use| of_use.running.clone()),
            ignored: source.marks.of(&image_use.user).ignored().cloned(),
        }
    }
}

/// One reference of a keep-set.
#[derive(Debug, Clone, Serialize)]
pub struct KeptView {
    pub reference: Reference,
    pub classes: Vec<Class>,
    /// What it pins, and what it led to within `keepSeen`.
    pub digests: Vec<Digest>,
    /// Told to another pullproof only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_by: Option<Vec<ToldUse>>,
}

/// The sources that are not another pullproof.
pub fn first_hand(inventory: &Inventory) -> Inventory {
    let sources = inventory.sources.iter();
    Inventory {
        sources: sources.filter(|it| it.peer.is_none()).cloned().collect(),
    }
}

/// Why a daemon has nothing to tell another, where it reads nothing but others.
pub fn nothing_of_its_own(all: &Inventory) -> Option<Refusal> {
    let mut sources = all.sources.iter();
    let is_own = |source: &SourceState| source.peer.is_none() && *source.name != *ledger::SOURCE;
    let reads_nothing = !all.sources.is_empty() && !sources.any(|source| is_own(source));
    reads_nothing.then(|| Refusal {
        code: RefusalCode::InventoryIncomplete,
        message: "it reads nothing itself: all its sources are other pullproofs".to_owned(),
    })
}

/// When the least fresh of these sources was last read in full. The ledger is fresh by itself.
pub fn complete_at(inventory: &Inventory) -> Option<Timestamp> {
    let sources = inventory.sources.iter();
    let read = sources.filter(|source| *source.name != *ledger::SOURCE);
    let times = read.map(|source| source.complete_at);
    // One that was never read has no time, and so have all.
    times.min().flatten()
}

/// The references of a keep-set, written one by one.
#[derive(Debug, Clone, Copy)]
pub struct References<'a> {
    pub set: &'a KeepSet,
    /// What it was made of, where users are told.
    pub users: Option<&'a Users<'a>>,
}

/// The uses of an inventory by what they name.
#[derive(Debug)]
pub struct Users<'a> {
    /// In order of the references.
    uses: Vec<(Cow<'a, Reference>, Use<'a>)>,
    malformed: Vec<Use<'a>>,
}

#[derive(Debug, Clone, Copy)]
struct Use<'a> {
    source: &'a SourceState,
    of: &'a ImageUse,
    running: Option<&'a RunningUse>,
}

impl<'a> Users<'a> {
    /// What is written with another name of its registry is used by both names, as it is kept.
    pub fn of(inventory: &'a Inventory, aliases: &Aliases) -> Self {
        let mut uses = Vec::new();
        let mut malformed = Vec::new();
        for source in &inventory.sources {
            for (of, running) in source.uses_told() {
                let one = Use {
                    source,
                    of,
                    running: running.map(|running| &**running),
                };
                match &of.reference {
                    Ok(reference) => {
                        let canonical = aliases.canonical(reference);
                        uses.extend(canonical.map(|it| (Cow::Owned(it), one)));
                        uses.push((Cow::Borrowed(reference), one));
                    }
                    Err(_malformed) => malformed.push(one),
                }
            }
        }
        uses.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self { uses, malformed }
    }

    fn of_reference(&self, reference: &Reference) -> Vec<ToldUse> {
        let start = self.uses.partition_point(|(one, _)| **one < *reference);
        let rest = self.uses.get(start..).unwrap_or_default();
        let same = rest.iter().take_while(|(one, _)| **one == *reference);
        same.map(|(_, one)| ToldUse::of(one)).collect()
    }

    /// Who wrote what is no reference.
    pub fn malformed(&self) -> Vec<ToldUse> {
        self.malformed.iter().map(ToldUse::of).collect()
    }

    /// The digest of all that is told, which is the same for as long as that is.
    pub fn content(&self, set: &KeepSet) -> serde_json::Result<Digest> {
        let mut hasher = Hasher::default();
        let references = References {
            set,
            users: Some(self),
        };
        serde_json::to_writer(Into(&mut hasher), &(references, self.malformed()))?;
        Ok(hasher.finish())
    }
}

impl Serialize for References<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kept = self.set.references();
        let mut list = serializer.serialize_seq(Some(kept.len()))?;
        for (reference, kept) in kept {
            list.serialize_element(&KeptView {
                reference: reference.clone(),
                classes: kept.classes.iter().copied().collect(),
                digests: kept.digests.iter().copied().collect(),
                used_by: self.users.map(|users| users.of_reference(reference)),
            })?;
        }
        list.end()
    }
}

struct Into<'a>(&'a mut Hasher);

impl std::io::Write for Into<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
