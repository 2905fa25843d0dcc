//! What a collection does to a registry's storage: takes, puts back, purges, and remembers beside it.
//!
//! All of it lies below `pullproof/` in the registry's `rootdirectory`, where the registry never looks:
//!
//! ```text
//! pullproof/lock                                     who collects, and the how manieth it is
//! pullproof/journal/RUN.jsonl                        what was done, and what was about to be
//! pullproof/journal/RUN/00000000.jsonl …             the same in a bucket, an object a line
//! pullproof/journal/RUN/00000000-00000042.jsonl      so many of the first lines as one
//! pullproof/ended/RUN.jsonl                          the journal of a run that is over, for people
//! pullproof/quarantine/RUN/docker/registry/v2/…      what was taken, each where it was
//! pullproof/pause, pullproof/stop                    an operator's marks
//! ```
//!
//! In a bucket with versions nothing is moved: what was taken is the version that the journal names, below a
//! delete marker.
//!
//! Nothing here decides. What takes or purges asks for a permit, which only the gate makes.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::collection::gate::Permit;
use crate::collection::item::{Item, RunId};
use crate::collection::run::Outcome;
use crate::second::Second;
use crate::storage::s3::S3;

pub use self::bucket::Rules as BucketRules;

mod bucket;
mod drill;
mod filesystem;

/// Of all that pullproof keeps in a storage.
pub const OWN: &str = "pullproof";

/// Where the items of a run are held, below the registry's `rootdirectory`.
pub fn quarantine(run: RunId) -> String {
    format!("{OWN}/quarantine/{run}")
}

/// Where a run is remembered.
pub fn journal(run: RunId) -> String {
    format!("{OWN}/journal/{run}.jsonl")
}

/// Where a run that has ended is remembered.
pub fn ended(run: RunId) -> String {
    format!("{OWN}/ended/{run}.jsonl")
}

/// The journals that are there.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Each in full.
    pub open: Vec<(RunId, Vec<u8>)>,
    /// Runs that have ended and of whose journal something was left: see [`Vault::retire`].
    pub left: Vec<RunId>,
    /// So many runs have ended.
    pub ended: usize,
}

/// What came of a batch: where each item is now, and the first thing that went wrong.
#[derive(Debug)]
pub struct Moved {
    pub outcomes: Vec<Outcome>,
    pub failed: Option<io::Error>,
}

impl Moved {
    /// Without a permit that holds nothing is done.
    fn refuse(count: usize) -> Self {
        Self {
            outcomes: vec![Outcome::Unknown; count],
            failed: Some(io::Error::other("the permit does not hold any more")),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process collects this storage.
    #[error("{0} collects this storage")]
    Held(String),
    #[error("the lock in pullproof/lock cannot be taken: {0}")]
    Io(#[from] io::Error),
    /// What is in it is not ours: nobody knows which number comes next.
    #[error(
        "pullproof/lock holds something else than pullproof writes: {0}; find out who wrote it, and remove \
         it while no collector runs"
    )]
    Damaged(String),
    /// The storage cannot keep two from having it.
    #[error("{0}")]
    Unsupported(String),
}

/// A registry's `rootdirectory`, for whoever collects it.
#[derive(Debug)]
pub enum Vault {
    Filesystem(filesystem::Vault),
    Bucket(Box<bucket::Vault>),
}

/// Held until it is dropped, or its process dies.
#[derive(Debug)]
pub enum Lock {
    Filesystem(filesystem::Lock),
    Bucket(bucket::Lock),
}

impl Lock {
    pub fn epoch(&self) -> u32 {
        match self {
            Self::Filesystem(lock) => lock.epoch(),
            Self::Bucket(lock) => lock.epoch(),
        }
    }

    /// When nothing of the holder before can arrive any more; `None` where nothing can.
    pub fn drained_at(&self) -> Option<Second> {
        match self {
            Self::Filesystem(lock) => lock.drained_at(),
            Self::Bucket(lock) => lock.drained_at(),
        }
    }

    /// Whether it is still ours, and says that we live.
    pub fn renew(&mut self, vault: &Vault, now: Second) -> io::Result<bool> {
        match (self, vault) {
            (Self::Filesystem(lock), Vault::Filesystem(vault)) => lock.renew(vault, now),
            (Self::Bucket(lock), Vault::Bucket(_)) => lock.renew(),
            (Self::Filesystem(_) | Self::Bucket(_), _) => Ok(false),
        }
    }

    /// Gives it back: whoever comes next need not wait.
    pub fn release(self) -> io::Result<()> {
        match self {
            Self::Filesystem(lock) => lock.release(),
            Self::Bucket(lock) => lock.release(),
        }
    }
}

impl Vault {
    /// Opens a registry's `rootdirectory` on a disk. Nothing is written.
    pub fn filesystem(root: &Path) -> io::Result<Self> {
        filesystem::Vault::open(root).map(Self::Filesystem)
    }

    /// Opens one in a bucket. Nothing is asked yet.
    ///
    /// What blocks must not be called from within the runtime's own tasks.
    pub fn bucket(s3: S3, runtime: Handle, rules: BucketRules) -> Self {
        Self::Bucket(Box::new(bucket::Vault::new(s3, runtime, rules)))
    }

    /// Whether this storage can be collected at all, with the rights that are there: each reason why not,
    /// with the way out. `purges` says that something is to be purged, `quarantine_for` how long things have
    /// to be restorable, and `between` how long it is from one window to the next.
    pub fn refusals(
        &self,
        purges: bool,
        quarantine_for: Duration,
        between: Duration,
    ) -> Vec<String> {
        match self {
            Self::Filesystem(_) => Vec::new(),
            Self::Bucket(vault) => vault.refusals(purges, quarantine_for, between),
        }
    }

    /// After what time the bucket purges what was taken, by its own rule; `None` where nothing does.
    pub fn purges_after(&self) -> io::Result<Option<Duration>> {
        match self {
            Self::Filesystem(_) => Ok(None),
            Self::Bucket(vault) => vault.purges_after(),
        }
    }

    /// Whether what is missing of it shows only in doing it.
    pub fn is_drilled_first(&self) -> bool {
        matches!(self, Self::Bucket(_))
    }

    /// Finds out of items that are to be taken which version each is, before anything is written of them.
    /// One that has changed since it was planned gets none.
    pub fn name_versions(&self, items: &mut [Item]) -> io::Result<()> {
        match self {
            Self::Filesystem(_) => Ok(()),
            Self::Bucket(vault) => vault.name_versions(items),
        }
    }

    /// Takes items to the quarantine of a run. What was written since it was planned stays where it is.
    /// After the first error nothing more is taken.
    pub fn take(
        &self,
        lock: &Lock,
        run: RunId,
        items: &[Item],
        permit: &Permit,
        now: Second,
    ) -> Moved {
        match (self, lock) {
            _ if !permit.holds(lock.epoch(), now) => Moved::refuse(items.len()),
            (Self::Filesystem(vault), _) => vault.take(run, items),
            (Self::Bucket(vault), Lock::Bucket(lock)) => vault.take(lock, run, items),
            (Self::Bucket(_), Lock::Filesystem(_)) => Moved::refuse(items.len()),
        }
    }

    /// Puts items back from the quarantine of a run. Nothing is overwritten. One that cannot be does not
    /// keep the others from it.
    pub fn put_back(&self, run: RunId, items: &[Item]) -> Moved {
        match self {
            Self::Filesystem(vault) => vault.put_back(run, items),
            Self::Bucket(vault) => vault.put_back(run, items),
        }
    }

    /// Purges items from the quarantine of a run: they are gone. After the first error nothing more is.
    pub fn purge(
        &self,
        lock: &Lock,
        run: RunId,
        items: &[Item],
        permit: &Permit,
        now: Second,
    ) -> Moved {
        match (self, lock) {
            _ if !permit.holds(lock.epoch(), now) => Moved::refuse(items.len()),
            (Self::Filesystem(vault), _) => vault.purge(run, items),
            (Self::Bucket(vault), Lock::Bucket(lock)) => vault.purge(lock, run, items),
            (Self::Bucket(_), Lock::Filesystem(_)) => Moved::refuse(items.len()),
        }
    }

    /// Where items are.
    pub fn look(&self, run: RunId, items: &[Item]) -> Moved {
        match self {
            Self::Filesystem(vault) => vault.look(run, items),
            Self::Bucket(vault) => vault.look(run, items),
        }
    }

    /// The bytes of blobs that runs hold, each if they are no more than a manifest's; in their order.
    pub fn read_held(&self, items: &[(RunId, &Item)]) -> Vec<io::Result<Vec<u8>>> {
        match self {
            Self::Filesystem(vault) => {
                let items = items.iter();
                let read = |(run, item): &(RunId, &Item)| vault.read_held(*run, &item.digest);
                items.map(read).collect()
            }
            Self::Bucket(vault) => vault.read_held(items),
        }
    }

    /// Moves a canary of our own as what is garbage is moved, puts it back, and reads it whole. An error is
    /// what did not work. It lies in a repository of our own, and nothing of it stays.
    pub fn drill(&self, now: Second) -> Result<(), String> {
        match self {
            Self::Filesystem(vault) => vault.drill(now),
            Self::Bucket(vault) => vault.drill(now),
        }
    }

    /// Removes what a drill left whose process died.
    pub fn clear_drill(&self) -> io::Result<()> {
        match self {
            Self::Filesystem(vault) => vault.clear_drill(),
            Self::Bucket(vault) => vault.clear_drill(),
        }
    }

    /// Removes what is empty of a run's quarantine. Whatever is in it stays.
    pub fn prune(&self, run: RunId) -> io::Result<()> {
        match self {
            Self::Filesystem(vault) => vault.prune(run),
            // There are no directories.
            Self::Bucket(_) => Ok(()),
        }
    }

    /// Whether there is such a file of ours.
    pub fn has(&self, name: &str) -> io::Result<bool> {
        match self {
            Self::Filesystem(vault) => vault.has(name),
            Self::Bucket(vault) => vault.has(name),
        }
    }

    /// A file of ours in full; `None` where there is none.
    pub fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match self {
            Self::Filesystem(vault) => vault.read(name),
            Self::Bucket(vault) => vault.read(name),
        }
    }

    /// Writes a file of ours as a whole: it is there as it was or as it is to be, also after a crash.
    pub fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        match self {
            Self::Filesystem(vault) => vault.write(name, content),
            Self::Bucket(vault) => vault.write(name, content),
        }
    }

    /// Removes a file of ours; one that is not there is removed.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match self {
            Self::Filesystem(vault) => vault.remove(name),
            Self::Bucket(vault) => vault.remove(name),
        }
    }

    /// The journals of all runs that have not ended.
    pub fn journals(&self) -> io::Result<Found> {
        match self {
            Self::Filesystem(vault) => vault.journals(),
            Self::Bucket(vault) => vault.journals(),
        }
    }

    /// Appends a line to a run's journal, synced; so many lines, and bytes, count of what is there. On a disk
    /// what was torn before is cut off first; after an error it is as it was, or that is tried.
    pub fn append(&self, run: RunId, lines: u64, bytes: u64, line: &[u8]) -> io::Result<()> {
        match self {
            Self::Filesystem(vault) => vault.append(run, bytes, line),
            Self::Bucket(vault) => vault.append(run, lines, line),
        }
    }

    /// Makes what is read of a run's journal as few objects as can be. For whoever has the lock.
    pub fn fold(&self, run: RunId) -> io::Result<()> {
        match self {
            // It is one file.
            Self::Filesystem(_) => Ok(()),
            Self::Bucket(vault) => vault.fold(run),
        }
    }

    /// Puts the journal of a run that has ended where nobody reads it again, whole: it is there or here, also
    /// after a crash. For whoever has the lock.
    pub fn retire(&self, run: RunId) -> io::Result<()> {
        match self {
            Self::Filesystem(vault) => vault.retire(run),
            Self::Bucket(vault) => vault.retire(run),
        }
    }

    /// Takes the lock, or says who has it.
    pub fn lock(&self, holder: &str, now: Second) -> Result<Lock, LockError> {
        match self {
            Self::Filesystem(vault) => vault.lock(holder, now).map(Lock::Filesystem),
            Self::Bucket(vault) => vault.lock(holder, now).map(Lock::Bucket),
        }
    }
}
