//! `pullproof gc`: garbage in a registry's storage.

use clap::Subcommand;

use super::{Exit, Global};

pub(super) mod keep;
pub mod plan;
mod report;
mod restore_tag;
pub mod run;
pub mod status;
mod table;
pub mod windows;

#[derive(Debug, Subcommand)]
pub enum GcCommand {
    /// Show what a collection would take, each with its reason; takes nothing
    Plan(plan::PlanArguments),
    /// Do one step of a collection now: quarantine, and purge of what is due, through the gate
    Run(run::RunArguments),
    /// Tell what is in quarantine, and when it may be purged
    Status(status::StatusArguments),
    /// Put back what is in quarantine
    Restore(run::RestoreArguments),
    /// Purge what is due, through the gate
    Purge(run::PurgeArguments),
    /// Stop whoever collects after its batch
    Stop(status::MarkArguments),
    /// Let nothing be taken or purged until `resume`
    Pause(status::MarkArguments),
    /// End a pause
    Resume(status::MarkArguments),
    /// Tell when a collection may run next, and whether it may now
    Windows(windows::WindowsArguments),
}

pub async fn run(command: GcCommand, global: &Global) -> anyhow::Result<Exit> {
    use status::Mark;
    match command {
        GcCommand::Plan(arguments) => plan::run(arguments, global).await,
        GcCommand::Run(arguments) => run::run(arguments, global).await,
        GcCommand::Status(arguments) => status::status(arguments, global).await,
        GcCommand::Restore(arguments) => run::restore(arguments, global).await,
        GcCommand::Purge(arguments) => run::purge(arguments, global).await,
        GcCommand::Stop(arguments) => status::mark(arguments, Mark::Stop, global).await,
        GcCommand::Pause(arguments) => status::mark(arguments, Mark::Pause, global).await,
        GcCommand::Resume(arguments) => status::mark(arguments, Mark::Resume, global).await,
        GcCommand::Windows(arguments) => windows::run(&arguments, global),
    }
}
