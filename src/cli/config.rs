//! `pullproof config`: what is wrong with a file, all of it, before a daemon meets it.

use std::path::PathBuf;

use clap::Subcommand;

use super::{Exit, Global, terminal};
use crate::app::reload;
use crate::config;

#[derive(Debug, clap::Args)]
pub struct ConfigArguments {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check a file, and the files that it names
    Check {
        /// [default: what --config says, or pullproof.yaml]
        file: Option<PathBuf>,
    },
    /// Print the JSON schema
    Schema,
    /// Print a commented example
    Example,
}

pub fn run(arguments: ConfigArguments, global: &Global) -> anyhow::Result<Exit> {
    match arguments.command {
        ConfigCommand::Check { file } => {
            let Some(path) = file.or_else(|| global.path()) else {
                terminal::complain("there is no pullproof.yaml here; name a file");
                return Ok(Exit::Usage);
            };
            if let Err(error) = reload::load(Some(path.clone())) {
                terminal::complain(&error.to_string());
                return Ok(Exit::Usage);
            }
            terminal::print(&format!("{} is valid\n", path.display()))?;
        }
        ConfigCommand::Schema => {
            terminal::print(&(serde_json::to_string_pretty(&config::schema())? + "\n"))?;
        }
        ConfigCommand::Example => terminal::print(config::example())?,
    }
    Ok(Exit::Done)
}
