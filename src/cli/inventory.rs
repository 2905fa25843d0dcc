//! `pullproof inventory`: every reference and who uses it, and which source is only a part.

use std::sync::Arc;

use super::terminal::{self, Paint};
use super::verify::Given;
use super::{Exit, Global, Output, table};
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
    match arguments.output {
        Output::Table => terminal::print(&table::inventory(&view, Paint::for_stdout()))?,
        Output::Json => terminal::print(&(serde_json::to_string_pretty(&view)? + "\n"))?,
    }
    Ok(if view.complete {
        Exit::Done
    } else {
        Exit::Unknown
    })
}
