//! Platforms: `os/architecture[/variant]`, and for Windows `os(version)/architecture`.
//!
//! What an image says of itself is written by whoever built it. It is brought into the grammar here,
//! so that it can be shown, used as a label, and read back.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub mod choice;
mod windows;

/// The longest part of a platform that is kept.
const PART_BYTES_MAX: usize = 64;

/// The platform of an image or of a node, with the names that containerd gives them
/// (`x86_64` is `amd64`, `aarch64` is `arm64`, `armhf` is `arm/v7`). A copy shares its texts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform(Arc<Parts>);

/// What a platform is made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Parts {
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
    /// Windows only: of an image the version of the host that it was built for, of a node its own
    /// (`10.0.20348` or `10.0.20348.2340`).
    pub os_version: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a platform: expected os/architecture or os/architecture/variant, as linux/arm64/v8, or windows(10.0.20348)/amd64"
)]
pub struct InvalidPlatform(String);

impl Deref for Platform {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Platform {
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        Self(Arc::new(Parts::new(os, architecture, variant)))
    }

    /// The same, of this version. One that is empty says nothing.
    #[must_use]
    pub fn with_os_version(mut self, version: Option<&str>) -> Self {
        let version = version
            .map(word)
            .filter(|version| !version.is_empty() && self.os == windows::OS);
        if self.os_version != version {
            Arc::make_mut(&mut self.0).os_version = version;
        }
        self
    }

    /// Nobody's platform: build attestations are listed in an index as `unknown/unknown` children.
    pub fn is_unknown(&self) -> bool {
        self.os == UNKNOWN && self.architecture == UNKNOWN
    }
}

impl Parts {
    fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let variant = variant.filter(|variant| !variant.is_empty());
        let os = match word(os).as_str() {
            // containerd takes the node's own where an index says none, and an image that says
            // nothing at all for nobody's.
            "" if architecture.is_empty() => UNKNOWN.to_owned(),
            "" => "linux".to_owned(),
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let variant = variant.map(word);
        let (architecture, variant) = match word(architecture).as_str() {
            "" => (UNKNOWN, variant),
            "i386" => ("386", None),
            "x86_64" | "x86-64" => ("amd64", variant),
            "aarch64" => ("arm64", variant),
            "armhf" => ("arm", Some("v7".to_owned())),
            "armel" => ("arm", Some("v6".to_owned())),
            other => {
                return Self {
                    os,
                    architecture: other.to_owned(),
                    variant,
                    os_version: None,
                };
            }
        };
        Self {
            os,
            architecture: architecture.to_owned(),
            variant,
            os_version: None,
        }
    }
}

const UNKNOWN: &str = "unknown";

/// A part as it can be shown and read back: lower case, as containerd compares it, and a `.` in the
/// place of what the grammar lacks.
fn word(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            c if is_in_word(c) => c.to_ascii_lowercase(),
            _ => '.',
        })
        .take(PART_BYTES_MAX)
        .collect()
}

fn is_in_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-".contains(c)
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts {
            os,
            architecture,
            variant,
            os_version,
        } = &*self.0;
        formatter.write_str(os)?;
        if let Some(version) = os_version {
            write!(formatter, "({version})")?;
        }
        write!(formatter, "/{architecture}")?;
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
        let (os, rest) = text.split_once('/').ok_or_else(invalid)?;
        let (os, version) = match os.strip_suffix(')') {
            Some(os) => {
                let (os, version) = os.split_once('(').ok_or_else(invalid)?;
                // What is written after a version and not kept would be believed to count.
                if os != windows::OS {
                    return Err(invalid());
                }
                (os, Some(version))
            }
            None => (os, None),
        };
        let (architecture, variant) = match rest.split_once('/') {
            Some((architecture, variant)) => (architecture, Some(variant)),
            None => (rest, None),
        };
        let parts = [Some(os), version, Some(architecture), variant];
        let is_word = |part: &str| {
            !part.is_empty() && part.len() <= PART_BYTES_MAX && part.chars().all(is_in_word)
        };
        if !parts.into_iter().flatten().all(is_word) {
            return Err(invalid());
        }
        Ok(Self::new(os, architecture, variant).with_os_version(version))
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
    use proptest::prelude::*;

    #[test]
    fn names_are_containerds() {
        for (os, architecture, variant, expected) in [
            ("linux", "x86_64", None, "linux/amd64"),
            ("Linux", "AARCH64", Some("V8"), "linux/arm64/v8"),
            ("linux", "armhf", None, "linux/arm/v7"),
            ("linux", "armel", Some("v7"), "linux/arm/v6"),
            ("linux", "i386", Some("sse2"), "linux/386"),
            ("macos", "arm64", None, "darwin/arm64"),
            ("", "amd64", None, "linux/amd64"),
            ("", "", Some(""), "unknown/unknown"),
            ("linux", "", None, "linux/unknown"),
            ("li nux", "a/b", Some("\n\u{202e}"), "li.nux/a.b/.."),
        ] {
            let platform = Platform::new(os, architecture, variant);
            assert_eq!(platform.to_string(), expected);
        }
    }

    #[test]
    fn a_version_is_windows_own() {
        let version = Some("10.0.20348.2340");
        let windows = Platform::new("windows", "amd64", None).with_os_version(version);
        assert_eq!(windows.to_string(), "windows(10.0.20348.2340)/amd64");
        // Docker's own builds write one for Linux; no runtime looks at it there.
        let linux = Platform::new("linux", "amd64", None).with_os_version(version);
        assert_eq!(linux, "linux/amd64".parse().unwrap());
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "linux",
            "linux/",
            "/amd64",
            "a/b/c/d",
            "linux/am d64",
            "windows()/amd64",
            "windows(10.0/amd64",
            "windows10.0)/amd64",
            "linux(6.1)/amd64",
        ] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_an_index_says_is_read_back_as_it_was_shown(
            os in ".{0,80}|windows", architecture in ".{0,80}", variant in proptest::option::of(".{0,80}"),
            version in proptest::option::of(".{0,80}"),
        ) {
            let platform = Platform::new(&os, &architecture, variant.as_deref())
                .with_os_version(version.as_deref());
            let shown = platform.to_string();
            prop_assert!(shown.len() <= 4 * PART_BYTES_MAX + 4 && shown.is_ascii());
            prop_assert_eq!(shown.parse::<Platform>().unwrap(), platform);
        }
    }
}
