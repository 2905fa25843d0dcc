//! The log: to stderr, since stdout is data.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogLevel};

/// Starts the log. `auto` is text for people and JSON for collectors.
pub fn start(format: LogFormat, level: LogLevel) {
    let is_terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(level))
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

/// Of ourselves as much as was asked for, of others their warnings; but what kube's client says of each
/// request that fails, without its host, a source says better.
fn filter(level: LogLevel) -> EnvFilter {
    // Both as directives: a default directive counts only where there is no other.
    EnvFilter::new(format!("warn,kube_client=off,pullproof={}", level.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::filter::LevelFilter;

    #[test]
    fn the_level_that_is_asked_for_is_logged() {
        for (level, expected) in [
            (LogLevel::Info, LevelFilter::INFO),
            (LogLevel::Trace, LevelFilter::TRACE),
        ] {
            assert_eq!(filter(level).max_level_hint(), Some(expected));
        }
    }
}
