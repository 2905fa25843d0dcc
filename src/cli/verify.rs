//! `pullproof verify`: one round, then an exit code.

mod junit;
mod places;
mod sarif;

use std::collections::HashSet;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use self::places::Places;
use super::given::Given;
use super::output::{Output, structured};
use super::table::{self, Breadth};
use super::terminal::{self, Paint};
use super::{Exit, Global};
use crate::app::once::{self, ForeignLayers, Proven};
use crate::app::registries::Registries;
use crate::app::sources::{self, Wanted};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, LogLevel};
use crate::inventory::Inventory;
use crate::oci::platform::Platform;
use crate::oci::reference::Reference;
use crate::registry::manifest_cache::{InMemory, ManifestCache};
use crate::registry::stats::{Requests, Stats};
use crate::remembered::Remembered;
use crate::state::answers::Answers;
use crate::state::{RoundResult, State};
use crate::store::{Store, StoreError};
use crate::verify::depth::Depth;
use crate::verify::engine::Progress;
use crate::view::{self, SourceView};

#[derive(Debug, clap::Args)]
pub struct VerifyArguments {
    /// Image references; with none of these and no files, the configuration's inventory
    #[arg(value_name = "REF")]
    references: Vec<Reference>,
    #[command(flatten)]
    pub given: Given,
    /// How far objects are read: head asks for each and compares sizes, read takes a byte of each, and
    /// content hashes everything
    #[arg(long, default_value = "head", env = "PULLPROOF_DEPTH")]
    depth: DepthArgument,
    /// Only these platforms count; all are checked [default: those that are needed, else all]
    #[arg(long, value_name = "PLATFORM", env = "PULLPROOF_PLATFORM")]
    platform: Vec<Platform>,
    /// Also list the tags of repositories, to tell which name a platform's manifest directly, and whether a
    /// digest that is pinned has none: a request for each tag
    #[arg(long, env = "PULLPROOF_TAGS")]
    tags: bool,
    /// junit and sarif are for what shows results of tests and of code scanning
    #[arg(short, long, default_value = "table", env = "PULLPROOF_OUTPUT")]
    output: Form,
    /// What makes the exit code other than 0 (unknown: broken or unknown)
    #[arg(
        long,
        value_name = "VERDICT",
        default_value = "unknown",
        env = "PULLPROOF_FAIL_ON"
    )]
    fail_on: FailOn,
    /// That no image is named at all is no failure
    #[arg(long, env = "PULLPROOF_ALLOW_EMPTY")]
    allow_empty: bool,
}

/// [`Depth`] as a word on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DepthArgument {
    Head,
    Read,
    Content,
}

impl From<DepthArgument> for Depth {
    fn from(argument: DepthArgument) -> Self {
        match argument {
            DepthArgument::Head => Self::Head,
            DepthArgument::Read => Self::Read,
            DepthArgument::Content => Self::Content,
        }
    }
}

/// [`Output`], and what continuous integration reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Table,
    Wide,
    Json,
    Yaml,
    Junit,
    Sarif,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    Broken,
    Unknown,
    Never,
}

/// Says on stderr which sources are only a part.
pub(super) fn tell_incomplete(inventory: &Inventory) {
    for source in &inventory.sources {
        if let Some(reason) = &source.incomplete {
            terminal::complain(&format!(
                "warning: source {} is incomplete: {reason}",
                source.name
            ));
        }
    }
}

pub async fn run(arguments: VerifyArguments, global: &Global) -> anyhow::Result<Exit> {
    let (config, _) = match global.load() {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    global.start_log(&config, Some(LogLevel::Warn));
    let VerifyArguments {
        references,
        given,
        depth,
        platform,
        tags,
        output,
        fail_on,
        allow_empty,
    } = arguments;
    let depth = Depth::from(depth);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let wanted = given.sources.wanted(&references, &config)?;
    let mut inventory = sources::read_once(&wanted, &clock).await;
    let proves = Proves {
        fail_on,
        is_nothing: !allow_empty && mark_empty(&mut inventory),
    };
    tell_incomplete(&inventory);
    let stats = Stats::default();
    let registries = Registries {
        stats: stats.clone(),
        manifests: manifest_cache(&config),
        depth: Some(depth),
        ..given.registries(config, &wanted, &inventory, &clock)?
    };
    let images = registries.images_on(&platform, &inventory);
    let bar = progress_bar();
    let started = Instant::now();
    let on_progress = shown_by(&bar);
    let then = async |proven: Proven| {
        let known = if tags {
            proven.look_at_tags(&images, clock.as_ref()).await
        } else {
            None
        };
        (proven.foreign_layers(), known, proven.round)
    };
    let proven = once::prove_each(&images, &registries, &clock, &on_progress, then).await;
    let rounds = proven.iter().map(|(_, _, round)| round);
    let (images, apart) = once::with_running(&images, rounds);
    let then = async |proven: Proven| proven.round;
    let apart = once::prove_each(&apart, &registries, &clock, &on_progress, then).await;
    let seconds = started.elapsed().as_secs_f64();
    bar.finish_and_clear();

    let baseline = crate::baseline::load(&registries.config.state.directory)
        .ok()
        .flatten();
    let mut state = State::new(Remembered::default(), baseline);
    state.set_inventory(&inventory, Arc::new(images));
    let mut foreign_layers = ForeignLayers::new();
    for (foreign, known, round) in proven {
        foreign_layers.extend(foreign);
        if let Some(known) = known {
            state.set_tags(Arc::clone(&round.host), known);
        }
        state.record(round);
    }
    for round in apart {
        // Not of all that the registry has.
        state.record(RoundResult {
            is_full: false,
            ..round
        });
    }
    let snapshot = state.snapshot(clock.now());
    let mut view = view::Verify::of(depth, &snapshot, stats.totals(), seconds);
    view.tell_foreign_layers(&foreign_layers);
    let answers = wanted.iter().any(Wanted::names_workloads);
    let answers = answers.then(|| Answers::of(&snapshot));
    let text = shown(&view, answers, &inventory, &wanted, output, proves)?;
    terminal::print(&text)?;
    Ok(exit(proves, view.summary, inventory.is_complete()))
}

/// Where not one image is named, no source is believed to be whole: what was to name them may have failed before
/// the pipe, or the path is another one. Whether that is so.
fn mark_empty(inventory: &mut Inventory) -> bool {
    let is_empty = inventory.sources.iter().all(|it| it.uses.is_empty());
    if is_empty {
        for source in &mut inventory.sources {
            if source.incomplete.is_none() {
                let reason = "it names no image; with `set -o pipefail` a command that fails before a pipe is seen, \
                              and where nothing is meant to be named say --allow-empty";
                Arc::make_mut(source).incomplete = Some(reason.to_owned());
            }
        }
    }
    is_empty
}

/// What a result has to be.
#[derive(Debug, Clone, Copy)]
struct Proves {
    fail_on: FailOn,
    /// There was nothing to prove, though there should be.
    is_nothing: bool,
}

impl Proves {
    fn counts_unknown(self) -> bool {
        match self.fail_on {
            FailOn::Unknown => true,
            FailOn::Broken => self.is_nothing,
            FailOn::Never => false,
        }
    }
}

/// `answers` where somebody asked about workloads: of images that were only named, nobody knows what they are for.
fn shown(
    view: &view::Verify,
    answers: Option<Answers>,
    inventory: &Inventory,
    wanted: &[Wanted],
    form: Form,
    proves: Proves,
) -> anyhow::Result<String> {
    let as_table = |breadth| {
        let (sum, requests) = (view.summary, total(view.requests));
        let seconds = view.duration_seconds;
        let paint = Paint::for_stdout();
        let mut text = table::verify(&view.images, sum, seconds, requests, breadth, paint);
        if let Some(answers) = answers {
            text += &table::answers(&answers, &view.images, breadth, paint);
        }
        text
    };
    let as_script = |output| Ok(structured(output, view)?.unwrap_or_default());
    let sources = SourceView::all(inventory);
    match form {
        Form::Table => Ok(as_table(Breadth::Usual)),
        Form::Wide => Ok(as_table(Breadth::Wide)),
        Form::Json => as_script(Output::Json),
        Form::Yaml => as_script(Output::Yaml),
        Form::Junit => {
            let places = places(view, wanted);
            Ok(junit::junit(
                view,
                &sources,
                &places,
                proves.counts_unknown(),
            )?)
        }
        Form::Sarif => {
            let sarif = sarif::sarif(view, &sources, &places(view, wanted));
            Ok(serde_json::to_string_pretty(&sarif)? + "\n")
        }
    }
}

fn places(view: &view::Verify, wanted: &[Wanted]) -> Places {
    let images = view.images.iter();
    let written: HashSet<&str> = images
        .flat_map(|image| image.used_by.iter().map(|user| &*user.image))
        .collect();
    let files: Vec<(String, String)> = wanted.iter().flat_map(Wanted::texts).collect();
    Places::find(&files, &written)
}

/// An incomplete source is something that is not known.
fn exit(proves: Proves, summary: view::Summary, is_complete: bool) -> Exit {
    let counts_broken = proves.fail_on != FailOn::Never;
    let counts_unknown = proves.counts_unknown();
    if counts_broken && summary.broken > 0 {
        Exit::Broken
    } else if counts_unknown && (summary.unknown > 0 || !is_complete) {
        Exit::Unknown
    } else {
        Exit::Done
    }
}

fn total(requests: Requests) -> u64 {
    let Requests {
        tag_head,
        tag_list,
        manifest_head,
        manifest_get,
        blob_head,
        blob_read,
        blob_get,
        control,
        token,
    } = requests;
    let tags = tag_head + tag_list;
    let manifests = manifest_head + manifest_get;
    let blobs = blob_head + blob_read + blob_get;
    tags + manifests + blobs + control + token
}

pub(super) fn progress_bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{elapsed:>4} [{bar:40}] {pos}/{len} objects, {per_sec}")
            .unwrap_or_else(|_template| ProgressStyle::default_bar())
            .progress_chars("=> ");
    let target = ProgressDrawTarget::stderr_with_hz(10);
    ProgressBar::with_draw_target(Some(0), target).with_style(style)
}

/// Moves the bar.
pub(super) fn shown_by(bar: &ProgressBar) -> impl Fn(Progress) + Sync {
    |progress| {
        bar.set_length((progress.answered + progress.open) as u64);
        bar.set_position(progress.answered as u64);
    }
}

/// Manifests that were fetched once stay fetched: in the state directory if that is ours now, else
/// in the user's cache. Without either they are fetched again, and nothing else changes.
pub(super) fn manifest_cache(config: &Config) -> Arc<dyn ManifestCache> {
    let path = if config.state.is_given {
        Some(config.state.directory.join("state.redb"))
    } else {
        let cache = terminal::environment("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| terminal::home().map(|home| home.join(".cache")));
        cache.map(|cache| cache.join("pullproof/manifests.redb"))
    };
    match path.map(|path| Store::open(&path)) {
        Some(Ok(store)) => Arc::new(store),
        Some(Err(StoreError::InUse(_))) | None => Arc::new(InMemory::default()),
        Some(Err(problem)) => {
            tracing::warn!("{problem}");
            Arc::new(InMemory::default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_tells_broken_from_unknown() {
        let summary = |broken, unknown| view::Summary {
            images: 9,
            pullable: 1,
            broken,
            unknown,
        };
        let with = |fail_on, is_nothing| Proves {
            fail_on,
            is_nothing,
        };
        assert_eq!(
            exit(with(FailOn::Unknown, false), summary(1, 1), true),
            Exit::Broken
        );
        assert_eq!(
            exit(with(FailOn::Unknown, false), summary(0, 1), true),
            Exit::Unknown
        );
        assert_eq!(
            exit(with(FailOn::Unknown, false), summary(0, 0), false),
            Exit::Unknown
        );
        assert_eq!(
            exit(with(FailOn::Unknown, false), summary(0, 0), true),
            Exit::Done
        );
        assert_eq!(
            exit(with(FailOn::Broken, false), summary(0, 1), true),
            Exit::Done
        );
        assert_eq!(
            exit(with(FailOn::Broken, false), summary(1, 0), true),
            Exit::Broken
        );
        assert_eq!(
            exit(with(FailOn::Never, false), summary(1, 1), true),
            Exit::Done
        );
        // Nothing that was proven is no proof, but for who wants none.
        let none = summary(0, 0);
        for (fail_on, expected) in [
            (FailOn::Unknown, Exit::Unknown),
            (FailOn::Broken, Exit::Unknown),
            (FailOn::Never, Exit::Done),
        ] {
            assert_eq!(exit(with(fail_on, true), none, false), expected);
        }
    }
}
