//! How a digest stands in the storages that are configured: a plan of each, and what it says of one digest.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::app::plan as planning;
use crate::app::plan::Kept;
use crate::cli::gc::keep;
use crate::cli::gc::plan::{Planned, planned};
use crate::cli::given::GivenSources;
use crate::clock::Clock;
use crate::config::{Config, Registry};
use crate::explain::view::{GarbageView, KeptBy, StorageView, TagView};
use crate::gc::plan::{Garbage, Plan};
use crate::gc::refusal::Refusal;
use crate::gc::why::{self, Root, Standing};
use crate::inventory::keepset::KeepSet;
use crate::oci::digest::Digest;
use crate::retention::class::Class;
use crate::retention::plan::{self as retention, Input, Since};
use crate::retention::protection::Protection;

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
    let view = StorageView {
        tags: tags(digest, &plan, registry, config, &set, now),
        ..blank(registry)
    };
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
        tags: Vec::new(),
        refusals: Vec::new(),
    }
}

/// The tags that name it, and whether they would go by the policies of retention.
fn tags(
    digest: &Digest,
    plan: &Plan,
    registry: &Registry,
    config: &Config,
    set: &KeepSet,
    now: Timestamp,
) -> Vec<TagView> {
    let is_own = |host: &str| config.leads_to(host, registry);
    let protection = Protection::of(set, &is_own, &|host| config.registry(host).is_some());
    let planned = retention::plan(&Input {
        graph: plan.graph(),
        protection: &protection,
        policies: &registry.retention.policies,
        doubts: &BTreeMap::new(),
        since: Since::Pushed,
        now,
    });
    let going = planned.going.iter().filter(|it| it.digest == *digest);
    let going = going.map(|it| TagView {
        repository: it.repository.to_string(),
        tag: it.tag.to_string(),
        classes: vec![Class::Unused],
        reason: it.reason.clone(),
    });
    let staying = planned.staying.iter();
    let staying = staying.filter(|it| it.digest == Some(*digest));
    let staying = staying.map(|it| TagView {
        repository: it.repository.to_string(),
        tag: it.tag.to_string(),
        classes: it.classes.iter().copied().collect(),
        reason: it.reason.clone(),
    });
    let mut tags: Vec<TagView> = going.chain(staying).collect();
    tags.sort_by(|one, other| (&one.repository, &one.tag).cmp(&(&other.repository, &other.tag)));
    tags
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
