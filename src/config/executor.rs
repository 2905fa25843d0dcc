//! Who takes what is garbage: the values and their check.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::check::Checker;
use super::{Gc, Mode, ReadOnlyMode, raw};
use crate::pattern::Pattern;

/// Who takes what is garbage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Executor {
    /// pullproof itself, with a quarantine.
    Builtin,
    Command(Command),
    KubernetesJob(KubernetesJob),
    Harbor(Harbor),
}

/// A program of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments; at least the program.
    pub argv: Vec<String>,
    /// `None`: until the window ends.
    pub deadline: Option<Duration>,
    pub undo: Undo,
    /// Whether it spares what a tagged index names, where it deletes manifests that no tag names.
    pub keeps_children: bool,
}

/// A Job of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesJob {
    /// Its manifest.
    pub template: PathBuf,
    /// `None`: until the window ends.
    pub deadline: Option<Duration>,
    pub undo: Undo,
    /// As of a command.
    pub keeps_children: bool,
}

/// Harbor's API, at the registry's endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Harbor {
    /// `USER:PASSWORD`.
    pub credentials: PathBuf,
    /// `None`: until the window ends.
    pub deadline: Option<Duration>,
}

/// What would bring back what is taken without a quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undo {
    Snapshot,
    Versioning,
    None,
}

impl Undo {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Versioning => "versioning",
            Self::None => "none",
        }
    }
}

impl fmt::Display for Undo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Executor {
    /// As it is written.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Builtin => "builtin",
            Self::Command(_) => "command",
            Self::KubernetesJob(_) => "kubernetesJob",
            Self::Harbor(_) => "harbor",
        }
    }

    /// Whether somebody else takes, and nothing can be put back.
    pub fn is_foreign(&self) -> bool {
        *self != Self::Builtin
    }

    pub fn undo(&self) -> Undo {
        match self {
            Self::Command(command) => command.undo,
            Self::KubernetesJob(job) => job.undo,
            Self::Builtin | Self::Harbor(_) => Undo::None,
        }
    }

    /// How long it may take at most; `None`: until the window ends.
    pub fn deadline(&self) -> Option<Duration> {
        match self {
            Self::Builtin => None,
            Self::Command(command) => command.deadline,
            Self::KubernetesJob(job) => job.deadline,
            Self::Harbor(harbor) => harbor.deadline,
        }
    }
}

impl Checker<'_, '_> {
    pub(super) fn executor(&mut self, path: &str, raw: raw::Executor) -> Executor {
        let raw::Executor {
            builtin,
            command,
            kubernetes_job,
            harbor,
        } = raw;
        let keys = [
            ("builtin", builtin.is_some()),
            ("command", command.is_some()),
            ("kubernetesJob", kubernetes_job.is_some()),
            ("harbor", harbor.is_some()),
        ];
        let way_out = "write {builtin: {}}, or one of command, kubernetesJob and harbor";
        self.has_one(path, &keys, "executors", way_out);
        if let Some(raw) = command {
            let path = format!("{path}.command");
            let argv = raw.argv.unwrap_or_default();
            self.argv(&format!("{path}.argv"), &argv);
            return Executor::Command(Command {
                argv,
                deadline: self.deadline(&path, raw.deadline),
                undo: undo(raw.undo),
                keeps_children: raw.keeps_children.unwrap_or(false),
            });
        }
        if let Some(raw) = kubernetes_job {
            let path = format!("{path}.kubernetesJob");
            return Executor::KubernetesJob(KubernetesJob {
                template: self.named_file(&format!("{path}.template"), raw.template),
                deadline: self.deadline(&path, raw.deadline),
                undo: undo(raw.undo),
                keeps_children: raw.keeps_children.unwrap_or(false),
            });
        }
        if let Some(raw) = harbor {
            let path = format!("{path}.harbor");
            let file = raw.credentials.and_then(|it| it.file);
            return Executor::Harbor(Harbor {
                credentials: self.named_file(&format!("{path}.credentials.file"), file),
                deadline: self.deadline(&path, raw.deadline),
            });
        }
        Executor::Builtin
    }

    /// What has to be said beside an executor that is not pullproof itself.
    pub(super) fn suits_executor(&mut self, path: &str, gc: &Gc, is_stated: bool) {
        let name = gc.executor.as_str();
        let place = if is_stated {
            format!("{path}.executor.{name}")
        } else {
            path.to_owned()
        };
        let is_whole = |checker: &Self, key: &str| {
            !checker.report.has(&format!("{path}.{key}")) && !checker.report.has(&place)
        };
        if gc.executor.is_foreign() && gc.mode == Mode::Quarantine && is_whole(self, "mode") {
            let message = format!(
                "`{name}` has no quarantine, and `mode` is `quarantine`: what it takes is gone; write `mode: purge` \
                 if that is meant, or `mode: plan`"
            );
            self.report.add(&place, message);
        }
        let all = |it: &Pattern| it.as_str() == "**";
        let is_scoped = !gc.repositories.iter().any(all);
        if gc.executor.is_foreign() && is_scoped && is_whole(self, "repositories") {
            let message =
                format!("`{name}` goes through all repositories; write `repositories: [\"**\"]`");
            self.report.add(&place, message);
        }
        let needs = matches!(
            gc.executor,
            Executor::Command(_) | Executor::KubernetesJob(_)
        );
        if needs && gc.read_only.mode == ReadOnlyMode::NotRequired && is_whole(self, "readOnly") {
            let message = format!(
                "what is pushed while `{name}` runs may be lost; add `readOnly: {{mode: required}}`, or `{{mode: \
                 managed, deployment: {{namespace: NAMESPACE, name: NAME}}}}`"
            );
            self.report.add(&place, message);
        }
    }

    fn argv(&mut self, path: &str, argv: &[String]) {
        if self.report.has(path) {
            return;
        }
        let message = if argv.first().is_none_or(|it| it.trim().is_empty()) {
            "the program is missing; write [\"registry\", \"garbage-collect\", \"/etc/distribution/config.yml\"]"
        } else if argv.iter().any(|it| it.contains('\0')) {
            "no argument has a byte of zero in it"
        } else {
            return;
        };
        self.report.add(path, message);
    }

    fn deadline(&mut self, path: &str, text: Option<String>) -> Option<Duration> {
        let text = text?;
        let path = format!("{path}.deadline");
        let deadline = self.duration(&path, &text);
        if deadline.is_zero() && !self.report.has(&path) {
            let message = "it may take no time at all; leave it out for the end of the window";
            self.report.add(&path, message);
        }
        Some(deadline)
    }

    /// One that is missing is told by the schema.
    fn named_file(&mut self, path: &str, name: Option<String>) -> PathBuf {
        name.map_or_else(PathBuf::new, |name| self.file(path, name))
    }
}

/// One that is missing is told by the schema.
fn undo(raw: Option<raw::Undo>) -> Undo {
    match raw {
        Some(raw::Undo::Snapshot) => Undo::Snapshot,
        Some(raw::Undo::Versioning) => Undo::Versioning,
        Some(raw::Undo::None) | None => Undo::None,
    }
}
