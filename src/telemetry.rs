//! The log: to stderr, since stdout is data.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogLevel};

/// Starts the log. `auto` is text for people and JSON for collectors.
pub fn start(format: LogFormat, level: LogLevel) {
    let filter = EnvFilter::builder()
        .with_default_directive(
            format!("pullproof={}", level.as_str())
                .parse()
                .expect("a level"),
        )
        .parse_lossy("warn");
    let is_terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    let is_text = match format {
        LogFormat::Auto => is_terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    // A second start is a test's; the first one stays.
    let started = if is_text {
        builder.with_ansi(is_terminal).try_init()
    } else {
        builder
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .try_init()
    };
    drop(started);
}
