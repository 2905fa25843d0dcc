//! What is to be told now: what is broken against what was.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::limit::Limits;
use super::note::note;
use super::target::{Target, Targets};
use super::{Change, Memory, Pair, ToWrite, Told};
use crate::inventory::{Class, TopOwner};
use crate::metrics::workloads::doubt;
use crate::second::Second;
use crate::state::{ImageState, Snapshot};
use crate::verify::finding::{Code, Verdict};

/// How many broken images of workloads are remembered. Beyond that nothing is told of any more.
const BROKEN_MAX: usize = 200_000;

/// What is to be done about one snapshot.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Each namespace's first before any namespace's second.
    pub write: Vec<ToWrite>,
    /// How many more there would have been.
    pub dropped: usize,
}

/// How one image of one workload stands.
pub(super) struct Stand<'a> {
    /// The worst of all credentials' entries.
    pub(super) image: &'a ImageState,
    /// Since when the last of those that are as bad is so.
    since: Second,
    /// The strongest reason for which it is needed.
    pub(super) class: Class,
    pub(super) containers: BTreeSet<&'a str>,
    source: &'a Arc<str>,
}

/// A change that may be told.
type News<'a> = (Change, &'a Pair, &'a Stand<'a>);

impl Stand<'_> {
    fn key(&self) -> (String, String) {
        (self.source.to_string(), self.image.registry().to_owned())
    }
}

/// Decides about a snapshot. `memory` is then what it has to be once that is done. Who may not write, since another
/// process does, remembers all the same, as if it had told: it may be its turn next.
pub fn decide(
    memory: &mut Memory,
    limits: &mut Limits,
    snapshot: &Snapshot,
    targets: &Targets,
    may_write: bool,
) -> Decision {
    let (stands, unread) = stands(memory, snapshot, targets);
    let mut news = Vec::new();
    for (pair, stand) in &stands {
        let before = memory.broken.get(pair).copied();
        match (stand.image.verdict(), before) {
            // A broken verdict stands until a proof.
            (Verdict::Broken, Some(_)) | (Verdict::Unknown, _) | (Verdict::Pullable, None) => {}
            (Verdict::Broken, None) if memory.broken.len() >= BROKEN_MAX => {}
            (Verdict::Broken, None) => {
                let is_news =
                    memory.settled.contains(&stand.key()) && is_told_of(snapshot, pair, stand);
                let told = if is_news { Told::Told } else { Told::Silent };
                memory.broken.insert(pair.clone(), told);
                if is_news {
                    news.push((Change::Breaks, pair, stand));
                }
            }
            (Verdict::Pullable, Some(told)) => {
                memory.broken.remove(pair);
                if told == Told::Told && is_told_of(snapshot, pair, stand) {
                    news.push((Change::Heals, pair, stand));
                }
            }
        }
    }
    forget_what_is_gone(memory, snapshot, targets, &stands);
    settle(memory, snapshot, targets, &unread);
    if !may_write {
        return Decision::default();
    }
    let mut write = Vec::new();
    let mut dropped = 0;
    limits.forget(snapshot.at);
    for (change, pair, stand) in in_turn(news) {
        if limits.take(pair, snapshot.at) {
            write.push(ToWrite {
                pair: pair.clone(),
                change,
                since: stand.since,
                note: note(change, &pair.image, stand),
            });
            continue;
        }
        dropped += 1;
        // Nobody was told that it broke, so nobody is told that it healed.
        if let Some(told) = memory.broken.get_mut(pair) {
            *told = Told::Silent;
        }
    }
    Decision { write, dropped }
}

/// The one place that says of which workloads Events tell at all: not of those whose people asked for silence.
fn is_told_of(snapshot: &Snapshot, pair: &Pair, stand: &Stand<'_>) -> bool {
    let is_ignored = snapshot.marks.of(&pair.owner).ignored().is_some();
    !is_ignored && !stand.image.is_known
}

/// The workload needs it to run, or to go back. Of what a list or a memory names nobody looks at an object.
fn is_workloads(class: Class) -> bool {
    match class {
        Class::Runtime | Class::Failover | Class::Rollback => true,
        Class::Listed | Class::Remembered | Class::Mentioned => false,
    }
}

/// Those that are broken or were, and the sources with registries of which something was not looked at yet.
fn stands<'a>(
    memory: &Memory,
    snapshot: &'a Snapshot,
    targets: &'a Targets,
) -> (BTreeMap<Pair, Stand<'a>>, HashSet<(&'a str, &'a str)>) {
    let remembered: HashSet<&str> = memory.broken.keys().map(|pair| &*pair.image).collect();
    let mut stands = BTreeMap::new();
    let mut unread = HashSet::new();
    // Most workloads have several containers with one image each, and are looked up once.
    let mut found: HashMap<*const TopOwner, Option<&'a Target>> = HashMap::new();
    for images in snapshot.by_reference() {
        let is_unread = |image: &ImageState| {
            image.verdict() == Verdict::Unknown && doubt(&image.report) == Code::NeverChecked
        };
        let counts = |image: &Arc<ImageState>| {
            image.verdict() == Verdict::Broken
                || is_unread(image)
                || remembered.contains(image.reference())
        };
        if !images.iter().any(counts) {
            continue;
        }
        for image in images {
            let users = image.users().iter();
            for user in users.filter(|user| is_workloads(user.class)) {
                let target = *found
                    .entry(Arc::as_ptr(&user.owner))
                    .or_insert_with(|| targets.of(&user.owner));
                let Some(target) = target else {
                    continue;
                };
                if is_unread(image) {
                    unread.insert((&*target.source, image.registry()));
                }
                let pair = Pair {
                    owner: Arc::clone(&user.owner),
                    image: image.reference().into(),
                };
                let since = since(image, snapshot.at);
                let stand = stands.entry(pair).or_insert_with(|| Stand {
                    image,
                    since,
                    class: user.class,
                    containers: BTreeSet::new(),
                    source: &target.source,
                });
                stand.class = stand.class.min(user.class);
                stand.containers.insert(&user.container);
                match image.verdict().cmp(&stand.image.verdict()) {
                    Ordering::Less => {}
                    Ordering::Equal => stand.since = stand.since.max(since),
                    Ordering::Greater => (stand.image, stand.since) = (image, since),
                }
            }
        }
    }
    (stands, unread)
}

/// Since when an image is what it is. Where several endpoints have it, that is known of each, and not of all together.
fn since(image: &ImageState, now: Timestamp) -> Second {
    if image.endpoints().is_empty() {
        image.since
    } else {
        now.into()
    }
}

/// What a cluster does not name any more, once it was read in full: an error is no reason to forget, and then to
/// tell again.
fn forget_what_is_gone(
    memory: &mut Memory,
    snapshot: &Snapshot,
    targets: &Targets,
    stands: &BTreeMap<Pair, Stand<'_>>,
) {
    let is_complete = |source: &str| {
        let mut sources = snapshot.sources.iter();
        sources.any(|it| *it.name == *source && it.incomplete.is_none())
    };
    let complete: HashMap<&Option<Arc<str>>, bool> = targets
        .clusters
        .iter()
        .map(|target| (&target.cluster, is_complete(&target.source)))
        .collect();
    memory.broken.retain(|pair, _| {
        stands.contains_key(pair) || complete.get(&pair.owner.cluster) == Some(&false)
    });
}

/// From now on what breaks is news, where all that was there has been looked at.
fn settle(
    memory: &mut Memory,
    snapshot: &Snapshot,
    targets: &Targets,
    unread: &HashSet<(&str, &str)>,
) {
    let is_target = |name: &str| targets.clusters.iter().any(|it| *it.source == *name);
    let sources = snapshot.sources.iter();
    let sources = sources.filter(|source| is_target(&source.name) && !source.is_awaited);
    let registries = snapshot.images.iter().map(|it| it.registry());
    // What is no reference has a registry without a name, and needs no look.
    let registries: BTreeSet<&str> = registries.chain([""]).collect();
    for source in sources {
        for registry in &registries {
            if !unread.contains(&(&*source.name, registry)) {
                let key = (source.name.to_string(), (*registry).to_owned());
                memory.settled.insert(key);
            }
        }
    }
    let is_there = |(source, registry): &(String, String)| {
        is_target(source) && registries.contains(&**registry)
    };
    // Until the inventory is there, nothing is known to be gone.
    if snapshot.is_ready {
        memory.settled.retain(is_there);
    }
}

/// Each namespace's first one, then each one's second: where only some may be told, everybody is told something.
fn in_turn<'a>(mut news: Vec<News<'a>>) -> Vec<News<'a>> {
    // They come in order of their names; what breaks goes before what heals.
    news.sort_by_key(|(change, ..)| *change);
    let mut ranks: HashMap<(Option<Arc<str>>, Arc<str>), usize> = HashMap::new();
    let rank = |it: News<'a>| {
        let owner = &it.1.owner;
        let namespace = (owner.cluster.clone(), Arc::clone(&owner.namespace));
        let rank = ranks.entry(namespace).or_default();
        *rank += 1;
        (*rank, it)
    };
    let mut ranked: Vec<(usize, News<'a>)> = news.into_iter().map(rank).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, it)| it).collect()
}
