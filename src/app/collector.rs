//! One session of a collection: does what the machine says, and tells it what came of it.
//!
//! It blocks: it is for a thread of its own. What it knows of the world it asks for when it is needed, and
//! whatever could not be found out is told as such.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Handle;

use self::journals::{Journals, Unreadable};
use self::session::Session;
use super::plan::{self as planning, Kept};
use super::registries::Registries;
use crate::clock::Clock;
use crate::collection::guard::Guards;
use crate::collection::item::RunId;
use crate::collection::machine::{Ending, Event, Goal, Machine, Rules};
use crate::collection::run::Why;
use crate::collection::select::Left;
use crate::config::{Mode, Registry};
use crate::gc::refusal::{Code, Refusal};
use crate::storage::Storage;
use crate::vault::Vault;

mod cluster;
pub mod journals;
mod lease;
mod proof;
pub mod readonly;
mod session;
pub mod settle;
mod workload;

/// So many items are written of, and moved, at once.
const BATCH: usize = 500;

/// Reads the keep-set as it is now.
pub type ReadKept = dyn Fn() -> anyhow::Result<Result<Kept, Vec<Refusal>>> + Send + Sync;

/// Whom a session works for, and by what.
pub struct Work {
    pub registry: Registry,
    pub registries: Registries,
    pub read_kept: Box<ReadKept>,
    pub clock: Arc<dyn Clock>,
    pub runtime: Handle,
    /// The hard stop; nothing is taken or purged after it.
    pub until: Timestamp,
    /// Set by whoever wants it to stop within a batch.
    pub stop: Arc<AtomicBool>,
    /// A plan whose share was accepted.
    pub accepted: Option<String>,
}

impl std::fmt::Debug for Work {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("Work");
        shown
            .field("registry", &self.registry.host)
            .finish_non_exhaustive()
    }
}

impl Work {
    /// Whether somebody said that it is known to be lost.
    fn is_acknowledged(&self, reference: &str) -> bool {
        let now = self.clock.now();
        let mut all = self.registry.gc.acknowledged.iter();
        all.any(|it| it.reference == reference && now < it.until)
    }
}

/// What is put back, whatever the gate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restore {
    All,
    Run(RunId),
    Digest(crate::oci::digest::Digest),
}

/// What came of a session.
#[derive(Debug, Default)]
pub struct Report {
    pub ending: Option<Ending>,
    pub run: Option<RunId>,
    pub refusals: Vec<Refusal>,
    /// What is told, and closes nothing.
    pub told: Vec<String>,
    pub taken: Sum,
    pub restored: Sum,
    pub purged: Sum,
    pub left: Left,
    /// What waits for which replica to start again.
    pub waits: Vec<settle::Waits>,
    /// The first thing that went wrong.
    pub failed: Option<String>,
}

/// Files or objects, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    pub items: usize,
    pub bytes: u64,
}

/// What a session is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// What is garbage goes to the quarantine, and what is due is purged if the mode says so.
    Run,
    /// What is due is purged.
    Purge,
    Restore(Restore),
    /// What somebody left open is brought to its end.
    Tend,
}

/// Runs a session to its end.
pub fn run(work: &Work, task: &Task) -> Report {
    match begin(work, task) {
        Ok(report) => report,
        Err(refusal) => refused(work, refusal),
    }
}

/// What comes of a session that does not begin: a registry that a run which died left read-only is made
/// writable all the same.
pub fn refused(work: &Work, refusal: Refusal) -> Report {
    let mut report = recover(work);
    report.ending = Some(Ending::Refused);
    report.refusals.insert(0, refusal);
    report
}

/// Makes a registry writable again that a run which died left read-only. Nothing else is touched.
fn recover(work: &Work) -> Report {
    let Ok((storage, vault)) = open(&work.registry) else {
        return Report::default();
    };
    // Nothing is written where nothing was, not even a lock.
    if matches!(vault.has(readonly::NOTE), Ok(false)) {
        return Report::default();
    }
    let mut session = Session::new(work, storage, vault, Journals::default(), false);
    session.recover();
    session.report()
}

fn begin(work: &Work, task: &Task) -> Result<Report, Refusal> {
    let gc = &work.registry.gc;
    if gc.mode == Mode::Plan && !matches!(task, Task::Restore(_) | Task::Tend) {
        let message =
            "`gc.mode` is `plan`: nothing is taken; set it to `quarantine`, which can be undone";
        return Err(Refusal::new(Code::PlanOnly, message));
    }
    let (storage, vault) = open(&work.registry)?;
    let journals = Journals::read(&vault).map_err(|error| unreadable(&error))?;
    let rules = Rules {
        purges: gc.mode == Mode::Purge || *task == Task::Purge,
        quarantine_for: seconds(gc.quarantine_for),
        longest_request: seconds(gc.longest_request),
        batch: BATCH,
        guards: Guards::all(),
    };
    let machine = Machine::new(rules, journals.runs());
    let wanted = wanted(task, &journals)?;
    let goal = match task {
        Task::Run => Goal::Collect,
        Task::Purge => Goal::Purge,
        Task::Restore(_) | Task::Tend => Goal::Tend,
    };
    let mut session = Session::new(work, storage, vault, journals, goal != Goal::Tend);
    let (mut machine, mut next) = machine.step(Event::Started(goal), session.now());
    for (run, items) in wanted {
        (machine, _) = machine.step(Event::Wanted(run, Why::Asked, items), session.now());
    }
    while let Some(effect) = next {
        if work.stop.load(Ordering::Relaxed) {
            (machine, _) = machine.step(Event::Stopped, session.now());
        }
        let (event, others) = session.perform(effect);
        for other in others {
            (machine, _) = machine.step(other, session.now());
        }
        let Some(event) = event else { break };
        (machine, next) = machine.step(event, session.now());
    }
    Ok(session.report())
}

/// What is to go back, by run; all of one where nothing more is said.
fn wanted(
    task: &Task,
    journals: &Journals,
) -> Result<BTreeMap<RunId, Option<Vec<crate::collection::item::ItemId>>>, Refusal> {
    let Task::Restore(restore) = task else {
        return Ok(BTreeMap::new());
    };
    let mut found = BTreeMap::new();
    for (run, id, item) in journals.held() {
        match restore {
            Restore::All => {
                found.insert(run, None);
            }
            Restore::Run(wanted) if *wanted == run => {
                found.insert(run, None);
            }
            Restore::Digest(digest) if *digest == item.digest => {
                let items = found.entry(run).or_insert_with(|| Some(Vec::new()));
                items.get_or_insert_default().push(id);
            }
            Restore::Run(_) | Restore::Digest(_) => {}
        }
    }
    if found.is_empty() && *restore != Restore::All {
        let message = match restore {
            Restore::Run(run) => format!("nothing of the run {run} is in quarantine"),
            Restore::Digest(digest) => format!("{digest} is in no quarantine of this storage"),
            Restore::All => String::new(),
        };
        return Err(Refusal::new(Code::StorageUnsupported, message));
    }
    Ok(found)
}

/// Opens a storage for whoever collects it.
fn open(registry: &Registry) -> Result<(Storage, Vault), Refusal> {
    let unsupported = |message: String| Refusal::new(Code::StorageUnsupported, message);
    let Some(storage) = &registry.storage else {
        return Err(unsupported(
            "the registry's entry has no storage".to_owned(),
        ));
    };
    let opened = planning::open(storage)?;
    let crate::config::Storage::Filesystem(root) = storage else {
        let message = "a bucket can be planned for, and is not collected yet: only `filesystem` is";
        return Err(unsupported(message.to_owned()));
    };
    let vault = Vault::open(root).map_err(|error| {
        unsupported(format!("{}: it cannot be opened: {error}", root.display()))
    })?;
    Ok((opened, vault))
}

fn unreadable(error: &Unreadable) -> Refusal {
    Refusal::new(Code::StorageUnsupported, error.to_string())
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
