//! Every command that is named in the README and docs/ is one.

use std::collections::BTreeSet;

use super::pages;
use crate::support::daemon;

/// Every `pullproof …` of blocks of commands and of sentences.
fn named() -> BTreeSet<Vec<String>> {
    let mut all = BTreeSet::new();
    for (_, text) in pages() {
        let commands = text.lines().filter_map(|line| {
            let line = line
                .strip_prefix("    ")
                .or_else(|| line.strip_prefix("$ "))?;
            let last = line.rsplit(" | ").next()?;
            last.strip_prefix("pullproof ")
        });
        let spoken = text.split('`').skip(1).step_by(2);
        let spoken = spoken.filter_map(|it| it.strip_prefix("pullproof "));
        for command in commands.chain(spoken) {
            let command = command.split(['#', '>']).next().unwrap_or_default();
            // What may be left out or chosen is no word.
            let is_plain = !command.contains(['…', '|', '[', '<', '\n']);
            let words: Vec<String> = command.split_whitespace().map(meant).collect();
            if is_plain && !words.is_empty() {
                all.insert(words);
            }
        }
    }
    all
}

/// What a word in capitals stands for.
fn meant(word: &str) -> String {
    match word {
        "DIGEST" => format!("sha256:{}", "a".repeat(64)),
        "IMAGE" | "REF" => "registry.example/app:v1".to_owned(),
        "RUN" => "20261122T030255Z-0003".to_owned(),
        other => other.to_owned(),
    }
}

#[test]
fn every_command_that_is_named_is_one() {
    let home = tempfile::tempdir().unwrap();
    let all = named();
    assert!(all.len() > 20, "{all:?}");
    for words in all {
        // With this it says what it would do, unless a word before is none of its own.
        let ended = daemon::command(home.path())
            .args(&words)
            .arg("--help")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(
            ended.status.success(),
            "pullproof {}: {said}",
            words.join(" ")
        );
    }
}
