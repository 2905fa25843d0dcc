//! A storage that a Job collects: starts it, follows it, and tells how it stands. The storage itself is not
//! touched from here, and no Job is ever removed or changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{GATE_EVERY, LOOK_EVERY, One, READING_MAX};
use crate::app::collector::cluster::{self, Failure, answer};
use crate::app::collector::marks;
use crate::collection::jobs::manifest::{self, JOB};
use crate::collection::jobs::switched::Switched;
use crate::collection::jobs::told::{self, Told};
use crate::collection::jobs::{self, Ended, Name, Purpose, Seen, Standing, Start, State};
use crate::config::{CollectorJob, ReadOnlyMode};
use crate::gc::refusal::{Code, Refusal};
use crate::state::collections::{Amount, Did, Last, RESULTS};

/// One that could not be started is tried again after so long.
const START_EVERY: Duration = Duration::from_secs(15);

/// What is known of the Jobs of a storage.
struct Followed {
    by: CollectorJob,
    storage: String,
    client: Option<Client>,
    seen: Vec<Seen>,
    /// Those that have ended are not asked for again.
    ended: BTreeMap<Name, Ended>,
    /// Those of which was told what came of them. `None` before the first look: what ended before it was told
    /// by whoever started it.
    told: Option<BTreeSet<Name>>,
    /// Whether they left the registry read-only.
    switched: Switched,
}

impl One {
    /// Until told to stop. A Job that runs by then goes on.
    pub(super) async fn run_jobs(mut self, by: CollectorJob, stop: CancellationToken) {
        info!(
            storage = self.registry.host,
            namespace = by.namespace,
            "a Job collects this storage, and plans for it"
        );
        let mut followed = Followed {
            storage: jobs::of_storage(&self.registry.host),
            by,
            client: None,
            seen: Vec::new(),
            ended: BTreeMap::new(),
            told: None,
            switched: Switched::default(),
        };
        self.recall().await;
        let begun = Instant::now();
        let mut looked_at: Option<Instant> = None;
        let mut told_at: Option<Instant> = None;
        let mut failed_at: Option<Instant> = None;
        while !stop.is_cancelled() {
            let is_busy = followed.seen.iter().any(|it| it.state == State::Running);
            let every = if is_busy { LOOK_EVERY } else { GATE_EVERY };
            if looked_at.is_none_or(|at| at.elapsed() >= every) {
                let looked = followed.look().await;
                looked_at = looked.is_ok().then(Instant::now);
                match looked {
                    Ok(()) if failed_at.is_none() => self.note(None),
                    Ok(()) => {}
                    Err(problem) => self.note(Some(problem)),
                }
                if looked_at.is_some() && self.tell_ended(&mut followed) {
                    told_at = None;
                    self.remember().await;
                }
            }
            if self.look_for_pause().await {
                told_at = None;
            }
            // What is there already is not known before.
            let may_start = failed_at.is_none_or(|at| at.elapsed() >= START_EVERY);
            if looked_at.is_some() && may_start {
                failed_at = None;
                if let Some(start) = self.next(&followed, begun) {
                    let now = self.with.clock.now();
                    let started = followed.start(&start, &self.registry.host, now).await;
                    match &started {
                        Ok(()) => {
                            info!(storage = self.registry.host, job = %start.name, "started");
                            looked_at = None;
                        }
                        Err(_) => failed_at = Some(Instant::now()),
                    }
                    self.note(started.err());
                    told_at = None;
                }
            }
            if told_at.is_none_or(|at| at.elapsed() >= GATE_EVERY) {
                self.tell_gate(self.opening().as_ref()).await;
                told_at = Some(Instant::now());
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Whether what an operator said of pausing is something else than before.
    async fn look_for_pause(&mut self) -> bool {
        let (config, registry) = (Arc::clone(&self.config), self.registry.clone());
        let looked = tokio::task::spawn_blocking(move || marks::paused(&config, &registry)).await;
        let paused = looked.unwrap_or_else(|panic| {
            let message = format!("whether it is paused cannot be told: {panic}");
            Some(Refusal::new(Code::Paused, message))
        });
        if paused == self.paused {
            return false;
        }
        match &paused {
            Some(refusal) => info!(
                storage = self.registry.host,
                "no Job that takes anything is started: {}", refusal.message
            ),
            None => info!(storage = self.registry.host, "Jobs are started again"),
        }
        self.paused = paused;
        true
    }

    fn next(&self, followed: &Followed, begun: Instant) -> Option<Start> {
        let open = self.opening();
        let worse = self.worse(jobs::held_since(&followed.seen));
        let now = self.with.clock.now();
        let returns_at = jobs::returns_at(&followed.seen).filter(|at| *at <= now.into());
        let is_read = self.is_read() || begun.elapsed() >= READING_MAX;
        let is_known = || self.with.watched.known(&self.registry, Vec::new()).is_ok();
        let standing = Standing {
            // Without a whole inventory the Job would be refused.
            collects: open.is_some() && self.paused.is_none() && is_read && is_known(),
            open: open.as_ref(),
            jobs: &followed.seen,
            worse: worse.as_ref().map(|(_, since)| *since).or(returns_at),
            storage: &followed.storage,
        };
        let start = jobs::next(&standing, now)?;
        if let Some((image, _)) = worse.filter(|_| start.name.purpose == Purpose::Restore) {
            error!(
                storage = self.registry.host,
                image, "it got worse while something is in quarantine: everything goes back"
            );
        }
        Some(start)
    }

    /// What keeps Jobs from being started or followed; said once, and by the gate for as long as it is so.
    fn note(&mut self, problem: Option<String>) {
        if let Some(problem) = &problem
            && self.problem.as_ref() != Some(problem)
        {
            error!(storage = self.registry.host, "{problem}");
        }
        self.problem = problem;
    }

    /// Tells what came of those that have ended since; whether any has.
    fn tell_ended(&mut self, followed: &mut Followed) -> bool {
        let mut ended: Vec<&Seen> = followed.seen.iter().collect();
        ended.sort_by_key(|it| (it.created_at, &it.name));
        let is_running = ended.iter().any(|it| it.state == State::Running);
        let is_first = followed.told.is_none();
        let is_managed = self.registry.gc.read_only.mode == ReadOnlyMode::Managed;
        let told = followed.told.get_or_insert_default();
        let mut is_news = false;
        for seen in ended {
            let State::Ended(ended) = &seen.state else {
                continue;
            };
            if told.insert(seen.name.clone()) {
                let is_doubt = followed.switched.is_in_doubt(seen, is_managed);
                followed.switched = followed.switched.after(seen, is_managed);
                self.take_ended(&seen.name, ended, !is_first, is_doubt);
                is_news = true;
            }
        }
        let read_only_since = followed.switched.since.map(Timestamp::from);
        self.change(|status| {
            status.is_running = is_running;
            status.read_only_since = read_only_since;
        });
        is_news
    }

    /// `is_doubt`: nobody knows whether it left the registry read-only.
    fn take_ended(&mut self, name: &Name, ended: &Ended, is_new: bool, is_doubt: bool) {
        let said = ended.told.as_deref();
        let result = said.and_then(|said| RESULTS.into_iter().find(|it| *it == said.result));
        // What says nothing and ended well did what was to be done, whatever that was.
        let result = result.unwrap_or(if ended.is_complete {
            "planned"
        } else {
            "failed"
        });
        let failed = match said {
            Some(said) => said.failed.clone(),
            None if ended.is_complete => None,
            None => {
                let why = ended.why.as_deref().unwrap_or("its pod says nothing");
                let mut failed = format!(
                    "the Job {name} failed ({why}): look at the log of its pod; what it took is in quarantine, or \
                     goes back with the next run"
                );
                if is_doubt {
                    failed.push_str(
                        "; it may have left the registry read-only, which is taken for so until a later Job tells",
                    );
                }
                Some(failed)
            }
        };
        if is_new {
            match &failed {
                Some(problem) => {
                    error!(storage = self.registry.host, job = %name, result, "{problem}");
                }
                None => info!(storage = self.registry.host, job = %name, result, "the Job ended"),
            }
        }
        if let Some(said) = said.filter(|said| !said.conditions.is_empty()) {
            self.facts = said.facts();
        }
        // What puts back is no run, unless it did.
        let counts =
            is_new && (name.purpose == Purpose::Collect || matches!(result, "restored" | "failed"));
        let at = ended.at;
        let said = said.cloned().unwrap_or_default();
        self.change(|status| {
            if said.knows_held {
                status.held = amount(said.held);
                status.held_since = said.held_since.map(Timestamp::from);
                status.returns_at = said.returns_at.map(Timestamp::from);
            }
            status.drilled_at = said.drilled_at.map(Timestamp::from).or(status.drilled_at);
            if name.purpose == Purpose::Collect
                && let Some(unsettled) = &said.unsettled
            {
                let all = unsettled.iter();
                let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
                let all = all.map(|(replica, it)| (replica.clone(), count(*it)));
                status.unsettled = all.collect();
            }
            if is_new {
                status.purged.add(amount(said.purged));
                status.restored.add(amount(said.restored));
            }
            if counts {
                status.take(Last {
                    at,
                    result,
                    refusals: said.refusals(),
                    failed,
                    told: Vec::new(),
                    did: Did {
                        restored: amount(said.restored),
                        purged: amount(said.purged),
                        ..Did::default()
                    },
                });
            }
        });
    }
}

impl Followed {
    async fn client(&mut self) -> Result<Client, String> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let client = cluster::reached("gc.collector.job").await?;
        Ok(self.client.insert(client).clone())
    }

    /// Looks at all Jobs of this storage.
    async fn look(&mut self) -> Result<(), String> {
        let client = self.client().await?;
        let namespace = self.by.namespace.clone();
        let unread = |what: &str, failure: &Failure| {
            format!(
                "the {what} of the namespace {namespace} cannot be listed: {failure}; nothing is begun by itself \
                 (see deploy/collector-start-rbac.yaml)"
            )
        };
        let api: Api<Job> = Api::namespaced(client.clone(), &namespace);
        let parameters = ListParams::default().labels(&manifest::selector(&self.storage));
        let jobs = answer(api.list(&parameters)).await;
        let jobs = jobs.map_err(|failure| unread("Jobs", &failure))?;
        let pods: Api<Pod> = Api::namespaced(client, &namespace);
        let mut seen = Vec::new();
        for job in jobs.items {
            let name = job.metadata.name.as_deref().and_then(Name::parse);
            let (Some(name), Some(created)) = (name, &job.metadata.creation_timestamp) else {
                continue;
            };
            let created_at = created.0;
            let state = match (self.ended.get(&name), end(&job)) {
                (Some(ended), _) => State::Ended(ended.clone()),
                (None, None) => State::Running,
                (None, Some(ended)) => {
                    let parameters = ListParams::default().labels(&format!("{JOB}={name}"));
                    let pods = answer(pods.list(&parameters)).await;
                    let pods = pods.map_err(|failure| unread("pods", &failure))?;
                    let told = pods.items.iter().find_map(said).map(Box::new);
                    let ended = Ended { told, ..ended };
                    self.ended.insert(name.clone(), ended.clone());
                    State::Ended(ended)
                }
            };
            seen.push(Seen {
                name,
                created_at,
                state,
            });
        }
        self.ended
            .retain(|name, _| seen.iter().any(|it| it.name == *name));
        self.seen = seen;
        Ok(())
    }

    /// Has it made. One of ours that is there was started before.
    async fn start(&mut self, start: &Start, host: &str, now: Timestamp) -> Result<(), String> {
        let file = self.by.template.display().to_string();
        let wrong = |problem: String| format!("{file}: {problem} (`gc.collector.job.template`)");
        let text = tokio::fs::read_to_string(&self.by.template).await;
        let text = text.map_err(|error| wrong(format!("it cannot be read: {error}")))?;
        let template: Value = serde_saphyr::from_str(&text)
            .map_err(|error| wrong(crate::yaml::problem(&error, "a manifest")))?;
        let made =
            manifest::made(&template, start, host, &self.by.namespace, now).map_err(wrong)?;
        let job: Job = serde_json::from_value(made).map_err(|error| {
            wrong(format!(
                "it is not what Kubernetes takes for a Job: {error}"
            ))
        })?;
        let client = self.client().await?;
        let api: Api<Job> = Api::namespaced(client, &self.by.namespace);
        let name = start.name.to_string();
        match answer(api.create(&PostParams::default(), &job)).await {
            Ok(_made) => Ok(()),
            Err(Failure::Conflict(_)) => self.adopt(&api, &name).await,
            Err(failure) => Err(format!(
                "the Job {name} of the namespace {} cannot be started: {failure}",
                self.by.namespace
            )),
        }
    }

    async fn adopt(&self, api: &Api<Job>, name: &str) -> Result<(), String> {
        let there = answer(api.get(name)).await;
        let there = there.map_err(|failure| format!("the Job {name} cannot be read: {failure}"))?;
        let labels = there.metadata.labels.unwrap_or_default();
        if manifest::is_ours(&labels, &self.storage) {
            warn!(job = name, "it was started before");
            return Ok(());
        }
        Err(format!(
            "there is a Job {name} in the namespace {} that pullproof did not start: remove or rename it",
            self.by.namespace
        ))
    }
}

/// How it ended, without what its container said; `None` while it runs.
fn end(job: &Job) -> Option<Ended> {
    let status = job.status.as_ref()?;
    let conditions = status.conditions.iter().flatten();
    let mut last =
        conditions.filter(|it| it.status == "True" && matches!(&*it.type_, "Complete" | "Failed"));
    let condition = last.next()?;
    let is_complete = condition.type_ == "Complete";
    let at = condition.last_transition_time.as_ref();
    let at = at.or(status.completion_time.as_ref());
    let at = at.or(job.metadata.creation_timestamp.as_ref())?.0;
    let why = [&condition.reason, &condition.message];
    let why: Vec<&str> = why.into_iter().flatten().map(String::as_str).collect();
    Some(Ended {
        at,
        is_complete,
        why: (!why.is_empty()).then(|| why.join(": ")),
        told: None,
    })
}

/// What a pod's container said last.
fn said(pod: &Pod) -> Option<Told> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find_map(|it| {
        let terminated = it.state.as_ref()?.terminated.as_ref()?;
        Told::parse(terminated.message.as_deref()?)
    })
}

fn amount(told: told::Amount) -> Amount {
    let told::Amount { blobs, bytes } = told;
    Amount { blobs, bytes }
}
