//! `pullproof baseline`: the file beside the daemon, which looks at it every few seconds.

use std::path::Path;

use anyhow::Context as _;
use clap::Subcommand;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::output::{Output, structured};
use super::terminal;
use super::{Exit, Global};
use crate::app::keeper::SNAPSHOT_FILE;
use crate::baseline::{self, Baseline, Terms};
use crate::clock::{Clock as _, SystemClock};
use crate::verify::finding::Verdict;
use crate::view::answers::counted;

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
    Accept(AcceptArguments),
    /// Forget all of it: what is broken counts as new
    Clear,
}

#[derive(Debug, clap::Args)]
struct AcceptArguments {
    /// Who looks after what is accepted; an owner that is there stays
    #[arg(
        long,
        value_name = "NAME",
        env = "PULLPROOF_OWNER",
        value_parser = clap::builder::NonEmptyStringValueParser::new()
    )]
    owner: Option<String>,
    /// Until when it is known, a date (00:00 UTC) or a time such as 2026-12-31T12:00:00Z: from then on it
    /// counts as new; an end that is there stays
    #[arg(long, value_name = "DATE", env = "PULLPROOF_UNTIL", value_parser = point_in_time)]
    until: Option<Timestamp>,
}

/// A time, or the beginning of a day in UTC.
fn point_in_time(text: &str) -> Result<Timestamp, String> {
    // Parsed freely, a time without a zone would be taken for its day.
    let day = || {
        let day = Date::strptime("%Y-%m-%d", text).ok()?;
        day.to_zoned(TimeZone::UTC).ok()
    };
    let time = text.parse::<Timestamp>().ok();
    time.or_else(|| day().map(|day| day.timestamp()))
        .ok_or_else(|| {
            "expected a date as 2026-12-31, or a time as 2026-12-31T12:00:00Z".to_owned()
        })
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
    last_proof: Option<Timestamp>,
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
        BaselineCommand::Accept(arguments) => return accept(directory, arguments),
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

fn accept(directory: &Path, arguments: &AcceptArguments) -> anyhow::Result<Exit> {
    let AcceptArguments { owner, until } = arguments;
    let now = SystemClock.now();
    if let Some(until) = until.filter(|until| *until <= now) {
        terminal::complain(&format!(
            "error: --until {until} is over: what is broken would count as new at once; nothing was accepted"
        ));
        return Ok(Exit::Usage);
    }
    let path = directory.join(SNAPSHOT_FILE);
    let content = std::fs::read(&path).with_context(|| {
        format!(
            "reading {}, which the daemon writes after each round",
            path.display()
        )
    })?;
    let snapshot: SnapshotFile =
        serde_json::from_slice(&content).with_context(|| format!("reading {}", path.display()))?;
    let mut baseline = baseline::load(directory)?.unwrap_or_default();
    let broken = snapshot
        .images
        .iter()
        .filter(|image| image.verdict == Verdict::Broken && image.last_proof.is_none())
        .map(|image| image.reference.as_str());
    let terms = Terms {
        owner: owner.clone(),
        until: *until,
    };
    let added = baseline.accept(broken, &terms, now);
    baseline::save(directory, &baseline)?;
    terminal::print(&format!(
        "{} added, {} known\n",
        counted(added, "image"),
        baseline.images.len()
    ))?;
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
        "{rows}{} known to be broken; made {made_at}\n",
        counted(baseline.images.len(), "image")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_day_or_a_time_and_nothing_else() {
        let at = |text: &str| point_in_time(text).map(|it| it.to_string());
        assert_eq!(at("2026-12-31").unwrap(), "2026-12-31T00:00:00Z");
        assert_eq!(
            at("2026-12-31T12:00:00+02:00").unwrap(),
            "2026-12-31T10:00:00Z"
        );
        for wrong in ["", "soon", "30d", "2026-13-01", "2026-12-31T12:00:00"] {
            let said = at(wrong).unwrap_err();
            assert!(said.starts_with("expected a date as "), "{wrong}: {said}");
        }
    }
}
