//! What somebody else's collector would take of what is kept, and what it took. Pure.
//!
//! Such a collector knows nothing of workloads: it goes by tags alone, and decides by rules of its own. What is
//! kept here is what any tag leads to and what the keep-set names by digest, with all that refers to it; what is
//! merely young, or whose repository is not collected, is not.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::gc::graph::{Graph, Link, Names, ObjectId, Repository, Tag, position};
use crate::oci::digest::Digest;

/// What a collector does with manifests that no tag of their repository names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untagged {
    Kept,
    /// They go. `keeps_children`: not those that a tagged index of the repository leads to (distribution since
    /// 3.0; 2.8 takes them).
    Taken {
        keeps_children: bool,
    },
}

impl Untagged {
    /// As the words of distribution's own collector say it, in an argument of its own or within the line of a
    /// shell.
    pub fn of<'a>(argv: impl IntoIterator<Item = &'a str>, keeps_children: bool) -> Self {
        let words: Vec<&str> = argv.into_iter().flat_map(str::split_whitespace).collect();
        let quotes = ['"', '\'', ';'];
        let mut words = words.iter().map(|word| word.trim_matches(quotes));
        let collects = words.clone().any(|word| word == "garbage-collect");
        if collects && words.any(deletes_untagged) {
            Self::Taken { keeps_children }
        } else {
            Self::Kept
        }
    }
}

/// `--delete-untagged`, `-m`, or `-m` among other letters, each with a value or without.
fn deletes_untagged(word: &str) -> bool {
    let (name, value) = word.split_once('=').unwrap_or((word, "true"));
    let is_short = name.strip_prefix('-').is_some_and(|letters| {
        letters.contains('m') && letters.bytes().all(|b| b.is_ascii_lowercase())
    });
    let is_false = ["false", "0", "f", "F", "False", "FALSE"].contains(&value);
    (name == "--delete-untagged" || is_short) && !is_false
}

/// What is at risk, or gone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Loss {
    /// `None` where nobody links it.
    pub repository: Option<String>,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum What {
    /// The bytes.
    Content(Digest),
    /// That the repository has the manifest.
    Manifest(Digest),
    /// That the repository has the config or the layer.
    Layer(Digest),
    Tag(String),
}

impl fmt::Display for Loss {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = self.repository.as_deref().unwrap_or("(no repository)");
        match &self.what {
            What::Content(digest) => write!(formatter, "{of}: the content of {digest}"),
            What::Manifest(digest) => write!(formatter, "{of}: the manifest {digest}"),
            What::Layer(digest) => write!(formatter, "{of}: the link to {digest}"),
            What::Tag(tag) => write!(formatter, "{of}: the tag {tag}"),
        }
    }
}

/// The manifests that are kept and would go, in order.
pub fn endangered(graph: &Graph, needed: &[Digest], untagged: Untagged) -> Vec<Loss> {
    let Untagged::Taken { keeps_children } = untagged else {
        return Vec::new();
    };
    let kept = kept(graph, needed);
    let mut found = Vec::new();
    for (_, repository) in graph.repositories() {
        let tagged = repository.tags.iter().filter_map(|tag| tag.current);
        let spared = if keeps_children {
            below(graph, tagged, &HashMap::new())
        } else {
            tagged.collect()
        };
        let goes = |id: &ObjectId| kept.contains(id) && !spared.contains(id);
        let revisions = repository.revisions.iter().map(|link| link.object);
        found.extend(revisions.filter(goes).map(|id| Loss {
            repository: Some(repository.name.to_string()),
            what: What::Manifest(graph.object(id).digest),
        }));
    }
    found.sort();
    found
}

/// What was kept before and is gone, in order.
pub fn lost(before: &Graph, after: &Graph, needed: &[Digest]) -> Vec<Loss> {
    let kept = kept(before, needed);
    let mut found = Vec::new();
    let repositories: HashMap<&str, &Repository> = after
        .repositories()
        .map(|(_, repository)| (&*repository.name, repository))
        .collect();
    let has = |links: Option<&[Link]>, digest: &Digest| {
        let id = after.find(digest);
        id.is_some_and(|id| links.is_some_and(|links| position(links, id).is_some()))
    };
    let mut linked: HashMap<ObjectId, &str> = HashMap::new();
    for (_, repository) in before.repositories() {
        let now = repositories.get(&*repository.name);
        let mut lose = |what| {
            found.push(Loss {
                repository: Some(repository.name.to_string()),
                what,
            });
        };
        for tag in repository.tags.iter().filter(|tag| tag.current.is_some()) {
            let is_there = |other: &Tag| other.name == tag.name && other.current.is_some();
            if !now.is_some_and(|now| now.tags.iter().any(is_there)) {
                lose(What::Tag(tag.name.to_string()));
            }
        }
        let revisions = repository.revisions.iter().map(|link| link.object);
        let mut named: HashSet<ObjectId> = HashSet::new();
        for id in revisions.filter(|id| kept.contains(id)) {
            linked.entry(id).or_insert(&repository.name);
            named.extend(before.names(id).into_iter().flat_map(Names::all));
            let digest = before.object(id).digest;
            if !has(now.map(|now| &*now.revisions), &digest) {
                lose(What::Manifest(digest));
            }
        }
        let layers = repository.layers.iter().map(|link| link.object);
        for id in layers.filter(|id| named.contains(id)) {
            linked.entry(id).or_insert(&repository.name);
            let digest = before.object(id).digest;
            if !has(now.map(|now| &*now.layers), &digest) {
                lose(What::Layer(digest));
            }
        }
    }
    for id in objects(before, &kept) {
        let object = before.object(id);
        let there = after.find(&object.digest);
        let size = there.and_then(|id| after.object(id).size());
        if object.size().is_some() && size != object.size() {
            found.push(Loss {
                repository: linked.get(&id).map(|name| (*name).to_owned()),
                what: What::Content(object.digest),
            });
        }
    }
    found.sort();
    found
}

/// How many blobs are gone, and their bytes.
pub fn freed(before: &Graph, after: &Graph) -> (usize, u64) {
    let stored = before
        .objects()
        .filter_map(|(_, object)| Some((object.digest, object.size()?)));
    let gone = stored.filter(|(digest, _)| {
        let there = after.find(digest);
        there.is_none_or(|id| after.object(id).size().is_none())
    });
    gone.fold((0, 0), |(count, bytes), (_, size)| {
        (count + 1, u64::saturating_add(bytes, size))
    })
}

/// What of it is not there again.
pub fn still_lost<'a>(graph: &Graph, lost: &'a [Loss]) -> impl Iterator<Item = &'a Loss> {
    lost.iter().filter(|loss| {
        let mut repositories = graph.repositories().map(|(_, repository)| repository);
        let repository = repositories.find(|it| loss.repository.as_deref() == Some(&*it.name));
        let id = loss.what.digest().and_then(|digest| graph.find(digest));
        let has = |links: fn(&Repository) -> &[Link]| {
            id.is_some_and(|id| repository.is_some_and(|it| position(links(it), id).is_some()))
        };
        let is_there = match &loss.what {
            What::Content(_) => id.is_some_and(|id| graph.object(id).size().is_some()),
            What::Manifest(_) => has(|it| &it.revisions),
            What::Layer(_) => has(|it| &it.layers),
            What::Tag(name) => repository.is_some_and(|it| {
                let mut tags = it.tags.iter();
                tags.any(|tag| *tag.name == **name && tag.current.is_some())
            }),
        };
        !is_there
    })
}

impl What {
    /// `None` of a tag.
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Content(digest) | Self::Manifest(digest) | Self::Layer(digest) => Some(digest),
            Self::Tag(_) => None,
        }
    }
}

/// The manifests that tags and the keep-set lead to, with what refers to them.
fn kept(graph: &Graph, needed: &[Digest]) -> HashSet<ObjectId> {
    let mut referrers: HashMap<ObjectId, Vec<ObjectId>> = HashMap::new();
    for (id, names) in graph.read() {
        if let Some(subject) = names.subject() {
            referrers.entry(subject).or_default().push(id);
        }
    }
    let tags = graph.repositories().flat_map(|(_, it)| &it.tags);
    let tagged = tags.filter_map(|tag| tag.current);
    let needed: HashSet<ObjectId> = needed.iter().filter_map(|it| graph.find(it)).collect();
    // A runtime may tell an image by its config.
    let by_config = graph.read().filter(|(_, names)| {
        names
            .config()
            .is_some_and(|config| needed.contains(&config))
    });
    let by_config = by_config.map(|(id, _)| id);
    let roots = tagged.chain(by_config).chain(needed.iter().copied());
    below(graph, roots, &referrers)
}

/// All manifests that some lead to, these included.
fn below(
    graph: &Graph,
    roots: impl Iterator<Item = ObjectId>,
    referrers: &HashMap<ObjectId, Vec<ObjectId>>,
) -> HashSet<ObjectId> {
    let mut found: HashSet<ObjectId> = HashSet::new();
    let mut waiting: Vec<ObjectId> = roots.collect();
    while let Some(id) = waiting.pop() {
        if found.insert(id) {
            waiting.extend(graph.names(id).into_iter().flat_map(Names::children));
            waiting.extend(referrers.get(&id).into_iter().flatten());
        }
    }
    found
}

/// These, and all that they name.
fn objects(graph: &Graph, manifests: &HashSet<ObjectId>) -> HashSet<ObjectId> {
    let named = manifests.iter().filter_map(|id| graph.names(*id));
    let named = named.flat_map(|names| names.all().iter().copied());
    named.chain(manifests.iter().copied()).collect()
}

#[cfg(test)]
mod tests;
