//! `pullproof gc`: garbage in a registry's storage.

use clap::Subcommand;

use super::{Exit, Global};

pub(super) mod keep;
pub mod plan;
mod table;
pub mod windows;

#[derive(Debug, Subcommand)]
pub enum GcCommand {
    /// Show what a collection would take, each with its reason; changes nothing
    Plan(plan::PlanArguments),
    /// Tell when a collection may run next, and whether it may now
    Windows(windows::WindowsArguments),
}

pub async fn run(command: GcCommand, global: &Global) -> anyhow::Result<Exit> {
    match command {
        GcCommand::Plan(arguments) => plan::run(arguments, global).await,
        GcCommand::Windows(arguments) => windows::run(&arguments, global),
    }
}
