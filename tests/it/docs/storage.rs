//! What docs/collection.md shows of a collection: of the demo's registry after its incident, served by
//! distribution, a month later.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jiff::ToSpan as _;
use pullproof::clock::{Clock as _, SystemClock};
use serde_json::Value;

use super::shown::{By, Shown, bash, run_by};
use crate::support::demo::Demo;
use crate::support::parts::require;
use crate::support::process::run_well;
use crate::support::registry::{Options, Registry, Version};

const HOST: &str = "127.0.0.1:5000";
/// As the page has them.
const RUN: &str = "20261122T030255Z-0003";

struct Scene {
    home: tempfile::TempDir,
    registry: Registry,
}

async fn shell(command: String) {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command);
    run_well(shell).await;
}

impl Scene {
    async fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let at = home.path().display();
        let demo = Demo::play().await;
        let theirs = demo.workloads();
        let root = theirs.with_file_name("registry");
        // As it was pushed 40 days ago, by whoever never heard of pullproof.
        shell(format!(
            "cp -a {} {at}/registry && rm -r {at}/registry/pullproof && find {at}/registry -exec touch -h -d '40 days ago' {{}} +",
            root.display(),
        ))
        .await;
        let text = fs::read_to_string(theirs).unwrap();
        let options = Options::new(Version::V3, &home.path().join("registry"));
        let registry = Registry::start(options).await;
        let text = text.replace(&demo.registry(), &registry.host());
        fs::write(home.path().join("workloads.yaml"), text).unwrap();
        Self { home, registry }
    }

    fn root(&self) -> PathBuf {
        self.home.path().join("registry")
    }

    fn configure(&self, more: &str) {
        let text = format!(
            "inventory: {{manifests: [{{name: workloads, path: workloads.yaml}}]}}\nregistries:\n  \
             - {{host: \"{}\", plainHttp: true, storage: {{filesystem: {{root: registry}}}}}}\n\
             state: {{directory: state}}\ngc: {{untagged: delete, tagHistory: delete{more}}}\n",
            self.registry.host(),
        );
        fs::write(self.home.path().join("pullproof.yaml"), text).unwrap();
    }

    /// In a window.
    fn collecting(&self, more: &str) {
        let opened = SystemClock.now() - 1.minute();
        let opened = opened.to_zoned(jiff::tz::TimeZone::UTC);
        self.configure(&format!(
            ", mode: quarantine, rehearsal: 0s, longestRequest: 1s, watchEvery: 1s, settle: {{cache: none}}, windows: \
             [{{name: sunday, schedule: \"{} {} * * *\", duration: 3h}}]{more}",
            opened.minute(),
            opened.hour(),
        ));
    }

    /// Runs what is shown; with this run where it names one, or the one that it makes.
    async fn run(&self, shown: &Shown, run: &str) -> String {
        let directory = if shown.command.starts_with("pullproof ") {
            self.home.path().to_owned()
        } else {
            self.root()
        };
        let command = shown.command.replace(RUN, run).replace("RUN", run);
        let ended = bash(self.home.path(), &directory, &command).await;
        assert!([0, 3].contains(&ended.code), "{command}: {ended:?}");
        if !shown.output.is_empty() {
            let host = self.registry.host();
            let plain = |text: &str| text.replace(&host, HOST);
            let run = if run.is_empty() {
                made(&ended.stdout)
            } else {
                run
            };
            let plain = |text: &str| match run {
                "" => plain(text),
                run => plain(text).replace(run, RUN),
            };
            let shown = Shown {
                page: shown.page.clone(),
                command: shown.command.clone(),
                output: shown.output.replace("registry.example:5000", HOST),
            };
            shown.compare(&ended.stdout, plain);
        }
        ended.stdout
    }
}

/// The run that says how it is put back.
fn made(printed: &str) -> &str {
    let (_, after) = printed.split_once("--run ").unwrap_or_default();
    after.lines().next().unwrap_or_default()
}

/// All files of the registry's own.
fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut waiting = vec![root.join("docker")];
    let mut tree = BTreeMap::new();
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                tree.insert(path, bytes);
            }
        }
    }
    tree
}

#[tokio::test]
async fn what_is_shown_of_a_collection_is_what_is_printed() {
    require!("registry-3.1", "jq");
    let scene = Scene::start().await;
    let all = run_by(By::Storage);
    let of = |page: &str, start: &str| -> Vec<&Shown> {
        let found = all.iter().filter(|it| it.page == page);
        let found: Vec<&Shown> = found.filter(|it| it.command.starts_with(start)).collect();
        assert!(!found.is_empty(), "{page}: {start}");
        found
    };
    let page = "collection.md";
    scene.configure("");
    for shown in [of(page, "pullproof gc plan"), of(page, "pullproof explain")].concat() {
        scene.run(shown, "").await;
    }
    scene.collecting("");
    let [refused, taken] = of(page, "pullproof gc run")[..] else {
        panic!("two runs are shown");
    };
    let [also] = of("README.md", "pullproof gc run")[..] else {
        panic!("one run is shown");
    };
    let before = tree(&scene.root());
    scene.run(refused, "").await;
    scene.run(also, "").await;
    scene.collecting(&format!(
        ", acknowledged: [{{reference: \"{}/team/checkout:latest\", until: 2099-01-01T00:00:00Z, reason: swept}}]",
        scene.registry.host()
    ));
    scene.run(taken, "").await;
    let run = scene.held().await;
    for shown in [
        of(page, "pullproof gc status"),
        of(page, "pullproof gc restore"),
    ]
    .concat()
    {
        scene.run(shown, &run).await;
    }
    assert_eq!(tree(&scene.root()), before);

    // And without pullproof.
    bash(scene.home.path(), scene.home.path(), "pullproof gc run").await;
    let run = scene.held().await;
    assert!(tree(&scene.root()).len() < before.len());
    for shown in of(page, "cd ") {
        scene.run(shown, &run).await;
    }
    assert_eq!(tree(&scene.root()), before);
    for shown in of(page, "jq ") {
        let lines = scene.run(shown, &run).await;
        for line in lines.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            assert!(line.is_object(), "{line}");
        }
        assert!(lines.contains("\"record\":\"settled\""), "{lines}");
    }
}

impl Scene {
    /// The run that holds something.
    async fn held(&self) -> String {
        let home = self.home.path();
        let status = bash(home, home, "pullproof gc status -o json").await.json();
        let runs = status["runs"].as_array().unwrap();
        assert_eq!(runs.len(), 1, "{status:#}");
        runs[0]["run"].as_str().unwrap().to_owned()
    }
}
