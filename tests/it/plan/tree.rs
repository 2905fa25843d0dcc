//! Storage trees as pushes leave them, written file by file, so that odd ones can be had too.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::paths::{current, data, hex, history, layer, revision, v2};

pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// 2026-01-01T00:00:00Z, when all was pushed.
const OLD: u64 = 1_767_225_600;
/// 2026-01-06T00:00:00Z, in the week before the plan.
pub(crate) const THIS_WEEK: u64 = 1_767_657_600;
/// 2026-01-09T20:00:00Z, less than a day before it.
pub(crate) const TODAY: u64 = 1_767_988_800;
/// When it is planned.
pub(crate) const NOW: &str = "2026-01-10T00:00:00Z";

/// Something that is stored.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) name: String,
    pub(crate) digest: String,
    media_type: String,
    size: usize,
}

impl Object {
    pub(crate) fn hex(&self) -> &str {
        hex(&self.digest)
    }

    pub(crate) fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.size})
    }

    /// As an index that says nothing of what it lists, or a wrong thing.
    pub(crate) fn called(&self, media_type: &str) -> Self {
        Self {
            media_type: media_type.to_owned(),
            ..self.clone()
        }
    }
}

#[derive(Debug)]
pub(crate) struct Tree {
    directory: TempDir,
    /// Of digests.
    names: BTreeMap<String, String>,
    objects: BTreeMap<String, Object>,
    times: BTreeMap<PathBuf, u64>,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let tree = Self {
            directory: tempfile::tempdir().unwrap(),
            names: BTreeMap::new(),
            objects: BTreeMap::new(),
            times: BTreeMap::new(),
        };
        fs::create_dir_all(tree.v2().join("repositories")).unwrap();
        fs::create_dir_all(tree.v2().join("blobs/sha256")).unwrap();
        tree
    }

    /// The `rootdirectory`.
    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn v2(&self) -> PathBuf {
        v2(self.root())
    }

    /// What the object of a digest is called; a digest that nobody named by itself.
    pub(crate) fn name<'a>(&'a self, digest: &'a str) -> &'a str {
        self.names.get(digest).map_or(digest, String::as_str)
    }

    /// A text with the digests that have a name replaced by it.
    pub(crate) fn named(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (it, name)| {
            text.replace(it, name).replace(hex(it), name)
        })
    }

    /// Gives names to what others stored, from a manifest downwards: `NAME.config`, `NAME.layer-1`,
    /// `NAME.child-1`. What has a name already keeps it.
    pub(crate) fn call(&mut self, digest: &str, name: &str) -> Object {
        let content = fs::read(data(self.root(), digest)).unwrap();
        let body: Value = serde_json::from_slice(&content).unwrap_or_default();
        let object = Object {
            name: name.to_owned(),
            digest: digest.to_owned(),
            media_type: body["mediaType"].as_str().unwrap_or_default().to_owned(),
            size: content.len(),
        };
        if self.names.contains_key(digest) {
            return object;
        }
        self.names.insert(digest.to_owned(), name.to_owned());
        self.objects.insert(name.to_owned(), object.clone());
        let list = |key: &str| body[key].as_array().cloned().unwrap_or_default();
        if let Some(config) = body["config"]["digest"].as_str() {
            self.call(config, &format!("{name}.config"));
        }
        for (kind, all) in [("layer", list("layers")), ("child", list("manifests"))] {
            for (number, one) in (1..).zip(all) {
                let digest = one["digest"].as_str().unwrap();
                self.call(digest, &format!("{name}.{kind}-{number}"));
            }
        }
        object
    }

    /// Data that nobody links.
    pub(crate) fn data(&mut self, name: &str, media_type: &str, bytes: &[u8]) -> Object {
        let digest = digest(bytes);
        write(&data(self.root(), &digest), bytes);
        let object = Object {
            name: name.to_owned(),
            digest,
            media_type: media_type.to_owned(),
            size: bytes.len(),
        };
        let known = self.objects.insert(name.to_owned(), object.clone());
        assert!(
            known.is_none_or(|known| known.digest == object.digest),
            "{name} is two"
        );
        self.names.insert(object.digest.clone(), name.to_owned());
        object
    }

    /// What was stored by this name.
    pub(crate) fn find(&self, name: &str) -> Object {
        self.objects[name].clone()
    }

    /// A layer, which its name makes different from all others.
    pub(crate) fn layer(&mut self, repository: &str, name: &str) -> Object {
        let object = self.data(name, OCI_LAYER, format!("the layer {name}").as_bytes());
        self.link_layer(repository, &object);
        object
    }

    /// An image of a config and two layers of its own: `NAME.config`, `NAME.layer-1`, `NAME.layer-2`.
    pub(crate) fn image(&mut self, repository: &str, name: &str) -> Object {
        let layers = [1, 2].map(|it| self.layer(repository, &format!("{name}.layer-{it}")));
        self.image_of(repository, name, &layers)
    }

    /// An image of a config and these layers.
    pub(crate) fn image_of(&mut self, repository: &str, name: &str, layers: &[Object]) -> Object {
        self.image_with(repository, name, layers, &json!({}))
    }

    /// What refers to another manifest, with a config and one layer: `NAME.config`, `NAME.layer`.
    pub(crate) fn referrer(&mut self, repository: &str, name: &str, subject: &Object) -> Object {
        let layers = [self.layer(repository, &format!("{name}.layer"))];
        let more = json!({"artifactType": "application/example", "subject": subject.descriptor()});
        self.image_with(repository, name, &layers, &more)
    }

    fn image_with(
        &mut self,
        repository: &str,
        name: &str,
        layers: &[Object],
        more: &Value,
    ) -> Object {
        let config = self.config(repository, name, layers);
        let mut body = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config.descriptor(),
            "layers": layers.iter().map(Object::descriptor).collect::<Vec<_>>(),
        });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        self.manifest(repository, name, OCI_MANIFEST, &body)
    }

    pub(crate) fn config(&mut self, repository: &str, name: &str, layers: &[Object]) -> Object {
        let body = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"name": name}},
            "rootfs": {
                "type": "layers",
                "diff_ids": layers.iter().map(|it| &it.digest).collect::<Vec<_>>(),
            },
        });
        let body = body.to_string();
        let object = self.data(&format!("{name}.config"), OCI_CONFIG, body.as_bytes());
        self.link_layer(repository, &object);
        object
    }

    pub(crate) fn index(&mut self, repository: &str, name: &str, children: &[&Object]) -> Object {
        let body = index_body(name, children);
        self.manifest(repository, name, OCI_INDEX, &body)
    }

    /// Any manifest, as a revision of the repository.
    pub(crate) fn manifest(
        &mut self,
        repository: &str,
        name: &str,
        media_type: &str,
        body: &Value,
    ) -> Object {
        self.manifest_of(repository, name, media_type, body.to_string().as_bytes())
    }

    /// The same of bytes that need not be JSON.
    pub(crate) fn manifest_of(
        &mut self,
        repository: &str,
        name: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Object {
        let object = self.data(name, media_type, bytes);
        self.link_revision(repository, &object);
        object
    }

    /// A repository with nothing wrong: one image has a tag, and one may go, `NAME` and `NAME-old`.
    pub(crate) fn sound(&mut self, repository: &str) {
        let tagged = self.image(repository, repository);
        self.tag(repository, "v1", &tagged);
        self.image(repository, &format!("{repository}-old"));
    }

    pub(crate) fn link_layer(&self, repository: &str, object: &Object) {
        let link = layer(self.root(), repository, &object.digest);
        write(&link, object.digest.as_bytes());
    }

    pub(crate) fn link_revision(&self, repository: &str, object: &Object) {
        let link = revision(self.root(), repository, &object.digest);
        write(&link, object.digest.as_bytes());
    }

    /// Lets a tag name it from now on; what it named before stays in its history.
    pub(crate) fn tag(&self, repository: &str, tag: &str, object: &Object) {
        let history = history(self.root(), repository, tag, &object.digest);
        write(&history, object.digest.as_bytes());
        let current = current(self.root(), repository, tag);
        write(&current, object.digest.as_bytes());
    }

    /// Takes a tag away with its history, as a registry does.
    pub(crate) fn untag(&self, repository: &str, tag: &str) {
        fs::remove_dir_all(self.tags(repository).join(tag)).unwrap();
    }

    pub(crate) fn repository(&self, repository: &str) -> PathBuf {
        self.v2().join("repositories").join(repository)
    }

    pub(crate) fn tags(&self, repository: &str) -> PathBuf {
        self.repository(repository).join("_manifests/tags")
    }

    pub(crate) fn data_of(&self, object: &Object) -> PathBuf {
        data(self.root(), &object.digest)
    }

    pub(crate) fn revision_of(&self, repository: &str, object: &Object) -> PathBuf {
        revision(self.root(), repository, &object.digest)
    }

    pub(crate) fn layer_of(&self, repository: &str, object: &Object) -> PathBuf {
        layer(self.root(), repository, &object.digest)
    }

    /// This file was written at another time than all the rest.
    pub(crate) fn written(&mut self, file: PathBuf, time: u64) {
        self.times.insert(file, time);
    }

    /// Gives every file its time.
    pub(crate) fn age(&self) {
        for path in files(self.root()) {
            set_time(&path, self.times.get(&path).copied().unwrap_or(OLD));
        }
    }

    /// With the times of its files.
    pub(crate) async fn copy(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        let mut command = Command::new("cp");
        command.arg("-a").arg(self.root().join("."));
        command.arg(copy.path());
        crate::support::process::run_well(command).await;
        copy
    }
}

/// `app` with a tag and an untagged image, `other` with one that may go.
pub(crate) fn sound() -> Tree {
    let mut tree = Tree::new();
    let app = tree.image("app", "app");
    tree.tag("app", "v1", &app);
    tree.image("app", "untagged");
    tree.sound("other");
    tree
}

pub(crate) fn index_body(name: &str, children: &[&Object]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": children.iter().map(|it| it.descriptor()).collect::<Vec<_>>(),
        "annotations": {"name": name},
    })
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

pub(crate) fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn set_time(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let file = File::open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
}

/// Everything below, in order, without following a symbolic link.
pub(crate) fn entries(directory: &Path) -> Vec<(PathBuf, fs::Metadata)> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    waiting.retain(|it| it.is_dir());
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let told = fs::symlink_metadata(&path).unwrap();
            if told.is_dir() {
                waiting.push(path.clone());
            }
            found.push((path, told));
        }
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found
}

/// The regular files below.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = entries(directory).into_iter();
    let files = entries.filter(|(_, told)| told.is_file());
    files.map(|(path, _)| path).collect()
}
