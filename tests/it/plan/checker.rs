//! What of a storage must stay, told by its files alone: no code of the planner's, and no listing of it.
//!
//! Whatever a client can pull before must be pulled afterwards: by a tag, by a digest on the keep-list, and
//! what refers to it. Of a repository that cannot be understood wholly, everything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::paths::{data, layer, revision, v2};
use super::tree::{digest, entries};

#[derive(Debug, Default)]
struct Repository {
    revisions: BTreeSet<String>,
    layers: BTreeSet<String>,
    current: BTreeSet<String>,
    history: BTreeSet<String>,
    is_damaged: bool,
}

/// What must be there afterwards.
#[derive(Debug, Clone, Default)]
pub(crate) struct Needed {
    /// By digest, with whether its content is right at all.
    pub(crate) blobs: BTreeMap<String, bool>,
    /// Links, below the root.
    pub(crate) links: BTreeSet<PathBuf>,
    /// The other data.
    pub(crate) others: BTreeSet<String>,
}

/// What is lost of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) blobs: BTreeSet<String>,
    pub(crate) links: BTreeSet<PathBuf>,
    /// Of the others, how many went.
    pub(crate) freed: usize,
}

impl Needed {
    /// `kept` are the digests of a keep-list.
    pub(crate) fn of(root: &Path, kept: &[String]) -> Self {
        let repositories = repositories(root);
        let mut needed = Self::default();
        let mut waiting: Vec<(&str, String)> = Vec::new();
        for (name, repository) in &repositories {
            let mut want = |all: &BTreeSet<String>| {
                waiting.extend(all.iter().map(|digest| (name.as_str(), digest.clone())));
            };
            want(&repository.current);
            if repository.is_damaged {
                want(&repository.revisions);
                want(&repository.layers);
                want(&repository.history);
            }
            for manifest in &repository.revisions {
                let has_kept_config = || {
                    let config = body(root, manifest)["config"]["digest"].clone();
                    kept.iter().any(|digest| config == digest.as_str())
                };
                if kept.contains(manifest) || has_kept_config() {
                    waiting.push((name, manifest.clone()));
                }
            }
        }
        let mut seen = BTreeSet::new();
        while let Some((name, digest)) = waiting.pop() {
            if !seen.insert((name, digest.clone())) {
                continue;
            }
            let repository = &repositories[name];
            if repository.layers.contains(&digest) {
                needed.link(root, &layer(root, name, &digest), &digest);
            }
            if repository.revisions.contains(&digest) {
                needed.link(root, &revision(root, name, &digest), &digest);
                waiting.extend(named_by(root, &digest).map(|it| (name, it)));
                let refers = |it: &&String| body(root, it)["subject"]["digest"] == *digest;
                let referrers = repository.revisions.iter().filter(refers);
                waiting.extend(referrers.map(|it| (name, it.clone())));
            }
        }
        let stored = entries(&v2(root).join("blobs"));
        for (path, _) in stored.iter().filter(|(path, _)| path.ends_with("data")) {
            let hex = path.parent().unwrap().file_name().unwrap();
            let digest = format!("sha256:{}", hex.to_str().unwrap());
            if !needed.blobs.contains_key(&digest) {
                needed.others.insert(digest);
            }
        }
        needed
    }

    /// Something else that must stay: a push of which only the client knows.
    pub(crate) fn add(&mut self, root: &Path, link: &Path, digest: &str) {
        self.link(root, link, digest);
        self.others.remove(digest);
    }

    fn link(&mut self, root: &Path, link: &Path, digest: &str) {
        if let Some(is_right) = is_right(root, digest) {
            self.blobs.insert(digest.to_owned(), is_right);
        }
        if fs::symlink_metadata(link).is_ok() {
            self.links
                .insert(link.strip_prefix(root).unwrap().to_owned());
        }
    }

    /// What a storage that was a copy has lost meanwhile.
    pub(crate) fn lost(&self, root: &Path) -> Lost {
        let is_lost = |(digest, was_right): &(&String, &bool)| match is_right(root, digest) {
            Some(is_right) => **was_right && !is_right,
            None => true,
        };
        let blobs = self.blobs.iter().filter(is_lost);
        let links = self
            .links
            .iter()
            .filter(|it| fs::symlink_metadata(root.join(it)).is_err());
        let others = self.others.iter();
        Lost {
            blobs: blobs.map(|(digest, _)| digest.clone()).collect(),
            links: links.cloned().collect(),
            freed: others.filter(|it| !data(root, it).exists()).count(),
        }
    }
}

/// `None` where it is not there.
fn is_right(root: &Path, of: &str) -> Option<bool> {
    let content = fs::read(data(root, of)).ok()?;
    Some(digest(&content) == of)
}

/// Null where there is none that can be understood.
fn body(root: &Path, digest: &str) -> Value {
    let content = fs::read(data(root, digest)).unwrap_or_default();
    serde_json::from_slice(&content).unwrap_or_default()
}

/// Whatever looks like a digest in a manifest, but for what it is about.
fn named_by(root: &Path, digest: &str) -> impl Iterator<Item = String> {
    let mut body = body(root, digest);
    if let Some(body) = body.as_object_mut() {
        body.remove("subject");
    }
    let text = body.to_string();
    let starts = text.match_indices("sha256:").map(|(at, _)| at);
    let found = starts.filter_map(|at| text.get(at..at + 71).map(ToOwned::to_owned));
    found.collect::<Vec<_>>().into_iter()
}

fn repositories(root: &Path) -> BTreeMap<String, Repository> {
    let top = v2(root).join("repositories");
    let mut repositories: BTreeMap<String, Repository> = BTreeMap::new();
    for (path, told) in entries(&top) {
        let path = path.strip_prefix(&top).unwrap().to_string_lossy();
        let parts: Vec<&str> = path.split('/').collect();
        let Some(at) = parts.iter().position(|part| part.starts_with('_')) else {
            continue;
        };
        let (name, within) = (parts[..at].join("/"), &parts[at..]);
        let repository = repositories.entry(name).or_default();
        // In the place of a file it hides what that said.
        if told.is_dir() && *within.last().unwrap() != "link" {
            continue;
        }
        let content = if told.is_file() {
            fs::read_to_string(top.join(&*path)).unwrap_or_default()
        } else {
            String::new()
        };
        let is_link = told.is_file() && content.len() == 71 && content.starts_with("sha256:");
        let is_its = |hex: &str| is_link && content.ends_with(hex);
        match *within {
            ["_uploads", ..] => {}
            // What was to be renamed when the registry died.
            [.., file] if file.rsplit('.').next() == Some("tmp") => {}
            ["_manifests", "tags", _, "current", "link"] if is_link => {
                repository.current.insert(content);
            }
            ["_manifests", "tags", _, "index", "sha256", hex, "link"] if is_its(hex) => {
                repository.history.insert(content);
            }
            ["_manifests", "revisions", "sha256", hex, "link"] if is_its(hex) => {
                let is_stored = data(root, &content).exists();
                if is_stored && !is_understood(root, &content) {
                    repository.is_damaged = true;
                }
                repository.revisions.insert(content);
            }
            ["_layers", "sha256", hex, "link"] if is_its(hex) => {
                repository.layers.insert(content);
            }
            // Whatever its path says is not certain. Other files are nobody's links.
            _ if within.last() == Some(&"link") || told.is_symlink() => {
                repository.is_damaged = true;
                let of_path = within.iter().find(|part| part.len() == 64);
                let of_path = of_path.map(|hex| format!("sha256:{hex}"));
                let both = of_path.into_iter().chain(is_link.then_some(content));
                match within[0] {
                    "_layers" => repository.layers.extend(both),
                    _ => repository.revisions.extend(both),
                }
            }
            _ => {}
        }
    }
    repositories
}

fn is_understood(root: &Path, digest: &str) -> bool {
    is_right(root, digest) == Some(true) && body(root, digest).is_object()
}
