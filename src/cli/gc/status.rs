//! `pullproof gc status`, and the marks of an operator: `stop`, `pause` and `resume`.

use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::plan::{collected, stopped};
use super::report::waiting;
use super::run::Common;
use crate::app::collector;
use crate::app::collector::journals::Journals;
use crate::app::collector::marks;
use crate::app::collector::readonly::{self, Note};
use crate::app::collector::session::foreign::{self, Note as Collection};
use crate::app::collector::settle::{self, Waits};
use crate::app::retention::memory;
use crate::cli::explain::text::{counted, size};
use crate::cli::output::structured;
use crate::cli::terminal::{self, Paint};
use crate::cli::{Exit, Global};
use crate::clock::{Clock as _, SystemClock};
use crate::collection::item::RunId;
use crate::collection::journal::Replayed;
use crate::collection::run::Proof;
use crate::config::{Config, Registry};
use crate::gc::refusal::Refusal;
use crate::vault::Vault;

#[derive(Debug, clap::Args)]
pub struct StatusArguments {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub struct MarkArguments {
    #[command(flatten)]
    common: Common,
}

/// What an operator says to whoever collects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    Stop,
    Pause,
    Resume,
}

#[derive(Debug, Serialize)]
struct View {
    schema: &'static str,
    storage: String,
    paused: bool,
    stopping: bool,
    /// Since when pullproof holds the registry read-only, and by which Deployment.
    read_only: Option<Note>,
    /// A collector that is not ours: under way, or after which nothing is proven yet.
    executor: Option<Collection>,
    /// What waits for which replica to start again, as the last listing saw it.
    waits: Vec<Waits>,
    /// Those that hold something, or have something open; the oldest first.
    runs: Vec<RunView>,
    ended_runs: usize,
}

#[derive(Debug, Serialize)]
struct RunView {
    run: RunId,
    items: usize,
    bytes: u64,
    /// Of which nobody knows yet whether it was moved.
    open: usize,
    proof: Proof,
    settled: bool,
    returning: bool,
    /// When it may be purged, at the earliest.
    due: Option<Timestamp>,
}

impl RunView {
    fn of(id: RunId, replayed: &Replayed, quarantine_for: Duration) -> Self {
        let run = &replayed.run;
        let held: Vec<_> = run.held().collect();
        let bytes = held.iter().filter_map(|item| replayed.items.get(item));
        let due = run.last_taken().map(Timestamp::from);
        Self {
            run: id,
            items: held.len(),
            bytes: bytes.map(|item| item.bytes).sum(),
            open: run.open().count(),
            proof: run.proof(),
            settled: run.is_settled(),
            returning: run.returns().is_some(),
            due: due.and_then(|at| at.checked_add(quarantine_for).ok()),
        }
    }
}

pub async fn status(arguments: StatusArguments, global: &Global) -> anyhow::Result<Exit> {
    let (registry, vault) = match opened(&arguments.common, global)? {
        Ok(opened) => opened,
        Err(exit) => return Ok(exit),
    };
    let view = tokio::task::spawn_blocking(move || view(&registry, &vault)).await??;
    let text = structured(arguments.common.output, &view)?;
    terminal::print(&text.unwrap_or_else(|| words(&view, Paint::for_stdout())))?;
    Ok(Exit::Done)
}

/// It blocks.
fn view(registry: &Registry, vault: &Vault) -> anyhow::Result<View> {
    let journals = Journals::read(vault)?;
    let is_open = |replayed: &Replayed| replayed.run.holds();
    Ok(View {
        schema: "pullproof.dev/gc-status/v1",
        storage: registry.host.clone(),
        paused: vault.has(marks::PAUSE)?,
        stopping: vault.has(marks::STOP)?,
        read_only: noted(vault, readonly::NOTE)?,
        executor: noted(vault, foreign::NOTE)?,
        waits: noted(vault, settle::NOTE)?.unwrap_or_default(),
        runs: journals
            .iter()
            .filter(|(_, replayed)| is_open(replayed))
            .map(|(id, replayed)| RunView::of(id, replayed, registry.gc.quarantine_for))
            .collect(),
        ended_runs: journals.ended() + journals.iter().filter(|(_, it)| !is_open(it)).count(),
    })
}

/// What waits for which replica, a line each, as the last listing of a collection saw it.
pub(super) async fn waits(config: &Config, registry: &Registry) -> anyhow::Result<String> {
    let (config, registry) = (config.clone(), registry.clone());
    let noted = tokio::task::spawn_blocking(move || {
        let vault = collector::vault(&config, &registry);
        let vault = vault.map_err(|refusal| anyhow::anyhow!("{}", refusal.message))?;
        noted::<Vec<Waits>>(&vault, settle::NOTE)
    });
    let waits = noted.await??;
    let lines = waits.into_iter().flatten();
    Ok(lines.map(|it| waiting(&it) + "\n").collect())
}

/// What a file of ours beside the journal says; `None` where there is none.
fn noted<T: DeserializeOwned>(vault: &Vault, name: &str) -> anyhow::Result<Option<T>> {
    let text = vault.read(name)?;
    let noted = text.map(|text| serde_json::from_slice(&text));
    noted
        .transpose()
        .with_context(|| format!("reading pullproof/{name}"))
}

fn words(view: &View, paint: Paint) -> String {
    let mut text = String::new();
    if view.paused {
        text.push_str("paused: nothing is taken or purged until `pullproof gc resume`\n");
    }
    if view.stopping {
        text.push_str("stopping: whoever collects stops after its batch\n");
    }
    if let Some(Note { deployment, since }) = &view.read_only {
        text.push_str(&format!(
            "read-only since {since:.0}, by the Deployment {deployment}: it is made writable by whoever collects, or, if \
             that died, by the next `pullproof gc run`\n"
        ));
    }
    if let Some(run) = &view.executor {
        let by = run.by.as_str();
        let since = run.since;
        text.push_str(&if run.has_ended {
            format!(
                "`{by}` ended that began at {since:.0}, and what is kept is not proven again yet\n"
            )
        } else {
            format!("`{by}` runs since {since:.0}, or was cut off: then the next session ends it\n")
        });
    }
    for waits in &view.waits {
        text.push_str(&format!("{}\n", waiting(waits)));
    }
    if view.runs.is_empty() {
        text.push_str(&format!(
            "{}: nothing is in quarantine",
            paint.bold(&view.storage)
        ));
        let ended = counted(view.ended_runs, "run has", "runs have");
        text.push_str(&format!("; {ended} ended\n"));
        return text;
    }
    for run in &view.runs {
        let files = counted(run.items, "file", "files");
        text.push_str(&format!(
            "{}  {files}, {}",
            paint.bold(&run.run.to_string()),
            size(run.bytes)
        ));
        if run.returning {
            text.push_str(", on the way back");
        }
        text.push_str(match run.proof {
            Proof::Clean => ", proven since",
            Proof::Missing => ", not proven since: the next session does it",
            Proof::Unknown => ", of which not everything could be proven: it is not purged",
            Proof::Worse => ", and an image got worse by it",
        });
        if !run.settled {
            text.push_str(", not settled");
        }
        if run.open > 0 {
            text.push_str(&format!(", {} open", run.open));
        }
        if let Some(due) = run.due {
            text.push_str(&format!(", purged from {due:.0} at the earliest"));
        }
        text.push('\n');
    }
    text
}

pub async fn mark(arguments: MarkArguments, mark: Mark, global: &Global) -> anyhow::Result<Exit> {
    let (config, registry) =
        match global.about(|config| stopped(config, arguments.common.storage.as_deref())) {
            Ok(about) => about,
            Err(exit) => return Ok(exit),
        };
    let host = registry.host.clone();
    let leave = move || {
        // Where one cannot be left, the others are all the same.
        let left = marked(&config, &registry, mark).into_iter();
        let left = left.map(|vault| {
            let vault = vault.map_err(|refusal| anyhow::anyhow!("{}", refusal.message))?;
            leave(mark, &vault)
        });
        let left: Vec<anyhow::Result<()>> = left.collect();
        left.into_iter().collect::<anyhow::Result<()>>()?;
        anyhow::Ok(words_of(mark, &registry))
    };
    let text = tokio::task::spawn_blocking(leave).await??;
    terminal::print(&format!("{host}: {text}\n"))?;
    Ok(Exit::Done)
}

/// Wherever whoever collects, or deletes tags, looks for a mark.
fn marked(config: &Config, registry: &Registry, mark: Mark) -> Vec<Result<Vault, Refusal>> {
    let mut vaults = Vec::new();
    if registry.is_collected() {
        match mark {
            Mark::Stop => vaults.push(collector::vault(config, registry)),
            Mark::Pause | Mark::Resume => vaults.extend(marks::paused_at(config, registry)),
        }
    }
    if registry.is_retained() && !memory::is_in_storage(registry) {
        vaults.push(memory::open(config, registry));
    }
    vaults
}

/// It blocks.
fn leave(mark: Mark, vault: &Vault) -> anyhow::Result<()> {
    // For whoever finds it there.
    let content = format!("since {:.0}\n", SystemClock.now());
    match mark {
        Mark::Stop => vault.write(marks::STOP, content.as_bytes())?,
        Mark::Pause => vault.write(marks::PAUSE, content.as_bytes())?,
        Mark::Resume => {
            vault.remove(marks::PAUSE)?;
            vault.remove(marks::STOP)?;
        }
    }
    Ok(())
}

/// What a mark that was left means.
fn words_of(mark: Mark, registry: &Registry) -> String {
    let job = registry.gc.collector.job();
    match (mark, job) {
        (Mark::Stop, _) => {
            "whoever collects it, or deletes tags, stops after its batch; what was taken stays in quarantine".to_owned()
        }
        (Mark::Pause, None) => {
            "nothing is taken, purged or deleted until `pullproof gc resume`; what is in quarantine stays there"
                .to_owned()
        }
        (Mark::Pause, Some(job)) => format!(
            "the daemon whose state this is starts no Job that takes or purges anything until `pullproof gc resume`; \
             what is in quarantine stays there. A Job that runs goes on: to stop it say `gc stop`, and {}",
            marks::beside(job, &registry.host)
        ),
        (Mark::Resume, None) => "collections go on in their windows".to_owned(),
        (Mark::Resume, Some(_)) => {
            "the daemon starts Jobs in their windows again; a mark that lies in the storage goes by the same command \
             in a Job"
                .to_owned()
        }
    }
}

/// The storage, for whoever only looks, or leaves a mark.
fn opened(common: &Common, global: &Global) -> anyhow::Result<Result<(Registry, Vault), Exit>> {
    let (config, registry) =
        match global.about(|config| collected(config, common.storage.as_deref())) {
            Ok(about) => about,
            Err(exit) => return Ok(Err(exit)),
        };
    match collector::vault(&config, &registry) {
        Ok(vault) => Ok(Ok((registry, vault))),
        Err(refusal) => anyhow::bail!("{}", refusal.message),
    }
}
