//! stub
use super::{Exit, Global};

#[derive(Debug, clap::Args)]
pub struct DemoArguments {
    /// Play the story through and exit
    #[arg(long)]
    once: bool,
}

pub async fn run(_arguments: DemoArguments, _global: &Global) -> anyhow::Result<Exit> {
    Ok(Exit::Done)
}
