//! The paths of a registry's storage tree, and what they say. Pure.
//!
//! distribution 2 and 3 write the same tree (`registry/storage/paths.go`); all below `docker/registry/v2`:
//!
//! ```text
//! blobs/sha256/ab/<hex>/data                                      the bytes, of whatever kind
//! repositories/<name>/_layers/sha256/<hex>/link                   a layer or config of the repository
//! repositories/<name>/_manifests/revisions/sha256/<hex>/link      a manifest or index of it
//! repositories/<name>/_manifests/tags/<tag>/current/link          what the tag names
//! repositories/<name>/_manifests/tags/<tag>/index/sha256/<hex>/link    what it named before, and names
//! repositories/<name>/_uploads/<uuid>/…                           a push that has not ended
//! ```
//!
//! A name may hold `/`, and one repository may lie within another (`a` and `a/b`): what begins with `_`
//! is reserved and ends a name.

use crate::oci::digest::Digest;

/// Above it lies what other programs keep in the same bucket or directory.
pub const ROOT: &str = "docker/registry/v2";

/// What one path says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    Blob(Digest),
    Layer {
        repository: &'a str,
        digest: Digest,
    },
    Revision {
        repository: &'a str,
        digest: Digest,
    },
    /// Where the tag's digest is written.
    Tag {
        repository: &'a str,
        tag: &'a str,
    },
    TagHistory {
        repository: &'a str,
        tag: &'a str,
        digest: Digest,
    },
    Upload {
        repository: &'a str,
        id: &'a str,
        /// The file that holds when it began.
        is_start: bool,
    },
    /// A file that was to be renamed into its place when the registry died (distribution 3's driver
    /// writes `link.<uuid>.tmp` beside it). It means nothing, to the registry neither.
    Leftover,
    /// Nothing that a registry writes there; of this repository, if of any.
    Unknown {
        repository: Option<&'a str>,
    },
}

impl<'a> Entry<'a> {
    /// Reads a path below [`ROOT`].
    pub fn parse(path: &'a str) -> Self {
        let (file, is_leftover) = (file_name(path), is_leftover(file_name(path)));
        if let Some(rest) = path.strip_prefix("blobs/") {
            return match blob(rest) {
                Some(digest) if file == "data" => Self::Blob(digest),
                Some(_) if is_leftover => Self::Leftover,
                Some(_) | None => Self::Unknown { repository: None },
            };
        }
        let Some((repository, within)) = path.strip_prefix("repositories/").and_then(split) else {
            return Self::Unknown { repository: None };
        };
        let known = within_repository(repository, within);
        match known {
            Some(_) if is_leftover => Self::Leftover,
            Some((entry, name)) if name == file => entry,
            Some(_) | None => upload(repository, within).unwrap_or(Self::Unknown {
                repository: Some(repository),
            }),
        }
    }
}

/// The entry that such a path has when its file is the one that is named with it.
fn within_repository<'a>(
    repository: &'a str,
    within: &'a str,
) -> Option<(Entry<'a>, &'static str)> {
    let (directory, _file) = within.rsplit_once('/')?;
    if let Some(link) = directory.strip_prefix("_layers/") {
        let digest = algorithm_and_hex(link)?;
        return Some((Entry::Layer { repository, digest }, "link"));
    }
    if let Some(link) = directory.strip_prefix("_manifests/revisions/") {
        let digest = algorithm_and_hex(link)?;
        return Some((Entry::Revision { repository, digest }, "link"));
    }
    let (tag, rest) = directory
        .strip_prefix("_manifests/tags/")?
        .split_once('/')?;
    if rest == "current" {
        return Some((Entry::Tag { repository, tag }, "link"));
    }
    let digest = algorithm_and_hex(rest.strip_prefix("index/")?)?;
    let entry = Entry::TagHistory {
        repository,
        tag,
        digest,
    };
    Some((entry, "link"))
}

fn upload<'a>(repository: &'a str, within: &'a str) -> Option<Entry<'a>> {
    let (id, rest) = within.strip_prefix("_uploads/")?.split_once('/')?;
    Some(Entry::Upload {
        repository,
        id,
        is_start: rest == "startedat",
    })
}

/// The name of a repository, and what is below it. A name without a component is none.
fn split(path: &str) -> Option<(&str, &str)> {
    let mut start = 0;
    for component in path.split('/') {
        if component.starts_with('_') {
            let name = path.get(..start)?.strip_suffix('/')?;
            return Some((name, path.get(start..)?));
        }
        start += component.len() + 1;
    }
    None
}

/// `sha256/ab/<hex>/<file>`
fn blob(path: &str) -> Option<Digest> {
    let (directory, _file) = path.rsplit_once('/')?;
    let (shard, hex) = directory.strip_prefix("sha256/")?.split_once('/')?;
    let is_own = shard.len() == 2 && hex.starts_with(shard);
    is_own.then(|| digest(hex)).flatten()
}

/// `sha256/<hex>`
fn algorithm_and_hex(path: &str) -> Option<Digest> {
    digest(path.strip_prefix("sha256/")?)
}

fn digest(hex: &str) -> Option<Digest> {
    let mut bytes = [0; 32];
    let lower = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    if hex.len() != 64 || !hex.bytes().all(lower) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(Digest::from_bytes(bytes))
}

fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

fn is_leftover(file: &str) -> bool {
    let middle = file
        .strip_suffix(".tmp")
        .and_then(|name| name.split_once('.'));
    middle.is_some_and(|(name, uuid)| matches!(name, "link" | "data") && uuid.len() == 36)
}

/// Where a blob's bytes are, below [`ROOT`].
pub fn data(digest: &Digest) -> String {
    let hex = digest.hex();
    let shard = hex.get(..2).unwrap_or_default();
    format!("blobs/sha256/{shard}/{hex}/data")
}

/// By which a repository has a config or a layer.
pub fn layer(repository: &str, digest: &Digest) -> String {
    format!(
        "repositories/{repository}/_layers/sha256/{}/link",
        digest.hex()
    )
}

/// By which a repository has a manifest.
pub fn revision(repository: &str, digest: &Digest) -> String {
    format!(
        "repositories/{repository}/_manifests/revisions/sha256/{}/link",
        digest.hex()
    )
}

/// Where what a tag names is written.
pub fn current(repository: &str, tag: &str) -> String {
    format!("repositories/{repository}/_manifests/tags/{tag}/current/link")
}

/// That a tag named a manifest, or names it.
pub fn history(repository: &str, tag: &str, digest: &Digest) -> String {
    format!(
        "repositories/{repository}/_manifests/tags/{tag}/index/sha256/{}/link",
        digest.hex()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn every_path_of_a_registry_is_told_by_what_it_is() {
        let digest: Digest = format!("sha256:{HEX}").parse().unwrap();
        let repository = "team/app";
        let unknown = |repository| Entry::Unknown { repository };
        for (path, expected) in [
            ("blobs/sha256/e3/HEX/data", Entry::Blob(digest)),
            (
                "repositories/team/app/_layers/sha256/HEX/link",
                Entry::Layer { repository, digest },
            ),
            (
                "repositories/team/app/_manifests/revisions/sha256/HEX/link",
                Entry::Revision { repository, digest },
            ),
            (
                "repositories/team/app/_manifests/tags/v1/current/link",
                Entry::Tag {
                    repository,
                    tag: "v1",
                },
            ),
            (
                "repositories/team/app/_manifests/tags/v1/index/sha256/HEX/link",
                Entry::TagHistory {
                    repository,
                    tag: "v1",
                    digest,
                },
            ),
            (
                "repositories/team/app/_uploads/4f0b/startedat",
                Entry::Upload {
                    repository,
                    id: "4f0b",
                    is_start: true,
                },
            ),
            (
                "repositories/team/app/_uploads/4f0b/hashstates/sha256/0",
                Entry::Upload {
                    repository,
                    id: "4f0b",
                    is_start: false,
                },
            ),
            // A repository within another, and a tag that looks like a part of the tree.
            (
                "repositories/team/_layers/sha256/HEX/link",
                Entry::Layer {
                    repository: "team",
                    digest,
                },
            ),
            (
                "repositories/a/_manifests/tags/_layers/current/link",
                Entry::Tag {
                    repository: "a",
                    tag: "_layers",
                },
            ),
            (
                "blobs/sha256/e3/HEX/data.123e4567-e89b-12d3-a456-426614174000.tmp",
                Entry::Leftover,
            ),
            (
                "repositories/team/app/_layers/sha256/HEX/link.123e4567-e89b-12d3-a456-426614174000.tmp",
                Entry::Leftover,
            ),
            // In another's shard, of another algorithm, of another shape.
            ("blobs/sha256/ff/HEX/data", unknown(None)),
            ("blobs/sha256/e3/HEX/other", unknown(None)),
            ("blobs/sha512/e3/HEX/data", unknown(None)),
            ("blobs/sha256/e3/E3B0/data", unknown(None)),
            ("repositories/_layers/sha256/HEX/link", unknown(None)),
            ("repositories/team/app/readme", unknown(None)),
            (
                "repositories/team/app/_layers/sha512/HEX/link",
                unknown(Some(repository)),
            ),
            (
                "repositories/team/app/_layers/sha256/HEX/data",
                unknown(Some(repository)),
            ),
            (
                "repositories/team/app/_manifests/tags/v1/link",
                unknown(Some(repository)),
            ),
            (
                "repositories/team/app/_manifests/revisions/sha256/HEX/signatures/sha256/HEX/link",
                unknown(Some(repository)),
            ),
            ("repositories/team/app/_other/x", unknown(Some(repository))),
            ("lockfiles/database-in-use", unknown(None)),
            ("", unknown(None)),
        ] {
            let path = path.replace("HEX", HEX);
            assert_eq!(Entry::parse(&path), expected, "{path}");
        }
    }
}
