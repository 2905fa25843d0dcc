//! The commands that the README and docs/ show: each is one, and those beside the demo print what is shown.

use std::collections::BTreeSet;

use super::pages;
use crate::support::daemon;
use crate::support::demo::Demo;

/// Whose host the pages show.
const HOST: &str = "127.0.0.1:5000";

/// A command as it is shown, and what is printed below it.
struct Shown {
    page: String,
    words: Vec<String>,
    remark: String,
    output: Vec<String>,
}

/// Of all blocks that show a terminal.
fn shown() -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    for (page, text) in pages() {
        let mut is_block = false;
        let mut is_output = false;
        for line in text.lines() {
            if line.starts_with("```") {
                is_block = !is_block;
                is_output = false;
                continue;
            }
            let command = line.strip_prefix("$ ").filter(|_| is_block);
            if let Some(command) = command {
                let (command, remark) = command.split_once(" # ").unwrap_or((command, ""));
                is_output = command.starts_with("pullproof ");
                if is_output {
                    all.push(Shown {
                        page: page.display().to_string(),
                        words: command
                            .split_whitespace()
                            .skip(1)
                            .map(ToOwned::to_owned)
                            .collect(),
                        remark: remark.trim().to_owned(),
                        output: Vec::new(),
                    });
                }
            } else if is_output && let Some(last) = all.last_mut() {
                last.output.push(line.to_owned());
            }
        }
    }
    all
}

/// Every `pullproof …` of blocks of commands that show no output, and of sentences.
fn named() -> BTreeSet<Vec<String>> {
    let mut all = BTreeSet::new();
    for (_, text) in pages() {
        let commands = text.lines().filter_map(|line| {
            let line = line.strip_prefix("    ")?;
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
fn every_command_that_is_shown_is_one() {
    let home = tempfile::tempdir().unwrap();
    let shown = shown().into_iter().map(|it| it.words);
    let all: BTreeSet<Vec<String>> = named().into_iter().chain(shown).collect();
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

/// Without what differs each time: digests are their place, and numbers are one.
fn normal(line: &str, host: &str) -> String {
    let line = line.replace(host, "HOST");
    let mut normal = String::new();
    for word in line.split_whitespace() {
        let is_time = word.ends_with('Z') && word.contains(':');
        let hex = word
            .trim_start_matches("sha256:")
            .trim_end_matches(['…', ',']);
        let is_hex = hex.len() >= 12 && hex.chars().all(|it| it.is_ascii_hexdigit());
        if is_hex || word.contains("sha256:") {
            normal.push_str(" DIGEST");
        } else if is_time || word.starts_with("20") && word.len() == 10 {
            normal.push_str(" TIME");
        } else {
            normal.push(' ');
            let mut was_digit = false;
            for character in word.chars() {
                let is_digit = character.is_ascii_digit() || (was_digit && character == '.');
                if !(is_digit && was_digit) {
                    normal.push(if is_digit { '0' } else { character });
                }
                was_digit = is_digit;
            }
        }
    }
    normal
}

#[tokio::test]
async fn what_is_shown_beside_the_demo_is_what_is_printed_beside_it() {
    let (home, demo) = (tempfile::tempdir().unwrap(), Demo::play().await);
    let host = demo.registry();
    std::fs::copy(demo.workloads(), home.path().join("workloads.yaml")).unwrap();
    let beside: Vec<Shown> = shown()
        .into_iter()
        .filter(|it| it.remark == "beside the demo")
        .collect();
    assert!(beside.len() >= 3);
    for shown in beside {
        let words = shown.words.iter().map(|word| word.replace(HOST, &host));
        let mut command = daemon::command(home.path());
        command.args(words);
        let ended = tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap();
        let printed = String::from_utf8(ended.stdout).unwrap();
        let lines = |text: &mut dyn Iterator<Item = &str>, host: &str| {
            let lines = text.map(|line| normal(line, host));
            lines
                .filter(|line| !line.is_empty())
                .collect::<Vec<String>>()
        };
        let expected = lines(&mut shown.output.iter().map(String::as_str), HOST);
        let printed = lines(&mut printed.lines(), &host);
        assert_eq!(
            printed,
            expected,
            "{}: pullproof {}",
            shown.page,
            shown.words.join(" ")
        );
    }
}
