//! `pullproof inventory`: every reference and who uses it, and which source is only a part.

mod typed;

use std::sync::Arc;

use anyhow::Context as _;
use clap::Subcommand;

use self::typed::Typed;
use super::given::GivenSources;
use super::output::{Output, structured};
use super::table::{self, Breadth};
use super::terminal::{self, Paint};
use super::{Exit, Global};
use crate::app::{acceptance, beside, sources};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, LogLevel};
use crate::view::{InventoryImage, InventoryView};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct InventoryArguments {
    #[command(subcommand)]
    command: Option<InventoryCommand>,
    /// Only these: references, or digests that references are pinned to or that Pods run; with all who
    /// need them
    #[arg(value_name = "REF|DIGEST")]
    only: Vec<Typed>,
    #[command(flatten)]
    given: GivenSources,
    #[arg(short, long, default_value = "table", env = "PULLPROOF_OUTPUT")]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum InventoryCommand {
    /// Accept that a source names much less than it did; the daemon beside it takes it over
    Accept {
        /// Its name, as `pullproof inventory` shows it
        source: String,
        /// Who accepts it [default: the id of the user]
        #[arg(long, value_name = "NAME", env = "PULLPROOF_BY")]
        by: Option<String>,
    },
}

pub async fn run(arguments: InventoryArguments, global: &Global) -> anyhow::Result<Exit> {
    let (config, _) = match global.load() {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    global.start_log(&config, Some(LogLevel::Warn));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    if let Some(InventoryCommand::Accept { source, by }) = &arguments.command {
        return accept(&config, source, by.as_deref(), &clock);
    }
    if let Some(instead) = arguments.only.iter().find_map(Typed::as_file) {
        terminal::complain(&instead);
        return Ok(Exit::Usage);
    }
    let wanted = arguments.given.wanted(&[], &config)?;
    let inventory = sources::read_once(&wanted, &clock).await;
    let mut inventory = beside::judged(&config, &wanted, inventory, clock.now());
    if !arguments.given.is_given() {
        let remembered = beside::remembered(&config, &inventory);
        inventory.sources.extend(remembered.map(Arc::new));
    }
    let mut view = InventoryView::of(&inventory, clock.now());
    let mut all = Vec::new();
    if !arguments.only.is_empty() {
        let references = view.images.iter().map(|image| image.reference.clone());
        all = references.collect();
        let is_meant = |image: &InventoryImage| arguments.only.iter().any(|it| it.means(image));
        view.images.retain(is_meant);
    }
    let breadth = if arguments.output == Output::Wide || !arguments.only.is_empty() {
        Breadth::Wide
    } else {
        Breadth::Usual
    };
    let text = structured(arguments.output, &view)?;
    let text = text.unwrap_or_else(|| {
        let mut text = table::inventory(&view, breadth, Paint::for_stdout());
        for typed in &arguments.only {
            if !view.images.iter().any(|image| typed.means(image)) {
                text.push_str(&typed.nobody(&all));
            }
        }
        text
    });
    terminal::print(&text)?;
    let has_shrunk = view.sources.iter().any(|source| source.shrunk.is_some());
    Ok(if view.complete && !has_shrunk {
        Exit::Done
    } else {
        Exit::Unknown
    })
}

fn accept(
    config: &Config,
    source: &str,
    by: Option<&str>,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Exit> {
    let user = || format!("uid {}", rustix::process::getuid().as_raw());
    let by = by.map_or_else(user, ToOwned::to_owned);
    let directory = &config.state.directory;
    let accepted = acceptance::accept(directory, source, &by, clock.now())
        .with_context(|| format!("accepting what {source} names now"))?;
    terminal::print(&match accepted {
        Some(it) => format!("{source}: {}: accepted by {}\n", it.shrunk, it.by),
        None => format!("{source} has not shrunk: there is nothing to accept\n"),
    })?;
    Ok(Exit::Done)
}
