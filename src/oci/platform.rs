//! Platforms: `os/architecture[/variant]`, and which of them a node can run.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The platform of an image or of a node, normalised as containerd does it
/// (`x86_64` is `amd64`, `aarch64` is `arm64`, `arm64/v8` and `arm64` are the same).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
    /// Windows only: the version of the host that it runs on.
    pub os_version: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a platform: expected os/architecture or os/architecture/variant, as linux/arm64/v8"
)]
pub struct InvalidPlatform(String);

impl Platform {
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let architecture = match architecture {
            "x86_64" | "x86-64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let variant = variant.filter(|variant| !variant.is_empty());
        Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(ToOwned::to_owned),
            os_version: None,
        }
    }

    /// Build attestations are listed in an index as `unknown/unknown` children.
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }

    /// Whether a node of platform `node` would pull this image for itself. A node does not tell its
    /// variant, so a missing one on either side fits; `arm64` without variant is `v8`.
    pub fn serves(&self, node: &Self) -> bool {
        self.os == node.os
            && self.architecture == node.architecture
            && match (self.normal_variant(), node.normal_variant()) {
                (Some(ours), Some(theirs)) => ours == theirs,
                (None, _) | (_, None) => true,
            }
    }

    fn normal_variant(&self) -> Option<&str> {
        match (self.architecture.as_str(), self.variant.as_deref()) {
            ("arm64", None) => Some("v8"),
            (_, variant) => variant,
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            os,
            architecture,
            variant,
            os_version: _,
        } = self;
        write!(formatter, "{os}/{architecture}")?;
        match variant {
            Some(variant) => write!(formatter, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidPlatform(super::reference::shown(text));
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| {
            part.is_empty()
                || part.len() > 64
                || !part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        }) {
            return Err(invalid());
        }
        match parts.as_slice() {
            [os, architecture] => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(invalid()),
        }
    }
}

impl Serialize for Platform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_variant_takes_every_variant_but_arm64_means_v8() {
        let check = |image: &str, node: &str, expected: bool| {
            let (image, node): (Platform, Platform) =
                (image.parse().unwrap(), node.parse().unwrap());
            assert_eq!(image.serves(&node), expected, "{image} on {node}");
        };
        check("linux/arm64/v8", "linux/arm64", true);
        check("linux/arm64", "linux/arm64/v8", true);
        check("linux/arm/v7", "linux/arm", true);
        check("linux/arm/v6", "linux/arm/v7", false);
        check("linux/amd64", "linux/arm64", false);
        check("linux/x86_64", "linux/amd64", true);
        check("windows/amd64", "linux/amd64", false);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "linux", "linux/", "a/b/c/d", "linux/am d64"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
