//! The commands that the README and docs/ show, with what they print, and by which test each is run.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::pages;
use crate::cli::run::{Ended, run};
use crate::support::daemon;
use crate::support::parts;

/// Where they are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// `demo.rs`
    Demo,
    /// `storage.rs`
    Storage,
    /// `tags.rs`
    Tags,
    /// `cluster.rs`
    Cluster,
    /// The same, as whoever may do everything.
    Installed,
    /// `configuration.rs`
    Configuration,
    /// `cli/foreign.rs`
    Foreign,
    /// Where it is tested already.
    Test(&'static str),
    /// And why.
    Nobody(&'static str),
}

/// How a command of a page begins, and where it is run.
const ALL: &[(&str, &str, By)] = &[
    (
        "README.md",
        "cargo run",
        By::Test("demo.rs, with the binary that it builds"),
    ),
    (
        "README.md",
        "make test",
        By::Test("it is what runs all of these"),
    ),
    ("README.md", "pullproof demo --once", By::Demo),
    ("README.md", "pullproof verify", By::Demo),
    ("README.md", "pullproof gc run", By::Storage),
    ("README.md", "helm install", By::Installed),
    ("README.md", "kubectl apply -f", By::Installed),
    ("collection.md", "pullproof gc plan", By::Storage),
    ("collection.md", "pullproof explain", By::Storage),
    (
        "collection.md",
        "pullproof gc windows",
        By::Test("src/cli/gc/windows/words/tests.rs, on the day that it is shown of"),
    ),
    ("collection.md", "pullproof gc run", By::Storage),
    ("collection.md", "pullproof gc status", By::Storage),
    ("collection.md", "pullproof gc restore", By::Storage),
    ("collection.md", "cd pullproof/quarantine/RUN", By::Storage),
    ("collection.md", "jq -c .", By::Storage),
    (
        "collection.md",
        "sed -e",
        By::Test("deploy/made.rs makes the Job, collection/started.rs runs it"),
    ),
    ("commands.md", "pullproof verify --plain-http", By::Demo),
    ("commands.md", "pullproof verify --references", By::Demo),
    ("commands.md", "helm template", By::Demo),
    ("commands.md", "pullproof verify -f deploy/", By::Demo),
    ("commands.md", "echo $?", By::Demo),
    ("commands.md", "pullproof explain", By::Demo),
    ("commands.md", "pullproof verify --context", By::Cluster),
    ("commands.md", "pullproof inventory", By::Cluster),
    ("commands.md", "ln -s", By::Test("cli/plugin.rs")),
    ("commands.md", "kubectl pullproof", By::Cluster),
    (
        "configuration.md",
        "pullproof config check",
        By::Configuration,
    ),
    (
        "configuration.md",
        "kubectl describe",
        By::Test("daemon/events.rs"),
    ),
    (
        "install.md",
        "kubectl -n pullproof port-forward",
        By::Nobody("it needs a kubelet"),
    ),
    (
        "install.md",
        "kubectl -n pullproof exec",
        By::Nobody("it needs a kubelet"),
    ),
    ("install.md", "helm upgrade", By::Test("deploy/said.rs")),
    ("install.md", "kubectl apply", By::Test("deploy/said.rs")),
    ("install.md", "kubectl create", By::Test("deploy/said.rs")),
    ("install.md", "make image", By::Test("deploy/image.rs")),
    ("install.md", "deploy/image/", By::Test("deploy/image.rs")),
    (
        "install.md",
        "cosign verify",
        By::Nobody("a release is signed by the release workflow, and nowhere else"),
    ),
    ("retention.md", "pullproof retention plan", By::Tags),
    ("retention.md", "pullproof retention apply", By::Tags),
    ("retention.md", "pullproof gc restore", By::Tags),
    ("retention.md", "pullproof retention export", By::Tags),
    ("retention.md", "jq ", By::Tags),
    (
        "retention.md",
        "werf ",
        By::Nobody("werf is no part of the test bed"),
    ),
    ("verdicts.md", "jq ", By::Foreign),
    ("alerts.md", "kubectl annotate", By::Installed),
];

/// What a line begins with that is a command.
const TOOLS: [&str; 8] = [
    "cargo ",
    "cd ",
    "helm ",
    "kubectl ",
    "ln ",
    "make ",
    "pullproof ",
    "sed ",
];

/// A command as it is shown, and what is printed below it.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) page: String,
    pub(crate) command: String,
    pub(crate) output: String,
}

impl Shown {
    fn row(&self) -> Option<usize> {
        let is_it = |(page, start, _): &(&str, &str, By)| {
            self.page == *page && self.command.starts_with(start)
        };
        ALL.iter().position(is_it)
    }

    /// Compares what is shown with what was printed. `…` on a line of its own stands for lines that are left out.
    pub(crate) fn compare(&self, printed: &str, shown_as: impl Fn(&str) -> String) {
        let printed = normal(&shown_as(printed));
        let mut rest = printed.as_str();
        let shown = format!("\n{}", self.output.trim_end());
        let parts: Vec<String> = shown.split("\n…").map(normal).collect();
        for (at, part) in parts.iter().enumerate() {
            let found = rest.find(part.as_str());
            let is_first = at == 0;
            let found = found.filter(|found| !is_first || *found == 0);
            let found = found.unwrap_or_else(|| {
                panic!(
                    "{}: `{}` does not print\n{part}\nbut\n{rest}\n\nwhich is\n{printed}",
                    self.page, self.command
                )
            });
            rest = &rest[found + part.len()..];
        }
        let is_whole = rest.trim().is_empty() || shown.ends_with("\n…");
        assert!(
            is_whole,
            "{}: `{}` also prints\n{rest}",
            self.page, self.command
        );
    }
}

/// Of all blocks that show a terminal, and all lines that are commands.
fn shown() -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    for (page, text) in pages() {
        let page = page.file_name().unwrap().to_str().unwrap();
        let add = |all: &mut Vec<Shown>, command: &str| {
            // What is said of it stands behind it.
            let (command, _) = command.split_once(" # ").unwrap_or((command, ""));
            all.push(Shown {
                page: page.to_owned(),
                command: command.trim().to_owned(),
                output: String::new(),
            });
        };
        let mut block: Option<&str> = None;
        let mut is_output = false;
        for line in text.lines() {
            if let Some(kind) = line.strip_prefix("```") {
                block = block.is_none().then_some(kind);
                is_output = false;
                continue;
            }
            match block {
                Some("sh" | "console") if !line.trim().is_empty() => add(&mut all, line),
                Some("text") => {
                    if let Some(command) = line.strip_prefix("$ ") {
                        add(&mut all, command);
                        is_output = true;
                    } else if is_output && let Some(last) = all.last_mut() {
                        last.output.push_str(line);
                        last.output.push('\n');
                    }
                }
                // What continuous integration runs.
                Some("yaml") => {
                    let command = line.trim_start().strip_prefix("- ");
                    let command = command.map(|it| it.strip_prefix("run: ").unwrap_or(it));
                    let command =
                        command.filter(|it| TOOLS.iter().any(|tool| it.starts_with(tool)));
                    if let Some(command) = command {
                        add(&mut all, command);
                    }
                }
                None => {
                    let command = line.strip_prefix("    ");
                    let command =
                        command.filter(|it| TOOLS.iter().any(|tool| it.starts_with(tool)));
                    if let Some(command) = command {
                        add(&mut all, command);
                    }
                }
                Some(_) => {}
            }
        }
        // Those within sentences that do more than they say.
        let spoken = text.split('`').skip(1).step_by(2);
        let does_more = |it: &&str| {
            let tools = ["jq ", "kubectl annotate", "werf "];
            tools.iter().any(|tool| it.starts_with(tool))
                || it.starts_with("pullproof retention export ")
        };
        // In a table a bar is written so.
        let spoken = spoken.filter(does_more);
        spoken.for_each(|it| add(&mut all, &it.replace('\n', " ").replace("\\|", "|")));
    }
    all
}

/// Those that are run there, as the pages show them.
pub(crate) fn run_by(by: By) -> Vec<Shown> {
    let all = shown().into_iter();
    let all: Vec<Shown> = all
        .filter(|it| it.row().is_some_and(|row| ALL[row].2 == by))
        .collect();
    assert!(!all.is_empty(), "{by:?}");
    all
}

/// In a home, by a shell that finds pullproof and the test bed.
pub(crate) async fn bash(home: &Path, directory: &Path, command: &str) -> Ended {
    let bin = home.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    for name in ["pullproof", "kubectl-pullproof"] {
        let link = bin.join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(daemon::binary(), link).unwrap();
        }
    }
    let paths = [bin, parts::testbed().join("bin")];
    let own = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(paths.into_iter().chain(std::env::split_paths(&own))).unwrap();
    let mut shell = Command::new("bash");
    shell
        .arg("-c")
        .arg(command)
        .env_clear()
        .env("PATH", path)
        .env("HOME", home)
        .env("NO_COLOR", "1")
        .current_dir(directory);
    let kubeconfig = home.join("kubeconfig");
    if kubeconfig.exists() {
        shell.env("KUBECONFIG", kubeconfig);
    }
    run(shell, "").await
}

/// Without what differs each time, and however the lines are broken: digests, times, ports and how long it took.
fn normal(text: &str) -> String {
    let mut normal = String::new();
    let mut words = text.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let bare = word.trim_end_matches(['…', ',', ';', ':', '`', ')']);
        let hex = bare.trim_start_matches("sha256:");
        let is_hex = hex.len() >= 12 && hex.chars().all(|it| it.is_ascii_hexdigit());
        let is_time = word.ends_with('Z') && word.contains(':');
        let is_day = word.starts_with("20") && word.len() == 10;
        let unit = words.peek().map(|it| it.trim_end_matches([',', ')']));
        let took = bare.parse::<f64>().is_ok() && matches!(unit, Some("s" | "ms"));
        normal.push(' ');
        match word {
            _ if is_hex || word.contains("sha256:") => normal.push_str("DIGEST"),
            _ if is_time || is_day => normal.push_str("TIME"),
            _ if took => normal.push('0'),
            _ => normal.push_str(&without_ports(word)),
        }
    }
    normal
}

fn without_ports(word: &str) -> String {
    let mut rest = word;
    let mut text = String::new();
    for host in ["127.0.0.1:", "/tmp/pullproof-demo-"] {
        while let Some((before, after)) = rest.split_once(host) {
            text.push_str(before);
            text.push_str(host);
            text.push('0');
            rest = after.trim_start_matches(|it: char| it.is_ascii_digit());
        }
    }
    text + rest
}

#[test]
fn every_command_that_is_shown_is_run_somewhere() {
    let mut used = BTreeSet::new();
    for shown in shown() {
        let row = shown.row();
        used.insert(
            row.unwrap_or_else(|| panic!("{}: nobody runs `{}`", shown.page, shown.command)),
        );
    }
    for (at, row) in ALL.iter().enumerate() {
        assert!(used.contains(&at), "it is shown nowhere: {row:?}");
    }
}
