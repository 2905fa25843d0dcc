//! What is wrong with a YAML text, in words for whoever wrote it: the parser's own are for whoever programs
//! with it.

use serde_saphyr::{Error, MessageFormatter as _, UserMessageFormatter};

/// One line without its place, which is [`Error::location`]. `what` is what the text was taken for, as
/// "a manifest". It may quote the text.
pub fn problem(error: &Error, what: &str) -> String {
    match error.without_snippet() {
        Error::AliasError { error, .. } => problem(error, what),
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. }
        | Error::RecursiveReferencesRequireWeakTypes { .. } => {
            format!("its aliases expand to far more than {what}; write the values out")
        }
        Error::Budget { .. } => format!("it is larger, or nested deeper, than {what} may be"),
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key `{key}` is there twice")
        }
        Error::DuplicateMappingKey { key: None, .. } => "a key is there twice".to_owned(),
        Error::UnknownAnchor { .. } => "alias references unknown anchor".to_owned(),
        other => {
            let message = UserMessageFormatter.format_message(other);
            let line = message.lines().next().unwrap_or_default();
            // The place is shown in front, so it is cut from the sentence.
            let line = line.split(" at line ").next().unwrap_or(line);
            let way_out = if line.contains("tab") {
                "; indent with spaces"
            } else {
                ""
            };
            format!("{line}{way_out}")
        }
    }
}
