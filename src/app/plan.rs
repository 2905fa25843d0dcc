//! From a registry's storage and what must stay to a plan: lists, reads, looks again, and decides nothing.
//!
//! Nothing is written. Whatever could not be listed or read in full is a refusal, and then there is no plan.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::collection::item::{Class, Item, RunId};
use crate::config::{self, Config, Registry};
use crate::gc::graph::{Builder, Graph, ObjectId, Parsed};
use crate::gc::needed::Needed;
use crate::gc::plan::{self, Plan, Policy};
use crate::gc::refusal::{Code, Refusal};
use crate::inventory::completeness::CompleteInventory;
use crate::inventory::keepset::{KeepSet, LedTo};
use crate::mirrors;
use crate::oci::digest::Digest;
use crate::oci::manifest::MANIFEST_BYTES_MAX;
use crate::oci::reference::Reference;
use crate::second::Second;
use crate::storage::filesystem::Filesystem;
use crate::storage::layout::ROOT;
use crate::storage::owner::{self, Owner};
use crate::storage::s3::S3;
use crate::storage::{Listed, Progress, Seen, Storage, Unlisted};

/// The registry takes pushes away that began so long ago (`storage.maintenance.uploadpurging.age`).
const UPLOAD_LASTS: Duration = Duration::from_hours(168);
/// What was read waits to be put into the graph, and takes more than it does there.
const READ_AT_ONCE: usize = 8192;
/// Of what manifests name and the listing lacks, so much is looked for.
const LOOKS_MAX: usize = 1000;

const MANIFEST_MAX: u64 = MANIFEST_BYTES_MAX as u64;

/// Opens a registry's storage, or says why it cannot be planned for.
pub fn open(storage: &config::Storage) -> Result<Storage, Refusal> {
    let opened = match storage {
        config::Storage::Filesystem(root) => match Filesystem::open(root) {
            Ok(filesystem) => Storage::Filesystem(filesystem),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let problem = if owner::is_zot(root) {
                    Owner::Zot.words().to_owned()
                } else {
                    format!(
                        "no registry keeps its content there: there is no {ROOT} below it; is it the \
                         registry's `rootdirectory`, and mounted?"
                    )
                };
                return Err(unsupported(root.display(), &problem));
            }
            Err(error) => {
                let message = format!("{}: it cannot be opened: {error}", root.display());
                return Err(Refusal::new(Code::ListingIncomplete, message));
            }
        },
        config::Storage::S3(s3) => match S3::new(s3) {
            Ok(s3) => Storage::S3(Box::new(s3), Handle::current()),
            Err(problem) => {
                let message = format!("{}: {problem}", shown(storage));
                return Err(Refusal::new(Code::ListingIncomplete, message));
            }
        },
    };
    match owner::of(&opened) {
        Ok(None) => Ok(opened),
        Ok(Some(owner)) => Err(unsupported(shown(storage), owner.words())),
        Err(error) => {
            let message = format!("{}: it cannot be read: {error}", shown(storage));
            Err(Refusal::new(Code::ListingIncomplete, message))
        }
    }
}

fn unsupported(storage: impl std::fmt::Display, problem: &str) -> Refusal {
    Refusal::new(Code::StorageUnsupported, format!("{storage}: {problem}"))
}

/// Where it is, as people write it.
pub fn shown(storage: &config::Storage) -> String {
    match storage {
        config::Storage::Filesystem(root) => root.display().to_string(),
        config::Storage::S3(s3) => match &*s3.prefix {
            "" => format!("s3://{}", s3.bucket),
            prefix => format!("s3://{}/{prefix}", s3.bucket),
        },
    }
}

/// What must stay, and what speaks against taking anything all the same.
#[derive(Debug)]
pub struct Kept {
    pub needed: Needed,
    pub set: KeepSet,
    /// Of which the set was made: what references led to.
    pub led_to: Vec<LedTo>,
    pub refusals: Vec<Refusal>,
}

/// Reads the bytes of items that runs hold, in their order. It may block.
pub type ReadHeld<'a> = dyn Fn(&[(RunId, &Item)]) -> Vec<io::Result<Vec<u8>>> + Sync + 'a;

/// What is in quarantine, of all runs, and how its bytes are read. It is planned for as if it were live: what
/// would not go then is wanted back.
pub struct Held<'a> {
    pub items: &'a [(RunId, Item)],
    pub read: &'a ReadHeld<'a>,
}

impl std::fmt::Debug for Held<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Held").finish_non_exhaustive()
    }
}

impl Held<'_> {
    /// Where nothing is.
    pub const NONE: Held<'static> = Held {
        items: &[],
        read: &|items| {
            let absent = |_: &_| Err(io::Error::from(io::ErrorKind::NotFound));
            items.iter().map(absent).collect()
        },
    };

    fn add_to(&self, builder: &mut Builder) {
        for (_, item) in self.items {
            let Item {
                class,
                digest,
                modified,
                bytes,
                ..
            } = item;
            let repository = item.repository.as_deref().unwrap_or_default();
            let tag = item.tag.as_deref().unwrap_or_default();
            match class {
                Class::TagHistory => builder.history(repository, tag, *digest, *modified),
                Class::Revision => builder.revision(repository, *digest, *modified),
                Class::LayerLink => builder.layer(repository, *digest, *modified),
                // What is listed too is what counts.
                Class::Manifest | Class::Blob => builder.blob(*digest, *bytes, *modified),
            }
        }
    }

    /// The bytes of those of them that are held, by their digests.
    fn read(&self, digests: &HashSet<Digest>) -> HashMap<Digest, io::Result<Vec<u8>>> {
        let mut found = HashMap::new();
        if !digests.is_empty() {
            for (run, item) in self.items {
                if item.class.is_data() && digests.contains(&item.digest) {
                    found.entry(item.digest).or_insert((*run, item));
                }
            }
        }
        let (digests, items): (Vec<Digest>, Vec<_>) = found.into_iter().unzip();
        digests.into_iter().zip((self.read)(&items)).collect()
    }
}

/// Plans a collection. It blocks: it is for a thread of its own.
pub fn plan(
    storage: &Storage,
    registry: &Registry,
    needed: &Needed,
    now: Timestamp,
    progress: &Progress,
) -> Result<Plan, Refusal> {
    plan_with(storage, registry, needed, &Held::NONE, now, progress)
}

/// The same, with what is in quarantine.
pub fn plan_with(
    storage: &Storage,
    registry: &Registry,
    needed: &Needed,
    held: &Held<'_>,
    now: Timestamp,
    progress: &Progress,
) -> Result<Plan, Refusal> {
    let longest = registry.gc.longest_request;
    let graph = whole(storage, longest, needed, held, progress)?;
    Ok(plan::plan(graph, needed, &policy(registry, now)))
}

/// What there is, all manifests read. It blocks.
pub fn graph(
    storage: &Storage,
    registry: &Registry,
    needed: &Needed,
    progress: &Progress,
) -> Result<Graph, Refusal> {
    let longest = registry.gc.longest_request;
    let mut graph = whole(storage, longest, needed, &Held::NONE, progress)?;
    graph.settle();
    Ok(graph)
}

fn whole(
    storage: &Storage,
    longest: Duration,
    needed: &Needed,
    held: &Held<'_>,
    progress: &Progress,
) -> Result<Graph, Refusal> {
    let mut begun = Instant::now();
    let mut graph = read(storage, needed, held, progress)?;
    let mut unlisted = unlisted(storage, &graph, needed, begun, longest)?;
    if !unlisted.is_empty() {
        // A push may have come in the very second, which a second listing has.
        begun = Instant::now();
        graph = read(storage, needed, held, progress)?;
        unlisted = self::unlisted(storage, &graph, needed, begun, longest)?;
    }
    if let Some(digest) = unlisted.first() {
        let message = format!(
            "the listing does not have {digest}, and a direct look finds it ({} such): what is listed is not \
             all that is there, so what seems unused may be needed; find out why the storage hides it",
            unlisted.len()
        );
        return Err(Refusal::new(Code::ListingIncomplete, message));
    }
    Ok(graph)
}

/// Whether a plan takes more than is usual.
pub fn too_much(plan: &Plan, registry: &Registry) -> Option<Refusal> {
    let counts = plan.counts();
    #[expect(clippy::cast_precision_loss, reason = "percents are compared")]
    let percent = |part: u64, all: u64| 100.0 * part as f64 / all.max(1) as f64;
    let blobs = percent(counts.garbage_blobs as u64, counts.blobs as u64);
    let bytes = percent(counts.garbage_bytes, counts.bytes);
    let limit = registry.gc.alarm_percent;
    (blobs.max(bytes) > limit).then(|| {
        let message = format!(
            "it would take {blobs:.0} % of the blobs and {bytes:.0} % of the bytes, and `gc.alarmPercent` is \
             {limit}; look at what it takes and why before anything does"
        );
        Refusal::new(Code::ShareExceeded, message)
    })
}

/// What must stay of a registry's storage, and the keep-set from which that is known.
pub fn needed(
    config: &Config,
    registry: &Registry,
    complete: &CompleteInventory,
    led_to: Vec<LedTo>,
) -> (Needed, KeepSet) {
    let rules = config.mirrors();
    let endpoints = |reference: &Reference| {
        let others = mirrors::others(&rules, reference).into_iter();
        others.map(|(_, reference)| reference).collect()
    };
    let keep = SignedDuration::try_from(config.inventory.keep_seen);
    let set = KeepSet::with_endpoints(
        complete,
        &config.aliases(),
        &endpoints,
        led_to.into_iter(),
        keep.unwrap_or(SignedDuration::MAX),
    );
    let is_own = |host: &str| config.leads_to(host, registry);
    let needed = Needed::of(&set, &is_own, &|host| config.registry(host).is_some());
    (needed, set)
}

/// What is collected of a registry's storage at a time.
pub fn policy(registry: &Registry, now: Timestamp) -> Policy<'_> {
    let before = |age: Duration| {
        let at = now.checked_sub(age).unwrap_or(Timestamp::MIN);
        Second::from(at)
    };
    Policy {
        repositories: &registry.gc.repositories,
        keeps_untagged: registry.gc.keeps_untagged,
        keeps_tag_history: registry.gc.keeps_tag_history,
        young_after: before(registry.gc.minimum_age),
        pushing_after: before(UPLOAD_LASTS),
        retention: &registry.retention.policies,
        now: now.into(),
    }
}

/// Lists everything and reads the manifests.
fn read(
    storage: &Storage,
    needed: &Needed,
    held: &Held<'_>,
    progress: &Progress,
) -> Result<Graph, Refusal> {
    let mut builder = Builder::default();
    held.add_to(&mut builder);
    let builder = Mutex::new(builder);
    let take = |part: Vec<Listed>| {
        progress.listed.fetch_add(part.len(), Ordering::Relaxed);
        let mut builder = builder.lock().expect("no thread panics with it");
        for found in part {
            builder.add(found);
        }
    };
    storage.list(&take).map_err(|error| {
        let is_absent = error.source.kind() == io::ErrorKind::NotFound;
        if is_absent && owner::is_zots_bucket(storage) {
            unsupported("the bucket", Owner::Zot.words())
        } else {
            refused(&error)
        }
    })?;
    let builder = builder.into_inner().expect("no thread panics with it");
    let mut graph = builder.finish();
    // A bucket is there with nothing in it; a directory would have been missing.
    if matches!(storage, Storage::S3(..)) && graph.objects().len() == 0 && graph.damage().is_empty()
    {
        return Err(unsupported(
            "the bucket",
            &format!(
                "no registry keeps its content there: nothing begins with {ROOT} below the prefix; is it the \
                 registry's `rootdirectory`?"
            ),
        ));
    }
    loop {
        let mut unread = graph.unread(&needed.digests);
        if unread.is_empty() {
            return Ok(graph);
        }
        let size = |id: &ObjectId| graph.object(*id).size().unwrap_or(0);
        let large: Vec<_> = unread
            .extract_if(.., |id| size(id) > MANIFEST_MAX)
            .collect();
        for id in large {
            let size = graph.object(id).size().unwrap_or(0);
            let problem = format!("it has {size} bytes, and a manifest has at most {MANIFEST_MAX}");
            graph.put(id, Err(problem));
        }
        progress.to_read.fetch_add(unread.len(), Ordering::Relaxed);
        for part in unread.chunks(READ_AT_ONCE) {
            read_part(storage, &mut graph, held, part, progress)?;
        }
    }
}

/// Reads some manifests.
fn read_part(
    storage: &Storage,
    graph: &mut Graph,
    held: &Held<'_>,
    part: &[ObjectId],
    progress: &Progress,
) -> Result<(), Refusal> {
    let digests: Vec<Digest> = part.iter().map(|id| graph.object(*id).digest).collect();
    let all = storage.read_each(&digests, MANIFEST_MAX, |at, body| {
        progress.read.fetch_add(1, Ordering::Relaxed);
        let id = *part.get(at).expect("it is one of them");
        parsed(graph, id, body)
    });
    let is_absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let absent = all.iter().filter_map(|one| one.as_ref().err());
    let absent = absent.filter(|(_, error)| is_absent(error));
    let absent = absent.map(|(id, _)| graph.object(*id).digest).collect();
    let mut bodies = held.read(&absent);
    for one in all {
        let one = match one {
            Err((id, error)) if is_absent(&error) => {
                let held = bodies.remove(&graph.object(id).digest);
                parsed(graph, id, held.unwrap_or(Err(error)))
            }
            one => one,
        };
        match one {
            Ok((id, parsed)) => graph.put(id, parsed),
            Err((id, error)) => {
                let digest = graph.object(id).digest;
                let message = if error.kind() == io::ErrorKind::NotFound {
                    format!(
                        "{digest} was listed and is gone: something else is taking content away; stop it, \
                         and try again"
                    )
                } else {
                    format!("{digest} cannot be read: {error}")
                };
                return Err(Refusal::new(Code::ListingIncomplete, message));
            }
        }
    }
    Ok(())
}

fn parsed(
    graph: &Graph,
    id: ObjectId,
    body: io::Result<Vec<u8>>,
) -> Result<(ObjectId, Result<Parsed, String>), (ObjectId, io::Error)> {
    match body {
        Ok(body) => Ok((id, graph.parse(id, &body))),
        // Only this cannot be read: whose it is keeps everything.
        Err(error) if is_damage(&error) => Ok((id, Err(error.to_string()))),
        Err(error) => Err((id, error)),
    }
}

/// Of the content, and not of the way to it.
fn is_damage(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
        || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

fn refused(error: &Unlisted) -> Refusal {
    Refusal::new(Code::ListingIncomplete, error.to_string())
}

/// What the listing does not have and is there: of what is in use, and of what manifests and links name. What
/// a push that ended since it began may have written is no lie of it: a storage tells when bytes were sent, or
/// when that began, and they come to their place at the push's end.
fn unlisted(
    storage: &Storage,
    graph: &Graph,
    needed: &Needed,
    begun: Instant,
    longest_request: Duration,
) -> Result<Vec<Digest>, Refusal> {
    let is_listed = |digest: &Digest| {
        let found = graph.find(digest);
        found.is_some_and(|id| graph.object(id).size().is_some())
    };
    let mut absent: Vec<Digest> = needed.own.iter().copied().collect();
    absent.retain(|digest| !is_listed(digest));
    let foreign = needed.digests.iter().copied();
    let foreign = foreign.filter(|digest| !is_listed(digest) && !needed.own.contains(digest));
    let named = graph.absent();
    absent.extend(spread(named, LOOKS_MAX));
    absent.extend(spread(foreign.collect(), LOOKS_MAX));
    let since = begun.elapsed().saturating_add(longest_request);
    let since = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    let seen = storage.look(&absent).map_err(|error| {
        let message = format!("looking for what the listing lacks failed: {error}");
        Refusal::new(Code::ListingIncomplete, message)
    })?;
    // What is not a whole second is told of neither of its times.
    let is_old = |seen: Seen| seen.age.is_none_or(|age| age.saturating_add(1) >= since);
    let found = absent.into_iter().zip(seen);
    let old = found.filter(|(_, seen)| seen.is_some_and(is_old));
    Ok(old.map(|(digest, _)| digest).collect())
}

/// At most so many, evenly from all of them.
fn spread(all: Vec<Digest>, most: usize) -> impl Iterator<Item = Digest> {
    let step = all.len().div_ceil(most).max(1);
    all.into_iter().step_by(step)
}
