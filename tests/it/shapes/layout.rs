//! The images in `tests/fixtures`: OCI layouts, walked by their own JSON and not by the code under
//! test, and written into a registry's storage as a push leaves them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// What a manifest names an object as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Root,
    Child,
    Config,
    Layer,
    /// A layer that only its vendor has.
    Foreign,
}

/// One place at which an object is named.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) digest: String,
    pub(crate) role: Role,
    pub(crate) is_manifest: bool,
    /// As pullproof writes it.
    pub(crate) platform: Option<String>,
    /// The manifests from the root to the one that names it.
    pub(crate) path: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Layout {
    directory: PathBuf,
}

impl Layout {
    pub(crate) fn open(name: &str) -> Self {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        Self {
            directory: fixtures.join(name),
        }
    }

    /// Tags with the descriptors of what they name.
    pub(crate) fn tags(&self) -> Vec<(String, Value)> {
        let index = fs::read(self.directory.join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        let manifests = index["manifests"].as_array().unwrap().iter();
        let tag = |descriptor: &Value| {
            let name = &descriptor["annotations"]["org.opencontainers.image.ref.name"];
            name.as_str().unwrap().to_owned()
        };
        manifests
            .map(|descriptor| (tag(descriptor), descriptor.clone()))
            .collect()
    }

    fn root(&self, tag: &str) -> Value {
        let tags = self.tags();
        let found = tags.iter().find(|(name, _)| name == tag);
        found.unwrap_or_else(|| panic!("no {tag}")).1.clone()
    }

    /// The only tag that is this one, or that names a digest and ends so.
    pub(crate) fn tag(&self, end: &str) -> String {
        let is_it = |tag: &String| match tag.strip_prefix("sha256-") {
            Some(rest) => rest.get(64..) == Some(end),
            None => tag == end,
        };
        let mut tags = self.tags().into_iter().map(|(tag, _)| tag).filter(is_it);
        let tag = tags.next().unwrap_or_else(|| panic!("no {end}"));
        assert_eq!(tags.next(), None, "{end}");
        tag
    }

    /// The content of an object; `None` for one that this copy does not have.
    pub(crate) fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        let hash = digest.strip_prefix("sha256:").unwrap();
        fs::read(self.directory.join("blobs/sha256").join(hash)).ok()
    }

    /// Every place below a tag, the root first.
    pub(crate) fn places(&self, tag: &str) -> Vec<Place> {
        let root = self.root(tag);
        let mut places = Vec::new();
        let mut place = place(&root, Role::Root, None, &[]);
        place.platform = self.platform_of_lone(&place.digest);
        self.walk(&place, &mut places);
        places
    }

    fn walk(&self, place: &Place, places: &mut Vec<Place>) {
        places.push(place.clone());
        let Some(body) = self.blob(&place.digest).filter(|_| place.is_manifest) else {
            return;
        };
        let manifest: Value = serde_json::from_slice(&body).unwrap();
        let path = [place.path.as_slice(), std::slice::from_ref(&place.digest)].concat();
        let list = |key: &str| manifest[key].as_array().cloned().unwrap_or_default();
        for child in list("manifests") {
            let platform = platform(&child["platform"]).or_else(|| place.platform.clone());
            let mut below = self::place(&child, Role::Child, platform, &path);
            if !below.is_manifest {
                below.role = Role::Layer;
            }
            self.walk(&below, places);
        }
        if manifest["config"].is_object() {
            let platform = place.platform.clone();
            places.push(self::place(
                &manifest["config"],
                Role::Config,
                platform,
                &path,
            ));
        }
        for layer in list("layers").into_iter().chain(list("blobs")) {
            let role = if layer["urls"].is_array() {
                Role::Foreign
            } else {
                Role::Layer
            };
            places.push(self::place(&layer, role, place.platform.clone(), &path));
        }
    }

    /// What the config of a manifest that no index describes says.
    fn platform_of_lone(&self, digest: &str) -> Option<String> {
        let json = |digest: &str| {
            let content = self.blob(digest)?;
            serde_json::from_slice::<Value>(&content).ok()
        };
        let manifest = json(digest)?;
        let config = json(manifest["config"]["digest"].as_str()?)?;
        platform(&config)
    }

    /// Writes all of it into a repository as pushes leave it, but for the objects that are lost.
    pub(crate) fn write(&self, storage: &Path, repository: &str, lost: &str) {
        let storage = storage.join("docker/registry/v2");
        let repository = storage.join("repositories").join(repository);
        let write = |path: PathBuf, content: &[u8]| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        for (tag, root) in self.tags() {
            let digest = root["digest"].as_str().unwrap();
            let tag_directory = repository.join("_manifests/tags").join(&tag);
            let hash = digest.strip_prefix("sha256:").unwrap();
            write(tag_directory.join("current/link"), digest.as_bytes());
            let index = tag_directory.join("index/sha256").join(hash).join("link");
            write(index, digest.as_bytes());
            for place in self.places(&tag) {
                self.write_object(&place, &storage, &repository, lost, &write);
            }
        }
    }

    fn write_object(
        &self,
        place: &Place,
        storage: &Path,
        repository: &Path,
        lost: &str,
        write: &dyn Fn(PathBuf, &[u8]),
    ) {
        let Some(content) = self.blob(&place.digest) else {
            return;
        };
        let hash = place.digest.strip_prefix("sha256:").unwrap();
        let data = storage.join("blobs/sha256").join(&hash[..2]).join(hash);
        write(data.join("data"), &content);
        let links = if place.is_manifest {
            "_manifests/revisions/sha256"
        } else {
            "_layers/sha256"
        };
        if place.digest != lost {
            let link = repository.join(links).join(hash).join("link");
            write(link, place.digest.as_bytes());
        }
    }
}

fn place(descriptor: &Value, role: Role, platform: Option<String>, path: &[String]) -> Place {
    let media_type = descriptor["mediaType"].as_str().unwrap_or_default();
    Place {
        digest: descriptor["digest"].as_str().unwrap().to_owned(),
        role,
        is_manifest: media_type.contains(".manifest.") || media_type.contains(".image.index."),
        platform,
        path: path.to_vec(),
    }
}

fn platform(value: &Value) -> Option<String> {
    let text = |key: &str| value[key].as_str().filter(|text| !text.is_empty());
    let (os, architecture) = (text("os")?, text("architecture")?);
    let version = text("os.version").map_or_else(String::new, |version| format!("({version})"));
    let variant = text("variant").map_or_else(String::new, |variant| format!("/{variant}"));
    Some(format!("{os}{version}/{architecture}{variant}"))
}
