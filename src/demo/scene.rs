//! The demo's world: what its registry holds, what its workloads want of it, and what goes wrong.
//!
//! All of it is in the tables below. Beside what is tagged there is one build that nothing names any
//! more, so that a collection finds something to collect.

use std::io;

use super::tree::{Dialect, Image, Tree};
use crate::oci::digest::Digest;
use crate::oci::manifest::Manifest;
use crate::oci::platform::Platform;

/// One build of one repository, and the tags that it gets.
struct Build {
    repository: &'static str,
    version: &'static str,
    tags: &'static [&'static str],
    dialect: Dialect,
    shape: Shape,
    platforms: &'static [&'static str],
    layers: &'static [Part],
}

#[derive(PartialEq, Eq)]
enum Shape {
    Index,
    /// Every image of the index has a build attestation beside it.
    AttestedIndex,
    /// A manifest for one platform, tagged itself.
    Lone,
}

/// A layer, by what is in it. The same part is the same layer wherever it is used.
enum Part {
    /// Compiled for each platform.
    Compiled(&'static str, Kibibytes),
    /// The same on every platform.
    Plain(&'static str, Kibibytes),
}

type Kibibytes = usize;

const AMD64: &str = "linux/amd64";
const ARM64: &str = "linux/arm64/v8";
const ARM: &str = "linux/arm/v7";

const SYSTEM: Part = Part::Compiled("system", 96);
const NGINX_1_27: Part = Part::Compiled("nginx-like-1.27", 48);
const NGINX_1_28: Part = Part::Compiled("nginx-like-1.28", 50);
const RUNTIME: Part = Part::Compiled("runtime-21", 120);

/// In the order in which they were pushed: a later build takes a tag from an earlier one.
const BUILDS: &[Build] = &[
    Build {
        repository: "base/nginx-like",
        version: "1.27",
        tags: &["1.27"],
        dialect: Dialect::Oci,
        shape: Shape::Index,
        platforms: &[AMD64, ARM64, ARM],
        layers: &[SYSTEM, NGINX_1_27],
    },
    Build {
        repository: "base/nginx-like",
        version: "1.28",
        tags: &["1.28"],
        dialect: Dialect::Oci,
        shape: Shape::Index,
        platforms: &[AMD64, ARM64, ARM],
        layers: &[SYSTEM, NGINX_1_28],
    },
    Build {
        repository: "team/storefront",
        version: "v2.3.0",
        tags: &["v2.3.0"],
        dialect: Dialect::Oci,
        shape: Shape::Index,
        platforms: &[AMD64, ARM64],
        layers: &[SYSTEM, NGINX_1_27, Part::Plain("storefront-2.3.0", 64)],
    },
    // Its one tag moves on below: garbage, once the history of tags is.
    Build {
        repository: "team/storefront",
        version: "v2.4.0-rc1",
        tags: &["latest"],
        dialect: Dialect::Oci,
        shape: Shape::Index,
        platforms: &[AMD64, ARM64],
        layers: &[SYSTEM, NGINX_1_28, Part::Plain("storefront-2.4.0-rc1", 66)],
    },
    Build {
        repository: "team/storefront",
        version: "v2.4.0",
        tags: &["v2.4.0", "latest"],
        dialect: Dialect::Oci,
        shape: Shape::Index,
        platforms: &[AMD64, ARM64],
        layers: &[SYSTEM, NGINX_1_28, Part::Plain("storefront-2.4.0", 66)],
    },
    Build {
        repository: "team/checkout",
        version: "v1.8.0",
        tags: &["v1.8.0"],
        dialect: Dialect::Oci,
        shape: Shape::Index,
        platforms: &[AMD64, ARM64],
        layers: &[SYSTEM, RUNTIME, Part::Compiled("checkout-1.8.0", 32)],
    },
    Build {
        repository: "team/checkout",
        version: "v1.9.0",
        tags: &["v1.9.0"],
        dialect: Dialect::Oci,
        shape: Shape::Index,
        platforms: &[AMD64, ARM64],
        layers: &[SYSTEM, RUNTIME, Part::Compiled("checkout-1.9.0", 34)],
    },
    Build {
        repository: CHECKOUT,
        version: "main",
        tags: &[LATEST],
        dialect: Dialect::Oci,
        shape: Shape::Index,
        platforms: &[AMD64, ARM64],
        layers: &[SYSTEM, RUNTIME, Part::Compiled("checkout-main", 35)],
    },
    Build {
        repository: "team/worker",
        version: "0.14.0",
        tags: &["0.14.0"],
        dialect: Dialect::Oci,
        shape: Shape::AttestedIndex,
        platforms: &[AMD64, ARM64],
        layers: &[SYSTEM, RUNTIME, Part::Plain("worker-0.14.0", 20)],
    },
    Build {
        repository: "team/worker",
        version: "0.15.0",
        tags: &["0.15.0", "stable"],
        dialect: Dialect::Oci,
        shape: Shape::AttestedIndex,
        platforms: &[AMD64, ARM64],
        layers: &[SYSTEM, RUNTIME, Part::Plain("worker-0.15.0", 22)],
    },
    Build {
        repository: "tools/migrate",
        version: "3.1",
        tags: &["3.1"],
        dialect: Dialect::Docker,
        shape: Shape::Index,
        platforms: &[AMD64, ARM64],
        layers: &[SYSTEM, Part::Compiled("migrate-3.1", 12)],
    },
    Build {
        repository: "tools/migrate",
        version: "3.2",
        tags: &["3.2", "latest"],
        dialect: Dialect::Docker,
        shape: Shape::Index,
        platforms: &[AMD64, ARM64],
        layers: &[SYSTEM, Part::Compiled("migrate-3.2", 13)],
    },
    Build {
        repository: "data/ledger-db",
        version: "16.4",
        tags: &["16.4"],
        dialect: Dialect::Docker,
        shape: Shape::Index,
        platforms: &[AMD64, ARM64],
        layers: &[SYSTEM, Part::Compiled("ledger-db-16.4", 80)],
    },
    Build {
        repository: "data/ledger-db",
        version: "17.0",
        tags: &["17.0"],
        dialect: Dialect::Docker,
        shape: Shape::Index,
        platforms: &[AMD64, ARM64],
        layers: &[SYSTEM, Part::Compiled("ledger-db-17.0", 84)],
    },
    Build {
        repository: "legacy/report",
        version: "2019.4",
        tags: &["2019.4", "final"],
        dialect: Dialect::Docker,
        shape: Shape::Lone,
        platforms: &[AMD64],
        layers: &[SYSTEM, Part::Plain("report-2019.4", 40)],
    },
];

const CHECKOUT: &str = "team/checkout";
const LATEST: &str = "latest";

/// What the workloads need to know of a written tree.
#[derive(Debug, Clone)]
pub struct Scene {
    /// One workload pins `base/nginx-like:1.27`.
    pinned: Digest,
}

/// Writes the registry's content. A tree that has it already ends as it was, and whole.
pub fn write(tree: &Tree) -> io::Result<Scene> {
    for build in BUILDS {
        let root = write_build(tree, build)?;
        for tag in build.tags {
            tree.tag(build.repository, tag, root)?;
        }
    }
    Ok(Scene {
        pinned: tree.tagged("base/nginx-like", "1.27")?,
    })
}

impl Scene {
    /// The Kubernetes objects that use the images, in a registry at `host:port`.
    pub fn workloads(&self, host: &str) -> String {
        include_str!("workloads.yaml")
            .replace("$REGISTRY", host)
            .replace("$PINNED", &self.pinned.to_string())
    }
}

/// What the sweep took, whole.
#[derive(Debug, Clone)]
pub struct Swept {
    pub repository: &'static str,
    /// The tag under which it is missed.
    pub tag: &'static str,
    pub platform: Platform,
    pub digest: Digest,
    media_type: String,
    bytes: Vec<u8>,
}

/// The incident: a collector takes untagged manifests for garbage, and with them the arm64 child of
/// a live tag. The tag, and every amd64 node, go on as if nothing had happened.
pub fn sweep_arm64_child(tree: &Tree) -> io::Result<Swept> {
    let invalid = |problem: String| io::Error::new(io::ErrorKind::InvalidData, problem);
    let index = tree.read(tree.tagged(CHECKOUT, LATEST)?)?;
    let children = match Manifest::parse(&index, None) {
        Ok(Manifest::Index { children, .. }) => children,
        Ok(_) => return Err(invalid(format!("{CHECKOUT}:{LATEST} is no index"))),
        Err(error) => return Err(invalid(error.to_string())),
    };
    let arm64: Platform = parse_platform(ARM64)?;
    let child = children
        .into_iter()
        .find(|child| child.platform.as_ref() == Some(&arm64))
        .ok_or_else(|| invalid(format!("{CHECKOUT}:{LATEST} has no {ARM64}")))?;
    Ok(Swept {
        repository: CHECKOUT,
        tag: LATEST,
        platform: arm64,
        digest: child.digest,
        media_type: child.media_type,
        bytes: tree.lose_manifest(CHECKOUT, child.digest)?,
    })
}

impl Swept {
    /// Puts it back.
    pub fn restore(&self, tree: &Tree) -> io::Result<()> {
        tree.manifest(self.repository, &self.media_type, &self.bytes)?;
        Ok(())
    }
}

/// The digest that the build's tags name.
fn write_build(tree: &Tree, build: &Build) -> io::Result<Digest> {
    let Build {
        repository,
        dialect,
        ..
    } = *build;
    let mut children = Vec::new();
    for platform in build.platforms {
        let platform = parse_platform(platform)?;
        let mut layers = Vec::new();
        for part in build.layers {
            let (path, content) = part.file(&platform);
            layers.push(tree.layer(repository, dialect, &[(&path, &content)])?);
        }
        let image = Image {
            dialect,
            platform: &platform,
            version: build.version,
            layers: &layers,
        };
        let image = tree.image(repository, &image)?;
        let digest = image.digest;
        children.push(image);
        match build.shape {
            Shape::Index => {}
            Shape::AttestedIndex => children.push(tree.attestation(repository, digest)?),
            Shape::Lone => return Ok(digest),
        }
    }
    Ok(tree.index(repository, dialect, &children)?.digest)
}

impl Part {
    fn file(&self, platform: &Platform) -> (String, Vec<u8>) {
        let (name, kibibytes, line) = match self {
            Self::Compiled(name, size) => (name, *size, format!("{name} for {platform}\n")),
            Self::Plain(name, size) => (name, *size, format!("{name}\n")),
        };
        let content = line.bytes().cycle().take(kibibytes * 1024).collect();
        (format!("opt/{name}"), content)
    }
}

fn parse_platform(text: &str) -> io::Result<Platform> {
    text.parse()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

#[cfg(test)]
mod tests;
