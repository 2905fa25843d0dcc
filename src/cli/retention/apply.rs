//! `pullproof retention apply`: deletes what was planned for long enough, through the gate.

use std::sync::Arc;

use serde::Serialize;

use jiff::Timestamp;

use super::plan::planned;
use crate::app::collector::session::retention::plan_only;
use crate::app::collector::{Report, Task};
use crate::app::retention::{self, record};
use crate::cli::explain::text::{counted, push};
use crate::cli::gc::run::{carried_out, until, window_closed, work};
use crate::cli::given::GivenSources;
use crate::cli::output::{self, Output};
use crate::cli::terminal::{self, Paint};
use crate::cli::{Exit, Global};
use crate::clock::{Clock, SystemClock};
use crate::collection::machine::Ending;
use crate::config::{Config, Registry, RetentionMode};
use crate::gc::refusal::{Code, Refusal};
use crate::retention::removal::{Outcome, Removed};

const SCHEMA: &str = "pullproof.dev/retention-apply/v1";

#[derive(Debug, clap::Args)]
pub struct ApplyArguments {
    /// Whose tags, by the registry's host [default: the only one with a policy]
    #[arg(long, value_name = "HOST", env = "PULLPROOF_REGISTRY")]
    registry: Option<String>,
    #[command(flatten)]
    given: GivenSources,
    /// Delete more than `gc.alarmPercent` of the tags, if it is this plan
    #[arg(long, value_name = "PLAN", env = "PULLPROOF_ACCEPT")]
    accept: Option<String>,
    #[arg(short, long, default_value = "table", env = "PULLPROOF_OUTPUT")]
    output: Output,
}

#[derive(Debug, Serialize)]
struct View<'a> {
    schema: &'static str,
    registry: &'a str,
    result: &'static str,
    run: Option<String>,
    plan: Option<&'a str>,
    deleted: usize,
    removed: &'a [Removed],
    failed: Option<&'a str>,
    lost: &'a [String],
    told: &'a [String],
    refusals: &'a [Refusal],
}

pub async fn run(arguments: ApplyArguments, global: &Global) -> anyhow::Result<Exit> {
    let (config, registry) =
        match global.about(|config| super::chosen(config, arguments.registry.as_deref())) {
            Ok(about) => about,
            Err(exit) => return Ok(exit),
        };
    let ApplyArguments {
        given,
        accept,
        output,
        ..
    } = arguments;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let now = clock.now();
    let is_plan = registry.retention.mode == RetentionMode::Plan;
    let closed = is_plan.then(plan_only).into_iter();
    let closed: Vec<Refusal> = closed.chain(window_closed(&registry, now)).collect();
    let report = if closed.is_empty() {
        let until = until(&registry, now).unwrap_or(now);
        let mut work = work(config, registry.clone(), given, clock, until);
        work.accepted = accept;
        carried_out(work, Task::Retain).await?
    } else {
        let mut refusals = closed;
        let more = missing(&given, &config, &registry, accept.as_deref(), &clock).await?;
        refusals.extend(more);
        Report {
            ending: Some(Ending::Refused),
            refusals,
            ..Report::default()
        }
    };
    terminal::print(&text(&registry, &report, output)?)?;
    Ok(match report.ending {
        Some(Ending::Done) => Exit::Done,
        Some(Ending::Refused) => Exit::Unknown,
        Some(Ending::Restored) => Exit::Broken,
        Some(Ending::Failed) if !report.lost.is_empty() => Exit::Broken,
        Some(Ending::Failed) | None => Exit::CouldNotRun,
    })
}

/// What else would keep it from deleting now: nobody is to find out one after the other.
async fn missing(
    given: &GivenSources,
    config: &Config,
    registry: &Registry,
    accepted: Option<&str>,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Vec<Refusal>> {
    let (planned, remembered) = match planned(given, config, registry, clock).await? {
        Ok(planned) => planned,
        Err(refusals) => return Ok(refusals),
    };
    let mut refusals = Vec::new();
    if accepted != Some(&planned.id) {
        refusals.extend(retention::too_much(&planned, registry));
    }
    let due = record::due(&remembered, &planned, registry, clock.now());
    if due == 0 && !planned.plan.going.is_empty() {
        refusals.push(rehearsal(&remembered, planned.plan.going.len(), registry));
    }
    Ok(refusals)
}

fn rehearsal(remembered: &record::Remembered, going: usize, registry: &Registry) -> Refusal {
    let long = crate::config::duration::shown(registry.retention.rehearsal);
    let since = match remembered.rehearsed.oldest() {
        None => {
            "no plan is recorded; `serve`, or `pullproof retention plan --record`, does".to_owned()
        }
        Some(oldest) => format!("the first is since {:.0}", Timestamp::from(oldest)),
    };
    let message = format!(
        "{going} tags would go, and none of them was in every recorded plan for `retention.rehearsal` ({long}): \
         {since}"
    );
    Refusal::new(Code::Rehearsal, message)
}

fn text(registry: &Registry, report: &Report, output: Output) -> anyhow::Result<String> {
    let deleted = deleted(report);
    let view = View {
        schema: SCHEMA,
        registry: &registry.host,
        result: result(report),
        run: report.run.map(|run| run.to_string()),
        plan: report.retention.as_ref().map(|it| it.id.as_str()),
        deleted,
        removed: &report.removed,
        failed: report.failed.as_deref(),
        lost: &report.lost,
        told: &report.told,
        refusals: &report.refusals,
    };
    if let Some(text) = output::structured(output, &view)? {
        return Ok(text);
    }
    let paint = Paint::for_stdout();
    let mut text = String::new();
    let head = format!("{}: {}", paint.bold(&registry.host), result(report));
    push(&mut text, &head);
    if let Some(planned) = &report.retention {
        let going = counted(planned.plan.going.len(), "tag", "tags");
        let line = format!(
            "  plan {}: {going} would go, {} of them in every plan for long enough",
            planned.id, planned.due
        );
        push(&mut text, &line);
    }
    if deleted > 0 {
        let tags = counted(deleted, "tag is", "tags are");
        push(
            &mut text,
            &format!(
                "  {tags} deleted; `pullproof gc restore --tag REPOSITORY:TAG` puts one back while its content is held"
            ),
        );
    }
    for it in &report.removed {
        let name = format!("{}:{}", it.repository, it.tag);
        let line = match &it.outcome {
            Some(Outcome::Deleted) => format!("  deleted {name}  {}", it.reason),
            Some(Outcome::DeletedByDigest) => {
                format!("  deleted {name} by its digest  {}", it.reason)
            }
            Some(Outcome::Kept(why)) => format!("  {} {name}: {why}", paint.yellow("kept")),
            Some(Outcome::Restored) => format!("  {} {name}", paint.yellow("put back")),
            None => format!(
                "  {} {name}: nobody knows what came of it",
                paint.red("unknown")
            ),
        };
        push(&mut text, &line);
    }
    for told in &report.told {
        push(&mut text, &format!("  {told}"));
    }
    if let Some(problem) = &report.failed {
        push(&mut text, &format!("{}: {problem}", paint.red("failed")));
    }
    for refusal in &report.refusals {
        let code = paint.yellow(refusal.code.as_str());
        push(&mut text, &format!("refused: {code}: {}", refusal.message));
    }
    Ok(text)
}

fn deleted(report: &Report) -> usize {
    let removed = report.removed.iter();
    let outcomes = removed.filter_map(|it| it.outcome.as_ref());
    outcomes.filter(|it| it.is_deleted()).count()
}

fn result(report: &Report) -> &'static str {
    match report.ending {
        Some(Ending::Done) if deleted(report) > 0 => "deleted",
        Some(Ending::Done) => "planned",
        Some(Ending::Refused) => "refused",
        Some(Ending::Restored) => "restored",
        Some(Ending::Failed) | None => "failed",
    }
}
