//! `pullproof gc windows`: when a collection may run next, and whether it may now.

use jiff::Timestamp;

use crate::cli::output::{Output, structured};
use crate::cli::terminal::{self, Paint};
use crate::cli::{Exit, Global};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, LogLevel};
use crate::state::windows::Windows;
use crate::view::windows::WindowsView;

mod words;

#[derive(Debug, clap::Args)]
pub struct WindowsArguments {
    /// Whose storage, by the registry's host [default: all]
    #[arg(long, value_name = "HOST", env = "PULLPROOF_STORAGE")]
    storage: Option<String>,
    /// How many of the next openings
    #[arg(
        long,
        value_name = "N",
        default_value_t = 5,
        value_parser = clap::value_parser!(u16).range(1..=1000),
        env = "PULLPROOF_COUNT"
    )]
    count: u16,
    /// The time from which on, as 2026-11-21T10:00:00Z [default: now]
    #[arg(long, value_name = "TIME", env = "PULLPROOF_NOW")]
    now: Option<Timestamp>,
    #[arg(short, long, default_value = "table", env = "PULLPROOF_OUTPUT")]
    output: Output,
}

pub fn run(arguments: &WindowsArguments, global: &Global) -> anyhow::Result<Exit> {
    let (config, _) = match global.load() {
        Ok(loaded) => loaded,
        Err(exit) => return Ok(exit),
    };
    global.start_log(&config, Some(LogLevel::Warn));
    let now = arguments.now.unwrap_or_else(|| SystemClock.now());
    let mut windows = Windows::of(&config, now, usize::from(arguments.count));
    if let Some(host) = &arguments.storage
        && let Err(problem) = only(&mut windows, host, &config)
    {
        terminal::complain(&format!("error: {problem}"));
        return Ok(Exit::Usage);
    }
    let text = structured(arguments.output, &WindowsView::of(&windows))?;
    let text = text.unwrap_or_else(|| {
        let is_wide = arguments.output == Output::Wide;
        words::text(&windows, is_wide, Paint::for_stdout())
    });
    terminal::print(&text)?;
    Ok(Exit::Done)
}

/// Leaves what is this storage's; the error is the way out.
fn only(windows: &mut Windows, host: &str, config: &Config) -> Result<(), String> {
    let registry = config
        .registry(host)
        .ok_or_else(|| format!("no entry of `registries` has the host {host}"))?;
    let host = &registry.host;
    for group in &mut windows.groups {
        group.storages.retain(|storage| storage == host);
    }
    windows.groups.retain(|group| !group.storages.is_empty());
    if windows.groups.is_empty() {
        return Err(format!(
            "the entry of {host} has no storage, and no `retention.policies`: nothing is collected or deleted there; \
             add `storage: {{filesystem: {{root: DIRECTORY}}}}`"
        ));
    }
    Ok(())
}
