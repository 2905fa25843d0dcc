//! `pullproof inventory`: every reference and who uses it, and which source is only a part.

use std::sync::Arc;

use super::output::{Output, structured};
use super::table::{self, Breadth};
use super::terminal::{self, Paint};
use super::verify::Given;
use super::{Exit, Global};
use crate::app::sources;
use crate::clock::{Clock, SystemClock};
use crate::config::LogLevel;
use crate::view::InventoryView;

#[derive(Debug, clap::Args)]
pub struct InventoryArguments {
    #[command(flatten)]
    given: Given,
    #[arg(short, long, default_value = "table", env = "PULLPROOF_OUTPUT")]
    output: Output,
}

pub async fn run(arguments: InventoryArguments, global: &Global) -> anyhow::Result<Exit> {
    let (config, _) = match global.load() {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    global.start_log(&config, Some(LogLevel::Warn));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let wanted = arguments.given.wanted(&[], &config)?;
    let view = InventoryView::of(&sources::read_once(&wanted, &clock).await);
    let breadth = if arguments.output == Output::Wide {
        Breadth::Wide
    } else {
        Breadth::Usual
    };
    let text = structured(arguments.output, &view)?;
    let text = text.unwrap_or_else(|| table::inventory(&view, breadth, Paint::for_stdout()));
    terminal::print(&text)?;
    Ok(if view.complete {
        Exit::Done
    } else {
        Exit::Unknown
    })
}
