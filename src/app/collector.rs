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
use crate::collection::gate::Facts;
use crate::collection::guard::Guards;
use crate::collection::item::{Item, RunId};
use crate::collection::machine::{Ending, Event, Goal, Machine, Rules};
use crate::collection::run::Why;
use crate::collection::select::Left;
use crate::config::{Mode, Registry};
use crate::gc::plan::Plan;
use crate::gc::refusal::{Code, Refusal};
use crate::gc::window::opening::OpeningId;
use crate::inventory::keepset::LedTo;
use crate::second::Second;
use crate::storage::Storage;
use crate::vault::Vault;

mod copied;
pub mod journals;
mod memory;
mod proof;
mod session;

/// So many items are written of, and moved, at once.
const BATCH: usize = 500;

/// How the keep-set is to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Every source is asked now.
    New,
    /// As whoever watches the sources knows it.
    Known,
}

/// Reads the keep-set, with what the copy beside the journal remembers of what references led to.
pub type ReadKept =
    dyn Fn(Reading, Vec<LedTo>) -> anyhow::Result<Result<Kept, Vec<Refusal>>> + Send + Sync;

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
    /// Set by whoever sees that an image that is kept got worse: nothing more is taken, and everything in
    /// quarantine goes back.
    pub worse: Arc<AtomicBool>,
    /// Of which opening of a window it is the one run that begins by itself.
    pub opening: Option<OpeningId>,
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
    /// All, since an image that is kept got worse.
    Worse,
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
    /// What the gate was told last.
    pub facts: Facts,
    /// Objects that each replica (`host:port`) still answered for after they were taken.
    pub unsettled: BTreeMap<String, usize>,
    /// When a canary went all the way.
    pub drilled_at: Option<Timestamp>,
    /// Whether the gate was passed.
    pub is_permitted: bool,
    /// How it stands in the end.
    pub standing: Standing,
    /// The first thing that went wrong.
    pub failed: Option<String>,
}

impl Report {
    /// The contract's name of what came of it.
    pub fn result(&self) -> &'static str {
        match self.ending {
            Some(Ending::Refused) => "refused",
            Some(Ending::Failed) | None => "failed",
            Some(Ending::Restored) => "restored",
            Some(Ending::Done) if self.purged.items > 0 => "purged",
            Some(Ending::Done) if self.taken.items > 0 => "quarantined",
            Some(Ending::Done) if self.restored.items > 0 => "restored",
            Some(Ending::Done) => "planned",
        }
    }
}

/// How the quarantine of a storage stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    pub held: Sum,
    /// When the oldest run began that holds something.
    pub held_since: Option<Second>,
    /// Whether something is to be put back, proven, settled or looked for.
    pub is_open: bool,
    /// The opening of the last run that began by itself.
    pub opening: Option<OpeningId>,
}

/// Files or objects, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    pub items: usize,
    /// Of them, those that hold bytes: manifests, configs and layers.
    pub blobs: usize,
    pub bytes: u64,
}

impl Sum {
    fn add(&mut self, item: &Item) {
        self.items += 1;
        self.blobs += usize::from(item.class.is_data());
        self.bytes = self.bytes.saturating_add(item.bytes);
    }
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

/// What can be told of the gate without listing or asking anything. It blocks.
pub fn look(registry: &Registry) -> Facts {
    let mut facts = Facts::default();
    match open(registry) {
        Ok((_, vault)) => {
            facts.check(
                Code::StorageUnsupported,
                Journals::read(&vault)
                    .map(drop)
                    .map_err(|error| error.to_string()),
            );
            session::standing(&vault, registry, &mut facts);
        }
        Err(refusal) => facts.refused(refusal),
    }
    facts
}

/// Remembers a plan, for `gc.rehearsal`. It blocks.
pub fn record(registry: &Registry, plan: &Plan, now: Timestamp) -> Result<(), Refusal> {
    let (_, vault) = open(registry)?;
    memory::rehearse(&vault, plan, now).map(drop)
}

/// Runs a session to its end.
pub fn run(work: &Work, task: &Task) -> Report {
    match begin(work, task) {
        Ok(report) => report,
        Err(refusal) => Report {
            ending: Some(Ending::Refused),
            refusals: vec![refusal],
            ..Report::default()
        },
    }
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
    let mut session = Session::new(work, storage, vault, journals)?;
    let rules = Rules {
        purges: (gc.mode == Mode::Purge || *task == Task::Purge) && session.may_purge(),
        quarantine_for: seconds(gc.quarantine_for),
        longest_request: seconds(gc.longest_request),
        batch: BATCH,
        guards: Guards::all(),
    };
    let machine = Machine::new(rules, session.journals().runs());
    let (why, wanted) = (why(task), wanted(task, session.journals())?);
    let goal = match task {
        Task::Run => Goal::Collect,
        Task::Purge => Goal::Purge,
        Task::Restore(_) | Task::Tend => Goal::Tend,
    };
    let (mut machine, mut next) = machine.step(Event::Started(goal), session.now());
    for (run, items) in wanted {
        (machine, _) = machine.step(Event::Wanted(run, why, items), session.now());
    }
    while let Some(effect) = next {
        if work.stop.load(Ordering::Relaxed) {
            (machine, _) = machine.step(Event::Stopped, session.now());
        }
        if work.worse.swap(false, Ordering::Relaxed) {
            (machine, _) = machine.step(Event::Stopped, session.now());
            let runs: Vec<RunId> = machine.runs().keys().copied().collect();
            for run in runs {
                (machine, _) = machine.step(Event::Wanted(run, Why::Worse, None), session.now());
            }
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

fn why(task: &Task) -> Why {
    match task {
        Task::Restore(Restore::Worse) => Why::Worse,
        _ => Why::Asked,
    }
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
            Restore::All | Restore::Worse => {
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
    if found.is_empty() && !matches!(restore, Restore::All | Restore::Worse) {
        let message = match restore {
            Restore::Run(run) => format!("nothing of the run {run} is in quarantine"),
            Restore::Digest(digest) => format!("{digest} is in no quarantine of this storage"),
            Restore::All | Restore::Worse => String::new(),
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
