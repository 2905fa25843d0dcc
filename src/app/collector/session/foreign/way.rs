//! How somebody else's collector is started, and found again.

use jiff::Timestamp;
use tracing::warn;

use super::super::Session;
use super::{By, NOTE, Note};
use crate::app::executor::harbor::{self, Api};
use crate::app::executor::job::{self, Jobs, Made};
use crate::app::executor::{self, Ended};
use crate::collection::foreign::Untagged;
use crate::collection::gate::Permit;
use crate::config::Executor;
use crate::gc::refusal::{Code, Refusal};

/// How it is started.
pub(super) enum Way {
    Command(Vec<String>),
    Job(Jobs, Box<Made>),
    Harbor(Api),
}

impl Session<'_> {
    /// What it does with untagged manifests, as far as its words say so.
    pub(super) fn untagged(&self) -> Untagged {
        match self.executor() {
            Executor::Command(command) => Untagged::of(
                command.argv.iter().map(String::as_str),
                command.keeps_children,
            ),
            // One that cannot be read is told already.
            Executor::KubernetesJob(job) => {
                job::template(&job.template).map_or(Untagged::Kept, |template| {
                    let argv = template.argv();
                    Untagged::of(argv.iter().map(String::as_str), job.keeps_children)
                })
            }
            // It knows by its database what an index names.
            Executor::Builtin | Executor::Harbor(_) => Untagged::Kept,
        }
    }

    /// Whether it can be started, as far as that can be told without.
    pub(super) fn reach(&self) -> Result<(), Refusal> {
        let unsupported = |problem: String| Refusal::new(Code::StorageUnsupported, problem);
        let (by, way) = self
            .prepared("none", self.work.until)
            .map_err(unsupported)?;
        match (by, way) {
            (_, Way::Job(jobs, made)) => jobs.rehearse(&made).map_err(unsupported),
            (By::Harbor { before, .. }, Way::Harbor(api)) => match api.is_under_way(before) {
                Ok(false) => Ok(()),
                Ok(true) => {
                    let message = format!(
                        "Harbor's collection {before} is under way: wait for it, or stop it"
                    );
                    Err(Refusal::new(Code::NotLeader, message))
                }
                Err(problem) => Err(unsupported(problem)),
            },
            (_, _) => Ok(()),
        }
    }

    /// What is needed to start it. `of` names the run, or the opening whose only one it is.
    pub(super) fn prepared(&self, of: &str, until: Timestamp) -> Result<(By, Way), String> {
        let work = self.work;
        Ok(match self.executor() {
            Executor::Builtin => {
                return Err("pullproof itself is no collector of others".to_owned());
            }
            Executor::Command(command) => (By::Command, Way::Command(command.argv.clone())),
            Executor::KubernetesJob(settings) => {
                let left = until.duration_since(work.clock.now());
                let left = left.try_into().unwrap_or_default();
                let made = job::template(&settings.template)?;
                let made = made.make(&work.registry.host, of, left);
                let jobs = Jobs::new(&work.runtime)?;
                (
                    By::KubernetesJob(made.named.clone()),
                    Way::Job(jobs, Box::new(made)),
                )
            }
            Executor::Harbor(settings) => {
                let api = Api::new(&work.registry, &settings.credentials, &work.runtime)?;
                let before = api.last()?.map_or(0, |last| last.id);
                (By::Harbor { id: None, before }, Way::Harbor(api))
            }
        })
    }

    /// What is elsewhere is started first, and found again by what is noted then.
    pub(super) fn start(
        &self,
        permit: &Permit,
        epoch: u32,
        way: &Way,
        note: &mut Note,
    ) -> Result<(), Ended> {
        let clock = &*self.work.clock;
        match (way, &mut note.by) {
            (Way::Job(jobs, made), _) => job::start(permit, epoch, jobs, made, clock),
            (Way::Harbor(api), By::Harbor { id, before }) => {
                let deletes_untagged = !self.work.registry.gc.keeps_untagged;
                *id = Some(harbor::start(
                    permit,
                    epoch,
                    api,
                    deletes_untagged,
                    *before,
                    clock,
                )?);
                // It is found without as well: it came after the one before.
                if let Err(problem) = self.remember(NOTE, note) {
                    warn!("{problem}");
                }
                Ok(())
            }
            (_, _) => Ok(()),
        }
    }

    pub(super) fn end_left_over(&mut self, note: &Note) -> Result<(), String> {
        let work = self.work;
        match &note.by {
            By::KubernetesJob(named) => job::end_left_over(&Jobs::new(&work.runtime)?, named),
            By::Harbor { id, before } => {
                let Executor::Harbor(settings) = self.executor() else {
                    return Err(format!(
                        "Harbor's collection that was started cannot be looked at: `executor: {{harbor: …}}` is not \
                         configured any more; see to it, and remove pullproof/{NOTE}"
                    ));
                };
                let api = Api::new(&work.registry, &settings.credentials, &work.runtime)?;
                harbor::end_left_over(&api, *id, *before)
            }
            By::Command if note.machine == executor::command::machine() => {
                let ended = executor::command::end(&note.mark, &self.work.runtime)?;
                warn!(ended, "processes of a run that did not end were ended");
                Ok(())
            }
            // What another machine runs cannot be seen from here.
            By::Command if self.work.clock.now() < note.until => Err(format!(
                "it may still run on another machine, until {:.0}: wait for that, or see to it there and remove \
                 pullproof/{NOTE}",
                note.until
            )),
            By::Command => Ok(()),
        }
    }
}
