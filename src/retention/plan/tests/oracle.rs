//! Random registries and policies, planned again by what the words say and without any of the algorithm: sets
//! of texts, and everything looked at again until nothing changes.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::retention::pattern::TagPattern;

/// So many images there are to be tagged, and indexes.
const IMAGES: usize = 6;
const INDEXES: usize = 4;
const NAMES: [&str; 9] = [
    "latest", "1.2.3", "v2.0.0", "main-1", "main-2", "dev", "pr-7", "8f3a", "nightly",
];
const REPOSITORIES: [&str; 3] = ["team/app", "team/web", "sandbox"];
const FITS: [&str; 4] = ["**", "team/*", "sandbox", "team/web"];
const TAGS: [&str; 5] = ["*", "main-*", "/[0-9].*/", "/pr-[0-9]+|dev/", "v*"];
/// Compiling them takes longer than planning.
static PATTERNS: LazyLock<Vec<TagPattern>> =
    LazyLock::new(|| TAGS.iter().map(|it| it.parse().unwrap()).collect());

#[derive(Debug, Clone)]
struct Scene {
    /// Of each index its children: images, and indexes before it.
    indexes: Vec<Vec<usize>>,
    /// What an image refers to, by its subject.
    subjects: Vec<Option<usize>>,
    tags: Vec<TagOf>,
    /// By repository: what is linked without a tag.
    revisions: Vec<(usize, usize)>,
    needed_tags: Vec<(usize, usize)>,
    needed_digests: Vec<usize>,
    policies: Vec<(usize, Vec<RuleOf>, bool)>,
}

#[derive(Debug, Clone)]
struct TagOf {
    repository: usize,
    /// A name, or a signature of something.
    name: Result<usize, usize>,
    manifest: usize,
    pushed: i64,
}

#[derive(Debug, Clone)]
struct RuleOf {
    tags: Option<usize>,
    except: Option<usize>,
    newest: Option<u32>,
    younger: Option<u64>,
}

fn scene() -> impl Strategy<Value = Scene> {
    let all = IMAGES + INDEXES;
    let children = |at: usize| prop::collection::vec(0..IMAGES + at, 0..4);
    let indexes: Vec<_> = (0..INDEXES).map(children).collect();
    let subject = |at: usize| prop::option::weighted(0.2, 0..at.max(1));
    let subjects: Vec<_> = (0..IMAGES).map(subject).collect();
    let name = prop_oneof![
        4 => (0..NAMES.len()).prop_map(Ok),
        1 => (0..all).prop_map(Err),
    ];
    let tag = (0..REPOSITORIES.len(), name, 0..all, 900..=TODAY);
    let tag = tag.prop_map(|(repository, name, manifest, pushed)| TagOf {
        repository,
        name,
        manifest,
        pushed,
    });
    let rule = (
        prop::option::of(0..TAGS.len()),
        prop::option::weighted(0.2, 0..TAGS.len()),
        prop::option::of(1..4_u32),
        prop::option::of(0..120_u64),
    );
    let rule = rule.prop_map(|(tags, except, newest, younger)| RuleOf {
        tags,
        except,
        newest,
        younger,
    });
    let policy = (
        0..FITS.len(),
        prop::collection::vec(rule, 1..3),
        any::<bool>(),
    );
    let parts = (
        indexes,
        subjects,
        prop::collection::vec(tag, 0..16),
        prop::collection::vec((0..REPOSITORIES.len(), 0..all), 0..4),
        prop::collection::vec((0..REPOSITORIES.len(), 0..NAMES.len()), 0..3),
        prop::collection::vec(0..all, 0..2),
        prop::collection::vec(policy, 1..3),
    );
    parts.prop_map(|parts| {
        let (indexes, subjects, tags, revisions, needed_tags, needed_digests, policies) = parts;
        Scene {
            indexes,
            subjects,
            tags,
            revisions,
            needed_tags,
            needed_digests,
            policies,
        }
    })
}

/// A repository and a tag of it.
type Key = (String, String);

/// What was made of a scene.
struct Made {
    graph: Graph,
    protection: Protection,
    policies: Vec<Policy>,
    /// By number: images, then indexes.
    digests: Vec<Digest>,
    /// What each names, and when it was pushed.
    tags: BTreeMap<Key, (Digest, i64)>,
    children: BTreeMap<Digest, Vec<Digest>>,
    subject: BTreeMap<Digest, Digest>,
    needed_tags: BTreeSet<Key>,
    needed_digests: BTreeSet<Digest>,
}

fn made(scene: &Scene) -> Made {
    let mut shop = Shop::default();
    let mut digests: Vec<Digest> = Vec::new();
    let (mut children, mut subject) = (BTreeMap::new(), BTreeMap::new());
    for (at, of) in scene.subjects.iter().enumerate() {
        let of = of.and_then(|of| digests.get(of).copied());
        let digest = shop.image(&format!("image {at}"), of);
        subject.extend(of.map(|of| (digest, of)));
        digests.push(digest);
    }
    for (at, of) in scene.indexes.iter().enumerate() {
        let mut below: Vec<Digest> = of.iter().map(|child| digests[*child]).collect();
        below.sort_unstable();
        below.dedup();
        // No two indexes are the same.
        below.push(shop.image(&format!("of index {at}"), None));
        let digest = shop.index(&below);
        children.insert(digest, below);
        digests.push(digest);
    }
    let mut tags = BTreeMap::new();
    for tag in &scene.tags {
        let repository = REPOSITORIES[tag.repository];
        let name = match tag.name {
            Ok(name) => NAMES[name].to_owned(),
            Err(subject) => format!("sha256-{}.sig", digests[subject].hex()),
        };
        let key = (repository.to_owned(), name.clone());
        let of = (digests[tag.manifest], tag.pushed);
        if let Entry::Vacant(new) = tags.entry(key) {
            shop.tag(repository, &name, of.0, of.1);
            new.insert(of);
        }
    }
    for (repository, manifest) in &scene.revisions {
        shop.revision(REPOSITORIES[*repository], digests[*manifest]);
    }
    let needed = scene.needed_tags.iter();
    let needed_tags: BTreeSet<Key> = needed
        .map(|(repository, name)| (REPOSITORIES[*repository].into(), NAMES[*name].into()))
        .collect();
    let pinned = scene.needed_digests.iter();
    let needed_digests: BTreeSet<Digest> = pinned.map(|at| digests[*at]).collect();
    let tagged = needed_tags.iter();
    let tagged = tagged.map(|(repository, tag)| format!("{HOST}/{repository}:{tag}"));
    let pinned = needed_digests.iter();
    let pinned = pinned.map(|it| format!("{HOST}/elsewhere@{it}"));
    let references: Vec<String> = tagged.chain(pinned).collect();
    let pattern = |at: usize| PATTERNS[at].clone();
    let rule = |of: &RuleOf| Rule {
        tags: of.tags.map(pattern).into_iter().collect(),
        except: of.except.map(pattern).into_iter().collect(),
        newest: of.newest,
        younger_than: of.younger.map(|days| Duration::from_hours(24 * days)),
        used_within: None,
    };
    let policies = scene.policies.iter();
    let policies = policies.map(|(fits, rules, keeps_latest)| Policy {
        keeps_latest: *keeps_latest,
        immutable: vec!["nightly".parse().unwrap()],
        ..policy(FITS[*fits], rules.iter().map(rule).collect())
    });
    Made {
        policies: policies.collect(),
        graph: shop.graph(),
        protection: protection(&references.join("\n")),
        digests,
        tags,
        children,
        subject,
        needed_tags,
        needed_digests,
    }
}

impl Made {
    fn below(&self, digest: &Digest) -> BTreeSet<Digest> {
        let mut all = BTreeSet::new();
        for child in self.children.get(digest).into_iter().flatten() {
            all.insert(*child);
            all.extend(self.below(child));
        }
        all
    }

    /// All that some roots lead to, and they themselves.
    fn reach(&self, roots: impl Iterator<Item = Digest>) -> BTreeSet<Digest> {
        let mut all = BTreeSet::new();
        for root in roots {
            all.extend(self.below(&root));
            all.insert(root);
        }
        all
    }

    fn named<'a>(&'a self, keys: &'a BTreeSet<Key>) -> impl Iterator<Item = Digest> + 'a {
        keys.iter().map(|key| self.tags[key].0)
    }

    fn is_needed(&self, key: &Key, digest: &Digest) -> bool {
        let tree = self.reach([*digest].into_iter());
        self.needed_tags.contains(key) || !tree.is_disjoint(&self.needed_digests)
    }

    /// What a tag is a signature of, by its name.
    fn signed(&self, tag: &str) -> Option<Digest> {
        let mut digests = self.digests.iter();
        digests
            .find(|it| tag == format!("sha256-{}.sig", it.hex()))
            .copied()
    }

    /// Whether a rule keeps a tag, by counting.
    fn is_kept_by(&self, rule: &Rule, key: &Key) -> bool {
        let (digest, pushed) = self.tags[key];
        let selected = |tag: &str| rule.selects(tag) && self.signed(tag).is_none();
        if !selected(&key.1) {
            return false;
        }
        let others = self.tags.iter();
        let others: Vec<_> = others
            .filter(|((repository, tag), _)| *repository == key.0 && selected(tag))
            .collect();
        // An image is as new as the newest tag that names it.
        let rank = |of: Digest| {
            let own = others.iter().filter(|(_, (it, _))| *it == of);
            own.map(|((_, tag), (_, pushed))| (*pushed, tag.clone()))
                .max()
        };
        let images: BTreeSet<Digest> = others.iter().map(|(_, (it, _))| *it).collect();
        let newer = images.iter().filter(|it| rank(**it) > rank(digest)).count();
        let is_newest = rule.newest.is_none_or(|most| newer < most as usize);
        let age = u64::try_from(TODAY - pushed).unwrap() * 86_400;
        is_newest && rule.younger_than.is_none_or(|long| age < long.as_secs())
    }

    /// The tags that stay by themselves, and what each other follows, if it follows something.
    fn directly(&self) -> (BTreeSet<Key>, BTreeMap<Key, Digest>) {
        let (mut stays, mut follows) = (BTreeSet::new(), BTreeMap::new());
        for (key, (digest, _)) in &self.tags {
            let policy = self.policies.iter().find(|it| it.has(&key.0));
            let fits = |patterns: &[TagPattern]| patterns.iter().any(|it| it.matches(&key.1));
            let stays_anyway = policy.is_none_or(|policy| {
                self.is_needed(key, digest)
                    || (policy.keeps_latest && key.1 == "latest")
                    || fits(&policy.immutable)
            });
            let Some(policy) = policy.filter(|_| !stays_anyway) else {
                stays.insert(key.clone());
                continue;
            };
            if let Some(subject) = self.signed(&key.1) {
                follows.insert(key.clone(), subject);
            } else if fits(&policy.releases)
                || policy.keep.iter().any(|rule| self.is_kept_by(rule, key))
            {
                stays.insert(key.clone());
            }
        }
        (stays, follows)
    }

    /// The tags that stay, by looking at all of them until nothing changes.
    fn stays(&self) -> BTreeSet<Key> {
        let (mut stays, follows) = self.directly();
        let with_subjects = |stays: &mut BTreeSet<Key>| loop {
            let before = stays.len();
            let roots = self.named(stays).chain(self.needed_digests.iter().copied());
            let reached = self.reach(roots);
            for (key, (digest, _)) in &self.tags {
                let of = [follows.get(key), self.subject.get(digest)];
                // By its name first: who is called a signature of one is nobody else's.
                if of
                    .into_iter()
                    .flatten()
                    .take(1)
                    .any(|of| reached.contains(of))
                {
                    stays.insert(key.clone());
                }
            }
            if stays.len() == before {
                return reached;
            }
        };
        let reached = with_subjects(&mut stays);
        // What is left of the signatures goes if its image does.
        let mut goes: BTreeSet<Key> = self.tags.keys().cloned().collect();
        goes.retain(|key| !stays.contains(key) && !follows.contains_key(key));
        loop {
            let before = goes.len();
            let lost = self.reach(self.named(&goes));
            let lost: BTreeSet<Digest> = lost.difference(&reached).copied().collect();
            let follows = follows.iter().filter(|(key, _)| !stays.contains(*key));
            let more: Vec<Key> = follows
                .filter(|(_, subject)| lost.contains(*subject))
                .map(|(key, _)| key.clone())
                .collect();
            goes.extend(more);
            if goes.len() == before {
                break;
            }
        }
        // Else it stays, and whatever belongs to it.
        let left: Vec<Key> = follows.keys().cloned().collect();
        stays.extend(left.into_iter().filter(|key| !goes.contains(key)));
        with_subjects(&mut stays);
        self.with_guards(&stays)
    }

    fn with_guards(&self, stays: &BTreeSet<Key>) -> BTreeSet<Key> {
        let mut all = stays.clone();
        for repository in REPOSITORIES {
            let mut children = BTreeSet::new();
            for key in stays.iter().filter(|key| key.0 == repository) {
                children.extend(self.below(&self.tags[key].0));
            }
            let mut repositories = self.graph.repositories();
            let found = repositories.find(|(_, it)| &*it.name == repository);
            for link in found.iter().flat_map(|(_, it)| &it.revisions) {
                let digest = self.graph.object(link.object).digest;
                if self.needed_digests.contains(&digest) {
                    children.extend(self.below(&digest));
                }
            }
            for child in children {
                let direct = self.tags.iter().filter(|(key, _)| key.0 == repository);
                let direct: Vec<_> = direct.filter(|(_, (it, _))| *it == child).collect();
                if direct.iter().any(|(key, _)| stays.contains(*key)) {
                    continue;
                }
                let newest = direct
                    .iter()
                    .max_by_key(|(key, (_, pushed))| (*pushed, &key.1));
                all.extend(newest.map(|(key, _)| (*key).clone()));
            }
        }
        all
    }
}

/// Plans a scene twice, and compares.
fn check(scene: &Scene) -> Result<(), TestCaseError> {
    let made = made(scene);
    let plan = planned(&made.graph, &made.protection, &made.policies);
    let going = plan.going.iter();
    let going: BTreeSet<Key> = going
        .map(|it| (it.repository.to_string(), it.tag.to_string()))
        .collect();
    for key in &going {
        let digest = &made.tags[key].0;
        prop_assert!(!made.is_needed(key, digest), "{key:?} is needed");
    }
    let stays = made.stays();
    let all: BTreeSet<Key> = made.tags.keys().cloned().collect();
    let expected: BTreeSet<_> = all.difference(&stays).cloned().collect();
    prop_assert_eq!(&going, &expected);
    prop_assert_eq!(plan.staying.len(), stays.len());
    // What is counted of a tag that goes, nothing that stays leads to.
    let kept = made.named(&stays);
    let kept = made.reach(kept.chain(made.needed_digests.iter().copied()));
    for it in &plan.going {
        let is_kept = kept.contains(&it.digest);
        prop_assert!(!is_kept || it.bytes == 0, "{} {}", it.tag, it.bytes);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn what_goes_is_what_the_words_say(scene in scene()) {
        check(&scene)?;
    }
}
