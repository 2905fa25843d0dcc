//! `pullproof retention`: which tags of registries may go.

use clap::Subcommand;

use super::{Exit, Global};
use crate::config::{Config, Registry};

pub mod apply;
pub mod export;
pub mod plan;
mod table;

#[derive(Debug, Subcommand)]
pub enum RetentionCommand {
    /// Show which tags would go, and why each other stays; deletes nothing
    Plan(plan::PlanArguments),
    /// Delete the tags that were in every plan for long enough, through the gate
    Apply(apply::ApplyArguments),
    /// Write what is needed, for registries that delete by their own rules
    Export(export::ExportArguments),
}

pub async fn run(command: RetentionCommand, global: &Global) -> anyhow::Result<Exit> {
    match command {
        RetentionCommand::Plan(arguments) => plan::run(arguments, global).await,
        RetentionCommand::Apply(arguments) => apply::run(arguments, global).await,
        RetentionCommand::Export(arguments) => export::run(arguments, global).await,
    }
}

/// The registry whose tags are meant; the error is the way out.
fn chosen<'a>(config: &'a Config, host: Option<&str>) -> Result<&'a Registry, String> {
    let none = "write in the configuration\n  retention:\n    policies: [{repositories: [\"team/**\"], keep: \
                [{newest: 10}, {youngerThan: 90d}]}]";
    if let Some(host) = host {
        return match config.registry(host) {
            Some(registry) if registry.is_retained() => Ok(registry),
            Some(_) => Err(format!("no policy is for {host}; {none}")),
            None => Err(format!("no entry of `registries` has the host {host}")),
        };
    }
    let mut all = config.retained();
    match (all.next(), all.next()) {
        (Some(registry), None) => Ok(registry),
        (Some(_), Some(_)) => {
            let hosts: Vec<&str> = config.retained().map(|it| it.host.as_str()).collect();
            Err(format!(
                "several registries have a policy: say which with --registry, one of {}",
                hosts.join(", ")
            ))
        }
        (None, _) if config.registries.is_empty() => Err(
            "no registry is configured; write in the configuration\n  registries:\n    - host: registry.example:5000"
                .to_owned(),
        ),
        (None, _) => Err(format!("no registry has a policy; {none}")),
    }
}
