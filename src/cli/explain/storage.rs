//! How a digest stands in the storages that are configured: a plan of each, and what it says of one digest.

use std::sync::Arc;

use jiff::Timestamp;

use crate::app::plan as planning;
use crate::app::plan::Kept;
use crate::cli::gc::keep;
use crate::cli::gc::plan::{Planned, planned};
use crate::cli::given::GivenSources;
use crate::clock::Clock;
use crate::config::{Config, Registry};
use crate::explain::view::{GarbageView, KeptBy, StorageView};
use crate::gc::plan::Garbage;
use crate::gc::refusal::Refusal;
use crate::gc::why::{self, Root, Standing};
use crate::inventory::keepset::KeepSet;
use crate::oci::digest::Digest;

/// References that are told of those who have one digest in use.
const REFERENCES_MAX: usize = 20;

/// Looks into each storage.
pub async fn look(
    digest: &Digest,
    given: &GivenSources,
    config: &Config,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Vec<StorageView>> {
    let mut views = Vec::new();
    for registry in config.registries.iter().filter(|it| it.storage.is_some()) {
        let kept = keep::read(given, config, registry, clock, Vec::new()).await?;
        views.push(match kept {
            Ok(kept) => in_one(digest, registry, kept, config, clock.now()).await?,
            Err(refusals) => unknown(registry, refusals),
        });
    }
    Ok(views)
}

async fn in_one(
    digest: &Digest,
    registry: &Registry,
    kept: Kept,
    config: &Config,
    now: Timestamp,
) -> anyhow::Result<StorageView> {
    let Kept { needed, set, .. } = kept;
    let Planned { plan, needed, .. } = planned(config, registry, needed, now).await?;
    let plan = match plan {
        Ok(plan) => plan,
        Err(refusal) => return Ok(unknown(registry, vec![refusal])),
    };
    let policy = planning::policy(registry, now);
    let view = blank(registry);
    Ok(match why::why(&plan, &needed, &policy, digest) {
        Standing::Absent => StorageView {
            state: "absent",
            ..view
        },
        Standing::Kept {
            bytes,
            root,
            path,
            rows,
        } => StorageView {
            state: "kept",
            bytes: Some(bytes),
            kept_by: Some(kept_by(root, path, &set)),
            garbage: rows.into_iter().map(garbage).collect(),
            ..view
        },
        Standing::Goes {
            bytes,
            rows,
            named_by,
        } => StorageView {
            state: "goes",
            bytes: Some(bytes),
            garbage: rows.into_iter().map(garbage).collect(),
            named_by,
            ..view
        },
    })
}

fn blank(registry: &Registry) -> StorageView {
    StorageView {
        storage: registry.host.clone(),
        state: "unknown",
        bytes: None,
        kept_by: None,
        garbage: Vec::new(),
        named_by: Vec::new(),
        refusals: Vec::new(),
    }
}

fn unknown(registry: &Registry, refusals: Vec<Refusal>) -> StorageView {
    StorageView {
        refusals,
        ..blank(registry)
    }
}

fn garbage(it: Garbage<'_>) -> GarbageView {
    GarbageView {
        kind: it.kind.as_str(),
        repository: it.repository.map(ToString::to_string),
        tag: it.tag.map(ToString::to_string),
        reason: it.reason.as_str(),
        message: it.reason.words(),
    }
}

fn kept_by(root: Root<'_>, path: Vec<Digest>, set: &KeepSet) -> KeptBy {
    let mut references = Vec::new();
    let (repository, tag) = match root {
        Root::Tag { repository, tag } | Root::TagHistory { repository, tag } => {
            (Some(repository), Some(tag))
        }
        Root::Untagged { repository }
        | Root::Pushing { repository }
        | Root::Damaged { repository }
        | Root::OutOfScope { repository } => (Some(repository), None),
        Root::Protected {
            repository,
            reference,
        } => {
            references.push(reference.to_owned());
            (Some(repository), None)
        }
        Root::InUse | Root::Young | Root::NotUnderstood => (None, None),
    };
    if let (Root::InUse, Some(first)) = (root, path.first()) {
        let users = set.references().iter();
        let users = users.filter(|(_, kept)| kept.digests.contains(first));
        let users = users.map(|(reference, _)| reference.to_string());
        references.extend(users.take(REFERENCES_MAX));
    }
    KeptBy {
        root: root.as_str(),
        repository: repository.map(ToOwned::to_owned),
        tag: tag.map(ToOwned::to_owned),
        references,
        path,
    }
}
