//! One session of a collection: does what the machine says, and tells it what came of it.
//!
//! It blocks: it is for a thread of its own. What it knows of the world it asks for when it is needed, and
//! whatever could not be found out is told as such.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Handle;
use tracing::warn;

use self::asked::{Asked, Wanted};
use self::journals::{Journals, Unreadable};
use self::phase::{Stopwatch, Took};
use self::session::Session;
use super::plan::{self as planning, Kept};
use super::registries::Registries;
use crate::clock::Clock;
use crate::collection::gate::Facts;
use crate::collection::guard::Guards;
use crate::collection::item::{Item, RunId};
use crate::collection::machine::{Effect, Ending, Event, Goal, Machine, Rules};
use crate::collection::proven::{self, Memory};
use crate::collection::rehearsed::Rehearsed;
use crate::collection::run::Why;
use crate::collection::select::Left;
use crate::config::executor::Undo;
use crate::config::{Config, Executor, Gc, Mode, PurgeBy, Registry};
use crate::gc::needed::Needed;
use crate::gc::plan::Plan;
use crate::gc::refusal::{Code, Refusal};
use crate::gc::window::opening::OpeningId;
use crate::inventory::keepset::LedTo;
use crate::retention::removal::Removed;
use crate::second::Second;
use crate::storage::Storage;
use crate::storage::s3::S3;
use crate::vault::{BucketRules, Vault};

mod asked;
pub(in crate::app) mod cluster;
mod conflicts;
mod copied;
pub mod ended;
mod expired;
pub mod journals;
pub(in crate::app) mod lease;
pub mod marks;
mod memory;
pub mod phase;
mod proof;
pub mod readonly;
mod recalled;
mod redis;
mod replicas;
pub mod session;
pub mod settle;
mod unmarked;
mod wanted;
mod workload;

/// So many items are written of, and moved, at once.
const BATCH: usize = 500;

/// Whoever waits for another's lock looks so often.
const ASK_EVERY: Duration = Duration::from_secs(1);

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

/// Takes whether the Lease is held.
pub type Leads = dyn Fn(bool) + Send + Sync;

/// Whom a session works for, and by what.
pub struct Work {
    pub registry: Registry,
    pub registries: Registries,
    pub read_kept: Box<ReadKept>,
    pub clock: Arc<dyn Clock>,
    /// Told that it has the Lease, or has it no more.
    pub leads: Arc<Leads>,
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
    /// A plan of which alone something is taken.
    pub only: Option<Only>,
}

/// A plan that somebody named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Only {
    /// By the ID under which it is recorded beside the journal.
    Recorded(String),
    /// As `gc plan -o json` wrote it.
    Written(crate::view::plan::Recorded),
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
    /// The registry, and the configuration that it is of.
    fn entry(&self) -> (&Config, &Registry) {
        (&self.registries.config, &self.registry)
    }

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
    /// Whatever of these is in quarantine, which need not be anything.
    Digests(std::collections::BTreeSet<crate::oci::digest::Digest>),
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
    /// How long each part of it took.
    pub took: Took,
    /// The first thing that went wrong.
    pub failed: Option<String>,
    /// Of a collector that is not ours.
    pub collected: Option<Collected>,
    /// What such a collector took that was kept.
    pub lost: Vec<String>,
    /// Who has the storage's lock, where it is somebody else.
    pub holder: Option<String>,
    /// Whether somebody else had the lock, also where nothing more than a look was wanted.
    pub is_locked_out: bool,
    /// Tags that were to be deleted, with what came of each.
    pub removed: Vec<Removed>,
    /// Which tags would go, where that was planned.
    pub retention: Option<Arc<Retained>>,
}

/// What is told of a plan of tags.
#[derive(Debug)]
pub struct Retained {
    pub id: String,
    pub plan: crate::retention::plan::Plan,
    /// So many of them are planned for long enough.
    pub due: usize,
}

/// What came of a collector that is not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// As the configuration has it.
    pub executor: &'static str,
    pub undo: Undo,
    /// How it ended, in words.
    pub ended: String,
    /// Of all that it said.
    pub said_bytes: u64,
    /// The last lines of that.
    pub said: Vec<String>,
}

impl Report {
    /// The contract's name of what came of it.
    pub fn result(&self) -> &'static str {
        match self.ending {
            Some(Ending::Refused) => "refused",
            Some(Ending::Failed) | None => "failed",
            Some(Ending::Restored) => "restored",
            Some(Ending::Done) if self.purged.items > 0 || self.collected.is_some() => "purged",
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
    /// When something goes back unless it is marked again, since the bucket would purge it.
    pub returns_at: Option<Second>,
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
    /// Tags that are to go by the policies, and were planned for long enough, are deleted.
    Retain,
    /// What somebody left open is brought to its end.
    Tend,
}

/// What a look at a storage tells.
#[derive(Debug, Default)]
pub struct Looked {
    pub facts: Facts,
    /// Since when pullproof holds the registry read-only; `None` where it does not.
    pub read_only_since: Option<Timestamp>,
}

/// What can be told of the gate without listing or asking anything. It blocks.
pub fn look(config: &Config, registry: &Registry) -> Looked {
    let mut facts = Facts::default();
    let mut read_only_since = None;
    match ground(config, registry) {
        Ok((_, vault)) => {
            let note = memory::read::<readonly::Note>(&vault, readonly::NOTE);
            read_only_since = note.ok().flatten().map(|note| note.since);
            facts.check(
                Code::StorageUnsupported,
                Journals::read(&vault)
                    .map(drop)
                    .map_err(|error| error.to_string()),
            );
            stands(&vault, registry, &mut facts);
        }
        Err(refusal) => facts.refused(refusal),
    }
    Looked {
        facts,
        read_only_since,
    }
}

/// What closes the gate now, as far as that is no matter of what is in the storage, in use or planned. It
/// blocks.
pub fn closed_now(config: &Config, registry: &Registry) -> Vec<Refusal> {
    let mut facts = Facts::default();
    match vault(config, registry) {
        Ok(vault) => stands(&vault, registry, &mut facts),
        Err(refusal) => facts.refused(refusal),
    }
    facts.refusals()
}

fn stands(vault: &Vault, registry: &Registry, facts: &mut Facts) {
    facts.check(Code::StorageUnsupported, session::vanished(vault));
    session::standing(vault, registry, &Handle::current(), facts);
}

/// What came of recording a plan.
#[derive(Debug)]
pub struct Recorded {
    pub rehearsed: Rehearsed,
    /// So much is in quarantine and named by something live: whoever tends the storage next puts it back.
    pub recalled: usize,
}

/// Remembers a plan, for `gc.rehearsal` and for whoever names it later, and says what is remembered. `now` is
/// before its listing began. It blocks.
pub fn record(
    registry: &Registry,
    needed: &Needed,
    plan: &Plan,
    now: Timestamp,
) -> Result<Recorded, Refusal> {
    if registry.gc.mode == Mode::Plan {
        let message = "`gc.mode` is `plan`, and under it nothing is written into the storage, not even a plan; \
                       set it to `quarantine`: what was not in a recorded plan for `gc.rehearsal` stays all the \
                       same";
        return Err(Refusal::new(Code::PlanOnly, message));
    }
    let (storage, vault) = open(registry)?;
    let recalled = recalled::recall((&storage, registry, &vault), needed, plan, now)?;
    let rehearsed = memory::rehearse(&vault, &registry.host, plan, now)?;
    Ok(Recorded {
        rehearsed,
        recalled,
    })
}

/// Runs a session to its end.
pub fn run(work: &Work, task: &Task) -> Report {
    match task {
        Task::Restore(restore) => restored(work, restore),
        Task::Run | Task::Purge | Task::Retain | Task::Tend => once(work, task),
    }
}

fn once(work: &Work, task: &Task) -> Report {
    match begin(work, task) {
        Ok(report) => report,
        Err(refusal) => refused(work, refusal),
    }
}

/// Puts something back. Where somebody else has the storage's lock, that one is asked to, and this waits until
/// it is done, or until the lock is free.
fn restored(work: &Work, restore: &Restore) -> Report {
    let task = Task::Restore(restore.clone());
    let mut asked: Option<String> = None;
    loop {
        let mut report = once(work, &task);
        let Some(holder) = report.holder.clone() else {
            return report;
        };
        let vault = match vault(&work.registries.config, &work.registry) {
            Ok(vault) => vault,
            Err(refusal) => return refused(work, refusal),
        };
        if asked.is_none() {
            if let Err(problem) = Asked::from(restore).leave(&vault) {
                report.failed = Some(problem);
                return report;
            }
            warn!(
                storage = work.registry.host,
                "{holder} collects this storage: it is asked to put this back (pullproof/{}), within its batch",
                asked::NOTE
            );
        }
        let holder = asked.get_or_insert(holder).clone();
        work.runtime.block_on(tokio::time::sleep(ASK_EVERY));
        if work.stop.load(Ordering::Relaxed) {
            report.told.push(format!(
                "what was asked back stands in pullproof/{}: {holder}, or whoever comes next, obeys it",
                asked::NOTE
            ));
            return report;
        }
        let journals = Journals::read(&vault);
        // What cannot be read may be written right now.
        if journals.is_ok_and(|it| asked::is_back(restore, &it)) {
            return Report {
                ending: Some(Ending::Done),
                told: vec![format!("{holder} put it back")],
                ..Report::default()
            };
        }
    }
}

/// What the gate would say of the images that are kept, which are proven now: for whoever asks outside of a session.
/// What was proven earlier is read, and nothing is remembered.
pub async fn images_say(work: &Work, kept: &Kept) -> Vec<Refusal> {
    let (config, registry) = work.entry();
    let read = {
        let (config, registry) = (config.clone(), registry.clone());
        move || {
            let vault = vault(&config, &registry).map_err(|refusal| refusal.message)?;
            memory::read::<Memory>(&vault, session::gate::PROVEN)
        }
    };
    let read = tokio::task::spawn_blocking(read).await;
    let remembered = match read.unwrap_or_else(|panic| Err(panic.to_string())) {
        Ok(remembered) => remembered.unwrap_or_default(),
        Err(problem) => return vec![Refusal::new(Code::ProofStale, problem)],
    };
    let references = proof::references(&kept.set, work.entry(), &|_| false);
    let proving = proof::prove(&work.registries, &registry.host, &references, &work.clock);
    let (proofs, _) = proving.await;
    let is_acknowledged = |reference: &str| work.is_acknowledged(reference);
    proven::judge(&proofs, &remembered, registry.gc.require, &is_acknowledged).refusals
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
    let Ok((storage, vault)) = ground(&work.registries.config, &work.registry) else {
        return Report::default();
    };
    // Nothing is written where nothing was, not even a lock.
    let notes = [readonly::NOTE, session::foreign::NOTE];
    if notes
        .iter()
        .all(|note| matches!(vault.has(note), Ok(false)))
    {
        return Report::default();
    }
    match Session::new(work, storage, vault, false, Journals::default(), false) {
        Ok(mut session) => {
            session.recover();
            // Nobody has looked into the journals.
            Report {
                standing: Standing::default(),
                ..session.report()
            }
        }
        Err(refusal) => Report {
            refusals: vec![refusal],
            ..Report::default()
        },
    }
}

fn begin(work: &Work, task: &Task) -> Result<Report, Refusal> {
    let gc = &work.registry.gc;
    if *task == Task::Retain {
        return session::retention::retain(work);
    }
    if gc.mode == Mode::Plan && !matches!(task, Task::Restore(_) | Task::Tend) {
        return Err(plan_only(gc));
    }
    if gc.executor.is_foreign() {
        match task {
            Task::Run => return session::foreign::collect(work),
            Task::Tend => {
                let tended = session::foreign::tend(work)?;
                if tended.is_some() || !has_quarantine(&work.registry) {
                    return tended.map_or_else(|| idle(work), Ok);
                }
            }
            // What pullproof took before somebody else was to collect.
            Task::Purge | Task::Retain | Task::Restore(_) => {}
        }
    }
    let is_disk = matches!(
        work.registry.storage,
        Some(crate::config::Storage::Filesystem(_))
    );
    if is_disk && gc.purge_by == PurgeBy::Lifecycle && matches!(task, Task::Run | Task::Purge) {
        let message = "`gc.purge` is `by: lifecycle`, and a directory purges nothing by itself: write `by: \
                       pullproof`";
        return Err(Refusal::new(Code::StorageUnsupported, message));
    }
    let (storage, vault) = open(&work.registry)?;
    let mut journals = Journals::read(&vault).map_err(|error| unreadable(&error))?;
    let expired = expired::find(work, &vault, &mut journals)?;
    // What cannot be told is told at the end, and keeps nothing from going back.
    let unmarked = unmarked::find(work, &vault, &journals).unwrap_or_default();
    let purges = gc.mode == Mode::Purge || *task == Task::Purge;
    let leads = !matches!(task, Task::Restore(_) | Task::Tend);
    let mut session = Session::new(work, Some(storage), vault, purges, journals, leads)?;
    let rules = Rules {
        // What the bucket purges by itself is not purged from here.
        purges: purges && gc.purge_by == PurgeBy::Pullproof && session.may_purge(),
        quarantine_for: seconds(gc.quarantine_for),
        longest_request: seconds(gc.longest_request),
        batch: BATCH,
        forgets: gc.redis.is_some(),
        guards: Guards::all(),
    };
    let machine = Machine::new(rules, session.journals().runs());
    let (why, wanted) = (why(task), wanted(task, session.journals())?);
    let goal = match task {
        Task::Run => Goal::Collect,
        Task::Purge => Goal::Purge,
        Task::Restore(_) | Task::Retain | Task::Tend => Goal::Tend,
    };
    let (mut machine, mut next) = machine.step(Event::Started(goal), session.now());
    for (run, items) in wanted {
        (machine, _) = machine.step(Event::Wanted(run, why, items), session.now());
    }
    let now = session.now();
    for (run, _) in unmarked.into_iter().filter(|(_, at)| *at <= now) {
        warn!(
            storage = work.registry.host,
            %run, "the bucket would purge it soon, and it was not marked again: it goes back"
        );
        (machine, _) = machine.step(Event::Wanted(run, Why::Unmarked, None), now);
    }
    let mut watch = Stopwatch::default();
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
        let may_be_asked = matches!(effect, Effect::Lock | Effect::Guard | Effect::Watch);
        let (event, others) = watch.time(effect, |effect| session.perform(effect));
        if may_be_asked && let Some(asked) = session.asked_back() {
            // Nothing more is taken beside what goes back.
            (machine, _) = machine.step(Event::Stopped, session.now());
            for (run, items) in asked {
                (machine, _) = machine.step(Event::Wanted(run, Why::Asked, items), session.now());
            }
        }
        for other in others {
            (machine, _) = machine.step(other, session.now());
        }
        let Some(event) = event else { break };
        (machine, next) = machine.step(event, session.now());
    }
    let mut report = session.report();
    report.took = watch.took();
    report.purged.items += expired.items;
    report.purged.blobs += expired.blobs;
    report.purged.bytes = report.purged.bytes.saturating_add(expired.bytes);
    Ok(report)
}

fn why(task: &Task) -> Why {
    match task {
        Task::Restore(Restore::Worse) => Why::Worse,
        _ => Why::Asked,
    }
}

/// What is to go back, by run; all of one where nothing more is said.
fn wanted(task: &Task, journals: &Journals) -> Result<Wanted, Refusal> {
    let Task::Restore(restore) = task else {
        return Ok(Wanted::new());
    };
    let found = Asked::from(restore).wanted(journals);
    let may_be_none = matches!(restore, Restore::All | Restore::Worse | Restore::Digests(_));
    if found.is_empty() && !may_be_none {
        let message = match restore {
            Restore::Run(run) => format!(
                "nothing of the run {run} is in quarantine: it was put back or purged; `pullproof gc status` tells \
                 what is held"
            ),
            Restore::Digest(digest) => format!("{digest} is in no quarantine of this storage"),
            Restore::All | Restore::Worse | Restore::Digests(_) => String::new(),
        };
        return Err(Refusal::new(Code::StorageUnsupported, message));
    }
    Ok(found)
}

/// Why nothing is taken where only plans are made.
pub fn plan_only(gc: &Gc) -> Refusal {
    let message = match gc.executor {
        Executor::Builtin => {
            "`gc.mode` is `plan`: nothing is taken; set it to `quarantine`, which can be undone"
        }
        _ => {
            "`gc.mode` is `plan`: nothing is taken; this executor has no quarantine, and `purge` lets it take what \
             it wants for good"
        }
    };
    Refusal::new(Code::PlanOnly, message)
}

/// How it stands where nothing is to be done.
fn idle(work: &Work) -> Result<Report, Refusal> {
    let (storage, vault) = ground(&work.registries.config, &work.registry)?;
    let session = Session::new(work, storage, vault, false, Journals::default(), false)?;
    Ok(Report {
        ending: Some(Ending::Done),
        ..session.report()
    })
}

/// Whether pullproof itself may ever have taken something there.
fn has_quarantine(registry: &Registry) -> bool {
    registry.storage.is_some() && !matches!(registry.gc.executor, Executor::Harbor(_))
}

/// The storage, where it is read, and where pullproof remembers what concerns its collections: in the storage, or,
/// where somebody else collects what pullproof does not see, in a directory of its own.
fn ground(config: &Config, registry: &Registry) -> Result<(Option<Storage>, Vault), Refusal> {
    if sees_nothing(registry) {
        return Ok((None, notes(config, registry, marks::KIND)?));
    }
    open(registry).map(|(storage, vault)| (Some(storage), vault))
}

/// Whether somebody else collects a storage that pullproof does not see.
fn sees_nothing(registry: &Registry) -> bool {
    registry.gc.executor.is_foreign() && !has_quarantine(registry)
}

/// What is remembered of a registry where nothing may be written into its storage; `kind` is what for.
pub(in crate::app) fn notes(
    config: &Config,
    registry: &Registry,
    kind: &str,
) -> Result<Vault, Refusal> {
    let directory = notes_directory(config, registry, kind);
    let opened = std::fs::create_dir_all(&directory).and_then(|()| Vault::filesystem(&directory));
    opened.map_err(|error| {
        let message = format!(
            "{}: what has to be remembered cannot be written there: {error} (`state.directory`)",
            directory.display()
        );
        Refusal::new(Code::StorageUnsupported, message)
    })
}

/// Where that is.
pub(in crate::app) fn notes_directory(config: &Config, registry: &Registry, kind: &str) -> PathBuf {
    let name = registry.host.replace(':', "_");
    config.state.directory.join(kind).join(name)
}

/// Opens a storage for whoever collects it.
fn open(registry: &Registry) -> Result<(Storage, Vault), Refusal> {
    let Some(storage) = &registry.storage else {
        return Err(marks::no_storage(registry));
    };
    let opened = planning::open(storage)?;
    Ok((opened, storage_vault(registry)?))
}

/// What a collection does to a registry's storage, for whoever only looks, or leaves a mark, too.
pub fn vault(config: &Config, registry: &Registry) -> Result<Vault, Refusal> {
    if sees_nothing(registry) {
        return notes(config, registry, marks::KIND);
    }
    storage_vault(registry)
}

fn storage_vault(registry: &Registry) -> Result<Vault, Refusal> {
    let unsupported = |message: String| Refusal::new(Code::StorageUnsupported, message);
    let Some(storage) = &registry.storage else {
        return Err(marks::no_storage(registry));
    };
    match storage {
        crate::config::Storage::Filesystem(root) => Vault::filesystem(root).map_err(|error| {
            unsupported(format!("{}: it cannot be opened: {error}", root.display()))
        }),
        crate::config::Storage::S3(settings) => {
            let s3 = S3::new(settings).map_err(|problem| {
                unsupported(format!("{}: {problem}", planning::shown(storage)))
            })?;
            let rules = BucketRules {
                is_purged_by_lifecycle: registry.gc.purge_by == PurgeBy::Lifecycle,
                purges_without_versions: registry.gc.purges_without_versions,
            };
            Ok(Vault::bucket(s3, Handle::current(), rules))
        }
    }
}

fn unreadable(error: &Unreadable) -> Refusal {
    Refusal::new(Code::StorageUnsupported, error.to_string())
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
