//! Tags are deleted through the registry's API, and put back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, stream};

use super::{Asker, Planned};
use crate::collection::gate::Permit;
use crate::oci::digest::Digest;
use crate::registry::client::change::NotDeleted;
use crate::retention::plan::Going;
use crate::retention::removal::{self, Batch, Outcome, Removed};
use crate::second::Second;

/// By which something may be deleted.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    pub permit: &'a Permit,
    pub epoch: u32,
    pub now: Second,
}

/// What a repository's tags name.
pub type Names = BTreeMap<Arc<str>, Digest>;

/// What each tag of a repository names now. One that is listed and names nothing is an error.
pub async fn names(asker: &Asker, repository: &Arc<str>) -> Result<Names, String> {
    let (names, dangling) = looked(asker, repository).await?;
    match dangling.first() {
        None => Ok(names),
        Some(tag) => Err(format!(
            "{repository}:{tag} is listed, and what it names is not there"
        )),
    }
}

/// What each tag names, and those that name nothing.
async fn looked(asker: &Asker, repository: &Arc<str>) -> Result<(Names, Vec<Arc<str>>), String> {
    let client = asker.prover.client();
    let told = |what: &str, message: &str| format!("{repository}: {what}: {message}");
    let tags = client.tags(asker.auth, repository).await;
    let tags = tags.map_err(|untold| told("its tags are not known", &untold.message))?;
    let asked = stream::iter(tags).map(async |tag| {
        let tagged = client
            .tagged_manifest(asker.auth, repository, &tag, None)
            .await;
        (tag, tagged)
    });
    let asked: Vec<_> = asked
        .buffer_unordered(client.concurrency().max(1))
        .collect()
        .await;
    let (mut names, mut dangling) = (Names::new(), Vec::new());
    for (tag, tagged) in asked {
        let tagged = tagged.map_err(|untold| told(&tag, &untold.message))?;
        match tagged {
            Some(tagged) => drop(names.insert(tag, tagged.digest)),
            None => dangling.push(tag),
        }
    }
    Ok((names, dangling))
}

/// What is needed to put tags back, read before any of them goes. One of whom it cannot be had is kept.
pub async fn remember(asker: &Asker, all: &[&Going], run: &str, at: jiff::Timestamp) -> Batch {
    let mut batch = Batch {
        run: run.to_owned(),
        ..Batch::default()
    };
    for it in all {
        let kept = tree(asker, it, &mut batch.manifests).await.err();
        batch.removed.push(Removed {
            repository: Arc::clone(&it.repository),
            tag: Arc::clone(&it.tag),
            digest: it.digest,
            at,
            reason: it.reason.clone(),
            outcome: kept.map(Outcome::Kept),
        });
    }
    batch
}

async fn tree(
    asker: &Asker,
    it: &Going,
    manifests: &mut BTreeMap<Digest, String>,
) -> Result<(), String> {
    let client = asker.prover.client();
    let mut waiting = vec![it.digest];
    while let Some(digest) = waiting.pop() {
        if manifests.contains_key(&digest) {
            continue;
        }
        let body = client
            .stored_manifest(asker.auth, &it.repository, &digest)
            .await;
        let body = body.map_err(|untold| format!("{digest} cannot be read: {}", untold.message))?;
        let Some(body) = body else {
            // A child may be left out of a copy; it was not there before either.
            if digest == it.digest {
                return Err(format!("{digest} is not there any more"));
            }
            continue;
        };
        waiting.extend(removal::children(&body));
        let text = String::from_utf8(body.to_vec());
        let text =
            text.map_err(|_not_utf8| format!("{digest} is no text, and could not be put back"))?;
        manifests.insert(digest, text);
    }
    Ok(())
}

/// What went with manifests that were deleted by their digests, though it was to stay, in words: a tag, or an index,
/// that was pushed in the very moment. `before` is what the tags named before the first went, and each that was seen
/// since; `with` those that were to go.
pub async fn lost_with(
    asker: &Asker,
    planned: &Planned,
    repository: &Arc<str>,
    (before, with): (&Names, &BTreeSet<&str>),
    deleted: &BTreeSet<Digest>,
) -> Result<Vec<String>, String> {
    let (after, dangling) = looked(asker, repository).await?;
    let mut lost: Vec<String> = dangling
        .iter()
        .map(|tag| format!("`{tag}` names nothing any more"))
        .collect();
    let gone = before.iter().filter(|(tag, _)| {
        !with.contains(&***tag) && !after.contains_key(*tag) && !dangling.contains(*tag)
    });
    lost.extend(gone.map(|(tag, digest)| {
        let digest = digest.short();
        format!("`{tag}`, which named {digest}, is gone: it may have been moved to one of them, or somebody deleted it")
    }));
    for (index, children) in new_indexes(asker, planned, repository, &after).await? {
        let child = children.into_iter().find(|it| deleted.contains(it));
        lost.extend(child.map(|child| {
            let (index, child) = (index.short(), child.short());
            format!("the index {index} lacks {child}")
        }));
    }
    Ok(lost)
}

/// What tags name that the plan does not know of, with the manifests below each: whoever pushed it may have used
/// what is there.
async fn new_indexes(
    asker: &Asker,
    planned: &Planned,
    repository: &Arc<str>,
    names: &Names,
) -> Result<BTreeMap<Digest, Vec<Digest>>, String> {
    let client = asker.prover.client();
    let is_new = |digest: &Digest| planned.graph.find(digest).is_none();
    let mut waiting: Vec<Digest> = names.values().copied().filter(is_new).collect();
    let mut indexes = BTreeMap::new();
    while let Some(digest) = waiting.pop() {
        if indexes.contains_key(&digest) {
            continue;
        }
        let body = client
            .stored_manifest(asker.auth, repository, &digest)
            .await;
        let body = body.map_err(|untold| {
            let short = digest.short();
            format!("{repository}: {short} cannot be read: {}", untold.message)
        })?;
        let children = body.map_or_else(Vec::new, |body| removal::children(&body));
        waiting.extend(children.iter().copied().filter(is_new));
        indexes.insert(digest, children);
    }
    Ok(indexes)
}

/// Puts manifests back by their digests, with all below them. They have no tags then.
pub async fn put_manifests_back(
    asker: &Asker,
    repository: &Arc<str>,
    batch: &Batch,
    digests: &BTreeSet<Digest>,
) -> Result<(), String> {
    for digest in digests {
        put_tree(asker, repository, batch, *digest, None).await?;
    }
    Ok(())
}

/// Puts a manifest back with all below it, each before those that name it, and itself under its tag, if it is to
/// have one.
async fn put_tree(
    asker: &Asker,
    repository: &Arc<str>,
    batch: &Batch,
    root: Digest,
    tag: Option<&str>,
) -> Result<(), String> {
    let client = asker.prover.client();
    for digest in batch.in_order(root) {
        let Some(body) = batch.manifests.get(&digest) else {
            continue;
        };
        let tag = tag.filter(|_| digest == root).map(str::to_owned);
        let name = tag.unwrap_or_else(|| digest.to_string());
        let body = Bytes::from(body.clone());
        let put = client
            .put_manifest(asker.auth, repository, &name, body)
            .await;
        put.map_err(|problem| format!("{}: {problem}", digest.short()))?;
    }
    Ok(())
}

/// Deletes a tag that is remembered. An error is that nobody knows what came of it.
pub async fn remove(
    asker: &Asker,
    by: By<'_>,
    planned: &Planned,
    it: &Going,
    with: &BTreeSet<&str>,
    names: &mut Option<Names>,
) -> Result<Outcome, String> {
    let client = asker.prover.client();
    let (auth, repository) = (asker.auth, &it.repository);
    let named = async || {
        let tagged = client
            .tagged_manifest(auth, repository, &it.tag, None)
            .await;
        let tagged = tagged.map_err(|untold| {
            let (code, message) = (untold.code, untold.message);
            format!(
                "what {repository}:{} names is not known: {code}: {message}",
                it.tag
            )
        })?;
        Ok::<_, String>(tagged.map(|tagged| tagged.digest))
    };
    match named().await? {
        Some(digest) if digest == it.digest => {}
        Some(other) => return Ok(Outcome::Kept(format!("it names {} now", other.short()))),
        // With its manifest, just before; or somebody else was quicker.
        None => return Ok(Outcome::Deleted),
    }
    let permit = (by.permit, by.epoch, by.now);
    let (answer, outcome) = match client.delete(permit, auth, repository, &it.tag).await {
        Err(NotDeleted::Unsupported(_)) => {
            // Just before each: what is deleted by its digest goes with every tag that names it by then.
            let now = self::names(asker, repository).await?;
            // What an earlier deletion of the batch took along is missing here; what was there first counts.
            let before = names.get_or_insert_default();
            for (tag, digest) in &now {
                before.entry(Arc::clone(tag)).or_insert(*digest);
            }
            let new = new_indexes(asker, planned, repository, &now).await?;
            let new = new
                .iter()
                .find(|(_, children)| children.contains(&it.digest));
            let new = new.map(|(index, _)| {
                let index = index.short();
                format!("the index {index}, which was pushed since, names it")
            });
            if let Some(problem) = new.or_else(|| by_digest(planned, it, with, &now)) {
                return Ok(Outcome::Kept(format!(
                    "the registry deletes no tags, and by its digest it may not go: {problem}"
                )));
            }
            let digest = it.digest.to_string();
            let answer = client.delete(permit, auth, repository, &digest).await;
            (answer, Outcome::DeletedByDigest)
        }
        answer => (answer, Outcome::Deleted),
    };
    let problem = match answer {
        Ok(()) => "it is there all the same".to_owned(),
        Err(NotDeleted::Unsupported(status)) => format!(
            "the registry deletes nothing (it answers {status}): distribution has to be told \
             `storage: {{delete: {{enabled: true}}}}`"
        ),
        Err(NotDeleted::Refused(problem)) => problem,
        // What is there now may be gone in a moment.
        Err(NotDeleted::Unknown(problem)) => {
            return Err(format!(
                "whether {repository}:{} is deleted is not known: {problem}",
                it.tag
            ));
        }
    };
    // Whatever was answered: what is there now counts.
    Ok(match named().await? {
        None => outcome,
        Some(_) => Outcome::Kept(problem),
    })
}

/// Why a manifest may not be deleted with all its tags: as it was listed, and as its tags are now.
fn by_digest(
    planned: &Planned,
    it: &Going,
    with: &BTreeSet<&str>,
    names: &Names,
) -> Option<String> {
    let mut others = names.iter();
    let other = others.find(|(tag, digest)| **digest == it.digest && !with.contains(&***tag));
    if let Some((other, _)) = other {
        let short = it.digest.short();
        return Some(format!("`{other}` names {short} too, and stays"));
    }
    let is_needed = |digest: &Digest| {
        let mut needed = planned.protection.digests();
        needed.any(|(it, _)| it == digest)
    };
    removal::refusal_by_digest(&planned.graph, it, with, &is_needed)
}

/// Puts a tag back with all manifests below it, and reads that it is there.
pub async fn put_back(asker: &Asker, batch: &Batch, it: &Removed) -> Result<(), String> {
    let client = asker.prover.client();
    let (auth, repository) = (asker.auth, &it.repository);
    let now = client
        .tagged_manifest(auth, repository, &it.tag, None)
        .await;
    let now = now.map_err(|untold| format!("what it names is not known: {}", untold.message))?;
    match now {
        Some(now) if now.digest == it.digest => return Ok(()),
        // Nothing is overwritten.
        Some(other) => {
            return Err(format!(
                "it names {} now, and that is not overwritten",
                other.digest.short()
            ));
        }
        None => {}
    }
    put_tree(asker, repository, batch, it.digest, Some(&it.tag)).await?;
    let now = client
        .tagged_manifest(auth, repository, &it.tag, None)
        .await;
    match now {
        Ok(Some(now)) if now.digest == it.digest => Ok(()),
        Ok(_) => Err("the registry took it, and does not have it".to_owned()),
        Err(untold) => Err(format!(
            "whether it is there is not known: {}",
            untold.message
        )),
    }
}
