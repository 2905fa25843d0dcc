//! What came of a session, in words and as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::app::collector::session::foreign::undo_words;
use crate::app::collector::settle::Waits;
use crate::app::collector::{Collected, Report, Sum};
use crate::cli::explain::text::{counted, size};
use crate::cli::output::{Output, structured};
use crate::cli::terminal::Paint;
use crate::config::Registry;
use crate::gc::refusal::Refusal;

#[derive(Debug, Serialize)]
struct View<'a> {
    schema: &'static str,
    storage: &'a str,
    result: &'static str,
    run: Option<String>,
    quarantined: SumView,
    restored: SumView,
    purged: SumView,
    left: LeftView,
    /// Seconds, by phase.
    took: BTreeMap<&'static str, f64>,
    waits: &'a [Waits],
    declared: DeclaredView,
    failed: Option<&'a str>,
    /// Of a collector that is not ours; null where pullproof itself collects.
    executor: Option<ExecutorView<'a>>,
    /// What such a collector took that was kept.
    lost: &'a [String],
    told: &'a [String],
    refusals: &'a [Refusal],
}

#[derive(Debug, Serialize)]
struct ExecutorView<'a> {
    name: &'a str,
    undo: &'a str,
    ended: &'a str,
    output_bytes: u64,
    /// The last lines of it.
    output: &'a [String],
}

impl<'a> From<&'a Collected> for ExecutorView<'a> {
    fn from(collected: &'a Collected) -> Self {
        let Collected {
            executor,
            undo,
            ended,
            said_bytes,
            said,
        } = collected;
        Self {
            name: executor,
            undo: undo.as_str(),
            ended,
            output_bytes: *said_bytes,
            output: said,
        }
    }
}

/// That somebody else collects, for people who look at a plan or a run; empty where pullproof does.
pub(super) fn executor_words(registry: &Registry) -> String {
    let executor = &registry.gc.executor;
    if !executor.is_foreign() {
        return String::new();
    }
    format!(
        "`{}` collects: it takes what it decides, not this plan, and has no quarantine. What brings it back: {}.\n",
        executor.as_str(),
        undo_words(executor.undo())
    )
}

/// What the configuration says of the registry, and nobody can find out.
#[derive(Debug, Serialize)]
struct DeclaredView {
    cache: &'static str,
    /// Without who asks.
    redis: Option<String>,
    single: bool,
    validation: &'static str,
}

impl From<&Registry> for DeclaredView {
    fn from(registry: &Registry) -> Self {
        Self {
            cache: registry.gc.cache.as_str(),
            redis: registry.gc.redis.as_ref().map(ToString::to_string),
            single: registry.single,
            validation: if registry.validates { "on" } else { "off" },
        }
    }
}

impl DeclaredView {
    fn words(&self) -> String {
        let redis = self.redis.as_ref();
        let redis = redis.map_or_else(String::new, |it| format!("`settle.redis` {it}, "));
        format!(
            "  declared: `settle.cache` {}, {redis}`single` {}, `validation` {}\n",
            self.cache, self.single, self.validation
        )
    }
}

#[derive(Debug, Serialize)]
struct SumView {
    items: usize,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct LeftView {
    plan: usize,
    rehearsal: usize,
    share: usize,
    too_large: usize,
    unsettled: usize,
    window: usize,
}

impl From<Sum> for SumView {
    fn from(sum: Sum) -> Self {
        let Sum {
            items,
            blobs: _,
            bytes,
        } = sum;
        Self { items, bytes }
    }
}

/// What waits for a replica.
pub(super) fn waiting(waits: &Waits) -> String {
    let objects = counted(waits.objects, "object waits", "objects wait");
    format!("{objects} for {} to restart", waits.replica)
}

pub(super) fn text(
    registry: &Registry,
    report: &Report,
    is_restore: bool,
    output: Output,
    paint: Paint,
) -> anyhow::Result<String> {
    let view = View {
        schema: "pullproof.dev/gc-run/v1",
        storage: &registry.host,
        result: report.result(),
        run: report.run.map(|run| run.to_string()),
        quarantined: report.taken.into(),
        restored: report.restored.into(),
        purged: report.purged.into(),
        left: LeftView {
            plan: report.left.plan,
            rehearsal: report.left.rehearsal,
            share: report.left.share,
            too_large: report.left.too_large,
            unsettled: report.left.unsettled,
            window: report.left.window,
        },
        took: report
            .took
            .iter()
            .map(|(phase, took)| (phase.as_str(), took.as_secs_f64()))
            .collect(),
        waits: &report.waits,
        declared: registry.into(),
        failed: report.failed.as_deref(),
        executor: report.collected.as_ref().map(ExecutorView::from),
        lost: &report.lost,
        told: &report.told,
        refusals: &report.refusals,
    };
    Ok(structured(output, &view)?.unwrap_or_else(|| words(&view, report, is_restore, paint)))
}

fn words(view: &View<'_>, report: &Report, is_restore: bool, paint: Paint) -> String {
    let result = match view.result {
        "planned" if is_restore => "nothing of it is in quarantine, so nothing was put back",
        result => result,
    };
    let mut text = format!("{}  {result}", paint.bold(view.storage));
    if let Some(run) = &view.run {
        text.push_str(&format!(", run {run}"));
    }
    text.push('\n');
    text.push_str(&view.declared.words());
    for (sum, what) in [
        (report.purged, "purged: gone for good"),
        (report.restored, "put back where they were"),
        (report.taken, "in quarantine"),
    ] {
        if sum.items > 0 {
            let files = counted(sum.items, "file", "files");
            text.push_str(&format!("  {files}, {}, {what}\n", size(sum.bytes)));
        }
    }
    if let Some(collected) = &report.collected {
        let (name, undo) = (collected.executor, undo_words(collected.undo));
        text.push_str(&format!(
            "  `{name}`: {}. It has no quarantine; what brings back what it took: {undo}\n",
            collected.ended
        ));
        for line in &collected.said {
            text.push_str(&format!("  | {line}\n"));
        }
    }
    for lost in &report.lost {
        text.push_str(&format!("  lost: {lost}\n"));
    }
    if let (Some(run), true) = (&view.run, report.taken.items > report.restored.items) {
        text.push_str(&format!("  back with: pullproof gc restore --run {run}\n"));
    }
    for (count, why) in [
        (report.left.plan, "are not in the plan that was named"),
        (
            report.left.rehearsal,
            "were not in every plan for `gc.rehearsal`",
        ),
        (report.left.share, "are more than a run takes"),
        (
            report.left.too_large,
            "are larger than all that a run takes, and stay until `gc.maxCollectPercent` or `gc.maxCollectBytes` is \
             raised",
        ),
        (
            report.left.window,
            "do not fit into what is left of the window: the next run goes on",
        ),
        (
            report.left.unsettled,
            "may be believed in by a replica's cache: they go once it has none (`gc.settle.cache`)",
        ),
    ] {
        if count > 0 {
            text.push_str(&format!("  left: {count} {why}\n"));
        }
    }
    for waits in view.waits {
        text.push_str(&format!("  {}\n", waiting(waits)));
    }
    if let Some(problem) = view.failed {
        text.push_str(&format!("{} {problem}\n", paint.bold("failed")));
    }
    for told in view.told {
        text.push_str(&format!("told, and closes nothing: {told}\n"));
    }
    if !view.refusals.is_empty() {
        text.push_str("refused:\n");
    }
    for refusal in view.refusals {
        text.push_str(&format!(
            "  {}: {}\n",
            paint.bold(refusal.code.as_str()),
            refusal.message
        ));
    }
    text
}
