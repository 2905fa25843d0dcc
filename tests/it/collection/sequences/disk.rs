//! A storage's files as a registry without a cache writes them, what was acknowledged, and whether all of
//! that is there: told by hashes, and by no code of the collector's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::Deed;
use super::content::{Blob, Image, images};
use crate::plan::paths::{current, data, history, layer, revision, v2};
use crate::plan::tree::digest;

/// 2026-01-01T00:00:00Z.
const BEGIN: i64 = 1_767_225_600;

#[derive(Debug)]
pub(super) struct Disk {
    directory: TempDir,
    pub(super) images: Vec<Image>,
    /// In seconds.
    pub(super) now: i64,
    /// By repository and tag, the image whose push was acknowledged.
    tagged: BTreeMap<(&'static str, usize), usize>,
    pub(super) kept: BTreeSet<usize>,
    /// A session is under way: what has no tag is not deployed.
    pub(super) is_collected: bool,
}

impl Disk {
    pub(super) fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let disk = Self {
            directory: directory.unwrap(),
            images: images(),
            now: BEGIN,
            tagged: BTreeMap::new(),
            kept: BTreeSet::new(),
            is_collected: false,
        };
        for below in ["repositories", "blobs/sha256"] {
            fs::create_dir_all(v2(disk.root()).join(below)).unwrap();
        }
        disk
    }

    pub(super) fn root(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn does(&mut self, deed: &Deed) {
        match *deed {
            Deed::Upload(image) => self.upload(image),
            Deed::Put(image, tag) => self.put(image, tag),
            Deed::DeleteTag(tag) => self.delete_tags(|_, it, _| it == tag),
            Deed::DeleteManifest(image) if !self.kept.contains(&image) => {
                let Image {
                    repository,
                    manifest,
                    ..
                } = &self.images[image];
                let link = revision(self.root(), repository, &manifest.digest);
                if link.exists() {
                    fs::remove_file(link).unwrap();
                }
                self.delete_tags(|_, _, it| it == image);
            }
            Deed::Deploy(image) => {
                let is_tagged = self.tagged.values().any(|it| *it == image);
                let is_known = || !self.is_collected && self.lost_of(image).is_empty();
                if is_tagged || is_known() {
                    self.kept.insert(image);
                }
            }
            Deed::Undeploy(image) => {
                self.kept.remove(&image);
            }
            Deed::DeleteManifest(_) => {}
        }
    }

    fn upload(&self, image: usize) {
        let Image {
            repository, named, ..
        } = &self.images[image];
        for blob in named {
            let link = layer(self.root(), repository, &blob.digest);
            let data = data(self.root(), &blob.digest);
            if link.exists() && data.exists() {
                continue;
            }
            self.write_new(&data, blob);
            self.write(&link, blob.digest.as_bytes());
        }
    }

    fn put(&mut self, image: usize, tag: usize) {
        let root = self.root().to_owned();
        let Image {
            repository,
            manifest,
            named,
        } = self.images[image].clone();
        let is_there = |blob: &Blob| {
            layer(&root, repository, &blob.digest).exists() && data(&root, &blob.digest).exists()
        };
        if !named.iter().all(is_there) {
            return;
        }
        self.write_new(&data(&root, &manifest.digest), &manifest);
        let name = format!("v{tag}");
        let text = manifest.digest.as_bytes();
        self.write(&revision(&root, repository, &manifest.digest), text);
        self.write(&history(&root, repository, &name, &manifest.digest), text);
        self.write(&current(&root, repository, &name), text);
        self.tagged.insert((repository, tag), image);
    }

    fn delete_tags(&mut self, which: impl Fn(&str, usize, usize) -> bool) {
        let root = self.root().to_owned();
        self.tagged.retain(|(repository, tag), image| {
            if !which(repository, *tag, *image) {
                return true;
            }
            let current = current(&root, repository, &format!("v{tag}"));
            let directory = current.parent().and_then(Path::parent).unwrap();
            fs::remove_dir_all(directory).unwrap();
            false
        });
    }

    /// As a registry does that looks whether it has it.
    fn write_new(&self, path: &Path, blob: &Blob) {
        if !path.exists() {
            self.write(path, &blob.bytes);
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        let seconds = Duration::from_secs(self.now.unsigned_abs());
        let times = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH + seconds);
        File::open(path).unwrap().set_times(times).unwrap();
    }

    /// Which images have to be there.
    fn needed(&self) -> BTreeSet<usize> {
        self.tagged.values().chain(&self.kept).copied().collect()
    }

    /// What is needed and neither where the registry looks for it nor in any quarantine.
    pub(super) fn lost(&self) -> Vec<String> {
        let needed = self.needed().into_iter();
        let mut lost: Vec<String> = needed.flat_map(|it| self.lost_of(it)).collect();
        lost.extend(self.astray());
        lost
    }

    fn lost_of(&self, image: usize) -> Vec<String> {
        let held = self.held();
        let is_somewhere = |path: &Path, digest_of: Option<&str>| {
            let below = path.strip_prefix(self.root()).unwrap();
            let mut all =
                std::iter::once(path.to_owned()).chain(held.iter().map(|it| it.join(below)));
            all.any(|path| is_right(&path, digest_of))
        };
        self.paths(image)
            .filter(|(path, digest)| !is_somewhere(path, digest.as_deref()))
            .map(|(path, _)| path.display().to_string())
            .collect()
    }

    /// What is needed and not where the registry looks for it.
    pub(super) fn absent(&self) -> Vec<String> {
        let needed = self.needed().into_iter();
        let paths = needed.flat_map(|it| self.paths(it).collect::<Vec<_>>());
        let absent = paths.filter(|(path, digest)| !is_right(path, digest.as_deref()));
        absent.map(|(path, _)| path.display().to_string()).collect()
    }

    pub(super) fn serves(&self, image: usize) -> bool {
        let mut paths = self.paths(image);
        paths.all(|(path, digest)| is_right(&path, digest.as_deref()))
    }

    /// The files of an image; with a digest for those that have its bytes.
    fn paths(&self, image: usize) -> impl Iterator<Item = (PathBuf, Option<String>)> {
        let root = self.root();
        let image = &self.images[image];
        let manifest = revision(root, image.repository, &image.manifest.digest);
        let links = image.named.iter();
        let links = links.map(|it| layer(root, image.repository, &it.digest));
        let bytes = image.blobs();
        let bytes = bytes.map(|it| (data(root, &it.digest), Some(it.digest.clone())));
        let links = links.chain([manifest]).map(|it| (it, None));
        links.chain(bytes)
    }

    /// Tags that do not name what was pushed.
    fn astray(&self) -> impl Iterator<Item = String> {
        let names = |repository: &str, tag: usize| {
            fs::read_to_string(current(self.root(), repository, &format!("v{tag}")))
        };
        let wrong = self
            .tagged
            .iter()
            .filter(move |((repository, tag), image)| {
                let digest = &self.images[**image].manifest.digest;
                names(repository, *tag).ok().as_ref() != Some(digest)
            });
        wrong.map(|((repository, tag), _)| format!("{repository}:v{tag}"))
    }

    /// The quarantines of all runs.
    fn held(&self) -> Vec<PathBuf> {
        let all = fs::read_dir(self.root().join("pullproof/quarantine"));
        let all = all.into_iter().flatten();
        all.map(|it| it.unwrap().path()).collect()
    }

    /// Whether there is such a file below the root.
    pub(super) fn is_there(&self, below: &str) -> bool {
        self.root().join(below).exists()
    }
}

fn is_right(path: &Path, of: Option<&str>) -> bool {
    match (fs::read(path), of) {
        (Ok(content), Some(of)) => digest(&content) == of,
        (Ok(content), None) => !content.is_empty(),
        (Err(_), _) => false,
    }
}
