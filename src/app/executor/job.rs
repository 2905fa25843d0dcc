//! A collector as a Job of Kubernetes: one pod at most, with a deadline of its own. It blocks.

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Ended, Outcome, Watch, permitted, rest};
use crate::app::collector::cluster::{self, Failure, answer};
use crate::clock::Clock;
use crate::collection::gate::Permit;
use crate::config::Named;

mod manifest;

pub use manifest::{Made, Template};

/// How often it is looked at.
const LOOKED: Duration = Duration::from_secs(1);
/// So long its pod may take to be gone.
const GONE: Duration = Duration::from_secs(90);
/// So often it is asked for, where the answer is lost.
const ATTEMPTS: usize = 3;

/// The way to it.
pub struct Jobs {
    client: Client,
    runtime: Handle,
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Jobs").finish_non_exhaustive()
    }
}

/// How a Job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    UnderWay,
    Complete,
    Failed(String),
}

impl Jobs {
    pub fn new(runtime: &Handle) -> Result<Self, String> {
        Ok(Self {
            client: cluster::client(runtime, "gc.executor.kubernetesJob")?,
            runtime: runtime.clone(),
        })
    }

    fn api(&self, named: &Named) -> Api<Job> {
        Api::namespaced(self.client.clone(), &named.namespace)
    }

    /// Whether it could be made, as far as that can be told without.
    pub fn rehearse(&self, made: &Made) -> Result<(), String> {
        let parameters = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let api = self.api(&made.named);
        let created = self
            .runtime
            .block_on(answer(api.create(&parameters, &made.job)));
        match created {
            Ok(_) | Err(Failure::Conflict(_)) => Ok(()),
            Err(failure) => Err(format!(
                "the Job {} cannot be created: {failure}",
                made.named
            )),
        }
    }

    fn get(&self, named: &Named) -> Result<Job, Failure> {
        self.runtime
            .block_on(answer(self.api(named).get(&named.name)))
    }

    /// Its pods that may still do something.
    fn pods(&self, named: &Named) -> Result<usize, Failure> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &named.namespace);
        let of =
            ListParams::default().labels(&format!("batch.kubernetes.io/job-name={}", named.name));
        let pods = self.runtime.block_on(answer(api.list(&of)))?;
        let phase = |pod: &Pod| pod.status.as_ref().and_then(|it| it.phase.clone());
        let lives = |pod: &&Pod| !matches!(phase(pod).as_deref(), Some("Succeeded" | "Failed"));
        Ok(pods.items.iter().filter(lives).count())
    }

    fn delete(&self, named: &Named) -> Result<(), Failure> {
        let parameters = DeleteParams::foreground();
        let deleted = self.api(named);
        let deleted = self
            .runtime
            .block_on(answer(deleted.delete(&named.name, &parameters)));
        match deleted {
            Ok(_) | Err(Failure::Absent) => Ok(()),
            Err(failure) => Err(failure),
        }
    }
}

/// Starts it, once: one of ours by this name is the one.
pub fn start(
    permit: &Permit,
    epoch: u32,
    jobs: &Jobs,
    made: &Made,
    clock: &dyn Clock,
) -> Result<(), Ended> {
    permitted(permit, epoch, clock).map_err(Ended::Badly)?;
    let named = &made.named;
    let mut told = String::new();
    for _ in 0..ATTEMPTS {
        let api = jobs.api(named);
        let parameters = PostParams::default();
        let created = api.create(&parameters, &made.job);
        match jobs.runtime.block_on(answer(created)) {
            Ok(_) => {
                info!(job = %named, "the Job was created");
                return Ok(());
            }
            Err(Failure::Conflict(_)) => match jobs.get(named) {
                Ok(there) if made.is_same(&there) => {
                    info!(job = %named, "the Job is there already");
                    return Ok(());
                }
                Ok(_) => {
                    return Err(Ended::Badly(format!(
                        "there is a Job {named} that pullproof did not make"
                    )));
                }
                Err(failure) => told = failure.to_string(),
            },
            Err(failure) => told = failure.to_string(),
        }
        rest(&jobs.runtime, LOOKED);
    }
    match jobs.get(named) {
        Ok(there) if made.is_same(&there) => Ok(()),
        Ok(_) | Err(Failure::Absent) => Err(Ended::Badly(format!(
            "the Job {named} cannot be created: {told}"
        ))),
        Err(failure) => Err(Ended::Unknown(format!(
            "whether the Job {named} was created is not known: {told}, and then {failure}"
        ))),
    }
}

/// Waits for its end, or deletes it.
pub fn follow(jobs: &Jobs, named: &Named, watch: &mut Watch<'_>) -> Outcome {
    let ended = loop {
        match jobs.get(named).map(|job| state(&job)) {
            Ok(State::UnderWay) => {}
            Ok(State::Complete) => break end(jobs, named, false, Ended::Well),
            Ok(State::Failed(why)) => {
                let told = Ended::Badly(format!("the Job {named} failed: {why}"));
                break end(jobs, named, false, told);
            }
            Err(Failure::Absent) => {
                let told = Ended::Badly(format!("somebody deleted the Job {named}"));
                break end(jobs, named, false, told);
            }
            Err(failure) => warn!(job = %named, "it cannot be read: {failure}"),
        }
        if let Some(why) = watch.over() {
            warn!(job = %named, "the Job is deleted: {why}");
            let told = Ended::Badly(format!("the Job {named} was deleted: {why}"));
            break end(jobs, named, true, told);
        }
        rest(watch.runtime, LOOKED);
    };
    // What it said is in the log of its pod.
    Outcome {
        ended,
        said: super::tail::Tail::default(),
    }
}

/// Ends what a run that died left; what may go on is the error.
pub fn end_left_over(jobs: &Jobs, named: &Named) -> Result<(), String> {
    let is_under_way = match jobs.get(named) {
        Ok(job) => state(&job) == State::UnderWay,
        Err(Failure::Absent) => false,
        Err(failure) => return Err(format!("the Job {named} cannot be read: {failure}")),
    };
    match end(jobs, named, is_under_way, Ended::Well) {
        Ended::Unknown(problem) => Err(problem),
        Ended::Well | Ended::Badly(_) => Ok(()),
    }
}

/// Until no pod of it does anything any more; with `deletes` it is deleted first.
fn end(jobs: &Jobs, named: &Named, deletes: bool, told: Ended) -> Ended {
    let begun = Instant::now();
    loop {
        let looked = match if deletes { jobs.delete(named) } else { Ok(()) } {
            Ok(()) => jobs.pods(named),
            Err(failure) => Err(failure),
        };
        let problem = match looked {
            Ok(0) => match jobs.get(named) {
                // Until it is gone it may make another pod.
                Ok(_) if deletes => "it is not gone yet".to_owned(),
                Ok(_) | Err(Failure::Absent) => return told,
                Err(failure) => failure.to_string(),
            },
            Ok(pods) => format!("{pods} of its pods have not ended"),
            Err(failure) => failure.to_string(),
        };
        if begun.elapsed() >= GONE {
            return Ended::Unknown(format!("of the Job {named} something may go on: {problem}"));
        }
        rest(&jobs.runtime, LOOKED);
    }
}

fn state(job: &Job) -> State {
    let status = job.status.as_ref();
    let conditions = status.and_then(|it| it.conditions.as_ref());
    let holds = |name: &str| {
        let mut all = conditions.into_iter().flatten();
        all.find(|it| it.type_ == name && it.status == "True")
    };
    if holds("Complete").is_some() {
        return State::Complete;
    }
    match holds("Failed") {
        Some(failed) => {
            let reason = failed.reason.clone().unwrap_or_default();
            let message = failed.message.clone().unwrap_or_default();
            State::Failed(format!("{reason}: {message}"))
        }
        None => State::UnderWay,
    }
}

/// The file of a template.
pub fn template(file: &Path) -> Result<Template, String> {
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|error| format!("{}: it cannot be read: {error}", file.display()))?;
    Template::parse(&text).map_err(|problem| format!("{}: {problem}", file.display()))
}
