//! A version that was taken is deleted for good.

use std::io;

use super::S3;
use super::client::Fence;
use super::history::{History, Version, VersionId};

/// What became of a version that was to be deleted for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purged {
    /// It is gone, by a listing of the key after it.
    Gone,
    /// It is what its key is: it was put back. Nothing was done.
    Live,
}

impl S3 {
    /// Deletes exactly this version of the path for good, and then the key's delete markers below which no
    /// version is left.
    ///
    /// That it is gone is what a listing of the key says afterwards, never the answer to the deletion: most
    /// servers answer the same whether it was there or not. A version that was gone before is gone too, so
    /// that asking again ends what an error left undone.
    pub async fn purge(
        &self,
        path: &str,
        version: &VersionId,
        fence: Fence<'_>,
    ) -> io::Result<Purged> {
        self.takeable(path)?;
        let before = self.history_of(path).await?;
        if let Some(named) = before.as_ref().and_then(|all| all.content(version)) {
            if named.is_latest {
                return Ok(Purged::Live);
            }
            self.delete_version(path, version, fence).await?;
        }
        let Some(after) = self.history_of(path).await? else {
            return Ok(Purged::Gone);
        };
        if after.content(version).is_some() {
            return Err(io::Error::other(format!(
                "the version `{version}` of `{path}` in the bucket `{}` was deleted, and is still there: \
                 an object lock may hold it",
                self.bucket
            )));
        }
        for marker in bare(&after) {
            self.delete_version(path, &marker.id, fence).await?;
        }
        Ok(Purged::Gone)
    }
}

/// The markers below which no version is, newest first. One that is what the key is, above a version, would
/// bring that version back if it went.
fn bare(history: &History) -> &[Version] {
    let last_content = history.versions.iter().rposition(|it| !it.is_marker());
    let first = last_content.map_or(0, |last| last + 1);
    history.versions.get(first..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::history::Content;
    use super::*;

    fn history(ids: &[&str]) -> History {
        let version = |(number, id): (usize, &&str)| Version {
            id: VersionId::new(id).unwrap(),
            is_latest: number == 0,
            modified: None,
            content: (!id.starts_with('m')).then_some(Content {
                size: 1,
                etag: None,
            }),
        };
        History {
            path: "k".to_owned(),
            versions: ids.iter().enumerate().map(version).collect(),
        }
    }

    #[test]
    fn only_markers_without_a_version_below_them_go_with_it() {
        for (ids, expected) in [
            (&["m2", "m1"][..], &["m2", "m1"][..]),
            (&["m2", "v2", "m1"], &["m1"]),
            (&["m2", "m1", "v1"], &[]),
            (&["v2", "m1"], &["m1"]),
            (&["v2", "m1", "v1"], &[]),
        ] {
            let of = history(ids);
            let bare: Vec<&str> = bare(&of).iter().map(|it| it.id.as_str()).collect();
            assert_eq!(bare, expected, "{ids:?}");
        }
    }
}
