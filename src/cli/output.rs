//! `-o`: in which form results are printed.

use clap::ValueEnum;
use serde::Serialize;

/// The forms of what a person or a script reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Table,
    // The table with everything that it leaves out.
    Wide,
    Json,
    Yaml,
}

/// A value as a script reads it; `None` for the forms that are for people.
pub fn structured(output: Output, value: &impl Serialize) -> anyhow::Result<Option<String>> {
    Ok(match output {
        Output::Json => Some(serde_json::to_string_pretty(value)? + "\n"),
        Output::Yaml => Some(serde_saphyr::to_string(value)?),
        Output::Table | Output::Wide => None,
    })
}
