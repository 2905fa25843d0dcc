//! `pullproof baseline`: the file beside the daemon, which looks at it every few seconds.

use anyhow::Context as _;
use clap::Subcommand;
use serde::Deserialize;

use super::output::{Output, structured};
use super::terminal;
use super::{Exit, Global};
use crate::app::keeper::SNAPSHOT_FILE;
use crate::baseline::{self, Baseline};
use crate::clock::{Clock as _, SystemClock};
use crate::verify::finding::Verdict;

#[derive(Debug, clap::Args)]
pub struct BaselineArguments {
    #[command(subcommand)]
    command: BaselineCommand,
}

#[derive(Debug, Subcommand)]
enum BaselineCommand {
    /// What is known to be broken
    Show {
        #[arg(short, long, default_value = "table", env = "PULLPROOF_OUTPUT")]
        output: Output,
    },
    /// Add what the daemon finds broken now and never saw whole
    Accept,
    /// Forget all of it: what is broken counts as new
    Clear,
}

/// As much of the daemon's snapshot as this needs.
#[derive(Deserialize)]
struct SnapshotFile {
    images: Vec<SnapshotImage>,
}

#[derive(Deserialize)]
struct SnapshotImage {
    reference: String,
    verdict: Verdict,
    last_proof: Option<jiff::Timestamp>,
}

pub fn run(arguments: &BaselineArguments, global: &Global) -> anyhow::Result<Exit> {
    let (config, _) = match global.load() {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    let directory = &config.state.directory;
    match &arguments.command {
        BaselineCommand::Show { output } => {
            let baseline = baseline::load(directory)?.unwrap_or_default();
            let text = structured(*output, &baseline)?.unwrap_or_else(|| table(&baseline));
            terminal::print(&text)?;
        }
        BaselineCommand::Accept => {
            let path = directory.join(SNAPSHOT_FILE);
            let content = std::fs::read(&path).with_context(|| {
                format!(
                    "reading {}, which the daemon writes after each round",
                    path.display()
                )
            })?;
            let snapshot: SnapshotFile = serde_json::from_slice(&content)
                .with_context(|| format!("reading {}", path.display()))?;
            let mut baseline = baseline::load(directory)?.unwrap_or_default();
            let before = baseline.images.len();
            let broken = snapshot
                .images
                .iter()
                .filter(|image| image.verdict == Verdict::Broken && image.last_proof.is_none())
                .map(|image| image.reference.as_str());
            baseline.accept(broken, SystemClock.now());
            baseline::save(directory, &baseline)?;
            let more = baseline.images.len() - before;
            terminal::print(&format!(
                "{more} images added, {} known\n",
                baseline.images.len()
            ))?;
        }
        BaselineCommand::Clear => {
            // An empty one, not none: one that never was would be made again by itself.
            let cleared = Baseline {
                made_at: Some(SystemClock.now()),
                ..Baseline::default()
            };
            baseline::save(directory, &cleared)?;
            terminal::print("the baseline is empty: everything broken counts as new\n")?;
        }
    }
    Ok(Exit::Done)
}

fn table(baseline: &Baseline) -> String {
    let Some(made_at) = baseline.made_at else {
        return "there is no baseline yet\n".to_owned();
    };
    let rows = baseline.images.iter().map(|(reference, entry)| {
        let owner = entry
            .owner
            .as_ref()
            .map(|owner| format!("  owner {owner}"))
            .unwrap_or_default();
        let until = entry
            .until
            .map(|until| format!("  until {until}"))
            .unwrap_or_default();
        format!("{reference}  since {}{owner}{until}\n", entry.since)
    });
    let rows: String = rows.collect();
    format!(
        "{rows}{} images known to be broken; made {made_at}\n",
        baseline.images.len()
    )
}
