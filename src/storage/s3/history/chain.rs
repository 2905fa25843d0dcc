//! Whether pages of versions are a listing: each follows on the one before it, and together they leave out
//! nothing that can be noticed. Pure.
//!
//! As of objects (`super::super::chain`), with what versions have besides: of each key the first that is
//! told is what the key is now, and no other one is; no version is told twice. A page of versions has no
//! count, so that what is lost in its midst cannot be noticed unless it was a key's first.

use std::collections::HashSet;

use super::super::chain::{EMPTY_PAGES_MAX, KEYS_MAX};
use super::page::Page;
use super::{History, Version};

type Marker = (String, Option<String>);

/// The pages of one listing so far.
#[derive(Debug)]
pub(in super::super) struct Chain {
    bucket: String,
    prefix: String,
    marker: Option<Marker>,
    markers: HashSet<Marker>,
    /// By their keys, in order; the last may go on.
    found: Vec<History>,
    empty: u32,
    has_ended: bool,
}

impl Chain {
    pub(in super::super) fn new(bucket: &str, prefix: &str) -> Self {
        Self {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            marker: None,
            markers: HashSet::new(),
            found: Vec::new(),
            empty: 0,
            has_ended: false,
        }
    }

    /// Where the next page begins, after a key and one of its versions; `None` for the beginning.
    pub(in super::super) fn next(&self) -> Option<(&str, Option<&str>)> {
        let (key, version) = self.marker.as_ref()?;
        Some((key, version.as_deref()))
    }

    pub(in super::super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// All that was told, by its keys.
    pub(in super::super) fn into_found(self) -> Vec<History> {
        self.found
    }

    /// Takes the page that was asked for. The error says what is wrong with it.
    pub(in super::super) fn take(&mut self, page: Page) -> Result<(), String> {
        if self.has_ended {
            return Err("a page comes after the last one".to_owned());
        }
        self.is_what_was_asked(&page)?;
        let count = page.entries.len();
        if count > usize::try_from(KEYS_MAX).unwrap_or(usize::MAX) {
            return Err(format!(
                "it has {count} versions, and {KEYS_MAX} were asked for"
            ));
        }
        for (number, (key, version)) in page.entries.into_iter().enumerate() {
            self.add(key, version, number == 0)?;
        }
        self.empty = if count == 0 { self.empty + 1 } else { 0 };
        self.follow(page.is_truncated, page.next_key, page.next_version)
    }

    fn add(&mut self, key: String, version: Version, is_first: bool) -> Result<(), String> {
        if !key.starts_with(&self.prefix) {
            return Err(format!("`{key}` is not below `{}`", self.prefix));
        }
        let id = &version.id;
        match self.found.last_mut() {
            Some(before) if before.path > key => Err(format!(
                "`{key}` comes after `{}`: a listing is in order of its keys",
                before.path
            )),
            Some(before) if before.path == key => {
                // versitygw begins a page with the version after which it was asked for.
                if is_first && before.versions.last() == Some(&version) {
                    return Ok(());
                }
                if version.is_latest {
                    return Err(format!(
                        "it says of two versions of `{key}` that it is them"
                    ));
                }
                if before.versions.iter().any(|known| known.id == *id) {
                    return Err(format!("it has the version `{id}` of `{key}` twice"));
                }
                before.versions.push(version);
                Ok(())
            }
            _ if !version.is_latest => Err(format!(
                "it does not say what `{key}` is now: a version of it was left out"
            )),
            _ => {
                self.found.push(History {
                    path: key,
                    versions: vec![version],
                });
                Ok(())
            }
        }
    }

    fn is_what_was_asked(&self, page: &Page) -> Result<(), String> {
        let differs = |what: &str, said: &Option<String>, asked: &str| match said {
            Some(said) if said != asked => Err(format!(
                "it is of the {what} `{said}`, and asked was `{asked}`"
            )),
            _ => Ok(()),
        };
        let (key, version) = self.next().unwrap_or_default();
        differs("bucket", &page.bucket, &self.bucket)?;
        differs("prefix", &page.prefix, &self.prefix)?;
        differs("key marker", &page.key_marker, key)?;
        differs(
            "version marker",
            &page.version_marker,
            version.unwrap_or_default(),
        )
    }

    fn follow(
        &mut self,
        is_truncated: bool,
        key: Option<String>,
        version: Option<String>,
    ) -> Result<(), String> {
        match (key, is_truncated) {
            (Some(key), true) => {
                if self.empty > EMPTY_PAGES_MAX {
                    return Err(format!("{EMPTY_PAGES_MAX} pages without a version came"));
                }
                let last = self.found.last().map(|last| last.path.as_str());
                if last.is_some_and(|last| key.as_str() < last) {
                    return Err(format!("its next page begins at `{key}`, which was before"));
                }
                let marker = (key, version);
                if !self.markers.insert(marker.clone()) {
                    return Err("its marker for the next page was given before".to_owned());
                }
                self.marker = Some(marker);
                Ok(())
            }
            (None, false) => {
                self.has_ended = true;
                Ok(())
            }
            (None, true) => Err("it is truncated, and has no marker for the next page".to_owned()),
            (Some(_), false) => {
                Err("it is the last, and yet has a marker for a next page".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests;
