//! One tree, two collectors that collect a copy of it, and a plan that is carried out on a third.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::checker::Needed;
use super::ours::{self, ALL, HOST, Planned, Row};
use super::paths::v2;
use super::peers::{Collected, collect};
use super::tree::{Object, Tree, entries, files};
use crate::support::registry::Version;

#[derive(Debug)]
pub(crate) struct Case<'a> {
    tree: &'a Tree,
    /// Lines of the keep-list, and the digests in them.
    kept: Vec<String>,
    digests: Vec<String>,
    /// What else must stay: links, with what they name.
    pushed: Vec<(PathBuf, String)>,
    gc: &'a str,
    /// Told before the test moved something.
    needed: Option<Needed>,
}

/// What a collector did.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) collected: Collected,
    /// `lost 6 of 9 blobs, 2 of 12 links; freed 4 of 4`, with `aborted (WHY), ` before it where it failed.
    pub(crate) deed: String,
}

/// Our plan, and the tree after it.
#[derive(Debug)]
pub(crate) struct Ours {
    pub(crate) planned: Planned,
    pub(crate) after: TempDir,
}

impl<'a> Case<'a> {
    pub(crate) fn of(tree: &'a Tree) -> Self {
        tree.age();
        Self {
            tree,
            kept: Vec::new(),
            digests: Vec::new(),
            pushed: Vec::new(),
            gc: ALL,
            needed: None,
        }
    }

    /// A workload runs it, by its digest.
    pub(crate) fn runs(mut self, repository: &str, object: &Object) -> Self {
        let digest = &object.digest;
        self.kept.push(format!("{HOST}/{repository}@{digest}"));
        self.digests.push(digest.clone());
        self
    }

    /// A push needs it, of which nothing else tells.
    pub(crate) fn pushed(mut self, link: PathBuf, object: &Object) -> Self {
        self.pushed.push((link, object.digest.clone()));
        self
    }

    /// Another `gc`.
    pub(crate) fn configured(mut self, gc: &'a str) -> Self {
        self.gc = gc;
        self
    }

    /// What must stay is what must stay now, whatever the test does to the tree afterwards.
    pub(crate) fn needing_what_it_has(mut self) -> Self {
        self.needed = Some(self.needed());
        self
    }

    fn needed(&self) -> Needed {
        if let Some(needed) = &self.needed {
            return needed.clone();
        }
        let root = self.tree.root();
        let mut needed = Needed::of(root, &self.digests);
        for (link, digest) in &self.pushed {
            needed.add(root, link, digest);
        }
        needed
    }

    /// What the collectors of 2.8.2 and 3.1 do.
    pub(crate) async fn peers(&self) -> [Peer; 2] {
        let both = async |version| self.peer(collect(version, self.tree.copy().await).await);
        let (old, new) = tokio::join!(both(Version::V2), both(Version::V3));
        [old, new]
    }

    /// The same, told only.
    pub(crate) async fn deeds(&self) -> [String; 2] {
        self.peers().await.map(|peer| peer.deed)
    }

    pub(crate) fn peer(&self, collected: Collected) -> Peer {
        let deed = self.deed(&collected.ended, collected.root());
        Peer { collected, deed }
    }

    /// What was done to a copy.
    pub(crate) fn deed(&self, ended: &Result<String, String>, root: &Path) -> String {
        let needed = self.needed();
        let lost = needed.lost(root);
        let aborted = ended.as_ref().err().map(|said| {
            let line = said
                .lines()
                .rfind(|line| line.contains("fail"))
                .unwrap_or(said);
            let why = line.rsplit(": ").next().unwrap_or(line);
            format!("aborted ({}), ", self.tree.named(why))
        });
        format!(
            "{}lost {} of {} blobs, {} of {} links; freed {} of {}",
            aborted.unwrap_or_default(),
            lost.blobs.len(),
            needed.blobs.len(),
            lost.links.len(),
            needed.links.len(),
            lost.freed,
            needed.others.len()
        )
    }

    /// Plans, and carries the plan out. Nothing that is needed may be lost, all that the plan says and
    /// nothing else may go, and after it nothing may be left to go.
    pub(crate) async fn plan(&self) -> Ours {
        let copy = self.tree.copy().await;
        let before = state(copy.path());
        let planned = ours::plan(copy.path(), &self.kept, self.gc, &[]).await;
        assert_eq!(state(copy.path()), before, "it wrote into the storage");
        let rows = planned.rows();

        let bytes_before = bytes(copy.path());
        ours::apply(copy.path(), &rows);
        let lost = self.needed().lost(copy.path());
        let told = |digests: &BTreeSet<String>| {
            let names = digests.iter().map(|it| self.tree.name(it).to_owned());
            names.collect::<Vec<_>>()
        };
        assert_eq!(told(&lost.blobs), [""; 0], "{rows:#?}");
        assert_eq!(lost.links, BTreeSet::new(), "{rows:#?}");
        let freed = bytes_before - bytes(copy.path());
        assert_eq!(planned.count("garbage_bytes"), freed, "{planned:?}");
        let blobs = planned.count("kept_blobs") + planned.count("garbage_blobs");
        assert_eq!(planned.count("blobs"), blobs, "{planned:?}");

        let again = ours::plan(copy.path(), &self.kept, self.gc, &[]).await;
        assert_eq!(self.told(&again.rows()), [""; 0]);
        Ours {
            planned,
            after: copy,
        }
    }

    /// Plans without carrying it out, where no plan may be had.
    pub(crate) async fn refused(&self) -> Vec<String> {
        self.outcome().await.expect_err("it is refused")
    }

    /// Plans without carrying it out: the rows, or the refusals.
    pub(crate) async fn outcome(&self) -> Result<Vec<String>, Vec<String>> {
        let planned = ours::plan(self.tree.root(), &self.kept, self.gc, &[]).await;
        match planned.code {
            Some(3) => Err(planned.refusals()),
            _ => Ok(self.told(&planned.rows())),
        }
    }

    /// The rows of a plan by names, in order.
    pub(crate) async fn garbage(&self) -> Vec<String> {
        self.told(&self.plan().await.planned.rows())
    }

    /// Nothing of `app` goes, for this damage, and what may go of `other` does.
    pub(crate) async fn keeps_all_of_app(&self, damaged: &[&str]) {
        let ours = self.plan().await;
        assert_eq!(self.told(&ours.planned.rows()), image("other", "other-old"));
        assert_eq!(self.damaged(&ours), damaged);
    }

    /// `REPOSITORY: PATH` of what is damaged.
    pub(crate) fn damaged(&self, ours: &Ours) -> Vec<String> {
        let all = ours.planned.damaged().into_iter();
        let told = all.map(|(repository, path)| {
            let repository = repository.as_deref().unwrap_or("-");
            self.tree.named(&format!("{repository}: {path}"))
        });
        told.collect()
    }

    pub(crate) fn told(&self, rows: &[Row]) -> Vec<String> {
        let told = rows.iter().map(|row| {
            let tag = row.tag.as_ref().map(|tag| format!(":{tag}"));
            let stays = match row.kind.as_str() {
                "manifest" | "config" | "layer" if row.bytes == 0 => " (link)",
                _ => "",
            };
            format!(
                "{} {}{} {}{stays}",
                row.kind,
                row.repository.as_deref().unwrap_or("-"),
                tag.unwrap_or_default(),
                self.tree.name(&row.digest)
            )
        });
        let mut told: Vec<String> = told.collect();
        told.sort();
        told
    }
}

impl Ours {
    pub(crate) fn root(&self) -> &Path {
        self.after.path()
    }
}

/// The rows of an image that goes with all that it has, as [`Tree::image`] makes one.
pub(crate) fn image(repository: &str, name: &str) -> Vec<String> {
    vec![
        format!("config {repository} {name}.config"),
        format!("layer {repository} {name}.layer-1"),
        format!("layer {repository} {name}.layer-2"),
        format!("manifest {repository} {name}"),
    ]
}

/// Rows in order.
pub(crate) fn rows(rows: &[Vec<String>], more: &[&str]) -> Vec<String> {
    let more = more.iter().map(ToString::to_string);
    let mut all: Vec<String> = rows.concat().into_iter().chain(more).collect();
    all.sort();
    all
}

fn bytes(root: &Path) -> u64 {
    let data = files(&v2(root).join("blobs"));
    data.iter().map(|it| fs::metadata(it).unwrap().len()).sum()
}

/// What a look tells of every entry.
fn state(root: &Path) -> Vec<String> {
    let entries = entries(root).into_iter();
    let told = entries.map(|(path, told)| {
        let (length, modified) = (told.len(), told.modified().unwrap());
        format!("{} {length} {modified:?}", path.display())
    });
    told.collect()
}
