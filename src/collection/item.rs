//! What a collection takes: one file of the tree, or one object of the bucket. Pure.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::oci::digest::Digest;
use crate::second::Second;
use crate::storage::layout;

/// What it is, in the order in which it is taken: what refers to something goes before it, so that
/// whoever dies in between leaves nothing that names what is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// That a tag named a manifest before.
    TagHistory,
    /// By which a repository has a manifest.
    Revision,
    /// The bytes of a manifest.
    Manifest,
    /// By which a repository has a config or a layer.
    LayerLink,
    /// The bytes of a config or a layer.
    Blob,
}

impl Class {
    /// Whether it holds bytes, and not only says that a repository has some.
    pub fn is_data(self) -> bool {
        matches!(self, Self::Manifest | Self::Blob)
    }
}

/// The place of an item in its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ItemId(pub u32);

impl ItemId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What is known of an item. It is what is written of it, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    pub class: Class,
    pub digest: Digest,
    /// `None` for bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<Arc<str>>,
    /// Of what a tag named before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Arc<str>>,
    pub bytes: u64,
    /// When it was written, as the plan saw it: what was written since is not what was planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<Second>,
    /// Of a versioned bucket: the version that is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Why it goes, by the plan's names.
    pub reason: String,
}

impl Item {
    /// Where it is, below the registry's `rootdirectory`.
    pub fn path(&self) -> String {
        let repository = self.repository.as_deref().unwrap_or_default();
        let below = match self.class {
            Class::TagHistory => {
                let tag = self.tag.as_deref().unwrap_or_default();
                layout::history(repository, tag, &self.digest)
            }
            Class::Revision => layout::revision(repository, &self.digest),
            Class::LayerLink => layout::layer(repository, &self.digest),
            Class::Manifest | Class::Blob => layout::data(&self.digest),
        };
        format!("{}/{below}", layout::ROOT)
    }
}

/// A run: when it began, and by which holder of the storage's lock. No two are the same, and they sort by
/// their age.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId {
    pub began: Second,
    pub epoch: u32,
}

impl fmt::Display for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let began = jiff::Timestamp::from(self.began);
        write!(
            formatter,
            "{}-{:04}",
            began.strftime("%Y%m%dT%H%M%SZ"),
            self.epoch
        )
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// It is no name of a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no run: one is named as 20261122T020000Z-0001")]
pub struct NoRun(String);

impl FromStr for RunId {
    type Err = NoRun;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let no_run = || NoRun(text.to_owned());
        let (began, epoch) = text.split_once('-').ok_or_else(no_run)?;
        let epoch = epoch.parse().map_err(|_not_a_number| no_run())?;
        let began = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", began)
            .and_then(|civil| civil.to_zoned(jiff::tz::TimeZone::UTC))
            .map_err(|_not_a_time| no_run())?;
        let run = Self {
            began: began.timestamp().into(),
            epoch,
        };
        // One name for a run: it is a path.
        (run.to_string() == text).then_some(run).ok_or_else(no_run)
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::layout::Entry;

    fn item(class: Class) -> Item {
        Item {
            class,
            digest: Digest::of(b"some"),
            repository: (!class.is_data()).then(|| "team/app".into()),
            tag: (class == Class::TagHistory).then(|| "v1".into()),
            bytes: 71,
            modified: None,
            version: None,
            reason: "untagged".to_owned(),
        }
    }

    #[test]
    fn each_item_is_where_the_registry_looks_for_it() {
        let digest = Digest::of(b"some");
        for (class, expected) in [
            (
                Class::TagHistory,
                Entry::TagHistory {
                    repository: "team/app",
                    tag: "v1",
                    digest,
                },
            ),
            (
                Class::Revision,
                Entry::Revision {
                    repository: "team/app",
                    digest,
                },
            ),
            (
                Class::LayerLink,
                Entry::Layer {
                    repository: "team/app",
                    digest,
                },
            ),
            (Class::Manifest, Entry::Blob(digest)),
            (Class::Blob, Entry::Blob(digest)),
        ] {
            let path = item(class).path();
            let below = path.strip_prefix("docker/registry/v2/").unwrap();
            assert_eq!(Entry::parse(below), expected, "{path}");
        }
    }

    #[test]
    fn a_run_has_one_name() {
        let run = RunId {
            began: Second::new(1_795_309_200),
            epoch: 7,
        };
        assert_eq!(run.to_string(), "20261122T010000Z-0007");
        assert_eq!("20261122T010000Z-0007".parse(), Ok(run));
        for wrong in [
            "",
            "..",
            "20261122T010000Z",
            "20261122T010000Z-7",
            "20261122T010000Z-+007",
            "20261122T010000Z-0007/..",
            "20261341T010000Z-0007",
        ] {
            assert!(wrong.parse::<RunId>().is_err(), "{wrong}");
        }
    }
}
