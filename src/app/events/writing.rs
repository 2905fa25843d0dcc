//! The API server's side of an Event: finds the workload, writes the Event on it.
//!
//! kube's own recorder is not used. It turns what looks alike into a series, which takes the right to change Events,
//! and it names each by the time of the call, so that a call whose answer got lost would be repeated as another
//! Event. Here each change has one name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{ApiResource, DynamicObject, ListParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::{Scope, pinned_kind};
use kube::{Api, Client};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::app::collector::cluster::{ANSWER, MANAGER};
use crate::events::{Address, Outcome, Targets, ToWrite};
use crate::inventory::cluster::{ClusterOptions, reach};
use crate::oci::digest::Digest;

/// Who tells, as a qualified name.
const CONTROLLER: &str = "pullproof.dev/pullproof";
const ACTION: &str = "Verify";
/// What the API takes of `reportingInstance`.
const INSTANCE_BYTES_MAX: usize = 128;
/// How much of a workload's name is in its Event's: with what follows it has to be a name too.
const NAME_BYTES_MAX: usize = 200;
/// How often one is tried to be written, where the API server gave no answer or none of its own.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// Why one was not written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Failure {
    /// Its workload is not there any more.
    Gone,
    /// pullproof may not.
    Forbidden(String),
    /// The API server has something else against it.
    Refused(String),
    /// It cannot be reached, or has too much to do.
    Away(String),
}

impl Failure {
    /// What is the same for all that fail for one reason.
    fn cause(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Gone => None,
            Self::Forbidden(problem) => Some(("forbidden", problem)),
            Self::Refused(problem) => Some(("refused", problem)),
            Self::Away(problem) => Some(("away", problem)),
        }
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => match status.code {
                404 => Self::Gone,
                401 | 403 => Self::Forbidden(status.message.clone()),
                429 | 500.. => Self::Away(status.message.clone()),
                _ => Self::Refused(status.message.clone()),
            },
            error => Self::Away(innermost(&error)),
        }
    }
}

/// What came of several.
#[derive(Debug, Default)]
pub(super) struct Done {
    written: usize,
    gone: usize,
    failed: usize,
    /// Those that were not tried, since all ends.
    pub(super) left: Vec<ToWrite>,
}

impl Done {
    pub(super) fn count(&self, outcome: Outcome) -> usize {
        match outcome {
            Outcome::Written => self.written,
            Outcome::Dropped => self.gone,
            Outcome::Failed => self.failed,
        }
    }
}

/// Writes Events, and says once why it cannot.
#[derive(Debug)]
pub(super) struct Writer {
    /// The pod's name: its own.
    instance: String,
    /// By cluster and cause.
    told: BTreeSet<(String, &'static str)>,
}

impl Writer {
    pub(super) fn new() -> Self {
        let system = rustix::system::uname();
        let mut instance = system.nodename().to_string_lossy().into_owned();
        if instance.is_empty() {
            "pullproof".clone_into(&mut instance);
        }
        // A host's name is ASCII; what is not is cut anywhere.
        instance.retain(|character| character.is_ascii_graphic());
        instance.truncate(INSTANCE_BYTES_MAX);
        Self {
            instance,
            told: BTreeSet::new(),
        }
    }

    /// Writes each in its cluster, all clusters at once: one that is away holds up no other.
    pub(super) async fn write(
        &mut self,
        events: Vec<ToWrite>,
        clusters: &[ClusterOptions],
        targets: &Targets,
        now: Timestamp,
        stop: &CancellationToken,
    ) -> Done {
        let mut by_cluster: BTreeMap<Option<Arc<str>>, Vec<ToWrite>> = BTreeMap::new();
        for event in events {
            let cluster = event.pair.owner.cluster.clone();
            by_cluster.entry(cluster).or_default().push(event);
        }
        let written = by_cluster.into_iter().filter_map(|(name, events)| {
            let options = clusters
                .iter()
                .find(|it| it.name.as_deref() == name.as_deref())?;
            let instance = self.instance.as_str();
            Some(async move {
                let done = write_all(options, events, targets, instance, now, stop).await;
                (options.source_name.clone(), done)
            })
        });
        let written = join_all(written).await;
        let mut all = Done::default();
        for (cluster, (done, failures)) in written {
            self.say(&cluster, &done, &failures);
            all.written += done.written;
            all.gone += done.gone;
            all.failed += done.failed;
            all.left.extend(done.left);
        }
        all
    }

    /// Each cause once, until one was written again.
    fn say(&mut self, cluster: &str, done: &Done, failures: &[Failure]) {
        if failures.is_empty() && done.written > 0 {
            self.told.retain(|(told, _)| told != cluster);
        }
        for failure in failures {
            let Some((cause, problem)) = failure.cause() else {
                continue;
            };
            if self.told.insert((cluster.to_owned(), cause)) {
                warn!(
                    cluster,
                    problem, "Kubernetes Events cannot be written; verification goes on"
                );
            }
        }
        if done.written > 0 {
            info!(cluster, written = done.written, "Kubernetes Events written");
        }
    }
}

async fn write_all(
    options: &ClusterOptions,
    events: Vec<ToWrite>,
    targets: &Targets,
    instance: &str,
    now: Timestamp,
    stop: &CancellationToken,
) -> (Done, Vec<Failure>) {
    // New each time: its credentials may have been renewed, and there is seldom anything to write.
    match reach(&options.access, "kubernetesEvents").await {
        Ok(client) => write_by(&client, events, targets, instance, now, stop).await,
        Err(problem) => {
            let done = Done {
                failed: events.len(),
                ..Done::default()
            };
            (done, vec![Failure::Away(problem.to_string())])
        }
    }
}

async fn write_by(
    client: &Client,
    events: Vec<ToWrite>,
    targets: &Targets,
    instance: &str,
    now: Timestamp,
    stop: &CancellationToken,
) -> (Done, Vec<Failure>) {
    let mut done = Done::default();
    let mut failures = Vec::new();
    let mut events = events.into_iter();
    while let Some(event) = events.next() {
        let write = write_with_patience(client, &event, targets, instance, now);
        let result = tokio::select! {
            result = write => result,
            () = stop.cancelled() => {
                done.left.push(event);
                done.left.extend(events);
                break;
            }
        };
        match result {
            Ok(()) => done.written += 1,
            Err(Failure::Gone) => done.gone += 1,
            Err(failure @ (Failure::Forbidden(_) | Failure::Refused(_))) => {
                done.failed += 1;
                failures.push(failure);
            }
            Err(failure @ Failure::Away(_)) => {
                // Nor would it answer for the others.
                done.failed += 1 + events.len();
                failures.push(failure);
                break;
            }
        }
    }
    (done, failures)
}

/// A few times, where it may be different in a moment.
async fn write_with_patience(
    client: &Client,
    event: &ToWrite,
    targets: &Targets,
    instance: &str,
    now: Timestamp,
) -> Result<(), Failure> {
    let mut attempt = 1;
    loop {
        let write = write(client, event, targets, instance, now);
        let result = tokio::time::timeout(ANSWER, write).await;
        let result = result.unwrap_or_else(|_elapsed| {
            let seconds = ANSWER.as_secs();
            Err(Failure::Away(format!("no answer within {seconds} s")))
        });
        match result {
            Err(Failure::Away(_)) if attempt < ATTEMPTS => {
                tokio::time::sleep(PAUSE * attempt).await;
                attempt += 1;
            }
            result => return result,
        }
    }
}

async fn write(
    client: &Client,
    event: &ToWrite,
    targets: &Targets,
    instance: &str,
    now: Timestamp,
) -> Result<(), Failure> {
    let owner = &event.pair.owner;
    let Some(regarding) = find(client, event, targets).await? else {
        return Err(Failure::Gone);
    };
    let reason = event.change.reason();
    let object = Event {
        metadata: ObjectMeta {
            name: Some(name(event, regarding.uid.as_deref().unwrap_or_default())),
            namespace: Some(owner.namespace.to_string()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        type_: Some(event.change.severity().to_owned()),
        reason: Some(reason.to_owned()),
        action: Some(ACTION.to_owned()),
        note: Some(event.note.clone()),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        regarding: Some(regarding),
        ..Event::default()
    };
    let api: Api<Event> = Api::namespaced(client.clone(), &owner.namespace);
    let parameters = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    match api.create(&parameters, &object).await {
        // It was written before, and the answer got lost.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The workload as the API server knows it now. kubectl looks for Events by their object's uid, which an inventory
/// does not keep. It is listed, not got: listing is granted for the inventory already.
async fn find(
    client: &Client,
    event: &ToWrite,
    targets: &Targets,
) -> Result<Option<ObjectReference>, Failure> {
    let owner = &event.pair.owner;
    for address in targets.addresses(&owner.kind) {
        let Some(resource) = resource(client, address).await? else {
            continue;
        };
        let api: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), &owner.namespace, &resource);
        let parameters = ListParams::default()
            .fields(&format!("metadata.name={}", owner.name))
            .limit(1);
        let found = match api.list_metadata(&parameters).await {
            Ok(list) => list.items.into_iter().next(),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => return Err(error.into()),
        };
        let found = found.filter(|it| it.metadata.name.as_deref() == Some(&*owner.name));
        if let Some(found) = found {
            return Ok(Some(ObjectReference {
                api_version: Some(resource.api_version),
                kind: Some(resource.kind),
                namespace: Some(owner.namespace.to_string()),
                name: Some(owner.name.to_string()),
                uid: found.metadata.uid,
                ..ObjectReference::default()
            }));
        }
    }
    Ok(None)
}

/// `None` where the API server does not have it, or has it outside of namespaces.
async fn resource(client: &Client, address: Address) -> Result<Option<ApiResource>, Failure> {
    let kind = GroupVersionKind::gvk(&address.group, &address.version, &address.kind);
    if let Some(plural) = address.plural {
        return Ok(Some(ApiResource::from_gvk_with_plural(&kind, plural)));
    }
    match pinned_kind(client, &kind).await {
        Ok((resource, capabilities)) => {
            Ok((capabilities.scope == Scope::Namespaced).then_some(resource))
        }
        Err(kube::Error::Discovery(_)) => Ok(None),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The same for the same change, so that a second attempt writes no second Event.
fn name(event: &ToWrite, uid: &str) -> String {
    let (image, since) = (&event.pair.image, event.since.get());
    let change = format!("{uid}\n{image}\n{}\n{since}", event.change.reason());
    let digest = Digest::of(change.as_bytes());
    let first = digest.as_bytes().first_chunk::<8>();
    let number = first.map_or(0, |first| u64::from_be_bytes(*first));
    let owner = event.pair.owner.name.get(..NAME_BYTES_MAX);
    // Its last letter, so that a name follows a name.
    let owner = owner.unwrap_or(&event.pair.owner.name);
    format!("{}.{number:016x}", owner.trim_end_matches(['.', '-']))
}

/// The innermost cause says what happened; what is around it says little.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests;
