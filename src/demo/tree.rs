//! Writes a storage tree as distribution does, so that a real distribution serves it.
//!
//! Only the demo, the benchmark and the tests write by it. It never reads a clock, and the same
//! calls write the same bytes. Names come from the program, never from outside: they are not checked.
//! One path is never written by two threads at once.

use std::fs;
use std::io;
use std::path::Path;

use super::documents;
use super::layout::Layout;
use super::tar;
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;
use crate::oci::media_type;
use crate::oci::platform::Platform;

/// A distribution's `rootdirectory`.
#[derive(Debug, Clone)]
pub struct Tree {
    layout: Layout,
}

/// Whose media types a manifest speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Oci,
    Docker,
}

/// A layer as it is stored, and the digest of what it unpacks to.
#[derive(Debug, Clone)]
pub struct Layer {
    pub descriptor: Descriptor,
    pub diff_id: Digest,
}

/// What an image is made of.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    pub dialect: Dialect,
    pub platform: &'a Platform,
    /// A label of the config; tells builds with the same layers apart.
    pub version: &'a str,
    pub layers: &'a [Layer],
}

impl Tree {
    pub fn new(root: impl AsRef<Path>) -> Self {
        Self {
            layout: Layout::new(root.as_ref()),
        }
    }

    /// A config or layer of a repository.
    pub fn blob(&self, repository: &str, media_type: &str, bytes: &[u8]) -> io::Result<Descriptor> {
        let descriptor = describe(media_type, bytes);
        put(&self.layout.data(descriptor.digest), bytes)?;
        link(
            &self.layout.layer_link(repository, descriptor.digest),
            descriptor.digest,
        )?;
        Ok(descriptor)
    }

    /// Files, at their paths, as a layer.
    pub fn layer(
        &self,
        repository: &str,
        dialect: Dialect,
        files: &[(&str, &[u8])],
    ) -> io::Result<Layer> {
        let archive = tar::tar(files);
        Ok(Layer {
            descriptor: self.blob(repository, dialect.layer(), &tar::gzip(&archive))?,
            diff_id: Digest::of(&archive),
        })
    }

    /// An image of one platform. Its layers must be in the repository already.
    pub fn image(&self, repository: &str, image: &Image<'_>) -> io::Result<Descriptor> {
        let dialect = image.dialect;
        let config = self.blob(repository, dialect.config(), &documents::config(image))?;
        let layers = image.layers.iter().map(|layer| &layer.descriptor);
        let manifest = documents::manifest(dialect, &config, layers);
        Ok(Descriptor {
            platform: Some(image.platform.clone()),
            ..self.manifest(repository, dialect.manifest(), &manifest)?
        })
    }

    /// A build attestation as `BuildKit` makes it: an image of no platform, of one in-toto layer.
    /// In an index it follows the child that it is about.
    pub fn attestation(&self, repository: &str, subject: Digest) -> io::Result<Descriptor> {
        let statement = format!(
            r#"{{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://slsa.dev/provenance/v0.2","subject":[{{"name":"{repository}","digest":{{"sha256":"{}"}}}}],"predicate":{{}}}}"#,
            subject.hex()
        );
        let descriptor = self.blob(
            repository,
            "application/vnd.in-toto+json",
            statement.as_bytes(),
        )?;
        let layer = Layer {
            diff_id: descriptor.digest,
            descriptor,
        };
        self.image(
            repository,
            &Image {
                dialect: Dialect::Oci,
                platform: &Platform::new("unknown", "unknown", None),
                version: "attestation",
                layers: &[layer],
            },
        )
    }

    /// An index of images that are in the repository already. It has no tag, and neither have they.
    pub fn index(
        &self,
        repository: &str,
        dialect: Dialect,
        children: &[Descriptor],
    ) -> io::Result<Descriptor> {
        let index = documents::index(dialect, children);
        self.manifest(repository, dialect.index(), &index)
    }

    /// Any manifest, by its bytes.
    pub fn manifest(
        &self,
        repository: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> io::Result<Descriptor> {
        let descriptor = describe(media_type, bytes);
        // Bytes before the link: whoever sees the link finds what it names.
        put(&self.layout.data(descriptor.digest), bytes)?;
        link(
            &self.layout.revision_link(repository, descriptor.digest),
            descriptor.digest,
        )?;
        Ok(descriptor)
    }

    /// Lets a tag name a manifest, from now on; the history keeps what it named before.
    pub fn tag(&self, repository: &str, tag: &str, digest: Digest) -> io::Result<()> {
        // distribution's order, too: history, then `current`.
        link(&self.layout.tag_history(repository, tag, digest), digest)?;
        link(&self.layout.tag_current(repository, tag), digest)
    }

    /// What a tag names.
    pub fn tagged(&self, repository: &str, tag: &str) -> io::Result<Digest> {
        fs::read_to_string(self.layout.tag_current(repository, tag))?
            .parse()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// The bytes of a manifest, config or layer.
    pub fn read(&self, digest: Digest) -> io::Result<Vec<u8>> {
        fs::read(self.layout.data(digest))
    }

    /// Takes a manifest away as a collector does that sweeps it: the repository's link and the bytes.
    /// Returns the bytes: with [`Tree::manifest`] they can be put back.
    pub fn lose_manifest(&self, repository: &str, digest: Digest) -> io::Result<Vec<u8>> {
        let bytes = self.read(digest)?;
        remove_parent(&self.layout.revision_link(repository, digest))?;
        remove_parent(&self.layout.data(digest))?;
        Ok(bytes)
    }

    /// Takes a config or layer away as distribution 2.8 does: the bytes. The links to it stay.
    pub fn lose_blob(&self, digest: Digest) -> io::Result<Vec<u8>> {
        let bytes = self.read(digest)?;
        remove_parent(&self.layout.data(digest))?;
        Ok(bytes)
    }
}

impl Dialect {
    pub(super) fn index(self) -> &'static str {
        match self {
            Self::Oci => media_type::OCI_INDEX,
            Self::Docker => media_type::DOCKER_LIST,
        }
    }

    pub(super) fn manifest(self) -> &'static str {
        match self {
            Self::Oci => media_type::OCI_MANIFEST,
            Self::Docker => media_type::DOCKER_MANIFEST,
        }
    }

    fn config(self) -> &'static str {
        match self {
            Self::Oci => media_type::OCI_CONFIG,
            Self::Docker => media_type::DOCKER_CONFIG,
        }
    }

    fn layer(self) -> &'static str {
        match self {
            Self::Oci => media_type::OCI_LAYER_GZIP,
            Self::Docker => "application/vnd.docker.image.rootfs.diff.tar.gzip",
        }
    }
}

fn describe(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        platform: None,
        has_urls: false,
    }
}

/// 71 bytes, no newline.
fn link(path: &Path, digest: Digest) -> io::Result<()> {
    put(path, digest.to_string().as_bytes())
}

/// Whole or not at all to whoever reads meanwhile. What is there already with these bytes stays: it
/// keeps its time, as under distribution.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let partial = path.with_extension("tmp");
    fs::write(&partial, bytes)?;
    fs::rename(&partial, path)
}

/// Removes the directory that a `data` or `link` file has for itself.
fn remove_parent(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    match path.parent() {
        Some(parent) => fs::remove_dir(parent),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
