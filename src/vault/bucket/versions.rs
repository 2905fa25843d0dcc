//! With versions: nothing is moved. What is taken is below a delete marker, and stays what it was.

use std::io;

use super::Vault;
use crate::collection::item::Item;
use crate::collection::run::Outcome;
use crate::oci::manifest::MANIFEST_BYTES_MAX;
use crate::storage::s3::{CopyBounds, Current, Fence, History, Marked, Purged, Version, VersionId};

/// The name of what was written while the bucket had no versions.
const NULL: &str = "null";

impl Vault {
    /// By which version an item was taken; `None` where it was copied.
    #[expect(clippy::unused_self, reason = "it stands beside what asks for it")]
    pub(super) fn version(&self, item: &Item) -> Option<VersionId> {
        VersionId::new(item.version.as_deref()?)
    }

    /// The version that an item is now, if it is still what was planned.
    pub(super) async fn version_of(&self, item: &Item) -> io::Result<Option<String>> {
        let now = self.s3.current(&item.path()).await?;
        let now = now.filter(|now| is_planned(item, now));
        Ok(now.map(|now| match now.version {
            Some(version) => version.as_str().to_owned(),
            None => NULL.to_owned(),
        }))
    }

    /// Takes items, each by its version, with one question for many. What has none has changed since it was
    /// planned, and stays.
    pub(super) async fn mark(
        &self,
        items: &[Item],
        is_allowed: impl Fn() -> bool + Sync,
    ) -> Vec<io::Result<Outcome>> {
        let named: Vec<(String, Option<VersionId>)> = items
            .iter()
            .map(|item| (item.path(), self.version(item)))
            .collect();
        let versions: Vec<(&str, &VersionId)> = named
            .iter()
            .filter_map(|(path, version)| Some((path.as_str(), version.as_ref()?)))
            .collect();
        let mut marked = self
            .s3
            .take(&versions, Fence(&is_allowed))
            .await
            .into_iter();
        let mut outcomes = Vec::with_capacity(items.len());
        for (item, (_, version)) in items.iter().zip(&named) {
            let marked = version.as_ref().and_then(|version| {
                let marked = marked.next()?;
                Some((version, marked))
            });
            outcomes.push(match marked {
                Some((_, Ok(Marked::Now { .. } | Marked::Before { .. }))) => Ok(Outcome::Held),
                Some((version, Ok(Marked::Changed { .. }))) => {
                    self.look_at_version(item, version).await
                }
                Some((version, Err(error))) if error.kind() == io::ErrorKind::NotFound => {
                    self.look_at_version(item, version).await
                }
                Some((_, Err(error))) => Err(error),
                None => self.look_at_live(item).await,
            });
        }
        outcomes
    }

    /// Whether something is there that nobody has taken.
    async fn look_at_live(&self, item: &Item) -> io::Result<Outcome> {
        let now = self.s3.current(&item.path()).await?;
        Ok(now.map_or(Outcome::Gone, |_there| Outcome::Live))
    }

    pub(super) async fn unmark(&self, item: &Item, version: &VersionId) -> io::Result<Outcome> {
        let path = item.path();
        let back = if self.rules.is_purged_by_lifecycle {
            self.s3.revive(&path, version, CopyBounds::default()).await
        } else {
            self.s3.put_back(&path, version).await
        };
        match back {
            Ok(_back) => Ok(Outcome::Live),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Outcome::Gone),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn purge_version(
        &self,
        item: &Item,
        version: &VersionId,
        fence: Fence<'_>,
    ) -> io::Result<Outcome> {
        if self.rules.is_purged_by_lifecycle {
            let problem = "`gc.purge` is `by: lifecycle`: no version is deleted from here";
            return Err(io::Error::new(io::ErrorKind::Unsupported, problem));
        }
        match self.s3.purge(&item.path(), version, fence).await? {
            Purged::Gone => Ok(Outcome::Gone),
            Purged::Live => Ok(Outcome::Live),
        }
    }

    pub(super) async fn look_at_version(
        &self,
        item: &Item,
        version: &VersionId,
    ) -> io::Result<Outcome> {
        let history = self.s3.history_of(&item.path()).await?;
        Ok(place(history.as_ref(), version))
    }

    pub(super) async fn read_version(
        &self,
        item: &Item,
        version: &VersionId,
    ) -> io::Result<Vec<u8>> {
        let most = MANIFEST_BYTES_MAX as u64;
        let found = self.s3.get_version(&item.path(), version, most).await?;
        found.ok_or_else(|| {
            let problem = format!("the version `{version}` of {} is gone", item.path());
            io::Error::new(io::ErrorKind::NotFound, problem)
        })
    }
}

/// Where a version is. One with a newer one above it is held, as is one below a marker: neither is what the
/// registry sees.
fn place(history: Option<&History>, version: &VersionId) -> Outcome {
    let Some(history) = history else {
        return Outcome::Gone;
    };
    let latest = history.latest().filter(|latest| !latest.is_marker());
    match (latest, history.content(version)) {
        (Some(Version { id, .. }), Some(_)) if id == version => Outcome::Live,
        (_, Some(_)) => Outcome::Held,
        (Some(_), None) => Outcome::Live,
        (None, None) => Outcome::Gone,
    }
}

/// Whether an object is what the listing saw.
pub(super) fn is_planned(item: &Item, now: &Current) -> bool {
    let is_same = |it| now.modified == Some(it);
    item.modified.is_none_or(is_same) && (!item.class.is_data() || now.size == item.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::s3::Content;

    #[test]
    fn a_version_is_where_the_registry_sees_it_or_held_or_gone() {
        let one = VersionId::new("v1").unwrap();
        for (ids, expected) in [
            (&["v1"][..], Outcome::Live),
            (&["m1", "v1"], Outcome::Held),
            (&["v2", "m1", "v1"], Outcome::Held),
            (&["v2", "v1"], Outcome::Held),
            (&["v2"], Outcome::Live),
            (&["m2", "v2"], Outcome::Gone),
            (&["m1"], Outcome::Gone),
            (&[], Outcome::Gone),
        ] {
            let version = |(number, id): (usize, &&str)| Version {
                id: VersionId::new(id).unwrap(),
                is_latest: number == 0,
                modified: None,
                content: (!id.starts_with('m')).then_some(Content {
                    size: 1,
                    etag: None,
                }),
            };
            let history = History {
                path: "k".to_owned(),
                versions: ids.iter().enumerate().map(version).collect(),
            };
            let history = (!ids.is_empty()).then_some(&history);
            assert_eq!(place(history, &one), expected, "{ids:?}");
        }
    }
}
