//! Drift, and what nodes say other than we do, as sentences. Pure.

use crate::drift::{Drift, Kind};
use crate::inventory::User;
use crate::state::ImageState;

use super::words;

/// At most so many sentences; how many more there are is the last.
pub(super) fn drift(image: &ImageState, most: usize) -> Vec<String> {
    bounded(image.drift().iter().map(sentence), most)
}

pub(super) fn kubelet(image: &ImageState, most: usize) -> Vec<String> {
    let told = image.disagreements().iter().map(|one| {
        let refusal = &one.refusal;
        let who = workload(&one.user);
        format!("{who}: {}: {}", refusal.reason, refusal.message)
    });
    bounded(told, most)
}

fn bounded(sentences: impl ExactSizeIterator<Item = String>, most: usize) -> Vec<String> {
    let more = sentences.len().saturating_sub(most);
    let more = (more > 0).then(|| format!("and {more} more; the JSON has all of them"));
    sentences.take(most).chain(more).collect()
}

fn sentence(drift: &Drift) -> String {
    let who = match &*drift.users {
        [] => "nobody now".to_owned(),
        [user] => workload(user),
        users => words::counted(users.len(), "container"),
    };
    let digest = drift.digest.map(|digest| digest.to_string());
    let digest = digest.unwrap_or_default();
    match drift.kind {
        Kind::TagMoved => format!("the tag has moved: {who} runs {digest}"),
        Kind::RunningDigestMissing => {
            format!("{who} runs {digest}, which could not be pulled again")
        }
        Kind::PinnedDigestUntagged => {
            format!("{who} pins {digest}, which no tag keeps: a collector may take it")
        }
        Kind::PlatformMissing => {
            let platform = words::platform(drift.platform.as_ref());
            format!("there is no image for {platform} any more, and once there was")
        }
        Kind::RegistryDisagreement => {
            let registry = drift.registry.as_deref().unwrap_or_default();
            format!("{registry} serves {digest}")
        }
    }
}

fn workload(user: &User) -> String {
    let User {
        owner, container, ..
    } = user;
    format!(
        "{}/{} {} in {}",
        owner.kind, owner.name, container, owner.namespace
    )
}
