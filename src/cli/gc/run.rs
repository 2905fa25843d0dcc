//! `pullproof gc run`, `purge` and `restore`: one session of a collection, through the gate.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use tokio::runtime::Handle;

use super::keep;
use super::plan;
use super::report;
use crate::app::collector::ended::LeftAs;
use crate::app::collector::{self, Only, Reading, Report, Restore, Task, Work};
use crate::app::plan::Kept;
use crate::app::registries::Registries;
use crate::cli::given::GivenSources;
use crate::cli::output::Output;
use crate::cli::terminal::{self, Paint};
use crate::cli::{Exit, Global};
use crate::clock::{Clock, SystemClock};
use crate::collection::item::RunId;
use crate::collection::machine::Ending;
use crate::collection::occasion::MARGIN;
use crate::config::{Config, Mode, Registry};
use crate::credential_source::Sources;
use crate::gc::plan::Plan;
use crate::gc::refusal::{Code, Refusal};
use crate::gc::window;
use crate::oci::digest::Digest;
use crate::registry::manifest_cache::InMemory;
use crate::registry::stats::Stats;

#[derive(Debug, clap::Args)]
pub struct RunArguments {
    #[command(flatten)]
    given: GivenSources,
    /// Take more than `gc.alarmPercent` allows, if it is this plan
    #[arg(long, value_name = "PLAN", env = "PULLPROOF_ACCEPT")]
    accept: Option<String>,
    /// Take only what this plan has: the ID of a recorded one, or a file of `gc plan -o json`
    #[arg(long, value_name = "PLAN", env = "PULLPROOF_PLAN")]
    plan: Option<String>,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    starter: Starter,
}

/// What an operator chose about a run.
#[derive(Debug, Default)]
struct Chosen {
    accept: Option<String>,
    plan: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct PurgeArguments {
    #[command(flatten)]
    given: GivenSources,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub struct RestoreArguments {
    /// Everything that this run took
    #[arg(long, value_name = "RUN", env = "PULLPROOF_RUN")]
    run: Option<RunId>,
    /// Whatever of this digest is in quarantine
    #[arg(
        long,
        value_name = "DIGEST",
        conflicts_with = "run",
        env = "PULLPROOF_DIGEST"
    )]
    digest: Option<Digest>,
    /// Everything that is in quarantine
    #[arg(long, conflicts_with_all = ["run", "digest"], env = "PULLPROOF_ALL")]
    all: bool,
    /// A tag that retention deleted, with all that it needs
    #[arg(
        long,
        value_name = "REPOSITORY:TAG",
        conflicts_with_all = ["run", "digest", "all"],
        env = "PULLPROOF_TAG"
    )]
    tag: Option<String>,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    starter: Starter,
}

/// For whoever started this.
#[derive(Debug, Default, clap::Args)]
struct Starter {
    /// Write here what came of it, in a line, as Kubernetes reads it from a container that has ended
    #[arg(long, value_name = "FILE", env = "PULLPROOF_TERMINATION_LOG")]
    termination_log: Option<PathBuf>,
}

impl Starter {
    /// What it cannot be told it finds out by itself: it looks at how the process ended.
    async fn tell(&self, report: &Report, config: Config, registry: Registry) {
        let Some(file) = &self.termination_log else {
            return;
        };
        let left = tokio::task::spawn_blocking(move || LeftAs::seen(&config, &registry));
        let left = left.await.unwrap_or_default();
        if let Err(error) = std::fs::write(file, report.to_starter(left).to_text()) {
            terminal::complain(&format!(
                "{}: it cannot be written: {error}",
                file.display()
            ));
        }
    }
}

/// What all of them take.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// Whose storage, by the registry's host [default: the only one that has a storage]
    #[arg(long, value_name = "HOST", env = "PULLPROOF_STORAGE")]
    pub(super) storage: Option<String>,
    #[arg(short, long, default_value = "table", env = "PULLPROOF_OUTPUT")]
    pub(super) output: Output,
}

pub async fn run(arguments: RunArguments, global: &Global) -> anyhow::Result<Exit> {
    let RunArguments {
        given,
        accept,
        plan,
        common,
        starter,
    } = arguments;
    let chosen = Chosen { accept, plan };
    session(Task::Run, given, chosen, &common, &starter, global).await
}

pub async fn purge(arguments: PurgeArguments, global: &Global) -> anyhow::Result<Exit> {
    let PurgeArguments { given, common } = arguments;
    let (chosen, starter) = (Chosen::default(), Starter::default());
    session(Task::Purge, given, chosen, &common, &starter, global).await
}

pub async fn restore(arguments: RestoreArguments, global: &Global) -> anyhow::Result<Exit> {
    let RestoreArguments {
        run,
        digest,
        all,
        tag,
        common,
        starter,
    } = arguments;
    if let Some(tag) = tag {
        return super::restore_tag::run(&tag, &common, global).await;
    }
    let restore = match (run, digest, all) {
        (Some(run), _, _) => Restore::Run(run),
        (None, Some(digest), _) => Restore::Digest(digest),
        (None, None, true) => Restore::All,
        (None, None, false) => {
            terminal::complain(
                "error: say what is to be put back: --run RUN, --digest DIGEST, --tag \
                 REPOSITORY:TAG, or --all; `pullproof gc \
                 status` tells what is in quarantine",
            );
            return Ok(Exit::Usage);
        }
    };
    let given = GivenSources::default();
    let (task, chosen) = (Task::Restore(restore), Chosen::default());
    session(task, given, chosen, &common, &starter, global).await
}

async fn session(
    task: Task,
    given: GivenSources,
    chosen: Chosen,
    common: &Common,
    starter: &Starter,
    global: &Global,
) -> anyhow::Result<Exit> {
    let (config, registry) =
        match global.about(|config| plan::collected(config, common.storage.as_deref())) {
            Ok(about) => about,
            Err(exit) => return Ok(exit),
        };
    let only = match chosen.plan.map(|named| only(named, &registry)) {
        None => None,
        Some(only) => match only? {
            Ok(only) => Some(only),
            Err(problem) => {
                terminal::complain(&format!("error: {problem}"));
                return Ok(Exit::Usage);
            }
        },
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let known = config.clone();
    let is_restore = matches!(task, Task::Restore(_));
    let closed = closed(&registry, clock.now()).filter(|_| !is_restore);
    let report = match closed {
        Some(first) => {
            let (mut others, kept) = all_closed(&given, &config, &registry, &clock).await;
            let work = work(config, registry.clone(), given, clock, Timestamp::MAX);
            if let Some(kept) = kept {
                others.extend(collector::images_say(&work, &kept).await);
            }
            let refused = tokio::task::spawn_blocking(move || collector::refused(&work, first));
            let mut report = refused.await?;
            report.refusals.extend(others);
            report
        }
        None => {
            let until = until(&registry, clock.now()).filter(|_| !is_restore);
            let until = until.unwrap_or(Timestamp::MAX);
            let mut work = work(config, registry.clone(), given, clock, until);
            work.accepted = chosen.accept;
            work.only = only;
            carried_out(work, task).await?
        }
    };
    let text = report::text(
        &registry,
        &report,
        is_restore,
        common.output,
        Paint::for_stdout(),
    )?;
    starter.tell(&report, known, registry).await;
    terminal::print(&text)?;
    Ok(match report.ending {
        Some(Ending::Done) => Exit::Done,
        Some(Ending::Refused) => Exit::Unknown,
        Some(Ending::Restored) => Exit::Broken,
        Some(Ending::Failed) if !report.lost.is_empty() => Exit::Broken,
        Some(Ending::Failed) | None => Exit::CouldNotRun,
    })
}

/// The plan of which alone something is taken, by its ID or in a file; the inner error is the way out.
fn only(named: String, registry: &Registry) -> anyhow::Result<Result<Only, String>> {
    if Plan::is_id(&named) {
        return Ok(Ok(Only::Recorded(named)));
    }
    let plan = plan::recorded("--plan", Path::new(&named), registry)?;
    Ok(plan.map(Only::Written))
}

/// On a thread of its own; Ctrl-C and SIGTERM stop it within a batch.
pub(in crate::cli) async fn carried_out(work: Work, task: Task) -> anyhow::Result<Report> {
    let stop = Arc::clone(&work.stop);
    let session = tokio::task::spawn_blocking(move || collector::run(&work, &task));
    tokio::pin!(session);
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    loop {
        tokio::select! {
            report = &mut session => return Ok(report?),
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = terminate.recv() => {}
        }
        terminal::complain("stopping after this batch; what was taken stays in quarantine");
        stop.store(true, Ordering::Relaxed);
    }
}

/// The hard stop: the end of the window that is open.
pub(in crate::cli) fn until(registry: &Registry, now: Timestamp) -> Option<Timestamp> {
    let opening = window::open_at(&registry.gc.windows, now)?;
    Some(window::opening::stop_by(&opening, MARGIN))
}

/// Why nothing is even begun: nothing is to be taken, or no window is open.
fn closed(registry: &Registry, now: Timestamp) -> Option<Refusal> {
    if registry.gc.mode == Mode::Plan {
        return Some(collector::plan_only(&registry.gc));
    }
    window_closed(registry, now)
}

/// That no window is open, where that is so.
pub(in crate::cli) fn window_closed(registry: &Registry, now: Timestamp) -> Option<Refusal> {
    let windows = &registry.gc.windows;
    if window::open_at(windows, now).is_some() {
        return None;
    }
    let message = match window::next(windows, now) {
        Some(next) => format!(
            "no window is open; the next is {} at {:.0} (`pullproof gc windows`)",
            next.windows.join(" and "),
            next.start
        ),
        None => "no window is configured, and nothing is taken outside of one: write `gc: {windows: [{name: \
                 sunday, schedule: \"0 2 * * 0\", timeZone: Europe/Berlin, duration: 3h}]}`"
            .to_owned(),
    };
    Some(Refusal::new(Code::WindowClosed, message))
}

/// What else can be told of the gate by now, and what is kept: nobody is to find out one after the other.
async fn all_closed(
    given: &GivenSources,
    config: &Config,
    registry: &Registry,
    clock: &Arc<dyn Clock>,
) -> (Vec<Refusal>, Option<Kept>) {
    let looked = {
        let (config, registry) = (config.clone(), registry.clone());
        tokio::task::spawn_blocking(move || collector::look(&config, &registry).facts.refusals())
    };
    let mut refusals = looked.await.unwrap_or_default();
    match keep::read(given, config, registry, clock, Vec::new()).await {
        Ok(Ok(mut kept)) => {
            refusals.append(&mut kept.refusals);
            return (refusals, Some(kept));
        }
        Ok(Err(more)) => refusals.extend(more),
        Err(error) => {
            let message = format!("the sources cannot be read: {error:#}");
            refusals.push(Refusal::new(Code::InventoryIncomplete, message));
        }
    }
    (refusals, None)
}

pub(in crate::cli) fn work(
    config: Config,
    registry: Registry,
    given: GivenSources,
    clock: Arc<dyn Clock>,
    until: Timestamp,
) -> Work {
    let config = Arc::new(config);
    let runtime = Handle::current();
    let read_kept = {
        let (config, registry) = (Arc::clone(&config), registry.clone());
        let (clock, runtime) = (Arc::clone(&clock), runtime.clone());
        move |_: Reading, copied| {
            runtime.block_on(keep::read(&given, &config, &registry, &clock, copied))
        }
    };
    Work {
        registries: Registries {
            config: Arc::clone(&config),
            named: std::collections::BTreeSet::new(),
            plain_http: std::collections::BTreeSet::new(),
            personal: Arc::default(),
            sources: Sources::default(),
            stats: Stats::default(),
            manifests: Arc::new(InMemory::default()),
            depth: None,
            memory: None,
            exchanges: None,
            clock: Arc::clone(&clock),
        },
        registry,
        read_kept: Box::new(read_kept),
        clock,
        leads: Arc::new(|_| {}),
        runtime,
        until,
        stop: Arc::default(),
        worse: Arc::default(),
        opening: None,
        accepted: None,
        only: None,
    }
}
