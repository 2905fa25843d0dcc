//! `pullproof gc`: garbage in a registry's storage.

use clap::Subcommand;

use super::{Exit, Global};

mod keep;
pub mod plan;
mod table;

#[derive(Debug, Subcommand)]
pub enum GcCommand {
    /// Show what a collection would take, each with its reason; changes nothing
    Plan(plan::PlanArguments),
}

pub async fn run(command: GcCommand, global: &Global) -> anyhow::Result<Exit> {
    match command {
        GcCommand::Plan(arguments) => plan::run(arguments, global).await,
    }
}
