//! `pullproof gc plan`: what a collection would take. Nothing is written, unless the plan is to be recorded.

use std::io::{BufWriter, ErrorKind, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use tokio::time::Instant;

use super::keep;
use super::report;
use super::status;
use super::table;
use crate::app::collector;
use crate::app::kind;
use crate::app::plan::{self as planning, Kept};
use crate::cli::explain::text::counted;
use crate::cli::given::GivenSources;
use crate::cli::terminal::{self, Paint};
use crate::cli::{Exit, Global};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Mode, Registry, duration};
use crate::gc::needed::Needed;
use crate::gc::plan::Plan;
use crate::gc::refusal::{Code, Refusal};
use crate::registry::kind::Kind;
use crate::registry::stats::Stats;
use crate::storage::Progress;
use crate::view::plan::{Difference, Extent, PlanView, Recorded, Storage, write_lines};

#[derive(Debug, clap::Args)]
pub struct PlanArguments {
    /// Whose storage, by the registry's host [default: the only one that has a storage]
    #[arg(long, value_name = "HOST", env = "PULLPROOF_STORAGE")]
    storage: Option<String>,
    #[command(flatten)]
    given: GivenSources,
    /// The time by which things are old enough, as 2026-11-21T10:00:00Z [default: now]
    #[arg(long, value_name = "TIME", env = "PULLPROOF_NOW")]
    now: Option<Timestamp>,
    /// Only totals
    #[arg(long, env = "PULLPROOF_SUMMARY")]
    summary: bool,
    /// What goes now and did not in an earlier plan, and the other way round: a file of `-o json` or
    /// `-o jsonl`
    #[arg(
        long,
        value_name = "PLAN",
        conflicts_with = "summary",
        env = "PULLPROOF_DIFF"
    )]
    diff: Option<PathBuf>,
    /// Remember the plan beside the storage, for `gc.rehearsal` and for `gc run --plan`; needs the right to
    /// write to its `pullproof/`
    #[arg(long, conflicts_with = "now", env = "PULLPROOF_RECORD")]
    record: bool,
    #[arg(short, long, default_value = "table", env = "PULLPROOF_OUTPUT")]
    output: Form,
}

/// The forms of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Table,
    // Every repository, every row.
    Wide,
    Json,
    Yaml,
    // A line of everything but the rows, then a line for each row.
    Jsonl,
}

pub async fn run(arguments: PlanArguments, global: &Global) -> anyhow::Result<Exit> {
    let (config, registry) =
        match global.about(|config| chosen(config, arguments.storage.as_deref())) {
            Ok(about) => about,
            Err(exit) => return Ok(exit),
        };
    let registry = &registry;
    let before = match &arguments.diff {
        None => None,
        Some(file) => match recorded("--diff", file, registry)? {
            Ok(before) => Some(before),
            Err(problem) => {
                terminal::complain(&format!("error: {problem}"));
                return Ok(Exit::Usage);
            }
        },
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let kept = keep::read(&arguments.given, &config, registry, &clock, Vec::new()).await?;
    let (needed, mut refusals) = match kept {
        Ok(Kept {
            needed, refusals, ..
        }) => (needed, refusals),
        Err(refusals) => {
            let shown = Shown {
                arguments: &arguments,
                registry,
                kind: Kind::Unknown,
            };
            shown.print(None, &Needed::default(), &refusals)?;
            shown.tell_unplanned();
            return Ok(Exit::Unknown);
        }
    };
    let now = arguments.now.unwrap_or_else(|| clock.now());
    let Planned { plan, needed, kind } = planned(&config, registry, needed, now).await?;
    let shown = Shown {
        arguments: &arguments,
        registry,
        kind,
    };
    let plan = match plan {
        Ok(plan) => plan,
        Err(refusal) => {
            refusals.push(refusal);
            shown.print(None, &needed, &refusals)?;
            shown.tell_unplanned();
            return Ok(Exit::Unknown);
        }
    };
    refusals.extend(planning::too_much(&plan, registry));
    refusals.extend(closed_now(&config, registry).await?);
    if registry.gc.mode == Mode::Plan {
        let message = "`gc.mode` is `plan`: nothing is taken";
        refusals.push(Refusal::new(Code::PlanOnly, message));
    }
    match before {
        None => {
            shown.print(Some(&plan), &needed, &refusals)?;
            if matches!(arguments.output, Form::Table | Form::Wide) {
                terminal::print(&status::waits(&config, registry).await?)?;
                terminal::print(&report::executor_words(registry))?;
            }
        }
        Some(before) => {
            let after = Recorded::of(&registry.host, &plan);
            let difference = Difference::of(&before, &after);
            terminal::print(&match arguments.output {
                Form::Json | Form::Jsonl => serde_json::to_string_pretty(&difference)? + "\n",
                Form::Yaml => serde_saphyr::to_string(&difference)?,
                Form::Table | Form::Wide => table::difference(
                    &difference,
                    arguments.output == Form::Wide,
                    Paint::for_stdout(),
                ),
            })?;
        }
    }
    if arguments.record {
        return record(registry, needed, plan, now).await;
    }
    Ok(Exit::Done)
}

/// Remembers the plan, and says so, and since when what stands longest in the plans does.
async fn record(
    registry: &Registry,
    needed: Needed,
    plan: Plan,
    now: Timestamp,
) -> anyhow::Result<Exit> {
    let id = plan.id(&registry.host);
    let entry = registry.clone();
    let work = tokio::task::spawn_blocking(move || collector::record(&entry, &needed, &plan, now));
    let collector::Recorded {
        rehearsed,
        recalled,
    } = match work.await.context("recording ended early")? {
        Ok(recorded) => recorded,
        Err(refusal) => {
            terminal::complain(&format!("the plan is not recorded: {refusal}"));
            return Ok(Exit::Unknown);
        }
    };
    let stands = rehearsed.oldest().map_or_else(String::new, |oldest| {
        let lasts = registry.gc.rehearsal;
        format!(
            "; the oldest of it is in every recorded plan since {:.0}, and {} for `gc.rehearsal` ({})",
            Timestamp::from(oldest),
            counted(rehearsed.count(lasts, now), "row is", "rows are"),
            duration::shown(lasts),
        )
    });
    terminal::complain(&format!("recorded the plan {id}{stands}"));
    if recalled > 0 {
        terminal::complain(&format!(
            "{} in quarantine and named by something live: `serve`, or the next `pullproof gc run`, puts it back \
             (pullproof/restore.json)",
            counted(recalled, "object is", "objects are"),
        ));
    }
    Ok(Exit::Done)
}

/// The registry whose storage is meant; the error is the way out.
pub(super) fn chosen<'a>(config: &'a Config, host: Option<&str>) -> Result<&'a Registry, String> {
    chosen_of(config, host, |it| it.storage.is_some())
}

/// The same of all that are collected, those by others of which pullproof does not see the storage included.
pub(super) fn collected<'a>(
    config: &'a Config,
    host: Option<&str>,
) -> Result<&'a Registry, String> {
    chosen_of(config, host, Registry::is_collected)
}

/// The same of all in which something may be taken or deleted.
pub(super) fn stopped<'a>(config: &'a Config, host: Option<&str>) -> Result<&'a Registry, String> {
    chosen_of(config, host, |it| it.is_collected() || it.is_retained())
}

fn chosen_of<'a>(
    config: &'a Config,
    host: Option<&str>,
    is_meant: fn(&Registry) -> bool,
) -> Result<&'a Registry, String> {
    let with = || config.registries.iter().filter(|it| is_meant(it));
    if let Some(host) = host {
        let entry = config.registry(host);
        return match entry {
            Some(registry) if is_meant(registry) => Ok(registry),
            Some(_) => Err(format!(
                "the entry of {host} has no storage; add `storage: {{filesystem: {{root: DIRECTORY}}}}`"
            )),
            None => Err(format!("no entry of `registries` has the host {host}")),
        };
    }
    let mut all = with();
    match (all.next(), all.next()) {
        (Some(registry), None) => Ok(registry),
        (Some(_), Some(_)) => {
            let hosts: Vec<&str> = with().map(|it| it.host.as_str()).collect();
            Err(format!(
                "several registries have a storage: say which with --storage, one of {}",
                hosts.join(", ")
            ))
        }
        (None, _) => Err(
            "no registry has a storage; write in the configuration\n  registries:\n    - host: \
             registry.example:5000\n      storage: {filesystem: {root: /var/lib/registry}}"
                .to_owned(),
        ),
    }
}

/// Reads a plan that `-o json` or `-o jsonl` wrote, as an argument names it; the inner error is the way out.
pub(super) fn recorded(
    argument: &str,
    file: &Path,
    registry: &Registry,
) -> anyhow::Result<Result<Recorded, String>> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("reading {} ({argument})", file.display()))?;
    let shown = file.display();
    Ok(match Recorded::parse(&text) {
        Ok(before) if before.storage == registry.host => Ok(before),
        Ok(before) => Err(format!(
            "{shown}: it is a plan for {}, not for {}",
            before.storage, registry.host
        )),
        Err(problem) => Err(format!("{shown}: {problem}")),
    })
}

/// What came of planning.
pub(in crate::cli) struct Planned {
    pub(in crate::cli) plan: Result<Plan, Refusal>,
    pub(in crate::cli) needed: Needed,
    pub(in crate::cli) kind: Kind,
}

/// What would keep a collection from beginning now.
async fn closed_now(config: &Config, registry: &Registry) -> anyhow::Result<Vec<Refusal>> {
    let (config, registry) = (config.clone(), registry.clone());
    let looked = tokio::task::spawn_blocking(move || collector::closed_now(&config, &registry));
    Ok(looked.await?)
}

/// Asks the registry what it is, and plans on a thread of its own, with a bar beside it.
pub(in crate::cli) async fn planned(
    config: &Config,
    registry: &Registry,
    needed: Needed,
    now: Timestamp,
) -> anyhow::Result<Planned> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let known = kind::of(config, registry, &Stats::default(), &clock).await;
    let kind = known.kind;
    if let Some(refusal) = known.refusal(registry) {
        let plan = Err(refusal);
        return Ok(Planned { plan, needed, kind });
    }
    if let Some(warning) = known.warning(registry) {
        terminal::complain(&format!("warning: {warning}"));
    }
    let progress = Arc::new(Progress::default());
    let bar = bar();
    let (shared, entry) = (Arc::clone(&progress), registry.clone());
    let work = tokio::task::spawn_blocking(move || {
        let storage = entry.storage.as_ref().expect("it was chosen for it");
        let planned = planning::open(storage)
            .and_then(|storage| planning::plan(&storage, &entry, &needed, now, &shared));
        (planned, needed)
    });
    let begun = Instant::now();
    let show = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            bar.set_message(words(&progress, begun.elapsed()));
            bar.tick();
        }
    };
    let done = tokio::select! {
        done = work => done,
        () = show => unreachable!("it has no end"),
    };
    bar.finish_and_clear();
    let (plan, needed) = done.context("planning ended early")?;
    Ok(Planned { plan, needed, kind })
}

fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{elapsed:>4} {spinner} {msg}")
        .unwrap_or_else(|_template| ProgressStyle::default_spinner());
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10)).with_style(style)
}

fn words(progress: &Progress, elapsed: Duration) -> String {
    let listed = progress.listed.load(Ordering::Relaxed);
    let (read, to_read) = (
        progress.read.load(Ordering::Relaxed),
        progress.to_read.load(Ordering::Relaxed),
    );
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is shown, roughly"
    )]
    let rate = ((listed + read) as f64 / elapsed.as_secs_f64().max(0.1)) as usize;
    match (to_read, read) {
        (0, _) => format!("listed {listed}, {rate}/s"),
        (_, read) if read < to_read => {
            format!("listed {listed}, read {read} of {to_read} manifests, {rate}/s")
        }
        (_, _) => format!("listed {listed}, read {read} manifests, marking"),
    }
}

/// What is printed, besides the plan.
struct Shown<'a> {
    arguments: &'a PlanArguments,
    registry: &'a Registry,
    kind: Kind,
}

impl Shown<'_> {
    /// Where one was to be recorded.
    fn tell_unplanned(&self) {
        if self.arguments.record {
            terminal::complain("nothing is recorded: there is no plan");
        }
    }

    fn print(
        &self,
        plan: Option<&Plan>,
        needed: &Needed,
        refusals: &[Refusal],
    ) -> anyhow::Result<()> {
        let Self {
            arguments,
            registry,
            kind,
        } = self;
        let host = &registry.host;
        let extent = match (arguments.output, arguments.summary) {
            (_, true) => Extent::Summary,
            (Form::Jsonl, false) => Extent::Lines,
            (_, false) => Extent::Everything,
        };
        let storage = Storage { host, kind: *kind };
        let view = PlanView::of(storage, plan, needed, refusals, extent);
        let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
        let written = match arguments.output {
            Form::Json => serde_json::to_writer_pretty(&mut out, &view)
                .map_err(std::io::Error::from)
                .and_then(|()| out.write_all(b"\n")),
            Form::Jsonl => write_lines(&view, plan.filter(|_| !arguments.summary), &mut out),
            Form::Yaml => out.write_all(serde_saphyr::to_string(&view)?.as_bytes()),
            Form::Table | Form::Wide => {
                let storage = registry.storage.as_ref().map(planning::shown);
                let shown = table::Shown {
                    host,
                    storage: storage.as_deref().unwrap_or_default(),
                    plan,
                    needed,
                    refusals,
                    is_wide: arguments.output == Form::Wide,
                    is_summary: arguments.summary,
                };
                out.write_all(shown.text(Paint::for_stdout()).as_bytes())
            }
        };
        match written.and_then(|()| out.flush()) {
            // A reader that has gone away (`| head`) is not an error.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_is_in_each_phase() {
        let progress = Progress::default();
        let told = |seconds| words(&progress, Duration::from_secs(seconds));
        assert_eq!(told(0), "listed 0, 0/s");
        progress.listed.store(3000, Ordering::Relaxed);
        assert_eq!(told(2), "listed 3000, 1500/s");
        progress.to_read.store(500, Ordering::Relaxed);
        progress.read.store(200, Ordering::Relaxed);
        assert_eq!(told(4), "listed 3000, read 200 of 500 manifests, 800/s");
        progress.read.store(500, Ordering::Relaxed);
        assert_eq!(told(5), "listed 3000, read 500 manifests, marking");
    }
}
