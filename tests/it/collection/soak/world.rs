//! What clients were told, and so what must be there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::RwLock;

use super::site::Site;

/// What is known of a tag. Each has one client that changes it, one thing after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tag {
    /// This was acknowledged.
    Is(String),
    /// It is being pushed over: it names this, or something else that is whole.
    Changes,
    /// It is being deleted, or pushed for the first time.
    Unsure,
}

/// Something that has to be there, as it is pulled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) repository: String,
    /// A tag, or a digest.
    pub(super) reference: String,
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.is_digest() { '@' } else { ':' };
        let Self {
            repository,
            reference,
        } = self;
        write!(formatter, "{repository}{separator}{reference}")
    }
}

impl Target {
    pub(super) fn new(repository: &str, reference: &str) -> Self {
        Self {
            repository: repository.to_owned(),
            reference: reference.to_owned(),
        }
    }

    pub(super) fn is_digest(&self) -> bool {
        self.reference.contains(':')
    }
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) pushes: AtomicUsize,
    /// Blobs that a client did not send since the registry said that it has them.
    pub(super) reused: AtomicUsize,
    pub(super) mounted: AtomicUsize,
    /// Pushes that the registry refused, since something was gone that it had said it has.
    pub(super) refused: AtomicUsize,
    pub(super) deleted: AtomicUsize,
    pub(super) deployed: AtomicUsize,
    /// Of those, what no tag named any more.
    pub(super) rolled_back: AtomicUsize,
    pub(super) by_clients: AtomicUsize,
    pub(super) pulls: AtomicUsize,
}

#[derive(Debug)]
pub(super) struct World {
    site: Arc<Site>,
    tags: Mutex<BTreeMap<Target, Tag>>,
    kept: Mutex<BTreeSet<Target>>,
    /// Clients go on.
    is_open: AtomicBool,
    /// The prober goes on.
    is_alive: AtomicBool,
    /// Held by whoever purges: what was to be thrown away when somebody wants it back is not lost by that.
    pub(super) purging: RwLock<()>,
    pub(super) counts: Counts,
}

impl World {
    pub(super) fn new(site: &Arc<Site>) -> Self {
        Self {
            site: Arc::clone(site),
            tags: Mutex::default(),
            kept: Mutex::default(),
            is_open: AtomicBool::new(true),
            is_alive: AtomicBool::new(true),
            purging: RwLock::default(),
            counts: Counts::default(),
        }
    }

    pub(super) fn close(&self) {
        self.is_open.store(false, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.is_alive.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    pub(super) fn is_alive(&self) -> bool {
        self.is_alive.load(Ordering::Relaxed)
    }

    pub(super) fn count(counter: &AtomicUsize) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn pushes(&self) -> usize {
        self.counts.pushes.load(Ordering::Relaxed)
    }

    pub(super) fn tag(&self, target: &Target) -> Option<Tag> {
        self.tags.lock().unwrap().get(target).cloned()
    }

    /// A push to a tag begins.
    pub(super) fn changes(&self, target: &Target) {
        let mut tags = self.tags.lock().unwrap();
        let tag = tags.entry(target.clone()).or_insert(Tag::Unsure);
        if *tag != Tag::Unsure {
            *tag = Tag::Changes;
        }
    }

    /// A push to a tag was acknowledged.
    pub(super) fn acknowledged(&self, target: &Target, digest: &str) {
        let is = Tag::Is(digest.to_owned());
        self.tags.lock().unwrap().insert(target.clone(), is);
        Self::count(&self.counts.pushes);
    }

    /// A push was refused, and the tag names what it did.
    pub(super) fn is_again(&self, target: &Target, digest: &str) {
        let is = Tag::Is(digest.to_owned());
        self.tags.lock().unwrap().insert(target.clone(), is);
    }

    pub(super) fn deleted(&self, target: &Target) {
        self.tags.lock().unwrap().remove(target);
    }

    /// The tags of a repository that name this are about to go.
    pub(super) fn goes(&self, repository: &str, digest: &str) {
        let mut tags = self.tags.lock().unwrap();
        for (target, tag) in tags.iter_mut() {
            if target.repository == repository && *tag == Tag::Is(digest.to_owned()) {
                *tag = Tag::Unsure;
            }
        }
    }

    /// The tags that were about to go are gone.
    pub(super) fn gone(&self, repository: &str, prefix: &str) {
        let mut tags = self.tags.lock().unwrap();
        tags.retain(|target, tag| {
            let is_it = target.repository == repository && target.reference.starts_with(prefix);
            !(is_it && *tag == Tag::Unsure)
        });
    }

    /// This tag is about to go.
    pub(super) fn tag_goes(&self, target: &Target) {
        let mut tags = self.tags.lock().unwrap();
        tags.insert(target.clone(), Tag::Unsure);
    }

    pub(super) fn is_kept(&self, repository: &str, reference: &str) -> bool {
        let kept = self.kept.lock().unwrap();
        kept.contains(&Target::new(repository, reference))
    }

    /// A workload uses it from now on, or does not any more.
    pub(super) fn keep(&self, target: &Target, is_kept: bool) {
        let mut kept = self.kept.lock().unwrap();
        if is_kept {
            kept.insert(target.clone());
        } else {
            kept.remove(target);
        }
        let lines: Vec<String> = kept.iter().map(ToString::to_string).collect();
        self.site.keep(&lines);
    }

    /// All that has to be there now, with its digest where that is certain.
    pub(super) fn needed(&self) -> BTreeMap<Target, Option<String>> {
        let tags = self.tags.lock().unwrap();
        let tags = tags.iter().filter_map(|(target, tag)| match tag {
            Tag::Is(digest) => Some((target.clone(), Some(digest.clone()))),
            Tag::Changes => Some((target.clone(), None)),
            Tag::Unsure => None,
        });
        let mut needed: BTreeMap<_, _> = tags.collect();
        for target in &*self.kept.lock().unwrap() {
            let digest = target.is_digest().then(|| target.reference.clone());
            needed.entry(target.clone()).or_insert(digest);
        }
        needed
    }
}

impl fmt::Display for World {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            pushes,
            reused,
            mounted,
            refused,
            deleted,
            deployed,
            rolled_back,
            by_clients,
            pulls,
        } = &self.counts;
        let told = [
            ("pushes", pushes),
            ("by crane and regctl", by_clients),
            ("blobs reused", reused),
            ("mounted", mounted),
            ("pushes refused and repeated", refused),
            ("deletes", deleted),
            ("deploys", deployed),
            ("rollbacks", rolled_back),
            ("pulls", pulls),
        ];
        let told = told.map(|(name, count)| format!("{} {name}", count.load(Ordering::Relaxed)));
        formatter.write_str(&told.join(", "))
    }
}
