//! Which child of an index a node's runtime takes: containerd's `platforms` package
//! (`compare.go`, `platforms.Default`), with what a Node does not tell left open.
//!
//! - A runtime takes one child: the best that fits. The others may be missing without harm.
//! - An arm64 node falls back to 32-bit arm, an amd64 node to 386, a newer arm to an older one. CRI-O
//!   has no such fallback from 64 to 32 bits; an index that only has the 32-bit image is rare, and
//!   containerd runs it.
//! - An amd64 node is `v1` whatever its processor is: neither runtime looks. An image for `amd64/v2`
//!   alone is refused on all of them.
//! - A Node tells neither the variant of a 32-bit arm nor features of its system. So each variant may
//!   be the one that is taken, and `os.features` are not read.
//! - Children that name no platform come last, and only where no other fits.

use super::{Platform, windows};

/// The step at which the 32-bit images of a 64-bit node begin: after all of its own.
const FALLBACK: u8 = 100;

/// Which of an index' children a node of one of these platforms takes, in the order of `offered`.
pub fn taken(nodes: &[Platform], offered: &[Option<&Platform>]) -> Vec<bool> {
    let mut taken = vec![false; offered.len()];
    for node in nodes {
        let ranks: Vec<Option<Rank<'_>>> = offered.iter().map(|image| rank(*image, node)).collect();
        let best = ranks.iter().flatten().min();
        for (taken, rank) in taken.iter_mut().zip(&ranks) {
            *taken |= rank.is_some() && rank.as_ref() == best;
        }
    }
    taken
}

/// How soon a runtime takes a child: the least first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank<'a> {
    step: u8,
    /// Windows takes the newest of those that fit, compared as text, as containerd compares it.
    version: std::cmp::Reverse<Option<&'a str>>,
}

fn rank<'a>(image: Option<&'a Platform>, node: &Platform) -> Option<Rank<'a>> {
    let step = match image {
        Some(image) => step(image, node)?,
        None => u8::MAX,
    };
    let version = image
        .filter(|_| node.os_version.is_some())
        .and_then(|image| image.os_version.as_deref());
    Some(Rank {
        step,
        version: std::cmp::Reverse(version),
    })
}

impl Platform {
    /// Whether a node of platform `node` takes this image if the index has none that fits better.
    pub fn suits(&self, node: &Self) -> bool {
        step(self, node).is_some()
    }
}

/// The place of an image in the order in which a node tries them; `None` if it never does.
fn step(image: &Platform, node: &Platform) -> Option<u8> {
    if image.os != node.os {
        return None;
    }
    if image.os == windows::OS {
        let is_same = image.architecture == node.architecture
            && normal_variant(image) == normal_variant(node)
            && windows::fits(image.os_version.as_deref(), node.os_version.as_deref());
        return is_same.then_some(0);
    }
    match (node.architecture.as_str(), image.architecture.as_str()) {
        ("amd64", "amd64") => amd64(normal_variant(image), normal_variant(node)),
        ("amd64", "386") => image.variant.is_none().then_some(FALLBACK),
        // Which arm it is, a Node does not tell.
        ("arm", "arm") if node.variant.is_none() => Some(0),
        ("arm", "arm") => arm(normal_variant(image), normal_variant(node)),
        ("arm64", "arm64") => arm64(normal_variant(image), normal_variant(node)),
        ("arm64", "arm") => arm(normal_variant(image), "v8").map(|step| FALLBACK + step),
        (ours, theirs) => {
            (ours == theirs && normal_variant(image) == normal_variant(node)).then_some(0)
        }
    }
}

/// The variant as containerd compares it; empty where there is none.
fn normal_variant(platform: &Platform) -> &str {
    let variant = platform.variant.as_deref().unwrap_or_default();
    match (platform.architecture.as_str(), variant) {
        ("amd64", "v1") => "",
        ("arm64", "" | "8" | "v8.0") | ("arm", "8") => "v8",
        ("arm64", "9" | "9.0" | "v9.0") => "v9",
        ("arm", "" | "7") => "v7",
        ("arm", "5") => "v5",
        ("arm", "6") => "v6",
        (_, other) => other,
    }
}

fn amd64(image: &str, node: &str) -> Option<u8> {
    let level = |variant: &str| match variant {
        "" => Some(1),
        other => number(other),
    };
    down(image, node, level(image), level(node), 1)
}

fn arm(image: &str, node: &str) -> Option<u8> {
    down(image, node, number(image), number(node), 5)
}

/// From the node's own level down to the oldest.
fn down(image: &str, node: &str, ours: Option<u8>, theirs: Option<u8>, oldest: u8) -> Option<u8> {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if ours >= oldest && theirs >= oldest => {
            theirs.checked_sub(ours)
        }
        _ => (image == node).then_some(0),
    }
}

/// The 3 of `v3`.
fn number(variant: &str) -> Option<u8> {
    let digit = variant.strip_prefix('v')?;
    (digit.len() == 1).then(|| digit.parse().ok())?
}

/// Armv9.N has all of Armv8.(N+5); there is no Armv8.10.
fn arm64(image: &str, node: &str) -> Option<u8> {
    match (arm64_version(image)?, arm64_version(node)?) {
        ((9, ours), (9, theirs)) | ((8, ours), (8, theirs)) => theirs.checked_sub(ours),
        ((8, ours), (9, theirs)) => {
            let highest = (theirs + 5).min(9);
            Some(theirs + 1 + highest.checked_sub(ours)?)
        }
        _ => None,
    }
}

fn arm64_version(variant: &str) -> Option<(u8, u8)> {
    let (major, minor) = match variant.split_once('.') {
        Some((major, minor)) => (number(major)?, minor.parse().ok()?),
        None => (number(variant)?, 0),
    };
    let is_known = matches!((major, minor), (8, 0..=9) | (9, 0..=7));
    is_known.then_some((major, minor))
}

#[cfg(test)]
mod tests;
