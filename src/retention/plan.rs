//! Which tags would go, and why each other one stays. Pure.
//!
//! In this order: what is needed stays; what nobody may decide about stays; then the policies say what more
//! stays; then what belongs to what stays does too. What is left goes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::class::Class;
use super::policy::{LATEST, Policy, Rule};
use super::protection::Protection;
use crate::config::duration;
use crate::gc::graph::{Graph, Names, Node, ObjectId, Repository, Tag, position};
use crate::oci::digest::{Digest, Hasher};
use crate::oci::referrer::DigestTag;
use crate::second::Second;

mod bytes;

/// Digits of a plan's ID.
const ID_LENGTH: usize = 16;

/// From when a tag's age counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// When its link was written, as the storage tells.
    Pushed,
    /// When pullproof saw it first with what it names.
    FirstSeen,
}

impl Since {
    fn words(self) -> &'static str {
        match self {
            Self::Pushed => "pushed",
            Self::FirstSeen => "first seen",
        }
    }
}

/// Of what it is made.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// What there is, settled; the time of what a tag names is that of its history.
    pub graph: &'a Graph,
    pub protection: &'a Protection,
    pub policies: &'a [Policy],
    /// Repositories about which something is not known, each with what that is.
    pub doubts: &'a BTreeMap<Box<str>, String>,
    pub since: Since,
    pub now: Timestamp,
}

/// A tag that would go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Going {
    pub repository: Arc<str>,
    pub tag: Arc<str>,
    pub digest: Digest,
    /// In seconds; of what has no time, none has passed.
    pub age: u64,
    /// What only it leads to, and what those before it in the plan do not: of its image and all below it.
    pub bytes: u64,
    /// The place of the policy.
    pub policy: usize,
    pub reason: String,
}

/// A tag that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staying {
    pub repository: Arc<str>,
    pub tag: Arc<str>,
    /// `None` where nobody can say what it names.
    pub digest: Option<Digest>,
    /// The strongest first; at least one.
    pub classes: BTreeSet<Class>,
    pub reason: String,
}

/// A repository of which nothing goes, since something about it is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftAlone {
    pub repository: Arc<str>,
    pub reason: String,
}

/// Which tags would go. All in order of repositories and tags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub going: Vec<Going>,
    pub staying: Vec<Staying>,
    pub left_alone: Vec<LeftAlone>,
}

impl Plan {
    /// A digest of what would go of a registry by these policies, shortened.
    pub fn id(&self, host: &str, policies: &[Policy]) -> String {
        let hashes: Vec<String> = policies.iter().map(Policy::hash).collect();
        let mut hasher = Hasher::default();
        hasher.update(host.as_bytes());
        for it in &self.going {
            let policy = hashes.get(it.policy).map_or("", String::as_str);
            let line = format!("\n{} {} {} {policy}", it.repository, it.tag, it.digest);
            hasher.update(line.as_bytes());
        }
        let id = hasher.finish().hex();
        id.get(..ID_LENGTH).unwrap_or_default().to_owned()
    }

    /// What all of it would free.
    pub fn bytes(&self) -> u64 {
        self.going.iter().map(|it| it.bytes).sum()
    }

    /// How many tags stay of each class, each counted by its strongest.
    pub fn by_class(&self) -> BTreeMap<Class, usize> {
        let mut counts = BTreeMap::new();
        for class in self.staying.iter().filter_map(|it| it.classes.first()) {
            *counts.entry(*class).or_default() += 1;
        }
        counts
    }
}

/// Plans which tags go.
pub fn plan(input: &Input<'_>) -> Plan {
    let mut planning = Planning::of(input);
    planning.directly();
    planning.with_what_stays();
    planning.with_what_goes();
    planning.guards();
    planning.told()
}

/// What was decided about a tag so far.
#[derive(Debug, Clone)]
enum Fate {
    Stays {
        classes: BTreeSet<Class>,
        reason: String,
    },
    Goes {
        reason: String,
    },
    /// It goes with its subject, or stays with it.
    Follows(ObjectId),
}

impl Fate {
    fn stays(class: Class, reason: impl Into<String>) -> Self {
        Self::Stays {
            classes: BTreeSet::from([class]),
            reason: reason.into(),
        }
    }
}

/// A tag by the places of its repository and its own.
type Place = (usize, usize);

struct Planning<'a> {
    input: &'a Input<'a>,
    repositories: Vec<&'a Repository>,
    /// The policy of each.
    policies: Vec<Option<usize>>,
    left: BTreeMap<usize, String>,
    fates: Vec<Vec<Fate>>,
    /// What is needed by its digest, or leads to that.
    needed: HashMap<ObjectId, (BTreeSet<Class>, &'a str)>,
    /// What is needed itself.
    roots: HashSet<ObjectId>,
    /// Led to by a tag that stays, by what is needed, or by what belongs to that; of whatever repository.
    stays: Vec<bool>,
    /// Led to by a tag that goes.
    goes: Vec<bool>,
    /// The tags that refer to each object.
    referring: HashMap<ObjectId, Vec<Place>>,
}

impl<'a> Planning<'a> {
    fn of(input: &'a Input<'a>) -> Self {
        let graph = input.graph;
        let repositories: Vec<_> = graph.repositories().map(|(_, it)| it).collect();
        let policy = |it: &&Repository| {
            let mut policies = input.policies.iter();
            policies.position(|policy| policy.has(&it.name))
        };
        Self {
            input,
            policies: repositories.iter().map(policy).collect(),
            repositories,
            left: BTreeMap::new(),
            fates: Vec::new(),
            roots: roots(graph, input.protection),
            needed: needed(graph, input.protection),
            stays: vec![false; graph.objects().len()],
            goes: vec![false; graph.objects().len()],
            referring: HashMap::new(),
        }
    }

    /// What can be told of each tag by itself and its repository's others.
    fn directly(&mut self) {
        let policies = self.input.policies;
        for (at, repository) in self.repositories.clone().into_iter().enumerate() {
            let policy = self.policies.get(at).copied().flatten();
            let left = policy.and_then(|_| self.doubt(repository));
            let fates = match (policy.and_then(|at| policies.get(at)), &left) {
                (None, _) => self.kept_all(repository, "no policy is for its repository"),
                (Some(_), Some(reason)) => self.kept_all(repository, reason),
                (Some(policy), None) => self.by_policy(repository, policy),
            };
            self.left.extend(left.map(|reason| (at, reason)));
            for (tag_at, tag) in repository.tags.iter().enumerate() {
                if let Some(subject) = self.subject(tag) {
                    let referring = self.referring.entry(subject).or_default();
                    referring.push((at, tag_at));
                }
            }
            self.fates.push(fates);
        }
    }

    /// Why nobody may decide about a repository.
    fn doubt(&self, repository: &Repository) -> Option<String> {
        if let Some(doubt) = self.input.doubts.get(&*repository.name) {
            return Some(doubt.clone());
        }
        if let Some(reference) = self.input.protection.foreign(&repository.name) {
            return Some(format!(
                "`{reference}` may mean it, and no entry of `registries` has that host: add one, or name it as an \
                 alias"
            ));
        }
        if let Some(damage) = repository.damage.first() {
            return Some(format!("{}: {}", damage.path, damage.problem));
        }
        let unread = repository.tags.iter().find(|tag| {
            let node = tag
                .current
                .and_then(|current| self.input.graph.node(current));
            !matches!(node, Some(Node::Read(_)))
        });
        unread.map(|tag| format!("what the tag `{}` names cannot be read", tag.name))
    }

    /// Nothing of it goes; what somebody needs is told all the same.
    fn kept_all(&self, repository: &Repository, reason: &str) -> Vec<Fate> {
        let tags = repository.tags.iter();
        let fates = tags.map(|tag| {
            let needed = self.need(repository, tag);
            needed.unwrap_or_else(|| Fate::stays(Class::Retained, reason))
        });
        fates.collect()
    }

    fn by_policy(&self, repository: &Repository, policy: &Policy) -> Vec<Fate> {
        let mut by_rule = self.by_rules(repository, policy);
        let tags = repository.tags.iter().enumerate();
        let fates = tags.map(|(at, tag)| {
            if let Some(needed) = self.need(repository, tag) {
                return needed;
            }
            let fits = |patterns: &[super::pattern::TagPattern]| {
                let fitting = patterns.iter().find(|it| it.matches(&tag.name));
                fitting.map(|it| it.as_str().to_owned())
            };
            if policy.keeps_latest && &*tag.name == LATEST {
                return Fate::stays(Class::Release, "it is `latest`");
            }
            if let Some(pattern) = fits(&policy.immutable) {
                let reason = format!("it is immutable (`{pattern}`)");
                return Fate::stays(Class::Retained, reason);
            }
            if let Some(subject) = self.digest_tag(tag) {
                return Fate::Follows(subject);
            }
            if let Some(pattern) = fits(&policy.releases) {
                let reason = format!("it looks like a release (`{pattern}`)");
                return Fate::stays(Class::Release, reason);
            }
            match by_rule.remove(&at) {
                Some(rule) => Fate::stays(Class::Retained, format!("kept by `{rule}`")),
                None => Fate::Goes {
                    reason: format!(
                        "{} {} ago; nothing needs it, and no rule keeps it",
                        self.input.since.words(),
                        days(self.age(tag))
                    ),
                },
            }
        });
        fates.collect()
    }

    /// Who needs a tag, by its name or by what it leads to.
    fn need(&self, repository: &Repository, tag: &Tag) -> Option<Fate> {
        let by_name = self.input.protection.tag(&repository.name, &tag.name);
        let by_digest = tag.current.and_then(|current| self.needed.get(&current));
        let mut classes = BTreeSet::new();
        classes.extend(by_name.into_iter().flat_map(|need| &need.classes).copied());
        classes.extend(
            by_digest
                .into_iter()
                .flat_map(|(classes, _)| classes)
                .copied(),
        );
        let reason = match (by_name, by_digest) {
            (Some(need), _) => format!("`{}` is needed", need.reference),
            (None, Some((_, reference))) => {
                format!("`{reference}` is needed, and leads to the same content")
            }
            (None, None) => return None,
        };
        Some(Fate::Stays { classes, reason })
    }

    /// The first rule that keeps each tag, in words.
    fn by_rules(&self, repository: &Repository, policy: &Policy) -> HashMap<usize, String> {
        let mut kept = HashMap::new();
        for rule in &policy.keep {
            let tags = repository.tags.iter().enumerate();
            let mut selected: Vec<(usize, &Tag)> = tags
                .filter(|(_, tag)| rule.selects(&tag.name) && self.digest_tag(tag).is_none())
                .collect();
            self.narrow(rule, &mut selected);
            for (at, _) in selected {
                kept.entry(at).or_insert_with(|| rule.text());
            }
        }
        kept
    }

    fn narrow(&self, rule: &Rule, selected: &mut Vec<(usize, &'a Tag)>) {
        if let Some(newest) = rule.newest {
            // The newest first; what has no time is of now.
            selected.sort_by_key(|(_, tag)| std::cmp::Reverse((rank(tag), &tag.name)));
            let mut images: HashSet<ObjectId> = HashSet::new();
            let mut last = None;
            // All that were seen first in one look are equally new as far as anybody knows: of them none is
            // chosen by its name.
            let is_told = self.input.since == Since::Pushed;
            for (_, tag) in &*selected {
                if images.len() < newest as usize || (!is_told && last == Some(rank(tag))) {
                    images.extend(tag.current);
                    last = Some(rank(tag));
                }
            }
            selected.retain(|(_, tag)| tag.current.is_some_and(|it| images.contains(&it)));
        }
        if let Some(younger) = rule.younger_than {
            selected.retain(|(_, tag)| self.age(tag) < younger.as_secs());
        }
        if rule.used_within.is_some() {
            // What was seen in use for as long as that is remembered is needed, and stays before any rule.
            selected.clear();
        }
    }

    /// In seconds.
    fn age(&self, tag: &Tag) -> u64 {
        let now = self.input.now.as_second();
        let age = time(tag).map_or(0, |since| now.saturating_sub(since.get()));
        u64::try_from(age).unwrap_or(0)
    }

    /// The image that a tag is a signature of by its name, where that is stored.
    fn digest_tag(&self, tag: &Tag) -> Option<ObjectId> {
        let subject = self
            .input
            .graph
            .find(&DigestTag::parse(&tag.name)?.subject)?;
        self.input.graph.object(subject).size().map(|_| subject)
    }

    /// What a tag refers to, by its name or by its manifest.
    fn subject(&self, tag: &Tag) -> Option<ObjectId> {
        let names = tag
            .current
            .and_then(|current| self.input.graph.names(current));
        self.digest_tag(tag).or(names.and_then(Names::subject))
    }

    /// Everything that what stays leads to, and what refers to that.
    fn with_what_stays(&mut self) {
        let fates = self.fates.iter().zip(&self.repositories);
        let tags = fates.flat_map(|(fates, repository)| fates.iter().zip(&repository.tags));
        let staying = tags.filter(|(fate, _)| matches!(fate, Fate::Stays { .. }));
        let mut roots: Vec<ObjectId> = staying.filter_map(|(_, tag)| tag.current).collect();
        roots.extend(&self.roots);
        for root in roots {
            self.stay(root);
        }
    }

    fn stay(&mut self, root: ObjectId) {
        let graph = self.input.graph;
        let mut waiting = vec![root];
        while let Some(object) = waiting.pop() {
            if !set(&mut self.stays, object) {
                continue;
            }
            waiting.extend(self.children(object));
            for (at, tag_at) in self.referring.get(&object).cloned().unwrap_or_default() {
                let Some((tag, fate)) = self.tag_mut(at, tag_at) else {
                    continue;
                };
                if !matches!(fate, Fate::Stays { .. }) {
                    let subject = graph.object(object).digest.short();
                    let reason = format!("it belongs to {subject}, which stays");
                    *fate = Fate::stays(Class::Signature, reason);
                    waiting.extend(tag.current);
                }
            }
        }
    }

    /// Everything that what goes leads to, and what goes with it.
    fn with_what_goes(&mut self) {
        let graph = self.input.graph;
        let mut waiting: Vec<ObjectId> = Vec::new();
        for (fates, repository) in self.fates.iter().zip(&self.repositories) {
            let tags = fates.iter().zip(&repository.tags);
            let going = tags.filter(|(fate, _)| matches!(fate, Fate::Goes { .. }));
            waiting.extend(going.filter_map(|(_, tag)| tag.current));
        }
        while let Some(object) = waiting.pop() {
            if !set(&mut self.goes, object) {
                continue;
            }
            waiting.extend(self.children(object));
            if self.stays.get(object.index()) == Some(&true) {
                continue;
            }
            for (at, tag_at) in self.referring.get(&object).cloned().unwrap_or_default() {
                let Some((tag, fate)) = self.tag_mut(at, tag_at) else {
                    continue;
                };
                if matches!(fate, Fate::Follows(_)) {
                    let subject = graph.object(object).digest.short();
                    let reason = format!("it belongs to {subject}, and goes with it");
                    *fate = Fate::Goes { reason };
                    waiting.extend(tag.current);
                }
            }
        }
        // What is left follows what neither stays nor goes: a manifest without a tag, which is stored.
        for at in 0..self.fates.len() {
            let Some(repository) = self.repositories.get(at).copied() else {
                continue;
            };
            for (tag_at, tag) in repository.tags.iter().enumerate() {
                let Some((_, fate)) = self.tag_mut(at, tag_at) else {
                    continue;
                };
                let Fate::Follows(subject) = *fate else {
                    continue;
                };
                let subject = graph.object(subject).digest.short();
                let reason = format!("it belongs to {subject}, which is stored");
                if let Some((_, fate)) = self.tag_mut(at, tag_at) {
                    *fate = Fate::stays(Class::Signature, reason);
                }
                if let Some(root) = tag.current {
                    self.stay(root);
                }
            }
        }
    }

    /// A child of what stays keeps one tag of its own, if it has one.
    fn guards(&mut self) {
        // By which repository each was seen last, so that there is one such list for all.
        let mut seen = vec![usize::MAX; self.input.graph.objects().len()];
        for (at, repository) in self.repositories.clone().into_iter().enumerate() {
            let Some(fates) = self.fates.get(at) else {
                continue;
            };
            let mut direct: HashMap<ObjectId, Vec<usize>> = HashMap::new();
            let mut roots: Vec<(ObjectId, ObjectId)> = Vec::new();
            for (tag_at, (fate, tag)) in fates.iter().zip(&repository.tags).enumerate() {
                let Some(current) = tag.current else { continue };
                direct.entry(current).or_default().push(tag_at);
                if matches!(fate, Fate::Stays { .. }) {
                    roots.extend(self.children(current).map(|child| (child, current)));
                }
            }
            if direct.is_empty() {
                continue;
            }
            let revisions = repository.revisions.iter().map(|link| link.object);
            let needed = revisions.filter(|it| self.roots.contains(it));
            let needed = needed.flat_map(|it| self.children(it).map(move |child| (child, it)));
            roots.extend(needed);
            while let Some((child, of)) = roots.pop() {
                let Some(by) = seen.get_mut(child.index()).filter(|by| **by != at) else {
                    continue;
                };
                *by = at;
                roots.extend(self.children(child).map(|grandchild| (grandchild, child)));
                self.guard(at, child, of, direct.get(&child));
            }
        }
    }

    /// Keeps one of the tags of a child, unless one stays already: the newest.
    fn guard(&mut self, at: usize, child: ObjectId, of: ObjectId, tags: Option<&Vec<usize>>) {
        let (Some(tags), Some(repository)) = (tags, self.repositories.get(at).copied()) else {
            return;
        };
        let fates = self.fates.get(at);
        let stays = |tag_at: &usize| {
            let fate = fates.and_then(|fates| fates.get(*tag_at));
            matches!(fate, Some(Fate::Stays { .. }))
        };
        if tags.iter().any(stays) {
            return;
        }
        let newest = tags.iter().max_by_key(|tag_at| {
            let tag = repository.tags.get(**tag_at);
            tag.map(|tag| (rank(tag), &tag.name))
        });
        let graph = self.input.graph;
        let (child, of) = (graph.object(child).digest, graph.object(of).digest);
        let reason = format!(
            "no other tag names {}, a child of {}, which stays",
            child.short(),
            of.short()
        );
        if let Some((_, fate)) = newest.and_then(|tag_at| self.tag_mut(at, *tag_at)) {
            *fate = Fate::stays(Class::GuardsChild, reason);
        }
    }

    fn tag_mut(&mut self, at: usize, tag_at: usize) -> Option<(&'a Tag, &mut Fate)> {
        let tag = self.repositories.get(at)?.tags.get(tag_at)?;
        Some((tag, self.fates.get_mut(at)?.get_mut(tag_at)?))
    }

    fn children(&self, object: ObjectId) -> impl Iterator<Item = ObjectId> + use<'a> {
        let names = self.input.graph.names(object);
        names.into_iter().flat_map(Names::children).copied()
    }

    fn told(self) -> Plan {
        let mut plan = Plan::default();
        for (at, (repository, fates)) in self.repositories.iter().zip(&self.fates).enumerate() {
            for (tag, fate) in repository.tags.iter().zip(fates) {
                let (name, digest) = (&repository.name, tag.current);
                let digest = digest.map(|it| self.input.graph.object(it).digest);
                let policy = self.policies.get(at).copied().flatten();
                match (fate, digest, policy) {
                    (Fate::Goes { reason }, Some(digest), Some(policy)) => {
                        plan.going.push(Going {
                            repository: Arc::clone(name),
                            tag: Arc::clone(&tag.name),
                            digest,
                            age: self.age(tag),
                            bytes: 0,
                            policy,
                            reason: reason.clone(),
                        });
                    }
                    (fate, digest, _) => {
                        let (classes, reason) = match fate {
                            Fate::Stays { classes, reason } => (classes.clone(), reason.as_str()),
                            // Nothing goes of which it is not known what it is.
                            Fate::Goes { .. } | Fate::Follows(_) => (
                                BTreeSet::from([Class::Retained]),
                                "what it names is not known",
                            ),
                        };
                        plan.staying.push(Staying {
                            repository: Arc::clone(name),
                            tag: Arc::clone(&tag.name),
                            digest,
                            classes,
                            reason: reason.to_owned(),
                        });
                    }
                }
            }
            plan.left_alone
                .extend(self.left.get(&at).map(|reason| LeftAlone {
                    repository: Arc::clone(&repository.name),
                    reason: reason.clone(),
                }));
        }
        let needed: Vec<ObjectId> = self.roots.into_iter().collect();
        bytes::count(self.input.graph, &needed, &mut plan);
        plan
    }
}

/// What is needed by its digest, and the images whose config is.
fn roots(graph: &Graph, protection: &Protection) -> HashSet<ObjectId> {
    let needed = protection.digests().map(|(digest, _)| digest);
    let mut roots: HashSet<ObjectId> = needed.filter_map(|it| graph.find(it)).collect();
    let has_config = |names: &Names| names.config().is_some_and(|it| roots.contains(&it));
    let images = graph.read().filter(|(_, names)| has_config(names));
    let images: Vec<ObjectId> = images.map(|(id, _)| id).collect();
    roots.extend(images);
    roots
}

/// What is needed by its digest, and what leads to that: a runtime tells an image by its index, by a child or
/// by its config.
fn needed<'a>(
    graph: &Graph,
    protection: &'a Protection,
) -> HashMap<ObjectId, (BTreeSet<Class>, &'a str)> {
    let mut needed: HashMap<ObjectId, (BTreeSet<Class>, &'a str)> = HashMap::new();
    for (digest, need) in protection.digests() {
        if let Some(object) = graph.find(digest) {
            needed.insert(object, (need.classes.clone(), need.reference.as_str()));
        }
    }
    if needed.is_empty() {
        return needed;
    }
    // An index may be below another.
    loop {
        let mut is_done = true;
        for (id, names) in graph.read() {
            for named in names.children().iter().copied().chain(names.config()) {
                let Some((classes, reference)) = needed.get(&named).cloned() else {
                    continue;
                };
                let above = needed
                    .entry(id)
                    .or_insert_with(|| (BTreeSet::new(), reference));
                let before = above.0.len();
                above.0.extend(classes);
                is_done &= above.0.len() == before;
            }
        }
        if is_done {
            return needed;
        }
    }
}

/// When a tag came to name what it names; `None` where that could not be told, which is as if it were now.
fn time(tag: &Tag) -> Option<Second> {
    let current = tag.current?;
    let at = position(&tag.history, current)?;
    tag.history.get(at)?.modified
}

/// The greater, the newer.
fn rank(tag: &Tag) -> i64 {
    time(tag).map_or(i64::MAX, Second::get)
}

/// In words, not more exact than anybody wants to know.
fn days(seconds: u64) -> String {
    const DAY: u64 = 86_400;
    let rounded = if seconds >= DAY {
        seconds - seconds % DAY
    } else {
        seconds
    };
    duration::shown(std::time::Duration::from_secs(rounded))
}

fn set(flags: &mut [bool], object: ObjectId) -> bool {
    let flag = flags.get_mut(object.index());
    flag.is_some_and(|flag| !std::mem::replace(flag, true))
}

#[cfg(test)]
mod tests;
