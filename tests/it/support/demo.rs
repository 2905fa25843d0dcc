//! The story that the product tells of itself, told to its end: a collection, a swept child, and everything put
//! back. Nothing moves any more.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::daemon;
use super::process::{Ending, Process};

const BOUND: Duration = Duration::from_mins(3);

#[derive(Debug)]
pub(crate) struct Demo {
    process: Process,
    told: String,
    _home: TempDir,
}

impl Demo {
    pub(crate) async fn play() -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut command = daemon::command(home.path());
        command.arg("demo");
        let process = Process::start(command, "demo", home.path(), Ending::Terminate);
        let told = process
            .wait_until("its story is told", BOUND, async || {
                let told = process.output();
                told.contains("Ctrl-C ends the demo").then_some(told)
            })
            .await;
        Self {
            process,
            told,
            _home: home,
        }
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Where its registry is, `HOST:PORT`.
    pub(crate) fn registry(&self) -> String {
        self.after("registry  http://", "/v2/")
    }

    /// Where its metrics are, `HOST:PORT`.
    pub(crate) fn metrics(&self) -> String {
        self.after("metrics   http://", "/metrics")
    }

    /// Where its page is, without a path.
    pub(crate) fn page(&self) -> String {
        format!("http://{}", self.after("page      http://", "/"))
    }

    /// The Kubernetes YAML of its workloads.
    pub(crate) fn workloads(&self) -> PathBuf {
        let directory = PathBuf::from(self.after("serves ", "/registry"));
        directory.join("workloads.yaml")
    }

    /// What it says may be done beside it, each as a shell takes it.
    pub(crate) fn commands(&self) -> Vec<String> {
        let export = format!("export {}", self.after("\n  export ", "\n"));
        let (_, rest) = self.told.split_once(&export).expect("it is said");
        let lines = rest.lines().skip(1);
        let commands: Vec<String> = lines
            .map_while(|line| line.strip_prefix("  "))
            .map(|line| format!("{export}; {line}"))
            .collect();
        assert_eq!(commands.len(), 4, "{}", self.told);
        commands
    }

    fn after(&self, before: &str, end: &str) -> String {
        let (_, rest) = self.told.split_once(before).expect("it says where it is");
        let (found, _) = rest.split_once(end).expect("it says where it is");
        found.to_owned()
    }
}
